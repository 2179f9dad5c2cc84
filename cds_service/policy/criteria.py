"""Criteria as tests of the case: what each finds is kept where all that share it can see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, NamedTuple

from cds_service.policy import logic, operators
from cds_service.policy.logic import NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion, Expression, criterion_ids
from cds_service.policy.trace import MOST_EVIDENCE, Evidence, Missing, Trace, few
from cds_service.policy.view import NOTHING, Result, View


class Found(NamedTuple):
    """What a test found: the criterion, its operator, the outcome, and what it rests on."""

    id: str
    op: str
    outcome: Outcome
    evidence: tuple[Evidence, ...] = ()
    missing: tuple[Missing, ...] = ()


# What Found(...) does, without the call in between: an answer makes a hundred of them.
_made: Callable[[tuple[Any, ...]], Found] = partial(tuple.__new__, Found)


class Test:
    """A criterion of a policy, bound to its operator; `reach` says how far its answer reaches."""

    __slots__ = ("_asks", "_nothing", "_operator", "criterion", "id", "op", "policy", "reach")
    __test__ = False  # for pytest, which collects classes of this name

    def __init__(self, id_: str, criterion: Criterion, policy: str = "") -> None:
        self.id, self.criterion, self.policy = id_, criterion, policy
        self.op, arguments = criterion.operator
        self.reach = operators.reach(self.op, arguments)
        self._operator = operators.BY_NAME[self.op](criterion, arguments)
        self._asks = criterion.ask is not None
        self._nothing = Found(id_, self.op, NOT_MET)

    def __call__(self, view: View) -> Found:
        """What it finds, now or before."""
        found: Found | None = view.shelves[self.reach].get(self)
        return found or self.find(view)

    def find(self, view: View) -> Found:
        """What it finds now. Where there is nothing to tell of the case, that is the same for all cases."""
        result = self._operator(view)
        found = self._nothing if result is NOTHING else self._found(view, *result)
        view.shelves[self.reach][self] = found
        return found

    def _found(
        self, view: View, outcome: Outcome, evidence: tuple[Evidence, ...], missing: tuple[Missing, ...]
    ) -> Found:
        if self._asks and outcome is UNKNOWN and view.case.answers:
            outcome, evidence, missing = self._answered(view, evidence) or (outcome, evidence, missing)
        if len(evidence) > MOST_EVIDENCE:
            evidence = few(evidence)
        return _made((self.id, self.op, outcome, evidence, missing))

    def _answered(self, view: View, evidence: tuple[Evidence, ...]) -> Result | None:
        """The latest yes or no given to the criterion's question, for this order."""
        given = [
            a
            for a in view.case.answers
            if a.link_id == self.id
            and isinstance(a.value, bool)
            and f"/{self.policy}/" in a.questionnaire  # canonical: .../Questionnaire/<policy id>/<rule>|<version>
            and (not a.about or view.order.ref in a.about)
        ]
        if not given:
            return None
        latest = max(given, key=lambda a: (a.authored or date.min, a.ref))
        answer = Evidence(latest.ref, "answer to the policy's question")
        return logic.of(bool(latest.value)), (*evidence, answer), ()

    def trace(self, found: Found) -> Trace:
        """As a node of a trace, with the policy's words."""
        return Trace(*found[:3], self.criterion.text, found.evidence, found.missing, tuple(self.criterion.cite))


def tests_of(expression: Expression, tests: Mapping[str, Test]) -> tuple[Test, ...]:
    """The tests that an expression reads, each once."""
    return tuple([tests[name] for name in dict.fromkeys(criterion_ids(expression))])


def look(tests: Iterable[Test], view: View) -> list[Found]:
    """What each test finds."""
    shelves = view.shelves
    return [shelves[test.reach].get(test) or test.find(view) for test in tests]


def leaves(tests: Sequence[Test], found: Sequence[Found]) -> dict[str, Trace]:
    """Traces of tests, by criterion."""
    return {test.id: test.trace(f) for test, f in zip(tests, found, strict=True)}
