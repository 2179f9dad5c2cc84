"""How a resource is named in errors, faults, explanations and logs: what stands where FHIR has a type or an id may be
anything that somebody wrote, a patient's name too.
"""

from __future__ import annotations

import re

TYPES = frozenset(
    [
        "Appointment",
        "ClaimResponse",
        "CommunicationRequest",
        "Condition",
        "Coverage",
        "Device",
        "DeviceRequest",
        "DiagnosticReport",
        "Encounter",
        "ImagingStudy",
        "Immunization",
        "Location",
        "Medication",
        "MedicationAdministration",
        "MedicationDispense",
        "MedicationRequest",
        "MedicationStatement",
        "NutritionOrder",
        "Observation",
        "Organization",
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Procedure",
        "Questionnaire",
        "QuestionnaireResponse",
        "RelatedPerson",
        "ServiceRequest",
        "SupplyRequest",
        "Task",
        "VisionPrescription",
    ]
)
"""Types of FHIR R4 that may be named: those that are read here, and one that is known not to be."""
_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")
_PLACE = re.compile(r"(?:context\.[A-Za-z]{1,32}|plannedOrders)\.entry\[\d{1,6}\](?:\.[A-Za-z]{1,32})*")
_NUMBER = re.compile(r"\d{1,6}\]")


def safe_name(ref: str) -> str:
    """A reference, or a place in the request, as anybody may read it: `Type/id` and `Type[n]` of known types and legal
    ids as they are, else the type alone, else "a resource".
    """
    if _PLACE.fullmatch(ref):
        return ref
    kind, mark, rest = re.match(r"([^/\[]*)([/\[]?)(.*)", ref, re.DOTALL).groups()  # type: ignore[union-attr]
    number = mark == "[" and _NUMBER.fullmatch(rest)
    if kind not in TYPES:
        return f"a resource[{rest}" if number else "a resource"
    return ref if number or (mark == "/" and _ID.fullmatch(rest)) else f"{kind} (id withheld)"


def safe_step(name: str) -> str:
    """The name of a JSON member in a path, where it is one that a contract could have."""
    return name if re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_.$-]{0,63}", name) else "(name withheld)"
