"""Pieces of work, small enough to be sent to another process, and the function that does one there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cds_service.replay import bulk
from cds_service.replay.charts import Entry
from cds_service.replay.inputs import Inputs, content_size
from cds_service.replay.judge import Desk, Result
from cds_service.replay.lines import MAX_DOCUMENT, Unreadable, name_of, read_document, read_lines

_LINES, _BYTES, _FILES = 32, 512 * 1024, 32


@dataclass(frozen=True)
class Files:
    """Files of one JSON document each."""

    paths: tuple[Path, ...]
    weight: int


@dataclass(frozen=True)
class Lines:
    """Lines of a file, each one JSON document; None is a line beyond the limit, a text is what is wrong with it."""

    file: str
    lines: tuple[tuple[int | None, bytes | str], ...]
    weight: int


@dataclass(frozen=True)
class Part:
    """The patients of one part of a Bulk Data export."""

    export: bulk.Export
    number: int
    weight: int


Work = Files | Lines | Part


def work(inputs: Inputs, exports: Iterable[bulk.Export]) -> Iterator[Work]:
    """All work on the inputs, always in the same order and cut in the same way."""
    for start in range(0, len(inputs.documents), _FILES):
        paths = inputs.documents[start : start + _FILES]
        yield Files(tuple(paths), sum(p.stat().st_size for p in paths))
    for file in inputs.lines:
        yield from _cut(file)
    for export in exports:
        size = sum(content_size(f) for f in export.files)
        for number in range(export.parts):
            yield Part(export, number, size // export.parts)


def _cut(file: Path) -> Iterator[Lines]:
    """A file's lines in groups. Weights are of the lines, or of the file itself where it is packed."""
    held: list[tuple[int | None, bytes | str]] = []
    size = 0
    for number, line in _told(file):
        held.append((number, line))
        size += len(line)
        if len(held) >= _LINES or size >= _BYTES:
            yield Lines(name_of(file), tuple(held), size)
            held, size = [], 0
    if held:
        yield Lines(name_of(file), tuple(held), size)


def _told(file: Path) -> Iterator[tuple[int | None, bytes | str]]:
    try:
        for number, line in read_lines(file):
            yield number, line if line is not None else f"is longer than {MAX_DOCUMENT >> 20} MiB"
    except Unreadable as error:
        yield error.line, str(error)


def do(desk: Desk, piece: Work) -> Result:
    """Do one piece of work."""
    result = Result(weight=piece.weight)
    match piece:
        case Files(paths=paths):
            for path in paths:
                _file(desk, path, result)
        case Lines(file=file, lines=lines):
            for number, line in lines:
                if isinstance(line, str):
                    result.problem(file, number, "faulty", line)
                else:
                    desk.document(line, file, number, result)
        case Part(export=export, number=number):
            for chart in bulk.charts(export, number, _common(export)):
                desk.chart(chart, export.name, None, result)
    return result


def _file(desk: Desk, path: Path, result: Result) -> None:
    try:
        data = read_document(path)
    except Unreadable as error:
        result.problem(name_of(path), error.line, "faulty", str(error))
        return
    desk.document(data, name_of(path), None, result)


@lru_cache(maxsize=2)
def _common(export: bulk.Export) -> dict[str, Entry]:
    return bulk.shared(export)
