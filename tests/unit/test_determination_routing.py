"""Whose policies apply: payers by identifier or whole name, and which coverage decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from cds_service.determination.routing import IdentifierDirectory, PayerDirectory, Route, in_force, plain, routes
from cds_service.policy.case import Case, Code, Coverage, CoverageClass, Order, Period
from cds_service.policy.model import LineNames, Payer

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


# --- lines of business ------------------------------------------------------------------------------


def of_line(own: str, line: str, parent: str | None = None, *, several: bool = False) -> Payer:
    more = {"line_of_business": line, "parent": parent, "one_of_several": several}
    return payer(own, own.replace("-", " ")).model_copy(update=more)


LINES = (
    of_line("blue", "commercial"),
    of_line("blue-advantage", "medicare-advantage", "blue"),
    of_line("blue-medicaid-of-here", "medicaid", "blue", several=True),
    of_line("blue-forces", "other", "blue"),
    of_line("cash", "commercial"),
    of_line("medicare", "medicare"),
    of_line("all-sorts", "other"),
    of_line("all-sorts-medicaid", "medicaid", "all-sorts"),
)
WORDS = [LineNames(means=["medicare-advantage"], names=["Managed Medicare"])]
BY_LINE = PayerDirectory({p.id: p for p in LINES}, WORDS)


def saying(who: str, code: str = "", text: str = "", plan: str = "", **parts: Any) -> Coverage:
    return cover(
        "v",
        who,
        type_codes=(Code("sopt", code),) if code else (),
        type_texts=(text,) if text else (),
        classes=(CoverageClass("plan", name=plan),) if plan else (),
        **parts,
    )


@pytest.mark.parametrize(
    ("said", "who"),
    [
        # the payor's own line, or nothing of a line
        (saying("blue", "512"), "blue"),
        (saying("blue", "6"), "blue"),
        (saying("blue", text="Gold 1500", plan="Choice Plus"), "blue"),
        (saying("blue", plan="blue"), "blue"),
        (saying("medicare", "121"), "medicare"),
        (saying("medicare", "1"), "medicare"),
        (saying("blue-advantage", "112"), "blue-advantage"),
        (saying("blue-advantage", "1", text="Managed Medicare", plan="Blue Advantage"), "blue-advantage"),
        # another line of the payor's, in codes, in declared words, by name
        (saying("blue", "112"), "blue-advantage"),
        (saying("blue", text="Managed Medicare"), "blue-advantage"),
        (saying("blue", "1", text="Managed Medicare"), "blue-advantage"),
        (saying("blue", plan="BLUE advantage"), "blue-advantage"),
        (saying("blue", "1", plan="Blue Advantage"), "blue-advantage"),
        (saying("all-sorts", "211"), "all-sorts-medicaid"),
        (saying("all-sorts", "512"), "all-sorts"),
        # one of several of a line: by its name alone
        (saying("blue", "211"), None),
        (saying("blue", "211", plan="Blue Medicaid of here"), "blue-medicaid-of-here"),
        # the line is open, or one that the payor is not known to have
        (saying("blue", "1"), None),
        (saying("blue", "14"), None),
        (saying("blue", "121"), None),
        (saying("blue", "561"), None),
        (saying("cash", "112"), None),
        (saying("cash", text="Managed Medicare"), None),
        (saying("medicare", "112"), None),
        # `other` is no line of its own: only a name leads to it
        (saying("blue", "311"), None),
        (saying("blue", "311", plan="Blue forces"), "blue-forces"),
        # contradictions, of statements and of the payor
        (saying("blue", "112", plan="blue"), None),
        (saying("blue", "512", plan="Blue Advantage"), None),
        (saying("blue", "512", text="Managed Medicare"), None),
        (saying("blue", text="Blue Advantage", plan="blue"), None),
        (saying("blue", plan="cash"), None),
        (saying("blue", plan="Medicare"), None),
        (saying("all-sorts", "512", text="Managed Medicare"), None),
        (saying("blue-advantage", "512"), None),
        (saying("blue-advantage", plan="blue"), None),
        # what could not be read may have said anything
        (saying("blue", "512", unread=True), None),
        (saying("blue", unread=True), None),
        # a payor that nobody knows stays unknown
        (saying("nobody", "112", plan="Blue Advantage"), None),
    ],
)
def test_the_line_that_a_coverage_states_chooses_among_the_payors_payers(said: Coverage, who: str | None) -> None:
    assert BY_LINE.find(said) == who
    assert [r.payer for r in routes(Case(orders=(ORDER,), coverages=(said,)), ORDER, BY_LINE)] == ([who] if who else [])
    assert IdentifierDirectory(BY_LINE.payers, WORDS).find(said) == who
    known = BY_LINE.payor(said) is not None
    assert bool(BY_LINE.doubt(said)) is (known and who is None)


def test_why_nobody_is_known_is_told() -> None:
    assert BY_LINE.doubt(saying("blue", "1")) == "its type and class lead to no plan of blue that is known here"
    assert BY_LINE.doubt(saying("blue", unread=True)) == "its type or class could not be read"


def test_a_coverage_that_states_nothing_costs_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("cds_service.determination.routing.stated")
    monkeypatch.delattr(PayerDirectory, "_of_line")
    assert BY_LINE.find(cover("v", "blue")) == "blue"
    monkeypatch.delattr(PayerDirectory, "payor")
    assert BY_LINE.doubt(cover("v", "blue")) == ""


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
