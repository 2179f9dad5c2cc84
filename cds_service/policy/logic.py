"""Kleene's strong three-valued logic: met, not met, unknown."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Outcome(StrEnum):
    """What a criterion says of a case. Unknown is an answer: it asks for information."""

    MET = "met"
    NOT_MET = "not-met"
    UNKNOWN = "unknown"


MET, NOT_MET, UNKNOWN = Outcome.MET, Outcome.NOT_MET, Outcome.UNKNOWN


def of(value: bool | None) -> Outcome:
    """Outcome of a boolean that may be missing."""
    return UNKNOWN if value is None else MET if value else NOT_MET


def negate(outcome: Outcome) -> Outcome:
    """`not`: unknown stays unknown."""
    return UNKNOWN if outcome is UNKNOWN else NOT_MET if outcome is MET else MET


def all_of(outcomes: Iterable[Outcome]) -> Outcome:
    """`all`: one not-met settles it; else one unknown leaves it open. Met when empty."""
    found = MET
    for outcome in outcomes:
        if outcome is NOT_MET:
            return NOT_MET
        if outcome is UNKNOWN:
            found = UNKNOWN
    return found


def any_of(outcomes: Iterable[Outcome]) -> Outcome:
    """`any`: one met settles it; else one unknown leaves it open. Not met when empty."""
    found = NOT_MET
    for outcome in outcomes:
        if outcome is MET:
            return MET
        if outcome is UNKNOWN:
            found = UNKNOWN
    return found


def true(*flags: bool | None) -> Outcome:
    """`all` of booleans that may be missing."""
    if False in flags:
        return NOT_MET
    return UNKNOWN if None in flags else MET


def at_least(count: int, outcomes: Iterable[Outcome]) -> Outcome:
    """`at_least`: met when `count` are met, not met when `count` are out of reach."""
    listed = list(outcomes)
    met = listed.count(MET)
    if met >= count:
        return MET
    return UNKNOWN if met + listed.count(UNKNOWN) >= count else NOT_MET
