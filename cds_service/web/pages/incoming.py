"""What a person pastes into the workbench, as a hook request: a request as it is, or a Bundle taken as the chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from cds_service.errors import RequestError
from cds_service.facts.orders import ORDER_TYPES
from cds_service.facts.references import resource_of
from cds_service.facts.sources import SPECS, read_value

Json = dict[str, Any]
_ORDERS = ORDER_TYPES - {"Encounter", "Appointment"}
_READ = frozenset(spec.kind for spec in SPECS)
Entry = tuple[Json, object]


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
    given = read_value(bundle).resources
    entries = [(resource_of({"resource": r, "fullUrl": url}) or r, url) for r, url in given]
    resources = [r for r, _ in entries]
    orders = [r for r in resources if r["resourceType"] in _ORDERS]
    drafts = [r for r in orders if r.get("status") == "draft"]
    if not drafts:
        drafts = [{**r, "status": "draft"} for r in orders if r.get("status", "active") == "active"]
    if not drafts:
        raise RequestError("holds no draft or active order", path="Bundle.entry", code="required")
    return {
        "hook": "order-sign",
        "hookInstance": str(uuid4()),
        "context": {
            "userId": "Practitioner/workbench",
            "patientId": _patient_of(resources, drafts),
            "draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in drafts]},
        },
        "prefetch": _prefetch(entries, {_ref(r) for r in drafts}),
    }


def _ref(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource.get('id', '')}"


def _patient_of(resources: list[Json], drafts: list[Json]) -> str:
    own = (r.get("id") for r in resources if r["resourceType"] == "Patient")
    subjects = (r.get("subject") for r in drafts)
    referred = (s.get("reference", "").rpartition("/")[2] for s in subjects if isinstance(s, dict))
    found = next((str(i) for i in (*own, *referred) if i), None)
    if found is None:
        raise RequestError("holds no Patient, and no order names one", path="Bundle.entry", code="required")
    return found


def _prefetch(entries: list[Entry], signed: set[str]) -> Json:
    """Every source of the chart, empty where the Bundle holds nothing of it; and what the others refer to."""
    filled: Json = {}
    for spec in SPECS:
        if spec.name != "planned-orders":
            members = [(r, url) for r, url in entries if r["resourceType"] == spec.kind and _ref(r) not in signed]
            if spec.name == "active-orders":
                members = [(r, url) for r, url in members if r.get("status") == "active"]
            filled[spec.key] = searchset([r for r, _ in members], [url for _, url in members])
    others = [(r, url) for r, url in entries if r["resourceType"] not in _READ and _ref(r) not in signed]
    if others:
        filled["references"] = searchset([r for r, _ in others], [url for _, url in others])
    return filled


def searchset(resources: list[Json], urls: Sequence[object] = ()) -> Json:
    """A searchset Bundle, with fullUrls where `urls` has them; FHIR JSON has no empty arrays."""
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(resources)}
    if resources:
        known = [*urls, *[None] * (len(resources) - len(urls))]
        bundle["entry"] = [
            {"resource": r, **({"fullUrl": url} if isinstance(url, str) else {})}
            for r, url in zip(resources, known, strict=True)
        ]
    return bundle
