"""Suggestion actions: delete a draft by reference, create a complete draft in its place (CDS Hooks, Action)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cds_service.policy.case import Code

Json = dict[str, Any]

# What a replacement keeps of the order it replaces: who, where, when, why. Not what was ordered or said of it.
_SHARED = (
    "basedOn", "intent", "priority", "subject", "encounter", "authoredOn", "requester", "performerType", "reasonCode",
    "reasonReference", "insurance",
)  # fmt: skip
_OCCURRENCE = ("occurrenceDateTime", "occurrencePeriod", "occurrenceTiming")
KEPT: Mapping[str, tuple[str, ...]] = {
    "ServiceRequest": (
        *_SHARED, *_OCCURRENCE, "requisition", "category", "performer", "locationCode", "locationReference", "bodySite",
    ),
    "DeviceRequest": (*_SHARED, *_OCCURRENCE, "groupIdentifier", "performer"),
    "MedicationRequest": (*_SHARED, "groupIdentifier", "performer"),
}  # fmt: skip
_BASES = ("CarePlan/", "ServiceRequest/", "MedicationRequest/")  # what a ServiceRequest may be based on


def replaceable(original: Mapping[str, Any]) -> bool:
    """True for orders in whose place a ServiceRequest may stand: not a booking, an encounter, or another kind."""
    return original.get("resourceType") in KEPT


def delete(ref: str, text: str) -> Json:
    """A delete action; `resourceId` is the relative reference of the draft."""
    return {"type": "delete", "description": text, "resourceId": ref}


def create(resource: Json, text: str) -> Json:
    """A create action."""
    return {"type": "create", "description": text, "resource": resource}


def draft_in_place_of(
    original: Mapping[str, Any], code: Code, uri: str, label: str, new_id: str, patient_ref: str
) -> Json:
    """A complete draft ServiceRequest with another code, keeping what belongs to the operation.

    `original` must be `replaceable`. Insurance keeps only Coverage references: an authorisation of the replaced
    order is not one of the new order.
    """
    kind = original["resourceType"]
    kept = {k: original[k] for k in KEPT[kind] if k in original}
    _only(kept, "insurance", ("Coverage/",))
    if kind != "ServiceRequest":
        _as_service_request(kept)
    resource = {"resourceType": "ServiceRequest", "id": new_id, "status": "draft", "intent": "order"} | kept
    resource.setdefault("subject", {"reference": patient_ref})
    resource["code"] = {"coding": [{"system": uri, "code": code.code, "display": label}], "text": label}
    return resource


def _as_service_request(kept: Json) -> None:
    """What other requests call or shape otherwise (FHIR R4: one performer, groupIdentifier, wider basedOn)."""
    _only(kept, "basedOn", _BASES)
    if "performer" in kept:
        kept["performer"] = [kept["performer"]]
    if "groupIdentifier" in kept:
        kept["requisition"] = kept.pop("groupIdentifier")


def _only(kept: Json, name: str, targets: tuple[str, ...]) -> None:
    """References of an element to these types; without any, the element goes."""
    if name in kept:
        kept[name] = [r for r in kept[name] if isinstance(r, dict) and _leads_to(r, targets)]
        if not kept[name]:
            del kept[name]


def _leads_to(reference: Json, targets: tuple[str, ...]) -> bool:
    return any(target in str(reference.get("reference", "")) for target in targets)
