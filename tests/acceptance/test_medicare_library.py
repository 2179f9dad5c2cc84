"""Medicare's determinations outside the spine, asked as a client asks: through the advisor and through CRD."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from support.charts import CPT, ICD, PATIENT, bundle, condition, coverage, identified, order, patient, request
from support.service import Service
from support.unheard import HCPCS

Json = dict[str, Any]
DAY = "2026-11-20"
LOINC = "http://loinc.org"
CRD = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"


def device(code: str, quantity: float | None = None) -> Json:
    counted = {"parameter": [{"valueQuantity": {"value": quantity}}]} if quantity else {}
    base = {k: v for k, v in order(code, code, occurrenceDateTime=DAY).items() if k != "code"}
    concept = {"coding": [{"system": HCPCS, "code": code}]}
    return base | {"resourceType": "DeviceRequest", "codeCodeableConcept": concept} | counted


def service_of(code: str, *reasons: str) -> Json:
    system = HCPCS if code[0].isalpha() else CPT
    why = {"reasonCode": [{"coding": [{"system": ICD, "code": r}]} for r in reasons]} if reasons else {}
    return order(code, code, occurrenceDateTime=DAY, **why) | {"code": {"coding": [{"system": system, "code": code}]}}


def result(code: str, value: float, unit: str, on: str = "2026-11-15") -> Json:
    return {
        "resourceType": "Observation", "id": f"o-{code}-{on}", "status": "final", "effectiveDateTime": on,
        "code": {"coding": [{"system": LOINC, "code": code}]}, "subject": {"reference": f"Patient/{PATIENT}"},
        "valueQuantity": {"value": value, "code": unit, "system": "http://unitsofmeasure.org"},
    }  # fmt: skip


def done(code: str, on: str) -> Json:
    return {
        "resourceType": "Procedure", "id": f"p-{code}", "status": "completed", "performedDateTime": on,
        "code": {"coding": [{"system": HCPCS, "code": code}]}, "subject": {"reference": f"Patient/{PATIENT}"},
    }  # fmt: skip


class Asked(NamedTuple):
    """An order with what the chart holds, and what CRD says of it."""

    what: str
    order: Json
    covered: str
    chart: dict[str, list[Json]] = {}  # noqa: RUF012


APNEA, LUNG, SUGAR = [condition("G47.33")], [condition("J44.9")], [condition("E11.9"), condition("Z79.4", "dx-2")]
ASKED = [
    Asked("index of 22", device("E0601"), "covered",
          {"conditions": APNEA, "observations": [result("69990-0", 22, "{events}/h")]}),
    Asked("index of 4", device("E0601"), "not-covered",
          {"conditions": APNEA, "observations": [result("69990-0", 4, "/h")]}),
    Asked("no index", device("E0601"), "conditional", {"conditions": APNEA}),
    Asked("86, then 94 on oxygen", device("E1390"), "covered",
          {"conditions": LUNG, "observations": [result("59408-5", 86, "%"), result("59408-5", 94, "%", "2026-11-16")]}),
    Asked("saturation of 95", device("E1390"), "not-covered",
          {"conditions": LUNG, "observations": [result("59408-5", 95, "%")]}),
    Asked("saturation of 89 alone", device("E1390"), "conditional",
          {"conditions": LUNG, "observations": [result("59408-5", 89, "%")]}),
    Asked("twelve months of supplies", device("A4239", 12), "not-covered", {"conditions": SUGAR}),
    Asked("supplies without a quantity", device("A4239"), "conditional", {"conditions": SUGAR}),
    Asked("monitor, no visit coded", device("E2103"), "conditional", {"conditions": SUGAR}),
    Asked("15 pack-years", service_of("71271"), "not-covered", {"observations": [result("8664-5", 15, "{PackYears}")]}),
    Asked("pack-years unknown", service_of("71271"), "conditional"),
    Asked("first colonoscopy", service_of("G0121"), "covered"),
    Asked("colonoscopy after five years", service_of("G0121"), "not-covered",
          {"procedures": [done("G0121", "2021-11-30")]}),
    Asked("colonoscopy for bleeding", service_of("45378", "K62.5"), "conditional"),
    Asked("stool DNA", service_of("81528"), "covered"),
    Asked("stool DNA in colitis", service_of("81528"), "not-covered", {"conditions": [condition("K51.90")]}),
    Asked("index of 36, treatment unknown", service_of("43644"), "conditional",
          {"conditions": SUGAR, "observations": [result("39156-5", 36, "kg/m2")]}),
    Asked("index of 34", service_of("43644"), "not-covered",
          {"conditions": SUGAR, "observations": [result("39156-5", 34, "kg/m2")]}),
    Asked("vertical banding", service_of("43842"), "not-covered"),
]  # fmt: skip
each_asked = pytest.mark.parametrize("asked", ASKED, ids=[a.what for a in ASKED])


def _request(service: Service, asked: Asked) -> Json:
    """All that the policies read is there: what the advisor's templates ask for."""
    offered = next(s for s in service.get("/cds-services").json()["services"] if s["id"] == "order-sign-advisor")
    holds: dict[str, Any] = {key: bundle() for key in offered["prefetch"]}
    holds |= {key: bundle(*found) for key, found in asked.chart.items()}
    payer = coverage(identified("medicare"), subscriberId="s-1")
    holds |= {"patient": patient(birthDate="1962-03-05"), "coverage": bundle(payer)}
    return request(asked.order, prefetch=holds)


@each_asked
def test_crd_says_what_is_covered(service: Service, asked: Asked) -> None:
    answer = service.answer(_request(service, asked), "order-sign-crd")
    extensions = [e for a in answer["systemActions"] for e in a["resource"]["extension"] if e["url"] == CRD]
    told = [part["valueCode"] for e in extensions for part in e["extension"] if part["url"] == "covered"]
    assert told == [asked.covered]


@each_asked
def test_the_advisor_warns_of_what_is_not_covered_and_of_nothing_else(service: Service, asked: Asked) -> None:
    cards = service.cards(_request(service, asked))
    assert ["warning"] * (asked.covered == "not-covered") == [c["indicator"] for c in cards if c["indicator"] != "info"]
    if asked.covered == "covered":
        assert cards == []
