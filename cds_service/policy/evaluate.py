"""Evaluates one policy version on one order: rules in sequence, with unknown kept apart from not met."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from cds_service.policy.case import Order
from cds_service.policy.compile import CompiledItem, CompiledVersion
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN
from cds_service.policy.model import Otherwise, Rule
from cds_service.policy.trace import Evidence, Missing, Trace, few
from cds_service.policy.view import Facts, View


@dataclass(frozen=True)
class Verdict:
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
        self._views: dict[Key, View] = {}
        self._operation_traces: dict[tuple[str, object, date], dict[str, Trace]] = {}
        self._reason_traces: dict[tuple[object, ...], dict[str, Trace]] = {}
        self._verdicts: dict[Key, Verdict | None] = {}
        self._round: dict[Key, Verdict | None] | None = None
        self._guesses: dict[Key, str | None] = {}
        self._open: set[Key] = set()
        self._leaned: dict[Key, tuple[CompiledVersion, Order]] = {}

    def view(self, version: CompiledVersion, order: Order) -> View:
        """The case as one version sees it from one order."""
        key = (version.key, order.ref)
        if key not in self._views:
            day = self.facts.case.day(order)
            view = View(self.facts, order, day, lambda o: self._outcome(version, o), version.policy.id)
            view.patient_traces = self.facts.patient_traces.setdefault((version.key, day), {})
            home = (version.key, self.facts.operations.home(order), day)
            view.operation_traces = self._operation_traces.setdefault(home, {})
            reasons = view.reasons
            if not reasons.coded:  # coded reasons are evidence of one order
                view.reason_traces = self._reason_traces.setdefault((*home, reasons.refs, reasons.unread), {})
            self._views[key] = view
        return self._views[key]

    def verdict(self, version: CompiledVersion, order: Order) -> Verdict | None:
        """The verdict of a version on an order; None when it has no item for it."""
        key = (version.key, order.ref)
        if key not in self._verdicts:
            self._verdicts.update(self._settled(version, order))
        return self._verdicts[key]

    def _settled(self, version: CompiledVersion, order: Order) -> dict[Key, Verdict | None]:
        """Verdicts of an order and of those it asks for, judged until nothing changes."""
        self._guesses = {}
        while True:
            judged = self._judged(version, order)
            outcomes = {key: verdict.outcome if verdict else None for key, verdict in judged.items()}
            if not self._leaned or outcomes == self._guesses:
                return judged
            self._guesses = outcomes
            for key in judged:
                self._views.pop(key, None)

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


def judge(item: CompiledItem, view: View, version: CompiledVersion) -> Verdict:
    """Search the rules: the first met one decides, unless an unknown rule before it could have decided otherwise."""
    traces: list[Trace] = []
    unknown: list[Rule] = []
    reached: Rule | Otherwise = item.otherwise
    for compiled in item.rules:
        found = compiled.check(view)
        rule = compiled.rule
        traces.append(Trace(rule.id, "rule", found.outcome, rule.because, cites=tuple(rule.cite), children=(found,)))
        if found.outcome is MET:
            reached = rule
            break
        if found.outcome is UNKNOWN:
            unknown.append(rule)
    if isinstance(reached, Otherwise):
        traces.append(
            Trace("otherwise", "otherwise", NOT_MET if unknown else MET, reached.because, cites=tuple(reached.cite))
        )
    return _verdict(item, view, version, reached, unknown, tuple(traces))


def _verdict(
    item: CompiledItem,
    view: View,
    version: CompiledVersion,
    reached: Rule | Otherwise,
    unknown: list[Rule],
    traces: tuple[Trace, ...],
) -> Verdict:
    settled = all(r.outcome == reached.outcome for r in unknown)
    outcome = reached.outcome if settled else "needs-information"
    authorization = reached.prior_authorization
    if not settled or any(r.prior_authorization != authorization for r in unknown):
        authorization = "unknown"
    missing = () if settled else _questions(traces)
    if outcome == "needs-information" and settled and reached.asks:
        missing = (Missing(reached.asks, "answers", "not documented"),)
    given, given_trace = _given(item, view)
    root = Trace(item.id, "rules", MET if settled else UNKNOWN, item.item.label, children=(*traces, *given_trace))
    open_rule = unknown[0] if not settled else None
    speaker = open_rule or reached
    return Verdict(
        version,
        item,
        view.order,
        outcome,
        authorization,
        speaker.because,
        reached.id if settled and isinstance(reached, Rule) else None,
        root,
        missing,
        given,
        tuple(speaker.cite),
        reached.recommendation if settled else None,
        speaker.because_patient,
        speaker.asks,
    )


def _questions(traces: tuple[Trace, ...]) -> tuple[Missing, ...]:
    found: dict[Missing, None] = {}
    for trace in traces:
        found.update(dict.fromkeys(trace.open_questions()))
    return tuple(found)


def _given(item: CompiledItem, view: View) -> tuple[tuple[str, ...], tuple[Trace, ...]]:
    """The primaries that a graft or add-on is judged given: "supported if the fusion is"."""
    if item.item.given is None:
        return (), ()
    members = [p.order for o in view.operations for p in o.members if p.order.ref != view.order.ref]
    found = [(o, how) for o in members if (how := view.facts.matches(o, item.item.given))]
    evidence = tuple(dict.fromkeys(Evidence(o.ref, "judged given this order", how) for o, how in found))
    trace = Trace("given", "given", MET if evidence else NOT_MET, "Judged given its primary procedure", few(evidence))
    return tuple(dict.fromkeys(o.ref for o, _ in found)), (trace,)
