"""Expressions over criteria: what they come to for given outcomes, and the trace that tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from cds_service.policy import logic
from cds_service.policy.criteria import Found, Test, leaves, look, tests_of
from cds_service.policy.logic import MET, UNKNOWN, Outcome
from cds_service.policy.model import All, AnyOf, AtLeast, Expression, Not, criterion_ids
from cds_service.policy.remember import remember
from cds_service.policy.trace import Trace
from cds_service.policy.view import View

Shape = Any
"""A trace without what was found: (id, operator, outcome, children); a criterion by its place among the tests."""

ALWAYS = Trace("always", "always", MET)


class Formula:
    """An expression over tests. It sees them by their outcomes only: what follows from these is worked out once."""

    def __init__(self, expression: Expression, tests: Mapping[str, Test]) -> None:
        self.expression = expression
        self.tests = tests_of(expression, tests)
        self._required = tuple([tests[name] for name in _required(expression)])
        self._all_required = _is_conjunction(expression)
        self._known: dict[tuple[Outcome, ...], Outcome] = {}

    def __call__(self, view: View) -> Trace:
        """The trace of the expression: all tests are asked, so that it is whole."""
        return tree(self.expression, leaves(self.tests, look(self.tests, view)))

    def met(self, view: View) -> bool:
        """Is it met? Stops at the first criterion without which it is not."""
        for test in self._required:
            if test(view).outcome is not MET:
                return False
        return self._all_required or self._outcome(look(self.tests, view)) is MET

    def _outcome(self, found: Sequence[Found]) -> Outcome:
        outcomes = tuple([leaf.outcome for leaf in found])
        known = self._known.get(outcomes)
        if known is None:
            value = outcome(self.expression, {leaf.id: leaf.outcome for leaf in found})
            known = remember(self._known, outcomes, value)
        return known


def _opened(expression: Expression) -> tuple[str, Sequence[Expression], Callable[[list[Outcome]], Outcome]]:
    """Operator, parts and logic of an expression that is not a criterion."""
    match expression:
        case All(all=parts):
            return "all", parts, logic.all_of
        case AnyOf(any=parts):
            return "any", parts, logic.any_of
        case AtLeast(at_least=number, of=parts):
            return "at_least", parts, partial(logic.at_least, number)
        case Not():
            return "not", [expression.not_], lambda found: logic.negate(found[0])
    raise TypeError(expression)


def _required(expression: Expression) -> dict[str, None]:
    """Criteria that must all be met, each once; those of other expressions within `all` are not among them."""
    match expression:
        case str():
            return dict.fromkeys(criterion_ids(expression))
        case All(all=parts):
            return {name: None for part in parts for name in _required(part)}
    return {}


def _is_conjunction(expression: Expression) -> bool:
    """True where nothing but `_required` criteria decides."""
    return isinstance(expression, str) or (isinstance(expression, All) and all(map(_is_conjunction, expression.all)))


def outcome(expression: Expression, known: Mapping[str, Outcome]) -> Outcome:
    """Kleene's value of an expression, for given outcomes of its criteria."""
    if isinstance(expression, str):
        return MET if expression == "always" else known[expression]
    _, parts, join = _opened(expression)
    return join([outcome(part, known) for part in parts])


def tree(expression: Expression, found: Mapping[str, Trace]) -> Trace:
    """The trace of an expression over the traces of its criteria."""
    if isinstance(expression, str):
        return ALWAYS if expression == "always" else found[expression]
    op, parts, join = _opened(expression)
    children = tuple([tree(part, found) for part in parts])
    return Trace(op, op, join([child.outcome for child in children]), children=children)


def shape(expression: Expression, known: Mapping[str, Outcome], places: Mapping[str, int]) -> Shape:
    """What `tree` looks like for given outcomes: places of criteria, and operators with outcome and parts."""
    if isinstance(expression, str):
        return ALWAYS if expression == "always" else places[expression]
    op, parts, _ = _opened(expression)
    return op, outcome(expression, known), tuple([shape(part, known, places) for part in parts])


def tree_of(shape: Shape, found: Sequence[Trace]) -> Trace:
    """`tree` by its shape, over the traces of the criteria in their places: nothing is worked out again."""
    if isinstance(shape, int):
        return found[shape]
    if isinstance(shape, Trace):
        return shape
    op, value, parts = shape
    return Trace(op, op, value, children=tuple([tree_of(part, found) for part in parts]))


def undecided(expression: Expression, known: Mapping[str, Outcome]) -> Iterator[str]:
    """The unknown criteria that leave an expression unknown, in its order."""
    if outcome(expression, known) is UNKNOWN:
        if isinstance(expression, str):
            yield expression
        else:
            for part in _opened(expression)[1]:
                yield from undecided(part, known)
