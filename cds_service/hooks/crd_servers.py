"""Which server a reference means: an id is a resource's own on one server only (FHIR R4, Resource.id)."""

from __future__ import annotations

from cds_service.facts.outbound import parse_base
from cds_service.facts.references import Json, base_of
from cds_service.facts.sources import read_value
from cds_service.hooks.request import HookRequest


class Servers:
    """The servers of one call: the client's own, and those that its prefetch tells by fullUrl."""

    def __init__(self, request: HookRequest) -> None:
        self._own = _spelt(request.fhir.base) if request.fhir else None
        every = [pair for value in request.prefetch.values() for pair in read_value(value).resources]
        self._told = {id(resource): _server(url) for resource, url in every}

    def may_hold(self, reference: str) -> bool:
        """Whether the client's own server may hold what is referred to: the reference names it, or none."""
        return _server(reference) in (None, self._own)

    def agree(self, reference: str, resource: Json) -> bool:
        """False where the reference names one server and the resource is known to be of another."""
        asked, home = _server(reference), self._told.get(id(resource)) or self._own
        return asked is None or home is None or asked == home


def _server(url: object) -> str | None:
    base = base_of(url) if isinstance(url, str) else None
    return _spelt(base) if base else None


def _spelt(base: str) -> str:
    """A base URL in one spelling; what is none stays as it is, and is no other's equal."""
    try:
        return parse_base(base).url
    except ValueError:
        return base
