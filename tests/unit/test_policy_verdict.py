"""What a verdict says beside its outcome: who decided, what is missing and where it was looked for, authorisation."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from cds_service.policy.case import Answer, Case, Code, Order, Source, SourceState
from cds_service.policy.code_sets import CodeSet
from cds_service.policy.compile import compile_version
from cds_service.policy.evaluate import Evaluator, Verdict
from cds_service.policy.model import Policy, SetCode, SetPrefix
from cds_service.policy.trace import Missing
from cds_service.policy.view import Facts
from cds_service.policy.vocabulary import Vocabulary

ORDER = Order("ServiceRequest/o", (Code("cpt", "1"),))
SETS = {
    "it": CodeSet("it", "It", {Code("cpt", "1"): SetCode(system="cpt", code="1", label="It")}, {}),
    "illness": CodeSet("illness", "Illness", {}, {
        "icd-10-cm": (SetPrefix(system="icd-10-cm", prefix="M48", label="Illness"),)
    }),
}  # fmt: skip
CRITERIA = {
    "asked": {"text": "It is asked.", "asked": {}, "ask": {"question": "Is it?"}},
    "ill": {"text": "The patient is ill.", "condition": {"value_set": "illness"}},
}


def verdict(
    rules: list[dict[str, Any]], otherwise: dict[str, Any], older: dict[str, Any] | None = None, **case: Any
) -> Verdict:
    """`older`: the criteria of other versions of the policy, by version."""
    rows = [{"because": f"because {r['id']}", "cite": ["s"], **r} for r in rules]
    version = {
        "version": "1",
        "effective": {"from": None, "to": None},
        "last_confirmed_on": "2026-01-01",
        "review": {"status": "submitted"},
        "sources": {"s": {"title": "S", "confidence": "recalled"}},
        "criteria": CRITERIA,
        "orders": {
            "it": {"label": "It", "value_set": "it", "rules": rows, "otherwise": {"because": "otherwise", **otherwise}}
        },
    }
    others = [version | {"version": name, "criteria": criteria} for name, criteria in (older or {}).items()]
    policy = Policy.model_validate(
        {"format": 1, "id": "t/t", "kind": "guideline", "title": "T", "publisher": "T", "short_title": "T",
         "notice": "unofficial encoding", "versions": [version, *others]}
    )  # fmt: skip
    facts = Case(orders=(ORDER,), received=date(2026, 1, 1), **case)
    found = Evaluator(Facts(facts, Vocabulary(SETS, {}))).verdict(
        compile_version(policy, policy.versions[0], SETS), ORDER
    )
    assert found is not None
    return found


def moment(text: str | None) -> date | None:
    if text is None:
        return None
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


def answered(value: bool) -> dict[str, Any]:
    return {"answers": (Answer("QuestionnaireResponse/q", "/t/t/", "asked", value),)}


DAY, NO, OPEN = "2026-02-01", "not-supported", "needs-information"
SUPPORT = {"id": "support", "when": "asked", "outcome": "supported", "prior_authorization": "not-required"}
REFUSE = {"outcome": "not-supported", "prior_authorization": "required"}


def test_the_rule_that_is_met_speaks() -> None:
    found = verdict([{**SUPPORT, "recommendation": "for"}], REFUSE, **answered(True))
    assert (found.outcome, found.rule, found.because, found.prior_authorization, found.recommendation, found.cites) == (
        "supported", "support", "because support", "not-required", "for", ("s",),
    )  # fmt: skip
    assert [(t.id, t.op, t.outcome.value) for t in found.trace.children] == [("support", "rule", "met")]


def test_a_recommendation_is_withheld_where_an_open_rule_says_another() -> None:
    against = {"id": "against", "when": "asked", "outcome": "not-addressed", "recommendation": "against"}
    last = {"outcome": "not-addressed", "recommendation": "option"}
    assert verdict([against], last).outcome == "not-addressed"
    assert verdict([against], last).recommendation is None
    assert verdict([against], last, **answered(False)).recommendation == "option"
    assert verdict([{**against, "recommendation": "option"}], last).recommendation == "option"


def test_otherwise_may_note_beside_open_rules_that_nothing_is_recommended() -> None:
    against = {"id": "against", "when": "asked", "outcome": "not-addressed", "recommendation": "against"}
    assert verdict([against], {"outcome": "not-addressed", "recommendation": "none"}).recommendation == "none"
    noted = {"id": "noted", "when": "always", "outcome": "not-addressed", "recommendation": "none"}
    assert verdict([against, noted], {"outcome": "not-addressed"}).recommendation is None


def test_otherwise_speaks_when_no_rule_is_met() -> None:
    found = verdict([SUPPORT], {**REFUSE, "recommendation": "against"}, **answered(False))
    assert (found.outcome, found.rule, found.because, found.prior_authorization, found.recommendation) == (
        "not-supported", None, "otherwise", "required", "against",
    )  # fmt: skip
    assert [(t.id, t.outcome.value) for t in found.trace.children] == [("support", "not-met"), ("otherwise", "met")]
    assert found.trace.outcome == "met"


def test_an_open_rule_speaks_when_nothing_is_settled() -> None:
    found = verdict([{**SUPPORT, "recommendation": "for"}], {**REFUSE, "recommendation": "against"})
    assert (found.outcome, found.rule, found.because, found.prior_authorization, found.recommendation) == (
        "needs-information", None, "because support", "unknown", None,
    )  # fmt: skip
    assert found.missing == (Missing("Is it?", "answers", "not documented in coded form"),)
    assert [(t.id, t.outcome.value) for t in found.trace.children] == [("support", "unknown"), ("otherwise", "not-met")]
    assert found.trace.outcome == "unknown"


def test_an_open_rule_of_the_same_outcome_changes_nothing_but_authorisation() -> None:
    found = verdict([SUPPORT], {"outcome": "supported", "prior_authorization": "required"})
    assert (found.outcome, found.because, found.prior_authorization, found.missing) == (
        "supported", "otherwise", "unknown", (),
    )  # fmt: skip
    same = verdict([SUPPORT], {"outcome": "supported", "prior_authorization": "not-required"})
    assert same.prior_authorization == "not-required"


def test_a_rule_may_ask_for_information_itself() -> None:
    rule = {"id": "vague", "when": "always", "outcome": "needs-information", "asks": "Which product?"}
    found = verdict([rule], REFUSE)
    assert (found.outcome, found.rule) == ("needs-information", "vague")
    assert found.missing == (Missing("Which product?", "answers", "not documented"),)
    silent = verdict([{**rule, "asks": None}], REFUSE)
    assert silent.missing == ()
    settled = verdict([{**rule, "outcome": "supported"}], REFUSE)
    assert settled.missing == ()


def test_rules_after_the_met_one_are_not_tried() -> None:
    found = verdict([{"id": "first", "when": "always", "outcome": "supported"}, SUPPORT], REFUSE)
    assert [t.id for t in found.trace.children] == ["first"]


@pytest.mark.parametrize(
    ("source", "state"),
    [
        (Source(SourceState.READ), "not documented"),
        (Source(SourceState.EMPTY), "nothing recorded"),
        (Source(SourceState.UNAVAILABLE, "the server did not answer"), "could not be read (the server did not answer)"),
        (Source(SourceState.UNAVAILABLE), "could not be read (not supplied)"),
        (Source(SourceState.READ, "", ("Condition/x",)), "could not be read: Condition/x"),
        (None, "could not be read (not supplied)"),
    ],
)
def test_what_is_missing_says_where_it_was_looked_for(source: Source | None, state: str) -> None:
    sources = {"conditions": source} if source else {}
    found = verdict([{"id": "ill", "when": "ill", "outcome": "supported"}], REFUSE, sources=sources)
    assert found.missing == (Missing("The patient is ill.", "conditions", state),)


def test_the_trace_as_plain_data_leaves_out_what_is_empty() -> None:
    found = verdict([SUPPORT], REFUSE, **answered(True))
    assert found.trace.to_json() == {
        "id": "it",
        "op": "rules",
        "outcome": "met",
        "text": "It",
        "children": [
            {
                "id": "support",
                "op": "rule",
                "outcome": "met",
                "text": "because support",
                "cites": ["s"],
                "children": [
                    {
                        "id": "asked",
                        "op": "asked",
                        "outcome": "met",
                        "text": "It is asked.",
                        "evidence": [{"ref": "QuestionnaireResponse/q", "text": "answer to the policy's question"}],
                    }
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([("asked", "/t/t/", True, "2026-01-01"), ("asked", "/t/t/", False, "2026-02-01")], "not-supported"),
        ([("asked", "/t/t/", False, "2026-02-01"), ("asked", "/t/t/", True, "2026-01-01")], "not-supported"),
        ([("asked", "/t/other/", True, "2026-01-01")], "needs-information"),
        ([("else", "/t/t/", True, "2026-01-01")], "needs-information"),
        ([("asked", "/t/t/", "yes", "2026-01-01")], "needs-information"),
        ([("asked", "/t/t/", True, None), ("asked", "/t/t/", False, "2026-02-01")], "needs-information"),
        ([("asked", "/t/t/", False, None), ("asked", "/t/t/", False, "2026-02-01")], "not-supported"),
        ([("asked", "/t/t/", True, "2026-02-01"), ("asked", "/t/t/", False, "2026-02-01")], "needs-information"),
        ([("asked", "/t/t/", True, f"{DAY}T08:00:00+00:00"), ("asked", "/t/t/", False, f"{DAY}T18:00:00+00:00")], NO),
        ([("asked", "/t/t/", False, f"{DAY}T18:00:00+00:00"), ("asked", "/t/t/", True, f"{DAY}T08:00:00+00:00")], NO),
        ([("asked", "/t/t/", True, f"{DAY}T18:00:00+12:00"), ("asked", "/t/t/", False, f"{DAY}T08:00:00+00:00")], NO),
        ([("asked", "/t/t/", True, f"{DAY}T08:00:00+00:00"), ("asked", "/t/t/", False, f"{DAY}T09:00:00+01:00")], OPEN),
        ([("asked", "/t/t/", True, f"{DAY}T23:00:00+00:00"), ("asked", "/t/t/", False, DAY)], OPEN),
        ([("asked", "/t/t/", True, "2026-01-31T23:00:00+00:00"), ("asked", "/t/t/", False, DAY)], NO),
    ],
)
def test_the_latest_answer_to_this_policys_question_counts(answers: list[Any], outcome: str) -> None:
    given = tuple(
        Answer(f"QuestionnaireResponse/{n}", q, link, value, moment(day))
        for n, (link, q, value, day) in enumerate(answers)
    )
    assert verdict([SUPPORT], REFUSE, answers=given).outcome == outcome


def test_an_item_answered_yes_and_no_is_open_and_that_is_said() -> None:
    given = tuple(Answer("QuestionnaireResponse/q", "/t/t/", "asked", value, moment(DAY)) for value in (True, False))
    [missing] = verdict([SUPPORT], REFUSE, answers=given).missing
    assert missing == ("Is it?", "answers", "answered both yes and no")


@pytest.mark.parametrize(
    ("version", "question", "outcome"),
    [
        ("|1", None, "supported"),
        ("|1", "Is it, in the client's words?", "supported"),
        ("|0.9", None, "supported"),
        ("|0.5", None, OPEN),
        ("|0.5", "Was it?", OPEN),
        ("|2019-01", None, OPEN),
        ("|2019-01", "Is it?", "supported"),
        ("", None, "supported"),
        ("", "Is it?", "supported"),
        ("", "Was it?", OPEN),
    ],
)
def test_an_answer_counts_only_for_the_question_that_was_asked(
    version: str, question: str | None, outcome: str
) -> None:
    """Version 0.9 asked the same, 0.5 something else, and of 2019-01 nothing is known."""
    given = Answer("QuestionnaireResponse/q", f"/t/t/it.support{version}", "asked", True, None, (), question)
    older = {"0.9": CRITERIA, "0.5": {**CRITERIA, "asked": CRITERIA["asked"] | {"ask": {"question": "Was it?"}}}}
    assert verdict([SUPPORT], REFUSE, older, answers=(given,)).outcome == outcome


@pytest.mark.parametrize(
    ("about", "outcome"), [(("ServiceRequest/o",), "supported"), (("ServiceRequest/x",), "needs-information")]
)
def test_an_answer_about_another_order_is_not_for_this_one(about: tuple[str, ...], outcome: str) -> None:
    given = (Answer("QuestionnaireResponse/q", "/t/t/", "asked", True, about=about),)
    assert verdict([SUPPORT], REFUSE, answers=given).outcome == outcome
