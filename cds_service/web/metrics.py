"""Prometheus metrics: calls, stages, outcomes per policy and rule, fetches, reloads; added up over all workers."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import ClassVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from cds_service.facts.sources import BY_NAME
from cds_service.facts.validity import READABLE
from cds_service.ledger.record import Record
from cds_service.web import tally
from cds_service.web.tally import Tally

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_WIDTH = len(_BOUNDS) + 2  # one number per bucket, one for what is beyond the last, and the sum
_LE = (*(str(bound) for bound in _BOUNDS), "+Inf")


@dataclass(frozen=True)
class _Series:
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily] | type[HistogramMetricFamily]
    text: str
    labels: tuple[str, ...] = ()


CALLS, SECONDS, STAGES = "cds_calls", "cds_call_seconds", "cds_stage_seconds"
OUTCOMES, CARDS = "cds_determinations", "cds_cards"
FETCHES, FETCH_SECONDS = "cds_fetches", "cds_fetch_seconds"
FEEDBACK, RELOADS, REVISIONS = "cds_feedback", "cds_reloads", "cds_content_workers"
_SERIES = {
    CALLS: _Series(
        CounterMetricFamily, "Calls answered, by endpoint, service and HTTP status.", ("endpoint", "service", "status")
    ),
    SECONDS: _Series(HistogramMetricFamily, "Time to answer hook calls.", ("service",)),
    STAGES: _Series(HistogramMetricFamily, "Time in each stage of answered hook calls.", ("stage",)),
    OUTCOMES: _Series(
        CounterMetricFamily,
        "Determinations, by policy, deciding rule, role and outcome.",
        ("policy", "rule", "role", "outcome"),
    ),
    CARDS: _Series(
        CounterMetricFamily,
        "Cards, by policy, rule and kind; shown, or held back by silent mode.",
        ("policy", "rule", "kind", "shown"),
    ),
    FETCHES: _Series(
        CounterMetricFamily,
        "FHIR queries, by source, resulting state and HTTP status.",
        ("source", "state", "status"),
    ),
    FETCH_SECONDS: _Series(HistogramMetricFamily, "Time of FHIR queries."),
    FEEDBACK: _Series(CounterMetricFamily, "Feedback items, by result.", ("service", "result")),
    RELOADS: _Series(CounterMetricFamily, "Reloads of content, clients and switches, by result.", ("result",)),
    REVISIONS: _Series(GaugeMetricFamily, "Workers that have this content revision in force.", ("revision",)),
}
_DECIDED = itemgetter("policy", "rule", "role", "outcome")
_SHOWN = attrgetter("policy", "rule", "kind", "shown")


class _Here:
    """Where this process counts: in memory, until `share` names a folder."""

    folder: ClassVar[Path | None] = None
    tally: ClassVar[Tally] = Tally()


def share(folder: Path) -> None:
    """Count in a folder from now on, where the other processes of the service do so too."""
    _Here.folder, _Here.tally = folder, Tally(folder)


def _observe(here: Tally, key: tally.Key, seconds: float) -> None:
    here.add(key, 1, bisect_left(_BOUNDS, seconds), _WIDTH)
    here.add(key, seconds, _WIDTH - 1, _WIDTH)


def called(endpoint: str, service: str, status: int, seconds: float) -> None:
    """Count a call; `service` is an offered one or empty, never what a caller wrote."""
    here = _Here.tally
    with here.lock:
        here.add((CALLS, endpoint, service, str(status)))
        if endpoint == "hook":
            _observe(here, (SECONDS, service), seconds)


def answered(record: Record, stages: Mapping[str, float]) -> None:
    """Count what an answer was made of; `stages` are in milliseconds."""
    here = _Here.tally
    with here.lock:
        for stage, milliseconds in stages.items():
            _observe(here, (STAGES, stage), milliseconds / 1000)
        for policy, rule, role, outcome in map(_DECIDED, record.determinations):
            here.add((OUTCOMES, policy or "", rule or "", role, outcome))
        for policy, rule, kind, shown in map(_SHOWN, record.cards):
            here.add((CARDS, policy or "", rule or "", kind, "yes" if shown else "no"))
        for fetch in record.fetched:
            _fetched(here, fetch)


def _source(name: str) -> str:
    """A query's source; of one that reads what a client refers to the type, where the service reads such.

    The name itself holds an id then: it would make a series of its own, and may say who the patient is.
    """
    source = name.rstrip("+")
    if source in BY_NAME:
        return source
    kind = source.partition("/")[0]
    return kind if kind in READABLE else "other"


def _fetched(here: Tally, fetch: Mapping[str, object]) -> None:
    source = _source(str(fetch["name"]))
    here.add((FETCHES, source, str(fetch["state"]), str(fetch["status"] or "none")))
    milliseconds = fetch["milliseconds"]
    if isinstance(milliseconds, (int, float)):
        _observe(here, (FETCH_SECONDS,), milliseconds / 1000)


def given(service: str, results: Mapping[str, int]) -> None:
    """Count feedback items, by result."""
    here = _Here.tally
    with here.lock:
        for result, count in results.items():
            here.add((FEEDBACK, service, result), count)


def reloaded(result: str) -> None:
    """Count a reload: `done` or `failed`."""
    here = _Here.tally
    with here.lock:
        here.add((RELOADS, result))


def holds_revision(before: str | None, after: str) -> None:
    """This worker has put another content revision in force."""
    here = _Here.tally
    with here.lock:
        if before is not None:
            here.put((REVISIONS, before[:12]), 0)
        here.put((REVISIONS, after[:12]), 1)


class _AddedUp(Collector):
    """What all processes have counted. One that has ended holds no content any more; what it counted still counts."""

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        sums: dict[tally.Key, list[float]] = {}
        for process, key, numbers in self._rows():
            if key[0] == REVISIONS and not _alive(process):
                continue
            before = sums.get(key, [0.0] * len(numbers))
            sums[key] = [was + number for was, number in zip(before, numbers, strict=True)]
        for name, series in _SERIES.items():
            yield _family(name, series, {key[1:]: sums[key] for key in sums if key[0] == name})

    def _rows(self) -> Iterator[tuple[int, tally.Key, list[float]]]:
        if _Here.folder is not None:
            return tally.read(_Here.folder)
        return ((os.getpid(), key, numbers) for key, numbers in _Here.tally.rows())


def _family(name: str, series: _Series, sums: Mapping[tally.Key, list[float]]) -> Metric:
    family = series.kind(name, series.text, labels=series.labels)
    for labels, numbers in sums.items():
        if isinstance(family, HistogramMetricFamily):
            family.add_metric(labels, list(zip(_LE, accumulate(numbers[:-1]), strict=True)), numbers[-1])
        else:
            family.add_metric(labels, numbers[0])
    return family


def exposition() -> tuple[bytes, str]:
    """All metrics in Prometheus' text format, of all workers where several share a folder; and the media type."""
    registry = CollectorRegistry()
    registry.register(_AddedUp())
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
