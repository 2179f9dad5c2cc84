"""Determinations into CDS Hooks cards: one per flagged finding, one for what is missing, one for coding questions."""

from __future__ import annotations

from cds_service.determination.decision import Decision, Flagged, Option, OrderDecision
from cds_service.policy.trace import Trace
from cds_service.render import actions, notices, wording
from cds_service.render.about import OrderNames, told
from cds_service.render.covered import OPTIONS, covered_lines, covered_orders, supporter
from cds_service.render.markdown import lower_first
from cds_service.render.parts import (
    DISCLAIMER,
    Context,
    Covered,
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

MOST_EVIDENCE = 12  # lines of evidence on a card


def render(decision: Decision, context: Context) -> list[RenderedCard]:
    """All cards of what was looked at, most urgent first, each with the orders it is about."""
    cards = drawn(decision, context)
    names = OrderNames(decision, context.policies) if cards else None
    return [told(card, names) for card in cards] if names else cards


def drawn(decision: Decision, context: Context) -> list[RenderedCard]:
    """The cards of `render` before each is `told`: CRD makes others of them."""
    cards = [notices.safety(r, decision.refs, context) for r in notices.distinct(decision, "safety")]
    covered = covered_orders(decision, context) if decision.flagged else ()
    groups = [(decision.of(group.orders[0]), group) for group in decision.flagged]
    for flag in ("warning", "info"):
        cards += [_flagged(d, g, covered, decision, context) for d, g in groups if d.flag == flag]
    cards += notices.missing_information(decision, context)
    cards += notices.coding(decision, context)
    return cards


def _flagged(
    decided: OrderDecision, group: Flagged, covered: tuple[Covered, ...], decision: Decision, context: Context
) -> RenderedCard:
    policies, said, operation = context.policies, governing(decided), decided.operation
    spoken, label, code = policies.spoken(said), policies.item(said).label, code_of(decided, policies)
    kind = "not-supported" if decided.covered_by_policy else said.recommendation or "none"
    ordered = group.ordered[0] if group.ordered else None
    values = {
        "name": named(label, code),
        "label": label,
        "code": code,
        "operation": "case" if operation.own else operation.phrase,
        "ordered": named(ordered.label, ordered.code.code) if ordered else "",
    }
    templates = wording.summary_templates(policies.words(said), kind)
    detail = _detail(decided, group, covered, decision, context)
    card = card_of(
        context,
        wording.first_fitting(templates, **values),
        detail,
        decided.flag or "info",
        source_of(spoken, "therapy-alternatives-opt" if group.offered or group.ordered else "guideline"),
    )
    suggestions = _suggestions(group, code, label, context)
    if suggestions:
        card["suggestions"] = suggestions
        card["selectionBehavior"] = "at-most-one"
    card["overrideReasons"] = override_reasons()
    card["links"] = [{"label": "Why, criterion by criterion", "url": context.link(card["uuid"]), "type": "absolute"}]
    return RenderedCard(
        card,
        kind,
        finding_key(context.patient_ref, said.policy or "", said.item or "", said.rule or "", *sorted(group.orders)),
        group.orders,
        decided,
        group,
        policy=said.policy,
        version=said.version,
        rule=said.rule,
        covered=covered,
        names=values,
    )


def _detail(
    decided: OrderDecision, group: Flagged, covered: tuple[Covered, ...], decision: Decision, context: Context
) -> str:
    said = governing(decided)
    lines = [f"**Why:** {said.because}"]
    if len(group.orders) > 1:
        lines.append(f"Ordered {len(group.orders)} times; this is one finding.")
    lines += covered_lines(covered)
    if group.offered:
        lines += ["", f"**{OPTIONS[supporter(decided, context)]}**"]
        lines += [f"- {option_text(o)}" for o in group.offered]
    evidence = evidence_lines(said.trace, decision) if said.trace else []
    if evidence:
        lines += ["", "**Evidence**", *evidence]
    lines += ["", policy_line(context.policies.spoken(said)), "", DISCLAIMER]
    return "\n".join(lines)


def option_text(option: Option) -> str:
    """An option as a card names it."""
    return named(option.label[:1].upper() + option.label[1:], option.code.code)


def evidence_lines(trace: Trace, decision: Decision) -> list[str]:
    """The facts that the outcome rests on: code, the chart's own words (escaped), reference."""
    facts = dict.fromkeys([fact for node in trace.walk() for fact in node.evidence])
    words, refs = decision.words, decision.refs
    return list(dict.fromkeys([evidence_line(f, words.get(f.ref), refs) for f in facts]))[:MOST_EVIDENCE]


def _suggestions(group: Flagged, code: str, label: str, context: Context) -> list[Json]:
    if not (group.removable and context.changeable):
        return []
    name = named(lower_first(label), code)
    deletes = [actions.delete(ref, f"Remove {name}") for ref in group.orders]
    found = [
        {"label": f"Remove {name}", "uuid": context.new_id(), "isRecommended": True, "actions": deletes},
    ]
    original = context.drafts.get(group.orders[0], {})
    for option in group.offered if actions.replaceable(original) else ():
        text = named(option.label, option.code.code)
        resource = actions.draft_in_place_of(
            original,
            option.code,
            context.uri_of(option.code),
            option.label[:1].upper() + option.label[1:],
            context.new_id(),
            context.patient_ref,
        )
        found.append(
            {
                "label": f"Replace by {text}",
                "uuid": context.new_id(),
                "actions": [*deletes, actions.create(resource, f"Order {text}")],
            }
        )
    return found
