"""Orders of a case by what they ask for, found once: a thousand orders of one code are not each compared with all."""

from __future__ import annotations

from operator import attrgetter

from cds_service.policy.case import Case, Code, Order
from cds_service.policy.grouping import Operations
from cds_service.policy.lazy import lazy
from cds_service.policy.operation import BOOKINGS, order_evidence
from cds_service.policy.trace import Evidence
from cds_service.policy.vocabulary import Vocabulary

by_ref = attrgetter("ref")


class Services:
    """Look-ups over the orders of one case."""

    def __init__(self, case: Case, vocabulary: Vocabulary, operations: Operations) -> None:
        self._case, self._vocabulary, self._operations = case, vocabulary, operations
        self._alike: dict[tuple[Code, ...], list[Order]] = {}
        self._carriers: dict[frozenset[Code], list[tuple[Order, Code]]] = {}
        self._evidence: dict[tuple[str, str], Evidence] = {}

    @lazy
    def _by_code(self) -> dict[Code, dict[str, Order]]:
        found: dict[Code, dict[str, Order]] = {}
        for order in self._case.orders:
            for code in order.codes:
                found.setdefault(code, {})[order.ref] = order
        return found

    def alike(self, order: Order) -> list[Order]:
        """Other orders of the same service, by reference; bookings are no orders of their own."""
        codes = order.codes
        if codes not in self._alike:
            sharing = {ref: o for code in codes for ref, o in self._by_code.get(code, {}).items()}
            same = self._vocabulary.same_service
            found = [o for o in sharing.values() if o.resource_type not in BOOKINGS and same(codes, o.codes)]
            self._alike[codes] = sorted(found, key=by_ref)
        own = order.ref
        return [o for o in self._alike[codes] if o.ref != own]

    def first_with(self, codes: frozenset[Code], but: str) -> tuple[Order, Code] | None:
        """The first order of the case, `but` one, with one of the codes, and that code."""
        if codes not in self._carriers:
            # The second is needed where the first is the one that is left out.
            refs = {ref for code in codes for ref in self._by_code.get(code, ())}
            carriers = [o for o in self._case.orders if o.ref in refs][:2] if refs else []
            self._carriers[codes] = [(o, next(c for c in o.codes if c in codes)) for o in carriers]
        return next((found for found in self._carriers[codes] if found[0].ref != but), None)

    @lazy
    def loose(self) -> frozenset[str]:
        """Orders that belong to no operation with a primary."""
        homes = self._operations.of
        return frozenset([o.ref for o in self._case.orders if not any(h.primaries for h in homes(o))])

    def evidence(self, order: Order, how: str) -> Evidence:
        """The order as evidence, made once for each way that it is told."""
        key = (order.ref, how)
        if key not in self._evidence:
            self._evidence[key] = order_evidence(order, how)
        return self._evidence[key]

    def evidences(self, orders: list[Order], how: str) -> tuple[Evidence, ...]:
        """The same of several, told alike."""
        known = self._evidence
        return tuple([known.get((o.ref, how)) or self.evidence(o, how) for o in orders])

    def own_evidences(self, orders: list[Order]) -> tuple[Evidence, ...]:
        """Orders of the case as evidence, each told by its own code."""
        placed = self._operations.placed
        return tuple([placed[o.ref].evidence for o in orders])
