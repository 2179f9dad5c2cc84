"""Reading one FHIR answer: bounded bytes, JSON, Bundle pages."""

from __future__ import annotations

import zlib
from typing import Any, TypeGuard

import orjson
import requests

from cds_service.facts.fetch_types import FetchError, Limits
from cds_service.facts.pages import Page, read_page

_CHUNK = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_NOT_FHIR = "the FHIR server's answer is not a FHIR resource in JSON"
_TOO_LARGE = "the FHIR server's answer is too large"


def read_body(response: requests.Response, room: int) -> bytes:
    """The decoded body, of at most `room` bytes, compressed or not. FetchError beyond that or for a bad encoding.

    Errors of the connection come through as requests or urllib3 raise them.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise FetchError("the FHIR server's answer is compressed in a way that was not asked for")
    decoder = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    body, wire = bytearray(), 0
    while chunk := response.raw.read(_CHUNK, decode_content=False):
        wire += len(chunk)
        body += _decode(decoder, chunk, room + 1 - len(body)) if decoder else chunk
        if max(wire, len(body)) > room:
            raise FetchError(_TOO_LARGE)
    if decoder and not (decoder.eof and not decoder.unused_data):
        raise FetchError("the FHIR server's answer broke off")
    return bytes(body)


def _decode(decoder: Any, chunk: bytes, at_most: int) -> bytes:
    try:
        decoded: bytes = decoder.decompress(chunk, at_most)
    except zlib.error:
        raise FetchError("the FHIR server's answer is not valid gzip") from None
    return decoded


def parse(response: requests.Response, body: bytes, limits: Limits) -> dict[str, Any]:
    """The resource in the body. FetchError if it is not one, or an OperationOutcome.

    Of a repeated JSON key the last value counts, as RFC 8259 section 4 leaves open.
    """
    media = response.headers.get("Content-Type", "json").lower()
    if "json" not in media:
        raise FetchError(_NOT_FHIR)
    try:
        resource = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise FetchError(_NOT_FHIR) from None
    if not _is_resource(resource):
        raise FetchError(_NOT_FHIR)
    _check_depth(resource, limits.max_depth)
    if resource["resourceType"] == "OperationOutcome":
        raise FetchError("the FHIR server answered with an OperationOutcome")
    return resource


def _check_depth(resource: dict[str, Any], limit: int) -> None:
    level: list[dict[str, Any] | list[Any]] = [resource]
    for _ in range(limit):
        inner = [value for node in level for value in (node.values() if isinstance(node, dict) else node)]
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return
    raise FetchError("the FHIR server's answer is nested too deep")


def _is_resource(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and isinstance(value.get("resourceType"), str)


def page_of(bundle: dict[str, Any]) -> Page:
    """One page of search results (FHIR R4, Bundle of type searchset). FetchError if it is not whole."""
    if bundle["resourceType"] != "Bundle" or bundle.get("type") != "searchset":
        raise FetchError("the FHIR server answered a search with something else than a searchset Bundle")
    page = read_page(bundle)
    if page.faults:
        raise not_whole(*page.faults)
    return page


def not_whole(*faults: str) -> FetchError:
    """The error for a search of which a part is missing; `faults` as `pages` names them."""
    return FetchError(f"the FHIR server's answer is not whole: {', '.join(faults)}")
