"""What criteria see: the case with its derived facts, from the point of view of one judged order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import NamedTuple

from cds_service.policy.case import Case, Code, Condition, Order
from cds_service.policy.logic import NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion
from cds_service.policy.operation import Operation, Operations, PastOperation, operations_of, past_operations
from cds_service.policy.trace import Evidence, Missing, Trace
from cds_service.policy.vocabulary import Vocabulary


class Result(NamedTuple):
    """What one operator found."""

    outcome: Outcome
    evidence: tuple[Evidence, ...] = ()
    missing: tuple[Missing, ...] = ()


class Facts:
    """A case with facts derived once and shared by all orders and policies of the call."""

    def __init__(self, case: Case, vocabulary: Vocabulary, same_patient: Facts | None = None) -> None:
        self.case = case
        self.vocabulary = vocabulary
        self._matches: dict[tuple[str, str], str | None] = {}
        # Traces of criteria that no order can change, by policy version and day; a case with other orders keeps them.
        self.patient_traces: dict[tuple[str, date], dict[str, Trace]] = (
            same_patient.patient_traces if same_patient else {}
        )

    @cached_property
    def operations(self) -> Operations:
        """Orders sorted into operations."""
        return operations_of(self.case, self.vocabulary)

    @cached_property
    def past(self) -> tuple[PastOperation, ...]:
        """Spine operations of the history."""
        return past_operations(self.case, self.vocabulary)

    @cached_property
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

    @cached_property
    def condition_systems(self) -> list[tuple[str, frozenset[str]]]:
        """Code systems of each condition that may be active."""
        return [(c.ref, frozenset(k.system for k in c.codes)) for c in self.case.conditions if c.active is not False]

    def matches(self, order: Order, value_set: str) -> str | None:
        """How an order belongs to a set; remembered, because many rules ask the same."""
        key = (order.ref, value_set)
        if key not in self._matches:
            self._matches[key] = self.vocabulary.matches(order, value_set)
        return self._matches[key]


class Reasons(NamedTuple):
    """Why an order is given: coded reasons and references, its own and its operation's primaries'."""

    coded: tuple[tuple[Code, Order, str], ...]
    refs: frozenset[str]
    unread: str | None


@dataclass
class View:
    """One judged order within the facts; remembers each criterion of one policy version."""

    facts: Facts
    order: Order
    day: date
    judge: Callable[[Order], str | None]
    policy: str = ""
    done: dict[str, Trace] = field(default_factory=dict)
    operation_traces: dict[str, Trace] = field(default_factory=dict)
    patient_traces: dict[str, Trace] = field(default_factory=dict)
    reason_traces: dict[str, Trace] = field(default_factory=dict)

    @property
    def case(self) -> Case:
        """The case."""
        return self.facts.case

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """The operations the order may belong to."""
        return self.facts.operations.of(self.order)

    @cached_property
    def reasons(self) -> Reasons:
        """Reasons of the order, then those of the primaries of its operation (where it is clear which that is)."""
        orders = [(self.order, "reason of the order")]
        if len(self.operations) == 1:
            reasoned = self.operations[0].reasoned
            orders += [(o, "reason of the operation") for o in reasoned if o.ref != self.order.ref]
        return Reasons(
            tuple((code, order, where) for order, where in orders for code in order.reason_codes),
            frozenset(ref for order, _ in orders for ref in order.reason_refs),
            next((order.ref for order, _ in orders if order.reasons_faulty), None),
        )

    @cached_property
    def basket_complete(self) -> str:
        """Empty when an order that is not seen does not exist; else why that cannot be said."""
        drafts = self.case.source("orders")
        if not drafts.complete:
            return ", ".join(drafts.unusable) + " could not be read" if drafts.unusable else "orders could not be read"
        active = self.case.source("active-orders")
        own_primary = any(p.order.draft for o in self.operations for p in o.primaries)
        return "" if active.complete or own_primary else "active orders could not be read"


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
        return Result(NOT_MET)
    state = "nothing recorded" if all(view.case.source(s).state == "empty" for s in sources) else "not documented"
    return Result(UNKNOWN, (), tuple(Missing(_wanted(criterion), s, state) for s in sources))
