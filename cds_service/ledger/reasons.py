"""A reason to override, as rows and counts may hold it: the card's own coding, else a code at most.

Words, systems and codes that a card did not offer are the caller's, and may name a patient.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cds_service.ledger.counts import OTHER
from cds_service.ledger.document import loads
from cds_service.ledger.feedback_items import NO_REASON, Override, Reason
from cds_service.ledger.lane import Transaction
from cds_service.ledger.record import Json

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def kept(tx: Transaction, card: Json, told: Override) -> tuple[Reason, Reason | None, bool | None]:
    """Of the reasons given the one that counts, what is kept of it, and whether the card offered it.

    The first that the card offered, else the first, of which the code of a named system is kept at most: a word where
    a code belongs is the caller's too.
    """
    if not told.reasons:
        return NO_REASON, None, None
    own = _offered(tx, card)
    for given in told.reasons:
        if found := next((o for o in own if _is_same(o, given)), None):
            return given, found, True
    first = told.reasons[0]
    code = first.code if first.code and first.system and _CODE.fullmatch(first.code) else OTHER
    return first, Reason(None, code, None), False


def _is_same(own: Reason, given: Reason) -> bool:
    """By its code; where there is none, by the card's words."""
    return own.code == given.code if given.code else own.display == given.display


def _offered(tx: Transaction, card: Json) -> Sequence[Reason]:
    """The reasons that a card offered, in its own words where its record is still there, and they are not masked."""
    known: Sequence[Reason] | None = tx.read.get(card["uuid"])
    if known is None:
        row = tx.one(tx.sql.find_document, {"number": card["number"]})
        shown = loads(row[0]).get("response", {}).get("cards", ()) if row else ()
        words = {r.get("code"): r for c in shown if c.get("uuid") == card["uuid"] for r in c.get("overrideReasons", ())}
        codes = card["override_reasons"]
        known = tx.read[card["uuid"]] = [
            Reason(words.get(code, {}).get("system"), code, words.get(code, {}).get("display")) for code in codes
        ]
    return known
