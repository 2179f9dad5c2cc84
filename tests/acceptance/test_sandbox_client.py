"""The public CDS Hooks Sandbox as a client: its habits, re-created small, and what its browser asks for."""

from __future__ import annotations

from typing import Any

import pytest
from support.charts import CPT, bundle
from support.service import Service

Json = dict[str, Any]
WHO = "sandbox-patient"
ORIGIN = {"Origin": "http://127.0.0.1:8080"}


def _request(hook: str, draft: Json | None, **parts: Any) -> Json:
    context: Json = {"patientId": WHO, "userId": "Practitioner/COREPRACTITIONER1"}
    if draft is not None:
        # It never says what kind of Bundle it sends.
        context["draftOrders"] = {"resourceType": "Bundle", "entry": [{"resource": draft}]}
        context["selections"] = [f"{draft['resourceType']}/{draft['id']}"]
    if hook == "order-sign":
        context.pop("selections", None)
    person = {"resourceType": "Patient", "id": WHO, "gender": "female", "birthDate": "1957-03-02"}
    return {
        "hookInstance": "68ed0e81-cf52-4d34-bde1-592496462919",
        "hook": hook,
        "fhirServer": "http://127.0.0.1:9/fhir",
        "context": context,
        "prefetch": {"patient": person, "coverage": bundle()},
        **parts,
    }


def study(**elements: Any) -> Json:
    """A study of the imaging screen."""
    return {
        "resourceType": "ServiceRequest",
        "id": "example-request-id",
        "status": "draft",
        "intent": "plan",
        "subject": {"reference": f"Patient/{WHO}"},
        "code": {"coding": [{}]},
        "reasonCode": [],
        **elements,
    }


def drug(**elements: Any) -> Json:
    """A prescription of the drug screens."""
    return {
        "resourceType": "MedicationRequest",
        "id": "request-123",
        "status": "draft",
        "subject": {"reference": f"Patient/{WHO}"},
        "authoredOn": "2026-11-23",
        **elements,
    }


CODED = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "212033"}], "text": "a drug"}
FILLED = drug(
    intent="order",
    category={"coding": [{"code": "community"}]},
    medicationCodeableConcept=CODED,
    reasonCode={"coding": [{"system": "http://snomed.info/sct", "code": "279039007"}]},
    dosageInstruction=[{"doseAndRate": [{"doseQuantity": {"value": 1, "code": "{pill}"}}]}],
)
KNEE = {"coding": [{"system": CPT, "code": "73721", "display": "Knee MRI"}], "text": "Knee MRI"}


@pytest.mark.parametrize(
    ("hook", "draft"),
    [
        ("order-select", drug()),
        ("order-select", FILLED),
        ("order-sign", drug()),
        ("order-sign", FILLED),
        ("order-select", study()),
        ("order-select", study(code=KNEE)),
        ("order-sign", study(code=KNEE)),
        ("order-sign", study(code={"coding": [None, 7, {"system": 5}]})),
        ("order-sign", study(code=[])),
    ],
)
def test_its_drafts_are_answered(service: Service, hook: str, draft: Json) -> None:
    assert service.call(_request(hook, draft), f"{hook}-advisor").status_code == 200


def test_its_order_sign_with_selections_is_answered(service: Service) -> None:
    body = _request("order-sign", study(code=KNEE))
    body["context"]["selections"] = ["ServiceRequest/example-request-id"]
    assert service.answer(body) == {"cards": []}


def test_what_it_has_not_filled_in_is_sent_as_a_literal_and_does_no_harm(service: Service) -> None:
    body = _request("order-select", study(code=KNEE))
    body["prefetch"]["drafts"] = "[object Object]"
    body["prefetch"]["nothing"] = ["a"]
    assert service.answer(body, "order-select-advisor") == {"cards": []}


def test_a_tab_clicked_twice_sends_no_orders_and_is_told_so(service: Service) -> None:
    response = service.call(_request("order-sign", None))
    assert response.status_code == 400
    assert response.json()["issue"][0]["expression"] == ["context.draftOrders"]


def test_token_that_cannot_be_checked_is_no_obstacle_in_demo_mode(service: Service) -> None:
    headers = {"Authorization": "Bearer e30.e30.x"}
    body = _request("order-select", study(code=KNEE))
    assert service.request("POST", "/cds-services/order-select-advisor", json=body, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/cds-services", "/cds-services/order-sign-advisor", "/fhir/Patient"])
def test_its_preflights_are_answered(service: Service, path: str) -> None:
    asked = {
        "Access-Control-Request-Method": "POST" if path.endswith("advisor") else "GET",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = service.session.options(f"{service.base}{path}", headers=ORIGIN | asked, timeout=5)
    assert answer.ok
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN["Origin"])
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_answers_and_refusals_may_be_read_by_its_page(service: Service) -> None:
    for response in (
        service.get("/cds-services", headers=ORIGIN),
        service.request("POST", "/cds-services/order-sign-advisor", json={}, headers=ORIGIN),
        service.get("/fhir/metadata", headers=ORIGIN),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_pages_from_elsewhere_cannot_reach_it_by_another_name(service: Service) -> None:
    for path in ("/cds-services", "/fhir/Patient"):
        answer = service.get(path, headers={"Host": "rebound.example"})
        assert answer.status_code == 400
        assert "loopback" in answer.text
