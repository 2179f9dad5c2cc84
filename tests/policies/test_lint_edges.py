"""Where each warning of lint begins and ends: bounds, ages, gaps, and what counts as used or cited."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from support.cards import CARD, FLAGS, ORDERS, POLICY, Edit, content, edited

from cds_service.policy.lint import lint
from cds_service.policy.lint_reach import impossible
from cds_service.policy.model import Criterion

TODAY = date(2026, 11, 20)
VERSION = edited()[POLICY].partition("versions:\n")[2]
RULES = "        rules:                          # exclusions first; the first rule that is met decides\n"
LABEL = "        label: Imaging of the low back\n"


def kinds(*edits: Edit, today: date = TODAY) -> list[tuple[str, int]]:
    """Kind and line of each notice."""
    return [(n.kind, n.line) for n in lint(content(*edits), today)]


def criterion(operator: str) -> list[Edit]:
    asked = "        asked: {}\n        ask: {question: Were six weeks of conservative care tried?}\n"
    return [(POLICY, asked, f"        {operator}\n")]


@pytest.mark.parametrize(
    ("operator", "arguments", "why"),
    [
        ("age", {"at_least": 18, "under": 18}, "nothing is at least 18 and under 18"),
        ("age", {"at_least": 18, "under": 19}, ""),
        ("age", {"at_least": 18}, ""),
        ("age", {"under": 18}, ""),
        ("interspaces", {"at_least": 3, "at_most": 2}, "nothing is at least 3 and at most 2"),
        ("interspaces", {"at_least": 2, "at_most": 2}, ""),
        ("interspaces", {"at_least": 2, "at_most": 3}, ""),
        ("observation", {"at_least": 7, "below": 7}, "nothing is at least 7 and below 7"),
        ("observation", {"at_least": 7, "below": 7.5}, ""),
        ("observation", {"above": 7, "at_most": 7}, "nothing is above 7 and at most 7"),
        ("observation", {"above": 6.5, "at_most": 7}, ""),
        ("observation", {"above": 7, "below": 7}, "nothing is above 7 and below 7"),
        ("observation", {"above": 8, "below": 7}, "nothing is above 8 and below 7"),
        ("observation", {"above": 7, "below": 8}, ""),
        ("observation", {"at_least": 7, "at_most": 7}, ""),
        ("observation", {"present": True}, ""),
    ],
)
def test_bounds_that_leave_nothing(operator: str, arguments: dict[str, Any], why: str) -> None:
    more = {"value_set": "x"} if operator == "observation" else {}
    assert impossible(Criterion.model_validate({"text": "t", operator: {**arguments, **more}})) == why


@pytest.mark.parametrize(
    ("operator", "warned"),
    [
        ("observation: {value_set: imaging-orders, at_least: 7}", True),
        ("observation: {value_set: imaging-orders, at_most: 7}", True),
        ("observation: {value_set: imaging-orders, above: 7}", True),
        ("observation: {value_set: imaging-orders, below: 7}", True),
        ("observation: {value_set: imaging-orders, below: 7, unit: '%'}", False),
        ("observation: {value_set: imaging-orders, present: true}", False),
        ("observation: {value_set: imaging-orders, equals: imaging-red-flags}", False),
        ("age: {at_least: 7}", False),
    ],
)
def test_a_number_in_any_unit(operator: str, warned: bool) -> None:
    assert kinds(*criterion(operator)) == ([("no-unit", 27)] if warned else [])


def test_a_score_needs_no_unit() -> None:
    score = (ORDERS, "title: Imaging of the low back", "title: Disability Score")
    assert kinds(*criterion("observation: {value_set: imaging-orders, at_least: 7}"), score) == []


@pytest.mark.parametrize(("days", "stale"), [(365, False), (366, True), (367, True), (-1, False)])
def test_confirmed_a_year_ago(days: int, stale: bool) -> None:
    day = date(2026, 11, 1) + timedelta(days=days)
    assert kinds(today=day) == ([("stale", 14)] if stale else [])


@pytest.mark.parametrize(("end", "stale"), [("2027-11-01", False), ("2027-11-02", True), ("2027-11-03", True)])
def test_a_version_that_has_ended_is_not_stale(end: str, stale: bool) -> None:
    edits = (POLICY, "from: null, to: null", f"from: null, to: {end}")
    assert kinds(edits, today=date(2027, 11, 2)) == ([("stale", 14)] if stale else [])


@pytest.mark.parametrize(
    ("first", "second", "gap"),
    [
        ("to: 2026-11-30", "from: 2026-12-01", ""),
        ("to: 2026-11-30", "from: 2026-12-02", "from 2026-12-01 to 2026-12-01"),
        ("to: 2026-11-30", "from: 2026-12-10", "from 2026-12-01 to 2026-12-09"),
    ],
)
def test_a_gap_between_versions(first: str, second: str, gap: str) -> None:
    more = VERSION.replace('"2026-11"', '"2027"').replace("from: null", second)
    found = lint(content((POLICY, "to: null", first), (POLICY, "", more)), TODAY)
    assert [n.text for n in found] == ([f"no version is in force {gap}."] if gap else [])
    assert [n.kind for n in found] == (["gap"] if gap else [])


def test_versions_stand_in_the_order_of_their_days() -> None:
    more = VERSION.replace('"2026-11"', '"2025"').replace("from: null, to: null", "from: null, to: 2025-12-01")
    assert kinds((POLICY, "from: null", "from: 2026-01-01"), (POLICY, "", more)) == [("gap", 13)]


@pytest.mark.parametrize(
    "use",
    [
        "includes: [other]",
        "with_code: {value_set: other, terms: [M]}",
    ],
)
def test_a_set_is_used_through_another(use: str) -> None:
    other = ("value_sets/other.yaml", "", edited()[FLAGS].replace("id: imaging-red-flags", "id: other"))
    assert kinds(other) == [("unused-value-set", 3)]
    assert kinds(other, (FLAGS, "", f"{use}\n")) == []


@pytest.mark.parametrize(
    "edits",
    [
        criterion("observation: {value_set: imaging-orders, equals: other}"),
        criterion("companion: {value_set: other}"),
        [(POLICY, "value_set: imaging-orders\n", "value_set: imaging-orders\n        given: other\n")],
    ],
)
def test_a_set_is_used_by_a_policy(edits: list[Edit]) -> None:
    other = ("value_sets/other.yaml", "", edited()[ORDERS].replace("id: imaging-orders", "id: other"))
    assert kinds(other, *edits) == []


REMARKS = "    findings:\n      - {id: f, about: other, when: %s, text: t, cite: [second]}\n"


def remarks(when: str) -> list[Edit]:
    """A policy of its own for a remark: coverage policies make none."""
    head = edited()[POLICY].partition("    criteria:")[0]
    coding = head.replace("id: acme/imaging", "id: acme/coding").replace("kind: coverage", "kind: coding")
    coding = coding.replace("payers: [acme] ", "").replace("      policy:\n", "      second:\n")
    grown = "    criteria:\n      grown-up: {text: t, age: {at_least: 18}}\n      child: {text: t, age: {under: 18}}\n"
    other = edited()[ORDERS].replace("id: imaging-orders", "id: other")
    return [
        ("acme/coding/policy.yaml", "", coding + grown + REMARKS % when),
        ("value_sets/other.yaml", "", other),
    ]


def test_findings_use_sets_criteria_and_sources() -> None:
    assert kinds(*remarks("{any: [grown-up, child]}")) == []
    assert kinds(*remarks("grown-up")) == [("unused-criterion", 23)]
    assert kinds(*remarks("{all: [grown-up, child, {not: child}]}")) == [("never-met", 25)]


def test_a_criterion_that_only_the_card_looks_at_is_used() -> None:
    extra = (POLICY, "      tried-six-weeks:", "      old: {text: t, age: {at_least: 65}}\n      tried-six-weeks:")
    assert kinds(extra) == [("unused-criterion", 27)]
    assert kinds(extra, (CARD, "", "    context: [{criterion: old, label: Age}]\n")) == []


OTHER_SOURCE = (POLICY, "    criteria:\n", "      other: {title: O, confidence: seen}\n\n    criteria:\n")
OTHERWISE = "unless there is a red flag.\n          cite: [policy"


@pytest.mark.parametrize(
    "edit",
    [
        (POLICY, "there is none\n        cite: [policy", "there is none\n        cite: [policy, other"),
        (POLICY, "without delay.\n            cite: [policy", "without delay.\n            cite: [policy, other"),
        (POLICY, OTHERWISE, f"{OTHERWISE}, other"),
        *(
            (CARD, "", f"    {part}: [{{text: {{clinician: t}}, cite: [other]}}]\n")
            for part in ("rationale", "distinction", "single_studies", "pitfall", "recommendation")
        ),
    ],
)
def test_a_source_is_cited_by(edit: Edit) -> None:
    assert kinds(OTHER_SOURCE) == [("uncited-source", 21)]
    assert kinds(OTHER_SOURCE, edit) == []


@pytest.mark.parametrize(
    ("when", "kind"),
    [
        ("{all: [red-flag, tried-six-weeks]}", "unreachable-rule"),
        ("{all: [{not: red-flag}, {not: tried-six-weeks}]}", None),
        ("{any: [{not: red-flag}, tried-six-weeks]}", None),
        ("{at_least: 2, of: [red-flag, tried-six-weeks]}", "unreachable-rule"),
        ("always", None),
    ],
)
def test_a_last_rule(when: str, kind: str | None) -> None:
    last = "        otherwise:"
    body = f"          - {{id: last, when: {when}, outcome: supported, because: b, cite: [policy]}}\n{last}"
    assert kinds((POLICY, last, body)) == ([(kind, 48)] if kind else [])


def test_beyond_what_can_be_proved_equal_rules_are_still_seen() -> None:
    many = [f"c{n}" for n in range(15)]
    rows = "".join(f"      {c}: {{text: t, age: {{at_least: {n + 20}}}}}\n" for n, c in enumerate(many))
    when = f"{{all: [{', '.join(many)}]}}"
    edits = [(POLICY, "      tried-six-weeks:", f"{rows}      tried-six-weeks:")]
    one = f"          - {{id: one, when: {when}, outcome: supported, because: b, cite: [policy]}}\n"
    twice = one + one.replace("id: one", "id: two")
    assert kinds(*edits, (POLICY, "        otherwise:", f"{one}        otherwise:")) == []
    assert kinds(*edits, (POLICY, "        otherwise:", f"{twice}        otherwise:")) == [("unreachable-rule", 64)]


def test_an_option_that_another_item_judges() -> None:
    second = (
        "      again:\n        label: Again\n        value_set: other\n"
        "        otherwise: {outcome: supported, because: b, cite: [policy]}\n"
        '        alternatives: [{order: again, code: "72148", label: l}]\n'
    )
    other = ("value_sets/other.yaml", "", edited()[ORDERS].replace("id: imaging-orders", "id: other"))
    found = lint(content(other, (POLICY, "", second)), TODAY)
    assert [(n.kind, n.text) for n in found] == [
        (
            "unreachable-item",
            "the item 'again' is never reached: 'low-back-imaging' before it takes all that it matches.",
        ),
        ("unsupported-alternative", "'72148' is never offered: 'low-back-imaging' judges it, not 'again'."),
    ]


def test_an_option_that_only_otherwise_supports() -> None:
    second = (
        "      again:\n        label: Again\n        value_set: other\n"
        "        otherwise: {outcome: supported, because: b, cite: [policy]}\n"
        '        alternatives: [{order: again, code: "72100", label: l}]\n'
    )
    text = edited()[ORDERS].replace("id: imaging-orders", "id: other").replace("72148", "72100")
    assert kinds(("value_sets/other.yaml", "", text), (POLICY, "", second)) == []
