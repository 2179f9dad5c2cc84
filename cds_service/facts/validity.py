"""Validity of one FHIR R4 resource: a generated JSON Schema says yes quickly, fhir.resources judges the rest.

`accepts` costs microseconds and never says yes where fhir.resources says no (a fuzz test holds the two in
step); what it refuses is no error yet: `problems` asks the judge. fhir.resources is imported on first need.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, get_args

import jsonschema_rs

READABLE = frozenset((
    "Appointment", "ClaimResponse", "CommunicationRequest", "Condition", "Coverage", "Device", "DeviceRequest",
    "DiagnosticReport", "Encounter", "ImagingStudy", "Immunization", "Location", "Medication",
    "MedicationAdministration", "MedicationDispense", "MedicationRequest", "MedicationStatement", "NutritionOrder",
    "Observation", "Organization", "Patient", "Practitioner", "PractitionerRole", "Procedure", "Questionnaire",
    "QuestionnaireResponse", "RelatedPerson", "ServiceRequest", "Task", "VisionPrescription",
))  # fmt: skip
SCHEMA_FILE = "r4b.schema.json"
# Ids that FHIR forbids but that still name a resource without ambiguity: real servers write them.
NAMES_IT = r"[A-Za-z0-9._:~+=@|,*$\-]{1,255}"
STRING_LIMIT = 1_048_576  # characters; FHIR R4 section 2.24.0.1
# Texts that are compared, not read: what is around them is padding, and passed over.
COMPARED = frozenset(("Reference.reference", "Identifier.value", "Coverage.subscriberId", "CoverageClass.value"))
ZONE = "(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])"
# FHIR R4 sets no other limit to codes and URIs (of code systems), but no real one comes near these. What is longer is
# not read: caches remember codes.
SHORT = {"code": 200, "uri": 2000}

# fhir.resources reads code lists off the short description, which FHIR cuts off ("... | cancelled +").
_CODES_CUT_OFF = {
    "Encounter.status": "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown",
    "EncounterStatusHistory.status": "planned arrived triaged in-progress onleave finished cancelled "
    "entered-in-error unknown",
    "DiagnosticReport.status": "registered partial preliminary final amended corrected appended cancelled "
    "entered-in-error unknown",
    "Observation.status": "registered preliminary final amended corrected cancelled entered-in-error unknown",
    "Task.status": "draft requested received accepted rejected ready cancelled in-progress on-hold failed "
    "completed entered-in-error",
    "QuestionnaireItem.type": "group display boolean decimal integer date dateTime time string text url choice "
    "open-choice attachment reference quantity",
    "DeviceUdiCarrier.entryType": "barcode rfid manual card self-reported unknown",
}
_COMPARATORS = frozenset(("<", "<=", ">=", ">"))
_NOT_REQUIRED_BINDINGS = frozenset(("Expression.language",))


@dataclass(frozen=True, slots=True)
class Element:
    """One element: `kind` is a FHIR primitive or empty, `target` the model of a complex one."""

    name: str
    kind: str
    target: str
    many: bool
    required: bool
    codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Shape:
    """What fhir.resources knows of one type: elements by JSON name, value[x] groups, and which of both are required."""

    name: str
    is_resource: bool
    elements: Mapping[str, Element]
    required: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]
    required_choices: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What the judge refuses: where (as far as the error says) and why, in words that hold no value."""

    path: tuple[str | int, ...]
    text: str


def accepts(resource: Mapping[str, Any]) -> bool:
    """True: valid FHIR R4 and safe to read untouched. False: ask `problems`. `resourceType` must be readable."""
    return _accepts(resource["resourceType"], [resource])


def accepted_types(resources: Iterable[Any]) -> list[str]:
    """Readable types of which every one of these resources is valid FHIR R4 and safe to read untouched."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for resource in resources:
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if isinstance(kind, str) and kind in READABLE:
            by_kind.setdefault(kind, []).append(resource)
    return [kind for kind, found in by_kind.items() if _accepts(kind, found)]


def accepts_rest(resource: Mapping[str, Any]) -> bool:
    """True: valid FHIR R4 but for a time zone, required elements, or an id that it forbids; False: ask `problems`.

    Of a resource that intake has rebuilt, without what it contains. Says yes only where `accepts` would, had the
    resource a zone, the missing elements and another id.
    """
    try:
        return _are_valid(resource["resourceType"], _definitions_of_the_rest)([resource])
    except ValueError:
        return False


@cache
def accepts_element(resource_type: str, name: str) -> Callable[[Any], bool]:
    """Whether a top-level element is valid FHIR R4 and safe to read untouched; never where FHIR R4 has no such name."""
    definition = _definitions()[resource_type]["properties"].get(name)
    return _compiled(definition, _definitions()) if definition else _never


def _never(_value: object) -> bool:
    return False


def _accepts(kind: str, resources: list[Mapping[str, Any]]) -> bool:
    try:
        if not _are_valid(kind)(resources):
            return False
    except ValueError:  # not JSON at all, or text that is not Unicode: for the slow path to explain
        return False
    for resource in resources:
        if "contained" in resource and not all(_accepts_contained(item) for item in resource["contained"]):
            return False
    return True


def _accepts_contained(item: Mapping[str, Any]) -> bool:
    kind = item.get("resourceType")
    return isinstance(kind, str) and kind in READABLE and "contained" not in item and accepts(item)


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(files("cds_service.facts").joinpath(SCHEMA_FILE).read_bytes())
    return schema


@cache
def _definitions() -> dict[str, Any]:
    definitions: dict[str, Any] = _schema()["$defs"]
    return definitions


@cache
def _definitions_of_the_rest() -> dict[str, Any]:
    return {name: _rest(name, schema) for name, schema in _definitions().items()}


def _rest(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A definition that asks for no zone, no element that is required, and no id as FHIR has them.

    Extensions stay as they are: they may have two members, and the judge is asked where one of them is not the url.
    """
    if name in ("dateTime", "instant"):
        return {**schema, "pattern": schema["pattern"].replace(ZONE, f"{ZONE}?")}
    if "required" not in schema or name.partition(":")[0] == "Extension":
        return schema
    rest = {key: rule for key, rule in schema.items() if key not in ("required", "allOf")}
    if "resourceType" in rest["properties"]:
        rest["required"] = ["resourceType"]
        rest["properties"] = {**rest["properties"], "id": {"type": "string", "pattern": f"^{NAMES_IT}$"}}
    return rest


@cache
def _are_valid(resource_type: str, of: Callable[[], dict[str, Any]] = _definitions) -> Callable[[list[Any]], bool]:
    """The compiled schema of a list of one resource type."""
    return _compiled({"items": {"$ref": f"#/$defs/{resource_type}"}}, of())


def _compiled(root: dict[str, Any], definitions: dict[str, Any]) -> Callable[[Any], bool]:
    """A compiled schema, with the definitions that it reaches and no others."""
    reached: dict[str, Any] = {}
    pending = list(_references(root))
    while pending:
        name = pending.pop()
        if name not in reached:
            reached[name] = definitions[name]
            pending.extend(_references(definitions[name]))
    whole = {"$schema": _schema()["$schema"], **root, "$defs": reached}
    return jsonschema_rs.Draft202012Validator(whole, pattern_options=jsonschema_rs.RegexOptions()).is_valid


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rsplit("/", 1)[1]
        for part in schema.values():
            yield from _references(part)


def problems(resource: Mapping[str, Any]) -> list[Problem]:
    """What fhir.resources R4B refuses in a resource of a readable type; empty when it is valid."""
    from pydantic import ValidationError

    try:
        _model(resource["resourceType"]).model_validate(dict(resource))
    except ValidationError as error:
        return [
            Problem(tuple(found["loc"]), _reason(found["type"]))
            for found in error.errors(include_input=False, include_context=False, include_url=False)
        ]
    return []


def _reason(error_type: str) -> str:
    """Own words for pydantic's error types: its messages may repeat the value."""
    if "missing" in error_type:
        return "lacks an element that FHIR R4 requires"
    if error_type == "extra_forbidden":
        return "is not an element of FHIR R4"
    if error_type.startswith(("greater_than", "less_than")):
        return "is outside the range that FHIR R4 allows"
    return "is not in the format that FHIR R4 demands"


def empty(model_name: str) -> Any:
    """An instance that stands in for a missing element while the rest is judged."""
    return _models()[model_name].model_construct()


def _model(resource_type: str) -> Any:
    from fhir.resources.R4B import get_fhir_model_class

    model = get_fhir_model_class(resource_type)
    _models()[resource_type] = model
    return model


@cache
def _models() -> dict[str, Any]:
    """Models by name; filled by `shape`, which is the way to every nested one."""
    return {}


@cache
def shape(name: str) -> Shape:
    """The shape of a resource type, or of a type that an already known shape points to."""
    model = _models().get(name) or _model(name)
    bare = model.model_construct()
    required = {field for field, _ in bare.get_required_fields()}
    fields = model.model_fields.items()
    elements = [_element(model, field, required) for key, field in fields if key != "fhir_comments"]
    groups = bare.get_one_of_many_fields().values()
    needed = [group for group in groups if _extra(model.model_fields[group[0]]).get("one_of_many_required")]
    return Shape(
        name,
        bool(model.has_resource_base()),
        {element.name: element for element in elements},
        tuple(element.name for element in elements if element.required),
        tuple(map(tuple, groups)),
        tuple(map(tuple, needed)),
    )


def _element(model: Any, field: Any, required: set[str]) -> Element:
    parts = list(_parts(field.annotation))
    name = field.alias or next(key for key, known in model.model_fields.items() if known is field)
    target = next((part.get_model_klass() for part in parts if hasattr(part, "_model_klass")), None)
    if target is not None:
        _models()[target.__name__] = target
    where = f"{model.__name__}.{name}"
    codes = _CODES_CUT_OFF[where].split() if where in _CODES_CUT_OFF else _extra(field).get("enum_values", ())
    if name == "comparator":
        codes = _COMPARATORS
    return Element(
        name,
        "" if target else _kind(parts),
        target.__name__ if target else "",
        list in parts,
        field.is_required() or name in required,
        frozenset() if where in _NOT_REQUIRED_BINDINGS else frozenset(codes),
    )


def _extra(field: Any) -> dict[str, Any]:
    return field.json_schema_extra or {}


def _parts(annotation: Any) -> Iterator[Any]:
    """Every type and marker that an annotation is made of; `list` for a list."""
    yield getattr(annotation, "__origin__", None) if get_args(annotation) else annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _kind(parts: list[Any]) -> str:
    marker = next((part.__visit_name__ for part in parts if hasattr(part, "__visit_name__")), None)
    if marker is not None:
        return str(marker)
    return "boolean" if bool in parts else "uuid"
