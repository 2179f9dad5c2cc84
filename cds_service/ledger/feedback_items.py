"""A feedback item as clients write it -> one form: reasons as coded, and the clinician's own words apart from them.

CDS Hooks 2.0 says `overrideReason` with a Coding and a `userComment`; 1.x has a CodeableConcept; some send
`overrideReasons`, one or a list, or put a reason of their own into members of an extension whose names end in
`overrideReason.<part>`. What none of this fits is no reason: the item is an override all the same, and is kept whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_PART = re.compile(r"(?P<system>(?:.*\.)?overrideReasons?)\.(?P<part>[A-Za-z]{1,64})")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}", re.ASCII)
# Parts of a reason in an extension, the more telling first.
_CODES = ("code", "reasonCode", "id", "reasonId", "reasonCategory")
_DISPLAYS = ("display", "reasonDisplay", "reasonTitle")
_COMMENTS = ("userComment", "comment")
# Read by themselves, and spelled in several ways that mean the same.
_NORMAL = frozenset({"card", "outcome", "outcomeTimestamp", "acceptedSuggestions"})


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason as coded; what a client sent as `display`, `system` or even `code` may say anything."""

    system: str | None
    code: str | None
    display: str | None


@dataclass(frozen=True, slots=True)
class Override:
    """Why a card was overridden: reasons in the order sent, and the clinician's comment (empty: none)."""

    reasons: tuple[Reason, ...] = ()
    comment: str = ""


def override_of(item: Mapping[str, Any]) -> Override:
    """The reasons and the comment of an item in any of the known forms; never fails."""
    told = [part for name in ("overrideReason", "overrideReasons") for part in _each(item.get(name))]
    found = [_read(part) for part in (*told, {"extension": item.get("extension")})]
    reasons = dict.fromkeys(r for one in found for r in one.reasons)
    comments = dict.fromkeys(one.comment for one in found if one.comment)
    return Override(tuple(reasons), "\n".join(comments))


def rest(item: Mapping[str, Any]) -> str:
    """All else that an item says, as text: two items are repeats of each other only if they agree in it too."""
    kept = {k: v for k, v in item.items() if k not in _NORMAL and v is not None}
    return json.dumps(kept, sort_keys=True)


def _each(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _read(value: object) -> Override:
    if isinstance(value, str):
        # A word is a code; words are a clinician's.
        return Override((Reason(None, value, None),)) if _CODE.fullmatch(value) else Override((), value.strip())
    if not isinstance(value, Mapping):
        return Override()
    own = value if "reason" not in value and ("code" in value or "coding" in value) else None
    coded = [r for one in (*_each(value.get("reason")), own) if (r := _coded(one))]
    foreign, words = _extended(value.get("extension"))
    spoken = [value[name].strip() for name in _COMMENTS if isinstance(value.get(name), str)]
    loose = [one for one in _each(value.get("reason")) if isinstance(one, str) and not _CODE.fullmatch(one)]
    comments = dict.fromkeys(filter(None, (*loose, *spoken, words)))
    return Override((*coded, *([foreign] if foreign else [])), "\n".join(comments))


def _coded(value: object) -> Reason | None:
    """A Coding, the first coding of a CodeableConcept with anything in it, or a word as code."""
    if isinstance(value, str):
        return Reason(None, value, None) if _CODE.fullmatch(value) else None
    if not isinstance(value, Mapping):
        return None
    for coding in (*_each(value.get("coding")), value):
        if isinstance(coding, Mapping):
            said = {"display": value.get("text"), **coding}
            system, code, display = (_plain(said.get(k)) for k in ("system", "code", "display"))
            if code or display:
                return Reason(system, code, display)
    return None


def _extended(value: object) -> tuple[Reason | None, str]:
    """The reason and the comment in an extension: an object of names, or FHIR's list of url and value."""
    parts: dict[str, str] = {}
    system = None
    for name, content in _members(value):
        found = _PART.fullmatch(name)
        if found and (text := _plain(content)):
            system = _plain(found["system"])
            parts.setdefault(found["part"], text)
    code, display = _first(parts, _CODES), _first(parts, _DISPLAYS)
    reason = Reason(system, code, display) if code or display else None
    return reason, _first(parts, _COMMENTS) or ""


def _members(value: object) -> Iterator[tuple[str, object]]:
    for part in _each(value):
        if isinstance(part, Mapping) and isinstance(part.get("url"), str):
            yield part["url"], next((v for k, v in part.items() if k.startswith("value")), None)
        elif isinstance(part, Mapping):
            yield from ((name, content) for name, content in part.items() if isinstance(name, str))


def _first(parts: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((parts[name] for name in names if name in parts), None)


def _plain(value: object) -> str | None:
    """Text that every database can hold: no NUL, no lone surrogate, at most 255 characters."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:255] or None
