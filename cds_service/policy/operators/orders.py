"""Operators on the judged order and the orders beside it."""

from __future__ import annotations

from cds_service.policy.case import Order
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.mentions import READ
from cds_service.policy.model import CompanionTest, Criterion, Flag, OrderTest
from cds_service.policy.operation import order_evidence
from cds_service.policy.operators.reads import OTHER_ORDERS, sources
from cds_service.policy.operators.shared import Operator, agree, open_, wanted
from cds_service.policy.trace import Evidence
from cds_service.policy.view import NOTHING, Result, View

IN_DOUBT = "the order's text leaves it open"
_TEXT_ELEMENTS = frozenset({"note", "orderDetail", "code"})


def order(criterion: Criterion, test: OrderTest) -> Operator:
    """The judged order itself is in the set."""
    value_set, text = test.value_set, wanted(criterion)

    def find(view: View) -> Result:
        judged = view.order
        how = view.facts.matches(judged, value_set)
        if how:
            return (MET, (order_evidence(judged, how),), ())
        if unclear := view.facts.may_match(judged, value_set):
            return open_(text, "orders", IN_DOUBT, (order_evidence(judged, unclear),))
        if _unread_text(judged) and view.facts.vocabulary.sets[value_set].reads_text:
            return open_(text, "orders", f"text of {judged.ref} could not be read")
        return NOTHING

    return find


def _unread_text(judged: Order) -> bool:
    if judged.faulty and judged.faulty & _TEXT_ELEMENTS:
        return True
    return bool(judged.texts) and sum(map(len, judged.texts)) > READ


def companion(criterion: Criterion, test: CompanionTest) -> Operator:
    """Another order of the operation is in the set (and supported by this policy, when asked)."""
    value_set, text = test.value_set, criterion.text

    def find(view: View) -> Result:
        ordered = view.facts.ordered
        if ordered is not None and value_set not in ordered:
            return _not_beside(test, text, view) or NOTHING
        beside = _beside(test, view)
        outcome = agree([_counted(test, sure, possible, view) for sure, possible in beside])
        evidence = tuple(dict.fromkeys([told for sure, _ in beside for _, told in sure]))
        if outcome is UNKNOWN:
            return open_(text, "orders", "the orders leave it open", evidence)
        return (outcome is NOT_MET and _not_beside(test, text, view, evidence)) or (outcome, evidence, ())

    return find


def _not_beside(test: CompanionTest, text: str, view: View, evidence: tuple[Evidence, ...] = ()) -> Result | None:
    """Why an order that is not seen may be there all the same; None where it is not.

    Orders of one operation are signed together. What else is ordered stands in the chart, in every type of request
    that the set's codes are ordered by: each must have been read.
    """
    if why := view.basket_complete:
        return open_(text, "orders", why, evidence)
    if test.scope == "operation":
        return None
    for source in sources(OTHER_ORDERS, view.facts.vocabulary.sets[test.value_set]):
        unread, _ = view.facts.absences[source]
        if unread and source != "active-orders":  # basket_complete has looked at those
            return open_(text, source, unread, evidence)
    return None


def _beside(test: CompanionTest, view: View) -> list[tuple[list[tuple[Order, Evidence]], int]]:
    """Per operation the order may belong to: the others surely in it and in the set, and how many may be."""
    me, facts, name = view.order, view.facts, test.value_set
    if test.scope == "basket":
        members = [facts.basket_in(name)]
    else:
        members = [facts.members_in(operation, name) for operation in view.operations]
    return [(facts.all_apart(me, sure), len(facts.all_apart(me, maybe))) for sure, maybe in members]


def _counted(test: CompanionTest, sure: list[tuple[Order, Evidence]], possible: int, view: View) -> Outcome:
    """Are there as many as asked for?"""
    if test.outcome is None:
        met, open_ = len(sure), possible
    else:
        judged = [view.judge(other) for other, _ in sure]
        met = judged.count("supported")
        open_ = len(judged) - met - judged.count("not-supported") + possible
    return MET if met >= test.at_least else UNKNOWN if met + open_ >= test.at_least else NOT_MET


def lacks_primary(criterion: Criterion, _test: Flag) -> Operator:
    """The code is an add-on, and nothing it can be added to is ordered."""

    def find(view: View) -> Result:
        me = view.order
        entry = view.facts.vocabulary.procedure(me.codes)
        if entry is None or not entry.add_on:
            return NOTHING
        if found := view.facts.services.first_with(view.facts.vocabulary.primaries(entry), me.ref):
            other, code = found
            return (NOT_MET, (order_evidence(other, str(code)),), ())
        if why := view.basket_complete:
            return open_(criterion.text, "orders", why)
        return (MET, (order_evidence(me, view.facts.vocabulary.told(me.codes)),), ())

    return find
