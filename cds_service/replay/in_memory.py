"""A replay of one source without files or processes: for tests, and for whoever embeds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson

from cds_service.errors import CdsServiceError, InputFileError
from cds_service.hooks.answer import Answer, findings
from cds_service.replay.inputs import named_lines, several_lines
from cds_service.replay.judge import Desk, Result
from cds_service.replay.lines import BOM, Unreadable, name_of, read_document, unpacked
from cds_service.replay.options import terms_of

Json = dict[str, Any]


@dataclass
class Told:
    """What came of one source."""

    cards: list[Json] = field(default_factory=list)
    determinations: list[Json] = field(default_factory=list)
    findings: list[Json] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Replayer:
    """Replays sources by one policy set; the policies are read once."""

    def __init__(self, cards: str | None = None, service: str | None = None) -> None:
        self._desk = Desk(terms_of(service, cards, None))

    def replay(self, source: str | Path | bytes | Mapping[str, Any], as_of: date | None = None) -> Told:
        """Answer the events of a file (a path), JSON or NDJSON text (str, or bytes, gzipped or not) or an object.

        Text begins with a brace; any other str is a path. Raises InputFileError, TypeError for an `as_of` that is not
        a date, and CdsServiceError for a fault of this program.
        """
        if as_of is not None and (not isinstance(as_of, date) or isinstance(as_of, datetime)):
            raise TypeError(f"as_of must be a datetime.date, not {type(as_of).__name__}")
        name, data, lines = _read(source)
        answers: list[Answer] = []
        result = Result()
        desk = _Listening(self._desk, answers, as_of)
        for line, document in _documents(data, lines):
            desk.document(document, name, line, result)
        for problem in result.problems:
            if problem.kind == "internal":
                raise CdsServiceError(f"{problem}. This is a fault of cds-service; please report it.")
        told = Told(problems=[str(p) for p in result.problems])
        told.determinations = [_brief(orjson.loads(line)) for line in bytes(result.lines).splitlines()]
        for answer in answers:
            told.cards += answer.response["cards"]
            told.findings += findings(answer)
        return told


class _Listening(Desk):
    """A desk that keeps its answers."""

    def __init__(self, desk: Desk, answers: list[Answer], as_of: date | None) -> None:
        self.terms, self.runtime, self.before, self.caller = desk.terms, desk.runtime, None, desk.caller
        self._differing = {}
        self._answers, self._as_of = answers, as_of

    def _answer(self, runtime: Any, event: Any, file: str, line: int | None, result: Result) -> Answer | None:
        if self._as_of is not None:
            event = replace(event, as_of=self._as_of)
        done = super()._answer(runtime, event, file, line, result)
        if done is not None:
            self._answers.append(done)
        return done


def _brief(entry: Json) -> Json:
    return {k: v for k, v in entry.items() if k not in ("file", "line")}


def _read(source: str | Path | bytes | Mapping[str, Any]) -> tuple[str, bytes, bool]:
    """What the source is called, its content, and whether it holds a document a line."""
    if isinstance(source, Mapping):
        return "source", orjson.dumps(dict(source)), False
    if isinstance(source, str) and source.lstrip().startswith("{"):
        source = source.encode()
    if isinstance(source, bytes):
        data = unpacked(source).removeprefix(BOM)
        return "source", data, several_lines(data)
    path = Path(source)
    try:
        data = read_document(path)
    except Unreadable as error:
        raise InputFileError(f"{source} {error}.") from error
    return name_of(Path(path.name)), data, named_lines(path) or several_lines(data)


def _documents(data: bytes, lines: bool) -> Iterator[tuple[int | None, bytes]]:
    if not lines:
        yield None, data
        return
    yield from ((number, line) for number, line in enumerate(data.splitlines(), 1) if line.strip())
