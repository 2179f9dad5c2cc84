"""Demo mode's FHIR server: a read-only FHIR R4 view of the bundled stories, so that clients work without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Blueprint, Response, request

from cds_service.content_files import bundled
from cds_service.errors import NotFound, RequestError
from cds_service.web.hooks_api import gate

Json = dict[str, Any]
Parameters = list[tuple[str, str]]

fhir = Blueprint("demo_fhir", __name__, url_prefix="/fhir")

# Types that clients may ask for although no story has one; FHIR answers an empty Bundle, not 404.
_TYPES = frozenset(
    {
        "AllergyIntolerance", "ClaimResponse", "Condition", "Coverage", "DeviceRequest", "DiagnosticReport",
        "DocumentReference", "Encounter", "Goal", "ImagingStudy", "Immunization", "MedicationAdministration",
        "MedicationDispense", "MedicationRequest", "MedicationStatement", "NutritionOrder", "Observation",
        "Organization", "Patient", "Practitioner", "Procedure", "Questionnaire", "QuestionnaireResponse",
        "ServiceRequest", "VisionPrescription",
    }
)  # fmt: skip
_PATIENT_ELEMENTS = ("subject", "patient", "beneficiary")
_CODE_ELEMENTS = ("code", "codeCodeableConcept", "medicationCodeableConcept")
_INCLUDES = {
    "Coverage:payor": "payor",
    "MedicationRequest:medication": "medicationReference",
    "MedicationStatement:medication": "medicationReference",
    "MedicationDispense:medication": "medicationReference",
    "MedicationAdministration:medication": "medicationReference",
}


# --- searching ----------------------------------------------------------------------------------------


def _references(resource: Json, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        value = resource.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and isinstance(item.get("reference"), str):
                yield item["reference"]


def _is_about(resource: Json, wanted: str) -> bool:
    kind, _, own = wanted.rpartition("/")
    target = f"Patient/{own}"
    right_type = not kind or kind == "Patient" or kind.endswith("/Patient")
    if resource["resourceType"] == "Patient":
        return right_type and resource["id"] == own
    return right_type and target in _references(resource, _PATIENT_ELEMENTS)


def _codings(value: object) -> Iterator[tuple[str | None, str]]:
    """(system, code) of a code, Coding, CodeableConcept, or a list of them; a plain code has no system of its own."""
    if isinstance(value, str):
        yield None, value
    elif isinstance(value, list):
        for item in value:
            yield from _codings(item)
    elif isinstance(value, dict) and isinstance(value.get("coding"), list):
        yield from _codings(value["coding"])
    elif isinstance(value, dict) and isinstance(value.get("code"), str):
        yield value.get("system"), value["code"]


def _token(resource: Json, names: Iterable[str], wanted: str) -> bool:
    """FHIR token search: `code`, `system|code`, `|code` (no system) or `system|`."""
    system, bar, code = wanted.rpartition("|")
    for own_system, own_code in (c for n in names for c in _codings(resource.get(n))):
        if code not in ("", own_code) or not (code or system):
            continue
        # A plain code's system is fixed by its value set, so that a system in the search cannot rule it out.
        if not bar or own_system == (system or None) or (own_system is None and system):
            return True
    return False


def _tokens(*names: str) -> Callable[[Json, str], bool]:
    return lambda resource, wanted: _token(resource, names, wanted)


_PARAMETERS: dict[str, tuple[str, Callable[[Json, str], bool]]] = {
    "_id": ("token", lambda resource, wanted: resource["id"] == wanted),
    "patient": ("reference", _is_about),
    "subject": ("reference", _is_about),
    "status": ("token", _tokens("status")),
    "code": ("token", _tokens(*_CODE_ELEMENTS)),
    "use": ("token", _tokens("use")),
    "category": ("token", _tokens("category")),
    "clinical-status": ("token", _tokens("clinicalStatus")),
}


def _parameters_of(kind: str) -> dict[str, tuple[str, Callable[[Json, str], bool]]]:
    """Parameters that R4 defines on a type and this server honours."""
    hidden = {
        "Organization": set(_PARAMETERS) - {"_id"},
        "Practitioner": set(_PARAMETERS) - {"_id"},
        "Patient": set(_PARAMETERS) - {"_id"},
        "Condition": {"status", "use"},
    }.get(kind, {"clinical-status"} if kind == "ClaimResponse" else {"clinical-status", "use"})
    return {name: spec for name, spec in _PARAMETERS.items() if name not in hidden}


class Charts:
    """Resources by type and id."""

    def __init__(self, resources: Iterable[Json]) -> None:
        self.by_type: dict[str, dict[str, Json]] = {kind: {} for kind in sorted(_TYPES)}
        for resource in resources:
            self.by_type.setdefault(resource["resourceType"], {}).setdefault(resource["id"], resource)

    @classmethod
    def load(cls, folder: Path) -> Charts:
        """The charts of all stories: `<story>/fhir/*.json`, each a resource or a Bundle of them."""
        return cls(r for path in sorted(folder.glob("*/fhir/*.json")) for r in _unbundled(json.loads(path.read_text())))

    def read(self, kind: str, own: str) -> Json:
        """One resource. Raises NotFound."""
        found = self._of(kind).get(own)
        if found is None:
            raise NotFound("There is no such resource.")
        return found

    def search(self, kind: str, parameters: Parameters, *, strict: bool = False) -> tuple[list[Json], list[Json], str]:
        """Matches, included resources, and the query that was honoured (FHIR R4, Search).

        Commas are "or", repeats are "and"; what this server does not know it ignores, unless `strict`.
        """
        known = _parameters_of(kind)
        matches = list(self._of(kind).values())
        includes: list[str] = []
        honoured: Parameters = []
        for name, value in parameters:
            if name in known:
                test = known[name][1]
                wanted = [part for part in value.split(",") if part]
                matches = [r for r in matches if any(test(r, w) for w in wanted)]
            elif name == "_include" and value in _INCLUDES:
                includes.append(_INCLUDES[value])
            elif strict and not name.startswith("_"):
                raise RequestError("is not supported here", path=name, code="not-supported")
            else:
                continue
            honoured.append((name, value))
        return matches, self._included(matches, includes), urlencode(honoured)

    def _of(self, kind: str) -> dict[str, Json]:
        if kind not in self.by_type:
            raise NotFound("There is no such resource type here.")
        return self.by_type[kind]

    def _included(self, matches: list[Json], elements: list[str]) -> list[Json]:
        found: dict[str, Json] = {}
        for reference in (ref for r in matches for ref in _references(r, elements)):
            kind, _, own = reference.partition("/")
            resource = self.by_type.get(kind, {}).get(own)
            if resource is not None:
                found[reference] = resource
        return list(found.values())

    def bundle(self, kind: str, parameters: Parameters, base: str, *, strict: bool = False) -> Json:
        """The searchset Bundle of a search; `base` is this server's address without a trailing slash."""
        matches, included, query = self.search(kind, parameters, strict=strict)
        modes = [*((r, "match") for r in matches), *((r, "include") for r in included)]
        answer: Json = {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": len(matches),
            "link": [{"relation": "self", "url": f"{base}/{kind}{'?' if query else ''}{query}"}],
        }
        if modes:  # FHIR JSON has no empty arrays
            answer["entry"] = [
                {"fullUrl": f"{base}/{r['resourceType']}/{r['id']}", "resource": r, "search": {"mode": mode}}
                for r, mode in modes
            ]
        return answer


def _unbundled(content: Json) -> Iterator[Json]:
    if content.get("resourceType") == "Bundle":
        yield from (entry["resource"] for entry in content.get("entry", ()))
    else:
        yield content


@cache
def charts() -> Charts:
    """The bundled charts, read on first use."""
    return Charts.load(bundled("fhir_fixtures"))


def capabilities(kinds: Mapping[str, object], base: str) -> Json:
    """The CapabilityStatement: read and search of each type."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-01",
        "kind": "instance",
        "implementation": {"description": "Synthetic charts of this service's demonstration, read only", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "resource": [_offered(kind) for kind in kinds]}],
    }


def _offered(kind: str) -> Json:
    offered: Json = {
        "type": kind,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "searchParam": [{"name": name, "type": spec[0]} for name, spec in _parameters_of(kind).items()],
    }
    includes = [name for name in _INCLUDES if name.startswith(f"{kind}:")]
    return offered | ({"searchInclude": includes} if includes else {})


# --- HTTP ---------------------------------------------------------------------------------------------


@fhir.before_request
def _admit() -> None:
    gate().admit(request)


def _base() -> str:
    return f"{request.url_root.rstrip('/')}/fhir"


def _fhir_json(resource: Json) -> Response:
    return Response(orjson.dumps(resource), content_type="application/fhir+json")


@fhir.get("/metadata")
def metadata() -> Response:
    """What this server can do."""
    return _fhir_json(capabilities(charts().by_type, _base()))


@fhir.get("/<kind>/<own>")
def read(kind: str, own: str) -> Response:
    """One resource."""
    return _fhir_json(charts().read(kind, own))


@fhir.get("/<kind>")
def search(kind: str) -> Response:
    """Search by query string."""
    return _search(kind, list(request.args.items(multi=True)))


@fhir.post("/<kind>/_search")
def search_by_form(kind: str) -> Response:
    """Search by form, which keeps patients out of logs on the way."""
    return _search(kind, [*request.args.items(multi=True), *request.form.items(multi=True)])


def _search(kind: str, parameters: Parameters) -> Response:
    strict = "handling=strict" in request.headers.get("Prefer", "").replace(" ", "")
    return _fhir_json(charts().bundle(kind, parameters, _base(), strict=strict))
