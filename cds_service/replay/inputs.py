"""What the paths of a replay mean: documents, files of documents, and Bulk Data folders."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from cds_service.errors import InputFileError
from cds_service.replay.charts import CHART_TYPES
from cds_service.replay.lines import PACKED, Unreadable, head, is_packed, name_of, read_lines
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
            told.append([name_of(file), stat.st_size, stat.st_mtime_ns])
        return hashlib.sha256(orjson.dumps(told)).hexdigest()


def content_size(file: Path) -> int:
    """Bytes of a file's content: of a packed one, by estimate."""
    return file.stat().st_size * (PACKED if is_packed(file) else 1)


def find(paths: Iterable[str]) -> Inputs:
    """Files, folders and globs to inputs, in order of their names; each file once, by whatever way it is found.

    Raises InputFileError for what does not exist, or is named and neither a file nor a folder.
    """
    finder = _Finder()
    for text in paths:
        finder.add(text)
    return finder.sorted()


class _Finder:
    """Collects files; those already seen, by resolved path, are passed over."""

    def __init__(self) -> None:
        self.inputs = Inputs()
        self._files: dict[Path, Path] = {}
        self._folders: dict[Path, Path] = {}
        self._empty: list[Path] = []

    def add(self, text: str) -> None:
        """What one path of the command line means."""
        if not text:
            raise InputFileError("a path is empty. Name a file or a folder; . is this folder.")
        path = Path(text)
        if _exists(path):
            self._named(path)
            return
        found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not found:
            raise InputFileError(f"{text} does not exist.")
        for each in map(Path, found):
            self._guarded(each, self._any)

    def _named(self, path: Path) -> None:
        if path.is_dir():
            try:
                self._below(path)
            except OSError as error:
                raise InputFileError(f"{path} cannot be read: {error.strerror}.") from error
        elif path.is_file():
            self._file(path)
        else:
            raise InputFileError(f"{path} is a pipe or a device: replay reads regular files. Write it to a file first.")

    def _any(self, path: Path) -> None:
        if path.is_dir():
            self._below(path)
        elif path.is_file():
            self._file(path)

    def _guarded(self, path: Path, what: Callable[[Path], None]) -> None:
        """A folder or file that cannot be looked at is noted; the others are replayed."""
        try:
            what(path)
        except OSError as error:
            text = f"cannot be read: {error.strerror}"
            self.inputs.problems.append(Problem(name_of(path), None, "faulty", text))

    def _below(self, folder: Path) -> None:
        """Files of a folder and those below. A story (request.json beside fhir/) is its request alone."""
        real = folder.resolve()
        if real in self._folders:
            return  # named twice, or a link that leads back
        self._folders[real] = folder
        if (folder / "request.json").is_file() and (folder / "fhir").is_dir():
            self._file(folder / "request.json")
            return
        for path in sorted(folder.iterdir()):
            self._guarded(path, self._inside)

    def _inside(self, path: Path) -> None:
        if path.is_dir() and not path.name.startswith("."):
            self._below(path)
        elif path.is_file() and _ending(path) in (*_DOCUMENT, *_LINES):
            self._file(path)

    def _file(self, path: Path) -> None:
        self._files.setdefault(path.resolve(), path)

    def sorted(self) -> Inputs:
        """The files by what they hold."""
        for file in self._files.values():
            self._sort(file)
        of_exports = self.inputs.bulk.keys()
        for file in self._empty:
            if named_type(file) in CHART_TYPES:
                self._resources(file)  # exported, and there were none
            elif file.parent not in of_exports:
                self.inputs.problems.append(Problem(name_of(file), None, "skipped", "is empty"))
        return self.inputs

    def _sort(self, file: Path) -> None:
        try:
            if named_lines(file) or several_lines(head(file)):
                self._sort_lines(file)
            else:
                self.inputs.documents.append(file)
        except Unreadable as error:
            self.inputs.problems.append(Problem(name_of(file), error.line, "faulty", str(error)))

    def _sort_lines(self, file: Path) -> None:
        """By the first line that is an object: resources belong to their folder's export, all else is documents."""
        empty = True
        for _, (_, line) in zip(range(_TRIED_LINES), read_lines(file), strict=False):
            empty = False
            found = _object(line) if line is not None else None
            if found is not None:
                if isinstance(found.get("resourceType"), str) and found["resourceType"] != "Bundle":
                    self._resources(file)
                else:
                    self.inputs.lines.append(file)
                return
        # Where no line is an object, every line will be reported.
        (self._empty if empty else self.inputs.lines).append(file)

    def _resources(self, file: Path) -> None:
        """A folder is one export, however its files were named."""
        folder = self._folders.setdefault(file.parent.resolve(), file.parent)
        self.inputs.bulk.setdefault(folder, []).append(file)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise InputFileError(f"{path} cannot be read: {error.strerror}.") from error


def _ending(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def named_lines(file: Path) -> bool:
    """True where the file's name says that it holds a document a line."""
    return _ending(file) in _LINES


def several_lines(start: bytes) -> bool:
    """True when the first line is an object by itself and another follows, whatever the file's name."""
    first, _, rest = start.partition(b"\n")
    return bool(rest.strip()) and _object(first) is not None


def _object(line: bytes) -> dict[str, object] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def named_type(file: Path) -> str:
    """The resource type that an export file's name begins or ends with: Condition.ndjson, 1.Condition.ndjson."""
    parts = file.name.split(".")
    return next((p for p in parts if p in CHART_TYPES), "")
