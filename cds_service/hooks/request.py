"""The hook request: bytes to a validated envelope (CDS Hooks 2.0, HTTP Request)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import orjson

from cds_service.errors import Issue, RequestError, TooLarge
from cds_service.facts.builder import MAX_ORDERS
from cds_service.hooks import contract
from cds_service.hooks.envelope import plain
from cds_service.hooks.services import Service
from cds_service.policy.safe_names import safe_step

MAX_DEPTH = 64
MAX_PREFETCH = 200  # keys; discovery asks for a dozen


@dataclass(frozen=True, slots=True)
class FhirAccess:
    """Where the caller's FHIR server is, and the token for it. The token is held, never logged or stored."""

    base: str
    token: str | None

    def __repr__(self) -> str:
        return f"FhirAccess(base={self.base!r})"


@dataclass(frozen=True, slots=True)
class HookRequest:
    """A validated hook request: `context`, `prefetch` and `extension` in their plain form, `body` as it came."""

    hook: str
    hook_instance: str
    context: dict[str, Any]
    prefetch: dict[str, Any]
    fhir: FhirAccess | None
    extension: dict[str, Any]
    body: dict[str, Any]
    raw: bytes = field(default=b"", repr=False)  # as it came: CRD returns resources with their numbers as written

    @property
    def patient_id(self) -> str:
        """FHIR id of the patient, without `Patient/`."""
        return str(self.context["patientId"]).removeprefix("Patient/")

    @property
    def base(self) -> str:
        """Where the caller's FHIR server is; empty where the request does not say."""
        return self.fhir.base if self.fhir else ""

    @property
    def selections(self) -> tuple[str, ...] | None:
        """order-select: the orders just selected, as `Type/id`; None for other hooks."""
        if self.hook != "order-select":
            return None
        return tuple(s for s in self.context["selections"])


def parse_chart(body: bytes) -> dict[str, Any]:
    """As `parse`; a list is a chart too: of its resources, as of a Bundle."""
    value = _parse(body)
    if isinstance(value, list):
        return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in value]}
    return _object(value)


def parse(body: bytes) -> dict[str, Any]:
    """JSON to an object. Raises RequestError (not JSON) or TooLarge (nesting)."""
    return _object(_parse(body))


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError("must be an object", path="$", code="structure")
    return value


def _parse(body: bytes) -> Any:
    try:
        value = orjson.loads(body.removeprefix(_MARK))
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg:  # orjson's own, far beyond ours
            raise TooLarge(_DEEP, path="$") from None
        raise RequestError(
            f"is not JSON (line {error.lineno}, column {error.colno})", path="$", code="structure"
        ) from None
    if _too_deep(body):
        raise TooLarge(_DEEP, path="$")
    if _repeats(body, value):
        again = _repeated(body)
        raise RequestError("is there twice in one object", path=safe_step(again), code="structure")
    return value


def _repeats(body: bytes, value: Any) -> bool:
    """Was a name twice in one object of valid JSON? orjson keeps the last and says nothing.

    Where nothing is escaped and no space stands before a colon, what was read has as many `":` as what was sent, or a
    part is gone. Else the names of both are counted.
    """
    if b"\\" not in body and not any(spaced in body for spaced in _SPACED):
        return body.count(b'":') != orjson.dumps(value).count(b'":')
    return _names(value) != _STRING.sub(b"", body).count(b":")


def _names(value: Any) -> int:
    """Names of members in what was made of it: fewer, where one was there twice and the last has won."""
    total, ahead = 0, [value]
    while ahead:
        part = ahead.pop()
        if type(part) is dict:
            total += len(part)
            ahead += [p for p in part.values() if type(p) is dict or type(p) is list]
        elif type(part) is list:
            ahead += [p for p in part if type(p) is dict or type(p) is list]
    return total


def _repeated(body: bytes) -> str:
    """The first name that is twice in one object."""

    def note(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found.append(name)
            seen.add(name)

    found: list[str] = []
    json.loads(body.removeprefix(_MARK), object_pairs_hook=note)
    return found[0] if found else "$"


_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
_MARK = b"\xef\xbb\xbf"  # a byte order mark, which some clients write before their UTF-8
_NOT_BRACKETS = bytes(b for b in range(256) if b not in b"{}[]")
_SPACED = (b" :", b"\t:", b"\n:", b"\r:")
_NOT_MARKS = bytes(b for b in range(256) if b not in b'{}[]"\\')
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def _too_deep(body: bytes) -> bool:
    """Is valid JSON nested deeper than the limit? Innermost pairs are removed pass by pass: cheap when shallow."""
    marks = body.translate(None, _NOT_MARKS)
    if b"\\" in marks or 2 * marks.count(b'""') != marks.count(b'"'):  # brackets, perhaps, inside text
        marks = _STRING.sub(b"", body)
    brackets = left = marks.translate(None, _NOT_BRACKETS)
    for levels in range(MAX_DEPTH, 0, -2):  # a pass removes two at most
        if len(left) <= 2 * levels:
            return False
        left = left.replace(b"{}", b"").replace(b"[]", b"")
    return _depth(brackets) > MAX_DEPTH


def _depth(brackets: bytes) -> int:
    """Exact depth of brackets that pair up."""
    return max(accumulate(1 if bracket in b"{[" else -1 for bracket in brackets))


def validate(body: dict[str, Any], service: Service, raw: bytes = b"") -> HookRequest:
    """Check the envelope and the context of the service's hook. Raises RequestError naming every faulty field."""
    given, body = body, plain(body)
    found = contract.faults("HookRequest", body)
    if found:
        raise RequestError(*found)
    if body["hook"] != service.hook:
        raise RequestError(
            Issue(f"must be '{service.hook}' for the service '{service.id}'", "hook", "value"),
        )
    found = contract.faults(service.context_schema, body["context"], "context")
    if found:
        raise RequestError(*found)
    _refuse_too_many(body["context"], body.get("prefetch") or {})
    return HookRequest(
        hook=body["hook"],
        hook_instance=body["hookInstance"],
        context=body["context"],
        prefetch=body.get("prefetch") or {},
        fhir=_access(body),
        extension=body.get("extension") or {},
        body=given,
        raw=raw,
    )


def _refuse_too_many(context: dict[str, Any], prefetch: dict[str, Any]) -> None:
    if len(prefetch) > MAX_PREFETCH:
        raise TooLarge(f"has more than {MAX_PREFETCH} keys", path="prefetch")
    for name in ("draftOrders", "appointments"):
        if len((context.get(name) or {}).get("entry", ())) > MAX_ORDERS:
            raise TooLarge(f"has more than {MAX_ORDERS} orders", path=f"context.{name}.entry")
    for name in ("dispatchedOrders", "selections"):
        if isinstance(context.get(name), list) and len(context[name]) > MAX_ORDERS:
            raise TooLarge(f"has more than {MAX_ORDERS} orders", path=f"context.{name}")


def _access(body: dict[str, Any]) -> FhirAccess | None:
    server = body.get("fhirServer")
    if not server:
        return None
    authorization = body.get("fhirAuthorization") or {}
    return FhirAccess(server, authorization.get("access_token"))
