"""References in any form: relative, absolute, versioned, contained, urn:uuid within a bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
_TAIL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9\-._~:]{1,256})(?:/_history/[^/]+)?/?$")
_READABLE = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9.\-]{1,64}")


def is_readable(reference: str) -> bool:
    """Whether a FHIR server can be asked for it as it is: `Type/id`, with nothing more that would make it a search."""
    return _READABLE.fullmatch(reference) is not None


def key_of(reference: str) -> str:
    """`Type/id` of a relative or absolute, perhaps versioned reference; other forms unchanged."""
    if reference.count("/") < 2 and not reference.endswith("\n"):
        return reference  # it is that already, or another form
    match = _TAIL.search(reference)
    return f"{match[1]}/{match[2]}" if match else reference


def base_of(reference: str) -> str | None:
    """What stands before `Type/id` in an absolute reference or a fullUrl: the server; None in other forms."""
    match = _TAIL.search(reference)
    return reference[: match.start()] if match and "://" in reference[: match.start()] else None


class Index:
    """Resources by `Type/id` and by fullUrl, so that a reference finds what it points at.

    `unread` are those that intake has not seen yet: the name that each is found under, by its identity.
    """

    def __init__(self) -> None:
        self._by_key: dict[str, Json] = {}
        self._by_url: dict[str, str] = {}
        self._keys: dict[str, str] = {}  # references asked for, and what they meant
        self.unread: dict[int, str] = {}
        self.shifts = 0  # how often a reference already asked for came to mean another resource

    def add(self, resource: Json, full_url: object = None) -> str | None:
        """Remember a resource under its own id and its entry's fullUrl; the first of two with one id stays.

        Tells the former, `Type/id`; None where it has no such name.
        """
        kind, own = resource.get("resourceType"), resource.get("id")
        if not isinstance(kind, str) or not isinstance(own, str):
            if isinstance(full_url, str) and self._by_key.setdefault(full_url, resource) is resource:
                self.unread[id(resource)] = full_url
            return None
        key = f"{kind}/{own}"
        if self._by_key.setdefault(key, resource) is resource:
            self.unread[id(resource)] = key
        if isinstance(full_url, str):
            known = self._by_url.setdefault(full_url, key)
            if known == key and self._keys.get(full_url, key) != key:
                self._keys[full_url] = key
                self.shifts += 1
        return key

    def settle(self, resource: Json, usable: Json | None) -> None:
        """What intake made of a resource takes its place; one that cannot be used is not found any more."""
        name = self.unread.pop(id(resource), None)
        if name is None or usable is resource:
            return
        if usable is None:
            del self._by_key[name]
        else:
            self._by_key[name] = usable

    def rest(self) -> list[tuple[str, Json]]:
        """What intake has not seen yet, with the name it is found under."""
        return [(name, self._by_key[name]) for name in self.unread.values()]

    def key(self, reference: object) -> str | None:
        """Normal form of a Reference element (or its text); None when it has no literal reference."""
        text = reference.get("reference") if isinstance(reference, dict) else reference
        if not isinstance(text, str) or not text:
            return None
        return self._keys.get(text) or self._learnt(text)

    def _learnt(self, text: str) -> str:
        known = self._keys[text] = self._by_url.get(text) or key_of(text)
        return known

    def resolve(self, reference: object, within: Mapping[str, Any] | None = None) -> Json | None:
        """The resource a Reference points at, in the resource's own `contained` first."""
        key = self.key(reference)
        if key is None:
            return None
        if key.startswith("#") and within is not None:
            contained = within.get("contained")
            for inner in contained if isinstance(contained, list) else ():
                if isinstance(inner, dict) and inner.get("id") == key[1:]:
                    return inner
            return None
        return self._by_key.get(key)
