"""Generated requests of every kind of order, spelling of codes, coverage and shape of prefetch; and what was heard.

`PREFETCH_SHAPES` are the shapes that a chart comes in: whoever teaches the readers another one adds it here.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from support.charts import CPT, PATIENT, PAYER_ID, bundle, condition, patient

Json = dict[str, Any]
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
GOVERNED = {"22551": CPT, "20939": CPT, "22612": CPT, "E0748": HCPCS}


@dataclass(frozen=True)
class Entry:
    """One entry of draftOrders. `governed`: the code that a policy speaks to, to be read or said; else silence is."""

    resource: Any
    governed: str | None = None

    @property
    def ref(self) -> str:
        """`Type/id`; empty where it has none."""
        given = self.resource if isinstance(self.resource, dict) else {}
        return f"{given['resourceType']}/{given['id']}" if {"resourceType", "id"} <= given.keys() else ""


# --- code systems and spellings ---------------------------------------------------------------------

SYSTEMS = (
    "http://www.ama-assn.org/go/cpt", "https://www.ama-assn.org/go/CPT/", "http://www.ama-assn.org/go/cpt|2026",
    "https://www.ama-assn.org/practice-management/cpt", "ama-assn.org/go/cpt#", "urn:oid:2.16.840.1.113883.6.12",
    "https://bluebutton.cms.gov/resources/codesystem/hcpcs", "https://bluebutton.cms.gov/resources/variables/hcpcs_cd",
    "http://www.nlm.nih.gov/research/umls/hcpcs", "http://www.nlm.nih.gov/research/umls/cpt", "HCPCS", "C4", "CPT-4",
    "http://terminology.hl7.org/CodeSystem/HCPCS-all-codes", "http://hl7.org/fhir/sid/cpt", "HCPT", "CPT/HCPCS",
    "https://www.cms.gov/Medicare/Coding/MedHCPCSGenInfo/index.html", "2.16.840.1.113883.6.285", "HCPCS Level II",
    "http://purl.bioontology.org/ontology/CPT/", "Current Procedural Terminology", "HTTP://WWW.AMA-ASSN.ORG/GO/CPT",
)  # fmt: skip
UNKNOWN_SYSTEMS = (None, "", "urn:oid:1.2.840.114350.1.13.0.1.7.2.696580", "http://lab.example.org/codes", "L", "99EAP")
SEPARATORS = (
    ",",
    "/",
    ";",
    "|",
    "^",
    "--",
    "_",
    "-",
    " ",
    ".",
    ":",
    "+",
    "~",
    " - ",
    ", ",
    "(",
    "\u2013",
    "\u00a0",
    "\t",
)
MODIFIERS = ("59", "RT", "51", "XS", "NU", "26")
WHOLE = ("{}", "CPT{}", " {} ", "CPT {}", "{} x2", "({})", "{}.", "HCPCS {}", "CPT\u00ae {}", "{}.0")
ODD = (
    "{} - bone marrow", "{}/22840", "{}-5", "{}599", "see {}", "*{}*AB*C", "{} and 22840", "order {}", "0{}",
    "{}\u00e9",
)  # fmt: skip


def _wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in text)


@st.composite
def spellings(draw: st.DrawFn, code: str) -> str:
    """A code as somebody may have typed it into CPT's system."""
    way = draw(st.sampled_from(("whole", "modified", "odd", "wide")))
    if way == "whole":
        return draw(st.sampled_from(WHOLE)).format(code)
    if way == "odd":
        return draw(st.sampled_from(ODD)).format(code)
    found = st.lists(st.tuples(st.sampled_from(SEPARATORS), st.sampled_from(MODIFIERS)), min_size=1, max_size=3)
    modified = code + "".join(separator + modifier for separator, modifier in draw(found))
    return _wide(modified) if way == "wide" else modified


@st.composite
def concepts(draw: st.DrawFn, code: str) -> Json:
    """A CodeableConcept of a governed code: by a known system in any spelling, by an unknown one, or in words."""
    way = draw(st.sampled_from(("system", "spelling", "unknown", "words", "beside")))
    if way == "system":
        return {"coding": [{"system": draw(st.sampled_from(SYSTEMS)), "code": code}]}
    if way == "spelling":
        return {"coding": [{"system": draw(st.sampled_from((CPT, HCPCS))), "code": draw(spellings(code))}]}
    if way == "unknown":
        system = draw(st.sampled_from(UNKNOWN_SYSTEMS))
        return {"coding": [{"code": code} if system is None else {"system": system, "code": code}]}
    if way == "words":
        return {"text": draw(st.sampled_from(("CPT {}", "{}", "CPT: {} for graft", "{} as discussed"))).format(code)}
    local = {"system": "http://lab.example.org/codes", "code": "EAP-1", "display": "Case request"}
    return {"coding": [local, {"system": draw(st.sampled_from(SYSTEMS)), "code": code}]}


# --- entries -----------------------------------------------------------------------------------------

CODED = {
    "ServiceRequest": "code",
    "DeviceRequest": "codeCodeableConcept",
    "MedicationRequest": "medicationCodeableConcept",
}
OLDER = (
    "ProcedureRequest", "ReferralRequest", "DiagnosticOrder", "DeviceUseRequest", "MedicationOrder", "SupplyRequest",
    "DiagnosticRequest", "ProcessRequest", "ImmunizationRecommendation", "CarePlan", "RequestGroup", "Task", "Claim",
    "RequestOrchestration", "Bundle", "List", "Basic", "Transport", "Zzz",
)  # fmt: skip
SUPPORT = ("Patient", "Practitioner", "Organization", "Location", "Medication", "Device", "Condition", "Procedure")
SETTLED = ("revoked", "completed", "entered-in-error")


def _order(kind: str, own: str, **elements: Any) -> Json:
    return {
        "resourceType": kind, "id": own, "status": "draft", "intent": "order",
        "subject": {"reference": f"Patient/{PATIENT}"}, "authoredOn": "2026-11-20",
        "requester": {"reference": "Practitioner/d"}, **elements,
    }  # fmt: skip


ORDINARY: tuple[tuple[str, Json], ...] = (
    ("ServiceRequest", {"coding": [{"system": "http://loinc.org", "code": "2823-3", "display": "Potassium"}]}),
    ("ServiceRequest", {"coding": [{"system": CPT, "code": "84132"}], "text": "Potassium, serum"}),
    ("ServiceRequest", {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "140"}], "text": "Flu vaccine"}),
    ("ServiceRequest", {"coding": [{"system": CPT, "code": "90686"}], "text": "Influenza vaccine"}),
    ("MedicationRequest", {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "140"}]}),
    (
        "MedicationRequest",
        {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "197361"}], "text": "Amlodipine"},
    ),
    ("MedicationRequest", {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.69", "code": "00093-7198-56"}]}),
    ("ServiceRequest", {"coding": [{"system": CPT, "code": "71046"}], "text": "Chest X-ray, 2 views"}),
    ("ServiceRequest", {"coding": [{"system": "http://lab.example.org/codes", "code": "K-POT", "display": "K"}]}),
    ("ServiceRequest", {"coding": [{"system": "http://lab.example.org/codes", "code": "10423"}], "text": "Sodium"}),
    ("ServiceRequest", {"text": "Physical therapy"}),
    ("ServiceRequest", {"coding": [{"system": "http://snomed.info/sct", "code": "308283009"}], "text": "Dietitian"}),
    ("ServiceRequest", {}),
)


@st.composite
def entries(draw: st.DrawFn, own: str) -> Entry:
    """An entry: a governed order, one of an older type or a wrapper, no resource, or what is to be passed over."""
    way = draw(st.sampled_from(("order", "order", "order", "older", "ordinary", "support", "settled", "none")))
    code = draw(st.sampled_from(tuple(GOVERNED)))
    concept = draw(concepts(code))
    kind = draw(st.sampled_from(tuple(CODED)))
    if way == "order":
        return Entry(_order(kind, own, **{CODED[kind]: concept}), code)
    if way == "older":
        kind = draw(st.sampled_from(OLDER))
        return Entry(_order(kind, own, code=concept), code)
    if way == "ordinary":
        kind, plain = draw(st.sampled_from(ORDINARY))
        return Entry(_order(kind, own, **({CODED[kind]: plain} if plain else {})))
    if way == "support":
        return Entry({"resourceType": draw(st.sampled_from(SUPPORT)), "id": own})
    if way == "settled":
        return Entry(_order(kind, own, **{CODED[kind]: concept}) | {"status": draw(st.sampled_from(SETTLED))})
    return Entry(draw(st.sampled_from((None, 5, [], {"id": own}, {"resourceType": ""}))), "entry")


# --- coverages and prefetch ---------------------------------------------------------------------------


def _coverage(own: str, payor: Json | None, **elements: Any) -> Json:
    made = {
        "resourceType": "Coverage", "id": own, "status": "active", "beneficiary": {"reference": f"Patient/{PATIENT}"},
        "payor": [payor], **elements,
    }  # fmt: skip
    return {k: v for k, v in made.items() if not (k == "payor" and payor is None)}


def _known(payer: str) -> Json:
    return {"identifier": {"system": PAYER_ID, "value": payer}}


_INNER = {"resourceType": "Organization", "id": "in", "name": "Lakeside Mutual"}
# Resources, and for each coverage what is to be said of it: a part of a card; None where nothing is.
COVERAGES: dict[str, tuple[list[Json], list[str]]] = {
    "known": ([_coverage("k1", _known("aetna"))], []),
    "name unknown": ([_coverage("k1", {"display": "Lakeside Mutual"})], ["Lakeside Mutual"]),
    "identifier unknown": ([_coverage("k1", {"identifier": {"value": "77"}})], ["Coverage/k1"]),
    "contained": ([_coverage("k1", {"reference": "#in"}, contained=[_INNER])], ["Lakeside Mutual"]),
    "nowhere": ([_coverage("k1", {"reference": "Organization/away"})], ["Coverage/k1"]),
    "no payor": ([_coverage("k1", None)], ["Coverage/k1"]),
    "two": (
        [_coverage("k1", _known("aetna"), order=1), _coverage("k2", {"display": "Lakeside Mutual"}, order=2)],
        ["Coverage/k2"],
    ),
    "expired": ([_coverage("k1", _known("aetna"), period={"end": "2020-01-01"})], ["Coverage/k1"]),
    "cancelled": ([_coverage("k1", _known("aetna")) | {"status": "cancelled"}], []),
    "several payors": ([_coverage("k1", {"identifier": _known("aetna")["identifier"]}) | {
        "payor": [_known("aetna"), _known("humana")]}], ["Coverage/k1"]),
    "unreadable": (
        [{"resourceType": "Coverage", "id": "k1", "modifierExtension": [{"url": "urn:x"}]}], ["Coverage/k1"],
    ),
}  # fmt: skip

PrefetchShape = Callable[[dict[str, list[Json]]], Json]


def _by_key(chart: dict[str, list[Json]]) -> Json:
    return {key: bundle(*resources) for key, resources in chart.items()}


def _alone(chart: dict[str, list[Json]]) -> Json:
    return {key: r[0] if len(r) == 1 else bundle(*r) for key, r in chart.items()}


def _own_keys(chart: dict[str, list[Json]]) -> Json:
    return {f"my_{key}": bundle(*r) for key, r in chart.items() if r} | {k: None for k, r in chart.items() if not r}


PREFETCH_SHAPES: list[PrefetchShape] = [_by_key, _alone, _own_keys]


def chart(coverages: list[Json]) -> dict[str, list[Json]]:
    """A chart by prefetch key."""
    return {
        "patient": [patient()], "conditions": [condition("M50.122")], "procedures": [], "activeOrders": [],
        "coverage": coverages, "authorizations": [], "observations": [], "questionnaireResponses": [],
    }  # fmt: skip


SURE = Entry(_order("ServiceRequest", "sure", code={"coding": [{"system": CPT, "code": "22551"}]}), "22551")


@st.composite
def drafts(draw: st.DrawFn) -> list[Entry]:
    """Entries of draftOrders; the last is an order that is surely read, so that coverages are of interest."""
    number = draw(st.integers(1, 4))
    return [*(draw(entries(f"e{n}")) for n in range(number)), SURE]


# --- what was heard ------------------------------------------------------------------------------------


def told(card: Json) -> str:
    """All text of a card, without its escapes."""
    return html.unescape(f"{card['summary']}\n{card.get('detail', '')}")
