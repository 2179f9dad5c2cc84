"""The operations of the history: procedures that were done, put together as orders are."""

from __future__ import annotations

from dataclasses import dataclass

from cds_service.policy.case import Case, Order, Period, Procedure
from cds_service.policy.grouping import operations_of, reference_of
from cds_service.policy.operation import Count, Operation, all_regions
from cds_service.policy.vocabulary import Vocabulary


@dataclass(frozen=True)
class PastOperation:
    """Spine procedures of one day and of compatible regions in the history; not `done` where one may not have been.

    A procedure recorded in words alone may be any operation: it stands by itself, with an open count.
    """

    procedures: tuple[Procedure, ...]
    interspaces: Count | None
    regions: frozenset[str]
    performed: Period | None
    done: bool


def past_operations(case: Case, vocabulary: Vocabulary) -> tuple[PastOperation, ...]:
    """The history's spine operations: procedures of the same day, put together as orders are."""
    by_day: dict[Period | None, list[Procedure]] = {}
    known = sorted([p for p in case.procedures if p.done is not False], key=reference_of)
    for procedure in known:
        if vocabulary.procedure(procedure.codes) is not None:
            by_day.setdefault(procedure.performed, []).append(procedure)
    coded = [past for day, items in by_day.items() for past in _of_one_day(day, items, vocabulary)]
    wordy = [PastOperation((p,), (0, None), frozenset(), p.performed, done=False) for p in known if not p.codes]
    return (*coded, *wordy)


def _of_one_day(day: Period | None, items: list[Procedure], vocabulary: Vocabulary) -> list[PastOperation]:
    orders = tuple([Order(p.ref, p.codes, texts=p.texts, body_sites=p.body_sites) for p in items])
    sorted_ = operations_of(Case(orders=orders), vocabulary)
    found = dict.fromkeys([operation for order in orders for operation in sorted_.of(order)])
    by_ref = {p.ref: p for p in items}
    return [_past(o, [by_ref[m.order.ref] for m in o.members], day) for o in found]


def _past(operation: Operation, items: list[Procedure], day: Period | None) -> PastOperation:
    done = all(p.done for p in items)
    return PastOperation(tuple(items), operation.interspaces, all_regions(operation.members), day, done)
