"""The sources of facts: which query fills each, under which prefetch key, and what a prefetch value means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cds_service.facts import elements
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
FURTHER_PAGES = "further pages"
_EMPTY = Source(SourceState.EMPTY)


@dataclass(slots=True)
class Supplied:
    """What came for one source: its state and resources, each with the fullUrl it came under."""

    source: Source
    resources: list[tuple[Json, object]] = field(default_factory=list)
    next_page: str | None = None


def read_value(value: object) -> Supplied:
    """A prefetch value or FHIR answer: null or an empty Bundle is empty, an OperationOutcome is unavailable."""
    if value is None:
        return Supplied(_EMPTY)
    if not isinstance(value, dict):
        return Supplied(Source(SourceState.UNAVAILABLE, "not a FHIR resource"))
    kind = value.get("resourceType")
    if kind == "OperationOutcome":
        return Supplied(Source(SourceState.UNAVAILABLE, "the client reported an error"))
    if kind != "Bundle":
        return Supplied(Source(SourceState.READ), [(value, None)])
    return _bundle(value)


def _bundle(bundle: Json) -> Supplied:
    if "entry" not in bundle and "link" not in bundle:
        return Supplied(_EMPTY)
    outcomes: list[Json] = []
    resources: list[tuple[Json, object]] = []
    for resource, url, mode in _entries(bundle):
        if mode == "outcome" or resource.get("resourceType") == "OperationOutcome":
            outcomes.append(resource)
        else:
            resources.append((resource, url))
    page = _next(bundle)
    if outcomes and not resources and _is_error(outcomes):
        return Supplied(Source(SourceState.UNAVAILABLE, "the client reported an error"))
    unusable = (FURTHER_PAGES,) if page else ()
    state = SourceState.READ if resources or page else SourceState.EMPTY
    return Supplied(Source(state, "", unusable), resources, page)


def _is_error(outcomes: Iterable[Json]) -> bool:
    severities = [i.get("severity") for o in outcomes for i in elements.listed(o.get("issue")) if isinstance(i, dict)]
    return not severities or any(s in ("error", "fatal") for s in severities)


def _entries(bundle: Json) -> Iterator[tuple[Json, object, object]]:
    for entry in elements.listed(bundle.get("entry")):
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            search = entry.get("search")
            yield entry["resource"], entry.get("fullUrl"), search.get("mode") if isinstance(search, dict) else None


def _next(bundle: Json) -> str | None:
    for link in elements.listed(bundle.get("link")):
        if isinstance(link, dict) and link.get("relation") == "next":
            return elements.text(link.get("url"))
    return None


def _kinds(value: object) -> set[str]:
    if not isinstance(value, dict):
        return set()
    if value.get("resourceType") == "Bundle":
        return {str(r.get("resourceType")) for r, _, _ in _entries(value)}
    return {str(value.get("resourceType"))}


def spec_for(key: str, value: object) -> SourceSpec | None:
    """The source that a prefetch entry fills: by its key, else (clients use keys of their own) by what it holds."""
    spec = _BY_KEY.get(key.lower())
    if spec is not None:
        return spec
    for kind, candidate in _BY_KIND.items():
        if kind in _kinds(value):
            return candidate
    # An empty answer under a key of the client's own still says "empty" when the key names the type.
    plain = key.lower().replace("-", "").replace("_", "")
    return next((s for k, s in _BY_KIND.items() if plain in (k.lower(), f"{k.lower()}s")), None)


def read_prefetch(prefetch: dict[str, Any] | None) -> dict[str, Supplied]:
    """Sources by name, out of a prefetch object; entries that fill the same source are taken together."""
    found: dict[str, Supplied] = {}
    for key, value in (prefetch or {}).items():
        spec = spec_for(key, value)
        supplied = read_value(value)
        name = spec.name if spec else f"other:{key}"
        found[name] = merge(found[name], supplied) if name in found else supplied
    return found


def merge(first: Supplied, second: Supplied) -> Supplied:
    """Two answers for one source: unavailable if either is, read if either is."""
    states = {first.source.state, second.source.state}
    state = next(s for s in (SourceState.UNAVAILABLE, SourceState.READ, SourceState.EMPTY) if s in states)
    detail = first.source.detail or second.source.detail
    unusable = first.source.unusable + second.source.unusable
    return Supplied(
        Source(state, detail, unusable), first.resources + second.resources, first.next_page or second.next_page
    )
