"""The function that every engine runs: a document or a chart in, determinations and a tally out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from traceback import extract_tb
from typing import Any

import orjson

from cds_service.config import Settings
from cds_service.errors import RequestError
from cds_service.hooks.answer import Answer, answer, determinations
from cds_service.hooks.envelope import plain
from cds_service.hooks.request import parse_chart, validate
from cds_service.hooks.runtime import Book, Caller, Runtime
from cds_service.hooks.services import service_for
from cds_service.policy.compiled import load
from cds_service.policy.not_looked_at import Unseen
from cds_service.replay.changes import Changed, changes
from cds_service.replay.charts import Chart, Event, charts_of, events
from cds_service.replay.problems import Problem
from cds_service.replay.tally import Tally
from cds_service.replay.unheard import Differing, listen

Json = dict[str, Any]
EXAMPLES = 1000  # changes kept for the table and the report; the file has all of them


@dataclass(frozen=True)
class Terms:
    """What a run is judged by; plain data, so that it can be sent to other processes and machines."""

    cards: bytes
    received: datetime
    settings: Settings = field(default_factory=lambda: Settings(demo=True))
    baseline: bytes | None = None
    differing: tuple[Differing, ...] = ()
    service: str | None = None


@dataclass
class Result:
    """What came of one piece of work: NDJSON lines, and what to add to the run's counts."""

    lines: bytearray = field(default_factory=bytearray)
    changes: bytearray = field(default_factory=bytearray)
    tally: Tally = field(default_factory=Tally)
    problems: list[Problem] = field(default_factory=list)
    examples: list[Json] = field(default_factory=list)
    weight: int = 0

    def problem(self, file: str, line: int | None, kind: str, text: str) -> None:
        """Note what was not replayed."""
        self.problems.append(Problem(file, line, kind, text))
        self.tally.problems[kind] += 1


class Desk:
    """Judges events by one policy set, or by two. Built once per process; holds nothing of a patient."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.runtime = self._runtime(terms.cards)
        self.before = self._runtime(terms.baseline) if terms.baseline is not None else None
        self.caller = Caller("replay")
        self._differing = {version.number: version.key for version in terms.differing}

    def _runtime(self, cards: bytes) -> Runtime:
        return replace(Runtime.build(self.terms.settings, book=Book(load(cards))), now=lambda: self.terms.received)

    def document(self, data: bytes, file: str, line: int | None, result: Result) -> None:
        """Judge one JSON document: a hook request or a Bundle. What cannot be used is noted in the result."""
        try:
            body = parse_chart(data)
        except RequestError as error:
            result.problem(file, line, "faulty", "; ".join(i.text for i in error.issues))
            return
        if body.get("resourceType") in ("Bundle", "Parameters"):
            self.bundle(body, file, line, result)
        elif "hook" in body:
            self.judge(Event(str(body.get("hookInstance", "")), body), file, line, result)
        else:
            kind = body.get("resourceType")
            what = f"a {kind} by itself" if isinstance(kind, str) and kind.isalpha() else "another kind of JSON"
            result.problem(file, line, "skipped", f"{what}, neither a hook request nor a Bundle")

    def bundle(self, bundle: Json, file: str, line: int | None, result: Result) -> None:
        """Judge the events of every chart in a Bundle."""
        charts, lacking = charts_of(bundle)
        for text in lacking:
            result.problem(file, line, "faulty", text)
        judged = sum(self.chart(chart, file, line, result) for chart in charts)
        if not judged:
            result.problem(file, line, "skipped", "a Bundle that holds no orders")

    def chart(self, chart: Chart, file: str, line: int | None, result: Result) -> int:
        """Judge the events of one chart; returns how many there were."""
        count = 0
        for event in events(chart):
            self.judge(event, file, line, result)
            count += 1
        return count

    def judge(self, event: Event, file: str, line: int | None, result: Result) -> None:
        """Answer one event as HTTP would; one line per determination.

        A fault of this program is no change of policies: nothing is compared then.
        """
        internal = result.tally.problems["internal"]
        after = self._answer(self.runtime, event, file, line, result)
        before = self._answer(self.before, event, file, line, result) if self.before is not None else None
        if after is not None:
            result.tally.events += 1
            result.tally.orders += len(after.decision.orders)
            listen(after, self.runtime.book.rulebook, self._differing, result.tally)
            origin = {"file": file, "line": line, "event": event.id}
            for told in _lines(after, origin, result):
                result.lines += told
            unused = [f for f in after.case.faults if f.fatal and f.ref in _drafts(event)]
            result.tally.in_words += sum(f.why is Unseen.IN_WORDS for f in unused)
            for fault in (f for f in unused if f.why is not Unseen.IN_WORDS):
                result.problem(file, line, "faulty", f"order {fault.ref} is not used: {fault.text}")
        if self.before is not None and result.tally.problems["internal"] == internal:
            origin = {"file": file, "line": line, "event": event.id}
            for changed in changes(before, after, event.id):
                _note(changed, origin, result)

    def _answer(self, runtime: Runtime, event: Event, file: str, line: int | None, result: Result) -> Answer | None:
        try:
            service = service_for(runtime.services, self.terms.service, event.body)
            request = validate(event.body, service)
            return answer(request, service, runtime, self.caller, as_of=event.as_of)
        except RequestError as error:
            if runtime is not self.before:
                result.problem(file, line, "refused", f"{error.http_status}: {error}")
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the run: it is reported, and fails it
            last = extract_tb(error.__traceback__)[-1]
            result.problem(file, line, "internal", f"{type(error).__name__} in {last.name}, line {last.lineno}")
        return None


def _drafts(event: Event) -> frozenset[str]:
    entries = (plain(event.body)["context"].get("draftOrders") or {}).get("entry", ())
    found = (e.get("resource") for e in entries if isinstance(e, dict))
    return frozenset(f"{r.get('resourceType')}/{r.get('id')}" for r in found if isinstance(r, dict))


def _lines(done: Answer, origin: Json, result: Result) -> Iterator[bytes]:
    for entry in determinations(done):
        result.tally.determined(entry)
        yield orjson.dumps(origin | entry, option=orjson.OPT_APPEND_NEWLINE)


def _note(changed: Changed, origin: Json, result: Result) -> None:
    told = origin | changed.to_json()
    result.changes += orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
    result.tally.changed_orders += changed.first
    result.tally.shifts[(changed.policy, changed.before or "", changed.after or "")] += 1
    result.tally.reasons.update({(changed.policy, reason): 1 for reason in changed.reasons})
    if len(result.examples) < EXAMPLES:
        result.examples.append(told)
