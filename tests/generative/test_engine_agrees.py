"""The engine agrees with a naive second evaluator on generated expressions, rule lists and facts."""

from __future__ import annotations

from datetime import date
from typing import Any

import naive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.small import open_questions

from cds_service.policy.case import Answer, Case, Code, Order
from cds_service.policy.code_sets import CodeSet
from cds_service.policy.compile import CompiledVersion, compile_version
from cds_service.policy.evaluate import Evaluator, Verdict
from cds_service.policy.formula import Formula
from cds_service.policy.model import Policy, SetCode
from cds_service.policy.propositions import table
from cds_service.policy.view import Facts
from cds_service.policy.vocabulary import Vocabulary

NAMES = ("a", "b", "c", "d", "e")
OUTCOMES = ("supported", "not-supported", "needs-information", "not-addressed")
FACTS = st.fixed_dictionaries({n: st.sampled_from(["met", "not-met", "unknown"]) for n in NAMES})


def _grown(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(parts, min_size=1, max_size=4)
    return st.one_of(
        several.map(lambda p: {"all": p}),
        several.map(lambda p: {"any": p}),
        parts.map(lambda p: {"not": p}),
        several.flatmap(lambda p: st.integers(1, len(p)).map(lambda n: {"at_least": n, "of": p})),
    )


TREES = st.recursive(st.sampled_from([*NAMES, "always"]), _grown, max_leaves=12)
RULES = st.lists(st.tuples(TREES, st.sampled_from(OUTCOMES)), max_size=5)
EXAMPLES = settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ORDER = Order("ServiceRequest/o", (Code("cpt", "1"),))
VOCABULARY = Vocabulary(
    {"it": CodeSet("it", "It", {Code("cpt", "1"): SetCode(system="cpt", code="1", label="It")}, {})}, {}
)


def compiled(
    rules: list[tuple[Any, str]], otherwise: str, recommended: list[str | None] | None = None
) -> CompiledVersion:
    """A policy whose criteria are questions, so that facts are answers; `recommended` by the rules and `otherwise`."""
    said = recommended or [None] * (len(rules) + 1)
    asked = {n: {"text": n, "asked": {}, "ask": {"question": f"{n}?"}} for n in NAMES}
    rows = [
        {"id": f"r{i}", "when": when, "outcome": result, "because": "b", "cite": ["s"], "recommendation": said[i]}
        for i, (when, result) in enumerate(rules)
    ]
    last = {"outcome": otherwise, "because": "b", "recommendation": said[-1]}
    item = {"label": "It", "value_set": "it", "rules": rows, "otherwise": last}
    version = {
        "version": "1",
        "effective": {"from": None, "to": None},
        "last_confirmed_on": "2026-01-01",
        "review": {"status": "submitted"},
        "sources": {"s": {"title": "S", "confidence": "recalled"}},
        "criteria": asked,
        "orders": {"it": item},
    }
    policy = Policy.model_validate(
        {"format": 1, "id": "t/t", "kind": "guideline", "title": "T", "publisher": "T", "short_title": "T",
         "notice": "unofficial encoding", "versions": [version]}
    )  # fmt: skip
    return compile_version(policy, policy.versions[0], VOCABULARY.sets)


def evaluator(facts: dict[str, str]) -> Evaluator:
    answers = tuple(
        Answer(f"QuestionnaireResponse/{n}", "/t/t/", n, value == "met")
        for n, value in facts.items()
        if value != "unknown"
    )
    case = Case(orders=(ORDER,), answers=answers, received=date(2026, 1, 1))
    return Evaluator(Facts(case, VOCABULARY))


def verdict(version: CompiledVersion, facts: dict[str, str]) -> Verdict:
    found = evaluator(facts).verdict(version, ORDER)
    assert found is not None
    return found


@EXAMPLES
@given(TREES, FACTS)
def test_expressions_agree(tree: Any, facts: dict[str, str]) -> None:
    found = verdict(compiled([(tree, "supported")], "not-supported"), facts)
    assert found.trace.children[0].outcome.value == naive.kleene(tree, facts)


@EXAMPLES
@given(TREES, FACTS)
def test_a_formula_is_met_where_its_whole_trace_is(tree: Any, facts: dict[str, str]) -> None:
    version = compiled([(tree, "supported")], "not-supported")
    formula = Formula(version.version.orders["it"].rules[0].when, version.tests)
    view = evaluator(facts).view(version, ORDER)
    assert formula.met(view) == (naive.kleene(tree, facts) == "met")
    assert formula(view).outcome.value == naive.kleene(tree, facts)
    assert formula.met(view) == (naive.kleene(tree, facts) == "met")  # again, when all is known


@EXAMPLES
@given(TREES, FACTS)
def test_a_settled_expression_is_the_same_in_every_world(tree: Any, facts: dict[str, str]) -> None:
    outcome = verdict(compiled([(tree, "supported")], "not-supported"), facts).trace.children[0].outcome.value
    if outcome != "unknown":
        assert {naive.holds(tree, world) for world in naive.worlds(facts)} == {outcome == "met"}


@EXAMPLES
@given(RULES, st.sampled_from(OUTCOMES), FACTS)
def test_rule_lists_agree(rules: list[tuple[Any, str]], otherwise: str, facts: dict[str, str]) -> None:
    assert verdict(compiled(rules, otherwise), facts).outcome == naive.decide(rules, otherwise, facts)


@EXAMPLES
@given(RULES, st.sampled_from(OUTCOMES), FACTS)
def test_a_settled_outcome_is_that_of_every_world(
    rules: list[tuple[Any, str]], otherwise: str, facts: dict[str, str]
) -> None:
    outcome = verdict(compiled(rules, otherwise), facts).outcome
    if outcome != "needs-information":
        assert {naive.first_met(rules, otherwise, world) for world in naive.worlds(facts)} == {outcome}


SAID = st.lists(st.sampled_from(["against", "none", "option", "for", None]), min_size=6, max_size=6)


@EXAMPLES
@given(RULES, st.sampled_from(OUTCOMES), FACTS, SAID)
def test_recommendations_agree(
    rules: list[tuple[Any, str]], otherwise: str, facts: dict[str, str], said: list[str | None]
) -> None:
    found = verdict(compiled(rules, otherwise, [*said[: len(rules)], said[-1]]), facts)
    recommended = [(when, result, said[i]) for i, (when, result) in enumerate(rules)]
    settled = naive.decide(rules, otherwise, facts) == found.outcome and found.trace.outcome.value == "met"
    assert found.recommendation == (naive.recommendation(recommended, said[-1], facts) if settled else None)
    if found.recommendation not in (None, "none"):
        spoken = [(when, str(says)) for when, _, says in recommended]
        worlds = naive.worlds(facts)
        assert {naive.first_met(spoken, str(said[-1]), world) for world in worlds} == {found.recommendation}


@EXAMPLES
@given(RULES, st.sampled_from(OUTCOMES), FACTS, st.sampled_from(NAMES))
def test_an_answer_never_unsettles(
    rules: list[tuple[Any, str]], otherwise: str, facts: dict[str, str], name: str
) -> None:
    version = compiled(rules, otherwise)
    before = verdict(version, {**facts, name: "unknown"})
    if before.outcome != "needs-information":
        for answer in ("met", "not-met"):
            assert verdict(version, {**facts, name: answer}).outcome == before.outcome


@EXAMPLES
@given(RULES, st.sampled_from(OUTCOMES), FACTS)
def test_what_is_missing_are_open_questions_and_only_those(
    rules: list[tuple[Any, str]], otherwise: str, facts: dict[str, str]
) -> None:
    found = verdict(compiled(rules, otherwise), facts)
    asked = {m.text.removesuffix("?") for m in found.missing}
    assert asked <= {n for n, value in facts.items() if value == "unknown"}
    if found.rule is None and found.trace.outcome == "unknown":
        assert asked
        assert found.missing == tuple(dict.fromkeys(m for rule in found.trace.children for m in open_questions(rule)))


@EXAMPLES
@given(TREES, TREES)
def test_truth_tables_of_lint_agree(first: Any, second: Any) -> None:
    """What lint proves by bit masks (never met, met whenever another is) is what trying every world shows."""
    version = compiled([(first, "supported"), (second, "supported")], "supported").version
    one, two = (r.when for r in version.orders["it"].rules)
    proved = table([one, two], version.criteria)
    assert proved is not None
    worlds = naive.worlds(dict.fromkeys(NAMES, "unknown"))
    assert (proved.mask(one) == 0) == (not any(naive.holds(first, w) for w in worlds))
    implied = all(naive.holds(second, w) for w in worlds if naive.holds(first, w))
    assert (proved.mask(one) & ~proved.mask(two) == 0) == implied
