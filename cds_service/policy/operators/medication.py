"""The operator on drugs: in use, used before, for how long, and why they were stopped."""

from __future__ import annotations

from datetime import date, timedelta

from cds_service.policy import dates, logic
from cds_service.policy.case import Code, Medication
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion, MedicationTest, Window
from cds_service.policy.operators.reads import MEDICATIONS, sources
from cds_service.policy.operators.shared import Operator, absence_of, bounds, in_words, open_, wanted
from cds_service.policy.trace import Evidence
from cds_service.policy.view import NOTHING, Result, View

_GAP = timedelta(days=31)  # between two prescriptions of one course


def medication(criterion: Criterion, test: MedicationTest) -> Operator:
    """Drugs of a value set; not met only where every type that could hold them was read."""

    def find(view: View) -> Result:
        members = view.facts.vocabulary.sets[test.value_set]
        read = sources(MEDICATIONS, members)
        others = [m for m in view.case.medications if m.ref != view.order.ref]
        hits = [(m, hit[0]) for m in others if (hit := members.first(m.codes))]
        judged = [(m, code, _holds(test, m, view)) for m, code in hits]
        outcome = logic.any_of([o for _, _, o in judged])
        if test.for_at_least is not None and outcome is not NOT_MET:
            outcome = _long_enough(test.for_at_least, [(m, o) for m, _, o in judged], view.day)
        if outcome is NOT_MET:
            wordy = [m.ref for m in others if not m.codes and _holds(test, m, view) is not NOT_MET]
            if wordy:
                return open_(wanted(criterion), read[0], f"may be {in_words(wordy)}")
            complete = all(view.case.source(name).complete for name in read)
            return NOTHING if hits and complete else absence_of(criterion, read, view)
        evidence = tuple([Evidence(m.ref, "medication", str(code)) for m, code, o in judged if o is not NOT_MET])
        if outcome is MET:
            return (MET, evidence, ())
        return open_(wanted(criterion), read[0], "recorded, but status or dates are not clear", evidence)

    return find


def _holds(test: MedicationTest, found: Medication, view: View) -> Outcome:
    """Is it used as asked for, as far as status and dates tell, but for how long?"""
    begun = True if found.taken is None or found.taken.start is None else found.taken.start <= view.day
    parts = [logic.of(begun)]
    if test.status == "in-use":
        ended = found.taken is not None and found.taken.end is not None and found.taken.end < view.day
        parts.append(NOT_MET if ended else logic.of(found.active))
    if test.within is not None:
        parts.append(_used_since(found, dates.back(view.day, test.within)))
    if test.stopped_because is not None:
        reasons = view.facts.vocabulary.sets[test.stopped_because]
        told: Code | None = next((code for code in found.stopped_because if reasons.find(code)), None)
        parts.append(MET if told else NOT_MET if found.stopped_because or found.active else UNKNOWN)
    return logic.all_of(parts)


def _used_since(found: Medication, start: date) -> Outcome:
    """Was it used on some day since `start`? One that is in use is; else its last day tells."""
    if found.active or (found.taken and found.taken.start and found.taken.start >= start):
        return MET
    last = found.taken.end if found.taken else None
    return UNKNOWN if last is None else logic.of(last >= start)


def _long_enough(window: Window, judged: list[tuple[Medication, Outcome]], day: date) -> Outcome:
    """The longest course of the records, as long as asked for? Records that leave their days open leave it open."""
    sure = [s for m, o in judged if o is MET and (s := _days(m, day, sure=True))]
    possible = [s for m, o in judged if o is not NOT_MET and (s := _days(m, day, sure=False))]
    needed = float((day - dates.back(day, window)).days)
    return next(iter(bounds(float(_longest(sure)), float(_longest(possible)), needed, None)))


def _days(found: Medication, day: date, *, sure: bool) -> tuple[date, date] | None:
    """First and last day of use: surely, or at most. A record without a start may be of any length."""
    start, end = (found.taken.start, found.taken.end) if found.taken else (None, None)
    if found.active and (end is None or end > day):
        end = day
    if sure:
        return (start, min(end, day)) if start and end else None
    return start or date.min, min(end or day, day)


def _longest(spans: list[tuple[date, date]]) -> int:
    longest, begun, last = 0, None, date.min
    for start, end in sorted(spans):
        if begun is None or start - last > _GAP:
            begun, last = start, end
        last = max(last, end)
        longest = max(longest, (last - begun).days)
    return longest
