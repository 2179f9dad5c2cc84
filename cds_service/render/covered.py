"""What may be called covered: orders that are already, by an authorisation or the policy on this case, and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cds_service.determination.decide import Decider, OrderResult
from cds_service.policy.case import Order
from cds_service.policy.vocabulary import Vocabulary
from cds_service.render.markdown import escape
from cds_service.render.parts import Context, Covered, named

AUTHORIZED = "Already authorized"
SUPPORTED = "Supported by the policy"
OPTIONS = {
    "coverage": "Covered options",
    "policy": "Options the policy supports",
    "guideline": "Options the guideline supports",
}


def supporter(result: OrderResult, context: Context) -> str:
    """What the options for an order rest on: `coverage`, a `policy` that asserts nothing here, or a `guideline`."""
    if not result.covered_by_policy:
        return "guideline"
    return "coverage" if context.asserts(result) else "policy"


def covered_orders(results: tuple[OrderResult, ...], decider: Decider, context: Context) -> tuple[Covered, ...]:
    """What is already covered, in the order of the request; orders that the catalogue does not name are left out."""
    covered = {r.order.ref: _is_covered(r) and context.asserts(r) for r in results}
    told = [(_name(r.order, decider.rulebook.vocabulary), r) for r in results if covered[r.order.ref]]
    orders = {o.ref: o for o in decider.case.orders}
    return tuple([_covered(n, r, covered, orders, decider.rulebook.vocabulary) for n, r in told if n])


def covered_lines(covered: Iterable[Covered]) -> list[str]:
    """The lines of a card about them, under a heading for each kind."""
    kinds: dict[str, list[str]] = {}
    for c in covered:
        kinds.setdefault(c.heading, []).append(f"- {c.text}{c.number}{c.note}")
    return [line for heading, lines in kinds.items() for line in ("", f"**{heading}**", *lines)]


def _is_covered(result: OrderResult) -> bool:
    return result.authorization is not None or (result.covered_by_policy and result.outcome == "supported")


def _name(order: Order, vocabulary: Vocabulary) -> str:
    for code in order.codes:
        label = vocabulary.label(code)
        if label:
            return named(label, code.code)
    return ""


def _covered(
    name: str, result: OrderResult, covered: Mapping[str, bool], given: Mapping[str, Order], vocabulary: Vocabulary
) -> Covered:
    verdict = result.governing.verdict if result.governing else None
    if result.authorization is None:
        refs = verdict.given if verdict else ()
        if refs and not any(covered.get(ref, True) for ref in refs):  # of one not judged here, nothing is known
            return Covered(name, heading=f"Supported once {_primary(given[refs[0]], vocabulary)} is")
        return Covered(name, heading=SUPPORTED)
    number = result.authorization.number
    note = ""
    if verdict is not None and result.covered_by_policy and result.outcome == "not-supported":
        policy = verdict.version.policy.short_title
        note = f", though {policy} as encoded here does not support it; the authorization stands"
    return Covered(name, f" ({escape(number)})" if number else "", note, heading=AUTHORIZED)


def _primary(order: Order, vocabulary: Vocabulary) -> str:
    """The procedure that others are judged given, in a heading: `the fusion (22551)`."""
    entry = vocabulary.procedure(order.codes)
    role = entry.role if entry and entry.role in ("fusion", "decompression", "arthroplasty") else "primary procedure"
    return f"the {named(role, next((c.code for c in order.codes if vocabulary.label(c)), ''))}"
