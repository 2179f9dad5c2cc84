"""What a person pastes into the workbench, as a hook request: a request as it is, or a Bundle taken as the chart."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from cds_service.errors import RequestError
from cds_service.facts.orders import ORDER_TYPES
from cds_service.facts.references import Index, named
from cds_service.facts.sources import SPECS, read_value

Json = dict[str, Any]
_ORDERS = ORDER_TYPES - {"Encounter", "Appointment"}
_EXTRA = {"coverage": {"Coverage", "Organization"}}


def as_request(value: Json) -> Json:
    """The hook request that was pasted, or one made of a Bundle. Raises RequestError."""
    if "context" in value or "hook" in value:
        return value
    if value.get("resourceType") in ("Bundle", "Parameters"):
        return from_bundle(value)
    raise RequestError("is neither a hook request nor a FHIR Bundle", path="$", code="structure")


def from_bundle(bundle: Json) -> Json:
    """An order-sign request: the Bundle's drafts (or, without any, its active orders) are signed.

    The Bundle is taken as the whole chart: a source of which it holds nothing is empty, not unavailable.
    """
    came = [_entry(resource, url) for resource, url in read_value(bundle).resources]
    orders = [e for e in came if e["resource"]["resourceType"] in _ORDERS]
    drafts = [e for e in orders if e["resource"].get("status") == "draft"]
    if not drafts:
        active = [e for e in orders if e["resource"].get("status", "active") == "active"]
        drafts = [{**e, "resource": {**e["resource"], "status": "draft"}} for e in active]
    if not drafts:
        raise RequestError("holds no draft or active order", path="Bundle.entry", code="required")
    return {
        "hook": "order-sign",
        "hookInstance": str(uuid4()),
        "context": {
            "userId": "Practitioner/workbench",
            "patientId": _patient_of(came, drafts),
            "draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": drafts},
        },
        "prefetch": _prefetch(came, {_ref(e["resource"]) for e in drafts}),
    }


def _entry(resource: Json, full_url: object) -> Json:
    wrapped: Json = {"resource": named(resource, full_url)}
    return {"fullUrl": full_url, **wrapped} if isinstance(full_url, str) else wrapped


def _ref(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource.get('id', '')}"


def _patient_of(came: list[Json], drafts: list[Json]) -> str:
    """The Patient's id, or the one that the drafts' subject leads to."""
    index = Index()
    for entry in came:
        index.add(entry["resource"], entry.get("fullUrl"))
    own = (e["resource"].get("id") for e in came if e["resource"]["resourceType"] == "Patient")
    subjects = (index.key(e["resource"].get("subject")) or "" for e in drafts)
    found = next((str(i) for i in (*own, *(s.rpartition("/")[2] for s in subjects)) if i), None)
    if found is None:
        raise RequestError("holds no Patient, and no order names one", path="Bundle.entry", code="required")
    return found


def _prefetch(came: list[Json], signed: set[str]) -> Json:
    filled: Json = {}
    for spec in SPECS:
        if spec.name == "planned-orders":
            continue
        kinds = _ORDERS if spec.name == "active-orders" else _EXTRA.get(spec.name, {spec.kind})
        members = [e for e in came if e["resource"]["resourceType"] in kinds and _ref(e["resource"]) not in signed]
        if spec.name == "active-orders":
            members = [e for e in members if e["resource"].get("status") == "active"]
        filled[spec.key] = _searchset(members)
    if products := [e for e in came if e["resource"]["resourceType"] in ("Device", "Medication")]:
        filled["products"] = _searchset(products)
    return filled


def searchset(resources: list[Json]) -> Json:
    """A searchset Bundle of resources."""
    return _searchset([{"resource": r} for r in resources])


def _searchset(entries: list[Json]) -> Json:
    """A searchset Bundle; FHIR JSON has no empty arrays."""
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
    return {**bundle, "entry": entries} if entries else bundle
