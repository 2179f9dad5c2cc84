"""One page of FHIR search results, in prefetch or from a server: what it holds, and whether that is all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cds_service.facts.references import Json, key_of

# What may be missing from a page, in words that go after "could not be read:" and "is not whole:".
NO_RESOURCE = "an entry without a resource"
NO_LIST = "entries that are not a list"
ERROR = "what an error was reported about"
NOT_SENT = "results that were counted, but not sent"
NO_COUNT = "a total that is not a number"
FURTHER = "further pages"
PART = "a part of a batch that failed"
_HARMLESS = ("information", "warning", "success")


@dataclass(frozen=True, slots=True)
class Page:
    """One page: resources with their fullUrl but without OperationOutcomes, and the `next` link as it stands there.

    `matches` counts the resources that are not merely included. `faults` say what is missing; absence may only be
    concluded from pages without any. `included` are the positions of entries that came along with the matches.
    """

    entries: tuple[tuple[Json, object], ...]
    next: str | None
    total: int | None
    matches: int
    warnings: int
    faults: tuple[str, ...]
    included: frozenset[int] = frozenset()


def read_page(bundle: Json) -> Page:
    """Read a Bundle (FHIR R4, Bundle and Search), whatever the JSON within it."""
    faults: dict[str, None] = {}
    entries: list[tuple[Json, object]] = []
    outcomes: list[Json] = []
    included: set[int] = set()
    deleted: set[str] = set()
    for entry in _listed(bundle.get("entry"), faults):
        resource: Any = entry.get("resource") if isinstance(entry, dict) else None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        mode = _mode(entry) if isinstance(kind, str) and "search" in entry else None
        if gone := _deleted(entry):
            deleted.add(gone)
        elif _has_failed(entry):
            faults[PART] = None
        elif not isinstance(kind, str):
            faults[NO_RESOURCE] = None
        elif kind == "OperationOutcome" or mode == "outcome":
            outcomes.append(resource)
        else:
            if mode == "include":
                included.add(len(entries))
            entries.append((resource, entry.get("fullUrl")))
    if any(map(_is_failure, outcomes)):
        faults[ERROR] = None
    following, total = _next(bundle.get("link"), faults), _total(bundle.get("total"), faults)
    if bundle.get("type") == "history":
        entries, included = _newest(entries, deleted), set()
    matches = len(entries) - len(included)
    return Page(tuple(entries), following, total, matches, len(outcomes), tuple(faults), frozenset(included))


def _has_failed(entry: object) -> bool:
    """Is it a request of a batch that was answered with an error (FHIR R4, batch-response)?"""
    response = entry.get("response") if isinstance(entry, dict) else None
    return isinstance(response, dict) and str(response.get("status"))[:1] in ("4", "5")


def _deleted(entry: object) -> str | None:
    """`Type/id` of an entry that says that a resource was deleted (FHIR R4, history)."""
    request = entry.get("request") if isinstance(entry, dict) and "resource" not in entry else None
    if not isinstance(request, dict) or request.get("method") != "DELETE":
        return None
    url = request.get("url")
    return key_of(url) if isinstance(url, str) else None


def _newest(entries: list[tuple[Json, object]], deleted: set[str]) -> list[tuple[Json, object]]:
    """Of a history, which is sorted with the newest first, the last version of each resource that still is."""
    found: dict[object, tuple[Json, object]] = {}
    for number, (resource, url) in enumerate(entries):
        own = f"{resource['resourceType']}/{resource['id']}" if isinstance(resource.get("id"), str) else number
        found.setdefault(own, (resource, url))
    return [pair for own, pair in found.items() if own not in deleted]


def lacks(pages: Iterable[Page]) -> bool:
    """Whether the pages of a search, from the first to the last, hold fewer matches than were counted."""
    pages = list(pages)
    return sum(p.matches for p in pages) < max((p.total or 0 for p in pages), default=0)


def _listed(given: object, faults: dict[str, None]) -> list[Any]:
    if given is None or isinstance(given, list):
        return given or []
    if isinstance(given, dict):  # one entry, by a writer that makes a list of one its member
        return [given]
    faults[NO_LIST] = None
    return []


def _mode(entry: Json) -> object:
    search = entry["search"]
    return search.get("mode") if isinstance(search, dict) else None


def _is_failure(outcome: Json) -> bool:
    """Anything but information and warnings: what cannot be read may be an error."""
    issues: Any = outcome.get("issue")
    if not isinstance(issues, list) or not issues:
        return True
    return not all(isinstance(issue, dict) and issue.get("severity") in _HARMLESS for issue in issues)


def _next(links: object, faults: dict[str, None]) -> str | None:
    if links is not None and not (isinstance(links, list) and all(isinstance(link, dict) for link in links)):
        faults[FURTHER] = None
        return None
    for link in links if isinstance(links, list) else ():
        if link.get("relation") == "next":
            url = link.get("url")
            if isinstance(url, str) and url:
                return url
            faults[FURTHER] = None
    return None


def _total(given: object, faults: dict[str, None]) -> int | None:
    if given is None:
        return None
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    faults[NO_COUNT] = None
    return None
