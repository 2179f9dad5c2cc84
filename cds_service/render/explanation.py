"""The explanation of a determination in nine parts, filled from policy, trace and case; no patient identity in it.

The document is self-contained: it still reads the same after the policy has changed. Ages, never dates;
codes and our own labels, never free text of the chart.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from cds_service.determination.decision import Determination, OrderDecision
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN
from cds_service.policy.model import Passage
from cds_service.policy.trace import Trace
from cds_service.render.cards import option_text
from cds_service.render.covered import OPTIONS, supporter
from cds_service.render.looked_for import clinical_context
from cds_service.render.markdown import joined
from cds_service.render.parts import DISCLAIMER, Context, RenderedCard, governing, review_note
from cds_service.render.policies import Policies, Spoken
from cds_service.render.public import public_missing, public_trace
from cds_service.render.still_open import NOT_SETTLED, still_open, waiting

Json = dict[str, Any]
TITLES = (
    "Finding",
    "What the policy and the guideline say",
    "Why this case does not meet the criteria",
    "Alternatives",
    "Critical distinction",
    "Why single studies do not override the guideline",
    "Clinical context",
    "Common pitfall",
    "Recommendation, references and review status",
)
SINGLE_STUDIES = "A policy weighs all studies together; one study does not change it until its publisher reviews it."
PITFALL = "That a billing code exists does not establish medical necessity."
WHAT_IS_OPEN = "What is still open in this case"
_HEADLINES = {
    "not-supported": "The health plan's policy does not support {name} in this {operation}.",
    "missing": "The health plan's policy needs more information about {name} in this {operation}.",
    "against": "The guideline advises against {name} in this {operation}.",
    "none": "The guideline makes no recommendation for {name} in this {operation}.",
}
_CAME_OUT = {MET: "met", NOT_MET: "not met", UNKNOWN: "unknown"}
_NO_CRITERION = frozenset({"rules", "rule", "otherwise", "given", "always"})


def explain(rendered: RenderedCard, context: Context, now: datetime) -> Json:
    """The document for one card: `parts` (each with clinician and patient text), criteria, sources, review status.

    Shape: {"headline", "region", "parts": [{"title", "clinician": [str], "patient": [str]}], "criteria": trace,
    "references": [...], "policy": {...}, "disclaimer", "created"}.
    """
    decided, policies = rendered.about, context.policies
    assert decided is not None
    said = governing(decided)
    trace = said.trace
    assert trace is not None
    spoken, words = policies.spoken(said), policies.words(said)
    operation, regions = decided.operation.phrase, frozenset(decided.operation.regions)
    headline = rendered.card["summary"]
    is_open = rendered.kind == "missing"
    titles = [WHAT_IS_OPEN if is_open and n == 3 else title for n, title in enumerate(TITLES, 1)]
    outcome = {"clinician": [f"{headline}."], "patient": [_patient_headline(rendered, said, policies, operation)]}
    parts = [
        outcome,
        _said(words.rationale, regions) or _because(rendered, said),
        still_open(rendered, _criteria(trace)) if is_open else _criteria_part(rendered, said, trace),
        _alternatives(rendered, context),
        _said(words.distinction, regions) or _both(f"The finding is about this {operation}."),
        _said(words.single_studies, regions) or _both(SINGLE_STUDIES),
        clinical_context(words.context, decided),
        _said(words.pitfall, regions) or _both(PITFALL),
        (None if is_open else _said(words.recommendation, regions)) or _recommendation(rendered),
    ]
    return {
        "card": rendered.card["uuid"],
        "created": now.isoformat(timespec="seconds"),
        "headline": headline,
        "kind": rendered.kind,
        "operation": operation,
        "parts": [{"number": n, "title": t, **p} for n, (t, p) in enumerate(zip(titles, parts, strict=True), 1)],
        "criteria": public_trace(trace, policies.vocabulary),
        "missing": [public_missing(m) for m in said.missing],
        "references": policies.references(said),
        "policy": _policy(spoken, decided),
        "related": list(words.related),
        "disclaimer": DISCLAIMER,
    }


def _both(*lines: str) -> Json:
    return {"clinician": [*lines], "patient": [*lines]}


def _said(passages: Iterable[Passage], regions: frozenset[str]) -> Json | None:
    """What the policy's own passages say of an operation in these regions; None where none fits."""
    fitting = [p.text for p in passages if not p.regions or not regions.isdisjoint(p.regions)]
    if not fitting:
        return None
    return {"clinician": [t.clinician for t in fitting], "patient": [t.patient or t.clinician for t in fitting]}


def _patient_headline(rendered: RenderedCard, said: Determination, policies: Policies, operation: str) -> str:
    """Who says what: a plan's policy, or a guideline where none of the plan speaks."""
    items = [policies.item(d) for d in waiting(rendered) or [said]]
    names = dict.fromkeys(i.patient_label or i.label.lower() for i in items)
    return _HEADLINES[rendered.kind].format(name=joined(list(names)), operation=operation)


def _because(rendered: RenderedCard, said: Determination) -> Json:
    if rendered.kind == "missing":
        return NOT_SETTLED
    return {"clinician": [said.because], "patient": [said.because_patient or said.because]}


def _criteria(trace: Trace) -> list[str]:
    criteria = [t for t in trace.walk() if t.text and not t.children and t.op not in _NO_CRITERION]
    return list(dict.fromkeys(f"{t.text.rstrip('.')}: {_CAME_OUT[t.outcome]}." for t in criteria))


def _criteria_part(rendered: RenderedCard, said: Determination, trace: Trace) -> Json:
    reason = [said.because, *_criteria(trace)]
    ordered = rendered.flagged.ordered if rendered.flagged else ()
    if ordered:
        reason.append(f"Ordered already and serves instead: {joined([option_text(o) for o in ordered])}.")
    return {"clinician": reason, "patient": [said.because_patient or said.because]}


def _alternatives(rendered: RenderedCard, context: Context) -> Json:
    lines = [f"{c.heading}: {c.text}{c.note}." for c in rendered.covered]
    flagged = rendered.flagged
    if flagged is not None and rendered.about is not None:
        kind = OPTIONS[supporter(rendered.about, context)].replace("ptions", "ption", 1)
        lines += [f"{kind}: {option_text(o)}." for o in flagged.offered]
    return _both(*(lines or ["No alternative is named for this case."]))


def _recommendation(rendered: RenderedCard) -> Json:
    flagged = rendered.flagged
    if rendered.kind == "missing":
        text = "Add the information named above; the outcome follows from it."
        return {"clinician": [text], "patient": ["Talk with your care team about the information named above."]}
    offered = bool(flagged and flagged.offered)
    if flagged and flagged.removable:
        instead = ", or replace it by an option named above" if offered else ""
        text = f"Remove the order{instead}; the other orders stand as they are."
    else:
        text = f"Review the order with the {'guideline' if rendered.kind in ('against', 'none') else 'policy'} at hand."
    about = "the options named above" if offered else "this order"
    return {"clinician": [text], "patient": [f"Talk with your care team about {about}."]}


def _policy(spoken: Spoken, decided: OrderDecision) -> Json:
    policy, version = spoken
    return {
        "id": policy.id,
        "title": policy.title,
        "short_title": policy.short_title,
        "publisher": policy.publisher,
        "version": version.version,
        "notice": policy.notice,
        "review": version.review.status,
        "note": review_note(spoken),
        "last_confirmed_on": version.last_confirmed_on.isoformat(),
        "applied_as_of": str(decided.order.day.year),
    }
