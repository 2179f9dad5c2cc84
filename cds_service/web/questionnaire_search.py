"""Search of Questionnaires (FHIR R4, Search): what is honoured, which match, and the page of them that is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import urlencode

from cds_service.errors import RequestError
from cds_service.facts.references import Json

Parameters = list[tuple[str, str]]


def _by_url(resource: Json, wanted: str) -> bool:
    url, _, version = wanted.partition("|")
    return resource["url"] == url and version in ("", resource["version"])


def _begins(element: str) -> Callable[[Json, str], bool]:
    return lambda resource, wanted: str(resource[element]).casefold().startswith(wanted.casefold())


_MATCHES: dict[str, Callable[[Json, str], bool]] = {
    "_id": lambda resource, wanted: resource["id"] == wanted,
    "name": _begins("name"),
    "title": _begins("title"),
    "url": _by_url,
    "version": lambda resource, wanted: resource["version"] == wanted.removeprefix("|"),
}
_PAGING = ("_count", "_offset")


def search(every: Iterable[Json], parameters: Parameters, base: str) -> Json:
    """The searchset Bundle. Commas are "or", repeats are "and"; what is not known is ignored, and not in `self`.

    `_count` bounds a page, `_offset` is where it starts: the `next` link has both. Raises RequestError (400) where
    one of them is no number.
    """
    honoured = [(n, v) for n, v in parameters if v and n in _MATCHES]
    paging = {n: _number(n, v) for n, v in parameters if v and n in _PAGING}
    found = [r for r in every if all(_fits(r, n, v) for n, v in honoured)]
    start = paging.get("_offset", 0)
    end = start + paging.get("_count", len(found))
    link = [{"relation": "self", "url": _url(base, honoured, paging)}]
    if start < end < len(found):
        link.append({"relation": "next", "url": _url(base, honoured, paging | {"_offset": end})})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": link}
    entries = [
        {"fullUrl": f"{base}/Questionnaire/{r['id']}", "resource": r, "search": {"mode": "match"}}
        for r in found[start:end]
    ]
    return bundle | ({"entry": entries} if entries else {})  # FHIR JSON has no empty arrays


def _fits(resource: Json, name: str, value: str) -> bool:
    return any(_MATCHES[name](resource, part) for part in value.split(",") if part)


def _number(name: str, value: str) -> int:
    if len(value) > 9 or not (value.isascii() and value.isdigit()):
        raise RequestError("must be a whole number", path=name, code="value")
    return int(value)


def _url(base: str, honoured: Parameters, paging: dict[str, int]) -> str:
    query = urlencode([*honoured, *paging.items()])
    return f"{base}/Questionnaire{'?' if query else ''}{query}"
