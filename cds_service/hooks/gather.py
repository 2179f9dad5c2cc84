"""Lazy data access: prefetch first, then the caller's FHIR server for what the speaking policies still need."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from cds_service.errors import MissingData
from cds_service.facts.builder import CaseBuilder
from cds_service.facts.client import Fetched, Query
from cds_service.facts.orders import untold, without_system
from cds_service.facts.references import is_readable
from cds_service.facts.sources import BY_NAME, Supplied, merge, read_prefetch
from cds_service.hooks.request import HookRequest
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.policy.case import UNAVAILABLE, Code, Order, Source, SourceState
from cds_service.policy.rulebook import Outline
from cds_service.policy.vocabulary import Vocabulary

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

    `supplied` is the prefetch as it was read, where it was.
    """
    supplied = read_prefetch(request.prefetch) if supplied is None else supplied
    partial = {n for n, s in supplied.items() if s.partial}
    missing = sorted(needed - (supplied.keys() - partial) - builder.known)
    pages = {n: s.next_page for n, s in supplied.items() if s.next_page and n in needed}
    log: list[dict[str, Any]] = []
    queries = [Query(n, BY_NAME[n].query(request.patient_id)) for n in missing]
    queries += [Query(f"{n}+", page, continues=True) for n, page in pages.items()]
    if queries:
        fetched = fetch(request, queries, runtime, caller, deadline)
        for name in missing:
            supplied[name] = completed(supplied.get(name), fetched.get(name))
        for name in pages:
            supplied[name] = continued(supplied[name], fetched.get(f"{name}+"))
        log = [log_of(f) for f in fetched.values()]
    # The Patient first: resources may name theirs by identifier alone.
    for name, value in sorted(supplied.items(), key=lambda item: item[0] != "patient"):
        if name != "planned-orders":  # those are the orders that are judged, and taken up as such
            builder.supply(name, value)
    return log


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
        builder.take_products(supplied.resources)
    wanted = sorted({ref for ref in builder.products_unread().values() if is_readable(ref)})
    queries = [Query(ref, ref) for ref in wanted]
    fetched = fetch(request, queries, runtime, caller, deadline) if queries else {}
    for found in fetched.values():
        builder.take_products((resource, None) for resource in found.resources)
    for order, ref in builder.products_unread().items():
        builder.not_checked(order, f"{ref} could not be read")
    return [log_of(f) for f in fetched.values()]


def name_uncoded(drafts: Iterable[Order], builder: CaseBuilder, runtime: Runtime) -> None:
    """Let orders count as not checked that have no code which is read, and may ask for what policies speak to.

    An order with a code of a local system is passed over: each laboratory test has one, and the client's table maps it.
    """
    vocabulary, given = runtime.book.rulebook.vocabulary, dict(builder.drafts)
    for order in drafts:
        if vocabulary.membership(order.codes) or vocabulary.procedure(order.codes) is not None:
            continue
        resource = given[order.ref].resource
        if resource is not None and any(_is_known(c, vocabulary) for c in without_system(resource, builder.index)):
            builder.not_checked(order.ref, "names a code, but no code system that is known here")
        elif why := untold(order):
            builder.not_checked(order.ref, why)


def _is_known(code: Code, vocabulary: Vocabulary) -> bool:
    return code in vocabulary.procedures or bool(vocabulary.sets_of(code))


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


def completed(along: Supplied | None, fetched: Fetched | None) -> Supplied:
    """What came of a query, with what merely came along with the request: the latter alone where nothing came of it."""
    found = as_supplied(fetched)
    if along is None:
        return found
    return along if found.source.state is SourceState.UNAVAILABLE else merge(found, along)


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
