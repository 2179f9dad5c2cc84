"""The orders that an order-select call is about: its `selections`, as references of draft orders."""

from __future__ import annotations

from cds_service.errors import Issue, RequestError
from cds_service.facts import elements
from cds_service.facts.builder import CaseBuilder
from cds_service.facts.references import resource_of
from cds_service.hooks.request import HookRequest


def selected(request: HookRequest, builder: CaseBuilder) -> tuple[str, ...] | None:
    """`Type/id` of each; None for hooks that select nothing. `Type/id`, a fullUrl, or an id alone names one.

    Raises RequestError for a selection that names no resource of `draftOrders` (CDS Hooks, order-select): silence
    about it would look like an answer.
    """
    if request.selections is None:
        return None
    drafts = _drafts(request)
    found = {number: _named(s, drafts, builder) for number, s in enumerate(request.selections)}
    unknown = [number for number, ref in found.items() if ref is None]
    if unknown:
        raise RequestError(*(Issue("names no draft order", f"context.selections[{n}]", "not-found") for n in unknown))
    return tuple([ref for ref in found.values() if ref is not None])


def _drafts(request: HookRequest) -> set[str]:
    resources = [resource_of(e) for e in elements.entries(request.context["draftOrders"])]
    return {f"{r.get('resourceType')}/{r.get('id')}" for r in resources if r is not None}


def _named(selection: str, drafts: set[str], builder: CaseBuilder) -> str | None:
    ref = builder.index.key(selection)
    if ref in drafts:
        return ref
    bare = [draft for draft in drafts if draft.partition("/")[2] == selection]
    return bare[0] if len(bare) == 1 else None
