"""Operators on the operation that an order belongs to: region, approach, role, interspaces, vertebrae."""

from __future__ import annotations

from datetime import date

from cds_service.policy import dates, logic
from cds_service.policy.case import Period
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import CountTest, Criterion, OperationTest
from cds_service.policy.operation import Count, Operation
from cds_service.policy.operators.shared import Operator, absence, agree, bounds, open_
from cds_service.policy.past_operations import PastOperation
from cds_service.policy.trace import Evidence
from cds_service.policy.view import Result, View


def operation(criterion: Criterion, test: OperationTest) -> Operator:
    """Region, approach or role of the operation; unknown when the orders do not say."""
    text = criterion.text
    region, approach, role = (
        None if wanted is None else frozenset(wanted) for wanted in (test.region, test.approach, test.role)
    )

    def of(found: Operation) -> Outcome:
        parts = []
        if region is not None:
            parts.append(_within(found.regions, region))
        if approach is not None:
            parts.append(logic.of(not found.approaches.isdisjoint(approach)) if found.primaries else NOT_MET)
        if role is not None:
            parts.append(logic.of(not found.roles.isdisjoint(role)))
        return logic.all_of(parts)

    def find(view: View) -> Result:
        outcome = agree([of(o) for o in view.operations])
        evidence = tuple([p.evidence for o in view.operations for p in o.primaries])
        if outcome is UNKNOWN:
            return open_(text, "orders", "region or approach of the operation is not clear from the orders", evidence)
        if outcome is NOT_MET and not any(o.primaries for o in view.operations) and (why := view.basket_complete):
            return open_(text, "orders", why, evidence)
        return (outcome, evidence, ())

    return find


def _within(regions: frozenset[str], wanted: frozenset[str]) -> Outcome:
    if not regions:
        return UNKNOWN
    if regions <= wanted:
        return MET
    return NOT_MET if regions.isdisjoint(wanted) else UNKNOWN


def interspaces(criterion: Criterion, test: CountTest) -> Operator:
    """Fused interspaces: 1 + units of the add-on."""
    return _count(criterion, test, 0)


def vertebrae(criterion: Criterion, test: CountTest) -> Operator:
    """Fused vertebrae: interspaces + 1."""
    return _count(criterion, test, 1)


def _count(criterion: Criterion, test: CountTest, plus: int) -> Operator:
    text, absent = criterion.text, absence(criterion, "procedures")

    def find(view: View) -> Result:
        counts, evidence, source = _counts(test, view)
        if all(c is None for c in counts):
            if source != "orders":
                return absent(view)
            why = view.basket_complete
            return open_(text, "orders", why, evidence) if why else (NOT_MET, evidence, ())
        outcome = agree([_compare(c, test, plus) for c in counts])
        if outcome is not UNKNOWN and not _complete(source, view):
            outcome = UNKNOWN
        if outcome is UNKNOWN:
            return open_(text, source, "the number of levels is not clear", evidence)
        return (outcome, evidence, ())

    return find


def _complete(source: str, view: View) -> bool:
    """An add-on, or a later fusion, that could not be read would change the count."""
    return not view.basket_complete if source == "orders" else view.case.source(source).complete


def _counts(test: CountTest, view: View) -> tuple[list[Count | None], tuple[Evidence, ...], str]:
    """Interspaces by operation (or of the history), evidence, and the source that was read."""
    planned = [o.interspaces for o in view.operations]
    if test.of == "operation" or (test.of == "operation-or-history" and any(c is not None for c in planned)):
        refs = {p.order.ref: p for o in view.operations for p in o.members if p.entry and p.entry.role == "fusion"}
        return planned, tuple([p.evidence for p in refs.values()]), "orders"
    count, past = _past_fusion(view)
    told = view.facts.vocabulary.told
    found = [p for operation in past for p in operation.procedures]
    return [count], tuple([Evidence(p.ref, "procedure in the history", told(p.codes)) for p in found]), "procedures"


def _past_fusion(view: View) -> tuple[Count | None, list[PastOperation]]:
    """Interspaces of the latest fusion in the history, and the operations that may be it; None where there is none.

    A fusion that may not have been done, or where it is open which is the latest, leaves the count open. What was
    done after the day of the order does not count.
    """
    fusions = [p for p in view.facts.past if p.interspaces is not None and _before(p, view) is not False]
    sure = [p for p in fusions if p.done and _before(p, view)]
    newest = max([_span(p).start or date.min for p in sure], default=date.min)
    latest = [p for p in fusions if (_span(p).end or date.max) >= newest]
    if not latest:
        return None, []
    done = [p for p in latest if p.done]
    if len(latest) > 1 or not done:
        return (1 if done else 0, None), latest
    return latest[0].interspaces, latest


def _before(past: PastOperation, view: View) -> bool | None:
    """Was it done by the day of the order, as far as its date tells?"""
    return dates.by(past.performed, view.day)


def _span(past: PastOperation) -> Period:
    return past.performed or Period()


def _compare(count: Count | None, test: CountTest, plus: int) -> Outcome:
    if count is None:
        return NOT_MET
    low, high = count[0] + plus, None if count[1] is None else count[1] + plus
    return logic.all_of(bounds(low, high, test.at_least, test.at_most))
