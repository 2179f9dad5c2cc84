"""Metrics from the counts: answers, latency, determinations, what was missing, and rules' acceptance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, and_, func, or_, select

from cds_service.ledger.counts import FIRST_DAY, LAST_DAY, first_key, last_key
from cds_service.ledger.document import loads
from cds_service.ledger.record import Json
from cds_service.ledger.schema import tally

Counts = defaultdict[Any, int]
Grain = Literal["day", "month", "year"]
_GRAINS: tuple[Grain, ...] = ("day", "month", "year")
_LENGTHS: dict[Grain, int] = {"day": len("2026-02-03"), "month": len("2026-02"), "year": len("2026")}
_DAY = timedelta(days=1)
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

    def where(self, measure: str, grain: Grain) -> Any:
        """Condition on `tally` for one measure: whole years and months where they fit, as far as `grain` allows."""
        names = _NARROWED.get(measure, _DIMENSIONS)
        wanted = [tally.c[n] == getattr(self, n) for n in names if getattr(self, n) is not None]
        return and_(or_(*(_between(measure, *run) for run in self._runs(grain))), *wanted)

    def _runs(self, grain: Grain) -> list[tuple[str, str]]:
        """First and last period of each run of days, months or years that make up the time asked for."""
        first, last = max(self.since or FIRST_DAY, FIRST_DAY), min(self.until or LAST_DAY, LAST_DAY)
        runs = list(_split(first, last + _DAY, _GRAINS[: _GRAINS.index(grain) + 1]))
        return runs or [(first.isoformat(), last.isoformat())]  # no day: nothing lies between the two


def _split(start: date, end: date, grains: Sequence[Grain]) -> Iterator[tuple[str, str]]:
    """Runs from `start` to before `end`: of the last of the grains where it fits, of those before it at the edges."""
    *finer, grain = grains
    low, high = (start, end) if grain == "day" else (_from(start, grain), _first(end, grain))
    if low >= high:
        if finer:
            yield from _split(start, end, finer)
        return
    length = _LENGTHS[grain]
    yield low.isoformat()[:length], (high - _DAY).isoformat()[:length]
    if finer:
        yield from _split(start, low, finer)
        yield from _split(high, end, finer)


def _first(day: date, grain: Grain) -> date:
    """The first day of the month or year that a day is in."""
    return day.replace(day=1) if grain == "month" else day.replace(month=1, day=1)


def _from(day: date, grain: Grain) -> date:
    """The first day of a month or year that is not before a day."""
    first = _first(day, grain)
    return first if first == day else _first(first + timedelta(days=31 if grain == "month" else 366), grain)


def _between(measure: str, first: str, last: str) -> Any:
    """The keys of a measure from the first to the last period."""
    return tally.c.key.between(first_key(measure, first), last_key(measure, last))


_CALL = ("hook", "service", "client", "payer")
_NARROWED = {**dict.fromkeys(("answer", "latency", "outcome", "late"), _CALL), "asserted": (*_CALL, "policy")}
"""What narrows a measure that is not counted by all dimensions."""
_DIMENSIONS = tuple(f.name for f in fields(Filters) if f.name not in {"since", "until"})


def metrics(connection: Connection, filters: Filters, *, days: bool = True) -> Json:
    """All metrics as plain data; without `days`, what is counted by day comes by month where whole months fit.

    `answers` and `cards` are numbers of hook requests answered and of cards; `latency_ms` is exact for
    `mean` and within 10% for the percentiles; `rules` counts each finding once, however often it fired.
    """
    read = _Reader(connection, filters, days)
    cards = read("card", *_RULE, "label")
    answers = read("answer", "period", "hook", "label")
    by_day = "outcome" if filters.policy is filters.version is filters.rule is None else "determination"
    return {
        "answers": _answers(answers),
        "latency_ms": _latency(read("latency", "label"), answers),
        "cards": _cards(cards),
        "determinations": _determinations(read("determination", *_RULE, "label")),
        "determinations_by_day": _by_day(read(by_day, "period", "label")),
        "missing": _missing(read("missing", "label")),
        "rules": _rules(read("finding", *_RULE, "label"), read("reason", *_RULE, "label"), cards),
    }


class _Reader:
    def __init__(self, connection: Connection, filters: Filters, days: bool) -> None:
        self._connection, self._filters, self._days = connection, filters, days

    def __call__(self, measure: str, *by: str) -> list[Any]:
        """Rows of the named dimensions with `count` and `total`, summed over the rest."""
        return counted(self._connection, self._filters, measure, *by, by_day=self._days and "period" in by)


def counted(connection: Connection, filters: Filters, measure: str, *by: str, by_day: bool = False) -> list[Any]:
    """Rows of the named dimensions with `count` and `total`, summed over the rest; what sums to none is left out."""
    columns = [tally.c[n] for n in by]
    sums = (func.sum(tally.c.count), func.sum(tally.c.total))
    where = filters.where(measure, "day" if by_day else "month" if "period" in by else "year")
    query = select(*columns, *sums).where(where).group_by(*columns).order_by(*columns)
    # PostgreSQL sums bigint as numeric, which would come back as Decimal.
    return [(*row[:-2], int(row[-2]), float(row[-1])) for row in connection.execute(query) if row[-2]]


def _answers(rows: list[Any]) -> Json:
    by_hook: Counts = defaultdict(int)
    by_status: Counts = defaultdict(int)
    by_day: Counts = defaultdict(int)
    for day, hook, label, n, _ in rows:
        by_hook[hook] += n
        by_status[label] += n
        by_day[day] += n
    return {
        "total": sum(by_hook.values()),
        "by_hook": dict(by_hook),
        "by_status": dict(by_status),
        "by_day": [{"day": d, "count": n} for d, n in sorted(by_day.items())],
    }


def _latency(rows: list[Any], answers: list[Any]) -> Json:
    buckets = {int(label): n for label, n, _ in rows}
    count, total = sum(n for *_, n, _ms in answers), sum(ms for *_, ms in answers)
    quantiles = {f"p{q}": _quantile(buckets, count * q / 100) for q in (50, 95, 99)}
    return {"mean": round(total / count, 3) if count else None, **quantiles}


def _quantile(buckets: dict[int, int], rank: float) -> float | None:
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
