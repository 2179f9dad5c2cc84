"""The plain form of a hook request: what nothing depends on is forgiven before the contract judges it.

What is depended on stays as it came, for the contract to name: hook, hookInstance, context and its members that a hook
reads, prefetch, fhirServer, and the access token where there is a server to send it to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
_BUNDLES = ("draftOrders", "appointments")
_LISTS = ("selections", "dispatchedOrders")


def plain(body: Json) -> Json:
    """A copy of the envelope in its plain form; resources are the same objects, and the request is not changed."""
    found = dict(body)
    server = found.get("fhirServer")
    if server is None or (isinstance(server, str) and not server.strip()):
        found.pop("fhirServer", None)
        found.pop("fhirAuthorization", None)  # a token that nobody is to be sent
    if found.get("prefetch") is None:
        found.pop("prefetch", None)
    if not isinstance(found.get("extension"), dict):
        found.pop("extension", None)
    if isinstance(found.get("context"), dict):
        found["context"] = _context(found["context"])
    return found


def _context(context: Mapping[str, Any]) -> Json:
    found = {name: value for name, value in context.items() if value is not None}
    for name in _BUNDLES:
        if isinstance(found.get(name), dict):
            found[name] = _bundle(found[name])
    for name in _LISTS:
        if isinstance(found.get(name), str) and found[name]:
            found[name] = [found[name]]
    if isinstance(found.get("patientId"), str):
        found["patientId"] = found["patientId"].strip()
    return found


def _bundle(bundle: Json) -> Json:
    """With a list of entries, each of them with its resource, and a type where it has entries."""
    found = {"resourceType": "Bundle", **bundle} if "entry" in bundle else dict(bundle)
    entry = found.get("entry")
    if entry is None:
        found.pop("entry", None)
    elif isinstance(entry, dict):
        found["entry"] = [entry]
    if isinstance(found.get("entry"), list):
        found["entry"] = [_entry(item) for item in found["entry"]]
    return found


def _entry(item: Any) -> Any:
    """A resource that stands where an entry belongs is the resource of that entry."""
    bare = isinstance(item, dict) and "resource" not in item and isinstance(item.get("resourceType"), str)
    return {"resource": item} if bare else item
