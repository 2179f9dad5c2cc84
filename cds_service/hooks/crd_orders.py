"""The orders in scope of each hook: in the context, referred to by it, or the encounter itself.

Source: Da Vinci CRD, hooks; and cards, Coverage Information: an appointment based on an order updates the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cds_service.errors import Issue, MissingData, RequestError
from cds_service.facts import elements
from cds_service.facts.orders import ORDER_TYPES
from cds_service.facts.references import Json, key_of, resource_of
from cds_service.facts.sources import read_value
from cds_service.hooks.crd_check import is_told
from cds_service.hooks.crd_gather import GONE, CrdData
from cds_service.hooks.crd_servers import Servers
from cds_service.hooks.envelope import plain
from cds_service.hooks.exact import holds_decimal, loads_exact
from cds_service.hooks.request import HookRequest

ALTERNATE_REFERENCE = "http://hl7.org/fhir/StructureDefinition/alternate-reference"
_BUNDLES = ("draftOrders", "appointments")
_BY_REFERENCE = {"DeviceRequest": "codeReference", "MedicationRequest": "medicationReference"}
# What a performer can be asked for; appointments and encounters have hooks of their own.
_DISPATCHED_TYPES = ORDER_TYPES - {"Appointment", "Encounter"}
_UNREAD = "could not be read, by prefetch or from the FHIR server"


@dataclass
class Scope:
    """Orders in scope by `Type/id` as they came, in the order of the request, and what could not be read.

    `entries` are what the case is given of a Bundle that may hold more than orders; else it is given the orders.
    `uncoded` are orders of which it could not be read what they ask for, each with the situation that makes.
    """

    orders: dict[str, Json] = field(default_factory=dict)
    entries: list[Any] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    uncoded: dict[str, str] = field(default_factory=dict)


def collect(request: HookRequest, data: CrdData) -> Scope:
    """Find the orders of a call, and give them to the case. MissingData where none can be read that it refers to."""
    scope, path = _SCOPES[request.hook](request, data)
    entries = scope.entries or [{"resource": r} for r in scope.orders.values()]
    data.builder.draft_orders({"entry": entries}, path)
    scope.unreadable += [f"{f.ref} {f.text}" for f in data.builder.faults if is_told(f)]
    _read_codes(scope, data)
    return scope


def _context(request: HookRequest, data: CrdData) -> tuple[Scope, str]:
    """order-sign, order-select: draft orders stand in the context; broken ones are kept to be named."""
    bundle = request.context["draftOrders"]
    scope = Scope(entries=elements.entries(bundle))
    for number, (resource, full_url) in enumerate(_entries(bundle)):
        data.builder.index.add(resource, full_url)
        scope.orders.setdefault(_key(resource) or f"entry[{number}]", resource)
    return scope, "context.draftOrders"


def _appointments(request: HookRequest, data: CrdData) -> tuple[Scope, str]:
    """appointment-book: the order an appointment is based on, else the appointment."""
    scope, bundle = Scope(), request.context["appointments"]
    # An appointment of another patient stands for itself, to be refused: not for an order that may be this patient's.
    own = [r for r, _ in _entries(bundle) if not data.builder.names_another(r)]
    based_on = {id(r): list(_based_on(r)) for r in own}
    found = _looked_up((ref for refs in based_on.values() for ref in refs), request, data)
    for number, entry in enumerate(elements.entries(bundle)):
        resource = resource_of(entry)
        named = [found[ref] for ref in based_on.get(id(resource), [])]
        orders = {ref: o for ref, o in named if o is not None}
        scope.unreadable += [ref for ref, o in named if o is None]
        scope.entries += (
            [{"resource": o} for ref, o in orders.items() if ref not in scope.orders] if orders else [entry]
        )
        if isinstance(resource, dict):
            data.builder.index.add(resource, entry.get("fullUrl"))
            orders = orders or {_key(resource) or f"entry[{number}]": resource}
        scope.orders |= {ref: o for ref, o in orders.items() if ref not in scope.orders}
    return scope, "context.appointments"


def _based_on(appointment: Mapping[str, Any]) -> Iterator[str]:
    for reference in elements.listed(appointment.get("basedOn")):
        if not isinstance(reference, dict):
            continue
        inner = [e.get("valueReference") for e in elements.extensions(reference, ALTERNATE_REFERENCE)]
        for each in (reference, *inner):
            text = each.get("reference") if isinstance(each, dict) else None
            if isinstance(text, str) and key_of(text).split("/", 1)[0] in ORDER_TYPES:
                yield text


def _dispatched(request: HookRequest, data: CrdData) -> tuple[Scope, str]:
    """order-dispatch: references; `order` is how version 1.0 of the hook, before lists, named one."""
    listed = request.context.get("dispatchedOrders")
    given = {f"context.dispatchedOrders[{n}]": ref for n, ref in enumerate(listed or ())}
    given = given or {"context.order": request.context["order"]}
    wrong = [path for path, ref in given.items() if _is_no_order(ref, data)]
    if wrong:
        raise RequestError(*(Issue("does not refer to an order", path, "value") for path in wrong))
    scope = Scope()
    for ref, resource in _looked_up(given.values(), request, data).values():
        if resource is None:
            scope.unreadable.append(ref)
        else:
            scope.orders[ref] = resource
    if scope.unreadable and not scope.orders:
        raise MissingData(Issue(_UNREAD, "context.dispatchedOrders", "incomplete"))
    return scope, "context.dispatchedOrders"


def _is_no_order(reference: str, data: CrdData) -> bool:
    """True where the type is told and is none of an order; an identifier alone may still lead to one."""
    kind, slash, _ = (data.builder.index.key(reference) or reference).partition("/")
    return bool(slash) and kind not in _DISPATCHED_TYPES


def _looked_up(references: Iterable[str], request: HookRequest, data: CrdData) -> dict[str, tuple[str, Json | None]]:
    """By reference: a name for the order, and the order, from prefetch or read from the client's server.

    An order of another server under the same id is another order, perhaps another patient's.
    """
    servers, index = Servers(request), data.builder.index
    keys = {ref: index.key(ref) or ref for ref in references}
    data.take_supplied(keys.values())
    data.read(key for ref, key in keys.items() if servers.may_hold(ref))
    found: dict[str, tuple[str, Json | None]] = {}
    for ref, key in keys.items():
        resource = index.resolve(key)
        if resource is not None and not servers.agree(ref, resource):
            resource = None
        found[ref] = (key if resource is not None or servers.may_hold(ref) else ref, resource)
    return found


def _encounter(request: HookRequest, data: CrdData) -> tuple[Scope, str]:
    """encounter-start, encounter-discharge: the encounter itself."""
    ref = f"Encounter/{str(request.context['encounterId']).removeprefix('Encounter/')}"
    data.read([ref])
    resource = data.builder.index.resolve(ref)
    if resource is None:
        raise MissingData(Issue(_UNREAD, "context.encounterId", "incomplete"))
    return Scope({ref: resource}), "context.encounterId"


_SCOPES = {
    "order-sign": _context,
    "order-select": _context,
    "order-dispatch": _dispatched,
    "appointment-book": _appointments,
    "encounter-start": _encounter,
    "encounter-discharge": _encounter,
}


def _read_codes(scope: Scope, data: CrdData) -> None:
    """Devices and medications that give an order its code; an order whose own cannot be read has none."""
    index = data.builder.index
    named = {ref: r.get(_BY_REFERENCE.get(str(r.get("resourceType")), "")) for ref, r in scope.orders.items()}
    keys = {ref: index.key(reference) for ref, reference in named.items() if isinstance(reference, dict)}
    data.read(key for key in keys.values() if key and not key.startswith("#"))
    for ref, key in keys.items():
        if index.resolve(named[ref], within=scope.orders[ref]) is None:
            scope.uncoded[ref] = "no-code" if data.status.get(key or "", 404) in GONE else "technical"


def _entries(bundle: object) -> Iterator[tuple[Json, object]]:
    for entry in elements.entries(bundle):
        resource = resource_of(entry)
        if resource is not None:
            yield resource, entry.get("fullUrl")


def _key(resource: Mapping[str, Any]) -> str | None:
    kind, own = resource.get("resourceType"), resource.get("id")
    return f"{kind}/{own}" if isinstance(kind, str) and isinstance(own, str) else None


def as_written(request: HookRequest, scope: Scope) -> dict[str, Json]:
    """The orders in scope with every number as the client wrote it: 1.00 does not come back as 1.0."""
    if not request.raw or not any(holds_decimal(o) for o in scope.orders.values()):
        return scope.orders
    exact = plain(loads_exact(request.raw))
    # By content as well as by id: the same order may stand in the request twice, in two versions.
    written = {ref: r for r in _resources(exact) if (ref := _key(r)) in scope.orders and r == scope.orders[ref]}
    return {ref: written.get(ref, resource) for ref, resource in scope.orders.items()}


def _resources(body: Mapping[str, Any]) -> Iterator[Json]:
    """Every resource of a request's context and prefetch, the context's last so that it wins."""
    for value in (body.get("prefetch") or {}).values():
        yield from (r for r, _ in read_value(value).resources)
    for name in _BUNDLES:
        yield from (r for r, _ in _entries(body["context"].get(name)))
