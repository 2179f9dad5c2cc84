"""Orders that are already covered, and by what: an authorisation, or the policy on this case."""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.determination.decide import Decider, OrderResult
from cds_service.policy.case import Order
from cds_service.policy.vocabulary import Vocabulary
from cds_service.render.markdown import escape
from cds_service.render.parts import Covered, named


def covered_orders(results: Iterable[OrderResult], decider: Decider) -> tuple[Covered, ...]:
    """What is already covered, in the order of the request; orders that the catalogue does not name are left out."""
    told = [(_name(r.order, decider.rulebook.vocabulary), r) for r in results if _is_covered(r)]
    return tuple([_covered(name, result) for name, result in told if name])


def _is_covered(result: OrderResult) -> bool:
    return result.authorization is not None or (result.covered_by_policy and result.outcome == "supported")


def _name(order: Order, vocabulary: Vocabulary) -> str:
    for code in order.codes:
        label = vocabulary.label(code)
        if label:
            return named(label, code.code)
    return ""


def _covered(name: str, result: OrderResult) -> Covered:
    verdict = result.governing.verdict if result.governing else None
    if result.authorization is None:
        given = verdict is not None and verdict.given
        return Covered(f"{name}: supported{', given the primary procedure' if given else ''}")
    number = result.authorization.number
    note = ""
    if verdict is not None and result.covered_by_policy and result.outcome == "not-supported":
        policy = verdict.version.policy.short_title
        note = f", though {policy} as encoded here does not support it; the authorisation stands"
    return Covered(f"{name}: authorised", f" ({escape(number)})" if number else "", note)
