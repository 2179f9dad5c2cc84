"""Counts kept with every write, so that pages need not scan: per day, month and year, and once per finding.

A finding counts on the day it was first shown. Its newest feedback (by the client's time) decides whether
it was accepted or overridden; without feedback it was ignored.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from cds_service.ledger.document import dumps, loads
from cds_service.ledger.projection import Projection, Row

FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2148, 12, 31)
_HASH_BITS = 42
_YEARS = 1 << 15  # places of years begin here, far behind those of months
MEASURES = (
    *("answer", "latency", "outcome", "determination", "missing", "card", "finding", "reason"),
    *("asserted", "late"),
)
"""`outcome` is `determination` without policy and rule: few rows, for charts by day. `asserted` counts orders by
what a CRD answer said of them, without version and rule; `late` the answers that took `LATE_MS` or longer. Keys hold
a measure's place in this list: new ones go to the end."""

LATE_MS = 5000
OTHER = "other"
"""The code of a reason that the card did not offer: callers choose such codes, and counts never go."""


class Dimensions(NamedTuple):
    """What one count is of; an empty text where a dimension does not apply."""

    measure: str
    period: str
    hook: str
    service: str
    client: str
    payer: str
    policy: str = ""
    version: str = ""
    rule: str = ""
    label: str = ""


Tally = defaultdict[Dimensions, list[float]]


def new_tally() -> Tally:
    """An empty tally: [count, total] per dimensions."""
    return defaultdict(lambda: [0, 0.0])


def _integer(*parts: str) -> int:
    """A 63-bit key for a combination of texts."""
    return int.from_bytes(blake2b("\x1f".join(parts).encode(), digest_size=8).digest(), "big") >> 1


def first_key(measure: str, period: str) -> int:
    """The smallest key of a measure in a period: `2026-02-03`, `2026-02` for the whole month, `2026` for the year.

    From the top: 4 bits of measure, 1 that is 0 for days, 16 of day, month or (from the middle on) year since 1970,
    42 of hash. So a measure's days are one run of keys, its months another, its years a third.
    """
    year = int(period[:4]) - FIRST_DAY.year
    if len(period) == len("2026-02-03"):
        whole, place = 0, (date.fromisoformat(period) - FIRST_DAY).days
    else:
        whole, place = 1, _YEARS + year if len(period) == len("2026") else year * 12 + int(period[5:]) - 1
    return ((MEASURES.index(measure) << 1 | whole) << 16 | max(place, 0)) << _HASH_BITS


def last_key(measure: str, period: str) -> int:
    """The largest key of a measure in a period."""
    return first_key(measure, period) | ((1 << _HASH_BITS) - 1)


@lru_cache(maxsize=16384)
def _places(day: Dimensions, shard: int) -> tuple[tuple[int, Dimensions], ...]:
    """Keys and dimensions of the rows of `tally` for a day's count: the day's, its month's and its year's."""
    whole = (day._replace(period=day.period[: len(period)]) for period in ("2026-02", "2026"))
    return tuple((tally_key(d, shard), d) for d in (day, *whole))


def tally_key(dimensions: Dimensions, shard: int) -> int:
    """Primary key of the row of `tally` for these dimensions."""
    hashed = _integer(*dimensions, str(shard)) & ((1 << _HASH_BITS) - 1)
    return first_key(dimensions.measure, dimensions.period) | hashed


def tally_rows(tally: Tally, shard: int) -> list[Row]:
    """Rows of `tally` to add up, per day, month and year, in key order (a fixed order prevents deadlocks)."""
    rows: dict[int, Row] = {}
    for day, (n, total) in tally.items():
        for key, d in _places(day, shard):
            row = rows.get(key)
            if row is None:
                rows[key] = {"key": key, "dimensions": d, "shard": shard, "count": int(n), "total": total}
            else:
                row["count"] += int(n)
                row["total"] += total
    return [rows[key] for key in sorted(rows)]


def tally_row(row: Row) -> Row:
    """A row of `tally` with all its columns."""
    return {**row.pop("dimensions")._asdict(), **row}


def finding_key(row: Row) -> int:
    """Primary key of `finding`: one client's finding under one version of a rule."""
    return _integer(*(row[k] or "" for k in ("client", "finding", "policy", "version", "rule")))


def day_of(ms: int) -> str:
    """ISO date, UTC."""
    return _day(ms // 86_400_000)


@lru_cache(maxsize=512)
def _day(days: int) -> str:
    return datetime.fromtimestamp(days * 86_400, UTC).date().isoformat()


def bucket(ms: float) -> int:
    """Latency class: the smallest n with ms <= 2 ** (n / 4)."""
    return max(-40, math.ceil(4 * math.log2(ms))) if ms > 0 else -40


def add_answer(tally: Tally, p: Projection) -> None:
    """Count an answer, its determinations, what was missing, and its cards."""
    add_spoken(tally, p.answer, p.determinations, 1)
    a, place = p.answer, _place(p.answer)
    payer = a["payer"] or ""
    slot = tally[Dimensions("answer", *place, payer, label=str(a["status"]))]
    slot[0] += 1
    slot[1] += a["latency"]
    tally[Dimensions("latency", *place, payer, label=str(bucket(a["latency"])))][0] += 1
    if a["latency"] >= LATE_MS:
        tally[Dimensions("late", *place, payer)][0] += 1
    for c in p.cards:
        rule = (payer, c["policy"] or "", c["version"] or "", c["rule"] or "")
        label = f"{'shown' if c['shown'] else 'silent'} {c['indicator']} {c['kind']}"
        tally[Dimensions("card", *place, *rule, label)][0] += 1


def add_spoken(tally: Tally, answer: Row, determinations: Sequence[Row], times: int) -> None:
    """Count the determinations of `times` answers of the same day, hook, service, client and payer."""
    place = _place(answer)
    for d in determinations:
        payer, label = d["payer"] or "", f"{d['role'] or ''} {d['outcome'] or ''}"
        rule = (payer, d["policy"] or "", d["version"] or "", d["rule"] or "")
        tally[Dimensions("outcome", *place, payer, label=label)][0] += times
        tally[Dimensions("determination", *place, *rule, label)][0] += times
        if d["asserted"]:
            tally[Dimensions("asserted", *place, answer["payer"] or "", rule[1], label=d["asserted"])][0] += times
        if d["missing"] != "[]":
            for missing in _each(d["missing"]):
                tally[Dimensions("missing", *place, *rule, missing)][0] += times


def _place(answer: Row) -> tuple[str, str, str, str]:
    return day_of(answer["received"]), answer["hook"], answer["service"], answer["client"] or ""


@lru_cache(maxsize=1024)
def _each(missing: str) -> tuple[str, ...]:
    """Each pair of source and the policy's words by itself."""
    return tuple(dumps(pair).decode() for pair in loads(missing))


def finding_rows(p: Projection) -> list[Row]:
    """Rows of `finding` for the cards that were shown, in key order (a fixed order prevents deadlocks)."""
    rows = {finding_key(c): _finding(c) for c in p.cards if c["shown"]}
    return [{"key": key, **rows[key]} for key in sorted(rows)]


def _finding(c: Row) -> Row:
    names = ("hook", "service", "client", "payer", "policy", "version", "rule")
    return {"day": day_of(c["received"]), **{n: c[n] or "" for n in names}, "outcome": "", "reason": "", "at": 0}


def add_finding(tally: Tally, row: Row, label: str, amount: int) -> None:
    """Count a finding as `shown`, `accepted` or `overridden`."""
    tally[_of_finding("finding", row, label)][0] += amount


def add_outcome(tally: Tally, row: Row, feedback: Row) -> Row | None:
    """Count feedback on a finding; the finding's new state, or None when older than what is known."""
    at = min(feedback["at"], feedback["received"])  # a client whose clock is ahead must not win for ever
    if at < row["at"]:
        return None
    reason = _reason(feedback)
    if row["outcome"]:
        _count_outcome(tally, row, row["outcome"], row["reason"], -1)
    _count_outcome(tally, row, feedback["outcome"], reason, 1)
    return {"outcome": feedback["outcome"], "reason": reason, "at": at}


def _count_outcome(tally: Tally, row: Row, outcome: str, reason: str, amount: int) -> None:
    add_finding(tally, row, outcome, amount)
    if reason:
        tally[_of_finding("reason", row, reason)][0] += amount


def _of_finding(measure: str, row: Row, label: str) -> Dimensions:
    return Dimensions(
        measure,
        row["day"],
        row["hook"],
        row["service"],
        row["client"],
        row["payer"],
        row["policy"],
        row["version"],
        row["rule"],
        label,
    )


def _reason(feedback: Row) -> str:
    """What a reason is counted as: the card's own words, or one label for all that the card did not offer."""
    reason = [feedback["reason_system"], feedback["reason_code"], feedback["reason_display"]]
    if not any(reason):
        return ""
    return dumps(reason if feedback["reason_offered"] else [None, OTHER, None]).decode()
