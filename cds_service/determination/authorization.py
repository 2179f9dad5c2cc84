"""Which of the authorisations that an order carries holds: in force on its day, and given by the payer that decides."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from cds_service.determination.routing import PayerDirectory, deciding, in_force
from cds_service.policy.case import Authorization, Case, Order


def holding(order: Order, case: Case, payers: Collection[str], directory: PayerDirectory) -> Authorization | None:
    """The first that holds; `payers` decide on the order."""
    day = case.day(order)
    for authorization in order.authorizations:
        if _in_force(authorization, day) and _is_theirs(authorization, order, case, payers, directory):
            return authorization
    return None


def _in_force(found: Authorization, day: date) -> bool:
    return (found.begins is None or found.begins <= day) and (found.expires is None or day <= found.expires)


def _is_theirs(
    found: Authorization, order: Order, case: Case, payers: Collection[str], directory: PayerDirectory
) -> bool:
    """Was it given by who decides? An insurer whom nobody knows, and a coverage that may be unread, are let pass.

    An insurer tells no line of business: it is the payer that decides, or the parent of it.
    """
    if found.coverage is None:
        insurer = directory.find(found.insurer) if found.insurer else None
        return insurer is None or not payers or any(directory.is_of(payer, insurer) for payer in payers)
    own = next((c for c in case.coverages if c.ref == found.coverage), None)
    if own is None:
        return not case.coverages or not case.source("coverage").complete
    return in_force(own, case.day(order)) and (directory.find(own) in payers or own in deciding(case, order))
