"""Cards beside the flagged orders: safety notices, coding questions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cds_service.determination.decide import Finding, OrderResult
from cds_service.policy.case import Case
from cds_service.render import wording
from cds_service.render.parts import (
    DISCLAIMER,
    Context,
    Json,
    RenderedCard,
    card_of,
    evidence_line,
    finding_key,
    override_reasons,
    policy_line,
    source_of,
)


class Remark(NamedTuple):
    """One finding, and all the orders that it is about: twins, of which the same is said."""

    finding: Finding
    orders: tuple[str, ...]


def distinct(results: Iterable[OrderResult], kind: str, case: Case) -> list[Remark]:
    """Remarks of a kind; of twins, what is the same is said once and of all of them."""
    found: dict[tuple[str, str, str], list[Finding]] = {}
    for result in results:
        if kind == "coding" and result.authorization is not None:
            continue  # an authorised order is never questioned
        for finding in result.findings:
            if finding.kind == kind:
                found.setdefault((finding.version.key, finding.rule, finding.text), []).append(finding)
    return [Remark(same[0], _about(same, case)) for same in found.values()]


def _about(found: list[Finding], case: Case) -> tuple[str, ...]:
    """The orders that some findings are about, with those that they count as the same order, in the request's order."""
    evidence = {e.ref for f in found for t in f.trace.walk() for e in t.evidence}
    refs, codes = {f.order.ref for f in found}, {frozenset(f.order.codes) for f in found if f.order.codes}
    return tuple([o.ref for o in case.orders if o.ref in refs or (o.ref in evidence and frozenset(o.codes) in codes)])


def safety(remark: Remark, context: Context) -> RenderedCard:
    """A critical card for one safety finding."""
    finding, text = remark.finding, remark.finding.text
    summary = text if len(text) < wording.SUMMARY_LIMIT else "Safety notice for an order: see detail"
    evidence = [evidence_line(e, None) for t in finding.trace.walk() for e in t.evidence]
    policy = policy_line(finding.version, context)
    lead = "**Safety notice**" if summary == text else f"**Safety:** {text}"  # nobody reads the same line twice
    detail = "\n".join([lead, "", "**Evidence**", *dict.fromkeys(evidence), "", policy, "", DISCLAIMER])
    card = card_of(context, summary, detail, "critical", source_of(finding.version, "contraindication"))
    card["overrideReasons"] = override_reasons()
    return _finding_card(card, "safety", (remark,), context)


def coding(results: tuple[OrderResult, ...], case: Case, context: Context) -> list[RenderedCard]:
    """One info card for all questions about coding; none where there is no question."""
    remarks = distinct(results, "coding", case)
    if not remarks:
        return []
    found = [r.finding for r in remarks]
    summary = found[0].text if len(found) == 1 else f"{len(found)} questions about the coding of these orders"
    if len(summary) >= wording.SUMMARY_LIMIT:
        summary = "A question about the coding of an order"
    lines = [] if summary == found[0].text else [f"- {f.text}" for f in found]
    detail = "\n".join([_IF_RIGHT, *lines, "", DISCLAIMER])
    card = card_of(context, summary, detail, "info", source_of(found[0].version, "guideline"))
    return [_finding_card(card, "coding", tuple(remarks), context)]


_IF_RIGHT = "**Please check.** Nothing needs to be done if the orders are right as they are."


def _finding_card(card: Json, kind: str, remarks: tuple[Remark, ...], context: Context) -> RenderedCard:
    found = tuple([r.finding for r in remarks])
    first = found[0]
    return RenderedCard(
        card,
        kind,
        finding_key(context.patient_ref, kind, *sorted(f"{f.rule}|{f.order.ref}" for f in found)),
        tuple(dict.fromkeys(ref for r in remarks for ref in r.orders)),
        findings=found,
        policy=first.version.policy.id,
        version=first.version.version.version,
        rule=first.rule if len(found) == 1 else None,
    )
