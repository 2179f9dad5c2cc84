"""Cards beside the flagged orders: safety notices, coding questions, what is missing, orders that were not checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cds_service.determination.decision import Decision, Finding, OrderDecision, strongest
from cds_service.policy.case import UNAVAILABLE
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
    finding_key,
    governing,
    named,
    override_reasons,
    policy_line,
    source_of,
)
from cds_service.render.still_open import open_line


def distinct(orders: Iterable[OrderDecision], kind: str) -> list[Finding]:
    """Findings of a kind; twins that say the same of the same code count once."""
    found: dict[tuple[str, str, str], Finding] = {}
    for decided in orders:
        if kind == "coding" and decided.authorization is not None:
            continue  # an authorised order is never questioned
        for finding in decided.findings:
            if finding.kind == kind:
                found.setdefault((finding.key, finding.rule, finding.text), finding)
    return list(found.values())


def safety(finding: Finding, context: Context) -> RenderedCard:
    """A critical card for one safety finding."""
    text = finding.text
    summary = text if len(text) < wording.SUMMARY_LIMIT else "Safety notice for an order: see detail"
    evidence = [
        f"- {escape(e.text)}: {escape(e.code)} ({escape(e.ref)})" for t in finding.trace.walk() for e in t.evidence
    ]
    spoken = context.policies.spoken(finding)
    policy = policy_line(spoken)
    detail = "\n".join(
        [f"**Safety:** {text}", "", "**Evidence**", *dict.fromkeys(evidence), "", policy, "", DISCLAIMER]
    )
    card = card_of(context, summary, detail, "critical", source_of(spoken, "contraindication"))
    card["overrideReasons"] = override_reasons()
    return _finding_card(card, "safety", (finding,), context)


def coding(orders: tuple[OrderDecision, ...], context: Context) -> list[RenderedCard]:
    """One info card for all questions about coding; none where there is no question."""
    found = distinct(orders, "coding")
    if not found:
        return []
    summary = found[0].text if len(found) == 1 else f"{len(found)} questions about the coding of these orders"
    if len(summary) >= wording.SUMMARY_LIMIT:
        summary = "A question about the coding of an order"
    lines = [f"- {f.text} ({escape(f.order)})" for f in found]
    detail = "\n".join(["**Please check**", *lines, "", DISCLAIMER])
    card = card_of(context, summary, detail, "info", source_of(context.policies.spoken(found[0]), "guideline"))
    return [_finding_card(card, "coding", tuple(found), context)]


def _finding_card(card: Json, kind: str, found: tuple[Finding, ...], context: Context) -> RenderedCard:
    first = found[0]
    return RenderedCard(
        card,
        kind,
        finding_key(context.patient_ref, kind, *sorted(f"{f.rule}|{f.order}" for f in found)),
        tuple(dict.fromkeys(f.order for f in found)),
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


def not_checked(count: int, *, read: bool = False) -> str:
    """How a card says that orders were not checked; `read`: not for want of reading them."""
    was = "were" if count > 1 else "was"
    return f"{count} order{'s' if count > 1 else ''} {was if read else f'could not be read and {was}'} not checked"


def unreadable(decision: Decision, context: Context) -> list[RenderedCard]:
    """Orders that could not be checked at all: said, because silence would read as approval."""
    source_of_orders = decision.source("orders")
    foreign = source_of_orders.foreign
    unusable = (*source_of_orders.unusable, *foreign)
    if not unusable:
        return []
    texts = {f.ref: f.text for f in decision.faults if f.fatal}
    lines = [f"- {escape(ref)}: {escape(texts.get(ref, 'could not be read'))}" for ref in unusable]
    detail = "\n".join(["**Not checked**", *lines, "", DISCLAIMER])
    source = {"label": "CDS service"}
    card = card_of(context, not_checked(len(unusable), read=bool(foreign)), detail, "info", source)
    return [RenderedCard(card, "unreadable", finding_key(context.patient_ref, "unreadable", *unusable), unusable)]


def coverage_unread(decision: Decision, context: Context) -> list[RenderedCard]:
    """Said where a Coverage could not be read: that no payer's policy was checked. Not where none was sent."""
    source = decision.source("coverage")
    if decision.coverages or source.complete or source == UNAVAILABLE:
        return []
    why = ", ".join(source.unusable) or source.detail
    detail = "\n".join(["**Not checked**", f"- The policies of the payer: {escape(why)}", "", DISCLAIMER])
    summary = "The coverage could not be read: no policy of the payer was checked"
    card = card_of(context, summary, detail, "info", {"label": "CDS service"})
    return [RenderedCard(card, "unreadable", finding_key(context.patient_ref, "coverage-unread"), ())]


def plan_unclear(decision: Decision, context: Context) -> list[RenderedCard]:
    """Said where the payor of a coverage that decides is known, and not which of its plans: nobody's policy is guessed.

    Where the payor is not known, nothing is said: then no policy here would be about the coverage.
    """
    if not decision.unclear:
        return []
    lines = [f"- The policies of the payer of {escape(ref)}: {escape(why)}" for ref, why in decision.unclear]
    refs = [ref for ref, _ in decision.unclear]
    detail = "\n".join(["**Not checked**", *lines, "", DISCLAIMER])
    summary = "The plan of the coverage is not clear: no policy of its payer was checked"
    card = card_of(context, summary, detail, "info", {"label": "CDS service"})
    return [RenderedCard(card, "unreadable", finding_key(context.patient_ref, "plan-unclear", *refs), ())]
