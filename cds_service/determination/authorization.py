"""Which of the authorisations that an order carries holds: in force on its day, and given by the payer that decides."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date

from cds_service.determination.routing import deciding, in_force
from cds_service.policy.case import Authorization, Case, Coverage, Order


def holding(
    order: Order, case: Case, payers: Collection[str], payer_of: Callable[[Coverage], str | None]
) -> Authorization | None:
    """The first that holds. `payers` decide on the order; `payer_of` looks one up by what a coverage says of it."""
    day = case.day(order)
    for authorization in order.authorizations:
        if _in_force(authorization, day) and _is_theirs(authorization, order, case, payers, payer_of):
            return authorization
    return None


def _in_force(found: Authorization, day: date) -> bool:
    return (found.begins is None or found.begins <= day) and (found.expires is None or day <= found.expires)


def _is_theirs(
    found: Authorization, order: Order, case: Case, payers: Collection[str], payer_of: Callable[[Coverage], str | None]
) -> bool:
    """Was it given by who decides? An insurer whom nobody knows, and a coverage that may be unread, are let pass."""
    if found.coverage is None:
        insurer = payer_of(found.insurer) if found.insurer else None
        return insurer is None or not payers or insurer in payers
    own = next((c for c in case.coverages if c.ref == found.coverage), None)
    if own is None:
        return not case.coverages or not case.source("coverage").complete
    return in_force(own, case.day(order)) and (payer_of(own) in payers or own in deciding(case, order))
