"""Criteria as tests of the case: what each finds is kept where all that share it can see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from cds_service.policy import dates, logic, operators
from cds_service.policy.case import Answer
from cds_service.policy.logic import NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion, Expression, criterion_ids
from cds_service.policy.operators.shared import wanted
from cds_service.policy.trace import MOST_EVIDENCE, Evidence, Missing, Trace, few
from cds_service.policy.view import NOTHING, Result, View

_ANSWER = "answer to the policy's question"


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
    """A criterion of a policy, bound to its operator; `reach` says how far its answer reaches.

    `versions` are those of the policy that ask its question in the same words.
    """

    __slots__ = (
        "_asks",
        "_bare",
        "_cites",
        "_nothing",
        "_operator",
        "criterion",
        "id",
        "op",
        "policy",
        "reach",
        "versions",
    )
    __test__ = False  # for pytest, which collects classes of this name

    def __init__(
        self, id_: str, criterion: Criterion, policy: str = "", versions: frozenset[str] = frozenset()
    ) -> None:
        self.id, self.criterion, self.policy, self.versions = id_, criterion, policy, versions
        self.op, arguments = criterion.operator
        self.reach = operators.reach(self.op, arguments)
        self._operator = operators.BY_NAME[self.op](criterion, arguments)
        self._asks = criterion.ask is not None
        self._nothing = Found(id_, self.op, NOT_MET)
        self._cites = tuple(criterion.cite)
        self._bare: dict[Outcome, Trace] = {}  # traces without evidence: the same for all cases

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
        """The latest yes or no given to the criterion's question, for this order; open where it is both."""
        given = [
            a
            for a in view.case.answers
            if a.link_id == self.id
            and isinstance(a.value, bool)
            and f"/{self.policy}/" in a.questionnaire  # canonical: .../Questionnaire/<policy id>/<rule>|<version>
            and (not a.about or view.order.ref in a.about)
            and self._was_asked(a)
        ]
        if not given:
            return None
        latest = _latest(given)
        told = (*evidence, *(Evidence(ref, _ANSWER) for ref in dict.fromkeys(a.ref for a in latest)))
        if len({a.value for a in latest}) > 1:
            return UNKNOWN, told, (Missing(wanted(self.criterion), "answers", "answered both yes and no"),)
        return logic.of(bool(latest[0].value)), told[: len(evidence) + 1], ()

    def _was_asked(self, answer: Answer) -> bool:
        """Was it this question? An older version of the policy may have asked another under the same name."""
        version = answer.questionnaire.partition("|")[2]
        if version in self.versions or (not version and answer.question is None):
            return True
        return answer.question is not None and answer.question == wanted(self.criterion)

    def trace(self, found: Found) -> Trace:
        """As a node of a trace, with the policy's words."""
        id_, op, outcome, evidence, missing = found
        if evidence or missing:
            return Trace(id_, op, outcome, self.criterion.text, evidence, missing, self._cites)
        known = self._bare.get(outcome)
        if known is None:
            known = self._bare[outcome] = Trace(id_, op, outcome, self.criterion.text, cites=self._cites)
        return known


def _latest(given: Iterable[Answer]) -> list[Answer]:
    """Answers that none is surely later than, the last by reference first; of those that are alike, one."""
    latest: list[Answer] = []
    for answer in {(a.authored, a.value): a for a in sorted(given, key=lambda a: a.ref)}.values():
        if not any(dates.before(answer.authored, other.authored) for other in latest):
            latest = [answer, *(o for o in latest if not dates.before(o.authored, answer.authored))]
    return latest


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
