"""The Da Vinci CRD guide's suggested metrics, from the ledger: counts of codes, no order and no patient.

Source: Da Vinci CRD 2.2.1, metrics. Number 7 (reduction of submissions) needs data from outside the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from cds_service.ledger.projection import latency
from cds_service.ledger.record import Json

FAST_MS = 5000
_DOCUMENTS = frozenset({"clinical", "admin", "both", "patient"})


class _Counts:
    """Counts of one segment. An order counts once, whichever of its assertions fits."""

    def __init__(self) -> None:
        self.calls = self.fast = self.orders = self.informed = self.satisfied = 0
        self.authorization = self.authorization_form = self.documents = self.documents_form = 0
        self.covered: defaultdict[str, int] = defaultdict(int)

    def add(self, milliseconds: float, orders: Iterable[list[Json]]) -> None:
        self.calls += 1
        self.fast += milliseconds < FAST_MS
        for told in orders:
            self._order(told)

    def _order(self, told: list[Json]) -> None:
        self.orders += 1
        self.informed += any(t["sent"] for t in told)
        for code in {t["covered"] for t in told}:
            self.covered[code] += 1
        needed = [t for t in told if t.get("pa-needed") == "auth-needed"]
        documented = [t for t in told if t.get("doc-needed") in _DOCUMENTS]
        self.authorization += bool(needed)
        self.authorization_form += any(t.get("questionnaire") for t in needed)
        self.documents += bool(documented)
        self.documents_form += any(t.get("questionnaire") for t in documented)
        self.satisfied += any(t.get("pa-needed") == "satisfied" for t in told)

    def plain(self) -> Json:
        return {
            "1_with_coverage_information": _share(self.informed, self.orders),
            "2_by_covered": {code: _share(n, self.orders) for code, n in sorted(self.covered.items())},
            "3_prior_authorization_with_questionnaire": _share(self.authorization_form, self.authorization),
            "4_documentation_with_questionnaire": _share(self.documents_form, self.documents),
            "5_authorization_satisfied": _share(self.satisfied, self.orders),
            "6_answered_within_5_seconds": _share(self.fast, self.calls),
            "7_reduction_of_submissions": None,
        }


def _share(count: int, of: int) -> Json:
    return {"count": count, "of": of, "percent": round(100 * count / of, 2) if of else None}


def crd_metrics(documents: Iterable[Json]) -> Json:
    """All metrics, then by payer and by client (8) and by hook (9); `documents` as `Ledger.records` gives them."""
    whole = _Counts()
    parts: dict[str, defaultdict[str, _Counts]] = {k: defaultdict(_Counts) for k in ("payer", "client", "hook")}
    for document in documents:
        if not str(document.get("service", "")).endswith("-crd"):
            continue
        orders = list(_orders(document))
        milliseconds = latency(document["timing"])
        whole.add(milliseconds, orders)
        for name, segments in parts.items():
            segments[str(document.get(name) or "unknown")].add(milliseconds, orders)
    segmented = {f"by_{name}": {k: c.plain() for k, c in sorted(s.items())} for name, s in parts.items()}
    return {"calls": whole.calls, "orders": whole.orders, **whole.plain(), **segmented}


def _orders(document: Json) -> Iterator[list[Json]]:
    """What was told of each order, once."""
    told: dict[str, list[Json]] = {}
    for entry in document.get("determinations") or ():
        asserted: Any = entry.get("coverage_information")
        if asserted:
            told.setdefault(entry["order"], asserted)
    yield from told.values()
