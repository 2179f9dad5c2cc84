"""Whether records can be written, found out by writing one and undoing it."""

from __future__ import annotations

import secrets
import time
from uuid import uuid4

from cds_service.ledger.lane import Transaction

PROBE = "probe"
"""Key of the row that is written for good, and kind of the record that is not."""
FAILED_SECONDS = 5.0
"""How long a write that failed speaks against the database."""
_CHARACTERS = 16_000  # of a usual record; at random, so that PostgreSQL cannot store it in less


class Undone(Exception):
    """The probe went well, and its transaction is undone."""


def probe(tx: Transaction) -> None:
    """Write a record with all that belongs to one, in all tables of the ledger. Raises Undone."""
    now = int(time.time() * 1000)
    text = secrets.token_hex(_CHARACTERS // 2)
    answer = (PROBE, None, None, 200, 0.0, 0, 0, "", "[]", "[]")
    more = (*answer, f'["{uuid4()}"]', now, text, f"{PROBE}-{uuid4()}", now // 1000)
    tx.append(PROBE, str(uuid4()), now, text, more)
    raise Undone
