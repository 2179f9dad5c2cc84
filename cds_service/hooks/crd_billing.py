"""How an order is billed: its billing codes, and what comes of it in each of the ways that billing-options name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cds_service.determination.decide import Decider, OrderResult
from cds_service.facts import codes, elements
from cds_service.facts.orders import BILLING_OPTIONS, coded_by
from cds_service.facts.references import Index, Json
from cds_service.policy.case import Code, Order
from cds_service.policy.evaluate import Verdict
from cds_service.policy.vocabulary import Vocabulary

BILLING = (codes.CPT, codes.HCPCS)
_BILLED_ELEMENTS = ("code", "codeCodeableConcept", "medicationCodeableConcept", "serviceType")


def variants(
    order: Order, resource: Json, result: OrderResult | None, decider: Decider
) -> Iterator[tuple[tuple[Code, ...], OrderResult | None]]:
    """The order as billed in each of the ways that billing-options name; once, as it is, without them."""
    options = list(dict.fromkeys(billing_options(resource)))
    if result is None or not options:
        yield (), result
        return
    every = {c for option in options for c in option}
    own = tuple(c for c in order.codes if c.system in BILLING and c not in every)
    clinical = tuple(c for c in order.codes if c.system not in BILLING)
    for billed in (*([own] if own else []), *options):
        yield billed, _judged_as(replace(order, codes=(*clinical, *billed)), decider)


def _judged_as(variant: Order, decider: Decider) -> OrderResult:
    case = decider.case
    others = case.with_orders(tuple(variant if o.ref == variant.ref else o for o in case.orders))
    return Decider(others, decider.rulebook, decider.directory, decider.terms).result(variant)


def billing_codes(order: Order, verdict: Verdict | None, vocabulary: Vocabulary) -> tuple[Code, ...]:
    """The order's own billing codes; else the one that the policy's list has, where it has but one.

    A list of codes is no translation: of several, nobody can tell which the order would be billed by.
    """
    own = tuple(c for c in order.codes if c.system in BILLING)
    if own or verdict is None:
        return own
    listed = vocabulary.sets[verdict.item.item.value_set].codes
    billed = tuple(c for c in listed if c.system in BILLING)
    return billed if len(billed) == 1 else ()


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
