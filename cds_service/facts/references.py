"""References in any form: relative, absolute, versioned, contained, urn:uuid within a bundle, by identifier.

A search URI with one match is a reference in a transaction (FHIR R4, RESTful API, transaction processing rules).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

Json = dict[str, Any]
_TAIL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9\-._~:]{1,256})(?:/_history/[^/]+)?/?$")
_READABLE = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9.\-]{1,64}")


_SEARCH = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)\?(.+)", re.DOTALL)


class Searched(NamedTuple):
    """What a reference by identifier asks for; `kind` is empty where any type will do."""

    kind: str
    system: str
    value: str


def searched(reference: object) -> Searched | None:
    """The identifier that a Reference element (or the text of one) asks for, where it names no resource by id."""
    text = reference.get("reference") if isinstance(reference, dict) else reference
    if isinstance(text, str) and text:
        match = _SEARCH.search(text)
        return _of_query(match[1], match[2]) if match else None
    identifier = reference.get("identifier") if isinstance(reference, dict) else None
    value = identifier.get("value") if isinstance(identifier, dict) else None
    if not isinstance(reference, dict) or not isinstance(identifier, dict) or not isinstance(value, str) or not value:
        return None
    kind, system = reference.get("type"), identifier.get("system")
    return Searched(kind if isinstance(kind, str) else "", system if isinstance(system, str) else "", value)


def _of_query(kind: str, query: str) -> Searched | None:
    """Only a search by one identifier is understood: with more conditions, the match may be another resource."""
    parameters = parse_qsl(query, keep_blank_values=True)
    if len(parameters) != 1 or parameters[0][0] != "identifier":
        return None
    system, bar, value = parameters[0][1].rpartition("|")
    return Searched(kind, system, value) if value and (bar or not system) else None


def is_readable(reference: str) -> bool:
    """Whether a FHIR server can be asked for it as it is: `Type/id`, with nothing more that would make it a search."""
    return _READABLE.fullmatch(reference) is not None


def key_of(reference: str) -> str:
    """`Type/id` of a relative or absolute, perhaps versioned reference; other forms unchanged."""
    if (reference.count("/") < 2 and not reference.endswith("\n")) or "?" in reference:
        return reference  # it is that already, or another form
    match = _TAIL.search(reference)
    return f"{match[1]}/{match[2]}" if match else reference


def base_of(reference: str) -> str | None:
    """What stands before `Type/id` in an absolute reference or a fullUrl: the server; None in other forms."""
    match = _TAIL.search(reference)
    return reference[: match.start()] if match and "://" in reference[: match.start()] else None


def id_in(full_url: object) -> str | None:
    """The id that a fullUrl gives to a resource which has none of its own: of `Type/id`, or the uuid of a urn."""
    if not isinstance(full_url, str):
        return None
    if full_url.startswith(("urn:uuid:", "urn:oid:")):
        return full_url.rpartition(":")[2] or None
    return key_of(full_url).partition("/")[2] or None if base_of(full_url) is not None else None


def resource_of(entry: object) -> Json | None:
    """The resource of a Bundle's entry; one that is yet to be created has its fullUrl's id for its own."""
    resource = entry.get("resource") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(resource, dict):
        return None
    own = id_in(entry.get("fullUrl")) if resource.get("id") is None else None
    return resource if own is None else {**resource, "id": own}


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
        self._added: list[str] = []  # keys, as they came
        self._identified: dict[str, list[tuple[str, str, str]]] = {}  # by value: type, system and key, of ...
        self._looked_at = 0  # ... the first so many of those added
        self._sought = False  # whether an identifier was asked for that no resource had

    def add(self, resource: Json, full_url: object = None) -> str | None:
        """Remember a resource under its own id and its entry's fullUrl; the first of two with one id stays.

        Tells the former, `Type/id`; None where it has no such name.
        """
        kind, own = resource.get("resourceType"), resource.get("id")
        if own is None and isinstance(full_url, str) and key_of(full_url) == f"{kind}/{id_in(full_url)}":
            own = id_in(full_url)
        if not isinstance(kind, str) or not isinstance(own, str):
            if isinstance(full_url, str) and self._by_key.setdefault(full_url, resource) is resource:
                self.unread[id(resource)] = full_url
                self._added.append(full_url)
                self.shifts += self._sought
            return None
        key = f"{kind}/{own}"
        if self._by_key.setdefault(key, resource) is resource:
            self.unread[id(resource)] = key
            self._added.append(key)
            self.shifts += self._sought
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
            return self._by_identifier(reference) if isinstance(reference, dict) and "identifier" in reference else None
        return self._keys.get(text) or self._learnt(text)

    def _learnt(self, text: str) -> str:
        if "?" in text:
            return self._by_identifier(text) or text
        known = self._keys[text] = self._by_url.get(text) or key_of(text)
        return known

    def _by_identifier(self, reference: object) -> str | None:
        """The one resource that has the identifier which a reference asks for; None where there is none, or two."""
        wanted = searched(reference)
        if wanted is None:
            return None
        self._identify()
        rows = self._identified.get(wanted.value, ())
        found = {
            key
            for kind, system, key in rows
            if wanted.kind in ("", kind) and wanted.system in ("", system) and key in self._by_key
        }
        if len(found) != 1:
            self._sought = True
            return None
        return found.pop()

    def _identify(self) -> None:
        """Take up the identifiers of what was added since the last look."""
        for key in self._added[self._looked_at :]:
            resource = self._by_key.get(key, {})
            for system, value in _identifiers(resource):
                self._identified.setdefault(value, []).append((str(resource.get("resourceType")), system, key))
        self._looked_at = len(self._added)

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


def _identifiers(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    given = resource.get("identifier")
    for each in given if isinstance(given, list) else [given]:
        value = each.get("value") if isinstance(each, dict) else None
        if isinstance(each, dict) and isinstance(value, str):
            system = each.get("system")
            yield (system if isinstance(system, str) else "", value)
