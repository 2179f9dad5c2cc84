"""What is never stored of a record: places that the deployment names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cds_service.errors import ConfigurationError
from cds_service.ledger.document import dumps, loads
from cds_service.ledger.places import members
from cds_service.ledger.record import Json
from cds_service.ledger.traces import expanded

MASKABLE = frozenset({"request", "response", "determinations", "findings", "fetched", "explanations", "feedback"})


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
    keys = members(node, head)
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
