"""Operators on what was done before: services given, by any resource that is evidence of them."""

from __future__ import annotations

from datetime import date, timedelta

from cds_service.policy import dates, logic
from cds_service.policy.case import Code, Period, Procedure
from cds_service.policy.code_sets import CodeSet
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion, ProcedureTest
from cds_service.policy.operators.reads import PAST_SERVICES, sources
from cds_service.policy.operators.shared import Operator, absence_of, in_words, open_, same_region, wanted
from cds_service.policy.trace import Evidence
from cds_service.policy.view import NOTHING, Result, View

_NAMES = {
    "Procedure": "procedure in the history",
    "Immunization": "immunization",
    "DiagnosticReport": "report",
    "ImagingStudy": "imaging study",
    "Encounter": "visit",
    "ServiceRequest": "completed order",
    "DeviceRequest": "device ordered before",
}


def procedure(criterion: Criterion, test: ProcedureTest) -> Operator:
    """Services in the history, with time since; not met only where every type that could hold them was read."""

    def find(view: View) -> Result:
        members = view.facts.vocabulary.sets[test.value_set]
        read = _sources(members)
        if not view.case.procedures and not view.case.services:
            return absence_of(criterion, read, view)
        hits = [(p, hit[0]) for p in _past(view, read) if (hit := members.first(p.codes))]
        judged = [(p, code, _holds(test, p, code, view)) for p, code in hits]
        outcome = _enough(test, [(p, o) for p, _, o in judged])
        if outcome is NOT_MET:
            if wordy := [p.ref for p in view.facts.wordy_procedures if _holds(test, p, None, view) is not NOT_MET]:
                return open_(wanted(criterion), "procedures", f"may be {in_words(wordy)}")
            complete = all(view.case.source(name).complete for name in read)
            return NOTHING if hits and complete else absence_of(criterion, read, view)
        evidence = tuple(
            Evidence(p.ref, _NAMES[p.ref.partition("/")[0].partition("[")[0]], str(code))
            for p, code, o in judged
            if o is not NOT_MET
        )
        if outcome is MET:
            return (MET, evidence, ())
        return open_(criterion.text, "procedures", "recorded, but its date is not clear", evidence)

    return find


def _sources(members: CodeSet) -> tuple[str, ...]:
    return sources(PAST_SERVICES, members) or ("procedures",)


def _past(view: View, read: tuple[str, ...]) -> tuple[Procedure, ...]:
    return view.case.procedures + view.case.services if len(read) > 1 else view.case.procedures


def _enough(test: ProcedureTest, judged: list[tuple[Procedure, Outcome]]) -> Outcome:
    """Are there as many as asked for? Counted by day, those of one day are one."""
    if test.count == "services":
        return logic.at_least(test.at_least, [o for _, o in judged])
    sure = {day for p, o in judged if o is MET and (day := _day(p.performed))}
    possible = [_day(p.performed) for p, o in judged if o is not NOT_MET]
    if len(sure) >= test.at_least or (test.at_least == 1 and any(o is MET for _, o in judged)):
        return MET
    dated = {day for day in possible if day is not None}
    return UNKNOWN if len(dated) + possible.count(None) >= test.at_least else NOT_MET


def _day(performed: Period | None) -> date | None:
    """The day of a service of one day; None where it is not known to the day."""
    return performed.start if performed is not None and performed.start == performed.end else None


def _holds(test: ProcedureTest, found: Procedure, code: Code | None, view: View) -> Outcome:
    """Is it one of those asked for, as far as its date, status and site tell? `code` is None for one in words."""
    parts = [logic.of(found.done)]
    if test.within:
        parts.append(logic.of(dates.since(found.performed, dates.back(view.day, test.within), view.day)))
    if test.after:
        parts.append(logic.of(dates.since(found.performed, _less_than(test, view.day), view.day)))
    if test.before:
        parts.append(logic.of(dates.by(found.performed, _at_least(test, view.day))))
    if test.in_:
        first = view.day.replace(day=1) if test.in_ == "calendar-month" else view.day.replace(month=1, day=1)
        parts.append(logic.of(dates.since(found.performed, first, view.day)))
    if test.region:
        entry = view.facts.vocabulary.procedures.get(code) if code else None
        parts.append(same_region(entry.region if entry else None, view))
    return logic.all_of(parts)


def _less_than(test: ProcedureTest, day: date) -> date:
    """The first day that is less than the window ago."""
    assert test.after is not None
    limit = dates.back(day, test.after)
    return _next_month(limit) if test.after.counted else limit + timedelta(days=1)


def _at_least(test: ProcedureTest, day: date) -> date:
    """The last day that is at least the window ago."""
    assert test.before is not None
    limit = dates.back(day, test.before)
    return _next_month(limit) - timedelta(days=1) if test.before.counted else limit


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)
