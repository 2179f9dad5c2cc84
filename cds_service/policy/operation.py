"""One operation: its orders, its region and approach, its interspaces."""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.policy.case import Order
from cds_service.policy.lazy import lazy
from cds_service.policy.model import ProcedureCode
from cds_service.policy.spine import Levels, named_levels
from cds_service.policy.trace import Evidence
from cds_service.policy.vocabulary import Vocabulary

# They book what an order asks for: beside it, they are no second order.
BOOKINGS = frozenset({"Appointment", "Encounter"})
PRIMARY_ROLES = frozenset({"fusion", "decompression", "arthroplasty", "fracture-fixation"})

Count = tuple[int, int | None]  # fewest and most; None is open
# Members of an operation that are in a value set, and those that may be members, each with the evidence for it.
Members = tuple[list[tuple[Order, Evidence]], list[tuple[Order, Evidence]]]


def order_evidence(order: Order, how: str) -> Evidence:
    """An order of the event or of the chart, and what was read in it."""
    return Evidence(order.ref, "draft order" if order.draft else "active order", how)


class Placed:
    """An order with what its code means: `named` are the regions its body site names, `regions` all it has."""

    __slots__ = ("entry", "evidence", "named", "order", "primary", "regions")

    def __init__(self, order: Order, vocabulary: Vocabulary, named: frozenset[str]) -> None:
        self.order, self.named = order, named
        self.entry = entry = vocabulary.procedure(order.codes)
        self.evidence = order_evidence(order, vocabulary.told(order.codes))
        self.regions = frozenset(entry.region) if entry is not None and entry.region else self.named
        # A procedure that stands by itself.
        self.primary = entry is not None and not entry.add_on and entry.role in PRIMARY_ROLES


class Operation:
    """One operation: its primaries, the orders surely in it (both together: its members), and those that may be."""

    def __init__(
        self, primaries: tuple[Placed, ...], sure: tuple[Placed, ...] = (), maybe: tuple[Placed, ...] = ()
    ) -> None:
        self.primaries, self.sure, self.maybe = primaries, sure, maybe
        self.members = primaries + sure
        self.members_in: dict[str, Members] = {}  # filled by `Facts.members_in`

    @lazy
    def reasoned(self) -> tuple[Order, ...]:
        """Primaries that say why they are ordered, or say it unreadably."""
        orders = (p.order for p in self.primaries)
        return tuple(o for o in orders if o.reason_codes or o.reason_refs or o.reasons_faulty)

    @lazy
    def refs(self) -> frozenset[str]:
        """Of its members."""
        return frozenset([p.order.ref for p in self.members])

    @lazy
    def maybe_refs(self) -> frozenset[str]:
        """Of the orders that may be in it."""
        return frozenset([p.order.ref for p in self.maybe])

    @lazy
    def regions(self) -> frozenset[str]:
        """Regions of the primaries; where they do not say, those of the other members."""
        return all_regions(self.primaries) or all_regions(self.sure)

    @lazy
    def approaches(self) -> frozenset[str]:
        """Approaches of the primaries."""
        return frozenset([a for p in self.primaries if p.entry for a in p.entry.approach])

    @lazy
    def roles(self) -> frozenset[str]:
        """Roles of the primaries."""
        return frozenset([p.entry.role for p in self.primaries if p.entry])

    @lazy
    def interspaces(self) -> Count | None:
        """Fused interspaces as (fewest, most); None when the operation fuses nothing."""
        texts = dict.fromkeys([t for m in self.members for t in (*m.order.body_site_texts, *m.order.texts)])
        if any(m.entry and m.entry.role == "fusion" for m in self.maybe):
            return (1, None)
        fusions = [(m.entry, m.order.units) for m in self._ordered if m.entry and m.entry.role == "fusion"]
        return count_interspaces(fusions, named_levels(texts))

    @property
    def _ordered(self) -> tuple[Placed, ...]:
        """Members without the bookings of what another member orders."""
        if not any(m.order.resource_type in BOOKINGS for m in self.members):
            return self.members
        ordered = {m.entry and m.entry.code for m in self.members if m.order.resource_type not in BOOKINGS}
        booked = (m.order.resource_type in BOOKINGS and m.entry and m.entry.code in ordered for m in self.members)
        return tuple([m for m, again in zip(self.members, booked, strict=True) if not again])


def all_regions(placed: Iterable[Placed]) -> frozenset[str]:
    """The regions of several orders together."""
    return frozenset([region for p in placed for region in p.regions])


def count_interspaces(fusions: list[tuple[ProcedureCode, int | None]], levels: Levels | None) -> Count | None:
    """Interspaces of one operation: 1 + add-on units, per family; families must agree, and so must named levels.

    A first-level code that is there twice may be one level (a duplicate) or two (miscoded): both are left open.
    """
    if not fusions:
        return None
    spans = [e.segments for e, _ in fusions if e.segments]
    if spans:
        return (max(s[0] for s in spans) - 1, max(s[1] for s in spans) - 1)
    if any(units is None for _, units in fusions):
        return (1, None)
    counts = {_family_count([f for f in fusions if f[0].family == family]) for family in {e.family for e, _ in fusions}}
    if len(counts) > 1:
        return (1, None)
    low, high = counts.pop()
    if levels is not None:
        named = levels.interspaces
        return (named, named) if low <= named <= high else (1, None)
    return (low, high)


def _family_count(fusions: list[tuple[ProcedureCode, int | None]]) -> tuple[int, int]:
    added = sum(units or 0 for entry, units in fusions if entry.add_on)
    firsts = [(entry.code, units or 0) for entry, units in fusions if not entry.add_on]
    fewest = added + len({code for code, _ in firsts})
    return max(fewest, 1), max(fewest, added + sum(units for _, units in firsts), 1)
