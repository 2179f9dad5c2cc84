"""What the paths of a replay mean: documents, files of documents, and Bulk Data folders."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from cds_service.errors import InputFileError
from cds_service.replay.charts import CHART_TYPES
from cds_service.replay.lines import PACKED, Unreadable, head, is_packed, read_lines
from cds_service.replay.problems import Problem

_DOCUMENT, _LINES = (".json",), (".ndjson", ".jsonl")
_TRIED_LINES = 100


@dataclass
class Inputs:
    """Files by what they hold. `bulk` has the resource files of each folder."""

    documents: list[Path] = field(default_factory=list)
    lines: list[Path] = field(default_factory=list)
    bulk: dict[Path, list[Path]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """All files that will be read."""
        return [*self.documents, *self.lines, *(f for files in self.bulk.values() for f in files)]

    @property
    def size(self) -> int:
        """Bytes to read, packed ones by estimate."""
        return sum(content_size(f) for f in self.files)

    def fingerprint(self) -> str:
        """A hash that changes when a file is added, removed or rewritten."""
        told = []
        for file in self.files:
            stat = file.stat()
            told.append([str(file), stat.st_size, stat.st_mtime_ns])
        return hashlib.sha256(orjson.dumps(told)).hexdigest()


def content_size(file: Path) -> int:
    """Bytes of a file's content: of a packed one, by estimate."""
    return file.stat().st_size * (PACKED if is_packed(file) else 1)


def find(paths: Iterable[str]) -> Inputs:
    """Files, folders and globs to inputs, in order of their names. Raises InputFileError for what does not exist."""
    inputs = Inputs()
    for file in dict.fromkeys(_files(paths)):
        _sort(file, inputs)
    return inputs


def _files(paths: Iterable[str]) -> Iterator[Path]:
    for text in paths:
        path = Path(text)
        found = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207
        if not found:
            raise InputFileError(f"{text} does not exist.")
        for each in found:
            yield from _below(each) if each.is_dir() else [each]


def _below(folder: Path) -> Iterator[Path]:
    """Files of a folder and those below. A story (request.json beside fhir/) is its request alone."""
    if (folder / "request.json").is_file() and (folder / "fhir").is_dir():
        yield folder / "request.json"
        return
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise InputFileError(f"{folder} cannot be read: {error.strerror}.") from error
    for path in inside:
        if path.is_dir() and not path.name.startswith("."):
            yield from _below(path)
        elif path.is_file() and _ending(path) in (*_DOCUMENT, *_LINES):
            yield path


def _ending(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _sort(file: Path, inputs: Inputs) -> None:
    try:
        if _ending(file) in _LINES or _several_lines(head(file)):
            _sort_lines(file, inputs)
        else:
            inputs.documents.append(file)
    except Unreadable as error:
        inputs.problems.append(Problem(str(file), error.line, "faulty", str(error)))


def _several_lines(start: bytes) -> bool:
    """True when the first line is an object by itself and another follows, whatever the file's name."""
    first, _, rest = start.partition(b"\n")
    return bool(rest.strip()) and _object(first) is not None


def _object(line: bytes) -> dict[str, object] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _sort_lines(file: Path, inputs: Inputs) -> None:
    """By the first line that is an object: resources belong to their folder's export, all else is documents."""
    empty = True
    for _, (_, line) in zip(range(_TRIED_LINES), read_lines(file), strict=False):
        empty = False
        found = _object(line) if line is not None else None
        if found is not None:
            if isinstance(found.get("resourceType"), str) and found["resourceType"] != "Bundle":
                inputs.bulk.setdefault(file.parent, []).append(file)
            else:
                inputs.lines.append(file)
            return
    if not empty:
        inputs.lines.append(file)  # every line will be reported
    elif named_type(file) in CHART_TYPES:
        inputs.bulk.setdefault(file.parent, []).append(file)  # exported, and there were none


def named_type(file: Path) -> str:
    """The resource type that an export file's name begins or ends with: Condition.ndjson, 1.Condition.ndjson."""
    parts = file.name.split(".")
    return next((p for p in parts if p in CHART_TYPES), "")
