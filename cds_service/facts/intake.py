"""Intake: one FHIR R4 resource in, what can be read of it out, with every fault named and no value repeated.

Valid resources pass untouched after a schema check of microseconds; only others meet fhir.resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from cds_service.facts import validity
from cds_service.facts.repair import Repair, fhirpath
from cds_service.facts.validity import READABLE
from cds_service.policy.case import Fault, Harm

# URLs of modifier extensions whose meaning this service honours. None yet: each makes a resource unusable.
UNDERSTOOD_MODIFIERS: frozenset[str] = frozenset()
_NONE: frozenset[str] = frozenset()


class Reading(NamedTuple):
    """What became of one resource.

    `resource` is None when it cannot be used (then one fault is fatal). Otherwise its elements have the JSON
    types of FHIR R4, but required ones may be missing, at any depth. `faulty` names the top-level elements
    that were left out, wholly or in part: what depends on one of them is unknown, not absent. A
    resource that `validity` accepts is read untouched: `Reading(resource)`.
    """

    resource: dict[str, Any] | None
    faults: tuple[Fault, ...] = ()
    faulty: frozenset[str] = _NONE


def read(resource: object, ref: str) -> Reading:
    """Read one resource of a chart; `ref` names it in faults. Never mutates or raises, whatever the JSON.

    Source: FHIR R4 (4.0.1), JSON format, extensibility (modifierExtension) and the resource definitions.
    """
    if not isinstance(resource, dict):
        return _unusable(ref, "", "is not a FHIR resource: not a JSON object")
    kind = resource.get("resourceType")
    if not isinstance(kind, str) or not kind:
        return _unusable(ref, "resourceType", "is missing or not text, so this is not a FHIR resource")
    if kind not in READABLE:
        return _unusable(ref, "resourceType", "names a type that is not read by this service")
    if validity.accepts(resource):
        return Reading(resource)
    return _read_around(resource, kind, ref)


def _unusable(ref: str, path: str, text: str) -> Reading:
    return Reading(None, (Fault(ref, path, text, fatal=True),))


def _read_around(resource: dict[str, Any], kind: str, ref: str) -> Reading:
    """The slow path: what the schema does not accept, judged by fhir.resources and repaired."""
    for name in ("implicitRules", "_implicitRules", "modifierExtension"):
        if _changes_meaning(resource, name):
            text = f"{ref}: {name} may change the meaning of the resource and is not understood by this service"
            return _unusable(ref, f"{kind}.{name}", text)
    repair = Repair(resource, ref)
    clean = repair.run()
    _read_contained(resource, clean, repair)
    return Reading(clean, tuple(repair.faults), frozenset(repair.faulty))


def _changes_meaning(resource: Mapping[str, Any], name: str) -> bool:
    value = resource.get(name)
    if value is None or value in ("", [], {}):
        return False
    if name != "modifierExtension" or not isinstance(value, list):
        return True
    return not all(isinstance(one, dict) and one.get("url") in UNDERSTOOD_MODIFIERS for one in value)


def _read_contained(resource: Mapping[str, Any], clean: dict[str, Any], repair: Repair) -> None:
    """Read contained resources one by one; an unusable one is left out and the rest kept."""
    given = resource.get("contained")
    if given is None or given in ("", [], {}):
        if "contained" in resource:
            repair.fault(("contained",), "is empty and was left out", Harm.NONE)
        return
    if not isinstance(given, list):
        text = "is a single item where FHIR R4 has a list; it was read as a list of one"
        repair.fault(("contained",), text, Harm.NONE)
        given = [given]
    kept = [found for index, item in enumerate(given) if (found := _contained(item, index, repair)) is not None]
    if kept:
        clean["contained"] = kept


def _contained(item: object, index: int, repair: Repair) -> dict[str, Any] | None:
    where = fhirpath(repair.shape.name, ("contained", index))
    nested = isinstance(item, dict) and "contained" in item
    if isinstance(item, dict) and nested:
        item = {name: part for name, part in item.items() if name != "contained"}
    reading = read(item, repair.ref)
    for fault in reading.faults:
        repair.add(replace(fault, path=_below(where, fault.path), fatal=False))
    if nested:
        repair.fault(("contained", index, "contained"), "is not allowed in a contained resource and was left out")
    if reading.resource is None:
        repair.fault(("contained", index), "cannot be used and was left out")
    if reading.resource is None or reading.faulty or nested:
        repair.faulty.add("contained")
    return reading.resource


def _below(where: str, path: str) -> str:
    """A contained resource's path as seen from outside: its type gives way to its place."""
    if path == "resourceType":
        return f"{where}.resourceType"
    _, dot, rest = path.partition(".")
    return f"{where}{dot}{rest}"
