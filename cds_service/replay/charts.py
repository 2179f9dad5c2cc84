"""Charts to hook requests: the orders of one patient, encounter and signing day are one order-sign event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cds_service.facts import elements
from cds_service.facts.pages import FURTHER
from cds_service.facts.references import Index, resource_of
from cds_service.facts.sources import NESTED, SPECS, read_value
from cds_service.replay.known import active_on, as_draft, as_on, known_on, signing_day

Json = dict[str, Any]

SIGNED_TYPES = frozenset(
    {
        "ServiceRequest", "DeviceRequest", "MedicationRequest", "NutritionOrder", "VisionPrescription",
        "CommunicationRequest",
    }
)  # fmt: skip
# Orders that no clinician signs: they follow from others, or are choices within one.
_DERIVED = frozenset({"filler-order", "instance-order", "reflex-order", "option"})
# Types of no patient in particular that charts refer to.
SHARED_TYPES = frozenset({"Organization", "Medication", "Device"})
_KEYS = {spec.kind: spec.key for spec in SPECS if spec.name not in ("planned-orders", "patient", "active-orders")}
CHART_TYPES = SIGNED_TYPES | _KEYS.keys() | {"Patient"}
_PATIENT = {"NutritionOrder": "patient", "VisionPrescription": "patient", "Coverage": "beneficiary",
            "ClaimResponse": "patient"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A resource with the fullUrl it came under."""

    resource: Json
    full_url: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One hook request to answer. `id` names it within its file; `as_of` None leaves the day to the orders."""

    id: str
    body: Json
    as_of: date | None = None


@dataclass
class Chart:
    """One patient's resources, all that there are: a type that is not among them is not in the chart.

    `common` has resources of no patient in particular, by reference.
    """

    patient: str
    entries: list[Entry] = field(default_factory=list)
    common: Mapping[str, Entry] = field(default_factory=dict)


def patient_of(resource: Mapping[str, Any]) -> str | None:
    """The reference to the patient that a resource is about, as written; a Patient's own."""
    kind = resource.get("resourceType")
    if kind == "Patient":
        own = resource.get("id")
        return f"Patient/{own}" if isinstance(own, str) else None
    subject = resource.get(_PATIENT.get(str(kind), "subject"))
    found = subject.get("reference") if isinstance(subject, dict) else None
    return found if isinstance(found, str) else None


def charts_of(bundle: Json) -> tuple[list[Chart], list[str]]:
    """The charts in a Bundle in order of patient id; second: what it lacks, or holds about no patient it names."""
    supplied = read_value(bundle)
    known = [Entry(_with_id(r, url), url if isinstance(url, str) else None) for r, url in supplied.resources]
    index = Index()
    for entry in known:
        index.add(entry.resource, entry.full_url)
    shared = [e for e in known if e.resource.get("resourceType") in SHARED_TYPES]
    own = [e for e in known if e.resource.get("resourceType") in CHART_TYPES]
    patients = {k for e in own if (k := _patient_key(e, index))}
    charts = {k: Chart(k.removeprefix("Patient/")) for k in sorted(patients)}
    lacking = ["its further pages are not in the file"] if FURTHER in supplied.source.unusable else []
    if supplied.source.detail == NESTED:
        lacking.append(f"holds {NESTED}")
    for number, entry in enumerate(own):
        key = _patient_key(entry, index) or (next(iter(patients)) if len(patients) == 1 else None)
        if key is None:
            lacking.append(f"{entry.resource.get('resourceType')} {number + 1} names no patient")
        else:
            charts[key].entries.append(entry)
    for chart in charts.values():
        chart.entries += shared
    return list(charts.values()), lacking


def _patient_key(entry: Entry, index: Index) -> str | None:
    key = index.key(patient_of(entry.resource))
    return key if key is not None and key.startswith("Patient/") else None


def _with_id(resource: Json, full_url: object) -> Json:
    """A resource that is yet to be created has its fullUrl's id."""
    return resource_of({"resource": resource, "fullUrl": full_url}) or resource


# --- events -----------------------------------------------------------------------------------------


def events(chart: Chart) -> Iterator[Event]:
    """The order-sign events of a chart, by day and encounter; each with the chart as known on its day."""
    index = Index()
    for entry in chart.entries:
        index.add(entry.resource, entry.full_url)
    signed: dict[tuple[str, str], list[Entry]] = {}
    for entry in chart.entries:
        if is_signed(entry.resource):
            day = signing_day(entry.resource)
            encounter = index.key(entry.resource.get("encounter")) or ""
            signed.setdefault((day.isoformat() if day else "undated", encounter), []).append(entry)
    for (day_text, encounter), orders in sorted(signed.items(), key=lambda item: item[0]):
        as_of = None if day_text == "undated" else date.fromisoformat(day_text)
        event_id = f"{chart.patient}/{encounter.rpartition('/')[2] or '-'}/{day_text}"
        yield Event(event_id, _request(event_id, chart, orders, encounter, as_of, index), as_of)


def is_signed(resource: Json) -> bool:
    """True for an order that a clinician signs: events are made of these."""
    return (
        resource.get("resourceType") in SIGNED_TYPES
        and resource.get("status") != "entered-in-error"
        and resource.get("intent") not in _DERIVED
    )


def _request(event_id: str, chart: Chart, orders: list[Entry], encounter: str, day: date | None, index: Index) -> Json:
    drafts = [Entry(as_draft(e.resource, day, chart.patient), e.full_url) for e in orders]
    context: Json = {
        "userId": _signer(orders, index),
        "patientId": chart.patient,
        "draftOrders": _bundle("collection", drafts),
    }
    if encounter:
        context["encounterId"] = encounter.rpartition("/")[2]
    return {
        "hook": "order-sign",
        "hookInstance": str(uuid5(NAMESPACE_URL, event_id)),
        "context": context,
        "prefetch": _prefetch(chart, orders, day, index),
    }


def _signer(orders: list[Entry], index: Index) -> str:
    requesters = (index.key(e.resource.get("requester")) for e in orders)
    return next((r for r in requesters if r and "/" in r), "Practitioner/unknown")


def _prefetch(chart: Chart, orders: list[Entry], day: date | None, index: Index) -> Json:
    facts: dict[str, list[Entry]] = {key: [] for key in _KEYS.values()}
    for entry in chart.entries:
        key = _KEYS.get(str(entry.resource.get("resourceType")))
        if key is not None and known_on(day, entry.resource):
            facts[key].append(Entry(as_on(day, entry.resource), entry.full_url))
    facts["coverage"] += _payors(facts["coverage"], chart, index)
    prefetch: Json = {key: _bundle("searchset", found) for key, found in facts.items()}
    patient = next((e for e in chart.entries if e.resource.get("resourceType") == "Patient"), None)
    if patient is not None:
        # Under its fullUrl only where others refer to it by that: elsewhere its id says who it is.
        by_url = (patient.full_url or "").startswith("urn:")
        prefetch["patient"] = _bundle("searchset", [patient]) if by_url else patient.resource
    prefetch["activeOrders"] = _bundle("searchset", list(_active(chart, orders, day)))
    for key, element in (("medications", "medicationReference"), ("devices", "codeReference")):
        if found := _referred(orders, element, chart, index):
            prefetch[key] = _bundle("searchset", found)
    return prefetch


def _active(chart: Chart, orders: list[Entry], day: date | None) -> Iterator[Entry]:
    event = {id(e) for e in orders}
    for entry in chart.entries:
        if id(entry) not in event and is_signed(entry.resource) and active_on(day, entry.resource):
            yield Entry({**entry.resource, "status": "active"}, entry.full_url)


def _payors(coverages: list[Entry], chart: Chart, index: Index) -> list[Entry]:
    wanted = {index.key(p) for c in coverages for p in elements.listed(c.resource.get("payor"))}
    return _with_keys(chart, wanted)


def _referred(orders: list[Entry], name: str, chart: Chart, index: Index) -> list[Entry]:
    return _with_keys(chart, {index.key(e.resource[name]) for e in orders if name in e.resource})


def _with_keys(chart: Chart, wanted: Iterable[str | None]) -> list[Entry]:
    keys = sorted({k for k in wanted if k is not None})
    own = [e for e in chart.entries if f"{e.resource.get('resourceType')}/{e.resource.get('id')}" in keys]
    return own + [chart.common[k] for k in keys if k in chart.common]


def _bundle(kind: str, entries: list[Entry]) -> Json:
    wrapped = [{"fullUrl": e.full_url, "resource": e.resource} if e.full_url else {"resource": e.resource}
               for e in entries]  # fmt: skip
    return {"resourceType": "Bundle", "type": kind, "entry": wrapped}
