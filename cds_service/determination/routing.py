"""Which payers' policies apply: registry look-up by identifier or exact name, and which coverage is primary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal, Self

from cds_service.determination.lines import Lines, stated
from cds_service.policy.case import UNAVAILABLE, Case, Coverage, Order, Source
from cds_service.policy.content import Content
from cds_service.policy.model import LineNames, Payer
from cds_service.policy.model.payers import plain

Role = Literal["primary", "secondary", "guideline"]


class PayerDirectory:
    """The registry of payers, searchable by identifier and by name. Names match whole, never in part."""

    def __init__(self, payers: Mapping[str, Payer], words: Iterable[LineNames] = ()) -> None:
        self.payers = payers
        self._by_identifier = {(i.system, i.value): p.id for p in payers.values() for i in p.identifiers}
        self._by_name = {plain(n): p.id for p in payers.values() for n in (p.label, *p.names)}
        self._meanings = {plain(n): frozenset(w.means) for w in words for n in w.names}
        self._by_line: dict[tuple[str, str], str] = {
            (p.parent, p.line_of_business): p.id
            for p in payers.values()
            if p.parent and not p.one_of_several and p.line_of_business != "other"
        }

    @classmethod
    def of(cls, content: Content) -> Self:
        """The payers of some content, and the words for their lines."""
        return cls(content.payers, content.lines)

    def by_identifier(self, coverage: Coverage) -> str | None:
        """Payer of a coverage by business identifier."""
        return self._only(self._by_identifier.get(i) for i in coverage.payor_identifiers)

    def find(self, coverage: Coverage) -> str | None:
        """Payer of a coverage: its payor, or the payor's payer of the line that the coverage states.

        None where nobody is known, which is better than a payer of another line: what the coverage states cannot be
        read, contradicts itself or the payor, or is a line that the payor is not known to have.
        """
        payer = self.payor(coverage)
        if payer is None or not coverage.says_more:
            return payer
        return None if coverage.unread else self._of_line(payer, *stated(coverage, self._meanings, self._by_name))

    def _of_line(self, payor: str, lines: Lines, named: set[str]) -> str | None:
        if named:
            payer = self._only(named)
            return payer if payer and self.is_of(payer, payor) and self._may_be(payer, lines) else None
        if self.payers[payor].line_of_business in lines:
            return payor
        child = self._by_line.get((payor, next(iter(lines)))) if len(lines) == 1 else None
        return child or (payor if self._may_be(payor, lines) else None)

    def _may_be(self, payer: str, lines: Lines) -> bool:
        own = self.payers[payer].line_of_business
        return own in lines or (own == "other" and bool(lines))

    def is_of(self, payer: str, payor: str) -> bool:
        """Is a payer the one that somebody names, or one of its lines?"""
        return payer == payor or (payer in self.payers and self.payers[payer].parent == payor)

    def doubt(self, coverage: Coverage) -> str:
        """Why a coverage has no payer though its payor is known; empty where that is not so."""
        payor = self.payor(coverage) if coverage.says_more else None
        if payor is None or self.find(coverage) is not None:
            return ""
        if coverage.unread:
            return "its type or class could not be read"
        return f"its type and class lead to no plan of {self.label(payor)} that is known here"

    def payor(self, coverage: Coverage) -> str | None:
        """Who a coverage says pays, by identifier, else by exact normalised name, whatever line it states."""
        found = self.by_identifier(coverage)
        if found is not None or any(i in self._by_identifier for i in coverage.payor_identifiers):
            return found
        return self._only(self._by_name.get(plain(n)) for n in coverage.payor_names)

    def names_several(self, coverage: Coverage) -> bool:
        """Is the payor of a coverage named as several payers, which is nobody?"""
        known = {self._by_identifier.get(i) for i in coverage.payor_identifiers} - {None}
        return len(known or {self._by_name.get(plain(n)) for n in coverage.payor_names} - {None}) > 1

    @staticmethod
    def _only(found: Iterable[str | None]) -> str | None:
        distinct = {f for f in found if f is not None}
        return distinct.pop() if len(distinct) == 1 else None

    def label(self, payer: str) -> str:
        """Name of a payer as cards show it."""
        return self.payers[payer].label if payer in self.payers else payer

    def policies_of(self, payer: str) -> tuple[str, ...]:
        """The payer itself, and the payers whose policies it follows."""
        known = self.payers.get(payer)
        return (payer, *(known.follows if known else ()))


class IdentifierDirectory(PayerDirectory):
    """The registry of payers, searched by identifier only: no CRD call is routed by a payor's name."""

    def payor(self, coverage: Coverage) -> str | None:
        """Who a coverage says pays, by business identifier."""
        return self.by_identifier(coverage)


@dataclass(frozen=True, slots=True)
class Route:
    """One payer that decides (`primary`) or is shown (`secondary`) for an order, and why."""

    payer: str
    role: Role
    coverage: str | None


def in_force(coverage: Coverage, day: date) -> bool:
    """Active on a day; a status that could not be read counts as active, because missing data is never a refusal."""
    if coverage.status not in ("active", None):
        return False
    period = coverage.period
    return period is None or (
        (period.start is None or period.start <= day) and (period.end is None or day <= period.end)
    )


def _has_none(source: Source) -> bool:
    """Was no Coverage sent, or none found? False where there may be one that could not be read."""
    return source.complete or source == UNAVAILABLE


def deciding(case: Case, order: Order) -> list[Coverage]:
    """Coverages in force that decide on an order: those that it names itself, else all; of these, the first in rank."""
    active = [c for c in case.coverages if in_force(c, case.day(order))]
    named = [c for c in active if c.ref in order.insurance] or active
    first = min((c.order for c in named if c.order is not None), default=None)
    return [c for c in named if c.order == first]


def may_lack_first(case: Case, order: Order) -> bool:
    """May a coverage that did not come decide on an order before those that are known?

    Not where the order names one of them, nor where one is known to be the first.
    """
    if not case.source("coverage").unsent:
        return False
    return not any(c.order == 1 or c.ref in order.insurance for c in deciding(case, order))


def routes(case: Case, order: Order, directory: PayerDirectory, default: str | None = None) -> tuple[Route, ...]:
    """Payers for an order. Coverages that the order itself names come first; else Coverage.order decides.

    Coverages that tie for first place are all primary: their outcomes must agree to stand.
    """
    if default and not case.coverages and _has_none(case.source("coverage")):
        return (Route(default, "primary", None),)
    first = deciding(case, order)
    found: dict[tuple[str, Role], Route] = {}
    for coverage in sorted(case.coverages, key=lambda c: c.ref):
        payer = directory.find(coverage)
        if payer is not None and in_force(coverage, case.day(order)):
            role: Role = "primary" if coverage in first else "secondary"
            found.setdefault((payer, role), Route(payer, role, coverage.ref))
    primaries = {p for p, role in found if role == "primary"}
    return tuple(r for (p, role), r in found.items() if role == "primary" or p not in primaries)
