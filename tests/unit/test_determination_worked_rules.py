"""Which rules the worked cases beside a policy reach."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.small import book, item, policy, rule

from cds_service.determination.worked_rules import PolicyRun, run_cases
from cds_service.policy.model import CasesFile

CRITERIA = {"old": {"text": "Old.", "age": {"at_least": 65}}}
NEVER = {"not": "always"}
COVERAGE = policy(
    "a/one",
    criteria=CRITERIA,
    orders={
        "bone": item("bone", rule("old", "old", "supported"), rule("else", "always", "not-supported")),
        "marrow": item("marrow", rule("old", "old", "supported")),
    },
)
OTHER = policy("b/two", orders={"bone": item("bone", rule("else", "always", "supported"))}, payers=["beta"])
SAFETY = policy(
    "r/safe",
    "safety",
    findings=[
        {"id": own, "about": "bone", "when": when, "text": "t", "cite": ["s"]}
        for own, when in (("said", "always"), ("unsaid", NEVER))
    ],
)


def run(own: str, *cases: dict[str, Any]) -> PolicyRun:
    rulebook = book(COVERAGE, OTHER, SAFETY)
    worked = [{"id": f"w{n}", "title": "W", "on": "2026-03-05", "orders": ["20930"], **c} for n, c in enumerate(cases)]
    beside = CasesFile.model_validate({"format": 1, "cases": worked}) if cases else None
    return run_cases(replace(rulebook.folders[own], cases=beside), rulebook)


YOUNG = {"age": 40, "expect": {"20930": "not-supported"}}
OLD = {"age": 70, "expect": {"20930": "supported"}}
RULES = (("1", "bone", "old"), ("1", "bone", "else"), ("1", "marrow", "old"))


def test_rules_stand_as_in_the_policy_and_without_cases_none_is_met() -> None:
    assert run("a/one") == PolicyRun((), RULES, frozenset())
    assert run("a/one").unmet == RULES


def test_a_rule_is_met_in_the_item_that_judges() -> None:
    found = run("a/one", YOUNG)
    assert [r.failures for r in found.reports] == [()]
    assert found.met == {("1", "bone", "else")}
    assert found.unmet == (RULES[0], RULES[2])


def test_rules_of_all_cases_count_together() -> None:
    found = run("a/one", YOUNG, OLD)
    assert [r.failures for r in found.reports] == [(), ()]
    assert found.unmet == (RULES[2],)


def test_a_finding_is_met_where_it_is_made_and_only_its_own_policy_counts() -> None:
    found = run("r/safe", {"payer": "acme", "findings": {"20930": ["said"]}})
    assert found.rules == (("1", "findings", "said"), ("1", "findings", "unsaid"))
    assert found.met == {("1", "findings", "said")}
    assert run("a/one", YOUNG).met == {("1", "bone", "else")}
