"""The explanation of a determination in nine parts, filled from policy, trace and case; no patient identity in it.

The document is self-contained: it still reads the same after the policy has changed. Ages, never dates;
codes and our own labels, never free text of the chart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from cds_service.determination.decide import Decider
from cds_service.policy import dates
from cds_service.policy.compile import CompiledVersion
from cds_service.policy.evaluate import Verdict
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN
from cds_service.policy.model import ItemWording, Looked, Passage
from cds_service.policy.trace import Trace
from cds_service.render.cards import operation_phrase, option_text
from cds_service.render.parts import DISCLAIMER, Context, RenderedCard

Json = dict[str, Any]
_LEGAL = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9.\-]{1,64}")
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
_FOUND = {MET: "found", NOT_MET: "absent", UNKNOWN: "not documented"}
_CAME_OUT = {MET: "met", NOT_MET: "not met", UNKNOWN: "unknown"}
_NO_CRITERION = frozenset({"rules", "rule", "otherwise", "given", "always"})


def explain(rendered: RenderedCard, decider: Decider, context: Context, now: datetime) -> Json:
    """The document for one card: `parts` (each with clinician and patient text), criteria, sources, review status.

    Shape: {"headline", "region", "parts": [{"title", "clinician": [str], "patient": [str]}], "criteria": trace,
    "references": [...], "policy": {...}, "disclaimer", "created"}.
    """
    verdict = rendered.verdict
    assert verdict is not None
    trace = verdict.trace
    folder = decider.rulebook.folders.get(verdict.version.policy.id)
    words = (folder.card.orders.get(verdict.item.id) if folder else None) or ItemWording()
    operations = decider.evaluator.facts.operations.of(verdict.order)
    operation = operation_phrase(operations)
    regions = {r for o in operations for r in o.regions}
    headline = rendered.card["summary"]
    outcome = {"clinician": [f"{headline}."], "patient": [_patient_headline(verdict, operation)]}
    parts = [
        outcome,
        _said(words.rationale, regions) or _because(verdict),
        _criteria_part(rendered, verdict, trace),
        _alternatives(rendered),
        _said(words.distinction, regions) or _both(f"The finding is about this {operation}."),
        _said(words.single_studies, regions) or _both(SINGLE_STUDIES),
        _context(words.context, verdict, decider),
        _said(words.pitfall, regions) or _both(PITFALL),
        _said(words.recommendation, regions) or _recommendation(rendered),
    ]
    return {
        "card": rendered.card["uuid"],
        "created": now.isoformat(timespec="seconds"),
        "headline": headline,
        "kind": rendered.kind,
        "operation": operation,
        "parts": [{"number": n, "title": t, **p} for n, (t, p) in enumerate(zip(TITLES, parts, strict=True), 1)],
        "criteria": _public(trace),
        "missing": [{"text": m.text, "source": m.source, "state": m.state} for m in verdict.missing],
        "references": list(verdict.version.references),
        "policy": _policy(verdict.version, context, decider.case.day(verdict.order)),
        "related": list(words.related),
        "disclaimer": DISCLAIMER,
    }


def _both(text: str) -> Json:
    return {"clinician": [text], "patient": [text]}


def _said(passages: Iterable[Passage], regions: set[str]) -> Json | None:
    """What the policy's own passages say of an operation in these regions; None where none fits."""
    fitting = [p.text for p in passages if not p.regions or not regions.isdisjoint(p.regions)]
    if not fitting:
        return None
    return {"clinician": [t.clinician for t in fitting], "patient": [t.patient or t.clinician for t in fitting]}


def _patient_headline(verdict: Verdict, operation: str) -> str:
    name = verdict.item.item.patient_label or verdict.item.item.label.lower()
    return {
        "not-supported": f"The health plan's policy does not support {name} in this {operation}.",
        "needs-information": f"The health plan's policy needs more information about {name} in this {operation}.",
    }.get(verdict.outcome, f"The guideline makes no recommendation for {name} in this {operation}.")


def _because(verdict: Verdict) -> Json:
    return {"clinician": [verdict.because], "patient": [verdict.because_patient or verdict.because]}


def _criteria_part(rendered: RenderedCard, verdict: Verdict, trace: Trace) -> Json:
    criteria = [t for t in trace.walk() if t.text and not t.children and t.op not in _NO_CRITERION]
    lines = [f"{t.text.rstrip('.')}: {_CAME_OUT[t.outcome]}." for t in criteria]
    reason = [verdict.because, *dict.fromkeys(lines)]
    ordered = rendered.flagged.ordered if rendered.flagged else ()
    if ordered:
        reason.append("Graft is already provided for: " + ", ".join(option_text(o) for o in ordered) + ".")
    return {"clinician": reason, "patient": [verdict.because_patient or verdict.because]}


def _alternatives(rendered: RenderedCard) -> Json:
    covered = [f"Already covered: {c.text}{c.note}." for c in rendered.covered]
    flagged = rendered.flagged
    kind = "Covered option" if flagged is None or flagged.result.covered_by_policy else "Option the guideline supports"
    offered = [f"{kind}: {option_text(o)}." for o in (flagged.offered if flagged else ())]
    lines = covered + offered or ["The policy names no alternative for this case."]
    return {"clinician": lines, "patient": lines}


def _context(looked: Iterable[Looked], verdict: Verdict, decider: Decider) -> Json:
    """Which risk factors were looked for, and whether each was found, absent, or not documented."""
    view = decider.evaluator.view(verdict.version, verdict.order)
    clinician, patient = [], []
    years = dates.age_range(decider.case.patient.birth if decider.case.patient else None, view.day)
    if years:
        age = str(years[0]) if years[0] == years[1] else f"{years[0]} to {years[1]}"
        clinician.append(f"Age: {age} years.")
        patient.append(f"Age: {age} years.")
    tests = verdict.version.tests
    for item in looked:
        test = tests.get(item.criterion)
        if test is not None:
            state = _FOUND[test(view).outcome]
            clinician.append(f"{item.label}: {state}.")
            patient.append(f"{item.patient_label or item.label}: {state}.")
    note = "What is not documented is not taken as absent."
    return {"clinician": [*clinician, note], "patient": [*patient, note]}


def _recommendation(rendered: RenderedCard) -> Json:
    if rendered.flagged and rendered.flagged.removable:
        text = "Remove the order, or replace it by a covered option; the other orders stand as they are."
    elif rendered.kind == "missing":
        text = "Add the information named above; the outcome follows from it."
    else:
        text = "Review the order with the plan's policy at hand."
    return {"clinician": [text], "patient": ["Talk with your care team about the options named above."]}


def _public(trace: Trace) -> Json:
    """As `Trace.to_json`, without references to the patient."""
    id_, op, outcome, text, evidence, missing, cites, children = trace
    node: Json = {"id": id_, "op": op, "outcome": outcome.value}
    if text:
        node["text"] = text
    if evidence:
        node["evidence"] = [_public_fact(*fact) for fact in evidence]
    if missing:
        node["missing"] = [m._asdict() for m in missing]
    if cites:
        node["cites"] = list(cites)
    if children:
        node["children"] = [_public(child) for child in children]
    return node


def _public_fact(ref: str, text: str, code: str) -> Json:
    told = {"ref": _public_ref(ref), "text": text, "code": code}
    return told if text and code else {name: value for name, value in told.items() if value}


def _public_ref(ref: str) -> str:
    """A reference as a page may show it; what is written where FHIR has an id may be anything, a name too."""
    if ref.startswith("Patient/"):
        return "the patient's record"
    return ref if _LEGAL.fullmatch(ref) else f"{ref.partition('/')[0]} (id withheld)"


def _policy(version: CompiledVersion, context: Context, day: date) -> Json:
    review = version.version.review
    return {
        "id": version.policy.id,
        "title": version.policy.title,
        "short_title": version.policy.short_title,
        "publisher": version.policy.publisher,
        "version": version.version.version,
        "notice": version.policy.notice,
        "review": review.status,
        "note": context.shown(version),
        "last_confirmed_on": version.version.last_confirmed_on.isoformat(),
        "applied_as_of": str(day.year),
    }
