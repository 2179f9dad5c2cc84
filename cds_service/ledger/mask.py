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

    def erase(self, document: Json, also: Sequence[tuple[str, ...]] = ()) -> Json:
        """The document without the masked places, and `masked` naming them; the input is left as it is.

        `also` are further places of this document, as segments.
        """
        erased: list[str] = []
        if any(path[0] == "determinations" for path in self.paths) and "traces" in document:
            document = expanded({**document, "traces": loads(dumps(document["traces"]))})  # pointers name nested traces
        for path in (*self.paths, *also):
            document = _without(document, path, "", erased)
        if self.elements:
            parts = [name for name in _HOLD_RESOURCES if name in document]
            document = {**document, **{name: self._erased(document[name], f"/{name}", erased) for name in parts}}
        return {**document, "masked": erased} if erased else document

    def erase_copies(self, document: Json, response: Json) -> Json:
        """A document without what repeats masked places of request and response beside them.

        Summaries of cards are masked as the cards that they sum up, also where silent mode held the card back:
        each stands for a moment where its card stands in `response`, or would stand.
        """
        if not self.paths:
            return document
        places = {card.get("uuid"): place for place, card in enumerate(response.get("cards", ()))}
        hidden = iter(range(len(places), len(places) + len(document["cards"])))
        at = [places[c["uuid"]] if c["uuid"] in places else next(hidden) for c in document["cards"]]
        standing: list[Any] = [{}] * (max(at, default=-1) + 1)
        for place, card in zip(at, document["cards"], strict=True):
            standing[place] = _copies(card)
        told = {"request": {"hookInstance": document["hookInstance"]}, "response": {"cards": standing}}
        for path in self.paths:
            if path[0] in told:
                told = _blanked(told, path)
        cards = [_summary(c, told["response"], place) for place, c in zip(at, document["cards"], strict=True)]
        return {**document, "cards": cards, "hookInstance": told["request"].get("hookInstance")}

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


def _copies(card: Json) -> Json:
    """What the summary of a card in a record repeats of the card in the response, in the response's form."""
    return {
        "uuid": card["uuid"],
        "suggestions": [{"uuid": uuid, "label": label} for uuid, label in card["suggestions"]],
        "overrideReasons": [{"code": code} for code in card["overrideReasons"]],
    }


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


def _blanked(node: Any, path: tuple[str, ...]) -> Any:
    """A copy of a node in which what stands at a path is None: other elements of lists keep their places."""
    if not path:
        return None
    keys = members(node, path[0])
    if not keys:
        return node
    changed = list(node) if isinstance(node, list) else dict(node)
    for key in keys:
        changed[key] = _blanked(changed[key], path[1:])
    return changed


def _summary(card: Json, response: Json, place: int) -> Json:
    """A card's summary with what is left of its copies; its own uuids stay, by which feedback finds it."""
    left = (response.get("cards") or [None] * (place + 1))[place] or {}
    said = left.get("suggestions") or [None] * len(card["suggestions"])
    labels = [(uuid, (s or {}).get("label") or "") for (uuid, _), s in zip(card["suggestions"], said, strict=True)]
    codes = [r["code"] for r in left.get("overrideReasons") or () if r and r["code"]]
    return {**card, "suggestions": labels, "overrideReasons": codes}


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
