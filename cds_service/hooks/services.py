"""The services on offer: id, hook, and the prefetch that the policies in force read (CDS Hooks 2.0, Discovery)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.errors import NotFound, RequestError
from cds_service.facts.codes import URI
from cds_service.facts.sources import BY_NAME, SPECS
from cds_service.policy.rulebook import Rulebook

CDS_HOOKS = "2.0.0"  # the version of CDS Hooks that the services implement; `version` came with 3.0.0-ballot
ADVISOR_USAGE = (
    "Answers with cards only. Prefetch may be left out where fhirServer and fhirAuthorization are sent; "
    "Coverage is optional."
)


@dataclass(frozen=True, slots=True)
class Service:
    """One CDS service. `prefetch` is None where it follows from the policies."""

    id: str
    hook: str
    title: str
    description: str
    context_schema: str
    group: str = "advisor"
    sources: tuple[str, ...] = ()
    usage: str = ADVISOR_USAGE
    prefetch: Mapping[str, str] | None = None
    extension: Mapping[str, Any] | None = None

    @property
    def orders_in_chart(self) -> bool:
        """True where the orders to judge are not in the context but in the chart."""
        return "planned-orders" in self.sources


ADVISORS = (
    Service(
        "order-sign-advisor",
        "order-sign",
        "Order advisor (signing)",
        "Checks draft orders against coverage and guideline policies before they are signed; offers covered options.",
        "OrderSignContext",
    ),
    Service(
        "order-select-advisor",
        "order-select",
        "Order advisor (selection)",
        "Checks the orders just selected against coverage and guideline policies.",
        "OrderSelectContext",
    ),
    Service(
        "patient-view-advisor",
        "patient-view",
        "Order advisor (chart)",
        "Checks the patient's unsigned and not yet performed orders against coverage and guideline policies.",
        "PatientViewContext",
        sources=("planned-orders",),
    ),
)


def sources_read(rulebook: Rulebook) -> frozenset[str]:
    """Names of the sources that any policy reads, with those every call needs."""
    every_call = {"patient", "active-orders", "coverage", "authorizations"}
    return frozenset(rulebook.reads | every_call) & frozenset(BY_NAME)


def _observation_codes(rulebook: Rulebook) -> list[str]:
    codes = {c for s in rulebook.observed for c in rulebook.vocabulary.sets[s].codes}
    return sorted(f"{URI.get(c.system, c.system)}|{c.code}" for c in codes)


def prefetch(service: Service, rulebook: Rulebook) -> dict[str, str]:
    """Prefetch templates from the policies' criteria: only `{{context.patientId}}`, which any client can fill."""
    needed = sources_read(rulebook) | frozenset(service.sources)
    if service.orders_in_chart:
        needed -= {"active-orders"}  # the planned orders hold them
    templates = {spec.key: spec.template for spec in SPECS if spec.name in needed}
    codes = _observation_codes(rulebook)
    if "observations" in templates and codes:
        templates["observations"] += f"&code={','.join(codes)}"
    return templates


def discovery(services: tuple[Service, ...], rulebook: Rulebook) -> dict[str, Any]:
    """The discovery document."""
    return {"services": [_entry(s, rulebook) for s in services]}


def _entry(service: Service, rulebook: Rulebook) -> dict[str, Any]:
    entry = {
        "id": service.id,
        "hook": service.hook,
        "title": service.title,
        "description": service.description,
        "version": CDS_HOOKS,
        "usageRequirements": service.usage,
        "prefetch": prefetch(service, rulebook) if service.prefetch is None else dict(service.prefetch),
    }
    return entry if service.extension is None else {**entry, "extension": dict(service.extension)}


def service_for(services: Mapping[str, Service], wanted: str | None, body: Mapping[str, Any]) -> Service:
    """The service of the id `wanted`, else of the request's hook: an advisor, where one is offered: it needs least.

    Raises NotFound or RequestError.
    """
    if wanted is not None:
        if wanted not in services:
            raise NotFound(f"There is no service '{wanted}'. Offered: {', '.join(services)}.")
        return services[wanted]
    fitting = [s for s in services.values() if s.hook == body.get("hook")]
    if fitting:
        return min(fitting, key=lambda s: s.group != "advisor")
    raise RequestError("is one that no service answers", path="hook", code="value")
