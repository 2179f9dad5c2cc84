"""Operators on how much of one service is ordered: its units in the operation, and orders that repeat it."""

from __future__ import annotations

from cds_service.policy import logic
from cds_service.policy.case import Order
from cds_service.policy.logic import MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion, Flag, UnitsTest
from cds_service.policy.operation import BOOKINGS, Count, Operation
from cds_service.policy.operators.shared import Operator, agree, bounds, open_
from cds_service.policy.services import by_ref
from cds_service.policy.view import NOTHING, Result, View

# Orders of the same service, by operation the judged order may belong to: those surely in it, those that may be.
Alike = list[tuple[Operation, list[Order], list[Order]]]


def units(criterion: Criterion, test: UnitsTest) -> Operator:
    """Units of the judged code in its operation; `compared_with` is met when both are clear and differ."""
    text = criterion.text

    def find(view: View) -> Result:
        alike = _alike(view)
        known = _counted(view, _surely(alike))
        code = view.facts.vocabulary.told(view.order.codes)
        evidence = view.facts.services.evidences(known, code) if code else ()
        if any(o.units is None for o in known):
            return open_(text, "orders", "the quantity could not be read", evidence)
        totals = [_total(_counted(view, sure), maybe, view) for _, sure, maybe in alike]
        if test.compared_with is None:
            outcome = agree([logic.all_of(bounds(*total, test.at_least, test.at_most)) for total in totals])
        else:
            outcome = agree([_differs(total, o.interspaces) for total, (o, _, _) in zip(totals, alike, strict=True)])
        if outcome is UNKNOWN:
            return open_(text, "orders", _open_because(totals, view), evidence)
        return (outcome, evidence, ())

    return find


def _alike(view: View) -> Alike:
    """Other orders of the same service; bookings are no orders of their own."""
    found = view.facts.services.alike(view.order)
    if found and not any(o.primaries for o in view.operations):  # stimulators and the like belong to no operation
        loose = view.facts.services.loose
        alone = [o for o in found if o.ref in loose]
        return [(o, alone, []) for o in view.operations]
    return [
        (o, [other for other in found if other.ref in o.refs], [other for other in found if other.ref in o.maybe_refs])
        for o in view.operations
    ]


def _surely(alike: Alike) -> list[Order]:
    if len(alike) == 1:
        return alike[0][1]
    return sorted({o.ref: o for _, sure, _ in alike for o in sure}.values(), key=by_ref)


def _counted(view: View, others: list[Order]) -> list[Order]:
    """The others with the judged order, unless it only books one of them."""
    booked = others and view.order.resource_type in BOOKINGS
    return sorted(others if booked else [view.order, *others], key=by_ref)


def _total(sure: list[Order], maybe: list[Order], view: View) -> Count:
    """Fewest and most units; open where an order could not be read."""
    low = sum([o.units or 0 for o in sure])
    if view.basket_complete or any(o.units is None for o in maybe):
        return (low, None)
    return (low, low + sum([o.units or 0 for o in maybe]))


def _differs(total: Count, levels: Count | None) -> Outcome:
    if levels is None or total[0] != total[1] or levels[0] != levels[1]:
        return UNKNOWN
    return logic.of(total != levels)


def _open_because(totals: list[Count], view: View) -> str:
    if all(low == high for low, high in totals):
        return "the number of levels is not clear"
    return view.basket_complete or "the orders leave it open"


def repeated(_criterion: Criterion, _test: Flag) -> Operator:
    """The same once-per-operation code with the same modifiers is ordered again in the operation."""

    def find(view: View) -> Result:
        me, vocabulary = view.order, view.facts.vocabulary
        entry = vocabulary.procedure(me.codes)
        if me.resource_type in BOOKINGS or (entry is not None and entry.per != "operation"):
            return NOTHING
        if len(view.operations) > 1 and not view.operations[-1].primaries:
            return NOTHING  # kept apart from the others, it may stand alone
        others = [o for o in _surely(_alike(view)) if o.modifiers == me.modifiers]
        if not others:
            return NOTHING
        return (MET, view.facts.services.own_evidences(others), ())

    return find
