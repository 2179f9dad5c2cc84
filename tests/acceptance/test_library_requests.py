"""Determinations on devices, scans, vaccines, therapy and a drug, asked as a client asks: through CRD."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from support.charts import CPT, ICD, PATIENT, bundle, condition, coverage, identified, order, request
from support.service import Service
from support.unheard import HCPCS

Json = dict[str, Any]
DAY = "2026-11-20"
NDC, CVX = "http://hl7.org/fhir/sid/ndc", "http://hl7.org/fhir/sid/cvx"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
COVERAGE_INFORMATION = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
SUBJECT = {"subject": {"reference": f"Patient/{PATIENT}"}}
_ELEMENT = {"DeviceRequest": "codeCodeableConcept", "MedicationRequest": "medicationCodeableConcept"}


def coded(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def ordered(system: str, code: str, kind: str = "ServiceRequest", *reasons: str) -> Json:
    base = {k: v for k, v in order(code, "asked", occurrenceDateTime=DAY, authoredOn=DAY).items() if k != "code"}
    why = {"reasonCode": [coded(ICD, r) for r in reasons]} if reasons else {}
    return base | {"resourceType": kind, _ELEMENT.get(kind, "code"): coded(system, code)} | why


def device(code: str) -> Json:
    return ordered(HCPCS, code, "DeviceRequest")


def weight(value: float, unit: str) -> Json:
    return {
        "resourceType": "Observation", "id": "weight", "status": "final", "effectiveDateTime": "2026-11-01",
        "code": coded("http://loinc.org", "29463-7"), "valueQuantity": {"value": value, "code": unit}, **SUBJECT,
    }  # fmt: skip


def given(code: str, on: str) -> Json:
    return {
        "resourceType": "Immunization", "id": f"i-{code}-{on}", "status": "completed", "vaccineCode": coded(CVX, code),
        "patient": {"reference": f"Patient/{PATIENT}"}, "occurrenceDateTime": on,
    }  # fmt: skip


def drug(system: str, code: str, start: str, end: str | None = None, because: str | None = None) -> Json:
    found = {
        "resourceType": "MedicationRequest", "id": f"m-{code}", "status": "stopped" if end else "active",
        "intent": "order", "medicationCodeableConcept": coded(system, code), "authoredOn": start, **SUBJECT,
    }  # fmt: skip
    if end:
        found["dispenseRequest"] = {"validityPeriod": {"start": start, "end": end}}
    return found | ({"statusReason": coded("http://snomed.info/sct", because)} if because else {})


def biosimilar(end: str, because: str) -> Json:
    return drug(NDC, "00069080901", "2026-07-01", end, because)


class Asked(NamedTuple):
    """An order with what the chart holds, and what CRD says of coverage and of prior authorization."""

    what: str
    order: Json
    covered: str
    pa: str | None = None
    chart: dict[str, list[Json]] = {}  # noqa: RUF012
    payer: str = "medicare"


REMICADE = ordered(NDC, "57894-030-01", "MedicationRequest")
OTHER, INTOLERANCE = "182862001", "59037007"
RA = [condition("M05.79"), condition("Z79.1", "dx-2")]
PLAN = "example-health-plan"
ASKED = [
    Asked("oxygen for gas gangrene", ordered(HCPCS, "G0277", "ServiceRequest", "A48.0"), "covered"),
    Asked("oxygen for multiple sclerosis", ordered(CPT, "99183", "ServiceRequest", "G35"), "not-covered"),
    Asked("oxygen for nothing told", ordered(CPT, "99183"), "conditional"),
    Asked("PET of a lung cancer", ordered(CPT, "78815", "ServiceRequest", "C34.11"), "covered"),
    Asked("PET as screening", ordered(CPT, "78816", "ServiceRequest", "Z12.2"), "not-covered"),
    Asked("power wheelchair, nothing answered", device("K0823"), "conditional", "auth-needed"),
    Asked("power wheelchair, 160 kg", device("K0823"), "not-covered", None,
          {"observations": [weight(160, "kg")]}),
    Asked("power wheelchair of group 4", device("K0877"), "not-covered"),
    Asked("total electric bed", device("E0265"), "not-covered"),
    Asked("bed, orthopnea", device("E0250"), "covered", None,
          {"conditions": [condition("I50.23"), condition("R06.01", "dx-2")]}),
    Asked("PCV20 at 74", ordered(CPT, "90677"), "covered", "no-auth"),
    Asked("PCV20 after PCV20", ordered(CPT, "90677"), "not-covered", None,
          {"immunizations": [given("216", "2023-01-05")]}),
    Asked("PCV21 by CVX, after PPSV23", ordered(CVX, "327"), "covered", "no-auth",
          {"immunizations": [given("33", "2025-11-20")]}),
    Asked("PCV21 by CVX, a day too early", ordered(CVX, "327"), "not-covered", None,
          {"immunizations": [given("33", "2025-11-21")]}),
    Asked("zoster, 11 days", ordered(CPT, "90750"), "not-covered", None,
          {"immunizations": [given("187", "2026-11-09")]}),
    Asked("zoster, 2 months", ordered(CPT, "90750"), "covered", None,
          {"immunizations": [given("187", "2026-09-20")]}),
    Asked("zoster, product unknown", ordered(CPT, "90750"), "conditional", None,
          {"immunizations": [given("188", "2018-09-20")]}),
    Asked("physical therapy, first order", ordered(CPT, "97110"), "covered"),
    Asked("stimulation by another code", ordered(CPT, "97014"), "not-covered"),
    Asked("Remicade, no biosimilar known", REMICADE, "conditional", "auth-needed",
          {"conditions": [condition("K50.90")]}, PLAN),
    Asked("Remicade after 6 weeks", REMICADE, "not-covered", None,
          {"conditions": [condition("K50.90")], "medicationHistory": [biosimilar("2026-08-12", OTHER)]}, PLAN),
    Asked("Remicade after 14 weeks", REMICADE, "covered", "auth-needed",
          {"conditions": [condition("K50.90")], "medicationHistory": [biosimilar("2026-10-07", OTHER)]}, PLAN),
    Asked("Remicade, not tolerated", REMICADE, "covered", "auth-needed",
          {"conditions": [condition("K50.90")], "medicationHistory": [biosimilar("2026-07-15", INTOLERANCE)]}, PLAN),
    Asked("biosimilar, methotrexate in use", ordered(HCPCS, "Q5103"), "covered", "no-auth",
          {"conditions": RA, "medicationHistory": [drug(RXNORM, "105585", "2024-01-01")]}, PLAN),
    Asked("biosimilar, methotrexate unknown", ordered(HCPCS, "Q5103"), "conditional", "no-auth",
          {"conditions": RA}, PLAN),
]  # fmt: skip


@pytest.mark.parametrize("asked", ASKED, ids=lambda a: a.what)
def test_what_crd_says(service: Service, asked: Asked) -> None:
    person = {"resourceType": "Patient", "id": PATIENT, "birthDate": "1952-03-01", "gender": "female"}
    payor = coverage(identified(asked.payer), subscriberId="s-1")
    prefetch: dict[str, Any] = {"patient": person, "coverage": bundle(payor)}
    services = service.get("/cds-services").json()["services"]
    offered = next(s for s in services if s["id"] == "order-sign-advisor")["prefetch"]  # all that the policies read
    prefetch |= {key: bundle(*asked.chart.get(key, ())) for key in offered if key not in prefetch}
    assert asked.chart.keys() <= offered.keys()
    answer = service.answer(request(asked.order, prefetch=prefetch), "order-sign-crd")
    [said] = [
        {part["url"]: part.get("valueCode") for part in extension["extension"]}
        for action in answer["systemActions"]
        for extension in action["resource"]["extension"]
        if extension["url"] == COVERAGE_INFORMATION
    ]
    assert said["covered"] == asked.covered
    assert asked.pa is None or said["pa-needed"] == asked.pa
