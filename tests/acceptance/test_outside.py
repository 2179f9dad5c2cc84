"""What a tester from outside found wrong, each as the request that showed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cds_service.config import from_environment
from cds_service.hooks.answer import Answer, answer, determinations, findings
from cds_service.hooks.request import parse, validate
from cds_service.hooks.runtime import Caller, Runtime

CPT = "http://www.ama-assn.org/go/cpt"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
PRECEDENCE = ("not-supported", "needs-information", "supported", "not-addressed")


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime.build(from_environment(demo=True, cards=None))


def order(number: int, code: str, text: str | None = None, system: str | None = None, **more: Any) -> dict[str, Any]:
    device = code.startswith("E0")
    concept: dict[str, Any] = {"coding": [{"system": system or (HCPCS if device else CPT), "code": code}]}
    if text is not None:
        concept["text"] = text
    return {
        "resourceType": "DeviceRequest" if device else "ServiceRequest",
        "id": f"o{number}",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": "Patient/p"},
        "authoredOn": "2026-11-20",
        "codeCodeableConcept" if device else "code": concept,
        **more,
    }


def bundle(resources: list[dict[str, Any]]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}


def request(
    orders: list[dict[str, Any]], *, payers: tuple[str, ...] = ("aetna",), history: tuple[tuple[str, str], ...] = ()
) -> dict[str, Any]:
    coverages = [
        {
            "resourceType": "Coverage",
            "id": payer,
            "status": "active",
            "beneficiary": {"reference": "Patient/p"},
            "payor": [{"identifier": {"system": "http://example.org/payer-id", "value": payer}}],
        }
        for payer in payers
    ]
    procedures = [
        {
            "resourceType": "Procedure",
            "id": f"pr{number}",
            "status": "completed",
            "subject": {"reference": "Patient/p"},
            "code": {"coding": [{"system": CPT, "code": code}]},
            "performedDateTime": day,
        }
        for number, (code, day) in enumerate(history)
    ]
    pseudarthrosis = {
        "resourceType": "Condition",
        "id": "c1",
        "subject": {"reference": "Patient/p"},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M96.0"}]},
        "clinicalStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
        },
    }
    empty = bundle([])
    return {
        "hook": "order-sign",
        "hookInstance": "0b62d3ea-3b3c-4a3f-9c42-6b2f8a4c54aa",
        "context": {"userId": "Practitioner/d", "patientId": "p", "draftOrders": bundle(orders)},
        "prefetch": {
            "patient": {"resourceType": "Patient", "id": "p", "birthDate": "1975-03-02"},
            "conditions": bundle([pseudarthrosis]) if history else empty,
            "procedures": bundle(procedures),
            "activeOrders": empty,
            "deviceHistory": empty,
            "coverage": bundle(coverages),
            "authorizations": empty,
            "observations": empty,
            "questionnaireResponses": empty,
        },
    }


def run(body: dict[str, Any], runtime: Runtime, before: bytes = b"") -> Answer:
    service = runtime.services["order-sign-advisor"]
    return answer(validate(parse(before + json.dumps(body).encode()), service), service, runtime, Caller("tester"))


def outcome(done: Answer, number: int) -> str:
    found = {
        d["outcome"] for d in determinations(done) if d["order"].endswith(f"/o{number}") and d["role"] == "primary"
    }
    return next(o for o in PRECEDENCE if o in found)


@pytest.mark.parametrize(
    "text",
    ["BMP", "use BMP in the cage", "Infuse", "no iliac crest; use BMP", "Chips not available so BMP-2"],
)
def test_the_protein_is_seen_in_a_graft_order_however_short_its_name(runtime: Runtime, text: str) -> None:
    done = run(request([order(1, "22551"), order(2, "20930", text)]), runtime)
    assert outcome(done, 2) == "not-supported"
    assert [f["kind"] for f in findings(done)] == ["safety"]


@pytest.mark.parametrize("text", ["No BMP", "Check BMP preop", "CBC and BMP", "Chips, to infuse antibiotics over 1 h"])
def test_a_denial_and_a_blood_test_are_not_the_protein(runtime: Runtime, text: str) -> None:
    done = run(request([order(1, "22551"), order(2, "20930", text)]), runtime)
    assert outcome(done, 2) == "supported"
    assert findings(done) == []


def test_a_metabolic_panel_beside_a_neck_fusion_is_not_the_protein(runtime: Runtime) -> None:
    done = run(request([order(1, "22551"), order(2, "80048", "BMP")]), runtime)
    assert outcome(done, 2) == "not-addressed"
    assert findings(done) == []


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2026-02-19", "supported"), ("2026-02-20", "supported"), ("2026-02-21", "needs-information")],
)
def test_nine_months_count_from_the_day_itself(runtime: Runtime, day: str, expected: str) -> None:
    done = run(request([order(1, "E0748")], payers=("medicare",), history=(("22612", day),)), runtime)
    assert outcome(done, 1) == expected


@pytest.mark.parametrize(
    "orders",
    [
        [order(1, "22551"), order(2, "22551"), order(3, "E0748")],
        [order(1, "22551", quantityQuantity={"value": 2}), order(2, "63075"), order(3, "E0748")],
    ],
)
def test_a_first_level_ordered_twice_may_be_one_level_or_two(runtime: Runtime, orders: list[dict[str, Any]]) -> None:
    assert outcome(run(request(orders), runtime), 3) == "needs-information"


@pytest.mark.parametrize("system", ["CPT", "cpt", "2.16.840.1.113883.6.12"])
def test_loose_names_of_cpt_are_read(runtime: Runtime, system: str) -> None:
    done = run(request([order(1, "22551"), order(2, "20939", system=system)]), runtime)
    assert outcome(done, 2) == "not-supported"


def test_a_byte_order_mark_is_passed_over(runtime: Runtime) -> None:
    done = run(request([order(1, "22551"), order(2, "20939")]), runtime, before=b"\xef\xbb\xbf")
    assert outcome(done, 2) == "not-supported"


def test_a_thousand_orders_do_not_name_each_other_a_thousand_times(runtime: Runtime) -> None:
    done = run(request([order(n, "22551") for n in range(60)]), runtime)
    told = json.dumps(determinations(done))
    assert "and 40 more" in told
    assert len(told) < 60 * 20_000


def test_what_is_asked_of_several_orders_alike_is_asked_once(runtime: Runtime) -> None:
    done = run(request([order(1, "22551"), order(2, "22552")]), runtime)
    (card,) = done.response["cards"]
    assert card["detail"].startswith("**Not in the chart**\n- Does imaging show")
    assert card["detail"].count("Does imaging show") == 1


def test_payers_of_one_rank_that_differ_are_named(runtime: Runtime) -> None:
    done = run(request([order(1, "22551"), order(2, "20939")], payers=("aetna", "medicare")), runtime)
    (card,) = done.response["cards"]
    assert "- Which coverage pays first? Aetna: not supported; Medicare: not addressed\n" in card["detail"]


@pytest.mark.parametrize("entry", [None, 5, {"resource": None}, {"resource": {"resourceType": "Bundle"}}])
def test_a_faulty_entry_costs_only_itself_and_is_named(runtime: Runtime, entry: Any) -> None:
    path = "fhir_fixtures/cervical-fusion-authorised/request.json"
    body = json.loads((Path(__file__).parents[2] / path).read_text(encoding="utf-8"))
    body["context"]["draftOrders"]["entry"].append(entry)
    service = runtime.services["order-sign-advisor"]
    cards = answer(validate(body, service), service, runtime, Caller("t")).response["cards"]
    assert [c["indicator"] for c in cards] == ["warning", "info"]
    assert cards[1]["summary"] == "1 order could not be read and was not checked"
    assert "context&#46;draftOrders&#46;entry&#91;6&#93;" in cards[1]["detail"]
