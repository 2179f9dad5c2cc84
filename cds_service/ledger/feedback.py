"""Feedback on cards: check each item (CDS Hooks, Feedback), and join it to its card."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from uuid import uuid4

from cds_service.ledger.counts import OTHER
from cds_service.ledger.document import dumps, loads, milliseconds, serialise
from cds_service.ledger.feedback_items import Override, Reason, override_of, rest
from cds_service.ledger.lane import Transaction
from cds_service.ledger.mask import Mask
from cds_service.ledger.projection import cards_of, project_feedback
from cds_service.ledger.record import FeedbackResult, Json
from cds_service.ledger.schema import answer

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OUTCOMES = ("accepted", "overridden")
_ANSWER = answer.c.keys()


class Rejected(Exception):
    """Why one item cannot be kept, as what follows the path of the field below the item."""

    def __init__(self, reason: str, path: str) -> None:
        self.reason, self.path = reason, path
        super().__init__(reason)


def record_item(
    tx: Transaction, mask: Mask, service: str, client: str | None, item: object, index: int, now: datetime
) -> FeedbackResult:
    """Check and write one feedback item."""
    try:
        document = _document(tx, mask, service, client, item, now)
    except Rejected as r:
        return FeedbackResult(index, "rejected", r.reason, f"feedback[{index}]{r.path}")
    if tx.one(tx.sql.find_digest, {"digest": document["digest"]}):
        return FeedbackResult(index, "duplicate")
    number = tx.append("feedback", document["id"], document["received"], serialise(document, None)[0])
    tx.run(tx.sql.feedback, project_feedback(document, number))
    return FeedbackResult(index, "accepted")


def _document(tx: Transaction, mask: Mask, service: str, client: str | None, item: object, now: datetime) -> Json:
    """What is stored of an item; raises Rejected.

    The item is checked as it came. All that is made from it (normal form, digest, projection) is made from what the
    mask left of it: what is masked has no copy.
    """
    if not isinstance(item, Mapping):
        raise Rejected("must be a JSON object", "")
    card = _find_card(tx, service, client, item.get("card"))
    outcome = item.get("outcome")
    if outcome not in _OUTCOMES:
        raise Rejected("must be accepted or overridden", ".outcome")
    at = _timestamp(item.get("outcomeTimestamp"))
    _suggestions(item.get("acceptedSuggestions"), card["suggestions"], outcome)
    masked = mask.erase({"feedback": item})
    left = masked["feedback"]
    suggestions: list[list[str]] = []
    with contextlib.suppress(Rejected):  # masked
        suggestions = _suggestions(left.get("acceptedSuggestions"), card["suggestions"], outcome)
    told = override_of(left)
    reason, offered = _counted(tx, card, told)
    content = [service, client, card["uuid"], outcome, at, sorted(s[0] for s in suggestions), rest(left)]
    return {
        "id": str(uuid4()),
        "received": milliseconds(now),
        "service": service,
        "client": client,
        "card": {k: card[k] for k in ("uuid", "finding", "policy", "version", "rule", "hook", "payer")},
        "outcome": outcome,
        "at": at,
        "suggestions": suggestions,
        "reason": asdict(reason) if reason else None,
        "reasonOffered": offered,
        "commented": bool(told.comment),
        "digest": sha256(dumps(content)).hexdigest(),
        **masked,
    }


def uuid_of(value: object) -> str:
    """A UUID in lower case, with or without `urn:uuid:` in front; empty when it is none."""
    text = value.lower().removeprefix("urn:uuid:") if isinstance(value, str) else ""
    return text if _UUID.fullmatch(text) else ""


def _find_card(tx: Transaction, service: str, client: str | None, value: object) -> Json:
    """The card, if it was shown to this client by this service; who asks about others learns nothing."""
    uuid = uuid_of(value)
    if not uuid:
        raise Rejected("must be the uuid of a card", ".card")
    row = tx.one(tx.sql.find_card, {"uuid": uuid})
    card = cards_of(dict(zip(_ANSWER, row[1:], strict=True)))[row[0]] if row else {}
    if not card or not card["shown"] or card["service"] != service or card["client"] != client:
        raise Rejected("is not a card that this service showed you", ".card")
    return card


def _timestamp(value: object) -> int:
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        with contextlib.suppress(ValueError):  # no such day or hour: refused below
            at = milliseconds(datetime.fromisoformat(value.upper()))
            if at > 0:
                return at
    raise Rejected("must be a date and time with time zone, such as 2026-01-31T09:30:00Z", ".outcomeTimestamp")


def _suggestions(value: object, offered: list[list[str]], outcome: str) -> list[list[str]]:
    """The accepted suggestions as pairs of uuid and label; an override counts whatever it names beside."""
    if not isinstance(value, list) and outcome == "overridden":
        return []
    if not isinstance(value, list) or (not value and outcome == "accepted"):
        raise Rejected("must name at least one suggestion", ".acceptedSuggestions")
    known = {uuid.lower(): [uuid, label] for uuid, label in offered}
    accepted = []
    for i, element in enumerate(value):
        uuid = uuid_of(element.get("id") if isinstance(element, Mapping) else None)
        if uuid in known:
            accepted.append(known[uuid])
        elif outcome == "accepted":
            raise Rejected("is not a suggestion of the card", f".acceptedSuggestions[{i}].id")
    return accepted


def _counted(tx: Transaction, card: Json, told: Override) -> tuple[Reason | None, bool | None]:
    """The reason that is counted, and whether the card offered it.

    That is the card's own coding; of any other a code at most: words and systems are the caller's, and may name
    a patient.
    """
    if not told.reasons:
        return None, None
    offered = _offered(tx, card)
    codes = {r.code: r for r in offered}
    words = {r.display: r for r in offered if r.display}
    for given in told.reasons:
        own = codes.get(given.code) if given.code else words.get(given.display or "")
        if own:
            return own, True
    code = told.reasons[0].code
    return Reason(None, code if code and _CODE.fullmatch(code) else OTHER, None), False


def _offered(tx: Transaction, card: Json) -> list[Reason]:
    """The reasons that a card offered, in its own words where its record is still there."""
    row = tx.one(tx.sql.find_document, {"number": card["number"]})
    cards = loads(row[0]).get("response", {}).get("cards", ()) if row else ()
    words = {r.get("code"): r for c in cards if c.get("uuid") == card["uuid"] for r in c.get("overrideReasons", ())}
    return [
        Reason(words.get(code, {}).get("system"), code, words.get(code, {}).get("display"))
        for code in card["override_reasons"]
    ]
