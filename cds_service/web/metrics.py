"""Prometheus metrics: calls, stages, outcomes per policy and rule, fetches, reloads; added up over all workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from cds_service.ledger.record import Record

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_REGISTRY = CollectorRegistry()

CALLS = Counter("cds_calls", "Calls answered, by endpoint, service and HTTP status.",
                ["endpoint", "service", "status"], registry=_REGISTRY)  # fmt: skip
SECONDS = Histogram("cds_call_seconds", "Time to answer hook calls.", ["service"],
                    buckets=_SECONDS, registry=_REGISTRY)  # fmt: skip
STAGES = Histogram("cds_stage_seconds", "Time in each stage of answered hook calls.", ["stage"],
                   buckets=_SECONDS, registry=_REGISTRY)  # fmt: skip
OUTCOMES = Counter("cds_determinations", "Determinations, by policy, deciding rule, role and outcome.",
                   ["policy", "rule", "role", "outcome"], registry=_REGISTRY)  # fmt: skip
CARDS = Counter("cds_cards", "Cards, by policy, rule and kind; shown, or held back by silent mode.",
                ["policy", "rule", "kind", "shown"], registry=_REGISTRY)  # fmt: skip
FETCHES = Counter("cds_fetches", "FHIR queries, by source, resulting state and HTTP status.",
                  ["source", "state", "status"], registry=_REGISTRY)  # fmt: skip
FETCH_SECONDS = Histogram("cds_fetch_seconds", "Time of FHIR queries.", buckets=_SECONDS, registry=_REGISTRY)
FEEDBACK = Counter("cds_feedback", "Feedback items, by result.", ["service", "result"], registry=_REGISTRY)
RELOADS = Counter("cds_reloads", "Reloads of content, clients and switches, by result.", ["result"], registry=_REGISTRY)
REVISIONS = Gauge("cds_content_workers", "Workers that have this content revision in force.", ["revision"],
                  multiprocess_mode="livesum", registry=_REGISTRY)  # fmt: skip


def called(endpoint: str, service: str, status: int, seconds: float) -> None:
    """Count a call; `service` is an offered one or empty, never what a caller wrote."""
    CALLS.labels(endpoint, service, str(status)).inc()
    if endpoint == "hook":
        SECONDS.labels(service).observe(seconds)


def answered(record: Record, stages: Mapping[str, float]) -> None:
    """Count what an answer was made of; `stages` are in milliseconds."""
    for stage, milliseconds in stages.items():
        STAGES.labels(stage).observe(milliseconds / 1000)
    for entry in record.determinations:
        OUTCOMES.labels(entry["policy"] or "", entry["rule"] or "", entry["role"], entry["outcome"]).inc()
    for card in record.cards:
        CARDS.labels(card.policy or "", card.rule or "", card.kind, "yes" if card.shown else "no").inc()
    for fetch in record.fetched:
        _fetched(fetch)


def _fetched(fetch: Mapping[str, object]) -> None:
    FETCHES.labels(str(fetch["name"]).rstrip("+"), str(fetch["state"]), str(fetch["status"] or "none")).inc()
    milliseconds = fetch["milliseconds"]
    if isinstance(milliseconds, (int, float)):
        FETCH_SECONDS.observe(milliseconds / 1000)


def given(service: str, results: Mapping[str, int]) -> None:
    """Count feedback items, by result."""
    for result, count in results.items():
        FEEDBACK.labels(service, result).inc(count)


def reloaded(result: str) -> None:
    """Count a reload: `done` or `failed`."""
    RELOADS.labels(result).inc()


def holds_revision(before: str | None, after: str) -> None:
    """This worker has put another content revision in force."""
    if before is not None:
        REVISIONS.labels(before[:12]).set(0)
    REVISIONS.labels(after[:12]).set(1)


def exposition() -> tuple[bytes, str]:
    """All metrics in Prometheus' text format, of all workers where several share a folder; and the media type."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return generate_latest(_REGISTRY), CONTENT_TYPE_LATEST
    _forget_dead(Path(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _forget_dead(folder: Path) -> None:
    """A worker that has ended holds no content any more; what it counted still counts."""
    for pid in {int(path.stem.rsplit("_", 1)[1]) for path in folder.glob("gauge_live*_*.db")}:
        if not _alive(pid):
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
