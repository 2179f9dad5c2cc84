"""Counts kept with every write, so that pages need not scan: per day, and once per finding.

A finding counts on the day it was first shown. Its newest feedback (by the client's time) decides whether
it was accepted or overridden; without feedback it was ignored.
"""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from cds_service.ledger.document import dumps, loads
from cds_service.ledger.projection import Projection, Row

SHARDS = 8
"""Writers add to rows of their own, so that they seldom wait for each other; reading sums the shards."""


class Dimensions(NamedTuple):
    """What one count is of; an empty text where a dimension does not apply."""

    measure: str
    day: str
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


@lru_cache(maxsize=8192)
def daily_key(dimensions: Dimensions, shard: int) -> int:
    """Primary key of the row of `daily` for these dimensions."""
    return _integer(*dimensions, str(shard))


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
    a = p.answer
    place = (day_of(a["received"]), a["hook"], a["service"], a["client"] or "")
    payer = a["payer"] or ""
    slot = tally[Dimensions("answer", *place, payer, label=f"{a['status']} {bucket(a['latency'])}")]
    slot[0] += 1
    slot[1] += a["latency"]
    for d in p.determinations:
        rule = (d["payer"] or "", d["policy"] or "", d["version"] or "", d["rule"] or "")
        tally[Dimensions("determination", *place, *rule, f"{d['role'] or ''} {d['outcome'] or ''}")][0] += 1
        if d["missing"] != "[]":
            for missing in loads(d["missing"]):
                tally[Dimensions("missing", *place, *rule, dumps(missing).decode())][0] += 1
    for c in p.cards:
        rule = (payer, c["policy"] or "", c["version"] or "", c["rule"] or "")
        label = f"{'shown' if c['shown'] else 'silent'} {c['indicator']} {c['kind']}"
        tally[Dimensions("card", *place, *rule, label)][0] += 1


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
    reason = [feedback["reason_system"], feedback["reason_code"], feedback["reason_display"]]
    return dumps(reason).decode() if any(reason) else ""
