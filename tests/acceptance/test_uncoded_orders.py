"""Orders without a code that is read: said, where they may ask for what policies speak to, and else passed over."""

from __future__ import annotations

from typing import Any

import pytest
from support.service import Service
from support.stories import story

Json = dict[str, Any]
CPT = "http://www.ama-assn.org/go/cpt"
NOT_CHECKED = "1 order could not be read and was not checked"


def cervical() -> Json:
    return story("cervical-fusion").request


def marrow(request: Json) -> Json:
    orders = [e["resource"] for e in request["context"]["draftOrders"]["entry"]]
    return next(o for o in orders if o["code"]["coding"][0]["code"] == "20939")


def coded(code: Any) -> Json:
    request = cervical()
    marrow(request)["code"] = code
    return request


def not_checked(service: Service, request: Json) -> list[str]:
    return [c["detail"] for c in service.cards(request) if "not checked" in c["summary"]]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ({"coding": [{"code": "20939", "display": "Marrow"}]}, "names a code, but no code system that is known here"),
        ({"text": "CPT 20939 marrow for graft"}, "names a code, but no code system that is known here"),
        ({"text": "20939"}, "names a code, but no code system that is known here"),
        (
            {"coding": [{"system": "urn:local", "code": "M1"}], "text": "20939 Marrow"},
            "names a code, but no code system",
        ),
        ({"coding": [{"system": "urn:local", "code": "20939"}]}, "it may be 20939"),
        ({"coding": [{"system": CPT, "code": "20939 - marrow"}]}, "has a text in place of a CPT or HCPCS code"),
        ({"coding": [{"system": "urn:local", "code": "M1", "display": "Bone marrow aspiration"}]}, "by its words"),
        ({"text": "Anterior cervical fusion"}, "by its words"),
        ("20939", "has a code that could not be read"),
        ({"coding": [{"system": CPT, "code": {"value": "20939"}}]}, "has a code that could not be read"),
    ],
)
def test_an_order_that_seems_to_have_a_known_code_was_not_checked(service: Service, code: Any, why: str) -> None:
    (detail,) = not_checked(service, coded(code))
    assert why in detail.replace("&#44;", ",")


@pytest.mark.parametrize(
    "code",
    [{"coding": [{"system": CPT}]}, {"concept": {"coding": [{"system": CPT, "code": "20939"}]}}],
    ids=["system alone", "as in R5"],
)
def test_an_order_that_says_nothing_that_is_read_was_not_checked(service: Service, code: Json) -> None:
    (detail,) = not_checked(service, coded(code))
    assert "says neither by a code nor in words what is ordered" in detail


@pytest.mark.parametrize("code", [None, {}, {"coding": []}, {"coding": [{}], "text": " "}, {"text": ""}])
def test_an_order_form_that_is_still_empty_is_no_order(service: Service, code: Json | None) -> None:
    request = cervical()
    form = marrow(request)
    for name in ("code", "note", "orderDetail"):
        form.pop(name, None)
    if code is not None:
        form["code"] = code
    assert not_checked(service, request) == []


@pytest.mark.parametrize(
    "code",
    [
        {"coding": [{"system": CPT, "code": "20939"}, {"code": "20939"}], "text": "20939 Marrow"},
        {"coding": [{"system": "urn:local", "code": "M-20939"}]},
        {"coding": [{"system": "http://loinc.org", "code": "20939-1"}]},
        {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "140"}]},
        {"coding": [{"code": "80048"}], "text": "80048 Metabolic panel"},
        {"text": "Physical therapy"},
    ],
    ids=["a code that is read", "a local code", "LOINC", "a vaccine", "a code that no policy knows", "words"],
)
def test_no_card_for_an_order_of_another_kind(service: Service, code: Json) -> None:
    assert not_checked(service, coded(code)) == []


def test_orders_without_any_code_system_get_one_card(service: Service) -> None:
    request = cervical()
    for entry in request["context"]["draftOrders"]["entry"]:
        for coding in entry["resource"]["code"]["coding"]:
            coding.pop("system")
    (card,) = service.cards(request)
    assert card["summary"] == "6 orders could not be read and were not checked"


def test_an_order_not_read_leaves_open_what_it_might_be_the_companion_of(service: Service) -> None:
    """The fusion itself has no code system: its add-on is not said to lack it."""
    request = cervical()
    primary = next(
        e["resource"]
        for e in request["context"]["draftOrders"]["entry"]
        if e["resource"]["code"]["coding"][0]["code"] == "22551"
    )
    primary["code"]["coding"][0].pop("system")
    told = [c["summary"] + c["detail"] for c in service.cards(request)]
    assert any(NOT_CHECKED in t for t in told)
    assert not any("primary" in t.lower() and "?" in t for t in told)


@pytest.mark.parametrize(("status", "cards"), [("draft", 1), ("completed", 0)])
def test_a_supply_request_is_not_read_and_that_is_said(service: Service, status: str, cards: int) -> None:
    item = {"text": "INFUSE bone graft kit"}
    order = {"resourceType": "SupplyRequest", "id": "kit", "status": status, "itemCodeableConcept": item,
             "quantity": {"value": 1}}  # fmt: skip
    request = cervical()
    request["context"]["draftOrders"]["entry"].append({"resource": order})
    found = not_checked(service, request)
    assert len(found) == cards
    assert all("SupplyRequest&#47;kit: is a SupplyRequest" in detail for detail in found)
    request["context"]["draftOrders"]["entry"] = [{"resource": order}]
    assert [c["summary"] for c in service.cards(request)] == [NOT_CHECKED] * cards
