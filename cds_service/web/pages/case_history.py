"""What a worked case says of services and drugs, as the FHIR resources that a client would send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cds_service.facts.codes import URI
from cds_service.facts.sources import BY_NAME
from cds_service.policy.model import CaseMedication, CaseService, WorkedCase
from cds_service.policy.operators.reads import MEDICATIONS, PAST_SERVICES

Json = dict[str, Any]
_PATIENT = {"reference": "Patient/worked"}
# By type: the elements of patient and code, whether that is a list, the element of the time, the status when done.
_SHAPES: dict[str, tuple[str, str, bool, str, str]] = {
    "Immunization": ("patient", "vaccineCode", False, "occurrenceDateTime", "completed"),
    "DiagnosticReport": ("subject", "code", False, "effectiveDateTime", "final"),
    "ImagingStudy": ("subject", "procedureCode", True, "started", "available"),
    "Encounter": ("subject", "type", True, "period", "finished"),
    "ServiceRequest": ("subject", "code", False, "occurrenceDateTime", "completed"),
    "DeviceRequest": ("subject", "codeCodeableConcept", False, "occurrenceDateTime", "completed"),
}
_REQUESTS = {"ServiceRequest": {"intent": "order"}, "DeviceRequest": {"intent": "order"}}
_CLASS = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}


def concept(system: str, code: str) -> Json:
    """A CodeableConcept of one coding."""
    return {"coding": [{"system": URI.get(system, system), "code": code}]}


def sources(worked: WorkedCase) -> dict[str, list[Json]]:
    """Resources by source; every source of services and drugs is named, empty where the case has none."""
    found: dict[str, list[Json]] = {one.source: [] for one in (*PAST_SERVICES, *MEDICATIONS)}
    del found["procedures"]  # those of the case are resources of their own
    homes = {BY_NAME[one.source].kind: one.source for one in PAST_SERVICES}
    for number, spec in enumerate(worked.services, 1):
        found[homes[spec.type]].append(_service(number, spec))
    found["medication-requests"] += _medications(worked)
    return found


def _service(number: int, spec: CaseService) -> Json:
    patient, coded, listed, when, status = _SHAPES[spec.type]
    code = concept(spec.system, spec.code)
    resource: Json = {"resourceType": spec.type, "id": f"s{number}", "status": status, patient: _PATIENT}
    resource |= {coded: [code] if listed else code, **_REQUESTS.get(spec.type, {})}
    if spec.type == "Encounter":
        resource["class"] = _CLASS
    if spec.on:
        day = spec.on.isoformat()
        resource[when] = {"start": day, "end": day} if when == "period" else day
    elif spec.type == "Immunization":
        resource["occurrenceString"] = "not known"
    return resource


def _medications(worked: WorkedCase) -> Iterator[Json]:
    for number, spec in enumerate(worked.medications, 1):
        yield _medication(number, spec)


def _medication(number: int, spec: CaseMedication) -> Json:
    resource: Json = {
        "resourceType": "MedicationRequest",
        "id": f"m{number}",
        "status": {True: "active", False: "stopped", None: "unknown"}[spec.active],
        "intent": "order",
        "medicationCodeableConcept": concept(spec.system, spec.code),
        "subject": _PATIENT,
    }
    if spec.stopped_because:
        resource["statusReason"] = concept(spec.stopped_system, spec.stopped_because)
    days = {"start": spec.from_, "end": spec.to}
    known = {name: day.isoformat() for name, day in days.items() if day}
    if known:
        resource["dispenseRequest"] = {"validityPeriod": known}
    return resource
