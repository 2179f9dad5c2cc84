"""A call's FHIR access token must not be stored: neither where it stands, nor copies of it elsewhere.

A client chooses its token. So copies are removed only from texts that came from outside or quote it, and only copies
of what can be a secret: no word, and nothing that the ledger needs to be read and checked, can be removed by naming
it as a token.
"""

from __future__ import annotations

import re
from typing import Any

from cds_service.ledger.places import change_at, change_texts, paths
from cds_service.ledger.record import Json

REMOVED = "[removed]"
# The characters of RFC 6750, section 2.1. Twelve letters and digits are 71 bits: what is shorter keeps no secret.
_SECRET = re.compile(r"(?=.*[A-Za-z])(?=.*[0-9])[A-Za-z0-9._~+/-]{12,}=*|[A-Za-z0-9._~+/-]{40,}=*")
# Nodes of a trace below one another, more than the reader of policies takes. Of each node, its evidence, and what was
# found in place of what is missing (traces.py).
DEEPEST = 100
_QUOTING = paths(
    "hookInstance",
    "request",
    "response/cards/*/summary",
    "response/cards/*/detail",
    "response/cards/*/suggestions/*/label",
    "response/cards/*/suggestions/*/actions/*/description",
    "response/cards/*/suggestions/*/actions/*/resource",
    "response/cards/*/suggestions/*/actions/*/resourceId",
    "response/systemActions/*/resource",
    "response/systemActions/*/resourceId",
    "determinations/*/order",
    "determinations/*/code",
    "determinations/*/missing/*/state",
    "determinations/*/trace/**/evidence",
    "determinations/*/trace/**/state",
    "determinations/*/trace/**/not_used",
    "determinations/*/trace/**/authorised_by",
    *(f"traces/rules/*{'/3/*' * depth}/{told}" for depth in range(DEEPEST) for told in ("4", "5/*/2")),
    "notUsed/*/ref",
    "notUsed/*/path",
    "notUsed/*/text",
    "findings/*/order",
    "findings/*/text",
    "fetched",
    "cards/*/order",
    "cards/*/suggestions/*/1",
)
_QUOTING_ON_A_PAGE = paths("headline", "parts/*/clinician", "parts/*/patient", "criteria/**/evidence")


def secret_of(request: Json) -> str | None:
    """The FHIR access token, if it can be a secret, so that copies of it elsewhere can be removed."""
    authorization = request.get("fhirAuthorization")
    token = authorization.get("access_token") if isinstance(authorization, dict) else None
    return token if isinstance(token, str) and _SECRET.fullmatch(token) else None


def without_token(request: Json) -> Json:
    """The request without the token where it belongs."""
    authorization = request.get("fhirAuthorization")
    if authorization is None or (isinstance(authorization, dict) and "access_token" not in authorization):
        return request
    if not isinstance(authorization, dict):  # not as CDS Hooks has it, and perhaps the token itself
        return {**request, "fhirAuthorization": REMOVED}
    return {**request, "fhirAuthorization": {**authorization, "access_token": REMOVED}}


def without_copies(document: Any, secret: str, *, page: bool = False) -> Any:
    """Remove copies of the token from a record's document, or a `page` that explains a card, which is changed."""
    for path in _QUOTING_ON_A_PAGE if page else _QUOTING:
        change_at(document, path, lambda node: change_texts(node, lambda text: text.replace(secret, REMOVED)))
    return document
