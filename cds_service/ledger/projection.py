"""A stored document -> its de-identified rows: no bodies, no patient, no order, only finding keys.

The rows follow from the document alone, so `verify` can work them out again and compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cds_service.ledger.document import dumps
from cds_service.ledger.record import Json

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Projection:
    """Rows of `answer`, `determination` and `card` for one record."""

    answer: Row
    determinations: list[Row]
    cards: list[Row]


def project(document: Json, number: int) -> Projection:
    """The projection of a hook request's document; `number` is its entry's key."""
    cards = [_card(document, card, number, i) for i, card in enumerate(document["cards"])]
    shown = sum(card["shown"] for card in cards)
    answer = {
        "number": number,
        "received": document["received"],
        "hook": document["hook"],
        "service": document["service"],
        "client": document["client"],
        "payer": document["payer"],
        "status": document["status"],
        "latency": latency(document["timing"]),
        "cards": shown,
        "silent": len(cards) - shown,
        "revision": document["revision"],
    }
    orders: set[str] = set()
    rows = [_determination(document, d, number, i, orders) for i, d in enumerate(document.get("determinations") or ())]
    return Projection(answer, rows, cards)


def latency(timing: dict[str, float]) -> float:
    """Milliseconds for the whole call: `total`, else the sum of the stages."""
    return float(timing["total"]) if "total" in timing else float(sum(timing.values()))


def _determination(document: Json, d: Json, number: int, position: int, orders: set[str]) -> Row:
    return {
        "number": number,
        "position": position,
        "policy": d.get("policy"),
        "version": d.get("version"),
        "rule": d.get("rule"),
        "role": d.get("role"),
        "outcome": d.get("outcome"),
        "prior_authorization": d.get("prior_authorization"),
        "payer": d.get("payer", document["payer"]),
        "missing": dumps(_missing(missing)).decode() if (missing := d.get("missing")) else "[]",
        "asserted": _asserted(d, told, orders) if (told := d.get("coverage_information")) else "",
    }


def _asserted(d: Json, told: list[Json], orders: set[str]) -> str:
    """The different assertions on an order as codes; an order that `orders` has already says it once."""
    order = str(d.get("order"))
    if order in orders:
        return ""
    orders.add(order)
    return dumps(sorted({_codes(t) for t in told})).decode()


def _codes(told: Json) -> tuple[Any, ...]:
    """`covered`, `pa-needed` and `doc-needed`, whether there is a questionnaire, and whether it was sent."""
    codes = (str(told.get(name) or "") for name in ("covered", "pa-needed", "doc-needed"))
    return (*codes, bool(told.get("questionnaire")), bool(told.get("sent")))


def _missing(items: Any) -> list[tuple[str, str]]:
    """Pairs of source and the policy's own words for what is missing, each once."""
    pairs = [(str(m.get("source", "")), str(m.get("text", ""))) if isinstance(m, dict) else (str(m), "") for m in items]
    return list(dict.fromkeys(pairs))


def _card(document: Json, card: Json, number: int, position: int) -> Row:
    return {
        "number": number,
        "position": position,
        "uuid": card["uuid"],
        "finding": card["finding"],
        "kind": card["kind"],
        "indicator": card["indicator"],
        "policy": card["policy"],
        "version": card["version"],
        "rule": card["rule"],
        "shown": card["shown"],
        "suggestions": dumps(card["suggestions"]).decode(),
        "override_reasons": dumps(card["overrideReasons"]).decode(),
        "received": document["received"],
        "hook": document["hook"],
        "service": document["service"],
        "client": document["client"],
        "payer": document["payer"],
    }


def project_feedback(document: Json, number: int) -> Row:
    """The row of `feedback` for one feedback document; the clinician's comment stays in the document."""
    reason = document["reason"] or {}
    card = document["card"]
    return {
        "number": number,
        "digest": document["digest"],
        "received": document["received"],
        "at": document["at"],
        "card": card["uuid"],
        "finding": card["finding"],
        "outcome": document["outcome"],
        "suggestions": dumps(document["suggestions"]).decode(),
        "reason_system": reason.get("system"),
        "reason_code": reason.get("code"),
        "reason_display": reason.get("display"),
        "reason_offered": document["reasonOffered"],
        "commented": document["commented"],
        "policy": card["policy"],
        "version": card["version"],
        "rule": card["rule"],
        "hook": card["hook"],
        "service": document["service"],
        "client": document["client"],
        "payer": card["payer"],
    }
