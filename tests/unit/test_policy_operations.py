"""Which orders are one operation, and what follows: region, approach, levels. The order of the orders never matters."""

from __future__ import annotations

from datetime import date
from itertools import permutations
from typing import Any

import pytest
from support.small import book, case, item, order, policy

from cds_service.policy.case import Code, Order, Period, Procedure
from cds_service.policy.grouping import operations_of
from cds_service.policy.model import ProcedureCode
from cds_service.policy.operation import count_interspaces
from cds_service.policy.past_operations import past_operations
from cds_service.policy.spine import SCATTERED, named_levels, named_regions

VOCABULARY = book(policy("a/one", orders={"bone": item("bone")})).vocabulary


def groups(*orders: Order) -> set[tuple[str, str, str]]:
    """Operations as (primaries, sure members, possible members), each by the ends of references."""
    found = set()
    for operation in operations_of(case(*orders), VOCABULARY).groups:
        parts = (operation.primaries, operation.sure, operation.maybe)
        found.add(tuple(" ".join(sorted(p.order.ref.split("/")[1] for p in part)) for part in parts))
    return found  # type: ignore[return-value]


NECK, BACK, GRAFT, ADDED = "22551", "22612", "20939", "22552"
TOGETHER: dict[str, tuple[list[Order], set[tuple[str, str, str]]]] = {
    "regions that fit": ([order(NECK), order(ADDED), order(GRAFT)], {(NECK, f"{GRAFT} {ADDED}", "")}),
    "regions that do not": (
        [order(NECK), order(BACK), order(GRAFT), order(ADDED)],
        {(NECK, ADDED, GRAFT), (BACK, "", GRAFT)},
    ),
    "a body site decides": (
        [order(NECK), order(BACK), order(GRAFT, body_site_texts=("lumbar",))],
        {(NECK, "", ""), (BACK, GRAFT, "")},
    ),
    "a body site against the code": (
        [order(NECK, body_site_texts=("C4-C5",)), order("63047"), order(ADDED, body_site_texts=("L4-L5",))],
        {(NECK, "", ""), ("63047", "", "")},
    ),
    "primaries of one region": ([order(BACK), order("63047")], {(f"{BACK} 63047", "", "")}),
    "primaries at two sites of one region": (
        [order(BACK, body_site_texts=("L4-L5",)), order("63047", body_site_texts=("T4-T5",))],
        {(BACK, "", ""), ("63047", "", "")},
    ),
    "two encounters": (
        [order(NECK, encounter="e1"), order(GRAFT, encounter="e2")],
        {(NECK, "", GRAFT)},
    ),
    "one encounter": ([order(NECK, encounter="e1"), order(GRAFT, encounter="e1")], {(NECK, GRAFT, "")}),
    "an encounter that is not said": ([order(NECK, encounter="e1"), order(GRAFT)], {(NECK, GRAFT, "")}),
    "one requisition over two encounters and regions": (
        [order(NECK, encounter="e1", requisition="r"), order(BACK, encounter="e2", requisition="r")],
        {(f"{NECK} {BACK}", "", "")},
    ),
    "two requisitions": (
        [order(NECK, requisition="r1"), order(GRAFT, requisition="r2")],
        {(NECK, "", GRAFT)},
    ),
    "a requisition that is not said": ([order(NECK, requisition="r1"), order(GRAFT)], {(NECK, GRAFT, "")}),
    "based on the same": (
        [order(NECK, based_on=("p1", "p2"), encounter="e1"), order(BACK, based_on=("p2",), encounter="e2")],
        {(f"{NECK} {BACK}", "", "")},
    ),
    "based on others": (
        [order(NECK, based_on=("p1",)), order(GRAFT, based_on=("p2",))],
        {(NECK, "", GRAFT)},
    ),
    "based on each other": (
        [order(NECK, encounter="e1"), order(GRAFT, based_on=(f"ServiceRequest/{NECK}",), encounter="e2")],
        {(NECK, GRAFT, "")},
    ),
    "the primary is based on the graft": (
        [order(NECK, based_on=(f"ServiceRequest/{GRAFT}",), encounter="e1"), order(GRAFT, encounter="e2")],
        {(NECK, GRAFT, "")},
    ),
    "a link is stronger than a fit": (
        [order(NECK), order(BACK, requisition="r"), order(ADDED, requisition="r")],
        {(NECK, "", ""), (BACK, ADDED, "")},
    ),
    "an add-on goes to what it is added to": (
        [order(BACK, encounter="e1"), order("63047", encounter="e2"), order("22614")],
        {(BACK, "22614", ""), ("63047", "", "")},
    ),
    "an add-on without its primary may go anywhere": (
        [order("63047", "a", encounter="e1"), order("63047", "b", encounter="e2"), order("22614")],
        {("a", "", "22614"), ("b", "", "22614")},
    ),
    "a third order joins two operations": (
        [order("63047", "a", encounter="e1"), order("63047", "b", encounter="e2"), order("63047", "c")],
        {("a b c", "", "")},
    ),
    "based on something, or not said": ([order(NECK, based_on=("p1",)), order(GRAFT)], {(NECK, GRAFT, "")}),
    "an add-on to one primary of several": (
        [
            order(BACK, "a", requisition="r1"),
            order("63047", "b", requisition="r1"),
            order("63047", "c", requisition="r2"),
            order("22614", "x"),
        ],
        {("a b", "x", ""), ("c", "", "")},
    ),
    "a chain of primaries": (
        [order("63047", "a", encounter="e1"), order("63047", "b"), order("63047", "c", encounter="e2")],
        {("a b c", "", "")},
    ),
    "nothing to be added to": ([order(GRAFT), order("20974")], set()),
    "a stimulator beside a fusion": ([order(NECK), order("20974")], {(NECK, "20974", "")}),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_which_orders_are_one_operation(name: str) -> None:
    orders, expected = TOGETHER[name]
    assert [groups(*each) for each in permutations(orders) if groups(*each) != expected] == []


def test_two_days_may_be_two_operations() -> None:
    days = [date(2026, 6, 1), date(2026, 6, 2)]
    assert groups(order(NECK, occurrence=days[0]), order(GRAFT, occurrence=days[1])) == {(NECK, "", GRAFT)}
    assert groups(order(NECK, occurrence=days[0]), order(GRAFT, occurrence=days[0])) == {(NECK, GRAFT, "")}
    assert groups(order(NECK, occurrence=days[0]), order(GRAFT)) == {(NECK, GRAFT, "")}


def test_an_order_that_fits_nowhere_stands_alone() -> None:
    alone = order(GRAFT, body_site_texts=("lumbar",))
    (found,) = operations_of(case(order(NECK, encounter="e1"), alone), VOCABULARY).of(alone)
    assert (found.primaries, [m.order for m in found.members]) == ((), [alone])


def test_what_is_kept_from_the_operation_of_its_region_may_belong_to_it_or_stand_alone() -> None:
    apart = order(GRAFT, encounter="e2")
    split, alone = operations_of(case(order(NECK, encounter="e1"), apart), VOCABULARY).of(apart)
    assert [p.order.ref for p in split.primaries] == [f"ServiceRequest/{NECK}"]
    assert ([m.order for m in split.maybe], [m.order for m in alone.members]) == ([apart], [apart])
    assert alone.interspaces is None


def test_an_add_on_alone_may_be_what_a_graft_is_for() -> None:
    graft = order(GRAFT)
    fusion, alone = operations_of(case(order("22552"), graft), VOCABULARY).of(graft)
    assert [m.order.codes[0].code for m in fusion.members] == ["22552"]
    assert [m.order for m in alone.members] == [graft]


@pytest.mark.parametrize(
    ("orders", "regions", "approaches", "roles"),
    [
        ([order(NECK), order(GRAFT)], {"cervical"}, {"anterior"}, {"fusion"}),
        ([order(BACK), order("63047")], {"lumbar"}, {"posterior"}, {"fusion", "decompression"}),
        ([order(NECK, body_site_texts=("C4-T1",))], {"cervical"}, {"anterior"}, {"fusion"}),
    ],
)
def test_what_an_operation_is(orders: list[Order], regions: set[str], approaches: set[str], roles: set[str]) -> None:
    (found,) = operations_of(case(*orders), VOCABULARY).groups
    assert (found.regions, found.approaches, found.roles) == (regions, approaches, roles)


def test_members_name_the_region_where_no_primary_does() -> None:
    alone = order(GRAFT, body_site_texts=("thoracic",))
    (found,) = operations_of(case(alone), VOCABULARY).of(alone)
    assert found.regions == {"thoracic"}


@pytest.mark.parametrize(
    ("parts", "regions"),
    [
        ({}, set()),
        ({"body_site_texts": ("Cervical and THORACIC spine",)}, {"cervical", "thoracic"}),
        ({"body_site_texts": ("T12-L1",)}, {"thoracic"}),
        ({"body_site_texts": ("l4/5",)}, {"lumbar"}),
        ({"body_site_texts": ("L5 to S1", "sacral")}, {"lumbar", "sacral"}),
        ({"body_site_texts": ("cervicalgia",)}, set()),
        ({"body_sites": (Code("snomed", "122494005"),)}, {"cervical"}),
        ({"body_sites": (Code("snomed", "122496007"), Code("snomed", "54735007"))}, {"lumbar", "sacral"}),
        ({"body_sites": (Code("snomed", "1"),)}, set()),
    ],
)
def test_regions_that_an_order_names(parts: Any, regions: set[str]) -> None:
    assert named_regions(order(GRAFT, **parts)) == regions


@pytest.mark.parametrize(
    ("texts", "span"),
    [
        (["C4-C6"], (4, 6)),
        (["c4-6"], (4, 6)),
        (["C 4 / C 5"], (4, 5)),
        (["C1-C2"], (1, 2)),
        (["C6-C7"], (6, 7)),
        (["C7-T1"], (7, 8)),
        (["T1-T2"], (8, 9)),
        (["T12-L1"], (19, 20)),
        (["L4 to L5"], (23, 24)),
        (["L5-S1"], (24, 25)),
        (["L5 through S1"], (24, 25)),
        (["L4\u2013L5"], (23, 24)),
        (["S1-S2"], None),
        (["C0-C2"], None),
        (["C7-C8"], None),
        (["T12-T13"], None),
        (["L5-L6"], None),
        (["C4-C4"], None),
        (["C4"], None),
        (["at C4-C5", "and C5-C6"], (4, 6)),
        (["C5-C6", "C4-C7"], (4, 7)),
        (["C4-C5 and C6-C7"], tuple(SCATTERED)),
        (["C4-C5 and L4-L5"], tuple(SCATTERED)),
        (["C9-C10", "C4-C5"], (4, 5)),
        (["C4-C5-C6"], (4, 6)),
        (["C4-5-6"], (4, 6)),
        (["C4/5/6"], (4, 6)),
        (["C3-C4-C5-C6-C7"], (3, 7)),
        (["C4 - C5 - C6"], (4, 6)),
        (["L4-L5-S1"], (23, 25)),
        (["T11-12-L1"], (18, 20)),
        (["C4-C5/C5-C6"], (4, 6)),
        (["C4-5, 5-6"], (4, 5)),
        (["C4-5 - 2 levels"], (4, 5)),
        (["C4-C6 - 7 mm cage"], (4, 6)),
        (["C4-5-6mm"], (4, 5)),
        (["C4-C5-2026"], (4, 5)),
        ([], None),
    ],
)
def test_levels_that_texts_name(texts: list[str], span: tuple[int, int] | None) -> None:
    found = named_levels(texts)
    assert (tuple(found) if found else None) == span
    assert found is None or found.interspaces == found.bottom - found.top


def entry(family: str | None = "anterior", **parts: Any) -> ProcedureCode:
    made = {"system": "cpt", "code": "1", "label": "F", "role": "fusion", "family": family, **parts}
    return ProcedureCode.model_validate(made)


FIRST, MORE = entry(), entry(code="2", add_on=True)
OTHER, OTHER_MORE = entry("posterior", code="3"), entry("posterior", code="4", add_on=True)


@pytest.mark.parametrize(
    ("fusions", "levels", "count"),
    [
        ([], None, None),
        ([(FIRST, 1)], None, (1, 1)),
        ([(FIRST, 1), (MORE, 1)], None, (2, 2)),
        ([(FIRST, 1), (MORE, 3)], None, (4, 4)),
        ([(MORE, 2)], None, (2, 2)),
        ([(FIRST, 2)], None, (1, 2)),
        ([(FIRST, 1), (FIRST, 1)], None, (1, 2)),
        ([(FIRST, 2), (MORE, 1)], None, (2, 3)),
        ([(FIRST, 1), (entry(code="9"), 1)], None, (2, 2)),
        ([(FIRST, 0)], None, (1, 1)),
        ([(FIRST, 1), (FIRST, 0)], None, (1, 1)),
        ([(FIRST, 1), (MORE, 0)], None, (1, 1)),
        ([(MORE, 0)], None, (1, 1)),
        ([(FIRST, None)], None, (1, None)),
        ([(FIRST, 1), (MORE, None)], None, (1, None)),
        ([(FIRST, 1), (OTHER, 1)], None, (1, 1)),
        ([(FIRST, 1), (MORE, 1), (OTHER, 1)], None, (1, None)),
        ([(FIRST, 1), (MORE, 1), (OTHER, 1), (OTHER_MORE, 1)], None, (2, 2)),
        ([(FIRST, 1)], ["C4-C5"], (1, 1)),
        ([(FIRST, 1)], ["C4-C6"], (1, None)),
        ([(FIRST, 2)], ["C4-C6"], (2, 2)),
        ([(FIRST, 2)], ["C4-C5"], (1, 1)),
        ([(FIRST, 2)], ["C4-C7"], (1, None)),
        ([(FIRST, 1), (MORE, 1)], ["C3-C4", "C6-C7"], (1, None)),
        ([(FIRST, 1), (MORE, 1)], ["C4-C5"], (1, None)),
        ([(entry(segments=[2, 6]), 1)], None, (1, 5)),
        ([(entry(segments=[2, 6]), 1), (entry(segments=[7, 12]), 1)], None, (6, 11)),
        ([(entry(segments=[2, 6]), None), (MORE, 1)], ["C4-C5"], (1, 5)),
    ],
)
def test_count_of_interspaces(fusions: Any, levels: list[str] | None, count: Any) -> None:
    assert count_interspaces(fusions, named_levels(levels or [])) == count


def test_an_order_that_may_be_a_fusion_of_this_operation_leaves_the_count_open() -> None:
    found = operations_of(case(order(NECK), order(BACK), order("22614", "x")), VOCABULARY).groups
    assert {g.interspaces for g in found} == {(1, 1), (2, 2)}
    two = [order(BACK, "a", encounter="e1"), order(BACK, "b", encounter="e2"), order("22614", "x")]
    assert {g.interspaces for g in operations_of(case(*two), VOCABULARY).groups} == {(1, None)}


@pytest.mark.parametrize("where", ["body_site_texts", "texts"])
def test_levels_in_an_order_count_against_its_codes(where: str) -> None:
    (found,) = operations_of(case(order(NECK, **{where: ("C4-C6",)})), VOCABULARY).groups
    assert found.interspaces == (1, None)


def test_fusions_of_the_history_by_day() -> None:
    def done(own: str, code: str, day: int | None, **parts: Any) -> Procedure:
        when = Period(date(2026, 1, day), date(2026, 1, day)) if day else None
        return Procedure(f"Procedure/{own}", (Code("cpt", code),), when, **parts)

    facts = case(
        procedures=(
            done("b", ADDED, 1),
            done("a", NECK, 1),
            done("c", BACK, 2, texts=("L4-L5",)),
            done("d", NECK, 3, done=False),
            done("e", "63047", 4, done=None),
            done("f", "99999", 5),
            done("g", NECK, None, texts=("C4-C6",)),
            done("h", BACK, 1),
            Procedure("Procedure/i", texts=("an operation on the back",)),
        )
    )
    found = past_operations(facts, VOCABULARY)
    told = [(" ".join(p.ref[-1] for p in o.procedures), o.interspaces, set(o.regions), o.done) for o in found]
    assert told == [
        ("a b", (2, 2), {"cervical"}, True),
        ("h", (1, 1), {"lumbar"}, True),
        ("c", (1, 1), {"lumbar"}, True),
        ("e", None, {"lumbar"}, False),
        ("g", (1, None), {"cervical"}, True),
        ("i", (0, None), set(), False),
    ]


LOCAL = Code("urn:oid:1.2.840", "123450")


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ((LOCAL, Code("cpt", NECK)), f"cpt {NECK}"),
        ((LOCAL, Code("hcpcs", "Q9999")), "hcpcs Q9999"),
        ((LOCAL, Code("snomed", "1")), str(LOCAL)),
        ((), ""),
    ],
)
def test_evidence_of_an_order_shows_the_code_it_is_about(codes: tuple[Code, ...], told: str) -> None:
    one = Order("ServiceRequest/o", codes)
    assert operations_of(case(one), VOCABULARY).placed[one.ref].evidence.code == told
