"""Lazy data access: prefetch first, then the caller's FHIR server for what the speaking policies still need."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from cds_service.errors import MissingData
from cds_service.facts.builder import CaseBuilder
from cds_service.facts.client import Fetched, Query
from cds_service.facts.orders import unseen, words
from cds_service.facts.references import is_readable
from cds_service.facts.sources import BY_NAME, Supplied, merge, read_prefetch
from cds_service.hooks.request import HookRequest
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.policy.case import UNAVAILABLE, Order, Source, SourceState
from cds_service.policy.item_words import named_in
from cds_service.policy.not_looked_at import Unseen
from cds_service.policy.rulebook import Outline, Rulebook

_NAMES = frozenset(BY_NAME)


def concerning(orders: Iterable[Order], builder: CaseBuilder, runtime: Runtime) -> list[Outline]:
    """Outlines of the policies that may speak to the judged orders, whoever the payer; empty: nothing speaks."""
    speaking = runtime.book.rulebook.concerning
    found: dict[int, Outline] = {}  # by identity: comparing them would cost more than a few too many
    for order in orders:
        outlines = speaking(order, builder.day(order))
        found.update(zip(map(id, outlines), outlines, strict=True))
    return [outline for outline in found.values() if runtime.shows(outline.status)]


def sources_needed(outlines: Collection[Outline], orders: Iterable[Order]) -> set[str]:
    """Names of the sources that settling these orders may read."""
    needed: set[str] = set().union(*[outline.reads for outline in outlines])
    if any(outline.kind == "coverage" for outline in outlines):
        needed.add("coverage")
    if any(ref.startswith("ClaimResponse/") for o in orders for ref in o.insurance):
        needed.add("authorizations")
    return needed & _NAMES


def gather(
    request: HookRequest,
    needed: set[str],
    builder: CaseBuilder,
    runtime: Runtime,
    caller: Caller,
    deadline: float | None = None,
    supplied: dict[str, Supplied] | None = None,
) -> list[dict[str, Any]]:
    """Fill the builder from prefetch and, for what is missing, from the FHIR server; returns what was fetched.

    `supplied` is the prefetch by source, where the caller has read it already.
    """
    supplied = read_prefetch(request.prefetch) if supplied is None else dict(supplied)
    whole = {name for name, value in supplied.items() if not value.partial}
    missing = sorted(needed - whole - builder.known)
    pages = {n: s.next_page for n, s in supplied.items() if s.next_page and n in needed}
    log: list[dict[str, Any]] = []
    queries = [Query(n, BY_NAME[n].query(request.patient_id)) for n in missing]
    queries += [Query(f"{n}+", page, continues=True) for n, page in pages.items()]
    if queries:
        fetched = fetch(request, queries, runtime, caller, deadline)
        for name in missing:
            supplied[name] = _with(supplied.get(name), fetched.get(name))
        for name in pages:
            supplied[name] = continued(supplied[name], fetched.get(f"{name}+"))
        log = [log_of(f) for f in fetched.values()]
    # The Patient first: resources may name theirs by identifier alone.
    for name, value in sorted(supplied.items(), key=lambda item: item[0] != "patient"):
        if name != "planned-orders":  # those are the orders that are judged, and taken up as such
            builder.supply(name, value)
    return log


def _with(sent: Supplied | None, fetched: Fetched | None) -> Supplied:
    """What was fetched, with what the client had sent of it along with other data."""
    found = as_supplied(fetched)
    if sent is None:
        return found
    return sent if found.source.state is SourceState.UNAVAILABLE else merge(sent, found)


def planned_orders(
    request: HookRequest, builder: CaseBuilder, runtime: Runtime, caller: Caller, deadline: float
) -> list[dict[str, Any]]:
    """The patient's unsigned and not yet performed orders, for hooks that carry none. Raises MissingData (412)."""
    supplied = read_prefetch(request.prefetch)
    name = "planned-orders"
    found = supplied.get(name) or supplied.get("active-orders")
    queries = []
    if found is None:
        queries = [Query(name, BY_NAME[name].query(request.patient_id))]
    elif found.next_page:
        queries = [Query(name, found.next_page, continues=True)]
    fetched = fetch(request, queries, runtime, caller, deadline) if queries else {}
    if queries:
        found = continued(found, fetched.get(name)) if found else as_supplied(fetched.get(name))
    assert found is not None
    log = [log_of(f) for f in fetched.values()]
    if found.source.state is SourceState.UNAVAILABLE:
        raise MissingData(f"is needed and could not be obtained: {found.source.detail}", path="prefetch.plannedOrders")
    builder.chart_orders(found)
    return log


def products(
    request: HookRequest, builder: CaseBuilder, runtime: Runtime, caller: Caller, deadline: float
) -> list[dict[str, Any]]:
    """Read the devices and medications that give draft orders their code, where the request holds only a reference.

    An order whose product stays unread counts as not checked: it may be what a policy, or a safety notice, is about.
    """
    if not builder.products_unread():
        return []
    for supplied in read_prefetch(request.prefetch).values():
        builder.take_products([resource for resource, _ in supplied.resources])
    wanted = sorted({ref for ref in builder.products_unread().values() if is_readable(ref)})
    queries = [Query(ref, ref) for ref in wanted]
    fetched = fetch(request, queries, runtime, caller, deadline) if queries else {}
    for found in fetched.values():
        builder.take_products(found.resources)
    for order, ref in builder.products_unread().items():
        builder.not_looked_at(order, Unseen.PRODUCT, ref)
    return [log_of(f) for f in fetched.values()]


def name_uncoded(drafts: Iterable[Order], builder: CaseBuilder, runtime: Runtime) -> None:
    """Let orders count as not looked at that no policy knows by their codes, and that may ask for what policies govern.

    An order with a code of a local system is passed over, unless its words are a governed item's: the client's table
    maps such codes. So is an order form that is still empty.
    """
    rulebook, given = runtime.book.rulebook, dict(builder.drafts)
    vocabulary = rulebook.vocabulary
    own = {code.system for code in builder.local}
    for order in drafts:
        if order.ref in builder.blank or vocabulary.knows(order.codes):
            continue
        resource = given[order.ref].resource
        assert resource is not None
        found = unseen(order, resource, builder.index, vocabulary.is_known, own)
        if found is not None:
            builder.not_looked_at(order.ref, *found)
        elif (label := _governed(order, resource, builder, rulebook)) != "":
            builder.not_looked_at(order.ref, Unseen.IN_WORDS, label)


def _governed(order: Order, resource: dict[str, Any], builder: CaseBuilder, rulebook: Rulebook) -> str:
    """The label of the governed item that an order without a billing code names; empty where a policy reads it."""
    named = words(order, resource, builder.index)
    if not named or rulebook.concerning(order, builder.day(order)):
        return ""
    return named_in(named, rulebook.item_labels)


def fetch(
    request: HookRequest, queries: list[Query], runtime: Runtime, caller: Caller, deadline: float | None = None
) -> dict[str, Fetched]:
    """Ask the caller's FHIR server; nothing where there is none. `deadline` is a time.monotonic() value."""
    if request.fhir is None or runtime.fhir is None or caller.allowed is None:
        return {}
    base, token = request.fhir.base, request.fhir.token
    return runtime.fhir.fetch(base, token, queries, allowed=caller.allowed, deadline=deadline)


def as_supplied(fetched: Fetched | None, otherwise: Source = UNAVAILABLE) -> Supplied:
    """What came of a query, as if it had come with the request; `otherwise` where nobody could be asked."""
    if fetched is None:
        return Supplied(otherwise)
    return Supplied(Source(fetched.state, fetched.detail), [(r, None) for r in fetched.resources])


def continued(first: Supplied, rest: Fetched | None) -> Supplied:
    """A paged prefetch bundle with its further pages; incomplete where they could not be read."""
    if rest is None or rest.state is SourceState.UNAVAILABLE:
        return first
    whole = Supplied(Source(SourceState.READ), first.resources)  # further pages were all that it lacked
    return merge(whole, as_supplied(rest))


def log_of(fetched: Fetched) -> dict[str, Any]:
    """One query, as the ledger tells of it."""
    return {
        "name": fetched.name,
        "state": fetched.state.value,
        "status": fetched.status,
        "milliseconds": round(fetched.milliseconds, 3),
        "pages": fetched.pages,
        "detail": fetched.detail,
    }
