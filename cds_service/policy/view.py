"""What criteria see: the case with its derived facts, from the point of view of one judged order."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import date
from typing import Any, NamedTuple

from cds_service.policy.case import Case, Code, Condition, Order, Procedure
from cds_service.policy.grouping import Operations, operations_of
from cds_service.policy.lazy import lazy
from cds_service.policy.logic import NOT_MET, Outcome
from cds_service.policy.mentions import Mention
from cds_service.policy.operation import BOOKINGS, Members, Operation, Placed, order_evidence
from cds_service.policy.past_operations import PastOperation, past_operations
from cds_service.policy.services import Services
from cds_service.policy.trace import Evidence, Missing
from cds_service.policy.vocabulary import Vocabulary

# What one operator found: outcome, evidence, and what is missing. A plain tuple: a call makes dozens of them.
Result = tuple[Outcome, tuple[Evidence, ...], tuple[Missing, ...]]
NOTHING: Result = (NOT_MET, (), ())
Shelf = dict[Any, Any]
"""What was found, by test or by the rules of an item: kept where all that share it can see it."""

# How far an answer reaches: it is the same for the patient, the operation, orders with the same reasons, one order.
PATIENT, OPERATION, REASONS, ORDER = range(4)


ACTIVE_UNREAD = "active orders could not be read"
"""Why a criterion on the orders stays open where those of the chart were not read."""


class Absences(dict[str, tuple[str, bool]]):
    """By source: why it does not tell that something is absent ("" where it does), and whether it is empty."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def __missing__(self, source: str) -> tuple[str, bool]:
        found = self._case.source(source)
        which = ", ".join(found.unusable)
        why = f": {which}" if which else f" ({found.detail or 'not supplied'})"
        told = self[source] = "" if found.complete else f"could not be read{why}", found.state == "empty"
        return told


class Facts:
    """A case with facts derived once and shared by all orders and policies of the call."""

    def __init__(self, case: Case, vocabulary: Vocabulary, same_patient: Facts | None = None) -> None:
        self.case = case
        self.vocabulary = vocabulary
        self._mentions: dict[tuple[str, str], Mention | None] = {}
        self._baskets: dict[str, Members] = {}
        self._illegible: dict[tuple[str, bool], list[str]] = {}
        self.absences = Absences(case)
        # What no order can change, by day; a case with other orders keeps it.
        self.patient_shelves: dict[date, Shelf] = same_patient.patient_shelves if same_patient else {}

    @lazy
    def operations(self) -> Operations:
        """Orders sorted into operations."""
        return operations_of(self.case, self.vocabulary)

    @lazy
    def services(self) -> Services:
        """Orders by what they ask for."""
        return Services(self.case, self.vocabulary, self.operations)

    def illegible(self, value_set: str, past: bool = False) -> list[str]:
        """Conditions that may be members without our seeing it: no code in any system that the value set uses.

        With `past`, those that are over as well.
        """
        if not self._condition_systems:
            return []
        known = self._illegible.get((value_set, past))
        if known is None:
            systems = self.vocabulary.sets[value_set].systems
            unread = [(c, own) for c, own in self._condition_systems if past or c.active is not False]
            known = [c.ref for c, own in unread if own.isdisjoint(systems)]
            self._illegible[value_set, past] = known
        return known

    @lazy
    def wordy_procedures(self) -> tuple[Procedure, ...]:
        """Procedures without a code: recorded in words, or in a code that could not be read."""
        return tuple([p for p in self.case.procedures if not p.codes])

    @lazy
    def past(self) -> tuple[PastOperation, ...]:
        """Spine operations of the history."""
        return past_operations(self.case, self.vocabulary)

    @lazy
    def conditions(self) -> dict[str, list[tuple[Condition, Code]]]:
        """Conditions by the value sets they are in, with the code that puts them there; in order of reference."""
        index: dict[str, list[tuple[Condition, Code]]] = {}
        for condition in sorted(self.case.conditions, key=_by_ref):
            homes: dict[str, Code] = {}
            for code in condition.codes:
                for name in self.vocabulary.sets_of(code):
                    homes.setdefault(name, code)
            for name, code in homes.items():
                index.setdefault(name, []).append((condition, code))
        return index

    @lazy
    def _condition_systems(self) -> list[tuple[Condition, frozenset[str]]]:
        """Code systems of each condition; one that a value set knows is read, in any system."""
        unread = [c for c in self.case.conditions if not self._known(c)]
        return [(c, frozenset([k.system for k in c.codes])) for c in unread]

    def _known(self, condition: Condition) -> bool:
        return any(self.vocabulary.sets_of(code) for code in condition.codes)

    def apart(self, me: Order, other: Order) -> bool:
        """Is `other` an order of its own beside `me`? The booking of an order is not, nor what a booking is of."""
        if other.ref == me.ref or other.ref in self._bookings:
            return False
        return me.ref not in self._bookings or not self.vocabulary.same_service(me.codes, other.codes)

    def all_apart(self, me: Order, found: list[tuple[Order, Evidence]]) -> list[tuple[Order, Evidence]]:
        """Of orders with their evidence, those that are apart from one."""
        if self._bookings:
            return [pair for pair in found if self.apart(me, pair[0])]
        own = me.ref
        return [pair for pair in found if pair[0].ref != own]

    @lazy
    def _bookings(self) -> frozenset[str]:
        """Appointments and encounters for what an order of the case asks for as well."""
        booked = [o for o in self.case.orders if o.resource_type in BOOKINGS]
        ordered = [o for o in self.case.orders if o.resource_type not in BOOKINGS] if booked else []
        same = self.vocabulary.same_service
        return frozenset([b.ref for b in booked if any(same(b.codes, o.codes) for o in ordered)])

    @lazy
    def ordered(self) -> frozenset[str] | None:
        """Value sets that a code of any order is in; None where an order has text, which may name more."""
        found: set[str] = set()
        for order in self.case.orders:
            if order.texts:
                return None
            found.update(self.vocabulary.membership(order.codes))
        return frozenset(found)

    def matches(self, order: Order, value_set: str) -> str | None:
        """How an order surely belongs to a set: its code, or the term its own text uses; None when it does not."""
        how = self.vocabulary.membership(order.codes).get(value_set)
        if how is not None or not order.texts:
            return how
        mention = self._mention(order, value_set)
        return mention.told if mention is not None and mention.sure else None

    def may_match(self, order: Order, value_set: str) -> str | None:
        """The term by which an order's own text may name a member of a set, and leaves it open; else None."""
        if not order.texts or value_set in self.vocabulary.membership(order.codes):
            return None
        mention = self._mention(order, value_set)
        return mention.told if mention is not None and not mention.sure else None

    def _mention(self, order: Order, value_set: str) -> Mention | None:
        key = (order.ref, value_set)  # remembered, because many rules ask the same and searching text takes long
        try:
            return self._mentions[key]
        except KeyError:
            found = self._mentions[key] = self.vocabulary.mention(order, value_set)
            return found

    def members_in(self, operation: Operation, value_set: str) -> Members:
        """Members of an operation that are in a set, and those that may be members, each with the evidence for it."""
        found = operation.members_in.get(value_set)
        if found is None:
            sure, maybe = self._in(operation.members, value_set), self._in(operation.maybe, value_set)
            every = operation.members + operation.maybe
            maybe += [
                (p.order, order_evidence(p.order, how)) for p in every if (how := self.may_match(p.order, value_set))
            ]
            found = operation.members_in[value_set] = (sure, maybe)
        return found

    def basket_in(self, value_set: str) -> Members:
        """The same of all orders of the case."""
        found = self._baskets.get(value_set)
        if found is None:
            orders = self.case.orders
            sure = [(o, order_evidence(o, how)) for o in orders if (how := self.matches(o, value_set))]
            maybe = [(o, order_evidence(o, how)) for o in orders if (how := self.may_match(o, value_set))]
            found = self._baskets[value_set] = (sure, maybe)
        return found

    def _in(self, placed: tuple[Placed, ...], value_set: str) -> list[tuple[Order, Evidence]]:
        return [(p.order, order_evidence(p.order, how)) for p in placed if (how := self.matches(p.order, value_set))]


def _by_ref(condition: Condition) -> str:
    return condition.ref


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

    @lazy
    def home(self) -> Hashable:
        """The same for orders that share their operations and their day."""
        return (self.facts.operations.home(self.order), self.day)

    @lazy
    def motive(self) -> Hashable | None:
        """The same for orders of one home that give the same reasons; None for coded ones, evidence of one order."""
        reasons = self.reasons
        return None if reasons.coded else (self.home, reasons.refs, reasons.unread)

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

    @lazy
    def basket_complete(self) -> str:
        """Empty when an order that is not seen does not exist; else why that cannot be said."""
        drafts = self.facts.case.source("orders")
        if not drafts.complete:
            return ", ".join(drafts.unusable) + " could not be read" if drafts.unusable else "orders could not be read"
        active = self.facts.case.source("active-orders")
        own_primary = any(p.order.draft for o in self.operations for p in o.primaries)
        return "" if active.complete or own_primary else ACTIVE_UNREAD


def nobody(_order: Order) -> str | None:
    """Stands in where no criterion asks for another order's outcome."""
    raise AssertionError("no criterion of the version asks for another order's outcome")


class View:
    """One judged order as policies see it; remembers what they find on `shelves`, by how far it reaches."""

    __slots__ = ("case", "day", "facts", "judge", "operations", "order", "seat", "shelves")

    def __init__(
        self, seat: Seat, shared: tuple[Shelf, ...] = (), judge: Callable[[Order], str | None] = nobody
    ) -> None:
        self.seat, self.judge = seat, judge
        self.facts, self.order, self.day, self.operations = seat.facts, seat.order, seat.day, seat.operations
        self.case = seat.facts.case
        own: Shelf = {}
        # An answer may be about this order alone: then nothing is shared.
        self.shelves = (own, own, own, own) if not shared or self.case.answers else (*shared, own)

    @property
    def reasons(self) -> Reasons:
        """See `Seat.reasons`."""
        return self.seat.reasons

    @property
    def basket_complete(self) -> str:
        """See `Seat.basket_complete`."""
        return self.seat.basket_complete
