"""Determinations into CDS Hooks cards: one per flagged finding, one for what is missing, one for coding questions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cds_service.determination.decide import Decider, Finding, OrderResult, strongest
from cds_service.determination.options import Flagged, Option, flagged_groups
from cds_service.policy.case import Case, Code, Order
from cds_service.policy.compile import CompiledVersion
from cds_service.policy.evaluate import Verdict
from cds_service.policy.operation import Operation
from cds_service.policy.trace import Missing
from cds_service.render import actions, wording
from cds_service.render.markdown import escape, joined, lower_first

Json = dict[str, Any]
DISCLAIMER = "Decision support, not a coverage decision."
REASON_SYSTEM = "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"
OVERRIDE_REASONS = (
    ("patient-ineligible", "Patient does not meet eligibility for recommended action"),
    ("patient-contraindication", "Patient has contraindication to recommended action"),
    ("does-not-align-latest-evidence", "Recommended action does not align with the latest evidence"),
    ("risk-benefit-ratio", "Recipient assessment of risk/benefit ratio"),
    (
        "need-more-info",
        "Could not address recommended action due to need for more information/pending results/pending consult",
    ),
    ("prefers-alternative", "Patient prefers an alternative approach or treatment"),
)  # fmt: skip - codes and displays of HL7's non-adherence reason codes
TOPIC_SYSTEM = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"


@dataclass(frozen=True)
class Context:
    """What rendering needs beside the determinations."""

    patient_ref: str
    drafts: Mapping[str, Json]
    uri_of: Callable[[Code], str]
    new_id: Callable[[], str]
    link: Callable[[str], str]
    shown: Callable[[CompiledVersion], str] = lambda _version: ""
    payer_label: Callable[[str], str] = str
    changeable: bool = True  # False: the orders are not drafts of this event, so nothing may be suggested


@dataclass(frozen=True)
class RenderedCard:
    """A card with what the ledger and the explanation need to know of it."""

    card: Json
    kind: str
    finding: str
    orders: tuple[str, ...]
    verdict: Verdict | None = None
    flagged: Flagged | None = None
    findings: tuple[Finding, ...] = ()
    policy: str | None = None
    version: str | None = None
    rule: str | None = None
    extra: Json = field(default_factory=dict)


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


def named(label: str, code: str) -> str:
    """A procedure by the policy's label and code."""
    return f"{label} ({code})" if code else label


def code_of(order: Order, decider: Decider, value_set: str) -> str:
    """The order's code that the policy governs; empty when its own text, not a code, was matched."""
    hit = decider.rulebook.vocabulary.sets[value_set].first(order.codes)
    code = hit[0] if hit else next(iter(order.codes), None)
    return escape(code.code) if code else ""


def render(decider: Decider, results: tuple[OrderResult, ...], context: Context) -> list[RenderedCard]:
    """All cards of an answer, most urgent first."""
    cards = [_safety(f, context) for f in _distinct(results, "safety")]
    groups = list(flagged_groups(decider, results))
    cards += [_flagged(g, decider, results, context) for g in groups if g.result.flag == "warning"]
    cards += [_flagged(g, decider, results, context) for g in groups if g.result.flag == "info"]
    cards += _missing(results, decider, context)
    cards += _coding(results, context)
    cards += _unreadable(decider.case, context)
    return cards


def finding_key(*parts: str) -> str:
    """A stable key of a finding: the same when a card re-fires, with no identifier in clear."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def _card(context: Context, summary: str, detail: str, indicator: str, source: Json) -> Json:
    return {
        "uuid": context.new_id(),
        "summary": summary,
        "detail": detail,
        "indicator": indicator,
        "source": source,
    }


def source_of(version: CompiledVersion, topic: str) -> Json:
    """Label, URL and topic of the policy behind a card."""
    policy = version.policy
    urls = (s.url for s in version.version.sources.values() if s.url)
    url = policy.url or next(urls, None)
    label = f"{policy.short_title} ({policy.notice})"
    source: Json = {"label": label, "topic": {"system": TOPIC_SYSTEM, "code": topic, "display": policy.topic}}
    if url:
        source["url"] = url
    return source


# --- flagged orders ---------------------------------------------------------------------------------


def _flagged(group: Flagged, decider: Decider, results: tuple[OrderResult, ...], context: Context) -> RenderedCard:
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
    detail = _detail(group, verdict, decider, results, context)
    card = _card(
        context,
        wording.first_fitting(templates, values),
        detail,
        result.flag or "info",
        source_of(verdict.version, "therapy-alternatives-opt" if group.offered or group.ordered else "guideline"),
    )
    suggestions = _suggestions(group, code, label, context)
    if suggestions:
        card["suggestions"] = suggestions
        card["selectionBehavior"] = "at-most-one"
    card["overrideReasons"] = [{"code": c, "system": REASON_SYSTEM, "display": d} for c, d in OVERRIDE_REASONS]
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
        extra=values,
    )


def _detail(
    group: Flagged, verdict: Verdict, decider: Decider, results: tuple[OrderResult, ...], context: Context
) -> str:
    lines = [f"**Why:** {verdict.because}"]
    if len(group.twins) > 1:
        lines.append(f"Ordered {len(group.twins)} times; this is one finding.")
    covered = covered_lines(results, decider)
    if covered:
        lines += ["", "**Already covered**", *(f"- {line}" for line in covered)]
    if group.offered:
        # Without a coverage policy nothing may be called covered.
        lines += ["", "**Covered options**" if group.result.covered_by_policy else "**Options the guideline supports**"]
        lines += [f"- {option_text(o)}" for o in group.offered]
    evidence = evidence_lines(verdict, decider)
    if evidence:
        lines += ["", "**Evidence**", *(f"- {line}" for line in evidence)]
    lines += ["", policy_line(verdict, context), "", DISCLAIMER]
    return "\n".join(lines)


def option_text(option: Option) -> str:
    """An option as a card names it."""
    return named(option.alternative.label[:1].upper() + option.alternative.label[1:], option.code.code)


def covered_lines(results: Iterable[OrderResult], decider: Decider, *, numbers: bool = True) -> list[str]:
    """Orders that are already covered, and by what: an authorisation (with its number), or the policy on this case."""
    lines = []
    for result in results:
        code = next((c for c in result.order.codes if decider.rulebook.vocabulary.label(c)), None)
        if code is None:
            continue
        name = named(decider.rulebook.vocabulary.label(code), code.code)
        if result.authorization is not None:
            known = result.authorization.number if numbers else None
            number = f" ({escape(known)})" if known else ""
            lines.append(f"{name}: authorised{number}{_against_the_policy(result)}")
        elif result.covered_by_policy and result.outcome == "supported":
            given = result.governing.verdict.given if result.governing and result.governing.verdict else ()
            lines.append(f"{name}: supported{', given the primary procedure' if given else ''}")
    return lines


def _against_the_policy(result: OrderResult) -> str:
    """A note where the policy, as encoded here, differs from an authorisation, which stands."""
    verdict = result.governing.verdict if result.governing else None
    if verdict is None or not result.covered_by_policy or result.outcome != "not-supported":
        return ""
    policy = verdict.version.policy.short_title
    return f", though {policy} as encoded here does not support it; the authorisation stands"


def evidence_lines(verdict: Verdict, decider: Decider) -> list[str]:
    """The facts that the outcome rests on: code, the chart's own words (escaped), reference."""
    texts = {c.ref: c.text for c in decider.case.conditions if c.text}
    found: dict[str, None] = {}
    for trace in verdict.trace.walk():
        if trace.op in ("rules", "rule", "all", "any", "not", "at_least"):
            continue
        for item in trace.evidence:
            words = f" {escape(texts[item.ref])}" if item.ref in texts else ""
            code = f" {escape(item.code)}" if item.code else ""
            found[f"{escape(item.text)}{':' if code or words else ''}{code}{words} ({escape(item.ref)})"] = None
    return list(found)[:12]


def policy_line(verdict: Verdict, context: Context) -> str:
    """Policy, version and review status, in one line."""
    version = verdict.version
    note = context.shown(version)
    return (
        f"Policy: {version.policy.short_title}, version {version.version.version} "
        f"({version.policy.notice}{f'; {note}' if note else ''})."
    )


def _suggestions(group: Flagged, code: str, label: str, context: Context) -> list[Json]:
    if not (group.removable and context.changeable):
        return []
    name = named(lower_first(label), code)
    deletes = [actions.delete(o.ref, f"Remove {name}") for o in group.twins]
    found = [
        {"label": f"Remove {name}", "uuid": context.new_id(), "isRecommended": True, "actions": deletes},
    ]
    original = context.drafts.get(group.twins[0].ref, {})
    for option in group.offered:
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


# --- findings and gaps ------------------------------------------------------------------------------


def _distinct(results: Iterable[OrderResult], kind: str) -> list[Finding]:
    """Findings of a kind; twins that say the same of the same code count once."""
    found: dict[tuple[str, str, str], Finding] = {}
    for result in results:
        if kind == "coding" and result.authorization is not None:
            continue  # an authorised order is never questioned
        for finding in result.findings:
            if finding.kind == kind:
                found.setdefault((finding.version.key, finding.rule, finding.text), finding)
    return list(found.values())


def _safety(finding: Finding, context: Context) -> RenderedCard:
    text = finding.text
    summary = text if len(text) < wording.SUMMARY_LIMIT else "Safety notice for an order: see detail"
    verdict_line = f"Policy: {finding.version.policy.short_title}, version {finding.version.version.version}."
    evidence = [
        f"- {escape(e.text)}: {escape(e.code)} ({escape(e.ref)})" for t in finding.trace.walk() for e in t.evidence
    ]
    detail = "\n".join(
        [f"**Safety:** {text}", "", "**Evidence**", *dict.fromkeys(evidence), "", verdict_line, "", DISCLAIMER]
    )
    card = _card(context, summary, detail, "critical", source_of(finding.version, "contraindication"))
    card["overrideReasons"] = [{"code": c, "system": REASON_SYSTEM, "display": d} for c, d in OVERRIDE_REASONS]
    return _finding_card(card, "safety", (finding,), context)


def _coding(results: tuple[OrderResult, ...], context: Context) -> list[RenderedCard]:
    found = _distinct(results, "coding")
    if not found:
        return []
    summary = found[0].text if len(found) == 1 else f"{len(found)} questions about the coding of these orders"
    if len(summary) >= wording.SUMMARY_LIMIT:
        summary = "A question about the coding of an order"
    lines = [f"- {f.text} ({escape(f.order.ref)})" for f in found]
    detail = "\n".join(["**Please check**", *lines, "", DISCLAIMER])
    card = _card(context, summary, detail, "info", source_of(found[0].version, "guideline"))
    return [_finding_card(card, "coding", tuple(found), context)]


def _finding_card(card: Json, kind: str, found: tuple[Finding, ...], context: Context) -> RenderedCard:
    first = found[0]
    return RenderedCard(
        card,
        kind,
        finding_key(context.patient_ref, kind, *sorted(f"{f.rule}|{f.order.ref}" for f in found)),
        tuple(dict.fromkeys(f.order.ref for f in found)),
        findings=found,
        policy=first.version.policy.id,
        version=first.version.version.version,
        rule=first.rule if len(found) == 1 else None,
    )


def _missing(results: tuple[OrderResult, ...], decider: Decider, context: Context) -> list[RenderedCard]:
    """One info card for all orders whose outcome waits for information."""
    waiting = [
        r
        for r in results
        if r.covered_by_policy and r.outcome == "needs-information" and r.authorization is None and r.governing
    ]
    if not waiting:
        return []
    names = []
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}  # label and questions, with the codes they are for
    for result in waiting:
        assert result.governing is not None
        verdict = result.governing.verdict
        if verdict is None:
            continue
        label, code = verdict.item.item.label, code_of(result.order, decider, verdict.item.item.value_set)
        names.append(named(label, code))
        asked = (*_undecided(result, context), *map(_open_line, verdict.missing), policy_line(verdict, context))
        alike.setdefault((label, asked), []).append(code)
    lines: list[str] = []
    for (label, asked), codes in alike.items():
        lines += [f"**{named(label, ', '.join(dict.fromkeys(filter(None, codes))))}**", *asked, ""]
    first = waiting[0].governing
    assert first is not None
    assert first.verdict is not None
    summary = f"More information is needed for {joined(list(dict.fromkeys(map(lower_first, names))))}"
    if len(summary) >= wording.SUMMARY_LIMIT:
        summary = f"More information is needed for {len(names)} orders"
    detail = "\n".join([*lines, DISCLAIMER])
    card = _card(context, summary, detail, "info", source_of(first.verdict.version, "guideline"))
    card["links"] = [{"label": "Why, criterion by criterion", "url": context.link(card["uuid"]), "type": "absolute"}]
    return [
        RenderedCard(
            card,
            "missing",
            finding_key(context.patient_ref, "missing", *sorted(r.order.ref for r in waiting)),
            tuple(r.order.ref for r in waiting),
            first.verdict,
            policy=first.verdict.version.policy.id,
            version=first.verdict.version.version.version,
            extra={"waiting": waiting},
        )
    ]


def _open_line(missing: Missing) -> str:
    """What is missing: a question with what was found, or a statement and why it is open."""
    if missing.text.endswith("?"):
        return f"- {missing.text} {escape(missing.state).capitalize()}."
    return f"- {missing.text.rstrip('.')}: {escape(missing.state)}."


def _undecided(result: OrderResult, context: Context) -> Iterator[str]:
    """Coverages of the same rank that disagree: the order waits until it is known which of them pays first."""
    outcomes: dict[str, list[str]] = {}
    for d in result.primary:
        outcomes.setdefault(context.payer_label(d.payer) if d.payer else "unknown payer", []).append(d.outcome)
    found = {payer: strongest(o) for payer, o in outcomes.items()}
    if len(set(found.values())) > 1:
        told = "; ".join(f"{escape(payer)}: {outcome.replace('-', ' ')}" for payer, outcome in sorted(found.items()))
        yield f"- Which coverage pays first? {told}."


def _unreadable(case: Case, context: Context) -> list[RenderedCard]:
    """Orders that could not be checked at all: said, because silence would read as approval."""
    unusable = case.source("orders").unusable
    if not unusable:
        return []
    texts = {f.ref: f.text for f in case.faults if f.fatal}
    count = len(unusable)
    summary = (
        f"{count} order{'s' if count > 1 else ''} could not be read and {'were' if count > 1 else 'was'} not checked"
    )
    lines = [f"- {escape(ref)}: {escape(texts.get(ref, 'could not be read'))}" for ref in unusable]
    detail = "\n".join(["**Not checked**", *lines, "", DISCLAIMER])
    source = {"label": "CDS service"}
    card = _card(context, summary, detail, "info", source)
    return [RenderedCard(card, "unreadable", finding_key(context.patient_ref, "unreadable", *unusable), unusable)]
