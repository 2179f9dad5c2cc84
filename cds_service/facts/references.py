"""References in any form: relative, absolute, versioned, contained, urn:uuid within a bundle, by identifier, a search.

Source: FHIR R4, references; and RESTful API, transaction: a search URI with one match means that resource.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

Json = dict[str, Any]
_TAIL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9\-._~:]{1,256})(?:/_history/[^/]+)?/?$")
_READABLE = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9.\-]{1,64}")


def is_readable(reference: str) -> bool:
    """Whether a FHIR server can be asked for it as it is: `Type/id`, with nothing more that would make it a search."""
    return _READABLE.fullmatch(reference) is not None


_SEARCH = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)\?(.+)$", re.DOTALL)
Identifier = tuple[str | None, str]  # system, None where any will do, and value


def searched(reference: object) -> tuple[str, Identifier] | None:
    """Type and identifier that a search URI asks for, as a conditional reference does; None for any other search."""
    match = _SEARCH.search(reference) if isinstance(reference, str) and "?" in reference else None
    terms = parse_qsl(match[2], keep_blank_values=True) if match else []
    if match is None or len(terms) != 1 or terms[0][0] != "identifier" or "," in terms[0][1]:
        return None
    system, bar, value = terms[0][1].rpartition("|")
    return (match[1], (system if bar else None, value)) if value else None


def _identified(reference: Mapping[str, Any]) -> tuple[str, Identifier] | None:
    """Type and identifier of a reference that has nothing else."""
    kind, identifier = reference.get("type"), reference.get("identifier")
    if not isinstance(kind, str) or not isinstance(identifier, dict):
        return None
    system, value = identifier.get("system"), identifier.get("value")
    if not isinstance(value, str) or not value:
        return None
    return kind.rpartition("/")[2], (system if isinstance(system, str) else None, value)


def _identifiers(resource: Json) -> Iterator[Identifier]:
    given = resource.get("identifier")
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, dict) and isinstance(value := each.get("value"), str):
            system = each.get("system")
            yield (system if isinstance(system, str) else ""), value
            yield None, value


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


def named(resource: Any, full_url: object) -> Any:
    """The resource with an id: one that is yet to be created, and has none, is known by its entry's fullUrl."""
    if not isinstance(resource, dict) or "id" in resource or not isinstance(full_url, str):
        return resource
    url = key_of(full_url)
    kind, slash, own = url.partition("/")
    if url.lower().startswith("urn:uuid:"):
        return {**resource, "id": url[len("urn:uuid:") :]}
    return {**resource, "id": own} if slash and kind == resource.get("resourceType") else resource


class Index:
    """Resources by `Type/id` and by fullUrl, so that a reference finds what it points at.

    `unread` are those that intake has not seen yet: the name that each is found under, by its identity.
    """

    def __init__(self) -> None:
        self._by_key: dict[str, Json] = {}
        self._by_url: dict[str, str] = {}
        self._keys: dict[str, str] = {}  # references asked for, and what they meant
        self._by_identifier: dict[tuple[str, Identifier], set[str]] = {}
        self._unmapped: list[tuple[str, Json]] = []  # resources whose identifiers were not needed yet
        self.unread: dict[int, str] = {}
        self.shifts = 0  # how often a reference already asked for came to mean another resource

    def add(self, resource: Json, full_url: object = None) -> str | None:
        """Remember a resource under its own id and its entry's fullUrl; the first of two with one id stays.

        Tells the former, `Type/id`; None where it has no such name.
        """
        key = self.name_of(resource, full_url)
        if key is None:
            if isinstance(full_url, str) and isinstance(resource.get("resourceType"), str):
                self._put(full_url, resource)
            return None
        self._put(key, resource)
        if isinstance(full_url, str):
            known = self._by_url.setdefault(full_url, key)
            if known == key and self._keys.get(full_url, key) != key:
                self._keys[full_url] = key
                self.shifts += 1
        return key

    @staticmethod
    def name_of(resource: Json, full_url: object) -> str | None:
        """`Type/id` of a resource, or of its fullUrl where it has no id of its own."""
        kind, own = resource.get("resourceType"), resource.get("id")
        if not isinstance(kind, str):
            return None
        if isinstance(own, str):
            return f"{kind}/{own}"
        named = key_of(full_url) if "id" not in resource and isinstance(full_url, str) and "://" in full_url else ""
        return named if named.startswith(f"{kind}/") else None

    def _put(self, name: str, resource: Json) -> None:
        if self._by_key.setdefault(name, resource) is resource:
            self.unread[id(resource)] = name
            if "identifier" in resource:
                self._unmapped.append((name, resource))

    def _one_of(self, kind: str, identifier: Identifier) -> str | None:
        """The name of the one resource of that type and identifier; None where there is none, or a choice."""
        if self._unmapped:
            for name, resource in self._unmapped:
                for each in _identifiers(resource):
                    self._by_identifier.setdefault((resource["resourceType"], each), set()).add(name)
            self._unmapped.clear()
        names = self._by_identifier.get((kind, identifier), ())
        return next(iter(names)) if len(names) == 1 else None

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
            meant = _identified(reference) if isinstance(reference, dict) else None
            return self._one_of(*meant) if meant else None
        known = self._keys.get(text)
        if known is None and (meant := searched(text)):
            return self._one_of(*meant) or text  # not remembered: what comes later may be a match, or a second one
        return known or self._learnt(text)

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
