"""Operators on the judged order and the orders beside it."""

from __future__ import annotations

from collections.abc import Iterator

from cds_service.policy import logic
from cds_service.policy.case import Order
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import CompanionTest, Criterion, Flag, OrderTest, UnitsTest
from cds_service.policy.operation import order_evidence
from cds_service.policy.operators.shared import Operator, agree, bounds, open_, wanted
from cds_service.policy.trace import Evidence
from cds_service.policy.view import NOTHING, Result, View

_TEXT_ELEMENTS = frozenset({"note", "orderDetail", "code"})


def order(criterion: Criterion, test: OrderTest) -> Operator:
    """The judged order itself is in the set."""
    value_set, text = test.value_set, wanted(criterion)

    def find(view: View) -> Result:
        judged = view.order
        how = view.facts.matches(judged, value_set)
        if how:
            return (MET, (order_evidence(judged, how),), ())
        if judged.faulty and judged.faulty & _TEXT_ELEMENTS and view.facts.vocabulary.sets[value_set].reads_text:
            return open_(text, "orders", f"text of {judged.ref} could not be read")
        return NOTHING

    return find


def companion(criterion: Criterion, test: CompanionTest) -> Operator:
    """Another order of the operation is in the set (and supported by this policy, when asked)."""
    value_set, count, text = test.value_set, test.at_least, criterion.text

    def find(view: View) -> Result:
        if view.facts.none_in(value_set):
            return open_(text, "orders", why) if (why := view.basket_complete) else NOTHING
        outcomes: list[Outcome] = []
        evidence: list[Evidence] = []
        for sure, possible in _beside(test, view):
            tests = [_companion_outcome(test, o, view) for o, _ in sure] + [UNKNOWN] * possible
            evidence += [told for _, told in sure]
            outcomes.append(logic.at_least(count, tests))
        outcome = agree(outcomes)
        why = view.basket_complete if outcome is NOT_MET else "the orders leave it open"
        if outcome is UNKNOWN or (outcome is NOT_MET and why):
            return open_(text, "orders", why, tuple(evidence))
        return (outcome, tuple(dict.fromkeys(evidence)), ())

    return find


def _beside(test: CompanionTest, view: View) -> Iterator[tuple[list[tuple[Order, Evidence]], int]]:
    """Per operation the order may belong to: the others surely in it and in the set, and how many may be."""
    me, matches, name = view.order.ref, view.facts.matches, test.value_set
    if test.scope == "basket":
        found = ((o, matches(o, name)) for o in view.case.orders if o.ref != me)
        yield [(o, order_evidence(o, how)) for o, how in found if how], 0
        return
    for operation in view.operations:
        sure, maybe = view.facts.members_in(operation, name)
        yield [pair for pair in sure if pair[0].ref != me], len(maybe)


def _companion_outcome(test: CompanionTest, other: Order, view: View) -> Outcome:
    if test.outcome is None:
        return MET
    judged = view.judge(other)
    return MET if judged == "supported" else NOT_MET if judged == "not-supported" else UNKNOWN


def units(criterion: Criterion, test: UnitsTest) -> Operator:
    """Units of the judged code in its operation; `compared_with` is met when both are clear and differ."""
    text = criterion.text

    def find(view: View) -> Result:
        same = _same_code(view)
        codes = view.order.codes
        evidence = tuple([order_evidence(o, str(codes[0])) for o in same]) if codes else ()
        if any(o.units is None for o in same):
            return open_(text, "orders", "the quantity could not be read", evidence)
        total = sum(o.units or 0 for o in same)
        if test.compared_with is None:
            return (logic.all_of(bounds(total, total, test.at_least, test.at_most)), evidence, ())
        counts = {o.interspaces for o in view.operations}
        count = counts.pop() if len(counts) == 1 else None
        if count is None or count[0] != count[1]:
            return open_(text, "orders", "the number of levels is not clear", evidence)
        return (logic.of(total != count[0]), evidence, ())

    return find


def _same_code(view: View) -> list[Order]:
    members = {p.order.ref: p.order for o in view.operations for p in o.members}
    if not any(o.primaries for o in view.operations):  # stimulators and the like belong to no operation
        members = {o.ref: o for o in view.case.orders if not any(h.primaries for h in view.facts.operations.of(o))}
    members[view.order.ref] = view.order
    codes = frozenset(view.order.codes)
    return [members[r] for r in sorted(members) if not codes.isdisjoint(members[r].codes)]


def repeated(_criterion: Criterion, _test: Flag) -> Operator:
    """The same once-per-operation code with the same modifiers is ordered again in the operation."""

    def find(view: View) -> Result:
        me = view.order
        entry = view.facts.vocabulary.procedure(me.codes)
        if entry is not None and entry.per != "operation":
            return NOTHING
        others = [o for o in _same_code(view) if o.modifiers == me.modifiers and o.ref != me.ref]
        if not others:
            return NOTHING
        return (MET, tuple([order_evidence(o, str(o.codes[0])) for o in others]), ())

    return find


def lacks_primary(criterion: Criterion, _test: Flag) -> Operator:
    """The code is an add-on, and nothing it can be added to is ordered."""

    def find(view: View) -> Result:
        me = view.order
        entry = view.facts.vocabulary.procedure(me.codes)
        if entry is None or not entry.add_on:
            return NOTHING
        for other in view.case.orders:
            if other.ref != me.ref and any(c.system == entry.system and c.code in entry.requires for c in other.codes):
                return (NOT_MET, (order_evidence(other, str(other.codes[0])),), ())
        if why := view.basket_complete:
            return open_(criterion.text, "orders", why)
        return (MET, (order_evidence(me, str(me.codes[0])),), ())

    return find
