"""Cards beside the flagged orders: safety notices, coding questions, what is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from cds_service.determination.decision import Decision, Finding, OrderDecision, strongest
from cds_service.render import wording
from cds_service.render.covered import covered_orders
from cds_service.render.markdown import escape, joined, lower_first
from cds_service.render.parts import (
    DISCLAIMER,
    Context,
    Json,
    RenderedCard,
    card_of,
    code_of,
    evidence_line,
    finding_key,
    governing,
    named,
    override_reasons,
    policy_line,
    source_of,
)
from cds_service.render.still_open import open_line


class Remark(NamedTuple):
    """One finding, and all the orders that it is about: twins, of which the same is said."""

    finding: Finding
    orders: tuple[str, ...]


def distinct(decision: Decision, kind: str) -> list[Remark]:
    """Remarks of a kind; of twins, what is the same is said once and of all of them."""
    found: dict[tuple[str, str, str], list[Finding]] = {}
    for decided in decision.orders:
        if kind == "coding" and decided.authorization is not None:
            continue  # an authorised order is never questioned
        for finding in decided.findings:
            if finding.kind == kind:
                found.setdefault((finding.key, finding.rule, finding.text), []).append(finding)
    return [Remark(same[0], _about(same, decision)) for same in found.values()]


def _about(found: list[Finding], decision: Decision) -> tuple[str, ...]:
    """The orders that some findings are about, with those that they count as the same order, in the request's order."""
    evidence = {e.ref for f in found for t in f.trace.walk() for e in t.evidence}
    refs = {f.order for f in found}
    codes = {frozenset(o.codes) for o in decision.known if o.ref in refs and o.codes}
    alike = (o.ref for o in decision.known if o.ref in refs or (o.ref in evidence and frozenset(o.codes) in codes))
    return tuple(alike)


def safety(remark: Remark, orders: Collection[str], context: Context) -> RenderedCard:
    """A critical card for one safety finding."""
    finding, text = remark.finding, remark.finding.text
    summary = text if len(text) < wording.SUMMARY_LIMIT else "Safety notice for an order: see detail"
    evidence = [evidence_line(e, None, orders) for t in finding.trace.walk() for e in t.evidence]
    spoken = context.policies.spoken(finding)
    lead = "**Safety notice**" if summary == text else f"**Safety:** {text}"  # nobody reads the same line twice
    told = [lead, "", "**Evidence**", *dict.fromkeys(evidence)]
    detail = "\n".join([*told, "", policy_line(spoken), "", DISCLAIMER])
    card = card_of(context, summary, detail, "critical", source_of(spoken, "contraindication"))
    card["overrideReasons"] = override_reasons()
    return _finding_card(card, "safety", (remark,), context)


def coding(decision: Decision, context: Context) -> list[RenderedCard]:
    """One info card for all questions about coding; none where there is no question."""
    remarks = distinct(decision, "coding")
    if not remarks:
        return []
    found = [r.finding for r in remarks]
    summary = found[0].text if len(found) == 1 else f"{len(found)} questions about the coding of these orders"
    if len(summary) >= wording.SUMMARY_LIMIT:
        summary = "A question about the coding of an order"
    lines = [] if summary == found[0].text else [f"- {f.text}" for f in found]
    detail = "\n".join([_IF_RIGHT, *lines, "", DISCLAIMER])
    card = card_of(context, summary, detail, "info", source_of(context.policies.spoken(found[0]), "guideline"))
    return [_finding_card(card, "coding", tuple(remarks), context)]


_IF_RIGHT = "**Please check.** Nothing needs to be done if the orders are right as they are."


def _finding_card(card: Json, kind: str, remarks: tuple[Remark, ...], context: Context) -> RenderedCard:
    found = tuple([r.finding for r in remarks])
    first = found[0]
    return RenderedCard(
        card,
        kind,
        finding_key(context.patient_ref, kind, *sorted(f"{f.rule}|{f.order}" for f in found)),
        tuple(dict.fromkeys(ref for r in remarks for ref in r.orders)),
        findings=found,
        policy=first.policy,
        version=first.version,
        rule=first.rule if len(found) == 1 else None,
    )


def missing_information(decision: Decision, context: Context) -> list[RenderedCard]:
    """One info card for all orders whose outcome waits for information."""
    waiting = tuple([d for d in decision.orders if d.waits])
    if not waiting:
        return []
    names, policies = [], context.policies
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}  # label and questions, with the codes they are for
    for decided in waiting:
        said = governing(decided)
        label, code = policies.item(said).label, code_of(decided, policies)
        names.append(named(label, code))
        open_ = [f"- {open_line(m, escape(m.state))}" for m in said.missing]
        asked = (*_undecided(decided, decision, context), *open_, policy_line(policies.spoken(said)))
        alike.setdefault((label, asked), []).append(code)
    lines: list[str] = []
    for (label, asked), codes in alike.items():
        lines += [f"**{named(label, ', '.join(dict.fromkeys(filter(None, codes))))}**", *asked, ""]
    first = governing(waiting[0])
    summary = f"More information is needed for {joined(list(dict.fromkeys(map(lower_first, names))))}"
    if len(summary) >= wording.SUMMARY_LIMIT:
        summary = f"More information is needed for {len(names)} orders"
    detail = "\n".join([*lines, DISCLAIMER])
    card = card_of(context, summary, detail, "info", source_of(policies.spoken(first), "guideline"))
    card["links"] = [{"label": "Why, criterion by criterion", "url": context.link(card["uuid"]), "type": "absolute"}]
    return [
        RenderedCard(
            card,
            "missing",
            finding_key(context.patient_ref, "missing", *sorted(d.order.ref for d in waiting)),
            tuple([d.order.ref for d in waiting]),
            waiting[0],
            policy=first.policy,
            version=first.version,
            covered=covered_orders(decision, context),
            waiting=waiting,
        )
    ]


def _undecided(decided: OrderDecision, decision: Decision, context: Context) -> Iterator[str]:
    """Coverages that did not come, or of the same rank that disagree: the order waits for which of them pays first."""
    if decided.payer_open:
        unsent = ", ".join(decision.source("coverage").unsent)
        yield f"- Which coverage pays first? The list of coverages is not whole: {escape(unsent)}."
    outcomes: dict[str, list[str]] = {}
    for d in decided.primary:
        outcomes.setdefault(context.payer_label(d.payer) if d.payer else "unknown payer", []).append(d.outcome)
    found = {payer: strongest(o) for payer, o in outcomes.items()}
    if len(set(found.values())) > 1:
        told = "; ".join(f"{escape(payer)}: {outcome.replace('-', ' ')}" for payer, outcome in sorted(found.items()))
        yield f"- Which coverage pays first? {told}."
