"""Given services and drugs out of FHIR resources other than Procedure: evidence that something was done or taken."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cds_service.facts import codes, elements
from cds_service.facts.references import Index, Json
from cds_service.policy.case import Code, Medication, Period, Procedure

# Statuses that say that it was not done (or is not so), and those that leave it open; any other says it was.
_NOT_DONE = frozenset(
    {"not-done", "entered-in-error", "cancelled", "planned", "registered", "draft", "revoked", "proposed", "arrived"}
)
_OPEN = frozenset({"unknown", "preliminary", "partial", "on-hold", "onleave", "triaged", "stopped"})
# By type: the elements that hold its codes, and that say when it was.
_CODED_IN: Mapping[str, tuple[str, ...]] = {
    "Immunization": ("vaccineCode",),
    "DiagnosticReport": ("code",),
    "ImagingStudy": ("procedureCode",),
    "Encounter": ("type", "serviceType"),
    "ServiceRequest": ("code",),
    "DeviceRequest": ("codeCodeableConcept",),
}
_WHEN: Mapping[str, tuple[str, ...]] = {
    "Immunization": ("occurrenceDateTime",),
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod", "issued"),
    "ImagingStudy": ("started",),
    "Encounter": ("period",),
    "ServiceRequest": ("occurrenceDateTime", "occurrencePeriod"),
    "DeviceRequest": ("occurrenceDateTime", "occurrencePeriod", "authoredOn"),
}


def service(resource: Json, ref: str, faulty: frozenset[str]) -> Procedure | None:
    """A service that was given, as another resource than Procedure tells; None where it was not given."""
    kind, status = resource["resourceType"], resource.get("status")
    if status in _NOT_DONE or (kind == "ServiceRequest" and status != "completed"):
        return None
    concepts = [c for name in _CODED_IN[kind] for c in elements.concepts(resource.get(name))]
    found = tuple(code for concept in concepts for code in codes.read(concept)[0])
    done = None if "status" in faulty or status in _OPEN else True
    sites = elements.concepts(resource.get("bodySite"))
    return Procedure(
        ref=ref,
        codes=elements.distinct(found),
        performed=_when(resource, _WHEN[kind]),
        body_sites=codes.of_all(sites),
        texts=elements.texts(concepts),
        done=done,
    )


def _when(resource: Json, names: tuple[str, ...]) -> Period | None:
    """The first of these elements that says when; one of a completed order, by its writing, is not before that."""
    for name in names:
        value = resource.get(name)
        found = elements.period(value) if isinstance(value, dict) else elements.span(value)
        if found is not None:
            return found
    written = elements.span(resource.get("authoredOn"))
    return Period(written.start, None) if written else None


# --- drugs --------------------------------------------------------------------------------------------

_NEVER_TAKEN = frozenset({"entered-in-error", "cancelled", "not-taken", "not-done", "declined", "draft", "preparation"})
_NOT_ORDERED = ("proposal", "option")
_IN_USE: Mapping[str, Mapping[str, bool | None]] = {
    "MedicationRequest": {"active": True, "completed": False, "stopped": False},
    "MedicationStatement": {"active": True, "completed": False, "stopped": False},
    "MedicationDispense": {},
    "MedicationAdministration": {"in-progress": True, "completed": False, "stopped": False},
}


def medication(resource: Json, ref: str, faulty: frozenset[str], index: Index) -> Medication | None:
    """A drug that is or was prescribed, dispensed, given or reported; None where it never was."""
    kind, status = resource["resourceType"], resource.get("status")
    if (
        status in _NEVER_TAKEN
        or resource.get("doNotPerform") is True
        or resource.get("intent") in ("proposal", "option")
    ):
        return None
    product = index.resolve(resource.get("medicationReference"), within=resource)
    concepts = elements.concepts(resource.get("medicationCodeableConcept"))
    if product is not None:
        parts = [
            i.get("itemCodeableConcept") for i in elements.listed(product.get("ingredient")) if isinstance(i, dict)
        ]
        concepts += [c for c in (product.get("code"), *parts) if isinstance(c, dict)]
    active = None if "status" in faulty else _IN_USE[kind].get(str(status))
    return Medication(
        ref=ref,
        codes=elements.distinct([code for concept in concepts for code in codes.read(concept)[0]]),
        active=active,
        taken=_taken(resource, kind, active),
        stopped_because=_reasons(resource),
        texts=elements.texts(concepts),
    )


def _reasons(resource: Json) -> tuple[Code, ...]:
    return codes.of_all(resource.get("statusReason") or resource.get("statusReasonCodeableConcept") or [])


def _taken(resource: Json, kind: str, active: bool | None) -> Period | None:
    """First and last day of use, as far as they are known."""
    if kind == "MedicationDispense":
        return _supplied(resource)
    if kind == "MedicationRequest":
        dispense = resource.get("dispenseRequest")
        valid = elements.period(dispense.get("validityPeriod")) if isinstance(dispense, dict) else None
        written = elements.span(resource.get("authoredOn"))
        start = valid.start if valid and valid.start else written.start if written else None
        end = valid.end if valid and active is not True else None
        return Period(start, end) if start or end else None
    return elements.choice_span(resource, "effective")


def _supplied(dispense: Json) -> Period | None:
    """The days that a dispense lasts from the day it was handed over."""
    day = elements.day(dispense.get("whenHandedOver")) or elements.day(dispense.get("whenPrepared"))
    if day is None:
        return None
    supply: Any = dispense.get("daysSupply")
    days = supply.get("value") if isinstance(supply, dict) else None
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days < 1000:
        return Period(day, None)
    return Period(day, day + timedelta(days=int(days)))
