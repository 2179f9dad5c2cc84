"""A worked case as the hook request that a client would send, so that it can be tried in the workbench."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cds_service.facts.authorizations import COVERAGE_INFORMATION
from cds_service.facts.codes import URI
from cds_service.facts.sources import BY_NAME
from cds_service.policy.content import PolicyFolder
from cds_service.policy.model import (
    CaseCondition,
    CaseCoverage,
    CaseObservation,
    CaseOrder,
    CaseProcedure,
    Payer,
    WorkedCase,
)
from cds_service.policy.rulebook import Rulebook
from cds_service.web.pages import case_history
from cds_service.web.pages.incoming import searchset

Json = dict[str, Any]
_PATIENT = {"reference": "Patient/worked"}
_ACTIVE = {
    "ServiceRequest": "active-orders",
    "DeviceRequest": "device-requests",
    "MedicationRequest": "medication-requests",
}
_CODED = {
    "ServiceRequest": "code",
    "DeviceRequest": "codeCodeableConcept",
    "MedicationRequest": "medicationCodeableConcept",
}
_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_CLASS = "http://terminology.hl7.org/CodeSystem/coverage-class"
_VERIFIED = {True: "confirmed", None: "provisional", False: "refuted"}
_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"


def request_of(folder: PolicyFolder, worked: WorkedCase, rulebook: Rulebook) -> Json:
    """The order-sign request of a worked case; sources it calls unavailable carry an OperationOutcome."""
    payer_id = worked.payer or (folder.policy.payers[0] if folder.policy.payers else None)
    payer = rulebook.content.payers.get(payer_id) if payer_id else None
    specs = [CaseOrder(code=o) if isinstance(o, str) else o for o in worked.orders]
    orders = [(spec, _order(n, spec, worked.on, rulebook)) for n, spec in enumerate(specs, 1)]
    drafts = [resource for spec, resource in orders if not spec.active]
    return {
        "hook": "order-sign",
        "hookInstance": str(uuid5(NAMESPACE_URL, f"{folder.policy.id}/{worked.id}")),
        "context": {
            "userId": "Practitioner/worked",
            "patientId": "worked",
            "draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in drafts]},
        },
        "prefetch": _prefetch(folder, worked, payer, orders),
    }


def _prefetch(
    folder: PolicyFolder, worked: WorkedCase, payer: Payer | None, orders: list[tuple[CaseOrder, Json]]
) -> Json:
    sources: dict[str, Any] = {
        "patient": _patient(worked),
        "conditions": searchset([_condition(n, c) for n, c in enumerate(worked.conditions, 1)]),
        "procedures": searchset([_procedure(n, p) for n, p in enumerate(worked.procedures, 1)]),
        "observations": searchset([_observation(n, o, worked.on) for n, o in enumerate(worked.observations, 1)]),
        "answers": searchset(_answers(folder.policy.id, worked, [resource for _, resource in orders])),
        "coverage": searchset(_coverage(payer, worked.coverage)),
        "authorizations": searchset([]),
    }
    history = case_history.sources(worked)
    for kind, name in _ACTIVE.items():
        active = [resource for spec, resource in orders if spec.active and spec.type == kind]
        history[name] = history.get(name, []) + active
    sources |= {name: searchset(found) for name, found in history.items()}
    failed = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
    return {BY_NAME[name].key: failed if name in worked.unavailable else value for name, value in sources.items()}


def _concept(system: str, code: str | None, text: str | None = None) -> Json:
    concept: Json = {"coding": [{"system": URI.get(system, system), "code": code}]} if code else {}
    return concept | ({"text": text} if text else {})


def _order(number: int, spec: CaseOrder, on: date, rulebook: Rulebook) -> Json:
    ref = spec.id or f"o{number}"
    concept = _concept(spec.system, "-".join([spec.code, *spec.modifiers]) if spec.code else None, spec.text)
    label = next((p.label for c, p in rulebook.content.procedures.items() if c.code == spec.code), None)
    if label and concept.get("coding"):
        concept["coding"][0]["display"] = label
    resource: Json = {
        "resourceType": spec.type,
        "id": ref,
        "status": "active" if spec.active else "draft",
        "intent": "order",
        _CODED[spec.type]: concept,
        "subject": _PATIENT,
        "authoredOn": on.isoformat(),
    }
    optional = {
        **_quantity(spec),
        "note": [{"text": spec.note}] if spec.note else None,
        "reasonCode": [_concept("icd-10-cm", c) for c in spec.reason] or None,
        "bodySite": [{"text": spec.body_site}] if spec.body_site and spec.type == "ServiceRequest" else None,
        "encounter": {"reference": _typed("Encounter", spec.encounter)} if spec.encounter else None,
        "requisition": {"value": spec.requisition} if spec.requisition else None,
        "occurrenceDateTime": spec.occurrence.isoformat() if spec.occurrence else None,
        "extension": [_authorised(spec.authorization)] if spec.authorization else None,
    }
    return resource | {k: v for k, v in optional.items() if v is not None}


def _quantity(spec: CaseOrder) -> Json:
    """How many are ordered, where the type of request says it."""
    if spec.type == "DeviceRequest":
        return {"parameter": [{"valueQuantity": {"value": spec.units}}] if spec.units is not None else None}
    if spec.type == "MedicationRequest":
        return {"dispenseRequest": {"quantity": {"value": spec.units}} if spec.units is not None else None}
    return {
        "quantityQuantity": {"value": spec.units} if spec.units not in (None, 1) else None,
        "quantityRange": {"low": {"value": 1}} if spec.units is None else None,
    }


def _typed(kind: str, reference: str) -> str:
    return reference if "/" in reference else f"{kind}/{reference}"


def _authorised(number: str) -> Json:
    parts = [
        {"url": "coverage", "valueReference": {"reference": "Coverage/v1"}},
        {"url": "covered", "valueCode": "covered"},
        {"url": "pa-needed", "valueCode": "satisfied"},
        {"url": "satisfied-pa-id", "valueString": number},
    ]
    return {"url": COVERAGE_INFORMATION, "extension": parts}


def _patient(worked: WorkedCase) -> Json:
    born = f"{worked.on.year - worked.age}-01-01" if worked.age is not None else None
    known = {"birthDate": worked.born.isoformat() if worked.born else born, "gender": worked.sex}
    person = {k: v for k, v in known.items() if v is not None}
    return {"resourceType": "Patient", "id": "worked", "name": [{"text": "Worked case"}], **person}


def _status(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def _condition(number: int, item: str | CaseCondition) -> Json:
    spec = CaseCondition(code=item) if isinstance(item, str) else item
    resource: Json = {
        "resourceType": "Condition",
        "id": f"c{number}",
        "code": _concept(spec.system, spec.code, spec.text),
        "subject": _PATIENT,
        "verificationStatus": _status(_VERIFICATION, _VERIFIED[spec.confirmed]),
    }
    if spec.active is not None:
        resource["clinicalStatus"] = _status(_CLINICAL, "active" if spec.active else "resolved")
    if spec.onset:
        resource["onsetDateTime"] = spec.onset.isoformat()
    return resource


def _procedure(number: int, spec: CaseProcedure) -> Json:
    performed = {"performedDateTime": spec.on.isoformat()} if spec.on else {}
    return {
        "resourceType": "Procedure",
        "id": f"p{number}",
        "status": "completed",
        "code": _concept(spec.system, spec.code, spec.text),
        "subject": _PATIENT,
        **performed,
    }


def _observation(number: int, spec: CaseObservation, on: date) -> Json:
    value: Json = {}
    if isinstance(spec.value, bool):
        value["valueBoolean"] = spec.value
    elif spec.value is not None:
        value["valueQuantity"] = {"value": spec.value} | ({"code": spec.unit, "unit": spec.unit} if spec.unit else {})
    if spec.coded:
        value["valueCodeableConcept"] = _concept(spec.coded_system, spec.coded)
    return {
        "resourceType": "Observation",
        "id": f"b{number}",
        "status": "final",
        "code": _concept(spec.system, spec.code),
        "subject": _PATIENT,
        "effectiveDateTime": (spec.on or on).isoformat() + (f"T{spec.at}:00Z" if spec.at else ""),
        **value,
    }


def _answers(policy: str, worked: WorkedCase, orders: list[Json]) -> list[Json]:
    if not worked.answers:
        return []
    items = [{"linkId": link, "answer": [{"valueBoolean": value}]} for link, value in worked.answers.items()]
    return [
        {
            "resourceType": "QuestionnaireResponse",
            "id": "q1",
            "status": "completed",
            "questionnaire": f"http://example.org/Questionnaire/{policy}/worked",
            "basedOn": [{"reference": f"{order['resourceType']}/{order['id']}"} for order in orders],
            "subject": _PATIENT,
            "authored": worked.on.isoformat(),
            "item": items,
        }
    ]


def _coverage(payer: Payer | None, said: CaseCoverage | None) -> list[Json]:
    if payer is None:
        return []
    identifier = next(({"system": i.system, "value": i.value} for i in payer.identifiers), None)
    payor: Json = {"display": payer.label} | ({"identifier": identifier} if identifier else {})
    resource = {"resourceType": "Coverage", "id": "v1", "status": "active", "beneficiary": _PATIENT, "payor": [payor]}
    if said and (said.type or said.text):
        resource["type"] = _concept("sopt", said.type, said.text)
    if said and said.plan:
        resource["class"] = [{"type": _status(_CLASS, "plan"), "value": said.plan}]
    return [resource]
