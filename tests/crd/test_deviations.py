"""Orders and coverages as EHRs write them: long ids, no date, padding, emptiness. CRD answers them all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from crd_support import (
    CPT,
    SUBJECT,
    bundle,
    coverage,
    faults,
    infos,
    one,
    order,
    said,
    sign,
    updated,
    values,
)
from support.service import Service

Json = dict[str, Any]
ABSENT = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
LONG = "eDraft-{}." + "Kq_x-" * 37


def call(service: Service, body: Json) -> Json:
    return service.answer(body, f"{body['hook']}-crd")


def warned(answer: Json) -> list[str]:
    outcome = answer.get("extension", {}).get("cds-service.warnings", {"issue": []})
    return [i["diagnostics"] for i in outcome["issue"]]


def unsigned(code: str, number: int) -> Json:
    """An unsigned order: an id of 194 characters, no date, nobody who asks, the site's own code first."""
    own = LONG.format(number)[:194]
    coding = [{"system": "urn:oid:1.2.840.114350.1.13.861.1.7.2.1", "code": str(number)}, {"system": CPT, "code": code}]
    made = {k: v for k, v in order(code, own).items() if k != "authoredOn"}
    return {**made, "requester": ABSENT, "code": {"coding": coding, "text": "as the site calls it"}}


@pytest.mark.crd("found-34", "conf-12")
@pytest.mark.parametrize("hook", ["order-sign", "order-select"])
@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_unsigned_orders_are_answered_one_by_one(service: Service, hook: str, version: str) -> None:
    orders = [unsigned(code, number) for number, code in enumerate(("22551", "22552", "20930", "20939"))]
    refs = [f"ServiceRequest/{o['id']}" for o in orders]
    context = {"selections": refs} if hook == "order-select" else {}
    answer = call(service, sign(*orders, hook=hook, version=version, **context))
    found = updated(answer)
    assert set(found) == set(refs)
    for own, ref in zip(orders, refs, strict=True):
        assert {k: v for k, v in found[ref].items() if k != "extension"} == own  # as it came
        assert faults(said(answer, ref), version) == []
    assert one(said(answer, refs[3]), "covered") == "not-covered"
    told = " ".join(warned(answer))
    assert "is not a valid FHIR id; it is used as it is" in told
    assert "authoredOn is missing; the day of the call was taken" in told


@pytest.mark.crd("found-34")
def test_a_date_that_is_missing_is_the_day_of_the_call(service: Service) -> None:
    dated, undated = order("20939"), {k: v for k, v in order("20939").items() if k != "authoredOn"}
    answers = [said(call(service, sign(order("22551"), each)), "ServiceRequest/o-20939") for each in (dated, undated)]
    bare = [[p for p in a["extension"] if p["url"] != "coverage-assertion-id"] for a in answers]
    assert bare[0] == bare[1]


@pytest.mark.crd("found-34", "found-33")
@pytest.mark.parametrize("nothing", [[], {}, None, "", [None], [{}]], ids=repr)
@pytest.mark.parametrize("where", ["order", "coverage", "code", "payor"])
def test_what_says_nothing_costs_nothing(service: Service, nothing: Any, where: str) -> None:
    marrow, cover = order("20939"), coverage()
    holder = {"order": marrow, "coverage": cover, "code": marrow["code"], "payor": cover["payor"][0]}[where]
    holder["extension"] = nothing
    answer = call(service, sign(order("22551"), marrow, cover=cover))
    info = infos(updated(answer)["ServiceRequest/o-20939"])[0] if where != "order" else _ours(answer)
    assert (one(info, "covered"), faults(info, "2.2")) == ("not-covered", [])


def _ours(answer: Json) -> Json:
    """The assertion on an order whose own list of extensions came with empty members, which stay as they came."""
    kept = updated(answer)["ServiceRequest/o-20939"]["extension"]
    return next(e for e in kept if e and e["url"].endswith("ext-coverage-information"))


@pytest.mark.crd("found-34")
@pytest.mark.parametrize(
    "change",
    [
        {"code": {"coding": [{"system": f"{CPT} ", "code": "20939 "}]}},
        {"code": {"coding": {"system": CPT, "code": "20939"}}},
        {"code": [{"coding": [{"system": CPT, "code": "20939"}]}]},
        {"code": {"system": CPT, "code": "20939"}},
        {"code": {"coding": [{"system": CPT, "code": 20939}]}},
        {"status": "Draft "},
        {"intent": "ORDER"},
        {"authoredOn": "2026-11-02T10:00"},
        {"authoredOn": "2026-11-02T10:00:00"},
        {"category": {"text": "Surgery"}},
        {"reasonCode": []},
        {"doNotPerform": "false"},
        {"quantityQuantity": {"value": "1"}},
        {"note": {"text": ""}},
        {"meta": {"lastUpdated": "yesterday"}},
        {"text": "in words"},
        {"insurance": {"reference": "Coverage/cov-1"}},
        {"sourceRow": 7},
        {"subject": {**SUBJECT, "identifier": {"period": {"start": "soon"}, "value": "m-1"}}},
    ],
    ids=lambda c: json.dumps(c)[:60],
)
def test_another_spelling_changes_no_answer_and_comes_back(service: Service, change: Json) -> None:
    whole = said(call(service, sign(order("22551"), order("20939"))), "ServiceRequest/o-20939")
    answer = call(service, sign(order("22551"), {**order("20939"), **change}))
    info = said(answer, "ServiceRequest/o-20939")
    for part in ("covered", "pa-needed", "billingCode", "detail"):
        assert values(info, part) == values(whole, part), part
    assert updated(answer)["ServiceRequest/o-20939"].items() >= change.items()
    (name,) = change
    assert any(f"ServiceRequest.{name}" in text for text in warned(answer))


@pytest.mark.crd("found-34")
@pytest.mark.parametrize("spelt", [{"status": "COMPLETED"}, {"status": "revoked "}, {"doNotPerform": "true"}], ids=repr)
def test_an_order_that_is_settled_in_another_spelling_is_settled(service: Service, spelt: Json) -> None:
    answer = call(service, sign(order("22551"), order("20939", **spelt)))
    assert set(updated(answer)) == {"ServiceRequest/o-22551"}


@pytest.mark.crd("hook-10")
def test_what_is_wrong_is_said_once(service: Service) -> None:
    """The order stands in the context, and in the prefetch as well."""
    wrong = {**order("20939"), "code": {"coding": "20939"}}
    body = sign(wrong, wrong, prefetch={"serviceRequestBundle": bundle(wrong, {**order("22551"), "code": 5}, wrong)})
    response = service.call(body, "order-sign-crd")
    said_of = [(*i.get("expression", ()), i["diagnostics"]) for i in response.json()["issue"]]
    assert response.status_code == 400
    assert len(said_of) == len(set(said_of)) == 1


@pytest.mark.crd("hook-13")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"beneficiary": 5}, "Coverage.beneficiary"),
        ({"period": {"start": "soon"}}, "Coverage.period"),
        ({"status": "on"}, "Coverage.status"),
        ({"payor": "aetna"}, "Coverage.payor"),
    ],
    ids=lambda c: c if isinstance(c, str) else next(iter(c)),
)
def test_a_coverage_is_refused_for_what_decides_about_it(service: Service, change: Json, field: str) -> None:
    response = service.call(sign(order("20939"), cover={**coverage(), **change}), "order-sign-crd")
    (issue,) = response.json()["issue"]
    assert response.status_code == 400
    assert issue["expression"][0].startswith(field)


@pytest.mark.crd("found-34")
@pytest.mark.parametrize(
    "change",
    [
        {"status": "Active"},
        {"payor": {"identifier": {"system": "http://example.org/payer-id", "value": "aetna "}}},
        {"subscriber": 5},
        {"network": ["x", "y"]},
        {"costToBeneficiary": [{"valueMoney": "much"}]},
        {"order": "1"},
        {"period": {"start": "2026-01-01T00:00:00"}},
        {"id": "cov_1"},
        {"contained": [{"resourceType": "InsurancePlan"}, 5]},
    ],
    ids=lambda c: next(iter(c)),
)
def test_a_coverage_that_deviates_elsewhere_is_used(service: Service, change: Json) -> None:
    answer = call(service, sign(order("22551"), order("20939"), cover={**coverage(), **change}))
    assert one(said(answer, "ServiceRequest/o-20939"), "covered") == "not-covered"
    assert warned(answer)


def test_a_supply_request_among_the_orders_is_told_of(service: Service) -> None:
    supply = {"resourceType": "SupplyRequest", "id": "s", "status": "draft", "itemCodeableConcept": {"text": "Implant"}}
    answer = call(service, sign(order("22551"), supply, order("20939")))
    assert set(updated(answer)) == {"ServiceRequest/o-22551", "ServiceRequest/o-20939"}
    assert any("SupplyRequest" in card["detail"] for card in answer["cards"])
