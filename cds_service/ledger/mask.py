"""What is never stored of a record: places that the deployment names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from cds_service.errors import ConfigurationError
from cds_service.ledger.document import dumps, loads
from cds_service.ledger.places import members
from cds_service.ledger.record import Json
from cds_service.ledger.traces import expanded

MASKABLE = frozenset({"request", "response", "determinations", "findings", "fetched", "explanations", "feedback"})


_HOLD_RESOURCES = ("request", "response")
_ELEMENT = re.compile(r"([A-Z][A-Za-z]{1,63})((?:\.[a-z][A-Za-z0-9]{0,63})+)")
# What a page that explains a card is made of: without one of these there would be no page.
_PAGE = frozenset({"card", "headline", "parts", "criteria", "policy", "references", "disclaimer", "*"})


_JOINS = frozenset({"card", "outcome", "outcomeTimestamp", "*"})
"""What joins feedback to its card, and counts it."""


class Mask:
    """What is never stored, in two forms.

    A JSON Pointer (RFC 6901) names a place; a segment `*` stands for every member or element. It starts with a member
    of the record: `/request/prefetch/patient/name`, `/feedback/overrideReason`. An element of a type of resource, such
    as `Patient.name`, is masked wherever in a request or an answer such a resource stands.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        elements = [found for name in names if (found := _ELEMENT.fullmatch(name))]
        self.paths = tuple(_segments(name) for name in names if not _ELEMENT.fullmatch(name))
        self.elements: dict[str, list[tuple[str, ...]]] = {}
        for kind, path in (found.groups() for found in elements):
            self.elements.setdefault(kind, []).append(tuple(path[1:].split(".")))

    def erase(self, document: Json) -> Json:
        """The document without the masked places, and `masked` naming them; the input is left as it is."""
        erased: list[str] = []
        if any(path[0] == "determinations" for path in self.paths) and "traces" in document:
            document = expanded({**document, "traces": loads(dumps(document["traces"]))})  # pointers name nested traces
        for path in self.paths:
            document = _without(document, path, "", erased)
        if self.elements:
            parts = [name for name in _HOLD_RESOURCES if name in document]
            document = {**document, **{name: self._erased(document[name], f"/{name}", erased) for name in parts}}
        return {**document, "masked": erased} if erased else document

    def _erased(self, node: Any, at: str, erased: list[str]) -> Any:
        """A copy of a node without the masked elements of the resources in it."""
        if isinstance(node, list):
            return [self._erased(value, f"{at}/{place}", erased) for place, value in enumerate(node)]
        if not isinstance(node, dict):
            return node
        kind = node.get("resourceType")
        for path in self.elements.get(kind, ()) if isinstance(kind, str) else ():
            node = _without_element(node, path, at, erased)
        return {name: self._erased(value, f"{at}/{_escaped(name)}", erased) for name, value in node.items()}


def _segments(pointer: str) -> tuple[str, ...]:
    parts = tuple(p.replace("~1", "/").replace("~0", "~") for p in pointer.split("/"))
    if len(parts) < 3 or parts[0] or parts[1] not in MASKABLE:
        names = ", ".join(sorted(MASKABLE))
        raise ConfigurationError(
            f"CDS_LEDGER_MASK: {pointer!r} does not name a place in a record. Write a JSON Pointer of two or more "
            f"segments that starts with one of {names}, such as /request/prefetch/patient/name; or an element of a "
            "type of resource, such as Patient.name."
        )
    if parts[1] == "explanations" and parts[2] in _PAGE and (len(parts) == 3 or parts[2] != "criteria"):
        raise ConfigurationError(
            f"CDS_LEDGER_MASK: without {pointer!r} explanations could not be shown. They name no patient: leave it out."
        )
    if parts[1] == "feedback" and parts[2] in _JOINS and (len(parts) == 3 or parts[2] == "*"):
        raise ConfigurationError(
            f"CDS_LEDGER_MASK: without {pointer!r} feedback could not be joined to its card. It names no patient: "
            "leave it out."
        )
    return parts[1:]


def without_copies_of_masked(document: Json, response: Json) -> Json:
    """A masked document without what repeats masked places of request and response beside them.

    `response` is as it was before masking: places in `masked` count by it.
    """
    erased = set(document.get("masked", ()))
    if not erased:
        return document

    def gone(place: str) -> bool:
        parts = place.split("/")
        return any("/".join(parts[:n]) in erased for n in range(2, len(parts) + 1))

    places = {card.get("uuid"): f"/response/cards/{i}" for i, card in enumerate(response.get("cards", ()))}
    cards = []
    for card in document["cards"]:
        at = places.get(card["uuid"], "/")
        labels = [(u, "" if gone(f"{at}/suggestions/{i}/label") else n) for i, (u, n) in enumerate(card["suggestions"])]
        codes = [c for i, c in enumerate(card["overrideReasons"]) if not gone(f"{at}/overrideReasons/{i}/code")]
        cards.append({**card, "suggestions": labels, "overrideReasons": codes})
    instance = None if gone("/request/hookInstance") else document["hookInstance"]
    return {**document, "cards": cards, "hookInstance": instance}


def _without_element(node: Any, path: tuple[str, ...], at: str, erased: list[str]) -> Any:
    """A copy of a node without an element, in every item of the lists on its path."""
    if isinstance(node, list):
        return [_without_element(item, path, f"{at}/{place}", erased) for place, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    head, rest = path[0], path[1:]
    if rest:
        return node if head not in node else {**node, head: _without_element(node[head], rest, f"{at}/{head}", erased)}
    own = [name for name in (head, f"_{head}") if name in node]  # FHIR puts extensions of a primitive beside it
    erased += [f"{at}/{name}" for name in own]
    return {name: value for name, value in node.items() if name not in own}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _without(node: Any, path: tuple[str, ...], at: str, erased: list[str]) -> Any:
    """A copy of `node` without `path`; only what lies on the path is copied."""
    head, rest = path[0], path[1:]
    keys = members(node, head)
    if not keys:
        return node
    changed = list(node) if isinstance(node, list) else dict(node)
    for key in reversed(keys):
        place = f"{at}/{_escaped(str(key))}"
        if rest:
            changed[key] = _without(changed[key], rest, place, erased)
        else:
            del changed[key]
            erased.append(place)
    return changed
