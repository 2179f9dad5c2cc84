"""Counts of a replay: events, orders, and determinations by policy, rule, role and outcome. Tallies add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Row = tuple[str, str, str, str]  # policy, rule, role, outcome
Shift = tuple[str, str, str]  # policy, outcome before, outcome after
Reason = tuple[str, str]  # policy, what made the difference


@dataclass
class Tally:
    """What was replayed so far. What follows `rows` is filled where two policy sets are compared.

    `in_words` counts orders that were not checked because only their words say what is ordered. `days` are those of
    the orders, `spoke` the versions that gave a determination or remark, `meant` those that differ from the baseline's
    and may speak to an order of their days, whoever its payer.
    """

    events: int = 0
    orders: int = 0
    determinations: int = 0
    changed_orders: int = 0
    in_words: int = 0
    rows: Counter[Row] = field(default_factory=Counter)
    shifts: Counter[Shift] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    days: Counter[str] = field(default_factory=Counter)
    spoke: Counter[str] = field(default_factory=Counter)
    meant: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        self.events += other.events
        self.orders += other.orders
        self.determinations += other.determinations
        self.changed_orders += other.changed_orders
        self.in_words += other.in_words
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))

    def determined(self, entry: Mapping[str, Any]) -> None:
        """Count one determination, as `hooks.answer.determinations` tells it."""
        self.determinations += 1
        rule = (entry.get("trace") or {}).get("decided_by") or ""
        self.rows[(entry["policy"] or "", rule, entry["role"], entry["outcome"])] += 1

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the journal."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _NUMBERS}
        for name in _COUNTERS:
            plain[name] = [[key, count] for key, count in getattr(self, name).items()]
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Tally:
        """The tally that `to_json` told of."""
        tally = cls(**{name: plain[name] for name in _NUMBERS})
        for name in _COUNTERS:
            pairs = ((tuple(k) if isinstance(k, list) else k, n) for k, n in plain[name])
            getattr(tally, name).update(dict(pairs))
        return tally


_NUMBERS = ("events", "orders", "determinations", "changed_orders", "in_words")
_COUNTERS = ("rows", "shifts", "reasons", "days", "spoke", "meant", "problems")
