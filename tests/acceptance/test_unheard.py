"""Orders and coverages of other dialects: read, or said on one card; ordinary requests stay silent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.charts import ICD, case_of, condition, coverage, order, request
from support.service import Service
from support.unheard import CODED, OLDER, ORDINARY, bundle, told

from cds_service.facts.orders import ORDER_TYPES, SUPPORT_TYPES

Json = dict[str, Any]
NECK = {"conditions": bundle(condition("M50.122"))}
BLUE_BUTTON = "https://bluebutton.cms.gov/resources/codesystem/hcpcs"


def unseen(cards: list[Json]) -> str:
    """What the one card of what was not looked at says; empty without it."""
    found = [told(c) for c in cards if "**Not checked**" in c.get("detail", "")]
    assert len(found) <= 1
    return "".join(found)


def outline(cards: list[Json]) -> list[tuple[str, str]]:
    return [(c["indicator"], c["summary"]) for c in cards]


def covered(answer: Json) -> Iterator[tuple[str, str]]:
    for action in answer.get("systemActions", ()):
        for extension in action["resource"].get("extension", ()):
            for part in extension["extension"]:
                if part["url"] == "covered":
                    yield action["resource"]["id"], part["valueCode"]


# --- code systems and spellings -----------------------------------------------------------------------


@pytest.mark.parametrize("system", [BLUE_BUTTON, "http://www.nlm.nih.gov/research/umls/hcpcs", "C4"])
def test_an_order_under_another_name_of_the_code_system_is_judged_alike(service: Service, system: str) -> None:
    plain = case_of("22551", "20939", prefetch=NECK)
    other = case_of("22551", "20939", prefetch=NECK)
    for entry in other["context"]["draftOrders"]["entry"]:
        entry["resource"]["code"]["coding"][0]["system"] = system
    assert any("(20939) is not supported" in s for _, s in outline(service.cards(plain)))
    assert outline(service.cards(other)) == outline(service.cards(plain))
    crd = "order-sign-crd"
    assert dict(covered(service.answer(other, crd))) == dict(covered(service.answer(plain, crd)))
    assert dict(covered(service.answer(other, crd)))["sr-20939"] == "not-covered"


@pytest.mark.parametrize("system", ["ICD10", "I10", "ICD-10", "urn:oid:2.16.840.1.113883.6.3", "I10C"])
def test_a_diagnosis_under_another_name_of_the_code_system_counts_alike(service: Service, system: str) -> None:
    def asked(named: str) -> list[Json]:
        chart = {"conditions": bundle(condition("M43.16", system=named))}
        return service.cards(case_of("22612", "20930", prefetch=chart))

    assert [c["detail"] for c in asked(system)] == [c["detail"] for c in asked(ICD)]
    assert [c["detail"] for c in asked("ICD-9-CM")] != [c["detail"] for c in asked(ICD)]


@pytest.mark.parametrize("written", ["20939,59", "20939/59", "20939^59", "20939--59", "20939_59", "20939 (59)"])
def test_a_modifier_behind_any_mark_is_read(service: Service, written: str) -> None:
    body = case_of("22551", "20939", prefetch=NECK)
    body["context"]["draftOrders"]["entry"][1]["resource"]["code"]["coding"][0]["code"] = written
    assert any("(20939) is not supported" in s for _, s in outline(service.cards(body)))


# --- resources that are no orders here ------------------------------------------------------------------


@pytest.mark.parametrize("kind", OLDER)
def test_an_order_of_another_type_is_said(service: Service, kind: str) -> None:
    older = {**order("20939"), "resourceType": kind}
    told = "resource of another type" if kind == "Zzz" else kind  # any other name may be a text that somebody wrote
    assert f"{kind}/sr-20939: is a {told}, which is not read" in unseen(service.cards(request(order("22551"), older)))
    settled = request(order("22551"), older | {"status": "revoked"})
    assert unseen(service.cards(settled)) == ""


def test_no_type_is_an_order_and_none() -> None:
    assert not ORDER_TYPES & SUPPORT_TYPES


def test_orders_of_one_kind_share_a_line(service: Service) -> None:
    older = [{**order("20939", f"o{n}"), "resourceType": "ProcedureRequest"} for n in range(12)]
    said = unseen(service.cards(request(order("22551"), *older)))
    assert said.startswith("12 orders could not be read and were not checked")
    assert said.count("which is not read") == 1
    assert "and 2 more: is a ProcedureRequest" in said


def test_an_unread_order_is_said_to_a_payer_as_well(service: Service) -> None:
    older = {**order("20939", "older"), "resourceType": "ProcedureRequest"}
    unknown = order("20939", "alike") | {"code": {"coding": [{"system": "urn:local", "code": "20939"}]}}
    answer = service.answer(request(order("22551"), older, unknown, prefetch=NECK), "order-sign-crd")
    assert any("ProcedureRequest/older" in told(card) for card in answer["cards"])
    assert dict(covered(answer))["alike"] in ("indeterminate", "conditional")  # by the version of the guide
    assert "in no code that is read here" in str(answer["systemActions"])


# --- payers ---------------------------------------------------------------------------------------------


def test_a_payer_that_nobody_knows_is_said_once(service: Service) -> None:
    several = bundle(*(coverage({"display": "Lakeside *Mutual* PPO"}, f"ins-{n}") for n in range(3)))
    cards = service.cards(case_of("22551", "20939", prefetch=NECK | {"coverage": several}))
    assert [s for _, s in outline(cards)].count("No policy of Lakeside Mutual PPO is known here") == 1
    assert unseen(cards).count("No policy of Lakeside *Mutual* PPO is known here") == 1
    assert "*Mutual*" not in "".join(c["detail"] for c in cards)


def test_orders_and_the_payer_share_the_card(service: Service) -> None:
    body = request(
        order("22551"), {**order("20939"), "resourceType": "ProcedureRequest"},
        prefetch=NECK | {"coverage": bundle(coverage({"display": "Lakeside"}))},
    )  # fmt: skip
    said = unseen(service.cards(body)).splitlines()
    assert said[0] == "1 order could not be read and was not checked; no policy of Lakeside is known here"


@pytest.mark.parametrize("payor", [{"reference": "Patient/zq-7781"}, {"identifier": {"value": "aetna-not"}}])
def test_whoever_pays_for_oneself_has_no_policies(service: Service, payor: Json) -> None:
    said = unseen(service.cards(case_of("22551", prefetch=NECK | {"coverage": bundle(coverage(payor))})))
    assert bool(said) is ("identifier" in payor)


# --- silence ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covers", [None, "Aetna", "Lakeside Mutual"])
@pytest.mark.parametrize(("kind", "concept"), ORDINARY, ids=[str(n) for n in range(len(ORDINARY))])
def test_an_ordinary_order_stays_silent(service: Service, kind: str, concept: Json, covers: str | None) -> None:
    made = {**order("1"), "resourceType": kind, CODED[kind]: concept}
    if kind != "ServiceRequest" or not concept:
        del made["code"]
    if kind == "ServiceRequest" and concept:
        made["code"] = concept
    prefetch = {"coverage": bundle(*([coverage({"display": covers})] if covers else []))}
    assert service.cards(request(made, prefetch=prefetch)) == []
