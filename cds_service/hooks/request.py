"""The hook request: bytes to a validated envelope (CDS Hooks 2.0, HTTP Request)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import orjson

from cds_service.errors import Issue, RequestError, TooLarge
from cds_service.facts.builder import MAX_ORDERS
from cds_service.hooks import contract
from cds_service.hooks.services import Service

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
    """A validated hook request."""

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
    """As `parse`; a list of resources is a Bundle without its envelope."""
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
    return value


_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
_MARK = b"\xef\xbb\xbf"  # a byte order mark, which some clients write before their UTF-8
_NOT_BRACKETS = bytes(b for b in range(256) if b not in b"{}[]")
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
        body=body,
        raw=raw,
    )


def _refuse_too_many(context: dict[str, Any], prefetch: dict[str, Any]) -> None:
    if len(prefetch) > MAX_PREFETCH:
        raise TooLarge(f"has more than {MAX_PREFETCH} keys", path="prefetch")
    for name in ("draftOrders", "appointments"):
        if len((context.get(name) or {}).get("entry", ())) > MAX_ORDERS:
            raise TooLarge(f"has more than {MAX_ORDERS} orders", path=f"context.{name}.entry")
    for name in ("dispatchedOrders", "selections"):
        if len(context.get(name) or ()) > MAX_ORDERS:
            raise TooLarge(f"has more than {MAX_ORDERS} orders", path=f"context.{name}")


def _access(body: dict[str, Any]) -> FhirAccess | None:
    server = body.get("fhirServer")
    if not server:
        return None
    authorization = body.get("fhirAuthorization") or {}
    return FhirAccess(server, authorization.get("access_token"))
