"""Orders out of FHIR request resources, with the authorisations they carry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cds_service.facts import codes, elements
from cds_service.facts.authorizations import authorizations
from cds_service.facts.references import Index, Json
from cds_service.policy.case import Code, Order

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
BILLING_OPTIONS = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-billing-options"

_CODE_ELEMENT = {
    "ServiceRequest": "code",
    "DeviceRequest": "codeCodeableConcept",
    "MedicationRequest": "medicationCodeableConcept",
    "Appointment": "serviceType",
    "Encounter": "serviceType",
}
_CODE_REFERENCE = {"DeviceRequest": "codeReference", "MedicationRequest": "medicationReference"}


def is_settled(resource: Json) -> bool:
    """Is nothing left to decide about this order, whether or not it can be read?"""
    status = resource.get("status")
    return (isinstance(status, str) and status in SETTLED) or resource.get("doNotPerform") is True


def order(
    resource: Json, ref: str, *, draft: bool, faulty: frozenset[str], index: Index, local: Mapping[Code, Code]
) -> Order:
    """One order; elements that intake dropped (`faulty`) are None or marked, never guessed."""
    get = resource.get
    concepts = _concepts(resource, index)
    found, modifiers = _codes(concepts, local)
    occurrence = elements.first_day(resource, "occurrence") or elements.day(get("start"))
    authored = elements.day(get("authoredOn")) or elements.day(get("created"))
    sites = elements.concepts(get("bodySite"))
    return Order(  # by position: nineteen keywords would triple what this costs
        ref,
        found,
        draft,
        _units(resource, faulty),
        modifiers,
        _texts(resource, concepts, found),
        codes.of_all(get("reasonCode")),
        _keys(get("reasonReference"), index),
        bool(faulty) and ("reasonCode" in faulty or "reasonReference" in faulty),
        codes.of_all(sites),
        elements.texts(sites),
        index.key(get("encounter")),
        _identifier(get("requisition") or get("groupIdentifier")),
        _keys(get("basedOn"), index),
        _keys(get("insurance"), index),
        occurrence,
        authored,
        authorizations(resource, ref, index, found),
        faulty,
    )


def _concepts(resource: Json, index: Index) -> list[Any]:
    kind = resource["resourceType"]
    found = elements.concepts(resource.get(_CODE_ELEMENT.get(kind, "")))
    reference = resource.get(_CODE_REFERENCE[kind]) if kind in _CODE_REFERENCE else None
    target = index.resolve(reference, within=resource) if reference else None
    if target is None:
        return found
    return found + elements.concepts(target.get("code")) + elements.concepts(target.get("type"))


def _codes(concepts: list[Any], local: Mapping[Code, Code]) -> tuple[tuple[Code, ...], tuple[str, ...]]:
    if len(concepts) == 1 and "extension" not in concepts[0]:
        own, extra = codes.read(concepts[0], local)
        return own, tuple(sorted(extra)) if extra else ()
    found: list[Code] = []
    modifiers: list[str] = []
    for concept in concepts:
        options = [e.get("valueCodeableConcept") for e in elements.extensions(concept, BILLING_OPTIONS)]
        for each in (concept, *options):
            own, extra = codes.read(each, local)
            found += own
            modifiers += extra
    return elements.distinct(found), tuple(sorted(set(modifiers)))


def product(resource: Json | None, index: Index) -> str | None:
    """The reference of the device or medication that an order is for, where it leads nowhere; else None."""
    if resource is None or resource["resourceType"] not in _CODE_REFERENCE:
        return None
    reference = resource.get(_CODE_REFERENCE[resource["resourceType"]])
    if reference is None or index.resolve(reference, within=resource) is not None:
        return None
    return index.key(reference)


def _texts(resource: Json, concepts: list[Any], coded: tuple[Code, ...]) -> tuple[str, ...]:
    found = [concept["text"] for concept in concepts if "text" in concept]
    if not any(code.system in (codes.CPT, codes.HCPCS) for code in coded):
        found += elements.texts(concepts)  # without a billing code, the displays of its codings say what it is
    if resource["resourceType"] in _CODE_REFERENCE:
        reference = resource.get(_CODE_REFERENCE[resource["resourceType"]])
        found += [reference.get("display")] if isinstance(reference, dict) else []
    if "orderDetail" in resource:
        found += elements.texts(elements.concepts(resource["orderDetail"]))
    if "note" in resource:
        found += [n.get("text") for n in elements.listed(resource["note"]) if isinstance(n, dict)]
    return elements.distinct([t for t in found if isinstance(t, str) and t]) if found else ()


def _units(resource: Json, faulty: frozenset[str]) -> int | None:
    if faulty and any(name.startswith("quantity") for name in faulty):
        return None
    quantity = resource.get("quantityQuantity")
    if quantity is None:
        return None if "quantityRatio" in resource or "quantityRange" in resource else 1
    value = quantity.get("value") if isinstance(quantity, dict) and not quantity.get("comparator") else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if value == int(value) and value >= 1 else None


def _keys(references: object, index: Index) -> tuple[str, ...]:
    if not isinstance(references, list):
        return ()
    return elements.distinct(list(filter(None, map(index.key, references))))


def _identifier(value: object) -> str | None:
    if not isinstance(value, dict) or not elements.text(value.get("value")):
        return None
    return f"{value.get('system', '')}|{value['value']}"
