"""Charts in any shape, as answers of one query each: a Bundle of Bundles, a list, Parameters that carry resources.

Source: FHIR R4, Bundle (batch-response, history, document, message) and Parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cds_service.facts.references import Json

MAX_DEPTH = 5  # Bundles within Bundles: a batch of searches has two
_WRAPPERS = ("Bundle", "Parameters")
_TOO_DEEP: Json = {}  # an entry without a resource, and told of as that


def answers(value: object) -> Iterator[object]:
    """What a value holds, as Bundles without Bundles in them; what is no such thing comes as it is."""
    return _answers(value, MAX_DEPTH)


def _answers(value: object, depth: int) -> Iterator[object]:
    bundle = _as_bundle(value)
    if bundle is None:
        yield value
        return
    entries = entries_of(bundle)
    if entries is None:
        yield bundle
        return
    wrapped = [_wrapped(entry) for entry in entries]
    if not any(wrapped):
        yield bundle
        return
    plain = [e if w is None else _TOO_DEEP for e, w in zip(entries, wrapped, strict=True) if w is None or not depth]
    if plain or bundle.get("link") is not None:
        yield {**bundle, "entry": plain}
    for inner in wrapped if depth else ():
        if inner is not None:
            yield from _answers(inner, depth - 1)


def entries_of(bundle: Json) -> list[Any] | None:
    """The entries of a Bundle: a single one may stand for a list. None where there is no such thing."""
    given = bundle.get("entry")
    if isinstance(given, dict) and "resource" in given:
        return [given]
    return given if isinstance(given, list) else None


def _wrapped(entry: object) -> Json | None:
    """A resource of an entry that holds others."""
    resource = entry.get("resource") if isinstance(entry, dict) else None
    return resource if isinstance(resource, dict) and resource.get("resourceType") in _WRAPPERS else None


def _as_bundle(value: object) -> Json | None:
    if isinstance(value, list):
        return {"resourceType": "Bundle", "entry": [{"resource": each} for each in value]} if value else None
    if not isinstance(value, dict):
        return None
    if value.get("resourceType") == "Parameters":
        return {"resourceType": "Bundle", "entry": [{"resource": r} for r in _carried(value.get("parameter"))]}
    return value if value.get("resourceType") == "Bundle" else None


def _carried(parameters: object, depth: int = MAX_DEPTH) -> Iterator[object]:
    """Resources that parameters, and their parts, carry."""
    for parameter in parameters if isinstance(parameters, list) else [parameters]:
        if isinstance(parameter, dict):
            if "resource" in parameter:
                yield parameter["resource"]
            if depth and "part" in parameter:
                yield from _carried(parameter["part"], depth - 1)
