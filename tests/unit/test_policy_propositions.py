"""Truth tables as masks: against counting every way of answering; and which criteria are the same test."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from pydantic import TypeAdapter

from cds_service.policy.model import All, AnyOf, AtLeast, Criterion, Expression, Not, criterion_ids
from cds_service.policy.propositions import LIMIT, Table, same_test, table

READ: TypeAdapter[Any] = TypeAdapter(Expression)


def holds(expression: Any, answers: Mapping[str, bool]) -> bool:
    """An expression under one full answer, by its definition."""
    match expression:
        case "always":
            return True
        case str():
            return answers[expression]
        case All(all=parts):
            return all(holds(p, answers) for p in parts)
        case AnyOf(any=parts):
            return any(holds(p, answers) for p in parts)
        case AtLeast(at_least=count, of=parts):
            return sum(holds(p, answers) for p in parts) >= count
        case Not():
            return not holds(expression.not_, answers)
    raise AssertionError(expression)


@pytest.mark.parametrize(
    "written",
    [
        "always",
        "a",
        "c",
        {"not": "b"},
        {"not": "always"},
        {"all": ["a"]},
        {"all": ["a", "b", "c"]},
        {"any": ["a", "b", "c"]},
        {"any": [{"all": ["a", "b"]}, {"not": "c"}]},
        {"at_least": 1, "of": ["a", "b", "c"]},
        {"at_least": 2, "of": ["a", "b", "c"]},
        {"at_least": 2, "of": ["a", "a", "b"]},
        {"at_least": 3, "of": ["a", "b", "c"]},
        {"at_least": 4, "of": ["a", "b", "c"]},
        {"at_least": 2, "of": ["a", {"not": "b"}, {"any": ["b", "c"]}]},
    ],
)
def test_a_mask_has_a_bit_for_each_answer_that_meets_the_expression(written: Any) -> None:
    expression = READ.validate_python(written)
    masks = Table({"a": "a", "b": "b", "c": "c"})
    ways = [dict(zip("abc", (bool(n >> i & 1) for i in range(3)), strict=True)) for n in range(8)]
    assert masks.mask(expression) == sum(1 << n for n, answers in enumerate(ways) if holds(expression, answers))
    assert len(ways) == len(list(product((0, 1), repeat=3)))


def test_two_names_of_one_test_are_one_column() -> None:
    masks = Table({"a": "x", "b": "x", "c": "y"})
    assert masks.mask("a") == masks.mask("b") != masks.mask("c")
    assert masks.full == 0b1111
    assert Table({}).full == 1


def criterion(**parts: Any) -> Criterion:
    return Criterion.model_validate({"text": "t", **parts})


AGE = {"age": {"at_least": 18}}


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (AGE, AGE, True),
        (AGE, {"age": {"at_least": 19}}, False),
        (AGE, {**AGE, "when_absent": "not-met"}, False),
        ({"interspaces": {"at_least": 2}}, {"vertebrae": {"at_least": 2}}, False),
        ({"asked": {}}, {"asked": {}}, False),
        ({**AGE, "ask": {"question": "?"}}, {**AGE, "ask": {"question": "?"}}, False),
        ({**AGE, "ask": {"question": "?"}}, AGE, False),
    ],
)
def test_the_same_test_in_the_same_way(one: Any, two: Any, same: bool) -> None:
    assert (same_test("one", criterion(**one)) == same_test("two", criterion(**two))) is same


def test_beyond_a_number_of_criteria_nothing_is_proved() -> None:
    criteria = {f"c{n}": criterion(age={"at_least": n}) for n in range(LIMIT + 1)}
    assert LIMIT == 14
    assert table(list(criteria)[:LIMIT], criteria) is not None
    assert table(criteria, criteria) is None
    twins = {f"c{n}": criterion(**AGE) for n in range(LIMIT + 1)}
    assert table(twins, twins) is not None


def test_the_criteria_that_an_expression_reads() -> None:
    written = {"all": ["always", "a", {"any": [{"not": "b"}]}, {"at_least": 1, "of": ["c", "a"]}]}
    assert list(criterion_ids(READ.validate_python(written))) == ["a", "b", "c", "a"]
