"""What operators share: agreement of operations, bounds, evidence of an order, and what absence means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cds_service.policy import logic
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion
from cds_service.policy.trace import Evidence, Missing
from cds_service.policy.view import NOTHING, Result, View

Operator = Callable[[View], Result]
"""A criterion's operator, bound to its arguments: what it finds in the case as one order sees it."""


_NAMED = 10  # facts that a sentence names


def agree(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome that all operations an order may belong to share; unknown when they differ."""
    if len(outcomes) == 1:
        return outcomes[0]
    seen = set(outcomes)
    return seen.pop() if len(seen) == 1 else UNKNOWN


def bounds(low: float | None, high: float | None, at_least: float | None, at_most: float | None) -> Iterator[Outcome]:
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


def open_(text: str, source: str, why: str, evidence: tuple[Evidence, ...] = ()) -> Result:
    """Unknown, because of one thing that is missing."""
    return (UNKNOWN, evidence, (Missing(text, source, why),))


def in_words(refs: Sequence[str]) -> str:
    """Why facts that are there settle nothing; names the first of them."""
    more = f" and {len(refs) - _NAMED} more" if len(refs) > _NAMED else ""
    return f"recorded only in words or in codes that the policy does not read: {', '.join(refs[:_NAMED])}{more}"


def wanted(criterion: Criterion) -> str:
    """What is asked for when the criterion stays open: its question, else its own sentence."""
    return criterion.ask.question if criterion.ask else criterion.text


def same_region(regions: Sequence[str] | None, view: View) -> Outcome:
    """Is a code of the operated region? One that names none may be of any; so may an unclear operation."""
    if not regions:
        return UNKNOWN
    return agree([UNKNOWN if not o.regions else logic.of(not o.regions.isdisjoint(regions)) for o in view.operations])


def absence_of(criterion: Criterion, sources: Sequence[str], view: View) -> Result:
    """What it means that nothing was found in any of these sources: as `absence`, where all of them were read."""
    for source in sources:
        why, _ = view.facts.absences[source]
        if why:
            return open_(wanted(criterion), source, why)
    if criterion.when_absent == "not-met":
        return NOTHING
    empty = all(view.facts.absences[source][1] for source in sources)
    return open_(wanted(criterion), sources[0], "nothing recorded" if empty else "not documented")


def absence(criterion: Criterion, source: str) -> Operator:
    """What it means that nothing was found: not met only if the criterion says so and the source was read or empty.

    The two usual answers are made once, when the policy is compiled.
    """
    text = wanted(criterion)
    nothing_recorded: Result = (UNKNOWN, (), (Missing(text, source, "nothing recorded"),))
    not_documented: Result = (UNKNOWN, (), (Missing(text, source, "not documented"),))
    settled = criterion.when_absent == "not-met"

    def absent(view: View) -> Result:
        why, empty = view.facts.absences[source]
        if why:
            return open_(text, source, why)
        if settled:
            return NOTHING
        return nothing_recorded if empty else not_documented

    return absent
