"""Whose a resource is: this patient's, another's, or nobody can tell. Only what is this patient's is used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from cds_service import urls
from cds_service.facts import elements
from cds_service.facts.references import Index, Json, searched
from cds_service.facts.sources import read_value

ANOTHERS = "belongs to another patient and is not used"
UNCLEAR = "does not say clearly whose it is and is not used"
_SUBJECT = {
    "ServiceRequest": "subject", "DeviceRequest": "subject", "MedicationRequest": "subject", "Condition": "subject",
    "Procedure": "subject", "Observation": "subject", "QuestionnaireResponse": "subject", "Encounter": "subject",
    "CommunicationRequest": "subject", "NutritionOrder": "patient", "VisionPrescription": "patient",
    "Coverage": "beneficiary", "ClaimResponse": "patient", "DiagnosticReport": "subject", "ImagingStudy": "subject",
    "Immunization": "patient", "MedicationAdministration": "subject", "MedicationDispense": "subject",
    "MedicationStatement": "subject",
}  # fmt: skip


class Owner:
    """The patient of the call, as resources may refer to one: by reference on the caller's server, by identifier.

    `base` is where the caller's FHIR server is ("" where that is not known: then any will do); `prefetch` may hold the
    Patient, whose identifiers are needed before it is taken up.
    """

    def __init__(self, patient_id: str, base: str, prefetch: Mapping[str, Any], index: Index) -> None:
        own = patient_id.removeprefix("Patient/")
        self.ref = f"Patient/{own}"
        self._spelt = frozenset({self.ref, own, f"urn:uuid:{own}"})
        self._base, self._prefetch, self._index = _place(base), prefetch, index
        self._read: Json | None = None
        self._own: frozenset[tuple[str, str]] = frozenset()

    def trouble(self, resource: Json) -> str:
        """Why a resource is not used as this patient's; "" where it is, and where it names no subject at all."""
        subject = resource.get(_SUBJECT.get(resource["resourceType"], ""))
        if not isinstance(subject, dict):
            return ""
        text = subject.get("reference")
        if isinstance(text, str) and text:
            return "" if text in self._spelt else self._by_reference(subject, text, resource)
        given = elements.identifiers([subject.get("identifier")])
        return UNCLEAR if given and given.isdisjoint(self._identifiers()) else ""

    def _by_reference(self, subject: Json, text: str, resource: Json) -> str:
        if (wanted := searched(text)) is not None:
            pair = (wanted.system, wanted.value)
            return "" if pair in self._identifiers() or self._index.key(text) == self.ref else UNCLEAR
        key = self._index.key(text)
        if key == self.ref:
            return ANOTHERS if self._is_elsewhere(text) else ""
        if not text.startswith(("urn:", "#")):
            return ANOTHERS if key and key.startswith("Patient/") else UNCLEAR
        patient = self._index.resolve(subject, within=resource)
        if patient is None or patient.get("resourceType") != "Patient":
            return "" if text in self._urls else UNCLEAR
        if not elements.identifiers(patient.get("identifier")).isdisjoint(self._identifiers()):
            return ""
        return ANOTHERS if "id" in patient and not text.startswith("#") else UNCLEAR

    def _is_elsewhere(self, text: str) -> bool:
        """Is it a reference to a resource of another server, which has ids of its own?"""
        return bool(self._base) and "://" in text and _place(text.rpartition("/Patient/")[0]) != self._base

    def _identifiers(self) -> frozenset[tuple[str, str]]:
        """Those of the Patient, read once for each that is found: a chart may name its patient in every resource."""
        found = self._index.resolve(self.ref) or (self._at_hand[0][0] if self._at_hand else None)
        if found is not None and found is not self._read:
            self._read, self._own = found, frozenset(elements.identifiers(found.get("identifier")))
        return self._own

    @cached_property
    def _at_hand(self) -> list[tuple[Json, object]]:
        """The Patient in the prefetch, with its fullUrl, wherever it stands."""
        every = [pair for value in self._prefetch.values() for pair in read_value(value).resources]
        return [(r, url) for r, url in every if f"{r.get('resourceType')}/{r.get('id')}" == self.ref]

    @property
    def _urls(self) -> list[object]:
        return [url for _, url in self._at_hand]


def _place(url: str) -> str:
    """Host and path of a base URL. Behind a proxy, http and https are one server."""
    authority, slash, path = urls.normalise(url).partition("://")[2].partition("/")
    return f"{authority.lower()}{slash}{path}"
