"""Kleene's tables for any number of parts, none included."""

from __future__ import annotations

from itertools import product

import pytest

from cds_service.policy.case import Case, Code, Fault, Order, Period, Source, SourceState
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome, all_of, any_of, at_least, negate, of

ALL = [parts for size in range(4) for parts in product((MET, NOT_MET, UNKNOWN), repeat=size)]


def possible(parts: tuple[Outcome, ...]) -> list[tuple[bool, ...]]:
    """Every way in which what is unknown may turn out."""
    ways = {MET: (True,), NOT_MET: (False,), UNKNOWN: (True, False)}
    return list(product(*(ways[p] for p in parts)))


def settled(answers: list[bool]) -> Outcome:
    return UNKNOWN if len(set(answers)) > 1 else of(answers[0])


@pytest.mark.parametrize("parts", ALL)
def test_an_outcome_is_what_every_way_of_turning_out_agrees_on(parts: tuple[Outcome, ...]) -> None:
    ways = possible(parts)
    assert all_of(parts) is settled([all(w) for w in ways])
    assert any_of(parts) is settled([any(w) for w in ways])
    for count in range(1, 5):
        assert at_least(count, iter(parts)) is settled([sum(w) >= count for w in ways])


def test_of_and_negate() -> None:
    assert [of(v) for v in (True, False, None)] == [MET, NOT_MET, UNKNOWN]
    assert [negate(o) for o in (MET, NOT_MET, UNKNOWN)] == [NOT_MET, MET, UNKNOWN]
    assert [o.value for o in (MET, NOT_MET, UNKNOWN)] == ["met", "not-met", "unknown"]


# --- the case, on which criteria stand --------------------------------------------------------------


def test_what_a_case_takes_for_granted() -> None:
    order = Order("ServiceRequest/o/1")
    assert (order.draft, order.units, order.resource_type) == (True, 1, "ServiceRequest")
    assert Case().source("conditions") == Source(SourceState.UNAVAILABLE, "not supplied")
    assert str(Code("cpt", "1")) == "cpt 1"
    assert Period() == Period(None, None)
    assert Fault("Condition/c", "code", "t").fatal is False


@pytest.mark.parametrize(
    ("source", "complete"),
    [
        (Source(SourceState.READ), True),
        (Source(SourceState.EMPTY), True),
        (Source(SourceState.UNAVAILABLE), False),
        (Source(SourceState.READ, "", ("Condition/x",)), False),
        (Source(SourceState.UNAVAILABLE, "", ("Condition/x",)), False),
    ],
)
def test_a_source_is_complete_when_absence_means_something(source: Source, complete: bool) -> None:
    assert source.complete is complete
