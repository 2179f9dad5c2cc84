"""The operators: each takes a criterion, its arguments and a view, and finds met, not met or unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from cds_service.policy import dates, logic
from cds_service.policy.case import Code, Condition, Observation, Order, Period, Procedure
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import (
    AgeTest,
    CompanionTest,
    ConditionTest,
    CountTest,
    Criterion,
    Flag,
    ObservationTest,
    OperationTest,
    OrderTest,
    ProcedureTest,
    UnitsTest,
)
from cds_service.policy.operation import Count, Operation, PastOperation, Placed
from cds_service.policy.trace import Evidence, Missing
from cds_service.policy.view import NOTHING, OPERATION, ORDER, PATIENT, REASONS, Result, View, absent, unavailable
from cds_service.policy.vocabulary import CodeSet

Operator = Callable[[Criterion, Any, View], Result]
_TEXT_ELEMENTS = frozenset({"note", "orderDetail", "code"})


def _agree(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome that all operations an order may belong to share; unknown when they differ."""
    seen = set(outcomes)
    return seen.pop() if len(seen) == 1 else UNKNOWN


def _order_evidence(order: Order, how: str) -> Evidence:
    return Evidence(order.ref, "draft order" if order.draft else "active order", how)


# --- orders and operations --------------------------------------------------------------------------


def order(criterion: Criterion, test: OrderTest, view: View) -> Result:
    """The judged order itself is in the set."""
    how = view.facts.matches(view.order, test.value_set)
    if how:
        return Result(MET, (_order_evidence(view.order, how),))
    if view.order.faulty & _TEXT_ELEMENTS and view.facts.vocabulary.sets[test.value_set].reads_text:
        return Result(UNKNOWN, (), (unavailable(criterion, "orders", f"text of {view.order.ref} could not be read"),))
    return NOTHING


def companion(criterion: Criterion, test: CompanionTest, view: View) -> Result:
    """Another order of the operation is in the set (and supported by this policy, when asked)."""
    if view.facts.none_in(test.value_set):
        why = view.basket_complete
        return Result(UNKNOWN, (), (Missing(criterion.text, "orders", why),)) if why else NOTHING
    outcomes, evidence = [], []
    for sure, maybe in _neighbours(test, view):
        found = [(o, how) for o in sure if (how := view.facts.matches(o, test.value_set))]
        possible = sum(view.facts.matches(o, test.value_set) is not None for o in maybe)
        tests = [_companion_outcome(test, o, view) for o, _ in found] + [UNKNOWN] * possible
        evidence += [_order_evidence(o, how) for o, how in found]
        outcomes.append(logic.at_least(test.at_least, tests))
    outcome = _agree(outcomes)
    if outcome is NOT_MET and (why := view.basket_complete):
        outcome = UNKNOWN
    elif outcome is UNKNOWN:
        why = "the orders leave it open"
    if outcome is UNKNOWN:
        return Result(UNKNOWN, tuple(evidence), (Missing(criterion.text, "orders", why),))
    return Result(outcome, tuple(dict.fromkeys(evidence)))


def _neighbours(test: CompanionTest, view: View) -> Iterator[tuple[list[Order], list[Order]]]:
    me = view.order.ref
    if test.scope == "basket":
        yield [o for o in view.case.orders if o.ref != me], []
        return
    for operation in view.operations:
        yield [p.order for p in operation.members if p.order.ref != me], [p.order for p in operation.maybe]


def _companion_outcome(test: CompanionTest, other: Order, view: View) -> Outcome:
    if test.outcome is None:
        return MET
    judged = view.judge(other)
    return {"supported": MET, "not-supported": NOT_MET}.get(judged or "", UNKNOWN)


def operation(criterion: Criterion, test: OperationTest, view: View) -> Result:
    """Region, approach or role of the operation; unknown when the orders do not say."""
    outcome = _agree(_operation_outcome(test, o) for o in view.operations)
    evidence = tuple(_order_evidence(p.order, _code(p)) for o in view.operations for p in o.primaries)
    if outcome is UNKNOWN:
        text = "region or approach of the operation is not clear from the orders"
        return Result(UNKNOWN, evidence, (Missing(criterion.text, "orders", text),))
    if not any(o.primaries for o in view.operations) and outcome is NOT_MET and (why := view.basket_complete):
        return Result(UNKNOWN, evidence, (Missing(criterion.text, "orders", why),))
    return Result(outcome, evidence)


def _operation_outcome(test: OperationTest, found: Operation) -> Outcome:
    parts = []
    if test.region is not None:
        parts.append(_within(found.regions, set(test.region)))
    if test.approach is not None:
        parts.append(logic.of(bool(found.approaches & set(test.approach))) if found.primaries else NOT_MET)
    if test.role is not None:
        parts.append(logic.of(bool(found.roles & set(test.role))))
    return logic.all_of(parts)


def _within(regions: frozenset[str], wanted: set[str]) -> Outcome:
    if not regions:
        return UNKNOWN
    if regions <= wanted:
        return MET
    return UNKNOWN if regions & wanted else NOT_MET


def _code(placed: Placed) -> str:
    return str(placed.order.codes[0]) if placed.order.codes else ""


def _past_fusion(view: View) -> tuple[PastOperation | None, bool]:
    """The latest fusion in the history, and whether it is clear which one is the latest."""
    fusions = [p for p in view.facts.past if p.interspaces is not None]
    if len(fusions) <= 1:
        return (fusions[0] if fusions else None), True
    dated = [f for f in fusions if f.procedures[0].performed and f.procedures[0].performed.end]
    if len(dated) < len(fusions):
        return fusions[0], False
    return max(dated, key=lambda f: f.procedures[0].performed.end or date.min), True  # type: ignore[union-attr]


def _counts(test: CountTest, view: View) -> tuple[list[Count | None], tuple[Evidence, ...], str]:
    """Interspaces by operation (or of the history), evidence, and the source that was read."""
    planned = [o.interspaces for o in view.operations]
    if test.of == "operation" or (test.of == "operation-or-history" and any(c is not None for c in planned)):
        refs = {p.order.ref: p for o in view.operations for p in o.members if p.entry and p.entry.role == "fusion"}
        return planned, tuple(_order_evidence(p.order, _code(p)) for p in refs.values()), "orders"
    past, clear = _past_fusion(view)
    if past is None:
        return [None], (), "procedures"
    evidence = tuple(Evidence(p.ref, "procedure in the history", str(p.codes[0])) for p in past.procedures if p.codes)
    return [past.interspaces if clear else (1, None)], evidence, "procedures"


def _count(criterion: Criterion, test: CountTest, view: View, plus: int) -> Result:
    counts, evidence, source = _counts(test, view)
    if all(c is None for c in counts):
        if source == "orders":
            why = view.basket_complete
            missing = (Missing(criterion.text, "orders", why),) if why else ()
            return Result(UNKNOWN if why else NOT_MET, evidence, missing)
        return absent(view, criterion, "procedures")
    outcome = _agree(_compare(c, test, plus) for c in counts)
    if source == "orders" and outcome is not UNKNOWN and not view.case.source("orders").complete:
        outcome = UNKNOWN
    if outcome is UNKNOWN:
        return Result(UNKNOWN, evidence, (Missing(criterion.text, source, "the number of levels is not clear"),))
    return Result(outcome, evidence)


def _compare(count: Count | None, test: CountTest, plus: int) -> Outcome:
    if count is None:
        return NOT_MET
    low, high = count[0] + plus, None if count[1] is None else count[1] + plus
    return logic.all_of(_bounds(low, high, test.at_least, test.at_most))


def _bounds(low: float | None, high: float | None, at_least: float | None, at_most: float | None) -> Iterator[Outcome]:
    """Compare a value known to lie in [low, high] with bounds."""
    if at_least is not None:
        if low is not None and low >= at_least:
            yield MET
        else:
            yield NOT_MET if high is not None and high < at_least else UNKNOWN
    if at_most is not None:
        if high is not None and high <= at_most:
            yield MET
        else:
            yield NOT_MET if low is not None and low > at_most else UNKNOWN


def interspaces(criterion: Criterion, test: CountTest, view: View) -> Result:
    """Fused interspaces: 1 + units of the add-on."""
    return _count(criterion, test, view, 0)


def vertebrae(criterion: Criterion, test: CountTest, view: View) -> Result:
    """Fused vertebrae: interspaces + 1."""
    return _count(criterion, test, view, 1)


def units(criterion: Criterion, test: UnitsTest, view: View) -> Result:
    """Units of the judged code in its operation; `compared_with` is met when both are clear and differ."""
    same = _same_code(view)
    evidence = tuple(_order_evidence(o, str(view.order.codes[0])) for o in same if view.order.codes)
    if any(o.units is None for o in same):
        return Result(UNKNOWN, evidence, (Missing(criterion.text, "orders", "the quantity could not be read"),))
    total = sum(o.units or 0 for o in same)
    if test.compared_with is None:
        return Result(logic.all_of(_bounds(total, total, test.at_least, test.at_most)), evidence)
    counts = {o.interspaces for o in view.operations}
    count = counts.pop() if len(counts) == 1 else None
    if count is None or count[0] != count[1]:
        return Result(UNKNOWN, evidence, (Missing(criterion.text, "orders", "the number of levels is not clear"),))
    return Result(logic.of(total != count[0]), evidence)


def _same_code(view: View) -> list[Order]:
    members = {p.order.ref: p.order for o in view.operations for p in o.members}
    if not any(o.primaries for o in view.operations):  # stimulators and the like belong to no operation
        members = {o.ref: o for o in view.case.orders if not any(h.primaries for h in view.facts.operations.of(o))}
    members[view.order.ref] = view.order
    return [members[r] for r in sorted(members) if set(members[r].codes) & set(view.order.codes)]


def repeated(_criterion: Criterion, _test: Flag, view: View) -> Result:
    """The same once-per-operation code with the same modifiers is ordered again in the operation."""
    entry = view.facts.vocabulary.procedure(view.order.codes)
    if entry is not None and entry.per != "operation":
        return NOTHING
    others = [o for o in _same_code(view) if o.modifiers == view.order.modifiers and o.ref != view.order.ref]
    return Result(logic.of(bool(others)), tuple(_order_evidence(o, str(o.codes[0])) for o in others))


def lacks_primary(criterion: Criterion, _test: Flag, view: View) -> Result:
    """The code is an add-on, and nothing it can be added to is ordered."""
    entry = view.facts.vocabulary.procedure(view.order.codes)
    if entry is None or not entry.add_on:
        return NOTHING
    others = [o for o in view.case.orders if o.ref != view.order.ref]
    for other in others:
        if any(c.system == entry.system and c.code in entry.requires for c in other.codes):
            return Result(NOT_MET, (_order_evidence(other, str(other.codes[0])),))
    if why := view.basket_complete:
        return Result(UNKNOWN, (), (Missing(criterion.text, "orders", why),))
    return Result(MET, (_order_evidence(view.order, str(view.order.codes[0])),))


# --- the patient ------------------------------------------------------------------------------------


def condition(criterion: Criterion, test: ConditionTest, view: View) -> Result:
    """A diagnosis in the problem list."""
    return _conditions(criterion, test, view, (), frozenset())


def indication(criterion: Criterion, test: ConditionTest, view: View) -> Result:
    """A diagnosis in the order's own reasons, in its operation's reasons, or in the problem list, in that order."""
    reasons = view.reasons
    result = _conditions(criterion, test, view, reasons.coded, reasons.refs)
    if result.outcome is NOT_MET and reasons.unread:
        return Result(UNKNOWN, (), (unavailable(criterion, "orders", f"reason of {reasons.unread} could not be read"),))
    return result


def _conditions(
    criterion: Criterion,
    test: ConditionTest,
    view: View,
    coded: Sequence[tuple[Code, Order, str]],
    refs: frozenset[str],
) -> Result:
    vocabulary = view.facts.vocabulary
    members = vocabulary.sets[test.value_set]
    candidates: list[tuple[Outcome, Evidence]] = []
    for code, source, where in coded:
        if test.value_set in vocabulary.sets_of(code):
            outcome = logic.all_of([_same_region(test.region, _regions(members, code), view), _no_onset(test)])
            candidates.append((outcome, Evidence(source.ref, where, str(code))))
    found_in = view.facts.conditions_in(test.value_set)
    for found, code in sorted(found_in, key=lambda c: c[0].ref not in refs) if refs and len(found_in) > 1 else found_in:
        outcome = _condition_outcome(test, found, _regions(members, code), view)
        if outcome is not NOT_MET:
            where = "reason of the order" if found.ref in refs else "problem list"
            candidates.append((outcome, Evidence(found.ref, where, str(code))))
    met = tuple(e for o, e in candidates if o is MET)
    if met:
        return Result(MET, met[:1])
    open_ = tuple(e for o, e in candidates if o is UNKNOWN)
    if open_:
        return Result(
            UNKNOWN, open_, (Missing(criterion.text, "conditions", "recorded, but status, date or site is not clear"),)
        )
    if criterion.when_absent == "not-met" and (illegible := _illegible(members, view)):
        why = f"recorded only in words or in codes that the policy does not read: {', '.join(illegible)}"
        return Result(UNKNOWN, (), (unavailable(criterion, "conditions", why),))
    return absent(view, criterion, "conditions")


def _regions(members: CodeSet, code: Code) -> list[Any] | None:
    member = members.find(code)
    return member.region if member else None


def _illegible(members: CodeSet, view: View) -> list[str]:
    """Conditions that may be members without our seeing it: no code in any system that the value set uses."""
    return [ref for ref, systems in view.facts.condition_systems if not systems & members.systems]


def _no_onset(test: ConditionTest) -> Outcome:
    return UNKNOWN if test.onset_within else MET


def _same_region(wanted: str | None, regions: list[Any] | None, view: View) -> Outcome:
    """Codes without a region never conflict; an unclear operation leaves it open."""
    if wanted is None or not regions:
        return MET
    return _agree(UNKNOWN if not o.regions else logic.of(bool(o.regions & set(regions))) for o in view.operations)


def _condition_outcome(test: ConditionTest, found: Condition, regions: list[Any] | None, view: View) -> Outcome:
    parts = [_same_region(test.region, regions, view), logic.of(found.confirmed)]
    if test.status == "active":
        parts.append(logic.of(found.active))
    if test.onset_within:
        parts.append(logic.of(dates.since(found.onset, dates.back(view.day, test.onset_within), view.day)))
    return logic.all_of(parts)


def procedure(criterion: Criterion, test: ProcedureTest, view: View) -> Result:
    """Procedures in the history, with time since."""
    members = view.facts.vocabulary.sets[test.value_set]
    hits = [(p, hit) for p in view.case.procedures if (hit := members.first(p.codes))]
    outcomes = [_procedure_outcome(test, p, hit, view) for p, hit in hits]
    evidence = tuple(
        Evidence(p.ref, "procedure in the history", str(hit[0]))
        for (p, hit), o in zip(hits, outcomes, strict=True)
        if o is not NOT_MET
    )
    outcome = logic.at_least(test.at_least, outcomes)
    if outcome is MET:
        return Result(MET, evidence)
    if outcome is UNKNOWN:
        return Result(
            UNKNOWN, evidence, (Missing(criterion.text, "procedures", "recorded, but its date is not clear"),)
        )
    if hits:
        return NOTHING if view.case.source("procedures").complete else absent(view, criterion, "procedures")
    return absent(view, criterion, "procedures")


def _procedure_outcome(test: ProcedureTest, found: Procedure, hit: tuple[Code, Any], view: View) -> Outcome:
    parts = [logic.of(found.done)]
    if test.within:
        parts.append(logic.of(dates.since(found.performed, dates.back(view.day, test.within), view.day)))
    if test.after:
        start = dates.back(view.day, test.after) + timedelta(days=1)
        parts.append(logic.of(dates.since(found.performed, start, view.day)))
    if test.before:
        parts.append(logic.of(dates.by(found.performed, dates.back(view.day, test.before))))
    if test.region:
        entry = view.facts.vocabulary.procedures.get(hit[0])
        parts.append(_same_region(test.region, list(entry.region) if entry else None, view))
    return logic.all_of(parts)


def age(criterion: Criterion, test: AgeTest, view: View) -> Result:
    """Completed years on the day of the order."""
    patient = view.case.patient
    years = dates.age_range(patient.birth, view.day) if patient else None
    if patient is None or years is None:
        state = "birth date not clear" if patient else "could not be read"
        return Result(UNKNOWN, (), (Missing(criterion.text, "patient", state),))
    most = None if test.under is None else test.under - 1
    text = f"age {years[0]}" if years[0] == years[1] else f"age {years[0]} to {years[1]}"
    outcome = logic.all_of(_bounds(years[0], years[1], test.at_least, most))
    missing = (Missing(criterion.text, "patient", "birth date not clear"),) if outcome is UNKNOWN else ()
    return Result(outcome, (Evidence(patient.ref, text),), missing)


def observation(criterion: Criterion, test: ObservationTest, view: View) -> Result:
    """The latest final result, compared in the unit the criterion names.

    Where dates leave open which result is the latest, all that may be it must agree.
    """
    members = view.facts.vocabulary.sets[test.value_set]
    found = [o for o in view.case.observations if members.first(o.codes) and _recent(test, o, view) is not False]
    if not found:
        return absent(view, criterion, "observations")
    latest = _latest(found)
    evidence = tuple(Evidence(o.ref, "result", str(o.codes[0])) for o in latest)
    outcome = _agree(_observed(test, o, view) if _recent(test, o, view) else UNKNOWN for o in latest)
    if outcome is UNKNOWN:
        return Result(
            UNKNOWN, evidence, (Missing(criterion.text, "observations", "recorded, but value or date is not clear"),)
        )
    return Result(outcome, evidence)


def _recent(test: ObservationTest, found: Observation, view: View) -> bool | None:
    """Within the window, as far as its date tells; without a window, unless it is surely after the day of the order."""
    if test.within is None:
        return dates.since(found.effective, date.min, view.day) is not False
    return dates.since(found.effective, dates.back(view.day, test.within), view.day)


def _latest(found: list[Observation]) -> list[Observation]:
    """The results that may be the latest: none is surely later than they are."""
    spans = [(o.effective or Period(), o) for o in found]
    newest = max(span.start or date.min for span, _ in spans)
    return sorted((o for span, o in spans if (span.end or date.max) >= newest), key=lambda o: o.ref)


def _observed(test: ObservationTest, found: Observation, view: View) -> Outcome:
    if not found.final:
        return UNKNOWN
    if test.present is not None:
        return logic.of(None if found.flag is None else found.flag == test.present)
    if test.equals is not None:
        return (
            logic.of(view.facts.vocabulary.sets[test.equals].first(found.coded) is not None) if found.coded else UNKNOWN
        )
    if found.quantity is None or (test.unit is not None and found.unit != test.unit):
        return UNKNOWN
    low = None if found.comparator in ("<", "<=") else found.quantity
    high = None if found.comparator in (">", ">=") else found.quantity
    parts = list(_bounds(low, high, test.at_least, test.at_most))
    if test.above is not None:
        parts += [logic.negate(o) for o in _bounds(low, high, None, test.above)]
    if test.below is not None:
        parts += [logic.negate(o) for o in _bounds(low, high, test.below, None)]
    return logic.all_of(parts)


def asked(criterion: Criterion, _test: Flag, _view: View) -> Result:
    """No code carries it: unknown until someone answers."""
    question = criterion.ask.question if criterion.ask else criterion.text
    return Result(UNKNOWN, (), (Missing(question, "answers", "not documented in coded form"),))


BY_NAME: dict[str, Operator] = {
    "order": order,
    "companion": companion,
    "operation": operation,
    "interspaces": interspaces,
    "vertebrae": vertebrae,
    "condition": condition,
    "indication": indication,
    "procedure": procedure,
    "age": age,
    "observation": observation,
    "units": units,
    "repeated": repeated,
    "lacks_primary": lacks_primary,
    "asked": asked,
}

_OF_OPERATION = frozenset({"operation", "interspaces", "vertebrae"})
_OF_PATIENT = frozenset({"condition", "procedure", "age", "observation", "asked"})


def reach(name: str, arguments: Any) -> int:
    """How far a criterion's answer reaches: PATIENT, OPERATION, (orders with the same) REASONS, or one ORDER."""
    if name in _OF_PATIENT:
        return OPERATION if getattr(arguments, "region", None) else PATIENT
    if name == "indication":
        return REASONS
    return OPERATION if name in _OF_OPERATION else ORDER


READS: dict[str, tuple[str, ...]] = {
    "order": ("orders",),
    "companion": ("orders", "active-orders"),
    "operation": ("orders", "active-orders"),
    "interspaces": ("orders", "active-orders", "procedures"),
    "vertebrae": ("orders", "active-orders", "procedures"),
    "condition": ("conditions",),
    "indication": ("conditions",),
    "procedure": ("procedures",),
    "age": ("patient",),
    "observation": ("observations",),
    "units": ("orders", "active-orders"),
    "repeated": ("orders",),
    "lacks_primary": ("orders", "active-orders"),
    "asked": (),
}
