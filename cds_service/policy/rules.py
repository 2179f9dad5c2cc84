"""The rules of an item as tables: from the outcomes of criteria to those of rules, and from these to a ruling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cds_service.policy.criteria import Found, Test, look, tests_of
from cds_service.policy.formula import Shape, outcome, shape, tree_of, undecided
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import Item, Otherwise, Rule
from cds_service.policy.remember import remember
from cds_service.policy.trace import Missing, Trace
from cds_service.policy.view import View


class Ruled(NamedTuple):
    """What a rule comes to for given outcomes of its criteria. `open`: places of those that leave it unknown.

    `shape` is that of its trace.
    """

    outcome: Outcome
    open: tuple[int, ...]
    shape: Shape


class CompiledRule:
    """A rule over its tests; `rule` is the content it came from."""

    __slots__ = ("cites", "known", "rule", "tests")

    def __init__(self, rule: Rule, tests: Mapping[str, Test]) -> None:
        self.rule, self.cites = rule, tuple(rule.cite)
        self.tests = tests_of(rule.when, tests)
        self.known: dict[tuple[Outcome, ...], Ruled] = {}

    def ruled(self, found: Sequence[Found]) -> Ruled:
        """What the rule comes to, given what its tests found; from now on, that is known."""
        when, known = self.rule.when, {leaf.id: leaf.outcome for leaf in found}
        places = {leaf.id: place for place, leaf in enumerate(found)}
        value = outcome(when, known)
        open_ = tuple([places[name] for name in dict.fromkeys(undecided(when, known))])
        ruled = Ruled(value, open_, shape(when, known, places))
        return remember(self.known, tuple(known.values()), ruled)

    def trace(self, ruled: Ruled, found: Sequence[Found]) -> Trace:
        """The rule's trace over what its tests found, and what it came to for that."""
        leaves = [test.trace(leaf) for test, leaf in zip(self.tests, found, strict=True)]
        below = (tree_of(ruled.shape, leaves),)
        return Trace(self.rule.id, "rule", ruled.outcome, self.rule.because, (), (), self.cites, below)


class Ruling(NamedTuple):
    """What an item's rules come to for given outcomes of theirs: the same for every case.

    `otherwise` is the trace of what holds when no rule is met, where it was reached.
    """

    outcome: str
    prior_authorization: str
    speaker: Rule | Otherwise
    rule: str | None
    settled: bool
    asked: tuple[Missing, ...]
    cites: tuple[str, ...]
    recommendation: str | None
    otherwise: Trace | None


Looked = tuple[CompiledRule, Ruled, list[Found]]
"""A rule that was looked at, what it came to, and what its tests found."""


class Decision:
    """A ruling with what was found in the case: the same for all orders that the criteria do not tell apart."""

    __slots__ = ("_traces", "looked", "missing", "ruling")

    def __init__(self, ruling: Ruling, looked: list[Looked]) -> None:
        self.ruling, self.looked = ruling, looked
        self.missing = ruling.asked if ruling.settled else _questions(looked)
        self._traces: tuple[Trace, ...] | None = None

    @property
    def traces(self) -> tuple[Trace, ...]:
        """Traces of the rules that were looked at, and of `otherwise`; made when they are first asked for."""
        if self._traces is None:
            last = () if self.ruling.otherwise is None else (self.ruling.otherwise,)
            self._traces = (*[rule.trace(ruled, found) for rule, ruled, found in self.looked], *last)
        return self._traces


def _questions(looked: list[Looked]) -> tuple[Missing, ...]:
    """What would settle the rules that are open, each once."""
    return tuple(dict.fromkeys([m for _, ruled, found in looked for n in ruled.open for m in found[n].missing]))


class Rules:
    """An item's rules in sequence, and what holds when none is met."""

    def __init__(self, item: Item, tests: Mapping[str, Test]) -> None:
        self.otherwise = item.otherwise
        self._rules = tuple([CompiledRule(rule, tests) for rule in item.rules])
        self._known: dict[tuple[Outcome, ...], Ruling] = {}

    def __iter__(self) -> Iterator[CompiledRule]:
        return iter(self._rules)

    def decide(self, view: View) -> Decision:
        """Search the rules: the first met one decides, unless an unknown rule before it could decide otherwise."""
        looked: list[Looked] = []
        for rule in self._rules:
            found = look(rule.tests, view)
            ruled = rule.known.get(tuple([f.outcome for f in found])) or rule.ruled(found)
            looked.append((rule, ruled, found))
            if ruled.outcome is MET:
                break
        outcomes = tuple([ruled.outcome for _, ruled, _ in looked])
        known = self._known.get(outcomes)
        return Decision(known if known is not None else remember(self._known, outcomes, self._ruling(outcomes)), looked)

    def _ruling(self, outcomes: tuple[Outcome, ...]) -> Ruling:
        """An outcome stands if no rule that was left open could have given another one.

        So do, for themselves, the prior authorisation (also where the outcome is open: all that is possible agree on
        it) and the recommendation of what was reached; but the note of `otherwise` that nothing is recommended stands
        beside open rules, and its words say what is not clear.
        """
        unknown = [c.rule for c, o in zip(self._rules, outcomes, strict=False) if o is UNKNOWN]
        decides = MET in outcomes  # the last rule looked at
        reached = self._rules[len(outcomes) - 1].rule if decides else self.otherwise
        otherwise = None if decides else self._otherwise(MET if not unknown else NOT_MET)
        authorization = reached.prior_authorization
        settled = all(r.outcome == reached.outcome for r in unknown)
        if any(r.prior_authorization != authorization for r in unknown):
            authorization = "unknown"
        if not settled:
            first = unknown[0]
            return Ruling(
                "needs-information", authorization, first, None, False, (), tuple(first.cite), None, otherwise
            )
        recommendation = reached.recommendation
        noted = not decides and recommendation == "none"
        if not noted and any(r.recommendation != recommendation for r in unknown):
            recommendation = None
        return Ruling(reached.outcome, authorization, reached, reached.id if isinstance(reached, Rule) else None, True,
                      _asked(reached), tuple(reached.cite), recommendation, otherwise)  # fmt: skip

    def _otherwise(self, outcome: Outcome) -> Trace:
        return Trace("otherwise", "otherwise", outcome, self.otherwise.because, cites=tuple(self.otherwise.cite))


def _asked(reached: Rule | Otherwise) -> tuple[Missing, ...]:
    """The question of a rule that decides that information is needed."""
    if reached.outcome == "needs-information" and reached.asks:
        return (Missing(reached.asks, "answers", "not documented"),)
    return ()
