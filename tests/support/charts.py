"""Requests of a stranger's making: another EHR's ids, codings and habits, nothing taken from `fhir_fixtures/`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

Json = dict[str, Any]
CPT = "http://www.ama-assn.org/go/cpt"
CPT_OID = "urn:oid:2.16.840.1.113883.6.12"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
SNOMED = "http://snomed.info/sct"
PAYER_ID = "http://example.org/payer-id"
COVERAGE_INFORMATION = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
PATIENT = "zq-7781"
SIX = ("22551", "22552", "22845", "22853", "20930", "20939")


def order(code: str, own: str | None = None, **elements: Any) -> Json:
    """A draft ServiceRequest for a CPT code, with what CRD asks of it."""
    return {
        "resourceType": "ServiceRequest",
        "id": own or f"sr-{code}",
        "status": "draft",
        "intent": "order",
        "code": {"coding": [{"system": CPT, "code": code}]},
        "subject": {"reference": f"Patient/{PATIENT}"},
        "authoredOn": "2026-11-20",
        "requester": {"reference": "Practitioner/surgeon-3"},
        **elements,
    }


def authorised(resource: Json, number: str = "N-552", **parts: Any) -> Json:
    """The order with a coverage-information extension that says its authorisation is satisfied."""
    inner = [
        {"url": "coverage", "valueReference": {"reference": "Coverage/ins-1"}},
        {"url": "covered", "valueCode": "covered"},
        {"url": "pa-needed", "valueCode": "satisfied"},
        {"url": "date", "valueDate": "2026-11-10"},
        {"url": "coverage-assertion-id", "valueString": "x1"},
        {"url": "satisfied-pa-id", "valueString": number},
        *({"url": k.replace("_", "-"), "valueDate": v} for k, v in parts.items()),
    ]
    return resource | {"extension": [{"url": COVERAGE_INFORMATION, "extension": inner}]}


def condition(code: str, own: str = "dx-1", system: str = ICD, **elements: Any) -> Json:
    """An active, confirmed diagnosis."""
    base = "http://terminology.hl7.org/CodeSystem/condition-"
    return {
        "resourceType": "Condition",
        "id": own,
        "clinicalStatus": {"coding": [{"system": f"{base}clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{base}ver-status", "code": "confirmed"}]},
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": f"Patient/{PATIENT}"},
        **elements,
    }


def coverage(payor: Json, own: str = "ins-1", **elements: Any) -> Json:
    """An active coverage with one payor Reference."""
    return {
        "resourceType": "Coverage",
        "id": own,
        "status": "active",
        "beneficiary": {"reference": f"Patient/{PATIENT}"},
        "payor": [payor],
        **elements,
    }


def identified(payer: str) -> Json:
    """A payor named by business identifier only."""
    return {"identifier": {"system": PAYER_ID, "value": payer}}


def patient(**elements: Any) -> Json:
    return {"resourceType": "Patient", "id": PATIENT, "birthDate": "1970-01-31", "gender": "other", **elements}


def bundle(*resources: Json, kind: str = "searchset") -> Json:
    """A Bundle of resources; a searchset says how many there are."""
    made: Json = {"resourceType": "Bundle", "type": kind}
    if kind == "searchset":
        made["total"] = len(resources)
    if resources:
        made["entry"] = [{"resource": r} for r in resources]
    return made


def request(*orders: Json, hook: str = "order-sign", prefetch: Json | None = None, **parts: Any) -> Json:
    """A hook request with a full chart in prefetch: Aetna, no conditions; `prefetch` replaces single keys."""
    context: Json = {"userId": "Practitioner/surgeon-3", "patientId": PATIENT}
    context["draftOrders"] = bundle(*orders, kind="collection")
    if hook == "order-select":
        context["selections"] = [f"{o['resourceType']}/{o['id']}" for o in orders]
    filled: Json = {
        "patient": patient(),
        "conditions": bundle(),
        "procedures": bundle(),
        "activeOrders": bundle(),
        "deviceHistory": bundle(),
        "coverage": bundle(coverage(identified("aetna"))),
        "authorizations": bundle(),
        "observations": bundle(),
        "questionnaireResponses": bundle(),
    }
    return {
        "hook": hook,
        "hookInstance": str(uuid4()),
        "context": context,
        "prefetch": filled | (prefetch or {}),
        **parts,
    }


def case_of(*codes: str, **parts: Any) -> Json:
    """A request for plain orders of these CPT codes."""
    return request(*(order(c) for c in codes), **parts)
