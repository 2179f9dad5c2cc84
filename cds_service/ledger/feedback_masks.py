"""Masked places of an override reason in every spelling of a feedback item: what is masked has no other spelling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cds_service.ledger.feedback_items import COMMENTS, FIELDS, PART

_CODED = ("code", "system", "display", "coding", "text")
Path = tuple[str, ...]


def spelt(paths: Iterable[Path], item: Any) -> list[Path]:
    """Where else in this item the masked places of `overrideReason` are.

    `paths` are segments of JSON Pointers into a record, from `feedback` on. Deepest and last first, for an element
    that is taken out of a list moves those behind it.
    """
    if not isinstance(item, Mapping):
        return []
    found: set[Path] = set()
    for path in paths:
        if path[:2] == ("feedback", FIELDS[0]):
            masked = path[2:]
            found |= {("feedback", *place, *same) for place, value in _values(item) for same in _same(value, masked)}
            found |= {("feedback", *place) for place in _extended(item, masked)}
    return sorted(found, key=lambda p: (-len(p), [-int(s) if s.isdecimal() else 0 for s in p]))


def _values(item: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Each value that may be a reason, with its place in the item."""
    for name in FIELDS:
        value = item.get(name)
        if isinstance(value, list):
            yield from (((name, str(at)), each) for at, each in enumerate(value))
        elif value is not None:
            yield (name,), value


def _same(value: Any, masked: Path) -> list[Path]:
    """What a place below CDS Hooks' `overrideReason` is in a value of any form, as paths below the value."""
    what = masked[0] if masked else ""
    if not isinstance(value, Mapping):
        return [()]  # a text may be a reason or a comment
    if what in COMMENTS:
        loose = [("reason",)] if isinstance(value.get("reason"), str | list) else []  # words there are a comment
        return [*((name,) for name in COMMENTS), *loose]
    if what != "reason":
        return [masked] if masked else [()]
    if "reason" not in value:
        return [(name,) for name in _CODED]
    reason = value["reason"]
    as_specified = isinstance(reason, Mapping) and not any(name in reason for name in ("coding", "text"))
    return [masked if as_specified else ("reason",)]


def _extended(item: Mapping[str, Any], masked: Path) -> Iterator[Path]:
    """Members of extensions that say what is masked of a reason: all of it, its comment, or its code and words."""
    for place, holder in [((), item), *_values(item)]:
        extension = holder.get("extension") if isinstance(holder, Mapping) else None
        for key, name in _members(extension):
            if (part := PART.fullmatch(name)) and _is_masked(part["part"], masked):
                yield (*place, "extension", *key)


def _is_masked(part: str, masked: Path) -> bool:
    what = masked[0] if masked else "*"
    return what == "*" or (what in COMMENTS) == (part in COMMENTS)


def _members(extension: Any, at: Path = ()) -> Iterator[tuple[Path, str]]:
    """Place and name of the members of an extension: an object of names, or a list of these or of url and value."""
    if isinstance(extension, list):
        for place, each in enumerate(extension):
            yield from _members(each, (str(place),))
    elif isinstance(extension, Mapping) and isinstance(extension.get("url"), str):
        yield at, extension["url"]
    elif isinstance(extension, Mapping):
        yield from (((*at, name), name) for name in extension if isinstance(name, str))
