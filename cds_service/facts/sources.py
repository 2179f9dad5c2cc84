"""The sources of facts: which query fills each, under which prefetch key, and what a prefetch value means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from cds_service.facts.orders import ORDER_TYPES
from cds_service.facts.pages import ERROR, FURTHER, NOT_ALL, NOT_SENT, lacks, read_page
from cds_service.facts.references import Json
from cds_service.facts.shapes import answers
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
_ORDERS = ORDER_TYPES - {"Encounter", "Appointment"}


@dataclass(slots=True)
class Supplied:
    """What came for one source: its state and resources, each with the fullUrl it came under.

    `next_page` is where the rest of it is: the one thing that a complete source lacks. `partial`: they merely came
    along with others, so a server that can be asked for all of them is.
    """

    source: Source
    resources: list[tuple[Json, object]] = field(default_factory=list)
    next_page: str | None = None
    partial: bool = False


def is_known(key: str) -> bool:
    """Is this the prefetch key of a source?"""
    return key.lower() in _BY_KEY


def is_resource(value: object) -> bool:
    """Has a prefetch value what makes a FHIR resource: a type? A list of such is a Bundle without its envelope."""
    if isinstance(value, list):
        return bool(value) and all(map(is_resource, value))
    return isinstance(value, dict) and isinstance(value.get("resourceType"), str)


def read_value(value: object) -> Supplied:
    """A prefetch value: null or an empty Bundle is empty, an OperationOutcome is unavailable.

    A Bundle that is not whole is read as far as it goes, and incomplete: absence must not be concluded from it. Of a
    batch, parts that could not be answered leave what the others hold incomplete.
    """
    found = [supplied for supplied, _ in _answers(value)]
    whole = found[0]
    for each in found[1:]:
        whole = _with_part(whole, each)
    return whole


def _with_part(first: Supplied, second: Supplied) -> Supplied:
    both = (first, second)
    lacking = next((s.source for s in both if s.source.state is SourceState.UNAVAILABLE), None)
    if lacking is None or not (first.resources or second.resources):
        return merge(first, second)
    read = first if lacking is second.source else second
    unusable = (*read.source.unusable, *(lacking.unusable or (ERROR,)))
    return Supplied(Source(SourceState.READ, "", unusable), read.resources)


def _answers(value: object) -> list[tuple[Supplied, frozenset[str]]]:
    """What came, by the query that it answers; and the types that were merely included in each answer."""
    return [_answer(each) for each in answers(value)] or [(Supplied(_EMPTY), frozenset())]


def _answer(value: object) -> tuple[Supplied, frozenset[str]]:
    if value is None:
        return Supplied(_EMPTY), frozenset()
    if not isinstance(value, dict) or not is_resource(value):
        return Supplied(Source(SourceState.UNAVAILABLE, "not a FHIR resource")), frozenset()
    kind = value["resourceType"]
    if kind == "OperationOutcome":
        return Supplied(Source(SourceState.UNAVAILABLE, "the client reported an error")), frozenset()
    if kind != "Bundle":
        return Supplied(Source(SourceState.READ), [(value, None)]), frozenset()
    return _bundle(value)


def _bundle(bundle: Json) -> tuple[Supplied, frozenset[str]]:
    page = read_page(bundle)
    faults = page.faults
    if page.next is None and lacks([page]):
        faults = (*faults, NOT_SENT)
    if faults and not page.entries:
        return Supplied(Source(SourceState.UNAVAILABLE, f"not whole: {', '.join(faults)}")), frozenset()
    state = SourceState.READ if page.entries or page.next else SourceState.EMPTY
    source = Source(state, "", (*faults, FURTHER) if page.next else faults)
    return _supplied(source, list(page.entries), page.next), page.included


def _supplied(source: Source, resources: list[tuple[Json, object]], next_page: str | None) -> Supplied:
    """With the next page only where reading it, and those after it, can make the source complete."""
    curable = source.state is not SourceState.UNAVAILABLE and source.unusable == (FURTHER,)
    return Supplied(source, resources, next_page if curable else None)


def _source_of(kind: object) -> str | None:
    """The source that holds a type; of orders, the active ones."""
    if kind in _ORDERS:
        return "active-orders"
    spec = _BY_KIND.get(str(kind))
    return spec.name if spec else None


def _named_by(key: str) -> SourceSpec | None:
    """The source of a key of the client's own that names its type."""
    plain = key.lower().replace("-", "").replace("_", "")
    return next((s for k, s in _BY_KIND.items() if plain in (k.lower(), f"{k.lower()}s")), None)


def read_prefetch(prefetch: dict[str, Any] | None) -> dict[str, Supplied]:
    """Sources by name, out of a prefetch object; entries that fill the same source are taken together.

    A Bundle may hold many types, under any key: every source gets what is its own. A source whose resources came
    along, but were not asked for by its own key, is not empty for want of them.
    """
    found: dict[str, Supplied] = {}
    for key, value in (prefetch or {}).items():
        for name, supplied in _by_source(key, value):
            found[name] = merge(found[name], supplied) if name in found else supplied
    return found


def _by_source(key: str, value: object) -> Iterator[tuple[str, Supplied]]:
    spec = _BY_KEY.get(key.lower())
    if spec is not None:
        whole = read_value(value)
        split = _split(whole, spec)
        yield spec.name, replace(whole, resources=split.pop(spec.name, []))
        included = frozenset[str]().union(*[kinds for _, kinds in _answers(value)]) if split else frozenset()
        yield from ((n, _along(whole, r, partial=_is_partial(n, r, included))) for n, r in split.items())
        return
    for supplied, included in _answers(value):
        split = _split(supplied, None)
        sources = split.keys() & BY_NAME.keys()
        if not sources:  # an empty answer still says "empty" when the key names the type
            named = _named_by(key)
            yield (named.name if named else f"other:{key}"), supplied
        for name, resources in split.items() if sources else ():
            if name not in BY_NAME:
                yield f"other:{key}", Supplied(Source(SourceState.READ), resources)
            elif len(sources) == 1:
                yield name, replace(supplied, resources=resources)
            else:
                yield name, _along(supplied, resources, partial=_is_partial(name, resources, included))


def _is_partial(name: str, resources: list[tuple[Json, object]], included: frozenset[str]) -> bool:
    """Whether there may be more of it: a patient and the coverage of an order are included as they are needed."""
    if name in ("patient", "coverage"):
        return False
    if name == "active-orders" and not any(r.get("status") == "active" for r, _ in resources):
        return True
    return any(r.get("resourceType") in included for r, _ in resources)


def _along(whole: Supplied, resources: list[tuple[Json, object]], *, partial: bool) -> Supplied:
    """A part of an answer that holds other types too: what it lacks, a query of its own may supply."""
    unusable = (*whole.source.unusable, *((NOT_ALL,) if partial else ()))
    return Supplied(Source(SourceState.READ, "", unusable), resources, None, bool(unusable))


def _split(supplied: Supplied, spec: SourceSpec | None) -> dict[str, list[tuple[Json, object]]]:
    """Resources by source. Types of no source stay with that of the key, organizations with the coverage."""
    kinds = {r.get("resourceType") for r, _ in supplied.resources}
    payers = "coverage" if "Coverage" in kinds else ""
    found: dict[str, list[tuple[Json, object]]] = {}
    for resource, full_url in supplied.resources:
        kind = resource.get("resourceType")
        own = spec is not None and (kind == spec.kind or (spec.kind in _ORDERS and kind in _ORDERS))
        name = spec.name if spec and own else _source_of(kind)
        if name is None:
            name = spec.name if spec else (payers if kind == "Organization" else "") or ""
        found.setdefault(name, []).append((resource, full_url))
    return found


def merge(first: Supplied, second: Supplied) -> Supplied:
    """Two answers for one source: unavailable if either is, read if either is; what came twice counts once.

    What merely came along does not spoil an answer that is whole.
    """
    if first.partial != second.partial:
        whole, along = (second, first) if first.partial else (first, second)
        source = replace(whole.source, state=SourceState.READ) if whole.source == _EMPTY else whole.source
        return replace(whole, source=source, resources=_distinct(whole.resources, along.resources))
    states = {first.source.state, second.source.state}
    state = next(s for s in (SourceState.UNAVAILABLE, SourceState.READ, SourceState.EMPTY) if s in states)
    detail = first.source.detail or second.source.detail
    unusable = first.source.unusable + second.source.unusable
    resources = _distinct(first.resources, second.resources)
    merged = _supplied(Source(state, detail, unusable), resources, first.next_page or second.next_page)
    return replace(merged, partial=first.partial and second.partial)


def _distinct(first: list[tuple[Json, object]], second: list[tuple[Json, object]]) -> list[tuple[Json, object]]:
    """Both, without those of the second that the first has under the same id and with the same content."""
    known: dict[tuple[str, str], Json] = {}
    for resource, _ in first if second else ():
        if "id" in resource:
            known.setdefault((str(resource.get("resourceType")), str(resource["id"])), resource)
    return first + [(r, url) for r, url in second if known.get((str(r.get("resourceType")), str(r.get("id")))) != r]
