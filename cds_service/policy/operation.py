"""Derived facts: which orders belong to one operation, its region and approach, its interspaces and vertebrae.

Orders are tied together by requisition, basedOn, encounter, day and body site. Where these do not tell, orders
of compatible regions are taken as one operation; an add-on that fits two operations is ambiguous, and every
fact that differs between the two is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from cds_service.policy.case import Case, Order, Period, Procedure
from cds_service.policy.lazy import lazy
from cds_service.policy.model import ProcedureCode
from cds_service.policy.trace import Evidence
from cds_service.policy.vocabulary import Vocabulary, legible

# They book what an order asks for: beside it, they are no second order.
BOOKINGS = frozenset({"Appointment", "Encounter"})
PRIMARY_ROLES = frozenset({"fusion", "decompression", "arthroplasty", "fracture-fixation"})
_REGION_LETTERS = {"c": "cervical", "t": "thoracic", "l": "lumbar", "s": "sacral"}
_REGION_SIZE = {"c": 7, "t": 12, "l": 5, "s": 1}
_REGIONS_OF_WORD = {
    "cervical": ("cervical",),
    "neck": ("cervical",),
    "cervicothoracic": ("cervical", "thoracic"),
    "thoracic": ("thoracic",),
    "thoracolumbar": ("thoracic", "lumbar"),
    "lumbar": ("lumbar",),
    "low back": ("lumbar",),
    "lower back": ("lumbar",),
    "lumbosacral": ("lumbar", "sacral"),
    "sacral": ("sacral",),
}
_REGION_WORDS = re.compile(
    rf"(?<!femoral )(?<!surgical )\b({'|'.join(_REGIONS_OF_WORD)})\b(?! of)", re.IGNORECASE
)  # bones have necks too
_LEVELS = re.compile(
    r"\b([CTLS])\s?(\d{1,2})\s?(?:-|/|\u2013|to|through|thru)\s?([CTLS])?\s?(\d{1,2})\b", re.IGNORECASE
)
_BODY_REGIONS = {
    "122494005": "cervical",
    "122495006": "thoracic",
    "122496007": "lumbar",
    "54735007": "sacral",
}  # fmt: skip - SNOMED CT structures of the four spine regions

Count = tuple[int, int | None]  # fewest and most; None is open
# Members of an operation that are in a value set, and those that may be members, each with the evidence for it.
Members = tuple[list[tuple[Order, Evidence]], list[tuple[Order, Evidence]]]


class Levels(NamedTuple):
    """A named span of levels such as C4-C6, as positions from C1 = 1 down."""

    top: int
    bottom: int

    @property
    def interspaces(self) -> int:
        """Disc spaces between the two levels."""
        return self.bottom - self.top


def _position(letter: str, number: int) -> int | None:
    offset = {"c": 0, "t": 7, "l": 19, "s": 24}[letter]
    return offset + number if 1 <= number <= _REGION_SIZE[letter] else None


SCATTERED = Levels(0, 0)  # spans that do not touch: they tell no number of disc spaces that codes could agree with


def named_levels(texts: Iterable[str]) -> Levels | None:
    """The span of levels that texts name (the widest, when several overlap or touch); None when none is named."""
    spans = []
    for text in legible(tuple(texts)):
        for first, top, second, bottom in _LEVELS.findall(text):
            start = _position(first.lower(), int(top))
            end = _position((second or first).lower(), int(bottom))
            if start is not None and end is not None and end > start:
                spans.append(Levels(start, end))
    return _joined(sorted(set(spans))) if spans else None


def _joined(spans: list[Levels]) -> Levels:
    top, bottom = spans[0]
    for span in spans:
        if span.top > bottom:
            return SCATTERED
        bottom = max(bottom, span.bottom)
    return Levels(top, bottom)


def named_regions(order: Order) -> frozenset[str]:
    """Regions from the body site (code, words or levels) of an order."""
    found = {_BODY_REGIONS[c.code] for c in order.body_sites if c.code in _BODY_REGIONS}
    for text in legible(order.body_site_texts):
        for word in _REGION_WORDS.findall(text):
            found.update(_REGIONS_OF_WORD[word.lower()])
        found.update(_REGION_LETTERS[m[0].lower()] for m in _LEVELS.findall(text))
    return frozenset(found)


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


def _linked(a: Order, b: Order) -> bool | None:
    """True or False where the orders say whether they belong together; None where they do not."""
    if a.ref in b.based_on or b.ref in a.based_on:
        return True
    if a.requisition and b.requisition:
        return a.requisition == b.requisition
    if a.based_on and b.based_on:
        return not set(a.based_on).isdisjoint(b.based_on)
    if a.encounter and b.encounter and a.encounter != b.encounter:
        return False
    if a.occurrence and b.occurrence and a.occurrence != b.occurrence:
        return False
    return None


def _compatible(a: frozenset[str], b: frozenset[str]) -> bool:
    return not a or not b or not a.isdisjoint(b)


def _together(a: Placed, b: Placed) -> bool:
    linked = _linked(a.order, b.order)
    if linked is None:
        return _compatible(a.regions, b.regions) and _compatible(a.named, b.named)
    return linked


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
    def regions(self) -> frozenset[str]:
        """Regions of the primaries; where they do not say, those of the other members."""
        return _all_regions(self.primaries) or _all_regions(self.sure)

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


def _all_regions(placed: Iterable[Placed]) -> frozenset[str]:
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


class Operations:
    """All operations of a case, and to which an order may belong."""

    def __init__(
        self, placed: dict[str, Placed], groups: tuple[Operation, ...], homes: dict[str, tuple[int, ...]]
    ) -> None:
        self.placed, self.groups, self._home = placed, groups, homes

    def of(self, order: Order) -> tuple[Operation, ...]:
        """The operations an order may belong to; one of its own when it fits none."""
        home = self._home.get(order.ref)
        if home:
            return tuple([self.groups[i] for i in home])
        return (Operation((), (self.placed[order.ref],)),)

    def home(self, order: Order) -> Hashable:
        """The same for orders that may belong to the same operations."""
        return self._home.get(order.ref) or order.ref

    def place_like(self, order: Order, other: Order, vocabulary: Vocabulary) -> None:
        """Let an order that is only thought of stand where another stands; members of operations stay as they are."""
        named = self.placed[other.ref].named  # its body site is the other's
        self.placed[order.ref] = Placed(order, vocabulary, named)
        self._home[order.ref] = self._home.get(other.ref, ())


class _Group:
    """Primaries of one operation, while orders are being sorted into operations."""

    def __init__(self, primaries: list[Placed]) -> None:
        self.primaries = primaries
        self.regions = _all_regions(primaries)
        self.named = frozenset([region for p in primaries for region in p.named])


def _candidates(item: Placed, groups: list[_Group]) -> tuple[int, ...]:
    """Numbers of the operations that an order which is no primary may belong to."""
    certain, fitting = [], []
    for number, group in enumerate(groups):
        links = [_linked(item.order, p.order) for p in group.primaries]
        if True in links:
            certain.append(number)
        elif False not in links and _compatible(item.regions, group.regions) and _compatible(item.named, group.named):
            fitting.append(number)
    if certain:
        return tuple(certain)
    if len(fitting) > 1 and item.entry and item.entry.requires:
        needed = set(item.entry.requires)
        exact = [i for i in fitting if any(c.code in needed for p in groups[i].primaries for c in p.order.codes)]
        fitting = exact or fitting
    return tuple(fitting)


def operations_of(case: Case, vocabulary: Vocabulary) -> Operations:
    """Sort the orders of a case into operations; the result does not depend on the order of the orders."""
    placed = _placed(sorted(case.orders, key=_by_ref), vocabulary)
    groups = [_Group(g) for g in _primaries_together(placed)]
    others = [p for p in placed if not p.primary]
    homes: dict[str, tuple[int, ...]] = {p.order.ref: (i,) for i, g in enumerate(groups) for p in g.primaries}
    sure: list[list[Placed]] = [[] for _ in groups]
    maybe: list[list[Placed]] = [[] for _ in groups]
    for item in others:
        found = homes[item.order.ref] = _candidates(item, groups)
        for number in found:
            (sure if len(found) == 1 else maybe)[number].append(item)
    built = [Operation(tuple(g.primaries), tuple(sure[i]), tuple(maybe[i])) for i, g in enumerate(groups)]
    return Operations({p.order.ref: p for p in placed}, tuple(built), homes)


def _placed(orders: list[Order], vocabulary: Vocabulary) -> list[Placed]:
    """Orders with what their codes mean; a body site that several of them share is read once."""
    sites = {(o.body_sites, o.body_site_texts): o for o in orders}
    named = {site: named_regions(o) for site, o in sites.items()}
    return [Placed(o, vocabulary, named[o.body_sites, o.body_site_texts]) for o in orders]


def _by_ref(item: Order | Procedure) -> str:
    return item.ref


def _primaries_together(placed: Iterable[Placed]) -> list[list[Placed]]:
    """Primaries that belong to one operation, directly or through others."""
    groups: list[list[Placed]] = []
    for item in placed:
        if item.primary:
            joined = [g for g in groups if any(_together(item, p) for p in g)]
            merged = [item, *(p for g in joined for p in g)]
            groups = [g for g in groups if g not in joined] + [merged]
    return groups


@dataclass(frozen=True)
class PastOperation:
    """Spine procedures of one day and of compatible regions in the history; not `done` where one may not have been.

    A procedure recorded in words alone may be any operation: it stands by itself, with an open count.
    """

    procedures: tuple[Procedure, ...]
    interspaces: Count | None
    regions: frozenset[str]
    performed: Period | None
    done: bool


def past_operations(case: Case, vocabulary: Vocabulary) -> tuple[PastOperation, ...]:
    """The history's spine operations: procedures of the same day, put together as orders are."""
    by_day: dict[Period | None, list[Procedure]] = {}
    known = sorted([p for p in case.procedures if p.done is not False], key=_by_ref)
    for procedure in known:
        if vocabulary.procedure(procedure.codes) is not None:
            by_day.setdefault(procedure.performed, []).append(procedure)
    coded = [past for day, items in by_day.items() for past in _of_one_day(day, items, vocabulary)]
    wordy = [PastOperation((p,), (0, None), frozenset(), p.performed, done=False) for p in known if not p.codes]
    return (*coded, *wordy)


def _of_one_day(day: Period | None, items: list[Procedure], vocabulary: Vocabulary) -> list[PastOperation]:
    orders = tuple([Order(p.ref, p.codes, texts=p.texts, body_sites=p.body_sites) for p in items])
    sorted_ = operations_of(Case(orders=orders), vocabulary)
    found = dict.fromkeys([operation for order in orders for operation in sorted_.of(order)])
    by_ref = {p.ref: p for p in items}
    return [_past(o, [by_ref[m.order.ref] for m in o.members], day) for o in found]


def _past(operation: Operation, items: list[Procedure], day: Period | None) -> PastOperation:
    done = all(p.done for p in items)
    return PastOperation(tuple(items), operation.interspaces, _all_regions(operation.members), day, done)
