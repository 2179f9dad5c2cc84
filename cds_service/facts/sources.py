"""The sources of facts: which query fills each, under which prefetch key, and what a prefetch value means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from cds_service.facts.pages import FURTHER, NOT_SENT, lacks, read_page
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
)
BY_NAME = {spec.name: spec for spec in SPECS}
_BY_KEY = {spec.key.lower(): spec for spec in SPECS}
# Where two sources hold the same type, only the key can tell them apart: the first is taken otherwise.
_BY_KIND = {spec.kind: spec for spec in reversed(SPECS)}
_EMPTY = Source(SourceState.EMPTY)


@dataclass(slots=True)
class Supplied:
    """What came for one source: its state and resources, each with the fullUrl it came under.

    `next_page` is where the rest of it is: the one thing that a complete source lacks.
    """

    source: Source
    resources: list[tuple[Json, object]] = field(default_factory=list)
    next_page: str | None = None


def is_known(key: str) -> bool:
    """Is this the prefetch key of a source?"""
    return key.lower() in _BY_KEY


def is_resource(value: object) -> bool:
    """Has a prefetch value what makes a FHIR resource: a type?"""
    return isinstance(value, dict) and isinstance(value.get("resourceType"), str)


def read_value(value: object) -> Supplied:
    """A prefetch value: null or an empty Bundle is empty, an OperationOutcome is unavailable.

    A Bundle that is not whole is read as far as it goes, and incomplete: absence must not be concluded from it.
    """
    if value is None:
        return Supplied(_EMPTY)
    if not isinstance(value, dict) or not is_resource(value):
        return Supplied(Source(SourceState.UNAVAILABLE, "not a FHIR resource"))
    kind = value["resourceType"]
    if kind == "OperationOutcome":
        return Supplied(Source(SourceState.UNAVAILABLE, "the client reported an error"))
    if kind != "Bundle":
        return Supplied(Source(SourceState.READ), [(value, None)])
    return _bundle(value)


def _bundle(bundle: Json) -> Supplied:
    page = read_page(bundle)
    faults = page.faults
    if page.next is None and lacks([page]):
        faults = (*faults, NOT_SENT)
    if faults and not page.entries:
        return Supplied(Source(SourceState.UNAVAILABLE, f"not whole: {', '.join(faults)}"))
    state = SourceState.READ if page.entries or page.next else SourceState.EMPTY
    return _supplied(Source(state, "", (*faults, FURTHER) if page.next else faults), list(page.entries), page.next)


def _supplied(source: Source, resources: list[tuple[Json, object]], next_page: str | None) -> Supplied:
    """With the next page only where reading it, and those after it, can make the source complete."""
    curable = source.state is not SourceState.UNAVAILABLE and source.unusable == (FURTHER,)
    return Supplied(source, resources, next_page if curable else None)


def _spec_for(key: str, supplied: Supplied) -> SourceSpec | None:
    """The source that a prefetch entry fills: by its key, else (clients use keys of their own) by what it holds."""
    spec = _BY_KEY.get(key.lower())
    if spec is not None:
        return spec
    kinds = {str(resource.get("resourceType")) for resource, _ in supplied.resources}
    for kind, candidate in _BY_KIND.items():
        if kind in kinds:
            return candidate
    # An empty answer under a key of the client's own still says "empty" when the key names the type.
    plain = key.lower().replace("-", "").replace("_", "")
    return next((s for k, s in _BY_KIND.items() if plain in (k.lower(), f"{k.lower()}s")), None)


def read_prefetch(prefetch: dict[str, Any] | None) -> dict[str, Supplied]:
    """Sources by name, out of a prefetch object; entries that fill the same source are taken together."""
    found: dict[str, Supplied] = {}
    for key, value in (prefetch or {}).items():
        supplied = read_value(value)
        spec = _spec_for(key, supplied)
        name = spec.name if spec else f"other:{key}"
        found[name] = merge(found[name], supplied) if name in found else supplied
    return found


def merge(first: Supplied, second: Supplied) -> Supplied:
    """Two answers for one source: unavailable if either is, read if either is."""
    states = {first.source.state, second.source.state}
    state = next(s for s in (SourceState.UNAVAILABLE, SourceState.READ, SourceState.EMPTY) if s in states)
    detail = first.source.detail or second.source.detail
    unusable = first.source.unusable + second.source.unusable
    return _supplied(
        Source(state, detail, unusable), first.resources + second.resources, first.next_page or second.next_page
    )
