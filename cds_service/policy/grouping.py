"""Which orders belong to one operation.

Orders are tied together by requisition, basedOn, encounter, day and body site. Where these do not tell, orders
of compatible regions are taken as one operation; an add-on that fits two operations is ambiguous, and every
fact that differs between the two is unknown. So is one that these ties keep from every operation, while one of
its region is ordered: a surgery may be split over requisitions, encounters and days.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from cds_service.policy.case import Case, Order, Procedure
from cds_service.policy.operation import PRIMARY_ROLES, Operation, Placed, all_regions
from cds_service.policy.spine import named_regions
from cds_service.policy.vocabulary import Vocabulary


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


class Operations:
    """All operations of a case, and to which an order may belong."""

    def __init__(
        self,
        placed: dict[str, Placed],
        groups: tuple[Operation, ...],
        homes: dict[str, tuple[int, ...]],
        perhaps: dict[str, tuple[Operation, ...]],
    ) -> None:
        self.placed, self.groups, self._home, self._perhaps = placed, groups, homes, perhaps

    def of(self, order: Order) -> tuple[Operation, ...]:
        """The operations an order may belong to; among them one of its own when it surely fits none."""
        home = self._home.get(order.ref)
        if home:
            return tuple([self.groups[i] for i in home])
        return (*self._perhaps.get(order.ref, ()), Operation((), (self.placed[order.ref],)))

    def home(self, order: Order) -> Hashable:
        """The same for orders that may belong to the same operations."""
        return self._home.get(order.ref) or order.ref

    def place_like(self, order: Order, other: Order, vocabulary: Vocabulary) -> None:
        """Let an order that is only thought of stand where another stands; members of operations stay as they are."""
        named = self.placed[other.ref].named  # its body site is the other's
        self.placed[order.ref] = Placed(order, vocabulary, named)
        self._home[order.ref] = self._home.get(other.ref, ())
        self._perhaps[order.ref] = self._perhaps.get(other.ref, ())


class _Group:
    """Primaries of one operation, while orders are being sorted into operations."""

    def __init__(self, primaries: list[Placed]) -> None:
        self.primaries = primaries
        self.regions = all_regions(primaries)
        self.named = frozenset([region for p in primaries for region in p.named])


def _of_one_region(item: Placed, group: _Group) -> bool:
    return _compatible(item.regions, group.regions) and _compatible(item.named, group.named)


def _candidates(item: Placed, groups: list[_Group]) -> tuple[int, ...]:
    """Numbers of the operations that an order which is no primary may belong to."""
    certain, fitting = [], []
    for number, group in enumerate(groups):
        links = [_linked(item.order, p.order) for p in group.primaries]
        if True in links:
            certain.append(number)
        elif False not in links and _of_one_region(item, group):
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
    placed = _placed(sorted(case.orders, key=reference_of), vocabulary)
    groups = [_Group(g) for g in _primaries_together(placed)]
    others = [p for p in placed if not p.primary]
    homes: dict[str, tuple[int, ...]] = {p.order.ref: (i,) for i, g in enumerate(groups) for p in g.primaries}
    sure: list[list[Placed]] = [[] for _ in groups]
    maybe: list[list[Placed]] = [[] for _ in groups]
    for item in others:
        found = homes[item.order.ref] = _candidates(item, groups)
        for number in found:
            (sure if len(found) == 1 else maybe)[number].append(item)
    homeless = [p for p in others if not homes[p.order.ref]]
    kept_out = {p.order.ref: [i for i, group in enumerate(groups) if _of_one_region(p, group)] for p in homeless}
    for item in homeless:
        for number in kept_out[item.order.ref]:
            maybe[number].append(item)
    built = [Operation(tuple(g.primaries), tuple(sure[i]), tuple(maybe[i])) for i, g in enumerate(groups)]
    perhaps = {
        p.order.ref: (*(built[i] for i in kept_out[p.order.ref]), *_without_primary(p, homeless)) for p in homeless
    }
    return Operations({p.order.ref: p for p in placed}, tuple(built), homes, perhaps)


def _without_primary(item: Placed, homeless: list[Placed]) -> list[Operation]:
    """Operations of which only an add-on is seen: the order that it is added to may be signed already, or revoked."""
    return [
        Operation((), (other,), (item,))
        for other in homeless
        if other is not item
        and other.entry
        and other.entry.role in PRIMARY_ROLES
        and _compatible(item.regions, other.regions)
        and _compatible(item.named, other.named)
    ]


def _placed(orders: list[Order], vocabulary: Vocabulary) -> list[Placed]:
    """Orders with what their codes mean; a body site that several of them share is read once."""
    sites = {(o.body_sites, o.body_site_texts): o for o in orders}
    named = {site: named_regions(o) for site, o in sites.items()}
    return [Placed(o, vocabulary, named[o.body_sites, o.body_site_texts]) for o in orders]


def reference_of(item: Order | Procedure) -> str:
    """What orders and procedures are sorted by, so that nothing depends on how they came."""
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
