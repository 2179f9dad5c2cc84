"""Versions that differ from the baseline's and judged nothing: that nothing changed says nothing about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from cds_service.hooks.answer import Answer
from cds_service.policy.diff import days_of
from cds_service.policy.model import Policy, Version
from cds_service.policy.rulebook import ANYONE, Rulebook, within
from cds_service.replay.tally import Tally


@dataclass(frozen=True)
class Differing:
    """A version that the baseline does not have, or has otherwise. `number` is its place in its rulebook."""

    number: int
    policy: str
    version: str
    kind: str
    effective: tuple[date | None, date | None]
    days: str

    @property
    def key(self) -> str:
        """As `CompiledVersion.key`."""
        return f"{self.policy}@{self.version}"


@dataclass(frozen=True)
class Unheard:
    """One that judged nothing, and why."""

    policy: str
    version: str
    why: str


def differing(before: Rulebook, after: Rulebook) -> tuple[Differing, ...]:
    """Versions of `after` of which something that can decide is not as in `before`."""
    if before.revision == after.revision:
        return ()
    old = {key: deciding for _, key, deciding, _, _ in _versions(before)}
    return tuple(
        Differing(number, policy.id, version.version, policy.kind, after.periods[number], days_of(version))
        for number, key, deciding, policy, version in _versions(after)
        if old.get(key) != deciding
    )


def _versions(rulebook: Rulebook) -> Iterator[tuple[int, tuple[str, str], Any, Policy, Version]]:
    """Every version with its number, its name, and what decides; numbered as rulebooks are."""
    number = 0
    for _, folder in sorted(rulebook.folders.items()):
        policy = folder.policy
        for version in policy.versions:
            deciding = (
                policy.kind,
                policy.payers,
                version.effective,
                version.criteria,
                version.orders,
                version.findings,
            )
            yield number, (policy.id, version.version), deciding, policy, version
            number += 1


def listen(done: Answer, rulebook: Rulebook, differing: dict[int, str], tally: Tally) -> None:
    """Count, of one answer, what tells in the end which of the versions (number -> key) judged nothing, and why."""
    everyone = rulebook.audiences.get(ANYONE)
    if not differing or everyone is None:
        return
    orders = {o.ref: o for o in done.case.orders}
    for decided in done.decision.orders:
        day = decided.order.day
        tally.days[day.isoformat()] += 1
        spoke = {d.key for d in decided.spoken}
        tally.spoke.update(spoke | {f.key for f in decided.findings})
        meant = differing.keys() & everyone.numbers(orders[decided.order.ref], rulebook.vocabulary)
        tally.meant.update(differing[n] for n in meant if within(rulebook.periods[n], day))


def unheard(versions: tuple[Differing, ...], tally: Tally) -> list[Unheard]:
    """Those of the versions that judged nothing."""
    days = {date.fromisoformat(day): count for day, count in tally.days.items()}
    return [Unheard(v.policy, v.version, _why(v, days, tally.meant[v.key])) for v in versions if not tally.spoke[v.key]]


def _why(version: Differing, days: dict[date, int], meant: int) -> str:
    orders = sum(count for day, count in days.items() if within(version.effective, day))
    if not orders:
        return f"no order is of its days ({version.days})"
    if not meant:
        return f"orders of its days ({version.days}): {orders:,}; it speaks to none of them"
    # A guideline judges whatever it speaks to.
    why = "is insured with its payers" if version.kind == "coverage" else "gave cause for a remark"
    return f"orders that it speaks to: {meant:,}; none {why}"
