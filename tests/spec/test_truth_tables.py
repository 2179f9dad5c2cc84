"""Every row of every truth table holds, and every operator and combinator has a table."""

from __future__ import annotations

import pytest
from spec_facts import found
from spec_tables import COMBINATORS, OPERATORS, Table

from cds_service.policy import logic, model, operators
from cds_service.policy.logic import Outcome

ROWS = [(t, facts, outcome) for t in OPERATORS for facts, outcome in t.pairs()]
JOINS = {
    "all": logic.all_of,
    "any": logic.any_of,
    "not": lambda parts: logic.negate(parts[0]),
    "at_least": lambda parts: logic.at_least(2, parts),
}
COMBINED = [(op, *row.split("->")) for op, (_, rows) in COMBINATORS.items() for row in rows.strip().splitlines()]


@pytest.mark.parametrize(("table", "facts", "outcome"), ROWS, ids=[f"{t.operator}: {f}" for t, f, _ in ROWS])
def test_operator(table: Table, facts: str, outcome: str) -> None:
    assert found(table.criterion, facts, table.judged).outcome.value == outcome


@pytest.mark.parametrize(("table", "facts", "outcome"), ROWS, ids=[f"{t.operator}: {f}" for t, f, _ in ROWS])
def test_what_is_open_says_what_is_missing_and_nothing_else_does(table: Table, facts: str, outcome: str) -> None:
    assert bool(found(table.criterion, facts, table.judged).missing) == (outcome == "unknown")


@pytest.mark.parametrize(("op", "parts", "outcome"), COMBINED)
def test_combinator(op: str, parts: str, outcome: str) -> None:
    assert JOINS[op]([Outcome(p) for p in parts.split()]) is Outcome(outcome.strip())


def test_every_operator_has_a_table() -> None:
    assert {t.operator for t in OPERATORS} == set(model.OPERATORS) == set(operators.BY_NAME)


@pytest.mark.parametrize("operator", model.OPERATORS)
def test_every_outcome_of_an_operator_is_shown(operator: str) -> None:
    shown = {outcome for t in OPERATORS if t.operator == operator for _, outcome in t.pairs()}
    assert shown == {"met", "not-met"} | ({"unknown"} if operator != "repeated" else set())
