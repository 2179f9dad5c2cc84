"""Tokens and passwords that tell themselves, by the name of a member or the form of a text, are never stored.

A look in vain costs two searches in the text of the request, and a walk over what in it is no FHIR resource: the
members of resources have names of their own, none of which tells of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cds_service.ledger.record import Json
from cds_service.ledger.tokens import REMOVED

# Names are compared without case, blanks and what joins words. A prior authorisation is no secret.
_JOINTS = re.compile(r"[\s_.\-]+")
_NAME = re.compile(
    r"token(?!type)|secret(?!ar)|passw(?:or)?d|passphrase|apikey|bearer|(?<!prior)(?<!pre)authori[sz]ation(?:header)?$"
)
_STRUCTURE = "fhirauthorization"  # its parts are looked at one by one
_PLAIN = frozenset({
    "hook", "hookInstance", "fhirServer", "fhirAuthorization", "context", "prefetch", "extension", "token_type",
    "expires_in", "scope", "subject", "patient", "userId", "patientId", "encounterId", "draftOrders", "selections",
    "conditions", "procedures", "activeOrders", "plannedOrders", "coverage", "authorizations", "observations",
    "questionnaireResponses",
})  # fmt: skip
# Credentials have a digit, or are long: a "bearer of something" is neither.
_BEARER = re.compile(r"\b(bearer\s+)(?:[a-z._~+/|-]*[0-9][a-z0-9._~+/|-]*|[a-z._~+/|-]{20,})=*", re.IGNORECASE)
_PARAMETER = re.compile(r"\b((?:access_|refresh_|id_)token|client_secret)=[^&\s#;\"'<>]+", re.IGNORECASE)


def tells(document: Json, parts: Mapping[str, bytes]) -> bool:
    """Whether there may be such a thing in the `parts` of a record that came from outside, which are given as JSON.

    The answer only quotes the request, unless something was fetched.
    """
    quick = [name for name in parts if name in ("request", "feedback") or document.get("fetched")]
    return any(_tells(parts[name]) or _names_one(document[name]) for name in quick)


def _tells(text: bytes) -> bool:
    small = text.lower()
    if b"bearer " in small:
        return True
    at = small.find(b"token")
    while at >= 0:
        harmless = small.startswith(b'"access_token":"[removed]"', at - 8) or small.startswith(b'"token_type":', at - 1)
        if not harmless:
            return True
        at = small.find(b"token", at + 5)
    return False


def _names_one(node: Any) -> bool:
    """Whether a member that is not a resource's has a name that tells."""
    if isinstance(node, dict):
        if "resourceType" in node:
            return False
        return any((n not in _PLAIN and _is_telling(n) and v != REMOVED) or _names_one(v) for n, v in node.items())
    return isinstance(node, list) and any(map(_names_one, node))


def _is_telling(name: str) -> bool:
    return _NAME.search(_JOINTS.sub("", name).lower()) is not None


def without_telling(node: Any) -> Any:
    """A copy of a node without them."""
    if isinstance(node, dict):
        return {name: _member(name, value) for name, value in node.items()}
    if isinstance(node, list):
        return [without_telling(value) for value in node]
    return _text(node) if isinstance(node, str) else node


def _member(name: str, value: Any) -> Any:
    if name in _PLAIN or not _is_telling(name):
        return without_telling(value)
    if isinstance(value, dict) and ("resourceType" in value or _JOINTS.sub("", name).lower() == _STRUCTURE):
        return without_telling(value)
    return _removed(value)


def _removed(value: Any) -> Any:
    """What stands under a telling name, without its texts; resources that are listed there are data."""
    if isinstance(value, str):
        return REMOVED
    if isinstance(value, list):
        return [_removed(item) for item in value]
    if isinstance(value, dict):
        return without_telling(value) if "resourceType" in value else {n: _removed(v) for n, v in value.items()}
    return value


def _text(text: str) -> str:
    return _PARAMETER.sub(rf"\1={REMOVED}", _BEARER.sub(rf"\1{REMOVED}", text))
