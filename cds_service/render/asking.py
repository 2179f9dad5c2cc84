"""The one card on what a payer will ask for: short, each point once, alternatives together, and a page to answer from.

Only where it helps: what a policy says is asked of nobody (those orders are the guideline's), nor what is open for no
other reason than that another order is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cds_service.determination.decide import Decider, OrderResult, strongest
from cds_service.policy.case import Case
from cds_service.policy.evaluate import Verdict
from cds_service.policy.logic import UNKNOWN
from cds_service.policy.trace import Missing, Trace
from cds_service.render import wording
from cds_service.render.covered import covered_orders
from cds_service.render.markdown import escape, joined, lower_first
from cds_service.render.parts import (
    DISCLAIMER,
    Context,
    RenderedCard,
    card_of,
    code_of,
    finding_key,
    named,
    policy_line,
    source_of,
)

MOST_WORDS = 40  # of all points together; a card has 120, and the page has every point
MOST_OPTIONS = 4  # of alternatives that are named


def missing_information(results: tuple[OrderResult, ...], decider: Decider, context: Context) -> list[RenderedCard]:
    """One info card for the orders whose outcome waits for facts; none where nobody is to be asked."""
    if not (context.asks and context.changeable):
        return []
    waiting = {r.order.ref: (r, v) for r in results if (v := _open_verdict(r)) is not None}
    points = {ref: list(_points(result, verdict, decider.case, context)) for ref, (result, verdict) in waiting.items()}
    asked = [(result, verdict, points[ref]) for ref, (result, verdict) in waiting.items() if points[ref]]
    if not asked:
        return []
    names = [named(v.item.item.label, code_of(r.order, decider, v.item.item.value_set)) for r, v, _ in asked]
    summary = f"More information is needed for {joined(list(dict.fromkeys(map(lower_first, names))))}"
    if len(summary) >= wording.SUMMARY_LIMIT:
        summary = f"More information is needed for {len(asked)} orders"
    first = asked[0][1]
    policies = dict.fromkeys(policy_line(v.version, context) for _, v, _ in asked)
    lines = _short(dict.fromkeys(p for _, _, of_order in asked for p in of_order))
    detail = "\n".join(["**Not in the chart**", *lines, "", *policies, "", DISCLAIMER])
    card = card_of(context, summary, detail, "info", source_of(first.version, "guideline"))
    label = "What to document, criterion by criterion"
    card["links"] = [{"label": label, "url": context.link(card["uuid"]), "type": "absolute"}]
    refs = [r.order.ref for r, _, _ in asked]
    return [
        RenderedCard(
            card,
            "missing",
            finding_key(context.patient_ref, "missing", *sorted(refs)),
            tuple(refs),
            first,
            policy=first.version.policy.id,
            version=first.version.version.version,
            covered=covered_orders(results, decider, context),
            extra={"waiting": [r for r, _, _ in asked]},
        )
    ]


def _open_verdict(result: OrderResult) -> Verdict | None:
    waits = result.covered_by_policy and result.outcome == "needs-information" and result.authorization is None
    return result.governing.verdict if waits and result.governing else None


def _points(result: OrderResult, verdict: Verdict, case: Case, context: Context) -> Iterator[str]:
    """What would settle an order, a line each; alternatives of one rule are one line."""
    yield from _undecided(result, case, context)
    told = _restated(verdict)
    for rule in verdict.decision.traces:
        for group in _groups(rule) if rule.outcome is UNKNOWN else ():
            fresh = [m for m in dict.fromkeys(group) if m in verdict.missing and m not in told]
            told |= set(fresh)
            if fresh:
                yield _any_of([_point(m, case) for m in fresh])
    yield from (_point(m, case) for m in verdict.missing if m not in told)


def _restated(verdict: Verdict) -> set[Missing]:
    """What is open because the outcome of another order is: its own points are asked with that order."""
    criteria = verdict.version.version.criteria
    found = [f for _, _, every in verdict.decision.looked for f in every]
    leaning = {f.id for f in found if (beside := criteria[f.id].companion) is not None and beside.outcome}
    return {m for f in found if f.id in leaning for m in f.missing}


def _groups(trace: Trace) -> Iterator[list[Missing]]:
    """What is missing below a node: alternatives together, all else by itself."""
    if trace.outcome is not UNKNOWN:
        return
    if trace.op == "any":
        yield [m for node in trace.walk() if node.outcome is UNKNOWN for m in node.missing]
        return
    yield from ([m] for m in trace.missing)
    for child in trace.children:
        yield from _groups(child)


def _any_of(points: list[str]) -> str:
    if len(points) == 1:
        return points[0]
    kept = [lower_first(p.rstrip(".?")) for p in points[:MOST_OPTIONS]]
    more = len(points) - len(kept)
    return f"Any of: {'; '.join(kept)}{f'; {more} more' if more else ''}"


def _point(missing: Missing, case: Case) -> str:
    """The question or the statement that is open, and what was found where that names an entry or a failure."""
    source = missing.source
    unread = "/" in missing.state or (source not in ("answers", "orders") and case.source(source).failed)
    return f"{missing.text.rstrip('.')}{f' ({escape(missing.state)})' if unread else ''}"


def _short(points: Iterable[str]) -> list[str]:
    """As many lines as a reader takes in; the page behind the card has the rest."""
    lines: list[str] = []
    every, words = list(points), 0
    for point in every:
        words += len(point.split())
        if lines and words > MOST_WORDS:
            return [*lines, f"- {len(every) - len(lines)} more on the page below"]
        lines.append(f"- {point}")
    return lines


def _undecided(result: OrderResult, case: Case, context: Context) -> Iterator[str]:
    """Coverages that did not come, or of the same rank that disagree: the order waits for which of them pays first."""
    if result.payer_open:
        unsent = ", ".join(case.source("coverage").unsent)
        yield f"Which coverage pays first? The list of coverages is not whole: {escape(unsent)}"
    outcomes: dict[str, list[str]] = {}
    for d in result.primary:
        outcomes.setdefault(context.payer_label(d.payer) if d.payer else "unknown payer", []).append(d.outcome)
    found = {payer: strongest(o) for payer, o in outcomes.items()}
    if len(set(found.values())) > 1:
        told = "; ".join(f"{escape(payer)}: {outcome.replace('-', ' ')}" for payer, outcome in sorted(found.items()))
        yield f"Which coverage pays first? {told}"
