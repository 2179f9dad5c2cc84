"""The one gatherer of what was not looked at: orders that got no determination, coverages that lead to no payer.

The rule of no silence: every draft order and every Coverage of a request ends in a determination, is gathered here, or
was settled. An answer without a card reads as approval, so that what is gathered here is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cds_service.determination.decision import NotLookedAt
from cds_service.determination.routing import PayerDirectory, deciding, in_force
from cds_service.determination.terms import Terms
from cds_service.policy.case import UNAVAILABLE, Case, Coverage, Order
from cds_service.policy.not_looked_at import Unseen, said

_SEVERAL = "its payor is named as several payers"
_NOBODY = "no policy of its payer is known here"


def not_looked_at(case: Case, judged: Sequence[Order], terms: Terms) -> tuple[NotLookedAt, ...]:
    """All that was not looked at; coverages only where a coverage policy, whosever, would speak to the orders."""
    found = list(_orders(case))
    if terms.payer_wanted:
        found += _coverages(case, judged, terms.directory)
    return tuple(dict.fromkeys(found))


def _orders(case: Case) -> Iterator[NotLookedAt]:
    """Orders, and entries among them, that could not be read, or whose code could not."""
    source = case.source("orders")
    faults = {f.ref: f for f in case.faults if f.fatal}
    for ref in dict.fromkeys((*source.unusable, *source.foreign)):
        fault = faults.get(ref)
        yield NotLookedAt(ref, fault.why if fault else None, fault.text if fault else "could not be read")


def _coverages(case: Case, judged: Sequence[Order], directory: PayerDirectory) -> Iterator[NotLookedAt]:
    yield from _unread(case)
    first = {c.ref for order in judged for c in deciding(case, order)}
    days = {case.day(order) for order in judged}
    current = [c for c in case.coverages if any(in_force(c, day) for day in days)]
    for coverage in current:
        if not coverage.self_paid and directory.find(coverage) is None:
            yield _without_payer(coverage, directory, decides=coverage.ref in first)
    if not current:
        for coverage in case.coverages:
            if coverage.status not in ("cancelled", "entered-in-error"):
                yield NotLookedAt(coverage.ref, Unseen.NOT_IN_FORCE, said(Unseen.NOT_IN_FORCE))


def _without_payer(coverage: Coverage, directory: PayerDirectory, *, decides: bool) -> NotLookedAt:
    doubt = directory.doubt(coverage) or (_SEVERAL if directory.names_several(coverage) else "")
    if not decides:
        return _made(Unseen.NOT_FIRST, coverage.ref, doubt or _NOBODY)
    if doubt:
        return _made(Unseen.PLAN_UNCLEAR, coverage.ref, doubt)
    payer = next(iter(coverage.payor_names), "")
    if payer:  # once, however many coverages it has
        return _made(Unseen.PAYER_UNKNOWN, "", payer)
    return NotLookedAt(coverage.ref, Unseen.PAYER_UNKNOWN, said(Unseen.PAYER_UNKNOWN, f"the payer of {coverage.ref}"))


def _made(kind: Unseen, ref: str, about: str) -> NotLookedAt:
    return NotLookedAt(ref, kind, said(kind, about), about)


def _unread(case: Case) -> Iterator[NotLookedAt]:
    """Coverages that were sent or asked for and could not be read. Not where none was sent."""
    source = case.source("coverage")
    if source.complete or source == UNAVAILABLE:
        return
    why = source.unusable or (source.detail,)
    for each in why if not case.coverages else [ref for ref in why if ref not in source.unsent and "/" in ref]:
        yield NotLookedAt(each, Unseen.COVERAGE_UNREAD, said(Unseen.COVERAGE_UNREAD, each), each)
