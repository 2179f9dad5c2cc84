"""A record as one JSON document: tokens removed, masked, and serialised once for storing and hashing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from cds_service.errors import ConfigurationError, LedgerError
from cds_service.ledger.record import Json, Record
from cds_service.ledger.traces import expanded

REMOVED = "[removed]"
MASKABLE = frozenset({"request", "response", "determinations", "findings", "fetched", "explanations", "feedback"})
_SECRET_KEYS = frozenset({"authorization", "proxy-authorization", "access_token", "refresh_token", "id_token"})
_SECRET = re.compile(rb'"(?i:authorization|proxy-authorization|access_token|refresh_token|id_token)":(?!"\[removed\]")')
# One of these is in every text that `_SECRET` finds something in; plain searches are several times faster.
_SECRET_SIGNS = (b'_token":', b'authorization":')
FOREIGN = ("request", "response", "fetched", "feedback")
_SHORTEST_TOKEN = 8


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


class Mask:
    """JSON Pointers (RFC 6901) of what is never stored; a segment `*` stands for every member or element.

    Each starts with a member of the record: `/request/prefetch/patient/name`, `/feedback/overrideReason`.
    """

    def __init__(self, pointers: Sequence[str] = ()) -> None:
        self.paths = tuple(_segments(p) for p in pointers)

    def erase(self, document: Json) -> Json:
        """The document without the masked places, and `masked` naming them; the input is left as it is."""
        erased: list[str] = []
        if any(path[0] == "determinations" for path in self.paths) and "traces" in document:
            document = expanded({**document, "traces": loads(dumps(document["traces"]))})  # pointers name nested traces
        for path in self.paths:
            document = _without(document, path, "", erased)
        return {**document, "masked": erased} if erased else document


def _segments(pointer: str) -> tuple[str, ...]:
    parts = tuple(p.replace("~1", "/").replace("~0", "~") for p in pointer.split("/"))
    if len(parts) < 3 or parts[0] or parts[1] not in MASKABLE:
        names = ", ".join(sorted(MASKABLE))
        raise ConfigurationError(
            f"CDS_LEDGER_MASK: {pointer!r} does not name a place in a record. Write a JSON Pointer of two or more "
            f"segments that starts with one of {names}, such as /request/prefetch/patient/name."
        )
    return parts[1:]


def _without(node: Any, path: tuple[str, ...], at: str, erased: list[str]) -> Any:
    """A copy of `node` without `path`; only what lies on the path is copied."""
    head, rest = path[0], path[1:]
    keys = _members(node, head)
    if not keys:
        return node
    changed = list(node) if isinstance(node, list) else dict(node)
    for key in reversed(keys):
        place = f"{at}/{str(key).replace('~', '~0').replace('/', '~1')}"
        if rest:
            changed[key] = _without(changed[key], rest, place, erased)
        else:
            del changed[key]
            erased.append(place)
    return changed


def _members(node: Any, name: str) -> list[Any]:
    if isinstance(node, dict):
        return list(node) if name == "*" else [name] if name in node else []
    if isinstance(node, list):
        if name == "*":
            return list(range(len(node)))
        return [int(name)] if name.isdecimal() and int(name) < len(node) else []
    return []


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
        "request": _without_token(record.request),
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


def _without_token(request: Json) -> Json:
    authorization = request.get("fhirAuthorization")
    if not isinstance(authorization, dict) or "access_token" not in authorization:
        return request
    return {**request, "fhirAuthorization": {**authorization, "access_token": REMOVED}}


def secret_of(request: Json) -> bytes | None:
    """The FHIR access token as it would stand in JSON, so that copies of it elsewhere can be removed."""
    authorization = request.get("fhirAuthorization")
    token = authorization.get("access_token") if isinstance(authorization, dict) else None
    if not isinstance(token, str) or len(token) < _SHORTEST_TOKEN:
        return None
    return dumps(token)[1:-1]


def serialise(document: Json, secret: bytes | None) -> tuple[str, bool]:
    """JSON text without any token, under a telling key or as a copy of `secret`, and whether one was removed.

    Only what came from outside (`FOREIGN`) can have telling keys; copies of `secret` are looked for everywhere.
    """
    parts = {name: dumps(document[name]) for name in FOREIGN if name in document}
    found = any(_tells(part) for part in parts.values())
    if found:
        parts = {name: dumps(_scrubbed(loads(part))) for name, part in parts.items()}
    text, removed = without_copies(dumps({**document, **{n: orjson.Fragment(p) for n, p in parts.items()}}), secret)
    return text, found or removed


def without_copies(text: bytes, secret: bytes | None) -> tuple[str, bool]:
    """The text without copies of the token, and whether there was one."""
    if secret and secret in text:
        return text.replace(secret, REMOVED.encode()).decode(), True
    return text.decode(), False


def _tells(text: bytes) -> bool:
    """Is there a member whose name promises a token, and whose value is not removed already?"""
    small = text.lower()
    return any(sign in small for sign in _SECRET_SIGNS) and _SECRET.search(text) is not None


def _scrubbed(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: REMOVED if k.lower() in _SECRET_KEYS else _scrubbed(v) for k, v in node.items()}
    return [_scrubbed(v) for v in node] if isinstance(node, list) else node
