"""A record as one JSON document, without tokens, serialised once for storing and hashing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson

from cds_service.errors import LedgerError
from cds_service.ledger.record import Json, Record
from cds_service.ledger.telling import tells, without_telling
from cds_service.ledger.tokens import without_copies, without_token

FOREIGN = ("request", "response", "fetched", "feedback")


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, UTC, of an aware time."""
    if moment.tzinfo is None:
        raise LedgerError("A record's time must carry a time zone.")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def dumps(value: object) -> bytes:
    """JSON bytes; falls back to the standard library for what orjson refuses (lone surrogates, big integers)."""
    try:
        return orjson.dumps(value)
    except TypeError:
        try:
            return json.dumps(value, separators=(",", ":"), default=_fragment).encode("ascii")
        except (TypeError, ValueError) as error:
            raise LedgerError("The record holds something that is not JSON.") from error


def _fragment(value: Any) -> Any:
    """For the standard library: what is in a piece of ready JSON. Raises TypeError for anything else."""
    if isinstance(value, orjson.Fragment):
        return orjson.loads(value.contents)
    raise TypeError(type(value).__name__)


def loads(text: str | bytes) -> Any:
    """Inverse of `dumps`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def document_of(record: Record, explanations: dict[str, str], expires: int) -> Json:
    """The stored document; `explanations` are hashes by card uuid, of pages kept until `expires` (ms)."""
    document = {
        "id": record.id,
        "received": milliseconds(record.received),
        "hook": record.hook,
        "hookInstance": record.hook_instance,
        "service": record.service,
        "client": record.client,
        "payer": record.payer,
        "status": record.status,
        "revision": record.revision,
        "policies": record.policies,
        "timing": record.timing,
        "request": without_token(record.request),
        "response": record.response,
        "determinations": record.determinations,
        "findings": record.findings,
        "fetched": record.fetched,
        "cards": [_card(c) for c in record.cards],
        "explanations": explanations,
        "explanationsExpire": expires,
    }
    if record.not_used:
        document["notUsed"] = record.not_used
    if record.traces:
        document["traces"] = orjson.Fragment(record.traces)
    return document


def _card(card: Any) -> Json:
    return {
        "uuid": card.uuid,
        "finding": card.finding,
        "kind": card.kind,
        "indicator": card.indicator,
        "order": card.order,
        "policy": card.policy,
        "version": card.version,
        "rule": card.rule,
        "suggestions": card.suggestions,
        "overrideReasons": card.override_reasons,
        "shown": card.shown,
    }


def serialise(document: Json, secret: str | None) -> tuple[str, bool]:
    """JSON text without any token, told by its name or its form or as a copy of `secret`, and whether one was removed.

    Only what came from outside (`FOREIGN`) can hold tokens that tell themselves.
    """
    parts = {name: dumps(document[name]) for name in FOREIGN if name in document}
    found = tells(document, parts)
    if found:
        clean = {name: dumps(without_telling(loads(part))) for name, part in parts.items()}
        found, parts = clean != parts, clean
    text = dumps({**document, **{n: orjson.Fragment(p) for n, p in parts.items()}})
    if secret is not None and secret.encode() in text:
        return dumps(without_copies(loads(text), secret)).decode(), True
    return text.decode(), found
