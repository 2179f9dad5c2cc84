"""Orders out of FHIR request resources, with the authorisations they carry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

from cds_service.facts import codes, elements
from cds_service.facts.references import Index, Json
from cds_service.policy.case import Authorization, Code, Order

ORDER_TYPES = frozenset(
    {
        "ServiceRequest", "DeviceRequest", "MedicationRequest", "NutritionOrder", "VisionPrescription",
        "CommunicationRequest", "Appointment", "Encounter",
    }
)  # fmt: skip

# Statuses that take an order out of consideration: nothing is left to decide.
SETTLED = frozenset(
    {"revoked", "cancelled", "completed", "entered-in-error", "stopped", "ended", "fulfilled", "noshow", "finished"}
)
COVERAGE_INFORMATION = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
BILLING_OPTIONS = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-billing-options"

_CODE_ELEMENTS = {
    "ServiceRequest": ("code",),
    "DeviceRequest": ("codeCodeableConcept",),
    "MedicationRequest": ("medicationCodeableConcept",),
    "Appointment": ("serviceType",),
    "Encounter": ("serviceType",),
    "NutritionOrder": (),
    "VisionPrescription": (),
    "CommunicationRequest": (),
}
_CODE_REFERENCES = {"DeviceRequest": "codeReference", "MedicationRequest": "medicationReference"}


def order(
    resource: Json, ref: str, *, draft: bool, faulty: frozenset[str], index: Index, local: Mapping[Code, Code]
) -> Order:
    """One order; elements that intake dropped (`faulty`) are None or marked, never guessed."""
    concepts = _concepts(resource, index)
    found, modifiers = _codes(concepts, local)
    occurrence = elements.first_day(resource, "occurrence") or elements.day(resource.get("start"))
    authored = elements.day(resource.get("authoredOn")) or elements.day(resource.get("created"))
    reasons = [c for r in elements.concepts(resource.get("reasonCode")) for c in codes.read(r)[0]]
    sites = elements.concepts(resource.get("bodySite"))
    requisition = resource.get("requisition") or resource.get("groupIdentifier")
    return Order(
        ref=ref,
        codes=found,
        draft=draft,
        units=_units(resource, faulty),
        modifiers=modifiers,
        texts=_texts(resource, concepts),
        reason_codes=tuple(dict.fromkeys(reasons)),
        reason_refs=_keys(resource, "reasonReference", index),
        reasons_faulty=bool(faulty & {"reasonCode", "reasonReference"}),
        body_sites=tuple(dict.fromkeys(c for s in sites for c in codes.read(s)[0])),
        body_site_texts=tuple(dict.fromkeys(t for s in sites for t in elements.concept_texts(s))),
        encounter=index.key(resource.get("encounter")),
        requisition=_identifier(requisition),
        based_on=_keys(resource, "basedOn", index),
        insurance=_keys(resource, "insurance", index),
        occurrence=occurrence,
        authored_on=authored,
        authorization=authorization(resource, occurrence or authored, index),
        faulty=faulty,
    )


def _concepts(resource: Json, index: Index) -> list[Any]:
    kind = str(resource.get("resourceType"))
    found = [c for name in _CODE_ELEMENTS.get(kind, ("code",)) for c in elements.concepts(resource.get(name))]
    reference = _CODE_REFERENCES.get(kind)
    if reference and reference in resource:
        target = index.resolve(resource[reference], within=resource)
        if target is not None:
            found += elements.concepts(target.get("code")) + elements.concepts(target.get("type"))
    return found


def _codes(concepts: list[Any], local: Mapping[Code, Code]) -> tuple[tuple[Code, ...], tuple[str, ...]]:
    found: dict[Code, None] = {}
    modifiers: dict[str, None] = {}
    for concept in concepts:
        options = [e.get("valueCodeableConcept") for e in elements.extensions(concept, BILLING_OPTIONS)]
        for each in (concept, *options):
            own, extra = codes.read(each, local)
            found.update(dict.fromkeys(own))
            modifiers.update(dict.fromkeys(extra))
    return tuple(found), tuple(sorted(modifiers))


def _texts(resource: Json, concepts: list[Any]) -> tuple[str, ...]:
    texts = [t for c in concepts if (t := elements.text(c.get("text")))]
    texts += [t for d in elements.concepts(resource.get("orderDetail")) for t in elements.concept_texts(d)]
    for note in elements.listed(resource.get("note")):
        if isinstance(note, dict) and (written := elements.text(note.get("text"))):
            texts.append(written)
    return tuple(dict.fromkeys(texts))


def _units(resource: Json, faulty: frozenset[str]) -> int | None:
    if any(name.startswith("quantity") for name in faulty):
        return None
    quantity = resource.get("quantityQuantity")
    if quantity is None:
        return None if "quantityRatio" in resource or "quantityRange" in resource else 1
    value = quantity.get("value") if isinstance(quantity, dict) and not quantity.get("comparator") else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if value == int(value) and value >= 1 else None


def _keys(resource: Json, name: str, index: Index) -> tuple[str, ...]:
    keys = (index.key(r) for r in elements.listed(resource.get(name)))
    return tuple(dict.fromkeys(k for k in keys if k))


def _identifier(value: object) -> str | None:
    if not isinstance(value, dict) or not elements.text(value.get("value")):
        return None
    return f"{value.get('system', '')}|{value['value']}"


def authorization(resource: Json, on: date | None, index: Index) -> Authorization | None:
    """An existing authorisation: coverage-information with pa-needed `satisfied`, or insurance -> ClaimResponse."""
    ref = f"{resource.get('resourceType')}/{resource.get('id')}"
    for extension in elements.extensions(resource, COVERAGE_INFORMATION):
        if "satisfied" in elements.extension_values(extension, "pa-needed"):
            expires = elements.day(next(elements.extension_values(extension, "expiry-date"), None))
            if expires is None or on is None or on <= expires:
                number = elements.text(next(elements.extension_values(extension, "satisfied-pa-id"), None))
                return Authorization(number, ref, expires)
    for reference in elements.listed(resource.get("insurance")):
        response = index.resolve(reference, within=resource)
        if response is not None and response.get("resourceType") == "ClaimResponse":
            found = _granted(response, index.key(reference) or ref, on)
            if found:
                return found
    return None


def _granted(response: Json, ref: str, on: date | None) -> Authorization | None:
    number = elements.text(response.get("preAuthRef"))
    status, outcome = response.get("status", "active"), response.get("outcome", "complete")
    if number is None or status != "active" or outcome not in ("complete", "partial"):
        return None
    bounds = elements.period(response.get("preAuthPeriod"))
    if bounds and on and ((bounds.start and on < bounds.start) or (bounds.end and on > bounds.end)):
        return None
    return Authorization(number, ref, bounds.end if bounds else None)
