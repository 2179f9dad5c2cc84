"""What `Questionnaire/$questionnaire-package` is asked: coverage, orders, forms by name, and what may prefill them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from cds_service.errors import Issue, RequestError, TooLarge
from cds_service.facts import elements
from cds_service.facts.builder import MAX_ORDERS
from cds_service.facts.references import Json, key_of


@dataclass
class Asked:
    """The input parameters, sorted; resources of other names only serve to prefill."""

    coverages: list[Json] = field(default_factory=list)
    orders: list[Json] = field(default_factory=list)
    canonicals: list[str] = field(default_factory=list)
    referenced: list[Json] = field(default_factory=list)
    context: str | None = None
    changed_since: date | None = None


def asked(parameters: Mapping[str, Any]) -> Asked:
    """Read the Parameters resource. Raises RequestError when it asks for nothing, TooLarge for too many orders."""
    if parameters.get("resourceType") != "Parameters":
        raise RequestError(Issue("must be a Parameters resource", "Parameters", "structure"))
    found = Asked()
    for parameter in elements.listed(parameters.get("parameter")):
        if isinstance(parameter, dict):
            _sort(parameter, found)
    if not (found.orders or found.canonicals or found.context):
        raise RequestError(Issue("names no order, no questionnaire and no context", "Parameters.parameter", "required"))
    if len(found.orders) > MAX_ORDERS:
        raise TooLarge(f"has more than {MAX_ORDERS} orders", path="Parameters.parameter")
    return found


def _sort(parameter: Mapping[str, Any], found: Asked) -> None:
    name, resource = parameter.get("name"), parameter.get("resource")
    if isinstance(resource, dict):
        lists = {"coverage": found.coverages, "order": found.orders}
        lists.get(str(name), found.referenced).append(resource)
    value = next((v for k, v in parameter.items() if k.startswith("value")), None)
    if isinstance(value, str):
        if name == "questionnaire":
            found.canonicals.append(value)
        elif name == "context":
            found.context = value
        elif name == "changedsince":
            found.changed_since = elements.day(value)


def patient_of(wanted: Asked) -> str:
    """The patient of the orders, else of the coverage."""
    for resource in (*wanted.orders, *wanted.coverages):
        for name in ("subject", "patient", "beneficiary"):
            reference = resource.get(name)
            text = reference.get("reference") if isinstance(reference, dict) else None
            if isinstance(text, str):
                return key_of(text).removeprefix("Patient/")
    raise RequestError(Issue("names no patient, in an order or a coverage", "Parameters.parameter", "required"))
