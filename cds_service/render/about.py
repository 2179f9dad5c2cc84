"""Which orders a card is about, in words: the one place that every card passes (Da Vinci CRD, dev-24)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from cds_service.determination.decision import Decision, KnownOrder, OrderDecision
from cds_service.render.markdown import joined
from cds_service.render.parts import RenderedCard, code_of, governing, named
from cds_service.render.policies import Policies
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

    def __init__(self, decision: Decision, policies: Policies) -> None:
        self._orders = {o.ref: o for o in decision.known}
        spoken = {d.order.ref: d for d in decision.orders if d.governs is not None and governing(d).policy}
        self._names = {
            o.ref: _by_policy(spoken[o.ref], policies) if o.ref in spoken else _name(o, policies)
            for o in decision.known
        }
        self._shared = Counter(self._names.values())

    def lines(self, refs: Iterable[str]) -> list[str]:
        """One line for each name, with all orders of that name."""
        by_name: dict[str, list[KnownOrder]] = {}
        for ref in dict.fromkeys(refs):
            if ref in self._names:
                by_name.setdefault(self._names[ref], []).append(self._orders[ref])
        return [self._line(name, orders) for name, orders in by_name.items()]

    def _line(self, name: str, orders: list[KnownOrder]) -> str:
        every = self._shared[name]
        if every == len(orders):
            return name if every == 1 else f"{name}, ordered {every} times"
        days = sorted({o.occurrence.isoformat() for o in orders if o.occurrence})
        day = f", for {joined(days)}" if days else ""
        return f"{name}, {len(orders)} of the {every} ordered{day}"


def _by_policy(decided: OrderDecision, policies: Policies) -> str:
    return named(policies.item(governing(decided)).label, code_of(decided, policies))


def _name(order: KnownOrder, policies: Policies) -> str:
    """By our own label and the code; where nothing has a label, by the kind of order and a code that may be shown."""
    vocabulary = policies.vocabulary
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
