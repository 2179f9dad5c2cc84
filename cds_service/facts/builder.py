"""Builds the case: intake of every resource, extraction of facts, and an account of what could not be used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from operator import attrgetter
from typing import Any, TypeVar

from cds_service.facts import chart, elements, history, orders
from cds_service.facts.intake import Reading, read
from cds_service.facts.references import Index, Json, key_of, resource_of
from cds_service.facts.sources import Supplied
from cds_service.facts.validity import READABLE, accepted_types
from cds_service.facts.whose import ANOTHERS, Owner
from cds_service.policy.case import (
    Case,
    Code,
    Coverage,
    Fault,
    Medication,
    Order,
    Procedure,
    Source,
    SourceState,
    day_of,
)
from cds_service.policy.not_looked_at import Unseen, said
from cds_service.policy.operators import reads
from cds_service.policy.safe_names import safe_name

_T = TypeVar("_T")
_BY_REF = attrgetter("ref")
_BY_CODES = attrgetter("codes", "ref")
# Elements of an order whose meaning may come from another resource of the chart.
_FROM_THE_CHART = frozenset({"insurance", "codeReference", "medicationReference"})
# Sources that hold orders in force, and those that hold other evidence of services and drugs than procedures.
_ORDERED = ("active-orders", "device-requests", "medication-requests")
_SERVICES = {one.source: one.resource for one in reads.PAST_SERVICES if one.source != "procedures"}
_MEDICATIONS = {one.source: one.resource for one in reads.MEDICATIONS}
# What orders may refer to. No fact is read through a reference to another order.
_REFERRED_TO = READABLE - orders.ORDER_TYPES
# Sorting orders into operations takes time that grows with the square of their number.
MAX_ORDERS = 1000
_NONE: Mapping[str, Any] = {}
FURTHER_ORDERS = "further orders"
# Of one source. A faulty resource takes a fifth of a millisecond, and a chart that is larger has no end.
MAX_RESOURCES = 5000
FURTHER_RESOURCES = "further resources"
# Characters of the texts of a call's orders that are searched for names; other orders count as not legible.
MOST_TEXT = 200_000


class CaseBuilder:
    """Collects resources, remembering what cannot be used; `build` makes the case.

    `live` is the moment of receipt in a live call, in which no order is judged by an earlier day; `received` is that
    day where the orders were written, once they are known.
    """

    def __init__(
        self,
        patient_id: str,
        received: date,
        as_of: date | None,
        local: Mapping[Code, Code],
        live: datetime | None = None,
        *,
        base: str = "",
        prefetch: Mapping[str, Any] = _NONE,
    ) -> None:
        self.received, self.as_of, self.local = received, as_of, local
        self._live = live
        self.index = Index()
        self.owner = Owner(patient_id, base, prefetch, self.index)
        self.patient_ref = self.owner.ref
        self.faults: list[Fault] = []
        self.drafts: list[tuple[str, Reading]] = []
        self.settled: list[str] = []
        self.blank: set[str] = set()  # order forms that are still empty
        self._unusable: dict[str, list[str]] = {}
        self._foreign: list[str] = []
        self._sources: dict[str, Source] = {}
        self._read: dict[str, list[tuple[str, Reading]]] = {}
        self._drafted: dict[str, Order] = {}
        self._shifts = 0
        self._searched: dict[str, bool] = {}
        self._text_left = MOST_TEXT

    # --- collecting ---------------------------------------------------------------------------------

    def draft_orders(self, bundle: Json, path: str) -> None:
        """The draft orders of the event; a Bundle whose other resources may be referred to."""
        entries = elements.entries(bundle)
        resources = [resource_of(entry) for entry in entries]
        for entry, resource in zip(entries, resources, strict=True):
            if isinstance(resource, dict):
                self.index.add(resource, entry.get("fullUrl"))
        accepted, seen = accepted_types(resources), dict[str, Json]()
        for number, resource in enumerate(resources):
            place = f"{path}.entry[{number}].resource"
            element, why = self._draft(resource, place, seen, accepted)
            if why is not None:
                self._unseen(f"{place}{element}", why)
        self._sources["orders"] = self._state("orders", SourceState.READ if entries else SourceState.EMPTY)
        if self._live and self.drafts:
            self.received = min(elements.local_day(self._live, _written(reading)) for _, reading in self.drafts)

    def chart_orders(self, supplied: Supplied) -> None:
        """Orders of the chart that are judged as drafts are: unsigned, or signed and not yet performed."""
        bundle = {"entry": [{"resource": r, "fullUrl": url} for r, url in supplied.resources]}
        self.draft_orders(bundle, "plannedOrders")
        self._lack("orders", *supplied.source.unusable)
        self._sources["active-orders"] = supplied.source

    def _draft(
        self, resource: Any, place: str, seen: dict[str, Json], accepted: Collection[str]
    ) -> tuple[str, Unseen | None]:
        """Take up one draft order; tells which element of it is in the way, and how."""
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if not isinstance(kind, str) or not kind:
            return "", Unseen.NO_RESOURCE
        if kind not in orders.ORDER_TYPES:
            if kind not in orders.SUPPORT_TYPES and not orders.is_settled(resource):
                known = kind if kind in orders.OTHER_TYPES else "resource of another type"
                self._unseen(_name(resource) or place, Unseen.OTHER_TYPE, known)
            return "", None
        own = resource.get("id")
        if not isinstance(own, str) or not own:
            if not orders.is_blank(resource):
                return ".id", Unseen.NO_ID
            self.faults.append(Fault(f"{place}.id", f"{place}.id", said(Unseen.NO_ID), why=Unseen.NO_ID))
            return "", None
        ref = f"{kind}/{own}"
        if ref in seen:  # the same order twice is one order
            return (".id", Unseen.SAME_ID) if seen[ref] != resource else ("", None)
        seen[ref] = resource
        if orders.is_blank(resource):
            self.blank.add(ref)
        if orders.is_settled(resource):
            self.settled.append(ref)
        elif len(self.drafts) == MAX_ORDERS:
            if FURTHER_ORDERS not in self.orders_unusable:
                self._unseen(FURTHER_ORDERS, Unseen.TOO_MANY, f"{MAX_ORDERS:,}")
        elif (reading := self._intake(resource, ref, "orders", accepted)) is None:
            pass
        elif orders.is_settled(reading.resource or {}):  # by a word in another spelling
            self.settled.append(ref)
        else:
            self.drafts.append((ref, reading))
        return "", None

    def supply(self, name: str, supplied: Supplied) -> None:
        """One source of the chart."""
        self._sources[name] = supplied.source
        self._read[name] = self._taken(name, supplied.resources[:MAX_RESOURCES]) if supplied.resources else []
        if name in self._unusable:
            self._sources[name] = self._state(name, supplied.source.state)
        if len(supplied.resources) > MAX_RESOURCES:
            self._lack(name, FURTHER_RESOURCES)

    def _taken(self, source: str, supplied: list[tuple[Json, object]]) -> list[tuple[str, Reading]]:
        """Take up resources of the chart; those that can be used, each with its reference."""
        refs = [self.index.add(resource, full_url) for resource, full_url in supplied]
        accepted = accepted_types([resource for resource, _ in supplied])
        found = []
        for number, (resource, _) in enumerate(supplied):
            ref = refs[number] or _place(resource, number)
            if (reading := self._intake(resource, ref, source, accepted)) is not None:
                found.append((ref, reading))
        return found

    def _intake(self, resource: Json, ref: str, source: str, accepted: Collection[str]) -> Reading | None:
        """What facts may be read from, and references lead to; None where that is nothing."""
        reading = Reading(resource) if resource.get("resourceType") in accepted else read(resource, ref)
        if reading.faults:
            self.faults += reading.faults
        if reading.resource is None:
            self._unusable.setdefault(source, []).append(ref)
        elif trouble := self._not_ours(reading.resource, ref, source):
            if source == "orders" and trouble == ANOTHERS:
                self.faults.append(Fault(ref, ref, trouble, fatal=True))
                self._foreign.append(ref)
            else:
                self._fault(source, ref, trouble)
        else:
            self.index.settle(resource, reading.resource)
            return reading
        # A reference must not lead to what is refused here: another patient's authorisation, say.
        self.index.settle(resource, None)
        return None

    def _read_rest(self) -> None:
        """Intake of what only references may lead to: it must not be found unread, and is no evidence of its own."""
        if not self.index.unread:
            return
        rest = self.index.rest()
        accepted, unclear = accepted_types([resource for _, resource in rest]), set[str]()
        for number, (name, resource) in enumerate(rest):
            kind, reading = resource.get("resourceType"), None
            if isinstance(kind, str) and kind in _REFERRED_TO:
                reading = self._intake(resource, _place(resource, number), "referenced", accepted)
            else:
                self.index.settle(resource, None)
            if reading is None or not reading.faulty.isdisjoint(("code", "type")):
                unclear.add(name)
        if unclear:
            self._name_unclear(unclear)

    def _name_unclear(self, names: set[str]) -> None:
        """Orders that take their code from one of these resources are not checked, and that is said."""
        for ref, (resource, _, _) in self.drafts:
            named = (resource or {}).get("codeReference") or (resource or {}).get("medicationReference")
            if self.index.key(named) in names:
                self.not_looked_at(ref, Unseen.FAULTY_PRODUCT)

    def names_another(self, appointment: Json) -> bool:
        """Does an appointment have patients, and this one is not among them?"""
        given = elements.listed(appointment.get("participant"))
        actors = {self.index.key(p.get("actor")) for p in given if isinstance(p, dict)}
        patients = {key for key in actors if key is not None and key.startswith("Patient/")}
        return bool(patients) and self.patient_ref not in patients

    def _not_ours(self, resource: Json, ref: str, source: str) -> str:
        kind = resource["resourceType"]
        if kind == "Appointment":
            return ANOTHERS if self.names_another(resource) else ""
        if source == "patient" and kind == "Patient":
            return "" if key_of(ref) == self.patient_ref else ANOTHERS
        return self.owner.trouble(resource)

    def _fault(self, source: str, ref: str, text: str) -> None:
        self.faults.append(Fault(ref, ref, text, fatal=True))
        self._unusable.setdefault(source, []).append(ref)

    def _unseen(self, ref: str, why: Unseen, about: str = "") -> None:
        self.faults.append(Fault(ref, ref, said(why, about), fatal=True, why=why))
        self._unusable.setdefault("orders", []).append(ref)

    def _state(self, name: str, state: SourceState) -> Source:
        known = self._sources.get(name)
        unusable = (known.unusable if known else ()) + tuple(self._unusable.get(name, ()))
        foreign = tuple(self._foreign) if name == "orders" else ()
        return Source(state, known.detail if known else "", tuple(dict.fromkeys(unusable)), foreign)

    def _lack(self, name: str, *unusable: str) -> None:
        """Let a source count as incomplete for want of these."""
        known = self._sources[name]
        every = dict.fromkeys((*known.unusable, *unusable))
        self._sources[name] = replace(known, unusable=tuple(every))

    @property
    def known(self) -> frozenset[str]:
        """Names of the sources that something is known of."""
        return frozenset(self._sources)

    def products_unread(self) -> dict[str, str]:
        """Draft orders (by reference) whose device or medication is known by a reference that leads nowhere."""
        self._read_rest()
        found = {}
        for ref, reading in self.drafts:
            product = orders.product(reading.resource, self.index)
            if product is not None:
                found[ref] = product
        return found

    def take_products(self, resources: Iterable[Json]) -> None:
        """Devices and medications, which orders may refer to; other resources are passed over."""
        for resource in resources:
            if resource.get("resourceType") in ("Device", "Medication"):
                self.index.add(resource)

    def not_looked_at(self, ref: str, why: Unseen, about: str = "") -> None:
        """A draft order of which too little is known to check it."""
        if ref not in self.orders_unusable:
            self._unseen(ref, why, about)
            self._lack("orders", ref)

    @property
    def orders_of_others(self) -> tuple[str, ...]:
        """References of draft orders that are another patient's."""
        return tuple(self._foreign)

    @property
    def orders_unusable(self) -> tuple[str, ...]:
        """References (or places) of draft orders that cannot be used, or are another patient's."""
        return (*self._unusable.get("orders", ()), *self._foreign)

    # --- building -----------------------------------------------------------------------------------

    @property
    def _not_before(self) -> date:
        return self.received if self._live else date.min

    def day(self, order: Order) -> date:
        """The day an order will be judged."""
        return day_of(order, self.as_of, self.received, self._not_before)

    def draft(self) -> tuple[Order, ...]:
        """The draft orders of the event as far as they can be read before the chart is."""
        self._read_rest()
        self._shifts = self.index.shifts
        self._drafted = {ref: self._order(ref, reading, True) for ref, reading in self.drafts}
        return tuple(self._drafted.values())

    def _final(self, ref: str, reading: Reading) -> Order:
        """The draft as it was first read, unless the chart may have given one of its references a meaning."""
        early = self._drafted.get(ref)
        settled = self.index.shifts == self._shifts and _FROM_THE_CHART.isdisjoint(reading.resource or ())
        return early if early is not None and settled else self._order(ref, reading, True)

    def orders(self) -> tuple[Order, ...]:
        """The draft orders of the event, and the active orders of the chart."""
        self._read_rest()
        drafts = {ref: self._final(ref, reading) for ref, reading in self.drafts}
        known = {*drafts, *self.settled}
        given = [pair for name in _ORDERED for pair in self._read.get(name, ())]
        active = {ref: reading for ref, reading in given if ref not in known and _is_active(reading)}
        if len(active) > MAX_ORDERS:
            active = {ref: active[ref] for ref in sorted(active)[:MAX_ORDERS]}
            self._lack("active-orders", FURTHER_ORDERS)
        return (*(self._order(ref, reading, False) for ref, reading in active.items()), *drafts.values())

    def _order(self, ref: str, reading: Reading, draft: bool) -> Order:
        assert reading.resource is not None
        found = orders.order(
            reading.resource, ref, draft=draft, faulty=reading.faulty, index=self.index, local=self.local
        )
        return self._legible(found) if found.texts else found

    def _legible(self, order: Order) -> Order:
        """The order, without its texts where those of the call are too many: what they name is then not known."""
        size = sum(map(len, order.texts))
        searched = self._searched.get(order.ref)
        if searched is None:
            searched = self._searched[order.ref] = size <= self._text_left
            self._text_left -= size if searched else 0
        return order if searched else replace(order, texts=(), faulty=order.faulty | {"note"})

    def _facts(self, source: str, kind: str, make: Callable[[Json, str, frozenset[str]], _T | None]) -> list[_T]:
        return [
            fact
            for ref, (resource, _, faulty) in self._read.get(source, ())
            if resource is not None
            and resource.get("resourceType") == kind
            and (fact := make(resource, ref, faulty)) is not None
        ]

    def _services(self) -> Iterator[Procedure]:
        """Given services that other resources than Procedure tell of; a draft of this event is none."""
        drafts = {ref for ref, _ in self.drafts}
        for source, kind in _SERVICES.items():
            yield from (s for s in self._facts(source, kind, history.service) if s.ref not in drafts)

    def _medications(self) -> Iterator[Medication]:
        drafts = {ref for ref, _ in self.drafts}
        for source, kind in _MEDICATIONS.items():
            found = self._facts(source, kind, lambda r, ref, faulty: history.medication(r, ref, faulty, self.index))
            yield from (m for m in found if m.ref not in drafts)

    def coverages(self) -> tuple[Coverage, ...]:
        """Coverages of the chart."""
        self._read_rest()
        return tuple(
            self._facts("coverage", "Coverage", lambda r, ref, faulty: chart.coverage(r, ref, faulty, self.index))
        )

    def build(self) -> Case:
        """The case, with every source's state. Its facts are in an order of their own, whatever the request's."""
        patients = self._facts("patient", "Patient", lambda r, ref, _: chart.patient(r, ref))
        answers = self._facts(
            "answers", "QuestionnaireResponse", lambda r, ref, _: chart.answers(r, ref, self.index, self.received)
        )
        results = self._facts("observations", "Observation", chart.observations)
        return Case(
            orders=tuple(sorted(self.orders(), key=_BY_CODES)),
            conditions=_by_ref(self._facts("conditions", "Condition", chart.condition)),
            procedures=_by_ref(self._facts("procedures", "Procedure", chart.procedure)),
            services=_by_ref(self._services()),
            medications=_by_ref(self._medications()),
            observations=_by_ref(o for group in results for o in group),
            answers=tuple(a for group in answers for a in group),
            patient=patients[0] if patients else None,
            coverages=_by_ref(self.coverages()),
            sources=dict(self._sources),
            faults=tuple(self.faults),
            received=self.received,
            as_of=self.as_of,
            not_before=self._not_before,
        )


def _written(reading: Reading) -> object:
    """When an order was written: where its time has an offset, that is the caller's."""
    return (reading.resource or {}).get("authoredOn")


def _is_active(reading: Reading) -> bool:
    """Is it an order that is in force?"""
    resource = reading.resource or {}
    return resource.get("resourceType") in orders.ORDER_TYPES and resource.get("status", "active") == "active"


def _place(resource: Json, number: int) -> str:
    """How to name a resource that may have no `Type/id`."""
    return _name(resource) or safe_name(f"{resource.get('resourceType')}[{number}]")


def _name(resource: Json) -> str:
    kind, own = resource.get("resourceType"), resource.get("id")
    return f"{kind}/{own}" if isinstance(own, str) else ""


def _by_ref(facts: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(sorted(facts, key=_BY_REF))
