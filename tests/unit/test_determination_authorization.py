"""Which authorisation of an order holds: its days, its coverage, its insurer."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from support.small import book

from cds_service.determination.authorization import holding
from cds_service.determination.decider import Decider
from cds_service.determination.routing import PayerDirectory
from cds_service.determination.terms import Terms
from cds_service.policy.case import Authorization, Case, Code, Coverage, Order, Source, SourceState
from cds_service.policy.model import Payer

DAY = date(2026, 11, 20)
ACME = Coverage("Coverage/acme", payor_names=("Acme",), order=1)
OTHER = Coverage("Coverage/other", payor_names=("Other",), order=2)
UNKNOWN = Coverage("Coverage/unknown", payor_names=("Nobody knows",), order=1)
READ = {"coverage": Source(SourceState.READ)}


def payer(own: str, parent: str | None = None) -> Payer:
    return Payer.model_validate({"id": own, "label": own.replace("-", " "), "parent": parent})


PAYERS = (payer("acme"), payer("acme-two", "acme"), payer("other"))
DIRECTORY = PayerDirectory({p.id: p for p in PAYERS})


def held(
    *given: Authorization, coverages: tuple[Coverage, ...] = (ACME,), payers: tuple[str, ...] = ("acme",), **more: Any
) -> str | None:
    order = Order("ServiceRequest/o", (Code("cpt", "20939"),), authorizations=given, occurrence=more.pop("on", None))
    case = Case((order,), coverages=coverages, received=DAY, **{"sources": READ, **more})
    found = holding(order, case, payers, DIRECTORY)
    return found.number if found else None


def given(number: str = "PA", **parts: Any) -> Authorization:
    return Authorization(number, "ServiceRequest/o", **parts)


@pytest.mark.parametrize(
    ("parts", "holds"),
    [
        ({}, True),
        ({"expires": DAY, "begins": DAY}, True),
        ({"expires": date(2026, 11, 19)}, False),
        ({"begins": date(2026, 11, 21)}, False),
        ({"coverage": "Coverage/acme"}, True),
        ({"coverage": "Coverage/nobody-sent"}, False),
        ({"insurer": Coverage("x", payor_names=("Acme",))}, True),
        ({"insurer": Coverage("x", payor_names=("Other",))}, False),
        ({"insurer": Coverage("x", payor_names=("Whoever",))}, True),
    ],
)
def test_days_coverage_and_insurer(parts: Any, holds: bool) -> None:
    assert held(given(**parts)) == ("PA" if holds else None)


@pytest.mark.parametrize(
    ("insurer", "decides", "holds"),
    [("Acme", "acme-two", True), ("Acme two", "acme-two", True), ("Acme two", "acme", False)],
)
def test_an_insurer_known_by_its_general_name_gave_what_its_line_of_business_decides(
    insurer: str, decides: str, holds: bool
) -> None:
    found = given(insurer=Coverage("x", payor_names=(insurer,)))
    assert held(found, payers=(decides,)) == ("PA" if holds else None)


def test_an_undated_order_is_judged_on_the_day_it_came_and_a_dated_one_on_its_own() -> None:
    ends = given(expires=date(2026, 12, 31))
    assert held(ends) == "PA"
    assert held(ends, on=date(2027, 1, 1)) is None
    assert held(ends, on=date(2027, 1, 1), as_of=DAY) == "PA"


def test_the_authorisation_of_the_deciding_coverage_is_found_wherever_it_stands() -> None:
    both = (given("PA-2", coverage="Coverage/other"), given("PA-1", coverage="Coverage/acme"))
    assert held(*both, coverages=(ACME, OTHER)) == "PA-1"
    assert held(both[0], coverages=(ACME, OTHER)) is None


def test_a_coverage_that_has_ended_authorises_nothing() -> None:
    ended = Coverage("Coverage/acme", payor_names=("Acme",), status="cancelled")
    assert held(given(coverage="Coverage/acme"), coverages=(ended, ACME)) is None


def test_the_deciding_coverage_counts_where_nobody_knows_its_payer() -> None:
    assert held(given(coverage="Coverage/unknown"), coverages=(UNKNOWN,), payers=()) == "PA"
    assert held(given(coverage="Coverage/unknown"), coverages=(ACME, UNKNOWN)) == "PA"


@pytest.mark.parametrize(
    "source", [Source(SourceState.UNAVAILABLE, "x"), Source(SourceState.READ, "", ("Coverage/x",))]
)
def test_a_coverage_that_may_be_unread_is_let_pass(source: Source) -> None:
    assert held(given(coverage="Coverage/x"), sources={"coverage": source}) == "PA"
    assert held(given(coverage="Coverage/x"), coverages=(), sources={"coverage": source}) == "PA"


@pytest.mark.parametrize(("name", "holds"), [("Acme", True), ("Other", False)])
def test_a_payer_that_pays_second_authorises_nothing(name: str, holds: bool) -> None:
    """Only who decides on the order can have authorised it."""
    authorised = (given(insurer=Coverage("x", payor_names=(name,))),)
    order = Order("ServiceRequest/o", (Code("cpt", "20939"),), authorizations=authorised)
    both = Case((order,), coverages=(ACME, OTHER), received=DAY, sources=READ)
    found = Decider(both, book(), Terms(DIRECTORY)).authorization(order)
    assert (found is not None) is holds
