"""Data of one CRD call: prefetch split into look-ups and sources, and reads from the client's FHIR server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cds_service.facts import elements
from cds_service.facts.builder import CaseBuilder
from cds_service.facts.client import Fetched, Query
from cds_service.facts.orders import ORDER_TYPES
from cds_service.facts.references import Json, is_readable, key_of
from cds_service.facts.sources import BY_NAME, Supplied, distinct, merge, query_for, read_prefetch
from cds_service.hooks import gather
from cds_service.hooks.crd_services import LOOK_UPS
from cds_service.hooks.request import HookRequest
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.policy.case import Source, SourceState

_CAME = "what came cannot be used"
NOT_SUPPLIED = "not supplied"
GONE = (404, 410)  # the server was asked, and has no such resource

_UNREACHED = Source(SourceState.UNAVAILABLE, "neither in prefetch nor readable")


class CrdData:
    """What came with the request and what is read for it, within one deadline.

    `status` and `details` tell, by reference, how a read went: the HTTP status, and why nothing is found under a
    reference that no resource is found under.
    """

    def __init__(self, request: HookRequest, builder: CaseBuilder, runtime: Runtime, caller: Caller) -> None:
        look_ups = {k: v for k, v in request.prefetch.items() if k.lower() in LOOK_UPS}
        sources = {k: v for k, v in request.prefetch.items() if k not in look_ups}
        self.request = replace(request, prefetch=sources)
        self.builder, self.runtime, self.caller = builder, runtime, caller
        self.deadline = time.monotonic() + runtime.settings.fetch_deadline
        self.log: list[Json] = []
        self.status: dict[str, int | None] = {}
        self.details: dict[str, str] = {}
        self._supplied = read_prefetch(sources)
        for key, value in look_ups.items():
            self._look_up(read_prefetch({key: value}))
        for name, supplied in self._supplied.items():
            if name.startswith("other:"):
                self._index(supplied)

    def _look_up(self, found: dict[str, Supplied]) -> None:
        """Orders and what they refer to are no evidence about the patient; what came along with them is."""
        for name, supplied in found.items():
            self._index(supplied)
            if not name.startswith("other:") and BY_NAME[name].kind not in ORDER_TYPES:
                known = self._supplied.get(name)
                self._supplied[name] = merge(known, supplied) if known else supplied

    def _index(self, supplied: Supplied) -> None:
        for resource, full_url in supplied.resources:
            self.builder.index.add(resource, full_url)

    def _fetch(self, queries: list[Query]) -> dict[str, Fetched]:
        fetched = gather.fetch(self.request, queries, self.runtime, self.caller, self.deadline) if queries else {}
        self.log += [gather.log_of(f) for f in fetched.values()]
        return fetched

    def read(self, references: Iterable[str]) -> None:
        """Read what `Type/id` references point at and is not known yet; what cannot be read stays unknown."""
        index = self.builder.index
        references = list(references)
        self.take_supplied(references)
        wanted = [r for r in dict.fromkeys(references) if "/" in r and index.resolve(r) is None]
        fetched = self._fetch([Query(ref, ref) for ref in wanted if is_readable(ref)])
        for ref in wanted:
            found = fetched.get(ref)
            self.status[ref] = found.status if found else None
            self.details[ref] = found.detail or _CAME if found else NOT_SUPPLIED
            for resource in found.resources if found else ():
                index.add(resource)

    def take_supplied(self, references: Iterable[str]) -> None:
        """What prefetch holds under keys of the client's own needs no read: the guide's examples have such keys."""
        unknown = {r for r in references if self.builder.index.resolve(r) is None}
        for supplied in self._supplied.values() if unknown else ():
            for resource, full_url in supplied.resources:
                if f"{resource.get('resourceType')}/{resource.get('id')}" in unknown:
                    self.builder.index.add(resource, full_url)

    def coverage(self) -> Source:
        """Supply the builder with Coverage, and read payors that carry no identifier of their own."""
        supplied = self._supplied.get("coverage")
        if supplied is None:
            template = f"{BY_NAME['coverage'].template.split('&', 1)[0]}&status=active"
            fetched = self._fetch([Query("coverage", query_for(template, self.request.patient_id))])
            supplied = gather.as_supplied(fetched.get("coverage"), _UNREACHED)
        elif supplied.next_page:
            fetched = self._fetch([Query("coverage", supplied.next_page, continues=True)])
            supplied = gather.continued(supplied, fetched.get("coverage"))
        supplied = replace(supplied, resources=distinct(supplied.resources))
        self.builder.supply("coverage", supplied)
        self.read(payors(r for r, _ in supplied.resources if r.get("resourceType") == "Coverage"))
        return supplied.source

    def sources(self, needed: set[str]) -> None:
        """Supply the builder with the other sources that the policies read."""
        self.log += gather.gather(
            self.request,
            needed - {"coverage"},
            self.builder,
            self.runtime,
            self.caller,
            self.deadline,
            {name: supplied for name, supplied in self._supplied.items() if name != "coverage"},
        )


def payors(coverages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """References to payors that are known only by reference."""
    for coverage in coverages:
        for payor in elements.listed(coverage.get("payor")):
            if isinstance(payor, dict) and not isinstance(payor.get("identifier"), dict):
                reference = payor.get("reference")
                if isinstance(reference, str) and not reference.startswith("#"):
                    yield key_of(reference)
