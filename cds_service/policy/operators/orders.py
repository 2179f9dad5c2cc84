"""Operators on the judged order and the orders beside it."""

from __future__ import annotations

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
    value_set, text = test.value_set, criterion.text

    def find(view: View) -> Result:
        ordered = view.facts.ordered
        if ordered is not None and value_set not in ordered:
            return open_(text, "orders", why) if (why := view.basket_complete) else NOTHING
        beside = _beside(test, view)
        outcome = agree([_counted(test, sure, possible, view) for sure, possible in beside])
        evidence = tuple(dict.fromkeys([told for sure, _ in beside for _, told in sure]))
        why = view.basket_complete if outcome is NOT_MET else "the orders leave it open"
        if outcome is UNKNOWN or (outcome is NOT_MET and why):
            return open_(text, "orders", why, evidence)
        return (outcome, evidence, ())

    return find


def _beside(test: CompanionTest, view: View) -> list[tuple[list[tuple[Order, Evidence]], int]]:
    """Per operation the order may belong to: the others surely in it and in the set, and how many may be."""
    me, facts, name = view.order.ref, view.facts, test.value_set
    if test.scope == "basket":
        found = ((o, facts.matches(o, name)) for o in view.case.orders if o.ref != me)
        return [([(o, order_evidence(o, how)) for o, how in found if how], 0)]
    members = [facts.members_in(operation, name) for operation in view.operations]
    return [([pair for pair in sure if pair[0].ref != me], len(maybe)) for sure, maybe in members]


def _counted(test: CompanionTest, sure: list[tuple[Order, Evidence]], possible: int, view: View) -> Outcome:
    """Are there as many as asked for?"""
    if test.outcome is None:
        met, open_ = len(sure), possible
    else:
        judged = [view.judge(other) for other, _ in sure]
        met = judged.count("supported")
        open_ = len(judged) - met - judged.count("not-supported") + possible
    return MET if met >= test.at_least else UNKNOWN if met + open_ >= test.at_least else NOT_MET


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
    me = view.order
    codes = frozenset(me.codes)
    alike = [o for o in view.case.orders if o.ref != me.ref and not codes.isdisjoint(o.codes)]
    if alike:
        beside = {p.order.ref for o in view.operations for p in o.members}
        if not any(o.primaries for o in view.operations):  # stimulators and the like belong to no operation
            homes = view.facts.operations.of
            beside = {o.ref for o in alike if not any(h.primaries for h in homes(o))}
        alike = [o for o in alike if o.ref in beside]
    return sorted([me, *alike], key=_by_ref)


def _by_ref(order: Order) -> str:
    return order.ref


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
        primaries = view.facts.vocabulary.primaries(entry)
        for other in view.case.orders:
            if other.ref != me.ref and not primaries.isdisjoint(other.codes):
                return (NOT_MET, (order_evidence(other, str(other.codes[0])),), ())
        if why := view.basket_complete:
            return open_(criterion.text, "orders", why)
        return (MET, (order_evidence(me, str(me.codes[0])),), ())

    return find
