"""What concerns an order is known without building a policy, and agrees with the policies once built."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from cds_service.content_files import load_content
from cds_service.determination.worked import to_case
from cds_service.policy.compiled import dump, load
from cds_service.policy.model import Effective
from cds_service.policy.rulebook import ANYONE, Rulebook, compile_content

CONTENT = load_content()
BOOKS = {"folder": compile_content(CONTENT), "compiled": load(dump(CONTENT))}
CASES = [
    to_case(worked, folder.policy.id, None)
    for folder in CONTENT.policies.values()
    for worked in (folder.cases.cases if folder.cases else ())
]


@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
def test_outlines_cover_what_the_built_policies_read(book: Rulebook) -> None:
    faults = []
    for case in CASES:
        for order in case.orders:
            day = case.day(order)
            built = list(book.speaking(order, ANYONE, day))
            outlines = book.concerning(order, day)
            items = [i for v in built if (i := v.choice(order, book.vocabulary).item)]
            if bool(built) != bool(outlines) or not frozenset().union(*(i.reads for i in items)) <= frozenset().union(
                *(o.reads for o in outlines)
            ):
                faults.append(order)
            if {(v.policy.kind, v.version.review.status) for v in built} != {(o.kind, o.status) for o in outlines}:
                faults.append(order)
    assert faults == []
    assert len(CASES) > 100


def test_both_books_have_the_same_outlines() -> None:
    one, two = BOOKS.values()
    assert {s: set(rows) for s, rows in one.outlines.items()} == {s: set(rows) for s, rows in two.outlines.items()}


def test_outlines_build_nothing() -> None:
    book = load(dump(CONTENT))
    for case in CASES:
        for order in case.orders:
            book.concerning(order, case.day(order))
    assert book.versions._made == {}  # type: ignore[attr-defined]


def test_an_outline_spans_the_days_of_its_versions() -> None:
    folder = next(f for f in CONTENT.policies.values() if f.policy.kind == "coverage")
    first = folder.policy.versions[0]
    spans = [(date(2024, 1, 1), date(2024, 6, 30)), (date(2025, 1, 1), date(2025, 6, 30))]
    versions = [
        first.model_copy(update={"version": str(n), "effective": Effective.model_validate({"from": a, "to": b})})
        for n, (a, b) in enumerate(spans)
    ]
    policy = folder.policy.model_copy(update={"versions": versions})
    one_policy = {policy.id: type(folder)(policy, folder.card, None)}
    book = compile_content(type(CONTENT)(
        "r", one_policy, CONTENT.value_sets, CONTENT.procedures, CONTENT.payers
    ))  # fmt: skip
    found = {(o.start, o.end) for rows in book.outlines.values() for o in rows}
    assert found == {(spans[0][0], spans[1][1])}
    members = book.vocabulary.sets[next(iter(book.outlines))]
    order = next(o for c in CASES for o in c.orders if members.first(o.codes))
    assert book.concerning(order, spans[1][1])
    assert not book.concerning(order, spans[1][1] + timedelta(1))
    assert not list(book.speaking(order, ANYONE, date(2024, 9, 1)))
