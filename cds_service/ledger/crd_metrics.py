"""The Da Vinci CRD guide's suggested metrics, from the ledger's counts: codes alone, no order and no patient.

Source: Da Vinci CRD 2.2.1, metrics. Number 7 (reduction of submissions) needs data from outside the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection

from cds_service.ledger.document import loads
from cds_service.ledger.metrics import Filters, counted
from cds_service.ledger.record import Json

SEGMENTS = ("payer", "client", "hook")
_DOCUMENTS = frozenset({"clinical", "admin", "both", "patient"})


class _Assertion(NamedTuple):
    """What one assertion on an order said, as `projection` keeps it."""

    covered: str
    authorization: str
    documents: str
    form: bool
    sent: bool


class _Counts:
    """Counts of one segment. An order counts once, whichever of its assertions fits."""

    def __init__(self) -> None:
        self.calls = self.late = self.orders = self.informed = self.satisfied = 0
        self.authorization = self.authorization_form = self.documents = self.documents_form = 0
        self.covered: defaultdict[str, int] = defaultdict(int)

    def add_orders(self, told: list[_Assertion], n: int) -> None:
        """Count `n` orders of which the same was said."""
        self.orders += n
        self.informed += n * any(t.sent for t in told)
        self.satisfied += n * any(t.authorization == "satisfied" for t in told)
        for code in {t.covered for t in told}:
            self.covered[code] += n
        needed = [t for t in told if t.authorization == "auth-needed"]
        self.authorization += n * bool(needed)
        self.authorization_form += n * any(t.form for t in needed)
        documented = [t for t in told if t.documents in _DOCUMENTS]
        self.documents += n * bool(documented)
        self.documents_form += n * any(t.form for t in documented)

    def plain(self) -> Json:
        return {
            "1_with_coverage_information": _share(self.informed, self.orders),
            "2_by_covered": {code: _share(n, self.orders) for code, n in sorted(self.covered.items())},
            "3_prior_authorization_with_questionnaire": _share(self.authorization_form, self.authorization),
            "4_documentation_with_questionnaire": _share(self.documents_form, self.documents),
            "5_authorization_satisfied": _share(self.satisfied, self.orders),
            "6_answered_within_5_seconds": _share(self.calls - self.late, self.calls),
            "7_reduction_of_submissions": None,
        }


def _share(count: int, of: int) -> Json:
    return {"count": count, "of": of, "percent": round(100 * count / of, 2) if of else None}


class _Segmented:
    """The whole, and its parts by payer, client and hook."""

    def __init__(self) -> None:
        self.whole = _Counts()
        self.parts: dict[str, defaultdict[str, _Counts]] = {name: defaultdict(_Counts) for name in SEGMENTS}

    def at(self, values: tuple[str, ...]) -> Iterator[_Counts]:
        """Every count that one row adds to; `values` as in `SEGMENTS`."""
        yield self.whole
        for name, value in zip(SEGMENTS, values, strict=True):
            yield self.parts[name][value or "unknown"]

    def plain(self) -> Json:
        whole, parts = self.whole, self.parts.items()
        segmented = {f"by_{name}": {k: c.plain() for k, c in sorted(s.items())} for name, s in parts}
        return {"calls": whole.calls, "orders": whole.orders, **whole.plain(), **segmented}


def crd_metrics(connection: Connection, filters: Filters) -> Json:
    """All metrics, then by payer and by client (8) and by hook (9).

    A policy narrows orders (1 to 5), not calls (6); version and rule narrow nothing.
    """
    found = _Segmented()
    for values, n in _rows(connection, filters, "answer"):
        for counts in found.at(values):
            counts.calls += n
    for values, n in _rows(connection, filters, "late"):
        for counts in found.at(values):
            counts.late += n
    for (*values, label), n in _rows(connection, filters, "asserted", "label"):
        told = [_Assertion(*t) for t in loads(label)]
        for counts in found.at(tuple(values)):
            counts.add_orders(told, n)
    return found.plain()


def _rows(connection: Connection, filters: Filters, measure: str, *more: str) -> Iterator[tuple[Any, int]]:
    """Counts of CRD services per segment."""
    for service, *values, n, _total in counted(connection, filters, measure, "service", *SEGMENTS, *more):
        if service.endswith("-crd"):
            yield tuple(values), n
