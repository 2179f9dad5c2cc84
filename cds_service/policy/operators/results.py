"""The operator on results: which of a patient's Observations count, and what they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from cds_service.policy import dates, logic, units
from cds_service.policy.case import Code, Observation, Period
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion, ObservationTest
from cds_service.policy.operators.shared import Operator, absence, agree, bounds, in_words, open_, wanted
from cds_service.policy.trace import Evidence, Missing
from cds_service.policy.view import Result, View

Results = Sequence[tuple[Observation, Code]]
"""Results of the kind asked for, that may lie in the window, each with the code that puts it there."""


def observation(criterion: Criterion, test: ObservationTest) -> Operator:
    """Results of a kind within a window: the latest, the lowest, the highest or any of them, compared.

    A result that could not be read, is recorded in words, lies in the window only perhaps, or is in a unit that
    cannot be compared, may be any: it leaves open what it could change.
    """
    text, absent, judged = wanted(criterion), absence(criterion, "observations"), _JUDGED[test.which]

    def find(view: View) -> Result:
        members = view.facts.vocabulary.sets[test.value_set]
        recent = [o for o in view.case.observations if _recent(test, o, view) is not False]
        found = [(o, hit[0]) for o in recent if (hit := members.first(o.codes))]
        wordy = [o for o in recent if not o.codes]
        if not found:
            if wordy:
                return open_(text, "observations", f"may be {in_words([o.ref for o in wordy])}")
            return absent(view)
        return judged(test, text, found, wordy, view)

    return find


def _recent(test: ObservationTest, found: Observation, view: View) -> bool | None:
    """Within the window, as far as its date tells; without a window, unless it is surely after the day of the order."""
    if test.within is None:
        return dates.since(found.effective, date.min, view.day) is not False
    return dates.since(found.effective, dates.back(view.day, test.within), view.day)


def _evidence(results: Results) -> tuple[Evidence, ...]:
    return tuple([Evidence(o.ref, "result", str(code)) for o, code in results])


# --- which of them ------------------------------------------------------------------------------------


def _by_latest(test: ObservationTest, text: str, found: Results, wordy: list[Observation], view: View) -> Result:
    """Where dates leave open which result is the latest, all that may be it must agree."""
    codes = {id(o): code for o, code in found}
    possible = _latest([*(o for o, _ in found), *wordy])
    latest = [(o, codes[id(o)]) for o in possible if id(o) in codes]
    evidence = _evidence(latest)
    if unread := [o.ref for o in possible if not o.codes]:
        return open_(text, "observations", f"a later result may be {in_words(unread)}", evidence)
    outcome = agree([_observed(test, o, view) if _recent(test, o, view) else UNKNOWN for o, _ in latest])
    return _settled(outcome, test, text, latest, view)


def _latest(found: list[Observation]) -> list[Observation]:
    """The results that may be the latest: none is surely later than they are."""
    spans = [(o.effective or Period(), o) for o in found]
    newest = max(span.start or date.min for span, _ in spans)
    last = [o for span, o in spans if (span.end or date.max) >= newest]
    timed = [o.at for o in last if o.at is not None]
    if timed and len(timed) == len(last):  # of one day, the time tells
        last = [o for o in last if o.at == max(timed)]
    return sorted(last, key=lambda o: o.ref)


def _by_any(test: ObservationTest, text: str, found: Results, wordy: list[Observation], view: View) -> Result:
    """As many as asked for fit, on days as far apart as asked for."""
    judged = [
        (o, code, logic.all_of([_observed(test, o, view), logic.of(_recent(test, o, view))])) for o, code in found
    ]
    sure = [(o, code) for o, code, outcome in judged if outcome is MET]
    maybe = [o for o, _, outcome in judged if outcome is UNKNOWN]
    if _spread([o for o, _ in sure], test) >= test.at_least_times:
        return (MET, _evidence(sure), ())
    most = len(sure) + len(maybe) + len(wordy)
    if most < test.at_least_times:
        return _settled(NOT_MET, test, text, found, view)
    if not maybe and not wordy and test.apart is not None:
        known = all(o.effective and o.effective.start and o.effective.start == o.effective.end for o, _ in sure)
        return _settled(NOT_MET if known else UNKNOWN, test, text, found, view)
    if wordy and not maybe:
        return open_(text, "observations", f"may be {in_words([o.ref for o in wordy])}", _evidence(found))
    return _settled(UNKNOWN, test, text, found, view)


def _spread(found: list[Observation], test: ObservationTest) -> int:
    """How many results there are, each as long after the one before as is asked for."""
    if test.apart is None:
        return len(found)
    spans = sorted(
        (o.effective.start, o.effective.end) for o in found if o.effective and o.effective.start and o.effective.end
    )
    count, last = 0, date.min
    for start, end in spans:
        if count == 0 or dates.back(start, test.apart) >= last:
            count, last = count + 1, end
    return count


def _by_extreme(test: ObservationTest, text: str, found: Results, wordy: list[Observation], view: View) -> Result:
    """The lowest or highest value, which lies between what is surely there and what may be."""
    lowest = test.which == "lowest"
    sure: list[tuple[float | None, float | None]] = []
    open_ended = bool(wordy) or not view.case.source("observations").complete
    for result, _ in found:
        value = _value(test, result)
        if value is None or not result.final or _recent(test, result, view) is None:
            open_ended = True  # it may be any value
        else:
            sure.append(_range(result, value))
    if not sure:
        return _settled(UNKNOWN, test, text, found, view)
    pick = min if lowest else max
    lows, highs = [low for low, _ in sure], [high for _, high in sure]
    low = None if None in lows and lowest else pick([v for v in lows if v is not None], default=None)
    high = None if None in highs and not lowest else pick([v for v in highs if v is not None], default=None)
    if open_ended:
        low, high = (None, high) if lowest else (low, None)
    return _settled(logic.all_of(_compared(test, low, high)), test, text, found, view, bounded=True)


_JUDGED: dict[str, Callable[[ObservationTest, str, Results, list[Observation], View], Result]] = {
    "latest": _by_latest,
    "any": _by_any,
    "lowest": _by_extreme,
    "highest": _by_extreme,
}


def _settled(
    outcome: Outcome, test: ObservationTest, text: str, results: Results, view: View, *, bounded: bool = False
) -> Result:
    """The outcome with its evidence, or why it is open. `bounded`: what was not read is already counted in."""
    evidence = _evidence(results)
    if outcome is UNKNOWN:
        foreign = [o.ref for o, _ in results if o.quantity is not None and _value(test, o) is None]
        why = "recorded, but value or date is not clear"
        if foreign:
            why = f"recorded in a unit that cannot be compared with {test.unit}: {', '.join(foreign[:3])}"
        return (UNKNOWN, evidence, (Missing(text, "observations", why),))
    why, _ = view.facts.absences["observations"]
    return open_(text, "observations", why, evidence) if why and not bounded else (outcome, evidence, ())


# --- one result ---------------------------------------------------------------------------------------


def _observed(test: ObservationTest, found: Observation, view: View) -> Outcome:
    if not found.final:
        return UNKNOWN
    if test.present is not None:
        return logic.of(None if found.flag is None else found.flag == test.present)
    if test.equals is not None:
        members = view.facts.vocabulary.sets[test.equals]
        return logic.of(members.first(found.coded) is not None) if found.coded else UNKNOWN
    value = _value(test, found)
    return UNKNOWN if value is None else logic.all_of(_compared(test, *_range(found, value)))


def _value(test: ObservationTest, found: Observation) -> float | None:
    """Its value in the unit that the criterion names; None where it has none, or one that cannot be compared."""
    if found.quantity is None or test.unit is None:
        return found.quantity
    return units.convert(found.quantity, found.unit, test.unit)


def _range(found: Observation, value: float) -> tuple[float | None, float | None]:
    low = None if found.comparator in ("<", "<=") else value
    high = None if found.comparator in (">", ">=") else value
    return low, high


def _compared(test: ObservationTest, low: float | None, high: float | None) -> list[Outcome]:
    parts = list(bounds(low, high, test.at_least, test.at_most))
    if test.above is not None:
        parts += [logic.negate(o) for o in bounds(low, high, None, test.above)]
    if test.below is not None:
        parts += [logic.negate(o) for o in bounds(low, high, test.below, None)]
    return parts
