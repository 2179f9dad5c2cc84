"""Determinations into CDS Hooks cards: one per flagged finding, one for what is missing, one for coding questions."""

from __future__ import annotations

from cds_service.determination.decide import Decider, OrderResult
from cds_service.determination.options import Flagged, Option
from cds_service.policy.case import Order
from cds_service.policy.evaluate import Verdict
from cds_service.policy.operation import Operation
from cds_service.policy.trace import Trace
from cds_service.render import actions, asking, notices, wording
from cds_service.render.about import OrderNames, told
from cds_service.render.covered import OPTIONS, covered_lines, covered_orders, supporter
from cds_service.render.markdown import escape, lower_first
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
    named,
    override_reasons,
    policy_line,
    source_of,
)

MOST_EVIDENCE = 12  # lines of evidence on a card


def operation_phrase(operations: tuple[Operation, ...]) -> str:
    """How a card names the operation: `cervical fusion`, `lumbar operation`; `case` where nothing is operated on."""
    if not any(o.primaries for o in operations):
        return "case"
    regions = {r for o in operations for r in o.regions}
    kind = "fusion" if all("fusion" in o.roles for o in operations) else "operation"
    return f"{regions.pop()} {kind}" if len(regions) == 1 else kind


def _is_primary(order: Order, operations: tuple[Operation, ...]) -> bool:
    """The operation is not named as the setting of itself."""
    return any(p.order.ref == order.ref for o in operations for p in o.primaries)


def render(
    decider: Decider, results: tuple[OrderResult, ...], groups: tuple[Flagged, ...], context: Context
) -> list[RenderedCard]:
    """All cards of what was looked at, most urgent first, each with the orders it is about.

    `groups` are the flagged orders with their options.
    """
    names = OrderNames(decider, results)
    return [told(card, names) for card in drawn(decider, results, groups, context)]


def drawn(
    decider: Decider, results: tuple[OrderResult, ...], groups: tuple[Flagged, ...], context: Context
) -> list[RenderedCard]:
    """The cards of `render` before each is `told`: CRD makes others of them."""
    case = decider.case
    cards = [notices.safety(r, context) for r in notices.distinct(results, "safety", case)]
    covered = covered_orders(results, decider, context) if groups else ()
    cards += [_flagged(g, decider, covered, context) for g in groups if g.result.flag == "warning"]
    cards += [_flagged(g, decider, covered, context) for g in groups if g.result.flag == "info"]
    cards += asking.missing_information(results, decider, context)
    cards += notices.coding(results, case, context)
    return cards


def _flagged(group: Flagged, decider: Decider, covered: tuple[Covered, ...], context: Context) -> RenderedCard:
    result = group.result
    assert result.governing is not None
    verdict = result.governing.verdict
    assert verdict is not None
    code = code_of(result.order, decider, verdict.item.item.value_set)
    label = verdict.item.item.label
    operations = decider.evaluator.facts.operations.of(result.order)
    kind = "not-supported" if result.covered_by_policy else verdict.recommendation or "none"
    ordered = group.ordered[0] if group.ordered else None
    values = {
        "name": named(label, code),
        "label": label,
        "code": code,
        "operation": "case" if _is_primary(result.order, operations) else operation_phrase(operations),
        "ordered": named(ordered.alternative.label, ordered.code.code) if ordered else "",
    }
    folder = decider.rulebook.folders.get(verdict.version.policy.id)
    templates = wording.summary_templates(folder, verdict.item.id, kind)
    detail = _detail(group, verdict, decider, covered, context)
    card = card_of(
        context,
        wording.first_fitting(templates, **values),
        detail,
        result.flag or "info",
        source_of(verdict.version, "therapy-alternatives-opt" if group.offered or group.ordered else "guideline"),
    )
    suggestions = _suggestions(group, code, label, context)
    if suggestions:
        card["suggestions"] = suggestions
        card["selectionBehavior"] = "at-most-one"
    card["overrideReasons"] = override_reasons()
    card["links"] = [{"label": "Why, criterion by criterion", "url": context.link(card["uuid"]), "type": "absolute"}]
    refs = tuple(o.ref for o in group.twins)
    return RenderedCard(
        card,
        kind,
        finding_key(context.patient_ref, verdict.version.policy.id, verdict.item.id, verdict.rule or "", *sorted(refs)),
        refs,
        verdict,
        group,
        policy=verdict.version.policy.id,
        version=verdict.version.version.version,
        rule=verdict.rule,
        covered=covered,
        extra=values,
    )


def _detail(group: Flagged, verdict: Verdict, decider: Decider, covered: tuple[Covered, ...], context: Context) -> str:
    lines = [f"**Why:** {verdict.because}"]
    if len(group.twins) > 1:
        lines.append(f"Ordered {len(group.twins)} times; this is one finding.")
    if group.result.gap is not None:
        lines.append(f"{group.result.gap.gap}; ask the plan.")
    lines += covered_lines(covered)
    if group.offered:
        lines += ["", f"**{OPTIONS[supporter(group.result, context)]}**"]
        lines += [f"- {option_text(o)}" for o in group.offered]
    evidence = evidence_lines(verdict.trace, decider)
    if evidence:
        lines += ["", "**Evidence**", *evidence]
    lines += ["", policy_line(verdict.version, context), "", DISCLAIMER]
    return "\n".join(lines)


def option_text(option: Option) -> str:
    """An option as a card names it."""
    return named(option.alternative.label[:1].upper() + option.alternative.label[1:], option.code.code)


def evidence_lines(trace: Trace, decider: Decider) -> list[str]:
    """The facts that the outcome rests on, each entry of the chart once; orders beside it are one line."""
    texts = {c.ref: c.text for c in decider.case.conditions if c.text}
    facts = {fact.ref: fact for node in reversed(list(trace.walk())) for fact in reversed(node.evidence)}
    ordered = [facts[o.ref] for o in decider.case.orders if o.ref in facts]
    found = [evidence_line(f, texts.get(ref)) for ref, f in reversed(facts.items()) if f not in ordered]
    beside = ", ".join(dict.fromkeys(escape(f.code.removeprefix("cpt ")) for f in ordered if f.code))
    return list(dict.fromkeys([*([f"- Ordered: {beside}"] if beside else []), *found]))[:MOST_EVIDENCE]


def _suggestions(group: Flagged, code: str, label: str, context: Context) -> list[Json]:
    if not (group.removable and context.changeable):
        return []
    name = named(lower_first(label), code)
    deletes = [actions.delete(o.ref, f"Remove {name}") for o in group.twins]
    # A guideline that makes no recommendation recommends nothing.
    strength = {"isRecommended": True} if group.result.flag == "warning" else {}
    found: list[Json] = [{"label": f"Remove {name}", "uuid": context.new_id(), **strength, "actions": deletes}]
    original = context.drafts.get(group.twins[0].ref, {})
    for option in group.offered if actions.replaceable(original) else ():
        text = named(option.alternative.label, option.code.code)
        resource = actions.draft_in_place_of(
            original,
            option.code,
            context.uri_of(option.code),
            option.alternative.label[:1].upper() + option.alternative.label[1:],
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
