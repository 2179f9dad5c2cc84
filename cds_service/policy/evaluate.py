"""Evaluates one policy version on one order: rules in sequence, with unknown kept apart from not met."""

from __future__ import annotations

from dataclasses import dataclass

from cds_service.policy.case import Order
from cds_service.policy.compile import CompiledItem, CompiledVersion
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN
from cds_service.policy.model import Otherwise, Rule
from cds_service.policy.trace import Evidence, Missing, Trace
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


class Evaluator:
    """Evaluates orders of one case; each (version, order) pair once."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._views: dict[tuple[str, str], View] = {}
        self._verdicts: dict[tuple[str, str], Verdict | None] = {}
        self._open: set[tuple[str, str]] = set()

    def view(self, version: CompiledVersion, order: Order) -> View:
        """The case as one version sees it from one order."""
        key = (version.key, order.ref)
        if key not in self._views:
            day = self.facts.case.day(order)
            self._views[key] = View(self.facts, order, day, lambda o: self._outcome(version, o), version.policy.id)
        return self._views[key]

    def _outcome(self, version: CompiledVersion, order: Order) -> str | None:
        """Outcome of a companion under the same version; None in a circle, which leaves it open."""
        if (version.key, order.ref) in self._open:
            return None
        verdict = self.verdict(version, order)
        return verdict.outcome if verdict else None

    def verdict(self, version: CompiledVersion, order: Order) -> Verdict | None:
        """The verdict of a version on an order; None when it has no item for it."""
        key = (version.key, order.ref)
        if key not in self._verdicts:
            item = version.item_for(order, self.facts.vocabulary)
            self._open.add(key)
            try:
                self._verdicts[key] = None if item is None else judge(item, self.view(version, order), version)
            finally:
                self._open.discard(key)
        return self._verdicts[key]


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
    trace = Trace("given", "given", MET if evidence else NOT_MET, "Judged given its primary procedure", evidence)
    return tuple(dict.fromkeys(o.ref for o, _ in found)), (trace,)
