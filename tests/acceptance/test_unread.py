"""What could not be read, and what belongs to somebody else: said, and never taken for an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.listener import Listener
from support.service import Service
from support.stories import SEED, story

Json = dict[str, Any]
CRD = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
BMP = {
    "resourceType": "MedicationRequest", "id": "bmp", "status": "draft", "intent": "order",
    "subject": {"reference": "Patient/p2"}, "authoredOn": "2026-11-20",
    "medicationReference": {"reference": "Medication/m1"},
}  # fmt: skip
INFUSE = {"resourceType": "Medication", "id": "m1", "code": {"text": "INFUSE bone graft"}}


def cervical() -> Json:
    return story("cervical-fusion").request


def add_order(request: Json, order: Json) -> Json:
    patient = request["context"]["patientId"].removeprefix("Patient/")
    entry = {"resource": order | {"subject": {"reference": f"Patient/{patient}"}}}
    request["context"]["draftOrders"]["entry"].append(entry)
    return request


def orders(request: Json) -> list[Json]:
    return [e["resource"] for e in request["context"]["draftOrders"]["entry"]]


def marrow(request: Json) -> Json:
    return next(o for o in orders(request) if o["code"]["coding"][0]["code"] == "20939")


def summaries(service: Service, request: Json) -> list[str]:
    return [card["summary"] for card in service.cards(request, f"{request['hook']}-advisor")]


# --- products behind references ---------------------------------------------------------------------


def read_over_fhir(request: Json, listener: Listener, *resources: Json) -> Json:
    listener.reset(*resources)
    return request | {"fhirServer": listener.base}


def test_a_medication_is_read_and_its_safety_notice_shown(service: Service, listener: Listener) -> None:
    request = read_over_fhir(add_order(cervical(), BMP), listener, INFUSE)
    assert any("rhBMP" in s for s in summaries(service, request))
    assert "/fhir/Medication/m1" in listener.paths


@pytest.mark.parametrize("place", ["draftOrders", "prefetch", "display"])
def test_a_medication_that_the_request_holds_is_not_asked_for(service: Service, listener: Listener, place: str) -> None:
    request = read_over_fhir(add_order(cervical(), BMP), listener)
    if place == "draftOrders":
        request["context"]["draftOrders"]["entry"].append({"resource": INFUSE})
    elif place == "prefetch":
        request["prefetch"]["medications"] = INFUSE
    else:
        orders(request)[-1]["medicationReference"] = {"display": "Infuse kit"}
    assert any("rhBMP" in s for s in summaries(service, request))
    assert "/fhir/Medication/m1" not in listener.paths


@pytest.mark.parametrize("server", [True, False])
def test_an_order_whose_medication_stays_unread_was_not_checked(
    service: Service, listener: Listener, server: bool
) -> None:
    request = add_order(cervical(), BMP)
    if server:
        request = read_over_fhir(request, listener)
    cards = service.cards(request)
    [card] = [c for c in cards if c["summary"] == "1 order could not be read and was not checked"]
    assert "MedicationRequest/bmp: Medication/m1 could not be read" in card["detail"].replace("&#47;", "/")


# --- coverage ---------------------------------------------------------------------------------------


def test_an_unreadable_coverage_is_said_beside_what_a_guideline_says(service: Service) -> None:
    request = cervical()
    request["prefetch"]["coverage"] = {"resourceType": "OperationOutcome", "issue": [{"severity": "error"}]}
    found = summaries(service, request)
    assert "The coverage could not be read: no policy of the payer was checked" in found
    assert len(found) > 1
    assert "The coverage could not be read: no policy of the payer was checked" not in summaries(service, cervical())


NOT_WHOLE: dict[str, Json] = {
    "counted, not sent": {"total": 2},
    "further pages": {"link": [{"relation": "next", "url": "https://ehr.example.org/fhir/Coverage?page=2"}]},
}


@pytest.mark.parametrize("lacks", NOT_WHOLE)
def test_a_list_of_coverages_that_is_not_whole_settles_nothing(service: Service, lacks: str) -> None:
    request = cervical()
    assert any("is not supported" in s for s in summaries(service, request))
    request["prefetch"]["coverage"] |= NOT_WHOLE[lacks]
    cover = request["prefetch"]["coverage"]["entry"][0]["resource"]
    del cover["order"]
    cards = service.cards(request)
    assert not any("is not supported" in c["summary"] for c in cards)
    [card] = [c for c in cards if c["summary"].startswith("More information is needed")]
    assert "- Which coverage pays first? The list of coverages is not whole:" in card["detail"]
    cover["order"] = 1
    assert any("is not supported" in s for s in summaries(service, request))


def test_further_coverages_are_read_where_they_can_be(service: Service, listener: Listener) -> None:
    request = cervical()
    cover = request["prefetch"]["coverage"]["entry"][0]["resource"]
    cover["order"] = 2
    first = {**cover, "id": "cov-first", "order": 1, "payor": [{"display": "Medicare"}]}
    further = [{"relation": "next", "url": f"{listener.base}/Coverage?_id=cov-first"}]
    request["prefetch"]["coverage"] |= {"total": 2, "link": further}
    assert not any(
        "Which coverage pays first" in c["detail"] for c in service.cards(read_over_fhir(request, listener, first))
    )
    assert "/fhir/Coverage?_id=cov-first" in listener.paths


# --- further pages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("readable", [True, False])
def test_further_pages_of_planned_orders_are_read_or_told_of(
    service: Service, listener: Listener, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    request = cervical()
    *first, last = sorted(
        request["context"].pop("draftOrders")["entry"], key=lambda e: e["resource"]["id"] == "p2-marrow"
    )
    page = {"resourceType": "Bundle", "type": "searchset", "total": len(first) + 1}
    link = [{"relation": "next", "url": f"{listener.base}/ServiceRequest?page=2"}]
    second = (200, page | {"entry": [last]}) if readable else (500, {"resourceType": "OperationOutcome", "issue": []})
    monkeypatch.setattr(listener, "answer", lambda _path: second)
    request |= {"hook": "patient-view", "fhirServer": listener.base}
    request["prefetch"] |= {"plannedOrders": page | {"entry": first, "link": link}, "activeOrders": None}
    cards = service.cards(request, "patient-view-advisor")
    assert any("further pages" in card["detail"] for card in cards) is not readable
    assert any(card["summary"].startswith("Bone marrow") for card in cards) is readable


# --- selections -------------------------------------------------------------------------------------


def select(selection: Callable[[Json], str]) -> Json:
    request = cervical() | {"hook": "order-select"}
    request["context"]["selections"] = [selection(marrow(request))]
    return request


@pytest.mark.parametrize("kind", ["advisor", "crd"])
@pytest.mark.parametrize("selection", ["ServiceRequest/nope", "servicerequest/p2-marrow", "urn:uuid:0", "Patient/p2"])
def test_a_selection_that_names_no_draft_order_is_refused(service: Service, kind: str, selection: str) -> None:
    response = service.call(select(lambda _: selection), f"order-select-{kind}")
    assert response.status_code == 400
    assert "context.selections[0]" in response.text


@pytest.mark.parametrize("spelt", ["ServiceRequest/{id}", "{id}", "https://ehr.example.org/fhir/ServiceRequest/{id}"])
def test_a_selection_may_be_spelt_in_several_ways(service: Service, spelt: str) -> None:
    request = select(lambda order: spelt.format(id=order["id"]))
    assert any(s.startswith("Bone marrow aspirate") for s in summaries(service, request))


# --- authorisations of others -----------------------------------------------------------------------


def authorised_elsewhere() -> Json:
    """The seed case, with the authorisations given under another coverage."""
    request = story(SEED).request
    for order in orders(request):
        for extension in order.get("extension", ()):
            for part in extension["extension"]:
                if part["url"] == "coverage":
                    part["valueReference"] = {"reference": "Coverage/medsec"}
    return request


def second_coverage(request: Json, **more: Any) -> Json:
    first = request["prefetch"]["coverage"]["entry"][0]["resource"]
    payor = [{"identifier": {"system": "http://example.org/payer-id", "value": "medicare"}}]
    other = first | {"id": "medsec", "order": 2, "payor": payor} | more
    first["order"] = 1
    request["prefetch"]["coverage"]["entry"].append({"resource": other})
    return request


@pytest.mark.parametrize("more", [{}, {"status": "cancelled"}, {"period": {"end": "2025-12-31"}}, None])
def test_an_authorisation_of_another_coverage_is_not_this_payers(service: Service, more: Json | None) -> None:
    request = authorised_elsewhere()
    if more is not None:
        request = second_coverage(request, **more)
    [card] = [c for c in service.cards(request) if c["summary"].startswith("Bone marrow")]
    assert "PA-1001" not in card["detail"]
    assert any(s.startswith("More information is needed") for s in summaries(service, request))


def granted(**more: Any) -> Json:
    return {
        "resourceType": "ClaimResponse", "id": "cr1", "status": "active", "use": "preauthorization",
        "type": {"coding": [{"code": "professional"}]}, "created": "2026-10-01",
        "outcome": "complete", "preAuthRef": "PA-9",
        "insurer": {"identifier": {"system": "http://example.org/payer-id", "value": "aetna"}}, **more,
    }  # fmt: skip


def claimed(response: Json) -> Json:
    request = cervical()
    patient = request["context"]["patientId"].removeprefix("Patient/")
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]["id"]
    response = response | {"patient": {"reference": f"Patient/{patient}"}}
    marrow(request)["insurance"] = [{"reference": f"Coverage/{coverage}"}, {"reference": "ClaimResponse/cr1"}]
    request["prefetch"]["authorizations"] = {"resourceType": "Bundle", "entry": [{"resource": response}]}
    return request


@pytest.mark.parametrize("granted_by", ["aetna", "aetna-medicare-advantage", "cigna"])
def test_an_authorisation_by_the_payor_stands_in_the_plan_that_the_coverage_states(
    service: Service, granted_by: str
) -> None:
    insurer = {"identifier": {"system": "http://example.org/payer-id", "value": granted_by}}
    request = claimed(granted(insurer=insurer))
    covering = request["prefetch"]["coverage"]["entry"][0]["resource"]
    covering["type"] = {"coding": [{"system": "https://nahdo.org/sopt", "code": "112"}]}
    told = " ".join(c["summary"] for c in service.cards(request) if "guideline" in c["summary"])
    assert ("20939" in told) is (granted_by == "cigna")  # what the plan says was not read: the guideline stands


def test_a_granted_authorisation_stands(service: Service) -> None:
    assert not any(s.startswith("Bone marrow") for s in summaries(service, claimed(granted())))


@pytest.mark.parametrize(
    "more",
    [
        {"disposition": "Denied: not medically necessary"},
        {"use": "predetermination"},
        {"outcome": "partial"},
        {"insurer": {"identifier": {"system": "http://example.org/payer-id", "value": "medicare"}}},
    ],
)
def test_a_claim_response_that_grants_nothing_hides_no_warning(service: Service, more: Json) -> None:
    assert any(s.startswith("Bone marrow") for s in summaries(service, claimed(granted(**more))))


def test_an_order_s_own_satisfied_annotation_stays_whichever_stands_first(service: Service) -> None:
    request = authorised_elsewhere()
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]["id"]
    mine = [
        {"url": "coverage", "valueReference": {"reference": f"Coverage/{coverage}"}},
        {"url": "covered", "valueCode": "covered"},
        {"url": "pa-needed", "valueCode": "satisfied"},
        {"url": "satisfied-pa-id", "valueString": "PA-MINE"},
    ]
    for order in orders(request):
        if "extension" in order:
            order["extension"].append({"url": CRD, "extension": mine})
    [card] = service.cards(request)
    assert "(PA-MINE)" in card["detail"].replace("&#45;", "-")


# --- answers ----------------------------------------------------------------------------------------


def test_an_answer_that_names_no_order_settles_nothing(service: Service) -> None:
    answered = {
        "resourceType": "QuestionnaireResponse", "id": "qr", "status": "completed", "authored": "2019-01-01",
        "questionnaire": f"{service.base}/Questionnaire/aetna/spinal-fusion/fusion.criteria-met|2026-01",
        "item": [
            {"linkId": link, "answer": [{"valueBoolean": True}]}
            for link in ("imaging", "symptoms", "conservative-care", "nicotine-free")
        ],
    }  # fmt: skip
    request = cervical()
    patient = request["context"]["patientId"].removeprefix("Patient/")
    before = summaries(service, request)
    answered["subject"] = {"reference": f"Patient/{patient}"}
    request["prefetch"]["questionnaireResponses"] = {"resourceType": "Bundle", "entry": [{"resource": answered}]}
    assert summaries(service, request) == before
