"""Charts kept as other EHRs keep them: insurers named in many ways, local codes, contained and faulty resources."""

from __future__ import annotations

from typing import Any

import pytest
from support.charts import (
    CPT,
    PATIENT,
    PAYER_ID,
    SIX,
    authorised,
    bundle,
    case_of,
    condition,
    coverage,
    identified,
    order,
    patient,
    request,
)
from support.service import Service
from support.stories import story

Json = dict[str, Any]
AETNA_IDENTIFIER = {"system": PAYER_ID, "value": "aetna"}


def marrow(service: Service, body: Json) -> Json | None:
    """The card on the marrow aspirate."""
    found = [c for c in service.cards(body) if "(20939)" in c["summary"] and "More information" not in c["summary"]]
    assert len(found) <= 1
    return found[0] if found else None


def judged_by(service: Service, covers: Json | None) -> str:
    """Who decides on the marrow aspirate: `aetna` (a warning) or `guideline` (for information)."""
    card = marrow(service, case_of(*SIX, prefetch={"coverage": covers}))
    assert card is not None
    label = card["source"]["label"]
    assert card["indicator"] == ("warning" if "Aetna" in label else "info")
    return "aetna" if "Aetna" in label else "guideline"


# --- who insures --------------------------------------------------------------------------------------


def organisation(**elements: Any) -> Json:
    return {"resourceType": "Organization", "id": "ins-co", **elements}


def _contained() -> Json:
    inner = organisation(name="whoever", identifier=[AETNA_IDENTIFIER])
    return bundle(coverage({"reference": "#ins-co"}, contained=[inner]))


def _by_full_url(*, urn: bool) -> Json:
    url = "urn:uuid:7b1f6d1a-96d4-4f4a-8f5e-0d6b7c1c0001" if urn else "https://other.example/r4/Organization/ins-co"
    made = bundle(coverage({"reference": url}), organisation(identifier=[AETNA_IDENTIFIER]))
    made["entry"][1]["fullUrl"] = url
    return made


def typed(code: str, system: str = "https://nahdo.org/sopt", **more: Any) -> Json:
    """The type of a coverage."""
    return {"coding": [{"system": system, "code": code}], **more}


def classed(name: str, kind: str = "plan") -> Json:
    """One class of a coverage."""
    system = "http://terminology.hl7.org/CodeSystem/coverage-class"
    return {"type": {"coding": [{"system": system, "code": kind}]}, "value": "H0001-001", "name": name}


def aetna(**elements: Any) -> Json:
    return bundle(coverage({"display": "Aetna"}) | elements)


AETNA_COVERAGES: dict[str, Json] = {
    "identifier": bundle(coverage(identified("aetna"))),
    "display only": bundle(coverage({"display": "Aetna"})),
    "display, other case and points": bundle(coverage({"display": "AETNA, INC"})),
    "contained organisation": _contained(),
    "organisation by absolute URL": _by_full_url(urn=False),
    "organisation by urn:uuid": _by_full_url(urn=True),
    "organisation's name": bundle(coverage({"reference": "Organization/ins-co"}), organisation(name="Aetna Health")),
    "one of several identifiers": bundle(
        coverage({"reference": "Organization/ins-co"}),
        organisation(identifier=[{"system": "urn:naic", "value": "60054"}, AETNA_IDENTIFIER]),
    ),
    "a bare resource, not a Bundle": coverage(identified("aetna")),
    "first of two": bundle(
        coverage(identified("nobody-here"), "ins-2", order=2), coverage(identified("aetna"), "ins-1", order=1)
    ),
    "one cancelled beside it": bundle(
        coverage(identified("cigna"), "ins-2", status="cancelled"), coverage(identified("aetna"))
    ),
    "one that has ended beside it": bundle(
        coverage(identified("cigna"), "ins-2", period={"end": "2020-12-31"}), coverage(identified("aetna"))
    ),
    "no status": bundle({k: v for k, v in coverage(identified("aetna")).items() if k != "status"}),
    "payor an object": bundle(coverage(identified("aetna")) | {"payor": identified("aetna")}),
    "a commercial PPO": aetna(type=typed("512", text="PPO")),
    "the type of US Core's example": aetna(type=typed("3712")),
    "a managed plan of any line": aetna(type=typed("PPO", "http://terminology.hl7.org/CodeSystem/v3-ActCode")),
    "classes of its own": aetna(**{"class": [classed("Open Choice"), classed("Acme Tools", "group")]}),
    "its pharmacy benefit with Medicare": aetna(**{"class": [classed("Medicare", "rxgroup")]}),
}
OTHER_COVERAGES: dict[str, Json | None] = {
    "nobody known": bundle(coverage(identified("nobody-here"))),
    "another line of business": bundle(coverage({"display": "Aetna Better Health of Nowhere"})),
    "part of a name": bundle(coverage({"display": "Aetn"})),
    "the identifier under another system": bundle(coverage({"identifier": {"system": "urn:x", "value": "aetna"}})),
    "cancelled": bundle(coverage(identified("aetna"), status="cancelled")),
    "ended": bundle(coverage(identified("aetna"), period={"end": "2025-12-31"})),
    "of somebody else": bundle(coverage(identified("aetna"), beneficiary={"reference": "Patient/another"})),
    "empty": bundle(),
    "null": None,
    "Medicaid": aetna(type=typed("21")),
    "Medicare, in any way": aetna(type=typed("1")),
    "Original Medicare": aetna(type=typed("121")),
    "work": aetna(type=typed("WCBPOL", "http://terminology.hl7.org/CodeSystem/v3-ActCode")),
    "a plan of somebody else": aetna(**{"class": [classed("Humana Gold Plus")]}),
    "type and class disagree": aetna(type=typed("112"), **{"class": [classed("Aetna Commercial")]}),
    "a type that cannot be read": aetna(type="112"),
    "a class that cannot be read": aetna(**{"class": [classed("x") | {"value": 7}]}),
}


@pytest.mark.parametrize("name", AETNA_COVERAGES)
def test_aetna_is_recognised(service: Service, name: str) -> None:
    assert judged_by(service, AETNA_COVERAGES[name]) == "aetna"


@pytest.mark.parametrize("name", OTHER_COVERAGES)
def test_nobody_is_taken_for_aetna(service: Service, name: str) -> None:
    assert judged_by(service, OTHER_COVERAGES[name]) == "guideline"


def test_a_payer_of_its_own_line_of_business_is_not_its_parent(service: Service) -> None:
    card = marrow(service, case_of(*SIX, prefetch={"coverage": bundle(coverage({"display": "Aetna Medicare"}))}))
    assert card is None or "Aetna CPB 0411" not in card["source"]["label"]


STIMULATOR = order("E0748")
# Medicare asks for more than one level; Aetna's bulletin supports a slip of grade II, and asks for the grade.
ONE_LEVEL: Json = {"conditions": bundle(condition("M43.16"))}
ADVANTAGE = {
    "type": {"type": typed("112")},
    "type, identifier of the payor": {"type": typed("11"), "payor": [identified("aetna")]},
    "type in words": {"type": {"text": "Managed Medicare"}},
    "type of the EHR's own, shown in words": {
        "type": {"coding": [{"system": "urn:ehr:type", "code": "4", "display": "Medicare Advantage"}]}
    },
    "plan": {"class": [classed("Aetna Medicare Advantage PPO")]},
    "group": {"class": [classed("AETNA MEDICARE", "group")]},
    "Medicare by type, Advantage by plan": {"type": typed("1"), "class": [classed("Aetna Medicare")]},
}


@pytest.mark.parametrize("name", ADVANTAGE)
def test_a_member_of_medicare_advantage_is_judged_by_medicare_whoever_the_payor(service: Service, name: str) -> None:
    orders = (order("22612"), STIMULATOR)
    commercial = service.cards(request(*orders, prefetch=ONE_LEVEL | {"coverage": aetna()}))
    assert any(c["summary"].startswith("More information") and "(E0748)" in c["summary"] for c in commercial)
    cards = service.cards(request(*orders, prefetch=ONE_LEVEL | {"coverage": aetna(**ADVANTAGE[name])}))
    [stimulator] = [c for c in cards if "(E0748)" in c["summary"] and "More information" not in c["summary"]]
    assert stimulator["indicator"] == "warning"
    assert "NCD 150.2" in stimulator["source"]["label"]


@pytest.mark.parametrize(
    ("elements", "why"),
    [
        ({"type": typed("21")}, "its type and class lead to no plan of Aetna that is known here"),
        ({"type": "112"}, "its type or class could not be read"),
    ],
)
def test_a_plan_that_is_not_clear_is_said_and_nobody_s_policy_is_guessed(
    service: Service, elements: Json, why: str
) -> None:
    summary = "The plan of the coverage is not clear: no policy of its payer was checked"
    [card] = [
        c for c in service.cards(case_of(*SIX, prefetch={"coverage": aetna(**elements)})) if c["summary"] == summary
    ]
    assert card["indicator"] == "info"
    assert f"- The policies of the payer of Coverage/ins-1: {why}" in card["detail"].replace("&#47;", "/")
    for clear in (aetna(type=typed("512")), bundle(coverage({"display": "Nobody"}, type=typed("21")))):
        assert summary not in [c["summary"] for c in service.cards(case_of(*SIX, prefetch={"coverage": clear}))]


def test_a_plan_that_is_not_clear_is_said_of_coverages_that_decide_alone(service: Service) -> None:
    first = coverage({"display": "Aetna"}, "ins-1", order=1)
    second = coverage({"display": "Cigna"}, "ins-2", order=2, type=typed("21"))
    assert judged_by(service, bundle(first, second)) == "aetna"
    cards = service.cards(case_of(*SIX, prefetch={"coverage": bundle(first, second)}))
    assert not any("is not clear" in c["summary"] for c in cards)


# --- how orders are coded ---------------------------------------------------------------------------------


def test_local_codes_beside_the_standard_one_do_no_harm(service: Service) -> None:
    coded = order("20939")
    coded["code"]["coding"] = [{"system": "urn:ehr:proc", "code": "BMA-2"}, {}, {"code": "x"}, *coded["code"]["coding"]]
    assert marrow(service, request(order("22551"), coded)) is not None


def test_local_codes_alone_are_not_guessed_at(service: Service) -> None:
    coded = order("20939")
    coded["code"] = {"coding": [{"system": "urn:ehr:proc", "code": "20939"}], "text": "Bone marrow aspirate for graft"}
    assert marrow(service, request(order("22551"), coded)) is None


def test_billing_options_count(service: Service) -> None:
    billed = order("20939")
    url = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-billing-options"
    option = {"url": url, "valueCodeableConcept": {"coding": [{"system": CPT, "code": "20939"}]}}
    billed["code"] = {"extension": [option], "coding": [{"system": "urn:ehr:proc", "code": "BMA-2"}]}
    assert marrow(service, request(order("22551"), billed)) is not None


@pytest.mark.parametrize("intent", ["order", "plan", "proposal", "original-order"])
def test_any_intent_is_judged(service: Service, intent: str) -> None:
    assert marrow(service, request(order("22551"), order("20939", intent=intent))) is not None


def test_prefetch_under_keys_of_the_clients_own(service: Service) -> None:
    body = case_of(*SIX)
    body["prefetch"] = {f"item{n}": v for n, v in enumerate(body["prefetch"].values()) if v.get("entry") or "id" in v}
    card = marrow(service, body)
    assert card is not None
    assert card["indicator"] == "warning"


# --- faults cost only what depends on them -------------------------------------------------------------------

FAULTY_DRAFTS: dict[str, Json] = {
    "no status": {"status": None},
    "intent missing": {"intent": None},
    "category an object": {"category": {"coding": [{"code": "surgical"}]}},
    "reasonCode an object": {"reasonCode": {"text": "x"}},
    "bodySite an object": {"bodySite": {"text": "C4-C6"}},
    "authoredOn not a date": {"authoredOn": "yesterday"},
    "subject missing": {"subject": None},
    "unknown element": {"vendorThing": {"a": 1}},
    "empty lists": {"note": [], "reasonCode": []},
    "note without text": {"note": [{}]},
    "quantity text": {"quantityQuantity": "two"},
    "extension not a list": {"extension": {"url": "x"}},
    "insurance to nowhere": {"insurance": [{"reference": "Coverage/never-sent"}]},
}


@pytest.mark.parametrize("name", FAULTY_DRAFTS)
def test_a_faulty_draft_is_still_judged_by_its_code(service: Service, name: str) -> None:
    faulty = order("20939") | FAULTY_DRAFTS[name]
    faulty = {k: v for k, v in faulty.items() if v is not None}
    card = marrow(service, request(*(order(c) for c in SIX if c != "20939"), faulty))
    assert card is not None
    assert card["indicator"] == "warning"


def test_a_draft_with_a_modifier_nobody_understands_is_said_not_to_be_checked(service: Service) -> None:
    modified = order("20939", modifierExtension=[{"url": "urn:vendor:not-really", "valueBoolean": True}])
    cards = service.cards(request(order("22551"), modified))
    assert not any("(20939)" in c["summary"] for c in cards)
    [said] = [c for c in cards if "could not be read" in c["summary"]]
    assert "sr-20939" in said["detail"]


@pytest.mark.parametrize(
    "sick",
    [
        {"resourceType": "Condition"},
        {"resourceType": "Condition", "id": "c", "code": 7},
        condition("M50.321", modifierExtension=[{"url": "urn:x", "valueBoolean": True}]),
        condition("M50.321", subject={"reference": "Patient/another"}),
        condition("", "c"),
        {"resourceType": "Teapot", "id": "c"},
        7,
        None,
    ],
)
def test_a_faulty_condition_costs_only_itself(service: Service, sick: Any) -> None:
    chart = bundle(condition("M48.02", "dx-good"))
    chart["entry"].append({"resource": sick})
    card = marrow(service, case_of(*SIX, prefetch={"conditions": chart}))
    assert card is not None
    assert card["indicator"] == "warning"


# --- what is covered already ------------------------------------------------------------------------------------


def _claim_response(**elements: Any) -> Json:
    return {
        "resourceType": "ClaimResponse",
        "id": "pa-7",
        "status": "active",
        "type": {"coding": [{"code": "institutional"}]},
        "use": "preauthorization",
        "patient": {"reference": f"Patient/{PATIENT}"},
        "created": "2026-10-01",
        "insurer": {"display": "Aetna"},
        "outcome": "complete",
        "preAuthRef": "AUTH-881",
        **elements,
    }


def _with_claim(response: Json) -> Json:
    orders = [order(c) for c in SIX if c != "20939"]
    orders.append(order("20939", insurance=[{"reference": "Coverage/ins-1"}, {"reference": "ClaimResponse/pa-7"}]))
    return request(*orders, prefetch={"authorizations": bundle(response)})


def test_an_authorised_marrow_aspirate_is_left_alone(service: Service) -> None:
    rest = [order(c) for c in SIX if c != "20939"]
    assert marrow(service, request(authorised(order("20939")), *rest)) is None
    assert marrow(service, _with_claim(_claim_response())) is None


@pytest.mark.parametrize(
    "response",
    [
        _claim_response(status="cancelled"),
        _claim_response(outcome="error"),
        _claim_response(preAuthPeriod={"start": "2026-01-01", "end": "2026-06-30"}),
        {k: v for k, v in _claim_response().items() if k != "preAuthRef"},
        _claim_response(patient={"reference": "Patient/another"}),
        _claim_response(id="pa-8"),
    ],
    ids=["cancelled", "error", "expired", "no number", "of somebody else", "another response"],
)
def test_a_claim_response_that_grants_nothing_changes_nothing(service: Service, response: Json) -> None:
    card = marrow(service, _with_claim(response))
    assert card is not None
    assert card["indicator"] == "warning"


@pytest.mark.parametrize("owner", [PATIENT, "another"])
def test_a_claim_response_among_the_draft_orders_grants_its_own_patient_only(service: Service, owner: str) -> None:
    response = _claim_response(patient={"reference": f"Patient/{owner}"})
    body = _with_claim(response)
    body["prefetch"]["authorizations"] = bundle()
    body["context"]["draftOrders"]["entry"].append({"resource": response})
    assert (marrow(service, body) is None) is (owner == PATIENT)


@pytest.mark.parametrize("kind", ["Device", "Teapot", "DeviceRequest"])
def test_a_broken_resource_that_an_order_takes_its_code_from_costs_that_order_only(service: Service, kind: str) -> None:
    device = {"resourceType": kind, "id": "d", "status": "revoked", "type": [5], "codeCodeableConcept": [5]}
    pointing = {k: v for k, v in order("20939", "dr").items() if k != "code"}
    pointing |= {"resourceType": "DeviceRequest", "codeReference": {"reference": f"{kind}/d"}}
    body = case_of(*SIX)
    body["context"]["draftOrders"]["entry"] += [{"resource": pointing}, {"resource": device}]
    cards = service.cards(body)
    assert [c["indicator"] for c in cards if "(20939)" in c["summary"]] == ["warning"]
    said = [c for c in cards if "could not be read" in c["summary"]]
    assert ["DeviceRequest&#47;dr: takes its code from" in c["detail"] for c in said] == [True]


def test_an_expired_authorisation_on_the_order_is_none(service: Service) -> None:
    rest = [order(c) for c in SIX if c != "20939"]
    card = marrow(service, request(authorised(order("20939"), expiry_date="2026-06-30"), *rest))
    assert card is not None


def test_an_active_order_of_the_chart_is_context_and_never_deleted(service: Service) -> None:
    signed = order("20930", "signed-1") | {"status": "active"}
    body = request(
        *(order(c) for c in SIX if c != "20930"),
        prefetch={"activeOrders": bundle(signed), "patient": patient(birthDate="1975")},
    )
    card = marrow(service, body)
    assert card is not None
    actions = [a for s in card["suggestions"] for a in s["actions"]]
    assert "ServiceRequest/signed-1" not in {a.get("resourceId") for a in actions}
    created = {a["resource"]["code"]["coding"][0]["code"] for a in actions if a["type"] == "create"}
    assert "20930" not in created


# --- one surgery, kept apart ------------------------------------------------------------------------------


def _split(**kept_apart: list[Json]) -> Json:
    """The cervical story with everything but the fusions kept apart by an element of its own."""
    body = story("cervical-fusion").request
    for entry in body["context"]["draftOrders"]["entry"]:
        resource = entry["resource"]
        fusion = resource["code"]["coding"][0]["code"] in ("22551", "22552")
        resource |= {name: values[0 if fusion else 1] for name, values in kept_apart.items()}
    return body


@pytest.mark.parametrize(
    "kept_apart",
    [
        {"requisition": [{"system": "urn:r", "value": "1"}, {"system": "urn:r", "value": "2"}]},
        {"encounter": [{"reference": "Encounter/e1"}, {"reference": "Encounter/e2"}]},
        {"occurrenceDateTime": ["2026-12-01", "2026-12-02"]},
    ],
    ids=["requisitions", "encounters", "days"],
)
def test_a_graft_kept_apart_from_the_fusion_of_its_region_is_asked_about(service: Service, kept_apart: Json) -> None:
    """It may serve that fusion: that none is ordered for it cannot be said."""
    cards = service.cards(_split(**kept_apart))
    assert not [c for c in cards if "(20930)" in c["summary"] and "not supported" in c["summary"]]
    assert [c for c in cards if "20930" in c["detail"] and "More information" in c["summary"]]


# --- how values are spelled -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "coding",
    [
        {"system": CPT, "code": "20939 "},
        {"system": CPT, "code": "\u00a020939\u00a0"},
        {"system": f"{CPT}\t", "code": "20939     "},
        {"system": CPT, "code": 20939},
        {"system": CPT, "code": "20939", "extension": [], "display": None},
        {"system": CPT, "code": "20939", "version": 2026, "sourceRow": {"id": 7}},
        {"system": [CPT], "code": ["20939"]},
        [{"system": CPT, "code": "20939"}],
    ],
    ids=repr,
)
def test_a_code_in_another_spelling_is_that_code(service: Service, coding: Any) -> None:
    others = [order(code) for code in SIX if code != "20939"]
    spelt, whole = (
        service.cards(request(*others, order("20939") | {"code": {"coding": [each]}}))
        for each in (coding, {"system": CPT, "code": "20939"})
    )
    assert [(c["indicator"], c["summary"], c["detail"]) for c in spelt] == [
        (c["indicator"], c["summary"], c["detail"]) for c in whole
    ]
    assert any(c["indicator"] == "warning" and "(20939)" in c["summary"] for c in spelt)
