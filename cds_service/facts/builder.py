"""Builds the case: intake of every resource, extraction of facts, and an account of what could not be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from cds_service.facts import chart, elements, orders
from cds_service.facts.intake import Reading, read
from cds_service.facts.references import Index, Json, key_of
from cds_service.facts.sources import Supplied
from cds_service.policy.case import Case, Code, Coverage, Fault, Order, Source, SourceState

_SUBJECT = {
    "ServiceRequest": "subject", "DeviceRequest": "subject", "MedicationRequest": "subject", "Condition": "subject",
    "Procedure": "subject", "Observation": "subject", "QuestionnaireResponse": "subject", "Encounter": "subject",
    "CommunicationRequest": "subject", "NutritionOrder": "patient", "VisionPrescription": "patient",
    "Coverage": "beneficiary", "ClaimResponse": "patient",
}  # fmt: skip


# Elements of an order whose meaning may come from another resource of the chart.
_BY_REFERENCE = ("insurance", "codeReference", "medicationReference")


class CaseBuilder:
    """Collects resources, remembering what cannot be used; `build` makes the case."""

    def __init__(self, patient_id: str, received: date, as_of: date | None, local: Mapping[Code, Code]) -> None:
        self.patient_ref = f"Patient/{patient_id.removeprefix('Patient/')}"
        self.received, self.as_of, self.local = received, as_of, local
        self.index = Index()
        self.faults: list[Fault] = []
        self.drafts: list[tuple[str, Reading]] = []
        self.settled: list[str] = []
        self._unusable: dict[str, list[str]] = {}
        self._sources: dict[str, Source] = {}
        self._read: dict[str, list[tuple[str, Reading]]] = {}
        self._drafted: dict[str, Order] = {}
        self._aliases = 0

    # --- collecting ---------------------------------------------------------------------------------

    def draft_orders(self, bundle: Json, path: str) -> None:
        """The draft orders of the event; a Bundle whose other resources may be referred to."""
        entries = elements.listed(bundle.get("entry"))
        for entry in entries:
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(resource, dict):
                self.index.add(resource, entry.get("fullUrl"))
        seen: set[str] = set()
        for number, entry in enumerate(entries):
            resource = entry.get("resource") if isinstance(entry, dict) else None
            self._draft(resource, f"{path}.entry[{number}].resource", seen)
        self._sources["orders"] = self._state("orders", SourceState.READ if entries else SourceState.EMPTY)

    def chart_orders(self, supplied: Supplied) -> None:
        """Orders of the chart that are judged as drafts are: unsigned, or signed and not yet performed."""
        bundle = {"entry": [{"resource": r, "fullUrl": url} for r, url in supplied.resources]}
        self.draft_orders(bundle, "plannedOrders")
        self._sources["active-orders"] = Source(supplied.source.state, supplied.source.detail, supplied.source.unusable)

    def _draft(self, resource: Any, where: str, seen: set[str]) -> None:
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType", ""), str):
            self._fault("orders", where, "is not a resource")
        elif resource.get("resourceType") == "Bundle":
            self._fault("orders", where, "is a Bundle inside a Bundle, whose orders are not read")
        elif resource.get("resourceType") in orders.ORDER_TYPES:
            self._draft_order(resource, where, seen)

    def _draft_order(self, resource: Json, where: str, seen: set[str]) -> None:
        own = resource.get("id")
        if not isinstance(own, str) or not own:
            self._fault("orders", f"{where}.id", "is missing, so the order cannot be named")
            return
        ref = f"{resource['resourceType']}/{own}"
        if ref in seen:
            self._fault("orders", f"{where}.id", "repeats the id of another draft order")
            return
        seen.add(ref)
        status = resource.get("status")
        if (isinstance(status, str) and status in orders.SETTLED) or resource.get("doNotPerform") is True:
            self.settled.append(ref)
            return
        reading = self._intake(resource, ref, "orders")
        if reading is not None:
            self.drafts.append((ref, reading))

    def supply(self, name: str, supplied: Supplied) -> None:
        """One source of the chart."""
        for resource, full_url in supplied.resources:
            self.index.add(resource, full_url)
        self._sources[name] = supplied.source
        self._read[name] = []
        for number, (resource, _) in enumerate(supplied.resources):
            kind, own = resource.get("resourceType"), resource.get("id")
            ref = f"{kind}/{own}" if isinstance(own, str) else f"{kind}[{number}]"
            reading = self._intake(resource, ref, name)
            if reading is not None:
                self._read[name].append((ref, reading))
        if name in self._unusable:
            self._sources[name] = self._state(name, supplied.source.state)

    def _intake(self, resource: Json, ref: str, source: str) -> Reading | None:
        reading = self._usable(resource, ref, source)
        # A reference must not lead to what is refused here: another patient's authorisation, say.
        self.index.settle(ref, resource, reading.resource if reading else None)
        return reading

    def _usable(self, resource: Json, ref: str, source: str) -> Reading | None:
        reading = read(resource, ref)
        self.faults += reading.faults
        if reading.resource is None:
            self._unusable.setdefault(source, []).append(ref)
            return None
        subject = _SUBJECT.get(str(resource.get("resourceType")))
        owner = self.index.key(reading.resource.get(subject)) if subject else None
        foreign = owner is not None and owner.startswith("Patient/") and owner != self.patient_ref
        if foreign or (
            resource.get("resourceType") == "Patient" and key_of(ref) != self.patient_ref and source == "patient"
        ):
            self._fault(source, ref, "belongs to another patient and is not used")
            return None
        return reading

    def _fault(self, source: str, ref: str, text: str) -> None:
        self.faults.append(Fault(ref, ref, text, fatal=True))
        self._unusable.setdefault(source, []).append(ref)

    def _state(self, name: str, state: SourceState) -> Source:
        known = self._sources.get(name)
        unusable = (known.unusable if known else ()) + tuple(self._unusable.get(name, ()))
        return Source(state, known.detail if known else "", tuple(dict.fromkeys(unusable)))

    @property
    def orders_unusable(self) -> tuple[str, ...]:
        """References (or places) of draft orders that cannot be used."""
        return tuple(self._unusable.get("orders", ()))

    # --- building -----------------------------------------------------------------------------------

    def draft(self) -> tuple[Order, ...]:
        """The draft orders of the event as far as they can be read before the chart is."""
        self._aliases = self.index.aliases
        self._drafted = {ref: self._order(ref, reading, True) for ref, reading in self.drafts}
        return tuple(self._drafted.values())

    def _final(self, ref: str, reading: Reading) -> Order:
        """The draft as it was first read, unless the chart may have given one of its references a meaning."""
        early = self._drafted.get(ref)
        resource = reading.resource or {}
        if early is None or self.index.aliases != self._aliases or any(name in resource for name in _BY_REFERENCE):
            return self._order(ref, reading, True)
        return early

    def orders(self) -> tuple[Order, ...]:
        """The draft orders of the event, and the active orders of the chart."""
        drafts = {ref: self._final(ref, reading) for ref, reading in self.drafts}
        active = {
            ref: self._order(ref, reading, False)
            for ref, reading in self._read.get("active-orders", ())
            if reading.resource is not None
            and reading.resource.get("resourceType") in orders.ORDER_TYPES
            and reading.resource.get("status", "active") == "active"
            and ref not in drafts
            and ref not in self.settled
        }
        return tuple({**active, **drafts}.values())

    def _order(self, ref: str, reading: Reading, draft: bool) -> Order:
        assert reading.resource is not None
        return orders.order(
            reading.resource, ref, draft=draft, faulty=reading.faulty, index=self.index, local=self.local
        )

    def _facts(self, source: str, kind: str, make: Callable[[Json, str, frozenset[str]], Any]) -> tuple[Any, ...]:
        found = []
        for ref, reading in self._read.get(source, ()):
            if reading.resource is not None and reading.resource.get("resourceType") == kind:
                fact = make(reading.resource, ref, reading.faulty)
                if fact is not None:
                    found.append(fact)
        return tuple(found)

    def coverages(self) -> tuple[Coverage, ...]:
        """Coverages of the chart."""
        return self._facts("coverage", "Coverage", lambda r, ref, faulty: chart.coverage(r, ref, faulty, self.index))

    def build(self) -> Case:
        """The case, with every source's state. Its facts are in an order of their own, whatever the request's."""
        patients = self._facts("patient", "Patient", lambda r, ref, _: chart.patient(r, ref))
        answers = self._facts(
            "answers", "QuestionnaireResponse", lambda r, ref, _: list(chart.answers(r, ref, self.index))
        )
        return Case(
            orders=tuple(sorted(self.orders(), key=lambda o: ([str(c) for c in o.codes], o.ref))),
            conditions=_by_ref(self._facts("conditions", "Condition", chart.condition)),
            procedures=_by_ref(self._facts("procedures", "Procedure", chart.procedure)),
            observations=_by_ref(
                self._facts("observations", "Observation", lambda r, ref, _: chart.observation(r, ref))
            ),
            answers=tuple(a for group in answers for a in group),
            patient=patients[0] if patients else None,
            coverages=_by_ref(self.coverages()),
            sources=dict(self._sources),
            faults=tuple(self.faults),
            received=self.received,
            as_of=self.as_of,
        )


def _by_ref(facts: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(facts, key=lambda fact: str(fact.ref)))
