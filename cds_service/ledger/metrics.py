"""Metrics from the daily counts: answers, latency, determinations, what was missing, and rules' acceptance."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from sqlalchemy import Connection, func, select

from cds_service.ledger.document import loads
from cds_service.ledger.record import Json
from cds_service.ledger.schema import daily

Counts = defaultdict[Any, int]
_RULE = ("policy", "version", "rule")


@dataclass(frozen=True, slots=True)
class Filters:
    """What to count; None is everything. `since` and `until` are days (UTC), both included.

    `policy`, `version` and `rule` narrow what belongs to a rule, not answers and latency.
    """

    since: date | None = None
    until: date | None = None
    hook: str | None = None
    service: str | None = None
    client: str | None = None
    payer: str | None = None
    policy: str | None = None
    version: str | None = None
    rule: str | None = None

    def where(self, measure: str) -> list[Any]:
        """Conditions on `daily` for one measure."""
        conditions = [daily.c.measure == measure]
        if self.since is not None:
            conditions.append(daily.c.day >= self.since.isoformat())
        if self.until is not None:
            conditions.append(daily.c.day <= self.until.isoformat())
        names = ("hook", "service", "client", "payer") if measure == "answer" else _DIMENSIONS
        return conditions + [daily.c[n] == getattr(self, n) for n in names if getattr(self, n) is not None]


_DIMENSIONS = tuple(f.name for f in fields(Filters) if f.name not in {"since", "until"})


def metrics(connection: Connection, filters: Filters) -> Json:
    """All metrics as plain data.

    `answers` and `cards` are numbers of hook requests answered and of cards; `latency_ms` is exact for
    `mean` and within 10% for the percentiles; `rules` counts each finding once, however often it fired.
    """
    read = _Reader(connection, filters)
    answers, cards = read("answer", "day", "hook", "label"), read("card", *_RULE, "label")
    return {
        "answers": _answers(answers),
        "latency_ms": _latency(answers),
        "cards": _cards(cards),
        "determinations": _determinations(read("determination", *_RULE, "label")),
        "determinations_by_day": _by_day(read("determination", "day", "label")),
        "missing": _missing(read("missing", "label")),
        "rules": _rules(read("finding", *_RULE, "label"), read("reason", *_RULE, "label"), cards),
    }


class _Reader:
    def __init__(self, connection: Connection, filters: Filters) -> None:
        self._connection, self._filters = connection, filters

    def __call__(self, measure: str, *by: str) -> list[Any]:
        """Rows of the named dimensions with `count` and `total`, summed over the rest."""
        columns = [daily.c[n] for n in by]
        # PostgreSQL sums bigint as numeric, which would come back as Decimal.
        sums = (func.sum(daily.c.count).label("n"), func.sum(daily.c.total).label("total"))
        query = select(*columns, *sums).where(*self._filters.where(measure)).group_by(*columns).order_by(*columns)
        return [(*row[:-2], int(row[-2]), float(row[-1])) for row in self._connection.execute(query) if row[-2]]


def _answers(rows: list[Any]) -> Json:
    by_hook: Counts = defaultdict(int)
    by_status: Counts = defaultdict(int)
    by_day: Counts = defaultdict(int)
    for day, hook, label, n, _ in rows:
        by_hook[hook] += n
        by_status[label.split()[0]] += n
        by_day[day] += n
    return {
        "total": sum(by_hook.values()),
        "by_hook": dict(by_hook),
        "by_status": dict(by_status),
        "by_day": [{"day": d, "count": n} for d, n in sorted(by_day.items())],
    }


def _latency(rows: list[Any]) -> Json:
    buckets: Counts = defaultdict(int)
    total = 0.0
    for _, _, label, n, ms in rows:
        buckets[int(label.split()[1])] += n
        total += ms
    count = sum(buckets.values())
    quantiles = {f"p{q}": _quantile(buckets, count * q / 100) for q in (50, 95, 99)}
    return {"mean": round(total / count, 3) if count else None, **quantiles}


def _quantile(buckets: Counts, rank: float) -> float | None:
    """The value at a rank, interpolated within its latency class (2 ** ((n-1)/4) to 2 ** (n/4) ms)."""
    seen = 0
    for n, count in sorted(buckets.items()):
        if seen + count >= rank:
            return round(float(2 ** ((n - 1 + (rank - seen) / count) / 4)), 3)
        seen += count
    return None


def _cards(rows: list[Any]) -> Json:
    shown: Counts = defaultdict(int)
    silent = 0
    for *_, label, n, _ms in rows:
        state, indicator, _kind = label.split(" ", 2)
        if state == "shown":
            shown[indicator] += n
        else:
            silent += n
    return {"shown": sum(shown.values()), "by_indicator": dict(shown), "silent": silent}


def _determinations(rows: list[Any]) -> list[Json]:
    return [
        {"policy": p or None, "version": v or None, "rule": r or None, **_role_outcome(label), "count": n}
        for p, v, r, label, n, _ in rows
    ]


def _by_day(rows: list[Any]) -> list[Json]:
    return [{"day": day, **_role_outcome(label), "count": n} for day, label, n, _ in rows]


def _role_outcome(label: str) -> Json:
    role, _, outcome = label.partition(" ")
    return {"role": role or None, "outcome": outcome or None}


def _missing(rows: list[Any]) -> list[Json]:
    found = [(*loads(label), n) for label, n, _ in rows]
    return [{"source": s, "text": t, "count": n} for s, t, n in sorted(found, key=lambda f: -f[2])]


def _rules(findings: list[Any], reasons: list[Any], cards: list[Any]) -> list[Json]:
    counts: dict[Any, Counts] = defaultdict(lambda: defaultdict(int))
    for *rule, label, n, _ in findings:
        counts[tuple(rule)][label] += n
    for *rule, label, n, _ in cards:
        if label.startswith("shown"):
            counts[tuple(rule)]["cards"] += n
    given: dict[Any, list[Json]] = defaultdict(list)
    for *rule, label, n, _ in reasons:
        system, code, display = loads(label)
        given[tuple(rule)].append({"system": system, "code": code, "display": display, "count": n})
    return [_rule(rule, c, given[rule]) for rule, c in sorted(counts.items())]


def _rule(rule: tuple[str, ...], c: Counts, reasons: list[Json]) -> Json:
    shown, accepted, overridden = c["shown"], c["accepted"], c["overridden"]
    return {
        **{name: value or None for name, value in zip(_RULE, rule, strict=True)},
        "cards": c["cards"],
        "shown": shown,
        "accepted": accepted,
        "overridden": overridden,
        "ignored": shown - accepted - overridden,
        "acceptance_rate": round(accepted / shown, 4) if shown else None,
        "override_rate": round(overridden / shown, 4) if shown else None,
        "reasons": sorted(reasons, key=lambda r: -r["count"]),
    }
