"""Whose policies apply: payers by identifier or whole name, and which coverage decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from cds_service.determination.routing import IdentifierDirectory, PayerDirectory, Route, in_force, plain, routes
from cds_service.policy.case import Case, Coverage, Order, Period
from cds_service.policy.model import Payer

SYSTEM = "http://example.org/payer-id"


def payer(own: str, label: str, *names: str, follows: tuple[str, ...] = ()) -> Payer:
    identifiers = [{"system": SYSTEM, "value": own}]
    return Payer.model_validate(
        {"id": own, "label": label, "identifiers": identifiers, "names": list(names), "follows": list(follows)}
    )


DIRECTORY = PayerDirectory(
    {
        p.id: p
        for p in (
            payer("north", "North Plan", "North Plan & Trust", "NP, Inc."),
            payer("north-advantage", "North Plan Advantage", follows=("state",)),
            payer("state", "State"),
        )
    }
)
ORDER = Order("ServiceRequest/s", authored_on=date(2026, 11, 20))


def cover(own: str, who: str | None = None, **parts: Any) -> Coverage:
    identifiers = ((SYSTEM, who),) if who else ()
    return Coverage(f"Coverage/{own}", identifiers, **parts)


def routed(*coverages: Coverage, order: Order = ORDER, default: str | None = None) -> list[tuple[str, str]]:
    found = routes(Case(orders=(order,), coverages=coverages), order, DIRECTORY, default)
    return [(r.payer, r.role) for r in found]


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("North Plan", "north"),
        ("NORTH  plan", "north"),
        ("North Plan and Trust", "north"),
        ("N.P. Inc", None),
        ("NP Inc", "north"),
        ("North Plan Advantage", "north-advantage"),
        ("North Plan Advantage Plus", None),
        ("North", None),
        ("", None),
    ],
)
def test_names_match_whole(name: str, who: str | None) -> None:
    assert DIRECTORY.find(Coverage("Coverage/v", (), (name,))) == who


def test_identifiers_come_before_names() -> None:
    both = Coverage("Coverage/v", ((SYSTEM, "state"),), ("North Plan",))
    assert DIRECTORY.find(both) == DIRECTORY.by_identifier(both) == "state"
    foreign = Coverage("Coverage/v", (("urn:naic", "60054"),), ("North Plan",))
    assert DIRECTORY.find(foreign) == "north"
    assert DIRECTORY.by_identifier(foreign) is None
    assert DIRECTORY.find(Coverage("Coverage/v", (("urn:other", "north"),))) is None


def test_what_names_two_payers_names_none() -> None:
    torn = Coverage("Coverage/v", ((SYSTEM, "north"), (SYSTEM, "state")), ("North Plan",))
    assert DIRECTORY.find(torn) is None
    assert DIRECTORY.find(Coverage("Coverage/v", (), ("North Plan", "State"))) is None


def test_the_payers_whose_policies_are_followed() -> None:
    assert DIRECTORY.policies_of("north-advantage") == ("north-advantage", "state")
    assert DIRECTORY.policies_of("north") == ("north",)
    assert DIRECTORY.label("north") == "North Plan"
    assert DIRECTORY.label("unheard-of") == "unheard-of"


@pytest.mark.parametrize(
    ("parts", "active"),
    [
        ({}, True),
        ({"status": None}, True),
        ({"status": "cancelled"}, False),
        ({"status": "draft"}, False),
        ({"status": "entered-in-error"}, False),
        ({"period": Period(date(2026, 1, 1), None)}, True),
        ({"period": Period(date(2026, 11, 20), date(2026, 11, 20))}, True),
        ({"period": Period(date(2026, 11, 21), None)}, False),
        ({"period": Period(None, date(2026, 11, 19))}, False),
    ],
)
def test_only_coverage_in_force_on_the_day_counts(parts: Any, active: bool) -> None:
    covering = cover("v", "north", **parts)
    assert in_force(covering, date(2026, 11, 20)) is active
    assert routed(covering) == ([("north", "primary")] if active else [])


def test_the_lowest_coverage_order_decides_and_the_rest_is_shown() -> None:
    assert routed(cover("a", "state", order=2), cover("b", "north", order=1)) == [
        ("state", "secondary"),
        ("north", "primary"),
    ]
    assert routed(cover("a", "state", order=2), cover("b", "north")) == [("state", "primary"), ("north", "secondary")]


def test_coverages_that_tie_are_all_primary() -> None:
    assert routed(cover("a", "state"), cover("b", "north")) == [("state", "primary"), ("north", "primary")]


def test_the_coverage_that_the_order_names_comes_first() -> None:
    named = replace(ORDER, insurance=("Coverage/a",))
    found = routed(cover("a", "state", order=2), cover("b", "north", order=1), order=named)
    assert found == [("state", "primary"), ("north", "secondary")]
    elsewhere = replace(ORDER, insurance=("Coverage/never-sent",))
    assert routed(cover("b", "north"), order=elsewhere) == [("north", "primary")]


def test_one_payer_twice_is_one_route() -> None:
    assert routed(cover("a", "north", order=1), cover("b", "north", order=2)) == [("north", "primary")]


def test_a_payer_is_assumed_only_where_no_coverage_is_known() -> None:
    assert routed(default="north") == [("north", "primary")]
    assert routed(cover("a", "unheard-of"), default="north") == []
    assert routed() == []
    assert routes(Case(orders=(ORDER,)), ORDER, DIRECTORY, "north") == (Route("north", "primary", None),)


def test_plain_names() -> None:
    assert plain("  Blue Cross & Blue Shield, of X.") == "blue cross and blue shield of x"


def test_a_name_alone_routes_an_advisor_call_and_never_a_crd_call() -> None:
    named = Coverage("Coverage/n", payor_names=(next(iter(DIRECTORY.payers.values())).label,))
    case = Case(orders=(ORDER,), coverages=(named,))
    assert [r.coverage for r in routes(case, ORDER, DIRECTORY)] == ["Coverage/n"]
    assert routes(case, ORDER, IdentifierDirectory(DIRECTORY.payers)) == ()
