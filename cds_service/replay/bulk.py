"""A Bulk Data export, however large: resources are sorted into parts by patient, then each part is judged by itself.

An export has one type per file, so a patient's chart is spread over all of it. Pieces of the files are read by all
processes; each writes the resources it finds to the part that the patient's id hashes to. A part fits into memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from cds_service.facts.references import key_of
from cds_service.replay.charts import CHART_TYPES, SHARED_TYPES, Chart, Entry, is_signed, patient_of
from cds_service.replay.inputs import content_size
from cds_service.replay.lines import BOM, MAX_DOCUMENT, Unreadable, is_packed, name_of, open_file, read_lines
from cds_service.replay.problems import KEPT, Problem

# Bytes of a part, and of what one process sorts at a time: at least these, and not too many of them.
PART, PARTS = 1024 * 1024, 4096
PIECE, PIECES = 64 * 1024 * 1024, 32
BUFFER = 16 * 1024 * 1024
SHARED = "shared"


@dataclass(frozen=True)
class Export:
    """One export folder: its files, how many parts it is sorted into, and where those are."""

    name: str
    files: tuple[Path, ...]
    parts: int
    place: Path

    @classmethod
    def plan(cls, folder: Path, files: list[Path], place: Path) -> Export:
        """How to sort an export; the same files are always sorted in the same way."""
        size = sum(content_size(f) for f in files)
        return cls(name_of(folder), tuple(files), max(1, min(PARTS, size // PART)), place)

    def pieces(self) -> list[Piece]:
        """Pieces to sort, in order."""
        found: list[Piece] = []
        step = max(PIECE, sum(f.stat().st_size for f in self.files) // PIECES)
        for file in self.files:
            size = file.stat().st_size
            starts = [0] if is_packed(file) else list(range(0, max(size, 1), step))
            for start in starts:
                end = None if start == starts[-1] else start + step
                found.append(Piece(self, len(found), file, start, end))
        return found


@dataclass(frozen=True)
class Piece:
    """The lines of a file that begin between two offsets; `end` None is the end of the file."""

    export: Export
    number: int
    file: Path
    start: int
    end: int | None


@dataclass
class Sorted:
    """What came of sorting one piece; `more` faulty lines are counted only, `orders` are those of events."""

    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    orders: int = 0


def resource_of(line: bytes) -> dict[str, Any]:
    """A line as a resource. Raises ValueError with what is wrong."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"is not JSON (column {error.colno})") from None
    if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
        raise ValueError("is not a FHIR resource")
    return value


# --- sorting ----------------------------------------------------------------------------------------


class _Parts:
    """Lines per part, in memory until there are many, then appended to the parts' files."""

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._lines: dict[str, list[bytes]] = {}
        self._size = 0

    def add(self, part: str, line: bytes) -> None:
        self._lines.setdefault(part, []).append(line)
        self._size += len(line)
        if self._size > BUFFER:
            self.flush()

    def flush(self) -> None:
        for part, lines in self._lines.items():
            path = self._piece.export.place / part / f"{self._piece.number:06d}"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(b"\n".join(lines) + b"\n")
        self._lines.clear()
        self._size = 0


def sort(piece: Piece) -> Sorted:
    """Sort one piece into parts; from its beginning again if that was interrupted."""
    for stale in piece.export.place.glob(f"*/{piece.number:06d}"):
        stale.unlink()
    done, parts = Sorted(), _Parts(piece)
    try:
        for number, line in _lines(piece):
            _place(line, number, piece, parts, done)
    except Unreadable as error:
        done.problems.append(Problem(name_of(piece.file), error.line, "faulty", str(error)))
    parts.flush()
    return done


def _place(line: bytes | None, number: int, piece: Piece, parts: _Parts, done: Sorted) -> None:
    try:
        if line is None:
            raise ValueError(f"is longer than {MAX_DOCUMENT >> 20} MiB")
        resource = resource_of(line)
        part = _part(resource, piece.export.parts)
    except ValueError as error:
        if len(done.problems) >= KEPT:
            done.more += 1
            return
        at = number if piece.start == 0 else number + _lines_before(piece.file, piece.start)
        done.problems.append(Problem(name_of(piece.file), at, "faulty", str(error)))
        return
    done.orders += is_signed(resource)
    if part is not None and line is not None:
        parts.add(part, line)


def _part(resource: dict[str, Any], parts: int) -> str | None:
    """Name of the part that a resource belongs to; None for types that no event needs. Raises ValueError."""
    found = home(resource)
    return found if found is None or found == SHARED else f"{zlib.crc32(found.encode()) % parts:06d}"


def home(resource: dict[str, Any]) -> str | None:
    """The patient (`Patient/id`) that a resource is sorted to, or SHARED; None for types that no event needs.

    Raises ValueError with what is wrong.
    """
    kind = resource["resourceType"]
    if kind in SHARED_TYPES:
        return SHARED
    if kind == "Bundle" or "hook" in resource:
        raise ValueError("stands among the resources of an export")
    if kind not in CHART_TYPES:
        return None
    key = key_of(patient_of(resource) or "")
    if not key.startswith("Patient/"):
        raise ValueError(f"is a {kind} that names no patient")
    return key


def _lines(piece: Piece) -> Iterator[tuple[int, bytes | None]]:
    """Lines that begin within the piece, numbered from the piece's own first line."""
    if piece.start == 0 and piece.end is None:
        yield from read_lines(piece.file)
        return
    with open_file(piece.file) as file:
        if piece.start:
            file.seek(piece.start - 1)
            file.readline()  # it began before
        number = 0
        while (piece.end is None or file.tell() < piece.end) and (line := file.readline(MAX_DOCUMENT + 1)):
            number += 1
            whole = len(line) <= MAX_DOCUMENT
            while not line.endswith(b"\n") and (more := file.readline(MAX_DOCUMENT)):
                line = more
            if not whole or line.strip():
                yield number, line.strip().removeprefix(BOM) if whole else None


def _lines_before(path: Path, offset: int) -> int:
    count, left = 0, offset - 1
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            count += block.count(b"\n")
            left -= len(block)
    return count + 1


# --- reading parts ----------------------------------------------------------------------------------


def shared(export: Export) -> dict[str, Entry]:
    """Resources of no patient in particular (payers, medications), by reference."""
    return by_reference(resource_of(line) for line in _part_lines(export.place / SHARED))


def by_reference(resources: Iterable[dict[str, Any]]) -> dict[str, Entry]:
    """Resources as entries, by `Type/id`."""
    return {f"{r['resourceType']}/{r.get('id')}": Entry(r) for r in resources}


def charts(export: Export, part: int, common: Mapping[str, Entry]) -> Iterator[Chart]:
    """The charts of one part, in order of patient id."""
    grouped: dict[str, list[Entry]] = {}
    for line in _part_lines(export.place / f"{part:06d}"):
        resource = resource_of(line)
        grouped.setdefault(home(resource) or "", []).append(Entry(resource))
    for patient in sorted(grouped):
        yield Chart(patient.removeprefix("Patient/"), grouped[patient], common)


def _part_lines(folder: Path) -> Iterator[bytes]:
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            yield from (line for line in path.read_bytes().split(b"\n") if line)
