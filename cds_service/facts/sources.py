"""The sources of facts: which query fills each, under which prefetch key, and what a prefetch value means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any
from urllib.parse import quote

from cds_service.facts.pages import FURTHER, NO_RESOURCE, NOT_SENT, PART, lacks, read_page
from cds_service.facts.references import Json
from cds_service.policy.case import Source, SourceState

PATIENT = "{{context.patientId}}"


@dataclass(frozen=True)
class SourceSpec:
    """One source: its name in criteria, its prefetch key, the resource type it holds, its query template."""

    name: str
    key: str
    kind: str
    template: str

    def query(self, patient_id: str) -> str:
        """The query for one patient."""
        return query_for(self.template, patient_id)


def query_for(template: str, patient_id: str) -> str:
    """A template filled in. The id is one (hooks/request.py); encoded it could not be more even if it were none."""
    return template.replace(PATIENT, quote(patient_id, safe=""))


SPECS = (
    SourceSpec("patient", "patient", "Patient", f"Patient/{PATIENT}"),
    SourceSpec("conditions", "conditions", "Condition", f"Condition?patient={PATIENT}"),
    SourceSpec("procedures", "procedures", "Procedure", f"Procedure?patient={PATIENT}"),
    SourceSpec("active-orders", "activeOrders", "ServiceRequest", f"ServiceRequest?patient={PATIENT}&status=active"),
    SourceSpec(
        "planned-orders", "plannedOrders", "ServiceRequest", f"ServiceRequest?patient={PATIENT}&status=draft,active"
    ),
    SourceSpec("coverage", "coverage", "Coverage", f"Coverage?patient={PATIENT}&_include=Coverage:payor"),
    SourceSpec(
        "authorizations", "authorizations", "ClaimResponse", f"ClaimResponse?patient={PATIENT}&use=preauthorization"
    ),
    SourceSpec("observations", "observations", "Observation", f"Observation?patient={PATIENT}"),
    SourceSpec(
        "answers", "questionnaireResponses", "QuestionnaireResponse", f"QuestionnaireResponse?patient={PATIENT}"
    ),
    # What operators read for the codes of their value sets: policy/operators/reads.py.
    SourceSpec("device-requests", "deviceHistory", "DeviceRequest", f"DeviceRequest?patient={PATIENT}"),
    SourceSpec(
        "medication-requests",
        "medicationHistory",
        "MedicationRequest",
        f"MedicationRequest?patient={PATIENT}&_include=MedicationRequest:medication",
    ),
    SourceSpec(
        "medication-statements",
        "medicationStatements",
        "MedicationStatement",
        f"MedicationStatement?patient={PATIENT}&_include=MedicationStatement:medication",
    ),
    SourceSpec(
        "medication-dispenses",
        "medicationDispenses",
        "MedicationDispense",
        f"MedicationDispense?patient={PATIENT}&_include=MedicationDispense:medication",
    ),
    SourceSpec(
        "medication-administrations",
        "medicationAdministrations",
        "MedicationAdministration",
        f"MedicationAdministration?patient={PATIENT}&_include=MedicationAdministration:medication",
    ),
    SourceSpec("immunizations", "immunizations", "Immunization", f"Immunization?patient={PATIENT}"),
    SourceSpec("reports", "diagnosticReports", "DiagnosticReport", f"DiagnosticReport?patient={PATIENT}"),
    SourceSpec("imaging", "imagingStudies", "ImagingStudy", f"ImagingStudy?patient={PATIENT}"),
    SourceSpec("encounters", "encounters", "Encounter", f"Encounter?patient={PATIENT}"),
    SourceSpec(
        "completed-orders", "completedOrders", "ServiceRequest", f"ServiceRequest?patient={PATIENT}&status=completed"
    ),
)
BY_NAME = {spec.name: spec for spec in SPECS}
_BY_KEY = {spec.key.lower(): spec for spec in SPECS}
# Where two sources hold the same type, only the key can tell them apart: the first is taken otherwise.
_BY_KIND = {spec.kind: spec for spec in reversed(SPECS)}
_EMPTY = Source(SourceState.EMPTY)
# Bundles of Bundles: the answer to a batch of searches, and what wraps it.
_WRAPPERS = frozenset({"Bundle", "Parameters"})
_DEEPEST = 8
NESTED = "Bundles within Bundles, too deep to be read"
CAME_ALONG = "what was not asked for by itself"
# Of these, one that a client sends along is the one it means.
_WHOLE = frozenset({"patient", "coverage"})


@dataclass(slots=True)
class Supplied:
    """What came for one source: its state and resources, each with the fullUrl it came under.

    `next_page` is where the rest of it is: the one thing that a complete source lacks. `included` are the identities
    of resources that only came along with others; `partial` tells that all of them did: then nobody asked for them,
    and what is not among them may be there all the same. `single` is one resource in no Bundle.
    """

    source: Source
    resources: list[tuple[Json, object]] = field(default_factory=list)
    next_page: str | None = None
    included: frozenset[int] = frozenset()
    partial: bool = False
    single: bool = False


def is_known(key: str) -> bool:
    """Is this the prefetch key of a source?"""
    return key.lower() in _BY_KEY


def is_resource(value: object) -> bool:
    """Has a prefetch value what makes a FHIR resource: a type?"""
    return isinstance(value, dict) and isinstance(value.get("resourceType"), str)


def is_fhir(value: object) -> bool:
    """Is a prefetch value a resource, or a list of such?"""
    return is_resource(value) or (isinstance(value, list) and all(map(is_resource, value)))


def read_value(value: object, depth: int = 0) -> Supplied:
    """A prefetch value in any shape: a resource, a Bundle of them or of Bundles, a list, Parameters that wrap them.

    Null, an empty list or an empty Bundle is empty, an OperationOutcome is unavailable. What is not whole is read as
    far as it goes, and incomplete: absence must not be concluded from it.
    """
    if value is None:
        return Supplied(_EMPTY)
    if isinstance(value, list):
        return _all(value, depth)
    if not isinstance(value, dict) or not is_resource(value):
        return Supplied(Source(SourceState.UNAVAILABLE, "not a FHIR resource"))
    kind = value["resourceType"]
    if kind == "OperationOutcome":
        return Supplied(Source(SourceState.UNAVAILABLE, "the client reported an error"))
    if kind == "Bundle":
        return _bundle(value, depth)
    if kind == "Parameters":
        return _all(_parts(value), depth)
    return Supplied(Source(SourceState.READ), [(value, None)], single=True)


def _all(values: Sequence[object], depth: int) -> Supplied:
    """Several values as one; no values are no resources."""
    if depth == _DEEPEST:
        return Supplied(Source(SourceState.UNAVAILABLE, NESTED))
    if values and not any(map(is_resource, values)):
        return Supplied(Source(SourceState.UNAVAILABLE, "not a FHIR resource"))
    found = [read_value(value, depth + 1) for value in values if is_resource(value)]
    if not found:
        return Supplied(_EMPTY)
    whole = reduce(_beside, found)
    if len(found) == len(values):
        return whole
    return replace(whole, source=replace(whole.source, unusable=(*whole.source.unusable, NO_RESOURCE)))


def _parts(parameters: Json, depth: int = 0) -> list[Json]:
    """The resources that Parameters hold, in their parts too."""
    found: list[Json] = []
    given = parameters.get("parameter") if depth == 0 else parameters.get("part")
    for part in given if isinstance(given, list) and depth < _DEEPEST else ():
        if isinstance(part, dict):
            found += [part["resource"]] if is_resource(part.get("resource")) else _parts(part, depth + 1)
    return found


def _bundle(bundle: Json, depth: int) -> Supplied:
    page = read_page(bundle)
    faults = page.faults
    if page.next is None and lacks([page]):
        faults = (*faults, NOT_SENT)
    if faults and not page.entries:
        return Supplied(Source(SourceState.UNAVAILABLE, f"not whole: {', '.join(faults)}"))
    state = SourceState.READ if page.entries or page.next else SourceState.EMPTY
    source = Source(state, "", (*faults, FURTHER) if page.next else faults)
    included = frozenset([id(page.entries[n][0]) for n in page.included])
    if not any(resource["resourceType"] in _WRAPPERS for resource, _ in page.entries):
        return _supplied(source, list(page.entries), page.next, included)
    plain = [(r, url) for r, url in page.entries if r["resourceType"] not in _WRAPPERS]
    within = [_all([r], depth) for r, _ in page.entries if r["resourceType"] in _WRAPPERS]
    own = Supplied(replace(source, state=SourceState.READ if plain else SourceState.EMPTY), plain, None, included)
    return reduce(_beside, within, own)


def _beside(first: Supplied, second: Supplied) -> Supplied:
    """Two parts of one Bundle: where one could not be had, the other is there all the same, and incomplete."""
    if second.source.state is SourceState.UNAVAILABLE:
        lacking = replace(first.source, unusable=(*first.source.unusable, PART))
        if not first.resources:
            lacking = Source(SourceState.UNAVAILABLE, second.source.detail)
        return replace(first, source=lacking)
    if first.source.state is SourceState.UNAVAILABLE:
        return _beside(second, first)
    found = merge(first, second)
    # A page that follows inside another Bundle is not that Bundle's own: nobody goes after it.
    return replace(found, next_page=None)


def _supplied(
    source: Source,
    resources: list[tuple[Json, object]],
    next_page: str | None,
    included: frozenset[int] = frozenset(),
    partial: bool = False,
) -> Supplied:
    """With the next page only where reading it, and those after it, can make the source complete."""
    curable = source.state is not SourceState.UNAVAILABLE and source.unusable == (FURTHER,)
    return Supplied(source, resources, next_page if curable else None, included, partial)


# --- prefetch ---------------------------------------------------------------------------------------


def read_prefetch(prefetch: Mapping[str, Any] | None) -> dict[str, Supplied]:
    """Sources by name, out of a prefetch object: each resource goes to the source of its type, whatever its key.

    Resources of no source are under names of their own (`other:...`), for references to lead to.
    """
    found: dict[str, Supplied] = {}
    for key, value in (prefetch or {}).items():
        for name, supplied in _by_source(key, read_value(value)).items():
            found[name] = merge(found[name], supplied) if name in found else supplied
    return found


def _by_source(key: str, supplied: Supplied) -> dict[str, Supplied]:
    """One prefetch value, split by the sources that its resources belong to."""
    own = _BY_KEY.get(key.lower())
    kinds = {r.get("resourceType") for r, _ in supplied.resources}
    if own is not None and kinds <= {own.kind}:
        return {own.name: supplied}
    split: dict[str, list[tuple[Json, object]]] = {}
    other = f"other:{key}"
    for resource, url in supplied.resources:
        split.setdefault(_name_of(resource, own) or other, []).append((resource, url))
    found = {name: _part(name, resources, supplied, own) for name, resources in split.items()}
    if own is not None:
        found.setdefault(own.name, replace(supplied, resources=[]))
    elif not supplied.resources:
        found[_named(key) or other] = supplied
    return found


def _name_of(resource: Json, own: SourceSpec | None) -> str | None:
    kind = resource.get("resourceType")
    if own is not None and kind == own.kind:
        return own.name
    if kind == "ServiceRequest" and resource.get("status") == "completed":
        return "completed-orders"
    spec = _BY_KIND.get(kind) if isinstance(kind, str) else None
    return spec.name if spec else None


def _part(name: str, resources: list[tuple[Json, object]], whole: Supplied, own: SourceSpec | None) -> Supplied:
    """The resources of one source out of a value; complete unless they only came along with what was asked for."""
    if name.startswith("other:") or (own is not None and name == own.name):
        return replace(whole, resources=resources, next_page=whole.next_page if own else None)
    # Under another type's key, or as one resource by itself, nobody says that these are all; a Bundle under a key of
    # the client's own, or the Patient's everything, does.
    came_along = whole.single or (own is not None and own.name != "patient")
    came_along = came_along or all(id(r) in whole.included for r, _ in resources)
    if name == "active-orders":  # the orders that are signed may be sent here as well, and say nothing of others
        came_along = came_along or not any(r.get("status") == "active" for r, _ in resources)
    lacking = whole.source.unusable
    if name in _WHOLE:  # another part of the batch was for another source
        partial, lacking = False, tuple(fault for fault in lacking if fault != PART)
    else:  # a part that failed may have been a second search of the same type
        partial = came_along or PART in lacking
        lacking = (*lacking, CAME_ALONG) if came_along else lacking
    source = replace(whole.source, unusable=lacking)
    single = own is None and len(resources) == len(whole.resources)
    return _supplied(source, resources, whole.next_page if single else None, whole.included, partial)


def _named(key: str) -> str | None:
    """An empty answer under a key of the client's own still says "empty" where the key names the type."""
    plain = key.lower().replace("-", "").replace("_", "")
    spec = next((s for k, s in _BY_KIND.items() if plain in (k.lower(), f"{k.lower()}s")), None)
    return spec.name if spec else None


def merge(first: Supplied, second: Supplied) -> Supplied:
    """Two answers for one source: unavailable if either is, read if either is.

    Beside an answer to what was asked for, resources that came along say nothing of what is whole.
    """
    resources = distinct(first.resources + second.resources) if first.resources else second.resources
    included = first.included | second.included
    if first.partial != second.partial:
        asked = second if first.partial else first
        empty = asked.source.state is SourceState.EMPTY
        state: SourceState = SourceState.READ if empty else asked.source.state
        return _supplied(replace(asked.source, state=state), resources, asked.next_page, included)
    states = {first.source.state, second.source.state}
    by_weight = (SourceState.UNAVAILABLE, SourceState.READ, SourceState.EMPTY)
    state = next(s for s in by_weight if s in states)
    detail = first.source.detail or second.source.detail
    unusable = first.source.unusable + second.source.unusable
    next_page = first.next_page or second.next_page
    return _supplied(Source(state, detail, unusable), resources, next_page, included, first.partial)


def distinct(resources: list[tuple[Json, object]]) -> list[tuple[Json, object]]:
    """Each resource once: the same one, by id and content, may come under several keys or in several pages."""
    known: dict[tuple[str, str], Json] = {}
    found = []
    for resource, url in resources:
        if not isinstance(resource.get("id"), str):
            found.append((resource, url))
            continue
        name = str(resource.get("resourceType")), resource["id"]
        if known.setdefault(name, resource) is resource or known[name] != resource:
            found.append((resource, url))
    return found
