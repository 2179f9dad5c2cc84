"""Evaluates one policy version on one order: rules in sequence, with unknown kept apart from not met."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import NamedTuple

from cds_service.policy.case import Order
from cds_service.policy.compile import CompiledItem, CompiledVersion
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.operation import order_evidence
from cds_service.policy.operators.orders import IN_DOUBT
from cds_service.policy.rules import Decision
from cds_service.policy.trace import Evidence, Missing, Trace, few
from cds_service.policy.view import ORDER, Facts, Seat, Shelf, View


class Verdict(NamedTuple):
    """What one policy version says of one order. `rule` is None when `otherwise` decided or nothing is settled.

    `given` are the primaries it is judged given. `beside` is the trace that says so, or what a text leaves open. `gap`
    is what the encoding does not know of its policy, where that, and no fact of the chart, leaves the outcome open.
    """

    version: CompiledVersion
    item: CompiledItem
    order: Order
    outcome: str
    prior_authorization: str
    because: str
    rule: str | None
    decision: Decision
    missing: tuple[Missing, ...] = ()
    given: tuple[str, ...] = ()
    beside: Trace | None = None
    cites: tuple[str, ...] = ()
    recommendation: str | None = None
    because_patient: str | None = None
    asks: str | None = None
    gap: str | None = None

    @property
    def trace(self) -> Trace:
        """Every rule that was looked at, criterion by criterion; made anew at each call."""
        children = self.decision.traces if self.beside is None else (*self.decision.traces, self.beside)
        return Trace(self.item.id, "rules", self.mark, self.item.item.label, children=children)

    @property
    def mark(self) -> Outcome:
        """Met where the rules settle the matter, else unknown."""
        doubtful = self.beside is not None and self.beside.outcome is UNKNOWN
        return UNKNOWN if doubtful or not self.decision.ruling.settled else MET


Key = tuple[str, str]
_DEEPEST = 8


class Evaluator:
    """Evaluates orders of one case; each (version, order) pair once.

    A criterion may ask for another order's outcome, and orders may ask for each other. Such a circle starts from
    "unknown" and is judged again until no outcome changes. Kleene's logic is monotone, so each round only settles
    what was open: the rounds end, and where they end does not depend on the order of the orders.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        # Views beside their seat, which does not hold them: that would make a cycle, garbage to be looked for.
        self._views: dict[str, View] = {}
        self._leaning: dict[Key, View] = {}
        self._shelves: dict[Hashable, Shelf] = {}
        self._verdicts: dict[Key, Verdict | None] = {}
        self._round: dict[Key, Verdict | None] | None = None
        self._guesses: dict[Key, str | None] = {}
        self._open: set[Key] = set()
        self._leaned: dict[Key, tuple[CompiledVersion, Order]] = {}

    def view(self, version: CompiledVersion, order: Order) -> View:
        """The case as one version sees it from one order; the same for all versions that look at that order alone."""
        view = self._views.get(order.ref)
        if view is None:
            view = self._views[order.ref] = self._view(order)
        return self._leaning_view(version, view) if version.leans else view

    def _view(self, order: Order) -> View:
        seat, shelves = Seat(self.facts, order, self.facts.case.day(order)), self._shelves
        motive = seat.motive
        return View(seat, (
            self.facts.patient_shelves.setdefault(seat.day, {}),
            shelves.setdefault(seat.home, {}),
            {} if motive is None else shelves.setdefault(motive, {}),
        ))  # fmt: skip

    def _leaning_view(self, version: CompiledVersion, view: View) -> View:
        """A view with a shelf of its own: what is found there may be judged again."""
        key = (version.key, view.order.ref)
        own = self._leaning.get(key)
        if own is None:
            own = self._leaning[key] = View(view.seat, view.shelves[:ORDER], self._judge_by(version))
        return own

    def _judge_by(self, version: CompiledVersion) -> Callable[[Order], str | None]:
        """Outcomes of other orders under a version; holds the evaluator weakly, as the evaluator holds its views."""
        me = weakref.ref(self)

        def outcome(order: Order) -> str | None:
            evaluator = me()
            assert evaluator is not None
            return evaluator._outcome(version, order)

        return outcome

    def verdict(self, version: CompiledVersion, order: Order) -> Verdict | None:
        """The verdict of a version on an order; None when it has no item for it."""
        key = (version.key, order.ref)
        try:
            return self._verdicts[key]
        except KeyError:
            pass
        if version.leans:
            self._verdicts.update(self._settled(version, order))
            return self._verdicts[key]
        verdict = self._verdicts[key] = self._judgement(version, order)
        return verdict

    def _judgement(self, version: CompiledVersion, order: Order) -> Verdict | None:
        item, possible = version.choice(order, self.facts.vocabulary)
        verdict = None if item is None else judge(item, self.view(version, order), version)
        return in_doubt(verdict, possible, self.view(version, order), version) if possible else verdict

    def _settled(self, version: CompiledVersion, order: Order) -> dict[Key, Verdict | None]:
        """Verdicts of an order and of those it asks for, judged until nothing changes."""
        self._guesses = {}
        while True:
            judged = self._judged(version, order)
            outcomes = {key: verdict.outcome if verdict else None for key, verdict in judged.items()}
            if not self._leaned or outcomes == self._guesses:
                return judged
            self._guesses = outcomes
            for version_key, ref in judged:
                self._leaning.pop((version_key, ref), None)

    def _judged(self, version: CompiledVersion, order: Order) -> dict[Key, Verdict | None]:
        """One round: the order, what it asks for, and what was only guessed at."""
        judged: dict[Key, Verdict | None] = {}
        self._round, self._leaned = judged, {}
        try:
            self._judge(version, order, judged)
            while waiting := [pair for key, pair in self._leaned.items() if key not in judged]:
                for pair in waiting:
                    self._judge(*pair, judged)
        finally:
            self._round = None
        return judged

    def _judge(self, version: CompiledVersion, order: Order, judged: dict[Key, Verdict | None]) -> None:
        key = (version.key, order.ref)
        if key in judged:
            return
        self._open.add(key)
        try:
            judged[key] = self._judgement(version, order)
        finally:
            self._open.discard(key)

    def _outcome(self, version: CompiledVersion, order: Order) -> str | None:
        """Outcome of a companion under the same version; in a circle (or a long chain), that of the round before."""
        key = (version.key, order.ref)
        if key not in self._verdicts and self._round is not None:
            if key not in self._round and (key in self._open or len(self._open) >= _DEEPEST):
                self._leaned[key] = (version, order)
                return self._guesses.get(key)
            self._judge(version, order, self._round)
            verdict = self._round[key]
        else:
            verdict = self.verdict(version, order)
        return verdict.outcome if verdict else None


_NONE_GIVEN: tuple[tuple[str, ...], Trace | None] = (), None


def judge(item: CompiledItem, view: View, version: CompiledVersion) -> Verdict:
    """The verdict of an item on an order."""
    shelf = view.shelves[item.reach]
    decision: Decision | None = shelf.get(item.rules)
    if decision is None:
        decision = shelf[item.rules] = item.rules.decide(view)
    ruling, speaker = decision.ruling, decision.ruling.speaker
    given, beside = _NONE_GIVEN if item.item.given is None else _given(item.item.given, view)
    return Verdict(version, item, view.order, ruling.outcome, ruling.prior_authorization, speaker.because, ruling.rule,
                   decision, decision.missing, given, beside, ruling.cites, ruling.recommendation,
                   speaker.because_patient, speaker.asks, speaker.gap if ruling.settled else None)  # fmt: skip


def _given(value_set: str, view: View) -> tuple[tuple[str, ...], Trace]:
    """The primaries that a graft or add-on is judged given: "supported if the fusion is"."""
    me = view.order.ref
    found = [pair for o in view.operations for pair in view.facts.members_in(o, value_set)[0] if pair[0].ref != me]
    evidence = tuple(dict.fromkeys([Evidence(o.ref, "judged given this order", told.code) for o, told in found]))
    trace = Trace("given", "given", MET if evidence else NOT_MET, "Judged given its primary procedure", few(evidence))
    return tuple(dict.fromkeys([o.ref for o, _ in found])), trace


def in_doubt(
    verdict: Verdict | None, possible: tuple[tuple[CompiledItem, str], ...], view: View, version: CompiledVersion
) -> Verdict:
    """The verdict on an order whose text leaves open whether other items judge it: what all come to, else a question.

    `verdict` is that of the item which judges it if they do not; None where then none does.
    """
    every = [*([] if verdict is None else [verdict]), *(judge(item, view, version) for item, _ in possible)]
    base, outcomes = every[0], {v.outcome for v in every} | ({"not-addressed"} if verdict is None else set())
    same_authorization = len({v.prior_authorization for v in every}) == 1
    same_recommendation = len({v.recommendation for v in every}) == 1
    kept = base._replace(
        prior_authorization=base.prior_authorization if same_authorization else "unknown",
        recommendation=base.recommendation if same_recommendation else None,
    )
    if len(outcomes) == 1:
        return kept
    asked = tuple([Missing(f"{item.item.label}: is it ordered?", "orders", IN_DOUBT) for item, _ in possible])
    evidence = tuple([order_evidence(view.order, told) for _, told in possible])
    return kept._replace(
        outcome="needs-information",
        because="The text of the order mentions what would be judged otherwise, and leaves open whether it is ordered.",
        because_patient=None,
        rule=None,
        missing=(*asked, *base.missing),
        given=(),
        beside=Trace("mentioned", "order", UNKNOWN, "The text says what is ordered", evidence, asked),
        cites=(),
        recommendation=None,
        asks=None,
        gap=None,
    )
