"""From a case to a decision: the one place where policies are asked. All else is made of what it returns."""

from __future__ import annotations

from cds_service.determination.decider import Decider
from cds_service.determination.decision import Decision, Flagged, KnownOrder, OrderDecision
from cds_service.determination.not_looked_at import not_looked_at
from cds_service.determination.options import flagged_groups
from cds_service.determination.terms import Terms
from cds_service.policy.case import Case
from cds_service.policy.rulebook import Rulebook


def decide(case: Case, rulebook: Rulebook, terms: Terms) -> Decision:
    """Decide every judged order of a case, in the order of the request."""
    decider, selections = Decider(case, rulebook, terms), terms.selections
    judged = [o for o in case.orders if o.draft and (selections is None or o.ref in selections)]
    orders = tuple([decider.result(o) for o in judged])
    flagged = flagged_groups(decider, orders)
    known = tuple([KnownOrder(o.ref, o.codes, o.occurrence) for o in case.orders])
    unseen = not_looked_at(case, [decider.order(d.order.ref) for d in orders], terms)
    words = _words(case, orders, flagged)
    return Decision(orders, flagged, known, unseen, dict(case.sources), case.faults, words, case.received)


def _words(case: Case, orders: tuple[OrderDecision, ...], flagged: tuple[Flagged, ...]) -> dict[str, str]:
    """The chart's own words for the conditions that flagged orders rest on."""
    said = {c.ref: c.text for c in case.conditions if c.text} if flagged else {}
    first = {group.orders[0] for group in flagged}
    traces = [d.governing.trace for d in orders if d.order.ref in first and d.governing and d.governing.trace]
    used = {fact.ref for trace in traces for node in trace.walk() for fact in node.evidence}
    return {ref: text for ref, text in said.items() if ref in used}
