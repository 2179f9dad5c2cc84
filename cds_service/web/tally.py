"""Numbers that a process counts up, in a file where every process of the service can read them; else in memory."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson

Key = tuple[str, ...]
_NUMBER = 8  # bytes of a float
_FIRST_SIZE = 4096  # numbers


class Tally:
    """Rows of numbers by key. A key costs one look-up, a number one store: no locks between processes, no writing.

    In `folder` it keeps two files: `*.numbers`, mapped into memory, and `*.keys`, a line for each row.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.lock = threading.Lock()  # to be held while counting
        self._rows: dict[Key, int] = {}
        self._used = 0
        self._keys_file = self._numbers_file = -1
        if folder is not None:
            own = folder / f"{os.getpid()}-{os.urandom(4).hex()}"  # a process id may come again
            self._keys_file = os.open(f"{own}.keys", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._numbers_file = os.open(f"{own}.numbers", os.O_RDWR | os.O_CREAT, 0o600)
        self._numbers: memoryview[float] = self._sized(_FIRST_SIZE)

    def add(self, key: Key, amount: float = 1, place: int = 0, width: int = 1) -> None:
        """Add to one of the `width` numbers of a key. To be called with the lock held, as `put` is."""
        row = self._rows.get(key)
        if row is None:
            row = self._new(key, width)
        self._numbers[row + place] += amount

    def put(self, key: Key, value: float) -> None:
        """Set the one number of a key."""
        row = self._rows.get(key)
        if row is None:
            row = self._new(key, 1)
        self._numbers[row] = value

    def rows(self) -> Iterator[tuple[Key, list[float]]]:
        """What is counted in this process."""
        with self.lock:
            starts = [*self._rows.values(), self._used]
            held = list(self._numbers[: self._used])
            keys = list(self._rows)
        for key, start, end in zip(keys, starts, starts[1:], strict=False):
            yield key, held[start:end]

    def _new(self, key: Key, width: int) -> int:
        start, self._used = self._used, self._used + width
        if self._used > len(self._numbers):
            self._numbers = self._sized(2 * len(self._numbers))
        if self._keys_file >= 0:
            os.write(self._keys_file, orjson.dumps([start, width, key]) + b"\n")
        self._rows[key] = start
        return start

    def _sized(self, count: int) -> memoryview[float]:
        """Room for `count` numbers, with those there are."""
        if self._numbers_file < 0:
            room = bytearray(count * _NUMBER)
            if self._used:
                room[: len(self._numbers) * _NUMBER] = self._numbers.tobytes()
            return memoryview(room).cast("d")
        os.ftruncate(self._numbers_file, count * _NUMBER)
        return memoryview(mmap.mmap(self._numbers_file, count * _NUMBER)).cast("d")


def read(folder: Path) -> Iterator[tuple[int, Key, list[float]]]:
    """What the processes that share a folder have counted, those included that have ended: process id, key, numbers."""
    for path in sorted(folder.glob("*.keys")):
        lines = path.read_bytes().split(b"\n")[:-1]  # a line without its end is still being written
        with path.with_suffix(".numbers").open("rb") as file:
            numbers: memoryview[float] = memoryview(file.read()).cast("d")
        for line in lines:
            start, width, key = orjson.loads(line)
            yield int(path.name.partition("-")[0]), tuple(key), list(numbers[start : start + width])
