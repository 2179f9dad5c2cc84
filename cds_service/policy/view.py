"""What criteria see: the case with its derived facts, from the point of view of one judged order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

from cds_service.policy.case import Case, Code, Condition, Order
from cds_service.policy.lazy import lazy
from cds_service.policy.logic import NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion
from cds_service.policy.operation import Operation, Operations, PastOperation, operations_of, past_operations
from cds_service.policy.trace import Evidence, Missing
from cds_service.policy.vocabulary import Vocabulary


class Result(NamedTuple):
    """What one operator found."""

    outcome: Outcome
    evidence: tuple[Evidence, ...] = ()
    missing: tuple[Missing, ...] = ()


NOTHING = Result(NOT_MET)
Shelf = dict[str, Any]
"""What was found, by criterion, expression or item: kept where all that share it can see it."""

# How far an answer reaches: it is the same for the patient, the operation, orders with the same reasons, one order.
PATIENT, OPERATION, REASONS, ORDER = range(4)


class Facts:
    """A case with facts derived once and shared by all orders and policies of the call."""

    def __init__(self, case: Case, vocabulary: Vocabulary, same_patient: Facts | None = None) -> None:
        self.case = case
        self.vocabulary = vocabulary
        self._matches: dict[tuple[str, str], str | None] = {}
        # What no order can change, by policy version and day; a case with other orders keeps it.
        self.patient_shelves: dict[tuple[str, date], Shelf] = same_patient.patient_shelves if same_patient else {}

    @lazy
    def operations(self) -> Operations:
        """Orders sorted into operations."""
        return operations_of(self.case, self.vocabulary)

    @lazy
    def past(self) -> tuple[PastOperation, ...]:
        """Spine operations of the history."""
        return past_operations(self.case, self.vocabulary)

    @lazy
    def _conditions(self) -> dict[str, list[tuple[Condition, Code]]]:
        """Conditions by the value sets they are in, with the code that puts them there; in order of reference."""
        index: dict[str, list[tuple[Condition, Code]]] = {}
        for condition in sorted(self.case.conditions, key=lambda c: c.ref):
            homes: dict[str, Code] = {}
            for code in condition.codes:
                for name in self.vocabulary.sets_of(code):
                    homes.setdefault(name, code)
            for name, code in homes.items():
                index.setdefault(name, []).append((condition, code))
        return index

    def conditions_in(self, value_set: str) -> list[tuple[Condition, Code]]:
        """Conditions that are in a value set, each with its code."""
        return self._conditions.get(value_set, [])

    @lazy
    def condition_systems(self) -> list[tuple[str, frozenset[str]]]:
        """Code systems of each condition that may be active; one that a value set knows is read, in any system."""
        unknown = [c for c in self.case.conditions if not any(self.vocabulary.sets_of(k) for k in c.codes)]
        return [(c.ref, frozenset(k.system for k in c.codes)) for c in unknown if c.active is not False]

    @lazy
    def _ordered(self) -> tuple[frozenset[str], bool]:
        """Value sets that a code of any order is in, and whether any order has text, which may name more."""
        orders = self.case.orders
        return frozenset().union(*(self.vocabulary.homes(o.codes) for o in orders)), any(o.texts for o in orders)

    def none_in(self, value_set: str) -> bool:
        """True when surely no order of the case is in a set."""
        sets, texts = self._ordered
        return not texts and value_set not in sets

    def matches(self, order: Order, value_set: str) -> str | None:
        """How an order belongs to a set; remembered, because many rules ask the same."""
        key = (order.ref, value_set)
        try:
            return self._matches[key]
        except KeyError:
            found = self._matches[key] = self.vocabulary.matches(order, value_set)
            return found


class Reasons(NamedTuple):
    """Why an order is given: coded reasons and references, its own and its operation's primaries'."""

    coded: tuple[tuple[Code, Order, str], ...]
    refs: frozenset[str]
    unread: str | None


class Seat:
    """One judged order within the facts, whichever policy looks at it."""

    def __init__(self, facts: Facts, order: Order, day: date) -> None:
        self.facts, self.order, self.day = facts, order, day
        self.operations: tuple[Operation, ...] = facts.operations.of(order)
        self._complete: str | None = None

    @lazy
    def reasons(self) -> Reasons:
        """Reasons of the order, then those of the primaries of its operation (where it is clear which that is)."""
        orders = [(self.order, "reason of the order")]
        if len(self.operations) == 1:
            reasoned = self.operations[0].reasoned
            orders += [(o, "reason of the operation") for o in reasoned if o.ref != self.order.ref]
        return Reasons(
            tuple([(code, order, where) for order, where in orders for code in order.reason_codes]),
            frozenset([ref for order, _ in orders for ref in order.reason_refs]),
            next((order.ref for order, _ in orders if order.reasons_faulty), None),
        )

    @property
    def basket_complete(self) -> str:
        """Empty when an order that is not seen does not exist; else why that cannot be said."""
        if self._complete is None:
            self._complete = self._completeness()
        return self._complete

    def _completeness(self) -> str:
        drafts = self.facts.case.source("orders")
        if not drafts.complete:
            return ", ".join(drafts.unusable) + " could not be read" if drafts.unusable else "orders could not be read"
        active = self.facts.case.source("active-orders")
        own_primary = any(p.order.draft for o in self.operations for p in o.primaries)
        return "" if active.complete or own_primary else "active orders could not be read"


class View:
    """One judged order as one policy version sees it; remembers what it finds on `shelves`, by how far it reaches."""

    __slots__ = ("case", "day", "facts", "judge", "operations", "order", "policy", "seat", "shelves")

    def __init__(
        self,
        facts: Facts,
        order: Order,
        day: date,
        judge: Callable[[Order], str | None],
        policy: str = "",
        seat: Seat | None = None,
        shared: tuple[Shelf, Shelf, Shelf] | None = None,
    ) -> None:
        self.facts, self.case, self.order, self.day = facts, facts.case, order, day
        self.judge, self.policy = judge, policy
        self.seat = seat or Seat(facts, order, day)
        self.operations = self.seat.operations
        own: Shelf = {}
        # An answer may be about this order alone: then nothing is shared.
        self.shelves = (own, own, own, own) if shared is None or self.case.answers else (*shared, own)

    @property
    def reasons(self) -> Reasons:
        """See `Seat.reasons`."""
        return self.seat.reasons

    @property
    def basket_complete(self) -> str:
        """See `Seat.basket_complete`."""
        return self.seat.basket_complete


def unavailable(criterion: Criterion, source: str, why: str) -> Missing:
    """Information that could not be read."""
    return Missing(_wanted(criterion), source, why)


def _wanted(criterion: Criterion) -> str:
    return criterion.ask.question if criterion.ask else criterion.text


def absent(view: View, criterion: Criterion, *sources: str) -> Result:
    """Nothing was found: not met only if the criterion says so and every source was read or empty."""
    for name in sources:
        source = view.case.source(name)
        if not source.complete:
            which = ", ".join(source.unusable)
            why = f"could not be read: {which}" if which else f"could not be read ({source.detail or 'not supplied'})"
            return Result(UNKNOWN, (), (unavailable(criterion, name, why),))
    if criterion.when_absent == "not-met":
        return NOTHING
    state = "nothing recorded" if all(view.case.source(s).state == "empty" for s in sources) else "not documented"
    return Result(UNKNOWN, (), tuple(Missing(_wanted(criterion), s, state) for s in sources))
