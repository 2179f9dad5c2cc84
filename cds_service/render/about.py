"""Which orders a card is about, in words: the one place that every card passes (Da Vinci CRD, dev-24)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from cds_service.determination.decide import Decider, OrderResult
from cds_service.policy.case import Order
from cds_service.render.markdown import joined
from cds_service.render.parts import RenderedCard, code_of, named
from cds_service.render.public import is_public

_KINDS = {
    "DeviceRequest": "Device order",
    "MedicationRequest": "Medication order",
    "NutritionOrder": "Nutrition order",
    "VisionPrescription": "Vision prescription",
    "CommunicationRequest": "Request for communication",
    "Appointment": "Appointment",
    "Encounter": "Encounter",
}


class OrderNames:
    """What the orders of a case are called: label and code, and their day where only some of a name are meant.

    Not their place in the request: an answer is the same in whatever order the entries come.
    """

    def __init__(self, decider: Decider, results: tuple[OrderResult, ...]) -> None:
        verdicts = {r.order.ref: r.governing.verdict for r in results if r.governing and r.governing.verdict}
        self._orders = {o.ref: o for o in decider.case.orders}
        self._names: dict[str, str] = {}
        for order in decider.case.orders:
            verdict = verdicts.get(order.ref)
            if verdict is None:
                self._names[order.ref] = _name(order, decider)
            else:
                code = code_of(order, decider, verdict.item.item.value_set)
                self._names[order.ref] = named(verdict.item.item.label, code)
        self._shared = Counter(self._names.values())

    def lines(self, refs: Iterable[str]) -> list[str]:
        """One line for each name, with all orders of that name."""
        by_name: dict[str, list[Order]] = {}
        for ref in dict.fromkeys(refs):
            if ref in self._names:
                by_name.setdefault(self._names[ref], []).append(self._orders[ref])
        return [self._line(name, orders) for name, orders in by_name.items()]

    def _line(self, name: str, orders: list[Order]) -> str:
        every = self._shared[name]
        if every == len(orders):
            return name if every == 1 else f"{name}, ordered {every} times"
        days = sorted({o.occurrence.isoformat() for o in orders if o.occurrence})
        day = f", for {joined(days)}" if days else ""
        return f"{name}, {len(orders)} of the {every} ordered{day}"


def _name(order: Order, decider: Decider) -> str:
    """By our own label and the code; where nothing has a label, by the kind of order and a code that may be shown."""
    vocabulary = decider.rulebook.vocabulary
    for code in order.codes:
        if label := vocabulary.label(code):
            return named(label, code.code)
    code_ = next((c.code for c in order.codes if is_public(c, vocabulary)), "")
    return named(_KINDS.get(order.resource_type, "Order"), code_)


def told(rendered: RenderedCard, names: OrderNames) -> RenderedCard:
    """The card with the orders it is about after the first paragraph of its detail.

    Not a card on what was not checked: nothing is known of those, and it names each in its own way.
    """
    lines = names.lines(rendered.orders) if rendered.kind != "unreadable" else []
    if not lines:
        return rendered
    about = f"**About:** {lines[0]}" if len(lines) == 1 else "\n".join(["**About**", *(f"- {line}" for line in lines)])
    first, _, rest = rendered.card["detail"].partition("\n\n")
    return replace(rendered, card={**rendered.card, "detail": "\n\n".join(filter(None, (first, about, rest)))})
