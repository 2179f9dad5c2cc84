"""What is offered for a flagged order, and when it may be removed or replaced: one small policy for each edge."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date
from typing import Any

import pytest
from support.small import Decided, Json, book, case, cover, decided, item, order, policy, rule

from cds_service.determination.decision import Flagged
from cds_service.determination.options import replacement
from cds_service.policy.case import Authorization, Code, Order

CRITERIA: Json = {
    "marrow": {"text": "Marrow.", "companion": {"value_set": "marrow"}},
    "marrow-anywhere": {"text": "Marrow.", "companion": {"value_set": "marrow", "scope": "basket"}},
    "local": {"text": "Local.", "companion": {"value_set": "local"}},
    "bone": {"text": "Bone.", "companion": {"value_set": "bone"}},
    "bone-supported": {"text": "Bone supported.", "companion": {"value_set": "bone", "outcome": "supported"}},
    "local-supported": {"text": "Local supported.", "companion": {"value_set": "local", "outcome": "supported"}},
    "neck": {"text": "Neck.", "operation": {"region": ["cervical"]}},
    "neck-fusion": {"text": "Neck fusion.", "companion": {"value_set": "neck"}},
    "two-levels": {"text": "Two levels.", "interspaces": {"at_least": 2}},
    "ill": {"text": "Ill.", "condition": {"value_set": "illness"}},
}
LOCAL = {"order": "local", "code": "20936", "label": "local bone"}
DONOR = {"order": "bone", "code": "20930", "label": "donor bone"}
YES = item("local", otherwise="supported")
NO = item("marrow", otherwise="not-supported", alternatives=[LOCAL])


def graft_policy(own: str = "a/one", kind: str = "coverage", payer: str = "acme", **orders: Json) -> Json:
    return policy(own, kind, payers=(payer,), criteria=CRITERIA, orders=orders)


def groups(found: Decided) -> list[Flagged]:
    return list(found.decision.flagged)


def offers(*policies: Json, orders: Any = ("22551", "20939"), **facts: Any) -> tuple[list[str], list[str], bool]:
    """Codes that are offered and ordered for the one flagged order, and whether it may be removed."""
    (group,) = groups(decided(book(*policies), case(*orders, **facts)))
    return [o.code.code for o in group.offered], [o.code.code for o in group.ordered], group.removable


# --- which options are offered ----------------------------------------------------------------------


def test_an_option_that_the_policy_supports_is_offered() -> None:
    assert offers(graft_policy(marrow=NO, local=YES)) == (["20936"], [], True)


@pytest.mark.parametrize("outcome", ["not-supported", "needs-information", "not-addressed"])
def test_an_option_that_it_does_not_support_is_not(outcome: str) -> None:
    assert offers(graft_policy(marrow=NO, local=item("local", otherwise=outcome))) == ([], [], True)


def test_options_keep_the_order_of_the_policy() -> None:
    marrow = item("marrow", otherwise="not-supported", alternatives=[DONOR, LOCAL])
    both = graft_policy(marrow=marrow, local=YES, bone=item("bone", otherwise="supported"))
    assert offers(both)[0] == ["20930", "20936"]


@pytest.mark.parametrize(
    ("when", "offered"), [("neck", ["20936"]), ({"not": "neck"}, []), ("ill", []), ({"not": "ill"}, [])]
)
def test_an_option_with_a_condition_needs_it_met(when: Any, offered: list[str]) -> None:
    marrow = item("marrow", otherwise="not-supported", alternatives=[{**LOCAL, "when": when}])
    assert offers(graft_policy(marrow=marrow, local=YES))[0] == offered


@pytest.mark.parametrize(("outcome", "offered"), [("supported", ["20936"]), ("not-supported", [])])
def test_an_option_may_hang_on_what_an_active_order_gets(outcome: str, offered: list[str]) -> None:
    marrow = item("marrow", otherwise="not-supported", alternatives=[{**LOCAL, "when": "bone-supported"}])
    three = graft_policy(marrow=marrow, local=YES, bone=item("bone", otherwise=outcome))
    assert offers(three, orders=("22551", "20939", order("20930", draft=False)))[0] == offered


@pytest.mark.parametrize("other", ["not-supported", "needs-information", "supported"])
def test_another_policy_of_the_payer_may_object(other: str) -> None:
    second = graft_policy("a/two", local=item("local", otherwise=other))
    offered = offers(graft_policy(marrow=NO, local=YES), second)[0]
    assert offered == (["20936"] if other == "supported" else [])


@pytest.mark.parametrize(("advice", "offered"), [("against", []), ("none", []), ("option", ["20936"])])
def test_a_guideline_offers_what_it_supports_and_does_not_advise_against(advice: str, offered: list[str]) -> None:
    marrow = item("marrow", otherwise="not-supported", otherwise_recommendation="against", alternatives=[LOCAL])
    local = item("local", otherwise="supported", otherwise_recommendation=advice)
    assert offers(graft_policy("g/1", "guideline", marrow=marrow, local=local))[0] == offered


@pytest.mark.parametrize(("covers", "offered"), [("supported", ["20936"]), ("not-supported", [])])
def test_a_payer_may_object_to_what_a_guideline_offers(covers: str, offered: list[str]) -> None:
    marrow = item("marrow", otherwise="not-supported", otherwise_recommendation="against", alternatives=[LOCAL])
    guideline = graft_policy("g/1", "guideline", marrow=marrow, local=YES)
    assert offers(guideline, graft_policy(local=item("local", otherwise=covers)))[0] == offered


# --- options that are ordered already ---------------------------------------------------------------


def test_an_option_that_is_ordered_and_covered_is_shown_once() -> None:
    two = ("22551", "20939", order("20936", "l1"), order("20936", "l2"))
    assert offers(graft_policy(marrow=NO, local=YES), orders=two) == ([], ["20936"], True)


@pytest.mark.parametrize("outcome", ["not-addressed", "needs-information"])
def test_an_option_that_is_ordered_and_not_covered_is_not_shown(outcome: str) -> None:
    both = graft_policy(marrow=NO, local=item("local", otherwise=outcome))
    assert offers(both, orders=("22551", "20939", "20936")) == ([], [], True)


@pytest.mark.parametrize(("number", "active"), [("PA-1", False), ("PA-1", True), (None, True)])
def test_an_option_that_is_authorised_or_an_active_order_is_shown(number: str | None, active: bool) -> None:
    given = (Authorization(number, "ServiceRequest/20936"),) if number else ()
    local = order("20936", draft=not active, authorizations=given)
    outcome = "not-addressed" if number else "supported"
    both = graft_policy(marrow=NO, local=item("local", otherwise=outcome))
    assert offers(both, orders=("22551", "20939", local)) == ([], ["20936"], True)


def test_an_option_that_a_guideline_advises_against_is_not_shown_as_covered() -> None:
    marrow = item("marrow", otherwise="not-supported", otherwise_recommendation="against", alternatives=[LOCAL])
    local = item("local", otherwise="supported", otherwise_recommendation="none")
    found = decided(book(graft_policy("g/1", "guideline", marrow=marrow, local=local)), case("22551", "20939", "20936"))
    assert {g.orders[0].split("/")[1]: g.ordered for g in groups(found)} == {"20939": (), "20936": ()}


def test_an_option_in_another_operation_is_not_ordered_here() -> None:
    both = graft_policy(marrow=NO, local=YES)
    elsewhere = (
        order("22551", encounter="e1"),
        order("20939", encounter="e1"),
        order("22612", encounter="e2"),
        order("20936", encounter="e2"),
    )
    assert offers(both, orders=elsewhere)[:2] == (["20936"], [])
    maybe = ("22551", "22612", "20939", "20936")
    assert offers(both, orders=maybe)[:2] == ([], ["20936"])


# --- twins ------------------------------------------------------------------------------------------


def test_twins_are_one_group_and_orders_of_two_operations_are_two() -> None:
    rulebook = book(graft_policy(marrow=NO, local=YES))
    twins = decided(rulebook, case("22551", order("20939", "m1"), order("20939", "m2")))
    assert [list(g.orders) for g in groups(twins)] == [["ServiceRequest/m1", "ServiceRequest/m2"]]
    apart = decided(
        rulebook,
        case(
            order("22551", encounter="e1"),
            order("20939", "m1", encounter="e1"),
            order("22612", encounter="e2"),
            order("20939", "m2", encounter="e2"),
        ),
    )
    assert [list(g.orders) for g in groups(apart)] == [["ServiceRequest/m1"], ["ServiceRequest/m2"]]


def test_orders_that_belong_to_no_operation_are_twins_wherever_they_are() -> None:
    stimulator = graft_policy(stimulator=item("stimulator", otherwise="not-supported"))
    found = decided(book(stimulator), case(order("20974", "s1"), order("20974", "s2", encounter="e2")))
    assert [len(g.orders) for g in groups(found)] == [2]


def test_another_rule_makes_another_group() -> None:
    marrow = item("marrow", rule("r", "ill", "not-supported"), otherwise="not-supported")
    bone = item("bone", otherwise="not-supported")
    found = decided(book(graft_policy(marrow=marrow, bone=bone)), case("22551", "20939", "20930"))
    assert [g.orders[0].split("/")[1] for g in groups(found)] == ["20939", "20930"]


def test_an_order_that_is_not_flagged_makes_no_group() -> None:
    quiet = graft_policy(marrow=item("marrow", otherwise="supported"))
    assert groups(decided(book(quiet), case("22551", "20939"))) == []


# --- options judged on the case with the option in place --------------------------------------------


def test_an_option_is_judged_without_the_order_it_replaces() -> None:
    local = item("local", rule("beside", "marrow", "not-supported"), otherwise="supported")
    assert offers(graft_policy(marrow=NO, local=local))[0] == ["20936"]
    beside = item("local", rule("beside", "marrow", "supported"), otherwise="not-supported")
    assert offers(graft_policy(marrow=NO, local=beside))[0] == []


def test_an_option_for_twins_is_judged_without_both() -> None:
    local = item("local", rule("beside", "marrow", "not-supported"), otherwise="supported")
    twins = ("22551", order("20939", "m1"), order("20939", "m2"))
    assert offers(graft_policy(marrow=NO, local=local), orders=twins)[0] == ["20936"]


def test_an_option_stands_in_the_operation_of_the_order_it_replaces() -> None:
    local = item("local", rule("neck", "neck", "supported"), otherwise="not-supported")
    two = (
        order("22551", encounter="e1"),
        order("20939", encounter="e1"),
        order("22612", encounter="e2"),
    )
    assert offers(graft_policy(marrow=NO, local=local), orders=two)[0] == ["20936"]
    lumbar = item("local", rule("neck", "neck", "not-supported"), otherwise="supported")
    assert offers(graft_policy(marrow=NO, local=lumbar), orders=two)[0] == []


def test_an_option_that_shapes_the_operation_is_judged_in_the_operation_it_makes() -> None:
    back = item(
        "back", otherwise="not-supported", alternatives=[{"order": "neck", "code": "22551", "label": "neck fusion"}]
    )
    neck = item("neck", rule("neck", "neck", "supported"), otherwise="not-supported")
    assert offers(graft_policy(back=back, neck=neck), orders=("22612",))[0] == ["22551"]


def test_an_order_named_by_its_text_alone_is_judged_with_the_option_in_its_place() -> None:
    local = item("local", rule("beside", "marrow", "not-supported"), otherwise="supported")
    told = order("20930", texts=("with aspirate",))
    assert offers(graft_policy(marrow=NO, local=local), orders=("22551", told))[0] == ["20936"]


# --- removal ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beside", "removable"),
    [
        ((), True),
        (("22614",), False),
        (("22614", "22614"), False),
        (("22551", "20936"), True),
        (("20936",), False),
        (("63047",), True),
    ],
)
def test_an_order_that_another_is_added_to_stays(beside: tuple[str, ...], removable: bool) -> None:
    back = graft_policy(back=item("back", otherwise="not-supported"))
    orders = ("22612", *(order(c, f"b{n}") for n, c in enumerate(beside)))
    assert offers(back, orders=orders)[2] is removable


def test_twins_that_another_is_added_to_stay_both() -> None:
    back = graft_policy(back=item("back", otherwise="not-supported"))
    assert offers(back, orders=(order("22612", "f1"), order("22612", "f2"), "22614"))[2] is False


@pytest.mark.parametrize(
    ("bone", "removable"),
    [
        (item("bone", rule("r", "marrow", "supported"), otherwise="not-supported"), False),
        (item("bone", rule("r", "marrow", "supported"), otherwise="needs-information"), False),
        (item("bone", rule("r", "marrow", "needs-information"), otherwise="not-supported"), False),
        (item("bone", rule("r", "marrow", "not-addressed"), otherwise="not-supported"), False),
        (item("bone", rule("r", "marrow", "not-addressed"), otherwise="needs-information"), True),
        (item("bone", rule("r", "marrow", "supported"), otherwise="supported"), True),
        (item("bone", rule("r", "marrow", "needs-information"), otherwise="supported"), True),
    ],
)
def test_an_order_stays_whose_removal_makes_another_worse(bone: Json, removable: bool) -> None:
    both = graft_policy(marrow=item("marrow", otherwise="not-supported"), bone=bone)
    assert offers(both, orders=("22551", "20939", "20930"))[2] is removable


@pytest.mark.parametrize(
    ("parts", "removable"),
    [({}, False), ({"authorizations": (Authorization("PA-1", "ServiceRequest/20930"),)}, True)],
)
def test_an_authorised_order_cannot_become_worse_than_open(parts: Any, removable: bool) -> None:
    bone = item("bone", rule("r", "marrow", "needs-information"), otherwise="not-supported")
    both = graft_policy(marrow=item("marrow", otherwise="not-supported"), bone=bone)
    assert offers(both, orders=("22551", "20939", order("20930", **parts)))[2] is removable


def test_an_authorised_order_may_still_lose_its_support() -> None:
    bone = item("bone", rule("r", "marrow", "supported"), otherwise="not-supported")
    both = graft_policy(marrow=item("marrow", otherwise="not-supported"), bone=bone)
    authorised = order("20930", authorizations=(Authorization("PA-1", "ServiceRequest/20930"),))
    assert offers(both, orders=("22551", "20939", authorised))[2] is False


def test_one_of_several_orders_that_becomes_worse_is_enough() -> None:
    bone = item("bone", rule("r", "marrow", "supported"), otherwise="not-supported")
    local = item("local", rule("r", "marrow", "supported"), otherwise="supported")
    three = graft_policy(marrow=item("marrow", otherwise="not-supported"), bone=bone, local=local)
    assert offers(three, orders=("22551", "20939", "20930", "20936"))[2] is False


def test_one_of_several_policies_that_reads_the_order_is_enough() -> None:
    bone = item("bone", rule("r", "marrow", "supported"), otherwise="not-supported")
    both = graft_policy(marrow=item("marrow", otherwise="not-supported"), bone=bone)
    second = graft_policy("a/two", bone=item("bone", otherwise="supported"))
    assert offers(both, second, orders=("22551", "20939", "20930"))[2] is False


def test_what_an_order_is_supported_by_may_hang_on_the_order_removed() -> None:
    bone = item("bone", rule("r", {"all": ["neck-fusion", "local-supported"]}, "supported"), otherwise="not-supported")
    local = item("local", rule("r", "marrow", "supported"), otherwise="not-supported")
    three = graft_policy(marrow=item("marrow", otherwise="not-supported"), bone=bone, local=local)
    assert offers(three, orders=("22551", "20939", "20930", order("20936", draft=False)))[2] is False


@pytest.mark.parametrize("twins", [1, 2])
def test_an_order_whose_text_counts_levels_shapes_the_operation(twins: int) -> None:
    bone = item("bone", rule("r", "two-levels", "needs-information"), otherwise="not-supported")
    both = graft_policy(marrow=item("marrow", otherwise="not-supported"), bone=bone)
    told = order("20939", "m1", texts=("C4-C6",))
    orders = ("22551", "20930", told, *([order("20939", "m2")] if twins == 2 else []))
    assert offers(both, orders=orders)[2] is False


@pytest.mark.parametrize("code", ["22614", "20930"])
def test_orders_that_the_catalogue_does_not_have(code: str) -> None:
    strange = graft_policy(uncharted=item("uncharted", otherwise="not-supported", alternatives=[LOCAL]), local=YES)
    assert offers(strange, orders=("22612", "99999", code)) == (["20936"], [], True)
    back = graft_policy(back=item("back", otherwise="not-supported"))
    two_codes = order("22612", "f")
    two_codes = replace(two_codes, codes=(*two_codes.codes, Code("local", "F")))
    assert offers(back, orders=(two_codes, "99999", code))[2] is False
    assert offers(back, orders=(two_codes, "99999"))[2] is True


def test_an_order_that_is_flagged_already_holds_no_other() -> None:
    bone = item("bone", rule("r", "marrow", "not-supported"), otherwise="not-supported")
    both = graft_policy(marrow=item("marrow", otherwise="not-supported"), bone=bone)
    found = decided(book(both), case("22551", "20939", "20930"))
    assert [g.removable for g in groups(found)] == [True, True]


def test_removal_that_changes_the_operation_is_tried() -> None:
    bone = item("bone", rule("r", "neck", "supported"), otherwise="not-supported")
    both = graft_policy(neck=item("neck", otherwise="not-supported"), bone=bone, decompression=item("decompression"))
    assert offers(both, orders=("22551", "63047", "20930"))[2] is False
    lonely = order("20930", body_site_texts=("cervical",))
    assert offers(both, orders=(order("22551", encounter="e1"), lonely))[2] is False


def test_an_option_that_makes_another_order_worse_is_not_offered() -> None:
    bone = item("bone", rule("r", "local", "not-supported"), otherwise="supported")
    both = graft_policy(marrow=NO, local=YES, bone=bone)
    assert offers(both, orders=("22551", "20939", "20930")) == ([], [], True)
    kept = graft_policy(marrow=NO, local=YES, bone=item("bone", rule("r", {"any": ["local", "marrow"]}, "supported")))
    assert offers(kept, orders=("22551", "20939", "20930")) == ([], [], False)


def test_options_are_withheld_where_the_order_must_stay() -> None:
    bone = item("bone", rule("r", "marrow", "supported"), otherwise="not-supported")
    assert offers(graft_policy(marrow=NO, local=YES, bone=bone), orders=("22551", "20939", "20930")) == ([], [], False)


@pytest.mark.parametrize(("beta", "offered"), [("supported", ["20936"]), ("not-addressed", [])])
def test_payers_that_tie_must_agree_about_an_option(beta: str, offered: list[str]) -> None:
    marrow, local = item("marrow", otherwise="not-supported"), item("local", otherwise=beta)
    both = (graft_policy(marrow=NO, local=YES), graft_policy("b/one", payer="beta", marrow=marrow, local=local))
    assert offers(*both, coverages=(cover("acme"), cover("beta")))[0] == offered


# --- the order that an option would draft -----------------------------------------------------------


def test_a_replacement_keeps_place_and_reasons_and_nothing_of_the_product() -> None:
    original = order(
        "20939",
        units=2,
        modifiers=("59",),
        texts=("aspirate",),
        reason_codes=(Code("icd-10-cm", "M48.02"),),
        reasons_faulty=True,
        body_site_texts=("C4-C5",),
        encounter="e1",
        occurrence=date(2026, 6, 1),
        authorizations=(Authorization("PA-1", "ServiceRequest/20939"),),
        faulty=frozenset({"note"}),
    )
    assert replacement(original, Code("cpt", "20936")) == order(
        "20936",
        "20939-20936",
        reason_codes=(Code("icd-10-cm", "M48.02"),),
        reasons_faulty=True,
        body_site_texts=("C4-C5",),
        encounter="e1",
        occurrence=date(2026, 6, 1),
    )


def test_a_replacement_knows_every_part_of_an_order() -> None:
    parts = {f.name for f in fields(Order)}
    product = {"ref", "codes", "units", "modifiers", "texts", "authorizations", "faulty"}
    original = Order(**{name: f"some {name}" for name in parts})  # type: ignore[arg-type]
    made = replacement(original, Code("cpt", "20936"))
    assert {name for name in parts if getattr(made, name) == getattr(original, name)} == parts - product
