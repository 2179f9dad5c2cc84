"""What is found once for several orders is what each order would find alone, and a verdict says all it should."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError
from support.small import Json, book, case, decided, item, open_questions, order, policy, rule

from cds_service.determination.decision import Determination
from cds_service.policy.case import Answer, Case, Code, Condition, Observation, Order, Patient, Period, Procedure
from cds_service.policy.mentions import READ
from cds_service.policy.trace import Trace


def period(text: str) -> Period:
    return Period(date.fromisoformat(text), date.fromisoformat(text))


ILL = Code("icd-10-cm", "M48.02")
CRITERIA: Json = {
    "age": {"text": "t", "age": {"at_least": 66}},
    "condition": {"text": "t", "condition": {"value_set": "illness", "onset_within": {"days": 30}}},
    "indication": {"text": "t", "indication": {"value_set": "illness"}, "when_absent": "not-met"},
    "procedure": {"text": "t", "procedure": {"value_set": "fusion", "within": {"days": 30}}},
    "procedure-here": {"text": "t", "procedure": {"value_set": "fusion", "region": "same"}},
    "observation": {"text": "t", "observation": {"value_set": "fusion", "present": True, "within": {"days": 30}}},
    "operation": {"text": "t", "operation": {"region": ["cervical"]}},
    "interspaces": {"text": "t", "interspaces": {"at_least": 2}},
    "vertebrae": {"text": "t", "vertebrae": {"at_least": 3}},
    "order": {"text": "t", "order": {"value_set": "bone"}},
    "companion": {"text": "t", "companion": {"value_set": "neck"}},
    "units": {"text": "t", "units": {"at_least": 2}},
    "repeated": {"text": "t", "repeated": {}},
    "lacks": {"text": "t", "lacks_primary": {}},
    "asked": {"text": "t", "asked": {}, "ask": {"question": "?"}},
}
FACTS: dict[str, Any] = {
    "patient": Patient("Patient/p", period("1960-06-15")),
    "conditions": (Condition("Condition/c", (ILL,), onset=period("2026-05-15")),),
    "procedures": (Procedure("Procedure/p", (Code("cpt", "22551"),), period("2026-05-15")),),
    "observations": (Observation("Observation/o", (Code("cpt", "22551"),), period("2026-05-15"), flag=True),),
}
ORDERS = (
    order("22551", "neck", encounter="e1", reason_codes=(ILL,)),
    order("22552", "more", encounter="e1"),
    order("20930", "n1", encounter="e1"),
    order("20930", "n2", encounter="e1", units=2),
    order("20936", "n3", encounter="e1", reason_refs=("Condition/c",)),
    order("22612", "back", encounter="e2", reasons_faulty=True),
    order("20930", "b1", encounter="e2"),
    order("20936", "b2", encounter="e2", reason_codes=(ILL,)),
    order("20939", "late", encounter="e2", occurrence=date(2026, 6, 15)),
    order("20939", "lone", encounter="e3", body_site_texts=("cervical",)),
    order("20939", "lone-too", encounter="e4", body_site_texts=("lumbar",)),
)


def policy_of(when: Any) -> Json:
    names = ("neck", "back", "more", "bone", "local", "marrow")
    orders = {n: item(n, rule("r", when, "supported"), otherwise="not-supported") for n in names}
    return policy("a/one", criteria=CRITERIA, orders=orders)


def seen(facts: Case, when: Any, orders: tuple[Order, ...]) -> dict[str, tuple[str, Trace]]:
    """Outcome and trace of some orders of a case, judged in this order by one decider."""
    found: dict[str, tuple[str, Trace]] = {}
    decider = decided(book(policy_of(when)), replace(facts, orders=())).decider
    decider = decider.with_orders(facts.orders)
    for each in orders:
        said = decider.result(each).determinations[0]
        assert said.trace is not None
        found[each.ref] = (said.outcome, said.trace)
    return found


@pytest.mark.parametrize("answers", [(), (Answer("QuestionnaireResponse/q", "/a/one/", "asked", True),)])
@pytest.mark.parametrize("when", [*CRITERIA, {"all": ["age", "operation"]}, {"any": ["age", {"not": "indication"}]}])
def test_an_order_among_others_is_judged_as_if_it_were_asked_alone(when: Any, answers: Any) -> None:
    facts = case(*ORDERS, answers=answers, **FACTS)
    alone = {ref: found for each in ORDERS for ref, found in seen(facts, when, (each,)).items()}
    assert seen(facts, when, ORDERS) == alone
    assert seen(facts, when, ORDERS[::-1]) == alone


def test_the_day_of_each_order_counts() -> None:
    facts = case(*ORDERS, **FACTS)
    for when in ("age", "condition", "procedure", "observation"):
        found = seen(facts, when, ORDERS)
        outcomes = {ref.split("/")[1]: outcome for ref, (outcome, _) in found.items()}
        assert outcomes.pop("late") != outcomes["neck"]
        assert len(set(outcomes.values())) == 1


def test_an_answer_may_be_about_one_order() -> None:
    about = Answer("QuestionnaireResponse/q", "/a/one/", "asked", True, about=("ServiceRequest/n1",))
    found = seen(case(*ORDERS, answers=(about,)), "asked", ORDERS)
    assert {ref for ref, (outcome, _) in found.items() if outcome == "supported"} == {"ServiceRequest/n1"}


def test_a_case_with_other_orders_keeps_what_is_known_of_the_patient() -> None:
    rulebook = book(policy_of({"all": ["condition", "companion"]}))
    first = decided(rulebook, case("22551", "20930", **FACTS))
    again = first.decider.with_orders((order("20930"),))
    assert first["20930"].determinations[0].outcome == "supported"
    assert again.result(order("20930")).determinations[0].outcome == "not-supported"


# --- what a verdict says ----------------------------------------------------------------------------


def verdict(*rules: Json, beside: tuple[str, ...] = (), facts: Any = None, **more: Any) -> Determination:
    body = policy("a/one", criteria=CRITERIA, orders={"bone": item("bone", *rules, **more)})
    return decided(book(body), case("20930", *beside, **(facts or {})))["20930"].determinations[0]


OPEN = rule("open", "asked", "not-supported", because_patient="for you", asks="Which?")
MET = rule("met", "order", "supported", because_patient="yes", asks="What?", cite=["s"])


def test_the_rule_that_waits_speaks_for_the_patient_as_well() -> None:
    found = verdict(OPEN, MET)
    assert (found.outcome, found.rule, found.because_patient) == ("needs-information", None, "for you")
    assert found.cites == ("s",)
    assert [m.text for m in found.missing] == ["?"]


def test_the_first_of_several_waiting_rules_speaks() -> None:
    later = rule("later", "age", "supported", because_patient="later")
    assert verdict(OPEN, later).because_patient == "for you"
    assert [m.text for m in verdict(OPEN, later).missing] == ["?", "t"]


def test_otherwise_speaks_with_its_own_words() -> None:
    found = verdict(otherwise="supported", otherwise_because_patient="fine", otherwise_cite=["s"], otherwise_asks="Q")
    assert (found.because, found.because_patient, found.cites, found.missing) == (
        "because otherwise", "fine", ("s",), (),
    )  # fmt: skip


def test_otherwise_may_ask() -> None:
    found = verdict(otherwise="needs-information", otherwise_asks="Which product?")
    assert [(m.text, m.source, m.state) for m in found.missing] == [("Which product?", "answers", "not documented")]


@pytest.mark.parametrize(
    ("rules", "authorization"),
    [
        ((MET,), "unknown"),
        (({**MET, "prior_authorization": "required"},), "required"),
        (({**OPEN, "outcome": "supported", "prior_authorization": "required"},
          {**MET, "prior_authorization": "required"}), "required"),
        (({**OPEN, "outcome": "supported", "prior_authorization": "not-required"},
          {**MET, "prior_authorization": "required"}), "unknown"),
        (({**OPEN, "outcome": "supported", "prior_authorization": "not-required"},
          {**OPEN, "id": "too", "outcome": "supported", "prior_authorization": "required"},
          {**MET, "prior_authorization": "required"}), "unknown"),
        # Also while the outcome is open: whatever the answers, it is required.
        (({**OPEN, "prior_authorization": "required"}, {**MET, "prior_authorization": "required"}), "required"),
        (({**OPEN, "prior_authorization": "required"}, {**MET, "prior_authorization": "not-required"}), "unknown"),
    ],
)  # fmt: skip
def test_authorisation_is_what_every_rule_that_may_apply_says(rules: Any, authorization: str) -> None:
    assert verdict(*rules).prior_authorization == authorization


@pytest.mark.parametrize(
    ("beside", "given", "outcome"),
    [
        (("22551",), ("ServiceRequest/22551",), "met"),
        (("22551", "20936"), ("ServiceRequest/22551",), "met"),
        (("63047",), (), "not-met"),
        ((), (), "not-met"),
        (("22551", "22612"), ("ServiceRequest/22551", "ServiceRequest/22612"), "met"),
    ],
)
def test_a_graft_is_judged_given_its_primary(beside: tuple[str, ...], given: tuple[str, ...], outcome: str) -> None:
    found = verdict(MET, beside=beside, given="fusion")
    last = found.trace.children[-1]
    assert (found.given, last.op, last.outcome.value) == (given, "given", outcome)
    assert [(e.ref, e.text) for e in last.evidence] == [(g, "judged given this order") for g in given]


def test_an_order_is_not_given_itself() -> None:
    assert verdict(MET, given="bone").given == ()
    assert "given" not in [t.op for t in verdict(MET).trace.children]


def test_a_node_names_no_more_facts_than_a_reader_can_take() -> None:
    many = tuple(order("20936", f"l{n:02}") for n in range(25))
    body = policy(
        "a/one",
        criteria={"many": {"text": "t", "companion": {"value_set": "local"}}},
        orders={"bone": item("bone", rule("r", "many", "supported"))},
    )
    for count, last in ((20, "draft order"), (21, "draft order, and 1 more")):
        found = decided(book(body), case("22551", "20930", *many[:count]))["20930"].determinations[0].trace
        assert found is not None
        node = next(t for t in found.walk() if t.id == "many")
        assert (len(node.evidence), node.evidence[-1].text) == (20, last)


@pytest.mark.parametrize(
    ("refs", "evidence"),
    [
        ((), ("Condition/c1", "problem list")),
        (("Condition/c1",), ("Condition/c1", "reason of the order")),
        (("Condition/c2",), ("Condition/c2", "reason of the order")),
        (("Condition/c3",), ("Condition/c1", "problem list")),
    ],
)
def test_the_problem_that_the_order_names_comes_first(refs: tuple[str, ...], evidence: tuple[str, str]) -> None:
    problems = (Condition("Condition/c1", (ILL,)), Condition("Condition/c2", (ILL,)))
    bone = order("20930", reason_refs=refs)
    found = seen(case(bone, conditions=problems), "indication", (bone,))
    (trace,) = [t for t in found["ServiceRequest/20930"][1].walk() if t.id == "indication"]
    assert [(e.ref, e.text) for e in trace.evidence] == [evidence]


OTHER = Code("snomed", "1")


@pytest.mark.parametrize(
    ("problems", "outcome", "named"),
    [
        ([Condition("Condition/a")], "needs-information", ["Condition/a"]),
        ([Condition("Condition/a", (OTHER,))], "needs-information", ["Condition/a"]),
        ([Condition("Condition/a", active=False)], "not-supported", []),
        ([Condition("Condition/a", active=None)], "needs-information", ["Condition/a"]),
        ([Condition("Condition/a", (OTHER, Code("icd-10-cm", "M54.2")))], "not-supported", []),
        ([Condition("Condition/a", (Code("icd-10-cm", "M54.2"),))], "not-supported", []),
        ([Condition("Condition/a"), Condition("Condition/b", (OTHER,))], "needs-information",
         ["Condition/a", "Condition/b"]),
        ([Condition("Condition/a"), Condition("Condition/b", (ILL,))], "supported", []),
    ],
)  # fmt: skip
def test_a_problem_in_words_may_be_the_one_looked_for(
    problems: list[Condition], outcome: str, named: list[str]
) -> None:
    found = seen(case("20930", conditions=tuple(problems)), "indication", (order("20930"),))["ServiceRequest/20930"]
    words = "recorded only in words or in codes that the policy does not read"
    assert found[0] == outcome
    assert [m.state for m in open_questions(found[1])] == ([f"{words}: {', '.join(named)}"] if named else [])


SHARED = Code("snomed", "305351004")


@pytest.mark.parametrize(
    ("first", "second", "again"),
    [
        ("20930", "20936", False),
        ("20930", "20930", True),
        ("20974", "99999", False),
        ("99999", "99999", True),
    ],
)
def test_a_coding_that_orders_share_does_not_make_them_one(first: str, second: str, again: bool) -> None:
    def coded(own: str, code: str) -> Order:
        return Order(f"ServiceRequest/{own}", (SHARED, Code("cpt", code)))

    orders = {n: item(n, rule("r", "repeated", "supported")) for n in ("bone", "stimulator", "uncharted")}
    rulebook = book(policy("a/one", criteria=CRITERIA, orders=orders))
    found = decided(rulebook, case(coded("a", first), coded("b", second), order("22551")))["a"]
    assert (found.outcome == "supported") is again
    trace = found.determinations[0].trace
    assert trace is not None
    evidence = [e for node in trace.walk() for e in node.evidence]
    assert [(e.ref, e.code) for e in evidence] == ([("ServiceRequest/b", f"cpt {second}")] if again else [])


def test_a_text_that_is_too_long_to_read_leaves_open_what_it_names() -> None:
    rulebook = book(policy("a/one", criteria={"drawn": {"text": "t", "order": {"value_set": "marrow"}}},
                           orders={"bone": item("bone", rule("r", "drawn", "supported"))}))  # fmt: skip
    notes = {"short": "as usual", "named": "aspirate " + "x" * READ, "long": "x" * READ + " aspirate"}
    found = decided(rulebook, case(*(order("20930", own, texts=(text,)) for own, text in notes.items())))
    assert {own: found[own].outcome for own in notes} == {
        "short": "not-addressed", "named": "supported", "long": "needs-information",
    }  # fmt: skip


def test_content_cannot_be_changed() -> None:
    rulebook = book(policy_of("age"))
    with pytest.raises(ValidationError):
        rulebook.versions[0].policy.title = "another"


# --- orders that ask for each other's outcome -------------------------------------------------------


def chain(length: int) -> Json:
    """Item n is supported if item n + 1 is; the last one is supported."""
    names = ("bone", "local", "marrow", "stimulator", "neck", "back", "more", "decompression")[:length]
    criteria = {n: {"text": n, "companion": {"value_set": n, "outcome": "supported", "scope": "basket"}} for n in names}
    orders = {
        n: item(n, rule("r", following, "supported"), otherwise="not-supported") for n, following in pairwise(names)
    }
    return policy("a/one", criteria=criteria, orders=orders | {names[-1]: item(names[-1], otherwise="supported")})


CODES = ("20930", "20936", "20939", "20974", "22551", "22612", "22614", "63047")


@pytest.mark.parametrize("length", range(2, 9))
def test_a_chain_is_settled_from_its_end(length: int) -> None:
    found = decided(book(chain(length)), case(*CODES[:length]))
    assert [r.outcome for r in found.decision.orders] == ["supported"] * length
    broken = decided(book(chain(length)), case(*CODES[: length - 1]))
    assert [r.outcome for r in broken.decision.orders] == ["not-supported"] * (length - 1)
