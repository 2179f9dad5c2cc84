"""Reads input files, gzipped or not: whole, or line by line with line numbers, never more than a limit at once."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MAX_DOCUMENT = 32 * 1024 * 1024  # bytes of one JSON document: as many as fit into memory several times over
PACKED = 8  # what gzip makes of FHIR, about
BOM = b"\xef\xbb\xbf"


class Unreadable(Exception):
    """A file (or the rest of it) cannot be read; `line` is the last one that could."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


def name_of(path: Path) -> str:
    """A path as it is told of: text, also where its bytes are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_packed(path: Path) -> bool:
    """True for gzip: by its first bytes, not by its name."""
    with path.open("rb") as raw:
        return raw.read(2) == b"\x1f\x8b"


def open_file(path: Path) -> IO[bytes]:
    """The file's content, unpacked."""
    return gzip.open(path, "rb") if is_packed(path) else path.open("rb")  # type: ignore[return-value]


def _why(error: Exception) -> str:
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return "the gzip data is damaged or cut off"
    return f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}"


def read_document(path: Path) -> bytes:
    """A file that is one JSON document. Raises Unreadable."""
    try:
        with open_file(path) as file:
            data = file.read(MAX_DOCUMENT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(_why(error)) from error
    if len(data) > MAX_DOCUMENT:
        raise Unreadable(f"is larger than {MAX_DOCUMENT >> 20} MiB in one JSON document; split it, or use NDJSON")
    return data.removeprefix(BOM)


def unpacked(data: bytes) -> bytes:
    """A document that was read whole, unpacked; what is damaged is left as it is, and is no JSON then."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return file.read(MAX_DOCUMENT + 1)
    except (OSError, EOFError, zlib.error):
        return data


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Lines that are not blank, with their numbers from 1; None for one beyond the limit. Raises Unreadable."""
    number = 0
    try:
        with open_file(path) as file:
            while line := file.readline(MAX_DOCUMENT + 1):
                number += 1
                if len(line) > MAX_DOCUMENT:
                    while line and not line.endswith(b"\n"):
                        line = file.readline(MAX_DOCUMENT)
                    yield number, None
                    continue
                text = line.removeprefix(BOM).strip() if number == 1 else line.strip()
                if text:
                    yield number, text
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(_why(error), number + 1) from error


def head(path: Path, size: int = 65536) -> bytes:
    """The first bytes of a file's content. Raises Unreadable."""
    try:
        with open_file(path) as file:
            return file.read(size).removeprefix(BOM)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(_why(error)) from error
