"""Suggestion actions: delete a draft by reference, create a complete draft in its place (CDS Hooks, Action)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cds_service.policy.case import Code

Json = dict[str, Any]

# What a replacement keeps of the order it replaces: who, where, when, why. Not what was ordered or said of it.
KEPT = (
    "basedOn", "requisition", "intent", "category", "priority", "subject", "encounter", "occurrenceDateTime",
    "occurrencePeriod", "occurrenceTiming", "authoredOn", "requester", "performerType", "performer", "locationCode",
    "locationReference", "reasonCode", "reasonReference", "insurance", "bodySite",
)  # fmt: skip


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

    Insurance keeps only Coverage references: an authorisation of the replaced order is not one of the new order.
    """
    kept = {k: original[k] for k in KEPT if k in original}
    if "insurance" in kept:
        kept["insurance"] = [
            r for r in kept["insurance"] if isinstance(r, dict) and "Coverage/" in str(r.get("reference", ""))
        ]
        if not kept["insurance"]:
            del kept["insurance"]
    resource = {"resourceType": "ServiceRequest", "id": new_id, "status": "draft", "intent": "order"} | kept
    resource.setdefault("subject", {"reference": patient_ref})
    resource["code"] = {"coding": [{"system": uri, "code": code.code, "display": label}], "text": label}
    return resource
