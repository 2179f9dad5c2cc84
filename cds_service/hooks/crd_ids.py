"""Ids of assertions: each leads back to its ledger record, and to the first assertion of its family."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cds_service.facts.references import Json
from cds_service.render import crd

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.\d{1,4}"
_ASSERTION_ID = re.compile(rf"({_ID})(?:~({_ID}))?")


def id_of(record_id: str, number: int, carried: Iterable[Json]) -> str:
    """`<record>.<order>`, and after `~` the first assertion of the family when the order carries one of ours."""
    mine = f"{record_id}.{number}"
    for extension in carried:
        before = crd.part(extension, "coverage-assertion-id")
        family = family_of(before) if isinstance(before, str) else None
        if family:
            return f"{mine}~{family}"
    return mine


def family_of(assertion_id: str) -> str | None:
    """The first assertion of a family, from any of its ids; None for ids that this service did not make."""
    match = _ASSERTION_ID.fullmatch(assertion_id)
    return (match[2] or match[1]) if match else None


def record_of(assertion_id: str) -> str | None:
    """The ledger record that an assertion id leads back to."""
    match = _ASSERTION_ID.fullmatch(assertion_id)
    return match[1].split(".", 1)[0] if match else None
