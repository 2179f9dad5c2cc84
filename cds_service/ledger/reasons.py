"""A reason to override, as rows and counts may hold it: the card's own coding, else a code at most.

Words, systems and codes that a card did not offer are the caller's, and may name a patient.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cds_service.ledger.counts import OTHER
from cds_service.ledger.document import loads
from cds_service.ledger.feedback_items import Override, Reason
from cds_service.ledger.lane import Transaction
from cds_service.ledger.record import Json

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def kept(tx: Transaction, card: Json, told: Override) -> tuple[Reason | None, bool | None]:
    """What is kept of the reasons that an override tells, and whether the card offered it; None where it tells none.

    The first that the card offered, else the first.
    """
    if not told.reasons:
        return None, None
    own = _offered(tx, card)
    found = next((o for given in told.reasons for o in own if _is_same(o, given)), None)
    if found is not None:
        return found, True
    code = told.reasons[0].code
    return Reason(None, code if code and _CODE.fullmatch(code) else OTHER, None), False


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
