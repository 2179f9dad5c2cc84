"""A stored document -> its de-identified rows: no bodies, no patient, no order, only finding keys.

The rows follow from the document alone, so `verify` can work them out again and compare. A record has one row of
`answer`, which holds its determinations and cards as JSON lists, and a row of `card` for each uuid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cds_service.ledger.document import dumps, loads
from cds_service.ledger.record import Json

Row = dict[str, Any]


_DETERMINATION = ("policy", "version", "rule", "role", "outcome", "prior_authorization", "payer", "missing", "asserted")
_CARD = (
    "uuid", "finding", "kind", "indicator", "policy", "version", "rule", "shown", "suggestions", "override_reasons",
)  # fmt: skip
_OF_ANSWER = ("number", "received", "hook", "service", "client", "payer")


@dataclass(frozen=True, slots=True)
class Projection:
    """What is counted of one record: its answer, its determinations and its cards."""

    answer: Row
    determinations: list[Row]
    cards: list[Row]


def row_of(document: Json, number: int) -> Row:
    """The row of `answer` for a hook request's document; `number` is its entry's key."""
    cards = document["cards"]
    shown = sum(card["shown"] for card in cards)
    payer = document["payer"]
    told: set[str] = set()
    determinations = [_determination(d, payer, told) for d in document.get("determinations") or ()]
    return {
        "number": number,
        "received": document["received"],
        "hook": document["hook"],
        "service": document["service"],
        "client": document["client"],
        "payer": payer,
        "status": document["status"],
        "latency": latency(document["timing"]),
        "cards": shown,
        "silent": len(cards) - shown,
        "revision": document["revision"],
        "determinations": dumps(determinations).decode(),
        "details": dumps([_card(card) for card in cards]).decode(),
    }


def uuids(document: Json) -> list[str]:
    """Of the document's cards, in order: rows of `card`."""
    return [card["uuid"] for card in document["cards"]]


def projection_of(row: Row) -> Projection:
    """What a row of `answer` stands for."""
    return Projection(row, determinations_of(row["determinations"]), cards_of(row))


def determinations_of(text: str) -> list[Row]:
    """The determinations in a row of `answer`."""
    return [dict(zip(_DETERMINATION, values, strict=True)) for values in loads(text)]


def cards_of(row: Row) -> list[Row]:
    """The cards of a row of `answer`, each with what it shares with the answer."""
    shared = {name: row[name] for name in _OF_ANSWER}
    return [{**shared, **dict(zip(_CARD, values, strict=True))} for values in loads(row["details"])]


def latency(timing: dict[str, float]) -> float:
    """Milliseconds for the whole call: `total`, else the sum of the stages."""
    return float(timing["total"]) if "total" in timing else float(sum(timing.values()))


def _determination(d: Json, payer: str | None, told: set[str]) -> list[Any]:
    missing, asserted = d.get("missing"), d.get("coverage_information")
    return [
        d.get("policy"),
        d.get("version"),
        d.get("rule"),
        d.get("role"),
        d.get("outcome"),
        d.get("prior_authorization"),
        d.get("payer", payer),
        dumps(_missing(missing)).decode() if missing else "[]",
        _asserted(d, asserted, told) if asserted else "",
    ]


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


def _card(card: Json) -> list[Any]:
    names = ("uuid", "finding", "kind", "indicator", "policy", "version", "rule", "shown", "suggestions")
    return [*(card[name] for name in names), card["overrideReasons"]]


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
