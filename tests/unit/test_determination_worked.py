"""Worked cases: the facts they stand for, and what is said when an expectation does not hold."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from support.small import book, item, policy, rule

from cds_service.determination.worked import determination_of, run_case, to_case
from cds_service.policy.case import (
    Answer,
    Authorization,
    Code,
    Condition,
    CoverageClass,
    Observation,
    Order,
    Patient,
    Period,
    Procedure,
    Source,
    SourceState,
)
from cds_service.policy.model import WorkedCase
from cds_service.policy.operators.reads import SOURCES

CRITERIA = {
    "ill": {"text": "Ill.", "condition": {"value_set": "illness"}},
    "asked": {"text": "Asked.", "asked": {}, "ask": {"question": "Is it?"}},
}
RULES = (
    rule("ill", "ill", "supported", prior_authorization="required"),
    rule("asked", "asked", "not-supported", prior_authorization="not-required"),
)
COVERAGE = policy("a/one", criteria=CRITERIA, orders={"bone": item("bone", *RULES, otherwise="supported")})
SAFETY = policy(
    "r/safe",
    "safety",
    findings=[
        {"id": own, "about": about, "when": "always", "text": "t", "cite": ["s"]}
        for own, about in (("first", "bone"), ("second", "bone"), ("third", "marrow"))
    ],
)


def worked(**parts: Any) -> WorkedCase:
    return WorkedCase.model_validate({"id": "w", "title": "W", "on": "2026-03-05", **parts})


def failures(own: str = "a/one", **parts: Any) -> tuple[str, ...]:
    rulebook = book(COVERAGE, SAFETY)
    return run_case(rulebook.folders[own], worked(**{"orders": ["20930"], **parts}), rulebook).failures


def test_the_facts_of_a_full_case() -> None:
    facts = to_case(
        worked(
            age=40,
            orders=[
                "20930",
                {"code": "L1", "system": "hcpcs", "id": "mine", "units": 3, "text": "t", "note": "n", "active": True},
                {"text": "words", "modifiers": ["59"], "reason": ["M48.02"], "body_site": "C4-C5", "encounter": "e",
                 "requisition": "r", "occurrence": "2026-03-06", "authorization": "PA-1"},
            ],
            conditions=["M48.02", {"text": "worn", "active": False, "confirmed": None, "onset": "2026-01-02"}],
            procedures=[{"code": "22551", "on": "2025-01-02", "text": "C4-C5"}, {"code": "1", "system": "x"}],
            observations=[
                {"code": "4548-4", "value": 7.5, "unit": "%", "on": "2026-02-01"},
                {"code": "1-1", "value": True},
                {"code": "2-2", "coded": "77176002"},
            ],
            answers={"asked": True},
        ),
        "a/one",
        "acme",
    )  # fmt: skip
    day = date(2026, 3, 5)
    assert facts.orders == (
        Order("ServiceRequest/o1", (Code("cpt", "20930"),)),
        Order("ServiceRequest/mine", (Code("hcpcs", "L1"),), draft=False, units=3, texts=("t", "n")),
        Order(
            "ServiceRequest/o3",
            texts=("words",),
            modifiers=("59",),
            reason_codes=(Code("icd-10-cm", "M48.02"),),
            body_site_texts=("C4-C5",),
            encounter="e",
            requisition="r",
            occurrence=date(2026, 3, 6),
            authorizations=(Authorization("PA-1", "ServiceRequest/o3"),),
        ),
    )
    onset = Period(date(2026, 1, 2), date(2026, 1, 2))
    assert facts.conditions == (
        Condition("Condition/c1", (Code("icd-10-cm", "M48.02"),)),
        Condition("Condition/c2", (), False, None, onset, "worn"),
    )
    done = Period(date(2025, 1, 2), date(2025, 1, 2))
    assert facts.procedures == (
        Procedure("Procedure/p1", (Code("cpt", "22551"),), done, texts=("C4-C5",)),
        Procedure("Procedure/p2", (Code("x", "1"),)),
    )
    seen, today = Period(date(2026, 2, 1), date(2026, 2, 1)), Period(day, day)
    assert facts.observations == (
        Observation("Observation/b1", (Code("loinc", "4548-4"),), seen, quantity=7.5, unit="%"),
        Observation("Observation/b2", (Code("loinc", "1-1"),), today, flag=True),
        Observation("Observation/b3", (Code("loinc", "2-2"),), today, coded=(Code("snomed", "77176002"),)),
    )
    assert facts.answers == (Answer("QuestionnaireResponse/q1", "/a/one/", "asked", True, day),)
    assert facts.patient == Patient("Patient/worked", Period(date(1986, 1, 1), date(1986, 1, 1)))
    assert [c.payor_identifiers[0][1] for c in facts.coverages] == ["acme"]
    assert (facts.received, facts.as_of) == (day, day)


def test_what_the_coverage_of_a_case_says_is_a_fact() -> None:
    said = worked(orders=["1"], coverage={"type": "112", "text": "Managed", "plan": "Gold"})
    [found] = to_case(said, "a/one", "acme").coverages
    assert (found.type_codes, found.type_texts) == ((Code("sopt", "112"),), ("Managed",))
    assert found.classes == (CoverageClass("plan", name="Gold"),)
    assert to_case(said, "a/one", None).coverages == ()


def test_sources_are_read_or_empty_unless_named_unavailable() -> None:
    facts = to_case(
        worked(orders=["1"], procedures=[{"code": "2"}], unavailable=["observations", "patient"]), "a/one", None
    )
    read, empty = Source(SourceState.READ), Source(SourceState.EMPTY)
    away = Source(SourceState.UNAVAILABLE, "not supplied")
    assert set(facts.sources) == set(SOURCES)
    named = {name: facts.sources[name] for name in ("orders", "active-orders", "patient", "conditions", "procedures")}
    assert named | {name: facts.sources[name] for name in ("observations", "answers", "coverage")} == {
        "orders": read,
        "active-orders": read,
        "patient": away,
        "conditions": empty,
        "procedures": read,
        "observations": away,
        "answers": read,
        "coverage": read,
    }
    assert (facts.patient, facts.coverages) == (None, ())
    assert to_case(worked(orders=["1"], age=None), "a/one", None).patient == Patient("Patient/worked", None)
    assert to_case(worked(orders=["1"], age=0), "a/one", None).patient == Patient(
        "Patient/worked", Period(date(2026, 1, 1), date(2026, 1, 1))
    )


ILL = {"conditions": ["M48.02"]}
NO = {"answers": {"asked": False}, "conditions": []}


@pytest.mark.parametrize(
    ("facts", "expect", "expected"),
    [
        (ILL, {"20930": "supported"}, ()),
        (ILL, {"o1": {"outcome": "supported", "rule": "ill", "prior_authorization": "required"}}, ()),
        (ILL, {"20930": "not-supported"}, ("20930: supported, expected not-supported",)),
        (ILL, {"20930": {"outcome": "supported", "rule": "asked"}}, ("20930: by rule ill, expected asked",)),
        (
            ILL,
            {"20930": {"outcome": "supported", "prior_authorization": "not-required"}},
            ("20930: prior authorization required, expected not-required",),
        ),
        (ILL, {"20930": {"outcome": "supported", "missing": []}}, ()),
        (
            ILL,
            {"20930": {"outcome": "supported", "missing": ["asked"]}},
            ("20930: open criteria [], expected ['asked']",),
        ),
        ({}, {"20930": {"outcome": "needs-information", "missing": ["ill"]}}, ()),
        ({}, {"20930": {"outcome": "needs-information", "missing": ["asked", "ill"]}}, ()),
        (
            {"answers": {"asked": True}},
            {"20930": {"outcome": "needs-information", "missing": ["asked"]}},
            ("20930: open criteria ['ill'], expected ['asked']",),
        ),
        (ILL, {"o2": "supported"}, ("o2: no such draft order in the case",)),
        ({"orders": ["20936"]}, {"20936": "not-addressed"}, ()),
        ({"orders": ["20936"]}, {"20936": "supported"}, ("20936: not-addressed, expected supported",)),
        ({"orders": ["20936"]}, {"20936": {"outcome": "not-addressed", "missing": []}}, ()),
        (
            {"orders": ["20936"]},
            {
                "20936": {
                    "outcome": "not-addressed",
                    "rule": "ill",
                    "prior_authorization": "required",
                    "recommendation": "for",
                }
            },
            (
                "20936: by rule none (this policy does not speak), expected ill",
                "20936: prior authorization none (this policy does not speak), expected required",
                "20936: recommendation none (this policy does not speak), expected for",
            ),
        ),
        (
            ILL,
            {"20930": {"outcome": "supported", "recommendation": "for"}},
            ("20930: recommendation none, expected for",),
        ),
        (
            {},
            {"20930": {"outcome": "needs-information", "missing": []}},
            ("20930: open criteria ['asked', 'ill'], expected []",),
        ),
        ({"payer": "beta"}, {"20930": "not-addressed"}, ()),
        ({**ILL, "payer": "acme"}, {"20930": "supported"}, ()),
        (
            {"orders": ["20930", {"code": "20930", "id": "two", "reason": ["M48.02"]}], **ILL},
            {"20930": "not-supported"},
            ("20930: supported, expected not-supported",) * 2,
        ),
    ],
)
def test_expectations(facts: Any, expect: Any, expected: tuple[str, ...]) -> None:
    assert failures(**facts, expect=expect) == expected


def test_only_what_would_settle_the_order_is_missing() -> None:
    """A rule that may be met waits for `asked`; `ill` is not known either, but nobody asks for it."""
    either = {"any": ["asked", {"all": ["ill", "old"]}]}
    criteria = {**CRITERIA, "old": {"text": "Old.", "age": {"at_least": 65}}}
    orders = {"bone": item("bone", rule("r", either, "supported"), otherwise="not-supported")}
    rulebook = book(policy("a/one", criteria=criteria, orders=orders))
    for missing, wrong in (["asked"], 0), (["ill"], 1):
        expect = {"20930": {"outcome": "needs-information", "missing": missing}}
        case = worked(orders=["20930"], expect=expect)
        assert len(run_case(rulebook.folders["a/one"], case, rulebook).failures) == wrong


def test_a_day_on_which_no_version_is_in_force_is_named() -> None:
    rulebook = book(policy("a/one", effective={"from": "2027-01-01", "to": None}, orders={"bone": item("bone")}))
    case = worked(orders=["20930"], expect={"20930": "supported"})
    assert run_case(rulebook.folders["a/one"], case, rulebook).failures == (
        "20930: not-addressed, expected supported",
        "no version of the policy is in force on 2026-03-05: correct 'on' of the case",
    )


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ({"20930": ["first", "second"]}, ()),
        ({"20930": ["second", "first"]}, ()),
        ({"20930": ["first"]}, ("20930: findings ['first', 'second'], expected ['first']",)),
        ({}, ("20930: findings ['first', 'second'], expected []",)),
        (
            {"20930": ["first", "second"], "o2": ["third"]},
            ("o2: findings [], expected ['third']",),
        ),
        (None, ()),
    ],
)
def test_findings_of_the_policy_itself(findings: Any, expected: tuple[str, ...]) -> None:
    assert failures("r/safe", findings=findings) == expected


def test_findings_of_another_policy_do_not_count() -> None:
    assert failures("a/one", findings={}) == ()


def test_what_one_policy_said() -> None:
    rulebook = book(COVERAGE, SAFETY)
    report = run_case(rulebook.folders["a/one"], worked(orders=["20930"], **ILL), rulebook)
    assert (report.policy, report.case.id, len(report.decision.orders)) == ("a/one", "w", 1)
    found = determination_of("a/one", report.decision.orders[0])
    assert found is not None
    assert found.rule == "ill"
    assert determination_of("r/safe", report.decision.orders[0]) is None
