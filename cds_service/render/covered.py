"""What may be called covered: orders that are already, by an authorisation or the policy on this case, and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cds_service.determination.decision import Decision, OrderDecision
from cds_service.policy.case import Code
from cds_service.policy.vocabulary import Vocabulary
from cds_service.render.markdown import escape
from cds_service.render.parts import Context, Covered, named
from cds_service.render.policies import Policies

ALREADY = "Already covered"
WITH_PRIMARY = "Supported if the primary procedure is"
OPTIONS = {
    "coverage": "Covered options",
    "policy": "Options the policy supports",
    "guideline": "Options the guideline supports",
}


def supporter(decided: OrderDecision, context: Context) -> str:
    """What the options for an order rest on: `coverage`, a `policy` that asserts nothing here, or a `guideline`."""
    if not decided.covered_by_policy:
        return "guideline"
    return "coverage" if context.asserts(decided) else "policy"


def covered_orders(decision: Decision, context: Context) -> tuple[Covered, ...]:
    """What is already covered, in the order of the request; orders that the catalogue does not name are left out."""
    covered = {d.order.ref: _is_covered(d) and context.asserts(d) for d in decision.orders}
    vocabulary = context.policies.vocabulary
    told = [(_name(d.order.codes, vocabulary), d) for d in decision.orders if covered[d.order.ref]]
    return tuple([_covered(name, d, covered, context.policies) for name, d in told if name])


def covered_lines(covered: Iterable[Covered]) -> list[str]:
    """The lines of a card about them, under a heading for each kind."""
    kinds: dict[str, list[str]] = {}
    for c in covered:
        kinds.setdefault(c.heading, []).append(f"- {c.text}{c.number}{c.note}")
    return [line for heading, lines in kinds.items() for line in ("", f"**{heading}**", *lines)]


def _is_covered(decided: OrderDecision) -> bool:
    return decided.authorization is not None or (decided.covered_by_policy and decided.outcome == "supported")


def _name(codes: tuple[Code, ...], vocabulary: Vocabulary) -> str:
    for code in codes:
        label = vocabulary.label(code)
        if label:
            return named(label, code.code)
    return ""


def _covered(name: str, decided: OrderDecision, covered: Mapping[str, bool], policies: Policies) -> Covered:
    said = decided.governing
    if decided.authorization is None:
        given = said.given if said else ()
        if given and not any(covered.get(ref, True) for ref in given):  # of one not judged here, nothing is known
            return Covered(name, heading=WITH_PRIMARY)
        return Covered(f"{name}: supported{', given the primary procedure' if given else ''}", heading=ALREADY)
    number = decided.authorization.number
    note = ""
    if said is not None and decided.covered_by_policy and decided.outcome == "not-supported":
        policy = policies.spoken(said).policy.short_title
        note = f", though {policy} as encoded here does not support it; the authorisation stands"
    return Covered(f"{name}: authorised", f" ({escape(number)})" if number else "", note, heading=ALREADY)
