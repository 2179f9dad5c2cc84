"""Reading what an operator's settings name: regular files only, and no more of one than was reckoned with."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class NotReadable(OSError):
    """A pipe, a device or a folder where a file should be, or a file that is too large; `strerror` says which."""


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file, or of what a link leads to. OSError, and NotReadable beyond `most` bytes.

    A pipe would be waited for without an end, and a device such as /dev/zero has none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotReadable(errno.EINVAL, "Not a regular file", str(path))
        data = file.read(most + 1)
    if len(data) > most:
        raise NotReadable(errno.EFBIG, f"Larger than {most} bytes", str(path))
    return data


def as_text(data: bytes, errors: str = "strict") -> str:
    """UTF-8 text with line ends as Python reads them from a file."""
    return data.decode("utf-8", errors).replace("\r\n", "\n").replace("\r", "\n")
