"""How an order is billed: its billing codes, and what comes of it in each of the ways that billing-options name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.determination.decision import Determination, OrderDecision
from cds_service.facts import codes, elements
from cds_service.facts.orders import BILLING_OPTIONS, coded_by
from cds_service.facts.references import Index, Json
from cds_service.policy.case import Code
from cds_service.render.policies import Policies

BILLING = (codes.CPT, codes.HCPCS)
_MAX_POLICY_CODES = 20
_BILLED_ELEMENTS = ("code", "codeCodeableConcept", "medicationCodeableConcept", "serviceType")


def ways(orders: Mapping[str, Json]) -> dict[str, tuple[tuple[Code, ...], ...]]:
    """By reference, the ways of billing that orders name; those that name none are left out."""
    found = {ref: tuple(dict.fromkeys(billing_options(resource))) for ref, resource in orders.items()}
    return {ref: options for ref, options in found.items() if options}


def variants(decided: OrderDecision | None) -> tuple[tuple[tuple[Code, ...], OrderDecision | None], ...]:
    """The order as billed in each of the ways that it names; once, as it is, where it names none."""
    if decided is None or not decided.billed:
        return (((), decided),)
    return tuple([(billed.codes, billed.decision) for billed in decided.billed])


def billing_codes(codes: tuple[Code, ...], said: Determination | None, policies: Policies) -> tuple[Code, ...]:
    """An order's own billing codes; else those of the policy's list that the order fell under."""
    own = tuple(c for c in codes if c.system in BILLING)
    if own or said is None:
        return own
    listed = policies.vocabulary.sets[policies.item(said).value_set].codes
    billed = sorted((c for c in listed if c.system in BILLING), key=str)
    return tuple(billed) if len(billed) <= _MAX_POLICY_CODES else ()


def billing_options(resource: Json) -> Iterator[tuple[Code, ...]]:
    """Codes of each billing-options extension, wherever the guide allows one on an order."""
    for option in _options(resource):
        found = codes.read(option)[0]
        if found:
            yield found


def _options(resource: Json) -> Iterator[Any]:
    concepts = [c for name in _BILLED_ELEMENTS for c in elements.concepts(resource.get(name))]
    for lens in elements.listed(resource.get("lensSpecification")):
        concepts += elements.concepts(lens.get("product")) if isinstance(lens, dict) else []
    for holder in (resource, *concepts):
        for option in elements.extensions(holder, BILLING_OPTIONS) if isinstance(holder, dict) else ():
            yield option.get("valueCodeableConcept")


def as_written(resource: Json, index: Index) -> dict[Code, tuple[str, str]]:
    """System and code of the order's codings in the client's own spelling, of the first that mean the same.

    The client looks for what it wrote.
    """
    found: dict[Code, tuple[str, str]] = {}
    for concept in (*coded_by(resource, index), *_options(resource)):
        for coding in elements.listed(concept.get("coding")) if isinstance(concept, dict) else ():
            system, code = (coding.get("system"), coding.get("code")) if isinstance(coding, dict) else (None, None)
            if isinstance(system, str) and isinstance(code, str):
                found.setdefault(codes.normalise(system, code)[0], (system, code))
    return found
