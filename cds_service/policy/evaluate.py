"""Evaluates one policy version on one order: rules in sequence, with unknown kept apart from not met."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

from cds_service.policy.case import Order
from cds_service.policy.compile import CompiledItem, CompiledVersion
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN
from cds_service.policy.model import Otherwise, Rule
from cds_service.policy.trace import Evidence, Missing, Trace, few, node
from cds_service.policy.view import Facts, Seat, Shelf, View


class Verdict(NamedTuple):
    """What one policy version says of one order. `rule` is None when `otherwise` decided or nothing is settled."""

    version: CompiledVersion
    item: CompiledItem
    order: Order
    outcome: str
    prior_authorization: str
    because: str
    rule: str | None
    trace: Trace
    missing: tuple[Missing, ...] = ()
    given: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()
    recommendation: str | None = None
    because_patient: str | None = None
    asks: str | None = None


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
        # Views beside their seat, by version: a seat that held them would make a cycle, garbage to be looked for.
        self._seats: dict[str, tuple[Seat, dict[str, View]]] = {}
        self._shelves: dict[tuple[str, Hashable], Shelf] = {}
        self._verdicts: dict[Key, Verdict | None] = {}
        self._round: dict[Key, Verdict | None] | None = None
        self._guesses: dict[Key, str | None] = {}
        self._open: set[Key] = set()
        self._leaned: dict[Key, tuple[CompiledVersion, Order]] = {}

    def view(self, version: CompiledVersion, order: Order) -> View:
        """The case as one version sees it from one order."""
        place = self._seats.get(order.ref)
        if place is None:
            place = self._seats[order.ref] = Seat(self.facts, order, self.facts.case.day(order)), {}
        seat, views = place
        view = views.get(version.key)
        if view is None:
            view = views[version.key] = self._view(version, order, seat)
        return view

    def _view(self, version: CompiledVersion, order: Order, seat: Seat) -> View:
        name, motive, shelves = version.key, seat.motive, self._shelves
        shared = (
            self.facts.patient_shelves.setdefault((name, seat.day), {}),
            shelves.setdefault((name, seat.home), {}),
            {} if motive is None else shelves.setdefault((name, motive), {}),
        )
        judge = self._judge_by(version) if version.leans else _nobody
        return View(self.facts, order, seat.day, judge, version.policy.id, seat, shared)

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
        item = version.item_for(order, self.facts.vocabulary)
        verdict = self._verdicts[key] = None if item is None else judge(item, self.view(version, order), version)
        return verdict

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
                self._seats[ref][1].pop(version_key, None)

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
        item = version.item_for(order, self.facts.vocabulary)
        self._open.add(key)
        try:
            judged[key] = None if item is None else judge(item, self.view(version, order), version)
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


def _nobody(_order: Order) -> str | None:
    """Stands in where no criterion asks for another order's outcome."""
    raise AssertionError("the version does not lean")


class Decision(NamedTuple):
    """What the rules of an item come to: the same for all orders that its criteria do not tell apart."""

    outcome: str
    prior_authorization: str
    speaker: Rule | Otherwise
    rule: str | None
    traces: tuple[Trace, ...]
    settled: bool
    missing: tuple[Missing, ...]
    cites: tuple[str, ...]
    recommendation: str | None


def judge(item: CompiledItem, view: View, version: CompiledVersion) -> Verdict:
    """The verdict of an item on an order."""
    shelf = view.shelves[item.reach]
    key = f"\0item {item.id}"
    decision: Decision | None = shelf.get(key)
    if decision is None:
        decision = shelf[key] = _decide(item, view)
    return _verdict(item, view, version, decision)


def _decide(item: CompiledItem, view: View) -> Decision:
    """Search the rules: the first met one decides, unless an unknown rule before it could have decided otherwise."""
    traces: list[Trace] = []
    unknown: list[Rule] = []
    reached: Rule | Otherwise = item.otherwise
    for compiled in item.rules:
        trace = compiled.traced(view)
        traces.append(trace)
        if trace.outcome is MET:
            reached = compiled.rule
            break
        if trace.outcome is UNKNOWN:
            unknown.append(compiled.rule)
    if isinstance(reached, Otherwise):
        traces.append(
            Trace("otherwise", "otherwise", NOT_MET if unknown else MET, reached.because, cites=tuple(reached.cite))
        )
    return _decision(reached, unknown, tuple(traces))


def _decision(reached: Rule | Otherwise, unknown: list[Rule], traces: tuple[Trace, ...]) -> Decision:
    """An outcome stands if no rule that was left open could have given another one."""
    outcome, authorization = reached.outcome, reached.prior_authorization
    missing: tuple[Missing, ...] = ()
    settled = not unknown or all(r.outcome == outcome for r in unknown)
    if not settled or (unknown and any(r.prior_authorization != authorization for r in unknown)):
        authorization = "unknown"
    if not settled:
        return Decision("needs-information", authorization, unknown[0], None, traces, False, _questions(traces),
                        tuple(unknown[0].cite), None)  # fmt: skip
    if outcome == "needs-information" and reached.asks:
        missing = (Missing(reached.asks, "answers", "not documented"),)
    rule = reached.id if isinstance(reached, Rule) else None
    return Decision(outcome, authorization, reached, rule, traces, True, missing, tuple(reached.cite),
                    reached.recommendation)  # fmt: skip


def _verdict(item: CompiledItem, view: View, version: CompiledVersion, decision: Decision) -> Verdict:
    outcome, authorization, speaker, rule, traces, settled, missing, cites, recommendation = decision
    given, given_trace = _given(item, view)
    mark = MET if settled else UNKNOWN
    root = node((item.id, "rules", mark, item.item.label, (), (), (), traces + given_trace))
    return Verdict(version, item, view.order, outcome, authorization, speaker.because, rule, root, missing, given,
                   cites, recommendation, speaker.because_patient, speaker.asks)  # fmt: skip


def _questions(traces: Iterable[Trace]) -> tuple[Missing, ...]:
    found: dict[Missing, None] = {}
    for trace in traces:
        found.update(dict.fromkeys(trace.open_questions()))
    return tuple(found)


def _given(item: CompiledItem, view: View) -> tuple[tuple[str, ...], tuple[Trace, ...]]:
    """The primaries that a graft or add-on is judged given: "supported if the fusion is"."""
    given = item.item.given
    if given is None:
        return (), ()
    me = view.order.ref
    found = [pair for o in view.operations for pair in view.facts.members_in(o, given)[0] if pair[0].ref != me]
    evidence = tuple(dict.fromkeys([Evidence(o.ref, "judged given this order", told.code) for o, told in found]))
    trace = Trace("given", "given", MET if evidence else NOT_MET, "Judged given its primary procedure", few(evidence))
    return tuple(dict.fromkeys([o.ref for o, _ in found])), (trace,)
