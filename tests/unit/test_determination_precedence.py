"""Which of several policies and payers decides, what an order is flagged for, and whose remarks are made."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from support.small import DAY, Json, book, case, cover, decided, item, order, policy, rule

from cds_service.determination.decide import decide
from cds_service.determination.decision import Determination, OrderDecision, order_decision
from cds_service.determination.routing import IdentifierDirectory, PayerDirectory
from cds_service.determination.terms import Terms
from cds_service.policy.case import Authorization, Code, Coverage, Source, SourceState

OUTCOMES = ("supported", "not-supported", "needs-information", "not-addressed")


def says(own: str, outcome: str, payer: str = "acme", **more: Any) -> Json:
    """A policy that gives donor bone one outcome."""
    return policy(own, payers=(payer,), orders={"bone": item("bone", otherwise=outcome)}, **more)


def advises(own: str, recommendation: str | None) -> Json:
    return policy(
        own,
        "guideline",
        orders={"bone": item("bone", otherwise="not-addressed", otherwise_recommendation=recommendation)},
    )


def bone(*policies: Json, **parts: Any) -> OrderDecision:
    return decided(book(*policies), case("20930", **parts))["20930"]


def governor(found: OrderDecision) -> str | None:
    return found.governing.policy if found.governing else None


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ("supported", "not-supported", "not-supported"),
        ("not-supported", "supported", "not-supported"),
        ("needs-information", "supported", "needs-information"),
        ("needs-information", "not-supported", "not-supported"),
        ("not-addressed", "supported", "supported"),
        ("not-addressed", "not-addressed", "not-addressed"),
    ],
)
def test_several_policies_of_one_payer(first: str, second: str, outcome: str) -> None:
    found = bone(says("a/one", first), says("a/two", second))
    assert found.outcome == outcome
    assert found.covered_by_policy is (outcome != "not-addressed")
    if found.covered_by_policy:
        assert governor(found) == ("a/one" if first == outcome else "a/two")


@pytest.mark.parametrize(
    ("acme", "beta", "outcome"),
    [
        ("supported", "supported", "supported"),
        ("supported", "not-supported", "needs-information"),
        ("not-supported", "not-supported", "not-supported"),
        ("supported", "not-addressed", "needs-information"),
    ],
)
def test_payers_that_tie_must_agree(acme: str, beta: str, outcome: str) -> None:
    found = bone(says("a/one", acme), says("b/one", beta, "beta"), payers=("acme", "beta"))
    assert found.outcome == outcome
    assert governor(found) == "a/one"


def test_the_secondary_payer_is_shown_and_does_not_decide() -> None:
    covers = (cover("acme", order=1), cover("beta", order=2))
    found = bone(says("a/one", "supported"), says("b/one", "not-supported", "beta"), coverages=covers)
    assert [(d.role, d.outcome, d.payer) for d in found.determinations] == [
        ("primary", "supported", "acme"),
        ("secondary", "not-supported", "beta"),
    ]
    assert (found.outcome, found.flag) == ("supported", None)


@pytest.mark.parametrize(
    ("recommendations", "governs", "flag"),
    [
        (("for", "against"), "g/1", "warning"),
        (("against", "none"), "g/0", "warning"),
        (("option", "none"), "g/1", "info"),
        (("for", "option"), "g/1", None),
        ((None, "for"), "g/1", None),
        ((None,), "g/0", None),
    ],
)
def test_the_strictest_guideline_governs_where_no_payer_speaks(
    recommendations: tuple[str | None, ...], governs: str, flag: str | None
) -> None:
    found = bone(*(advises(f"g/{n}", r) for n, r in enumerate(recommendations)))
    assert (governor(found), found.flag) == (governs, flag)
    first = found.determinations[0]
    assert (first.role, first.outcome, first.policy, first.payer) == ("primary", "not-addressed", None, "acme")
    assert {d.role for d in found.determinations[1:]} == {"guideline"}


def test_without_coverage_nobody_is_named() -> None:
    found = bone(advises("g/1", "none"), payers=())
    assert found.determinations[0].payer is None
    assert found.outcome == "not-addressed"


def test_the_payer_that_decides_is_named_and_not_the_secondary_one() -> None:
    covers = (cover("acme", order=2), cover("beta", order=1))
    found = bone(says("a/one", "supported"), coverages=covers)
    assert [(d.role, d.payer) for d in found.determinations] == [("primary", "beta"), ("secondary", "acme")]
    assert found.governing is None


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize(
    ("unusable", "covers", "insurance", "stands"),
    [
        ((), (cover("acme"),), (), True),
        (("further pages",), (cover("acme"),), (), False),
        (("further pages",), (cover("acme", order=2),), (), False),
        (("further pages",), (cover("acme", order=1),), (), True),
        (("further pages",), (cover("acme"),), ("Coverage/acme",), True),
        (("further pages",), (cover("acme"),), ("Coverage/unsent",), False),
        (("Organization/x", "Coverage[1]"), (cover("acme"),), (), True),
    ],
    ids=["whole", "not whole", "the second", "the first", "named", "another named", "all came"],
)
def test_a_coverage_that_did_not_come_may_decide(
    outcome: str, unusable: tuple[str, ...], covers: tuple[Coverage, ...], insurance: tuple[str, ...], stands: bool
) -> None:
    facts = case(order("20930", insurance=insurance), coverages=covers)
    facts = replace(facts, sources={**facts.sources, "coverage": Source(SourceState.READ, "", unusable)})
    together = decided(book(says("a/one", outcome)), facts)
    found = together["20930"]
    expected = outcome if stands or outcome == "not-addressed" else "needs-information"
    assert (found.outcome, together.decider.bare_result(facts.orders[0]).outcome) == (expected, expected)
    assert found.determinations[0].outcome == outcome  # what the policy says is still told


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("recommendation", ["against", "for", None])
@pytest.mark.parametrize("authorised", [True, False])
def test_flag_and_settled(outcome: str, recommendation: str | None, authorised: bool) -> None:
    found = bone(says("a/one", outcome), advises("g/1", recommendation))
    if authorised:
        found = order_decision(found.order, found.determinations, Authorization("PA-1", "ServiceRequest/x"))
    expected = None
    if not authorised and (outcome == "not-supported" or (outcome, recommendation) == ("not-addressed", "against")):
        expected = "warning"
    assert found.flag == expected
    assert found.settled is (authorised or outcome in ("supported", "not-supported") or expected is not None)


@pytest.mark.parametrize(
    ("directory", "outcome"), [(PayerDirectory, "supported"), (IdentifierDirectory, "not-addressed")]
)
def test_a_payer_known_by_name_alone(directory: type[PayerDirectory], outcome: str) -> None:
    rulebook = book(says("a/one", "supported"))
    named = case("20930", coverages=(Coverage("Coverage/n", (), ("Acme",)),))
    [found] = decide(named, rulebook, Terms(directory(rulebook.content.payers))).orders
    assert found.outcome == outcome


def test_a_payer_that_is_assumed_and_policies_that_do_not_fire() -> None:
    rulebook, facts = book(says("a/one", "supported")), case("20930", payers=())
    assert decided(rulebook, facts, default_payer="acme")["20930"].outcome == "supported"
    quiet = decided(rulebook, facts, default_payer="acme", fires=lambda policy, _status: policy != "a/one")
    assert quiet["20930"].outcome == "not-addressed"


def test_orders_of_one_code_are_told_apart_by_their_texts() -> None:
    by_text = policy("a/one", orders={"marrow": item("marrow", otherwise="not-supported")})
    plain, telling = order("20930", "plain", texts=("chips",)), order("20930", "telling", texts=("with aspirate",))
    for orders in ((plain, telling), (telling, plain)):
        found = decided(book(by_text), case(*orders))
        assert (found["plain"].outcome, found["telling"].outcome) == ("not-addressed", "not-supported")


def test_orders_of_one_code_on_two_days_are_judged_by_the_version_of_their_day() -> None:
    until = {"effective": {"from": None, "to": "2026-05-31"}}
    since = {"effective": {"from": "2026-06-01", "to": None}}
    old, new = says("a/old", "supported", **until), says("a/new", "not-supported", **since)
    days = {"may": date(2026, 5, 31), "june": DAY}
    found = decided(book(old, new), case(*(order("20930", n, occurrence=d) for n, d in days.items())))
    assert (found["may"].outcome, found["june"].outcome) == ("supported", "not-supported")


# --- remarks ----------------------------------------------------------------------------------------


def remark(own: str, about: str, when: Any = "always", text: str = "{label} {code}?", kind: str = "coding") -> Json:
    finding = {"id": own, "about": about, "when": when, "text": text, "cite": ["s"]}
    criteria = {"neck": {"text": "Neck.", "companion": {"value_set": "neck"}}}
    return policy(f"r/{own}", kind, criteria=criteria, findings=[finding])


def test_a_remark_names_the_first_code_that_the_catalogue_has() -> None:
    told = replace(order("20930"), codes=(Code("local", "X1"), Code("cpt", "20930"), Code("cpt", "20936")))
    (found,) = decided(book(remark("r", "bone")), case(told))["20930"].findings
    assert (found.text, found.rule, found.kind, found.cites) == ("Procedure 20930 20930?", "r", "coding", ("s",))


def test_a_remark_on_an_order_without_a_known_code() -> None:
    told = replace(order("x", texts=("aspirate",)), codes=())
    (found,) = decided(book(remark("r", "marrow")), case(told))["x"].findings
    assert found.text == "This order ?"


@pytest.mark.parametrize(("beside", "count"), [("22551", 1), ("22612", 0)])
def test_a_remark_is_made_when_its_expression_is_met(beside: str, count: int) -> None:
    conditional = remark("r", "bone", when={"all": ["neck", "neck"]}, kind="safety")
    found = decided(book(conditional), case("20930", beside))
    assert len(found["20930"].findings) == count
    assert found[beside].findings == ()


@pytest.mark.parametrize("first", ["plain", "telling"])
def test_remarks_on_orders_of_one_code_are_told_apart_by_their_texts(first: str) -> None:
    made = {"plain": order("20930", "plain"), "telling": order("20930", "telling", texts=("aspirate",))}
    both = [{"id": own, "about": own, "when": "always", "text": first, "cite": ["s"]} for own in ("bone", "marrow")]
    rulebook = book(policy("r/one", "coding", findings=both))
    orders = (made.pop(first), *made.values())
    for _ in range(2):
        found = decided(rulebook, case(*orders))
        assert [f.rule for f in found["plain"].findings] == ["bone"]
        assert [f.rule for f in found["telling"].findings] == ["bone", "marrow"]


REGION = {"neck": {"text": "Neck.", "operation": {"region": ["cervical"]}}}


@pytest.mark.parametrize(
    ("beside", "asks", "made"),
    [
        (("22551", "22612"), "Which?", [("coding", "Which?")]),
        (("22551", "22612"), None, []),
        (("22551",), "Which?", [("safety", "t")]),
        (("22612",), "Which?", []),
        ((), "Which?", []),
    ],
)
def test_a_remark_may_ask_which_operation_an_order_belongs_to(beside: Any, asks: str | None, made: Any) -> None:
    finding = {"id": "f", "about": "uncharted", "when": "neck", "text": "t", "asks": asks, "cite": ["s"]}
    body = policy("r/one", "safety", criteria=REGION, findings=[finding])
    found = decided(book(body), case("99999", *beside))["99999"].findings
    assert [(f.kind, f.text) for f in found] == made


def test_a_bare_result_has_no_remarks() -> None:
    found = decided(book(remark("r", "bone")), case("20930"))
    assert found.decider.bare_result(order("20930")).findings == ()
    assert len(found.decider.result(order("20930")).findings) == 1


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("recommendation", ["against", "none", "for"])
@pytest.mark.parametrize("payers", [("acme", "beta"), ("beta", "acme"), ()])
def test_a_bare_result_comes_to_the_same(outcome: str, recommendation: str, payers: tuple[str, ...]) -> None:
    covers = tuple(cover(payer, order=n) for n, payer in enumerate(payers, 1))
    policies = (says("a/one", outcome), advises("g/1", recommendation), advises("g/2", "for"))
    found = decided(book(*policies), case("20930", coverages=covers))
    whole, bare = found["20930"], found.decider.bare_result(order("20930"))
    assert (bare.outcome, bare.flag, bare.covered_by_policy) == (whole.outcome, whole.flag, whole.covered_by_policy)
    assert [*map(_said, bare.primary), _said(bare.governing)] == [*map(_said, whole.primary), _said(whole.governing)]
    speaks = "acme" in payers[:1] and outcome != "not-addressed"
    assert {d.role for d in bare.determinations} == ({"primary"} if speaks else {"primary", "guideline"})


def _said(d: Determination | None) -> Any:
    """What an outcome rests on; a bare result has no more."""
    return d and (d.role, d.payer, d.policy, d.version, d.item, d.outcome, d.recommendation)


def test_only_drafts_are_judged_and_of_a_selection_those_selected() -> None:
    facts = case("20930", "20936", order("20939", draft=False))
    chosen = ("ServiceRequest/20936", "ServiceRequest/20939")
    for selections, judged in ((None, ["20930", "20936"]), (chosen, ["20936"])):
        found = decided(book(), facts, selections=selections).decision.orders
        assert [d.order.ref.split("/")[1] for d in found] == judged


def test_a_rule_that_asks_shows_what_is_missing() -> None:
    asking = policy(
        "a/one",
        orders={"bone": item("bone", rule("vague", "always", "needs-information", asks="Which product?"))},
    )
    found = bone(asking)
    assert [m.text for d in found.determinations for m in d.missing] == ["Which product?"]
    assert bone(says("a/one", "supported")).determinations[0].missing == ()
