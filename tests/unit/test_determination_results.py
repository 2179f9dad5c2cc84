"""What an order gets from several policies, and when a flagged order may be removed; on the bundled policies."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from cds_service.content_files import load_content
from cds_service.determination.decision import OrderDecision
from cds_service.determination.worked import CaseReport, run_case
from cds_service.policy.case import Code, Order
from cds_service.policy.code_sets import CodeSet
from cds_service.policy.content import PolicyFolder
from cds_service.policy.model import SetPrefix, WorkedCase
from cds_service.policy.rulebook import Audience, Rulebook, compile_content
from cds_service.policy.spine import Levels, named_levels, named_regions


@cache
def rulebook() -> Rulebook:
    return compile_content(load_content())


def report(payer: str | None, orders: list[Any], **facts: Any) -> CaseReport:
    policy = "aetna/bone-graft-adjuncts" if payer else "aans-cns/bone-graft-adjuncts"
    folder: PolicyFolder = rulebook().folders[policy]
    return run_case(folder, WorkedCase(id="t", title="t", payer=payer, orders=orders, **facts), rulebook())


def result(done: CaseReport, code: str) -> OrderDecision:
    return next(r for r in done.decision.orders if r.order.codes[0].code == code)


def governing(found: OrderDecision) -> str | None:
    return found.governing.policy if found.governing else None


@pytest.mark.parametrize(("fusion", "offered"), [("22558", {"20930", "20936", "20931"}), ("22586", set())])
def test_a_graft_is_offered_only_beside_a_fusion_that_takes_a_graft_code(fusion: str, offered: set[str]) -> None:
    done = report("aetna", [fusion, "20939"])
    groups = done.decision.flagged
    assert {o.code.code for g in groups for o in g.offered} == offered


SEED = ["22551", "22552", "22845", "22853", "20930", "20939"]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [("44054006", "supported"), ("83561009", "needs-information")],  # diabetes; a code that no value set has
)
def test_a_diagnosis_that_a_value_set_knows_is_read_in_any_system(code: str, outcome: str) -> None:
    problems = [{"code": "E11.9"}, {"code": code, "system": "snomed"}]
    found = result(report("cigna", ["22612", "20974"], conditions=problems), "20974")
    assert found.outcome == outcome


@pytest.mark.parametrize(
    ("site", "kinds"), [("", ["coding"]), ("C4-C5", ["safety"]), ("L5-S1", [])], ids=["not said", "neck", "low back"]
)
def test_protein_that_may_be_for_the_neck_is_asked_about(site: str, kinds: list[str]) -> None:
    protein = {"code": "20930", "note": "rhBMP-2", "body_site": site}
    found = result(report(None, ["22551", "22558", protein]), "20930")
    assert [f.kind for f in found.findings] == kinds


def test_the_coverage_policy_governs_where_it_speaks() -> None:
    found = result(report("aetna", SEED), "20939")
    assert found.covered_by_policy
    assert governing(found) == "aetna/bone-graft-adjuncts"
    assert found.flag == "warning"


def test_the_guideline_governs_where_no_coverage_policy_speaks() -> None:
    found = result(report(None, SEED), "20939")
    assert not found.covered_by_policy
    assert governing(found) == "aans-cns/bone-graft-adjuncts"
    assert found.flag == "info"


def test_the_guideline_governs_where_coverage_does_not_address_the_order() -> None:
    found = result(report("medicare", SEED), "20939")
    assert [d.outcome for d in found.primary] == ["not-addressed"]
    assert not found.covered_by_policy
    assert governing(found) == "aans-cns/bone-graft-adjuncts"


@pytest.mark.parametrize(
    ("orders", "removable"), [(["22612"], True), (["22612", "22614"], True), (["22612", "20936"], False)]
)
def test_an_order_that_others_are_added_to_is_not_removed(orders: list[str], removable: bool) -> None:
    high = [{"code": "4548-4", "value": 9.1, "unit": "%"}]  # diabetes out of control: the fusion is flagged
    done = report("aetna", orders, conditions=["M48.061", "E11.65"], observations=high)
    assert result(done, "22612").outcome == "not-supported"
    groups = {done.decision.of(g.orders[0]).order.codes[0].code: g for g in done.decision.flagged}
    assert groups["22612"].removable is removable


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("C4-C6", Levels(4, 6)),
        ("T12-L1", Levels(19, 20)),
        ("C6-C4", None),
        ("C5-C5", None),
        ("C9-C12", None),
        ("C4-C12", None),
        ("C9-T1", None),
    ],
)
def test_only_levels_that_exist_and_go_down_are_levels(text: str, levels: Levels | None) -> None:
    assert named_levels([text]) == levels


@pytest.mark.parametrize(("code", "found"), [("99", [7]), ("991", [7]), ("9", []), ("98", [])])
def test_policies_are_found_by_the_whole_of_a_prefix(code: str, found: list[int]) -> None:
    members = CodeSet("s", "s", {}, {"cpt": (SetPrefix(system="cpt", prefix="99", label="any"),)})
    audience = Audience()
    audience.add(7, [members])
    order = Order("ServiceRequest/o", (Code("cpt", code),))
    assert list(audience.numbers(order, rulebook().vocabulary)) == found


@pytest.mark.parametrize(
    ("site", "regions"),
    [
        ("Neck", {"cervical"}),
        ("Lumbosacral spine", {"lumbar", "sacral"}),
        ("thoracolumbar junction", {"thoracic", "lumbar"}),
        ("low back", {"lumbar"}),
        ("Femoral neck", set()),
        ("Neck of femur", set()),
        ("spine", set()),
    ],
)
def test_regions_that_a_body_site_names(site: str, regions: set[str]) -> None:
    assert named_regions(Order("ServiceRequest/1", (), body_site_texts=(site,))) == regions
