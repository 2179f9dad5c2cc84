"""Suggestion actions: what a replacement keeps of the order it replaces, and what it must not keep."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from fhir.resources.R4B.servicerequest import ServiceRequest

from cds_service.facts.orders import ORDER_TYPES
from cds_service.policy.case import Code
from cds_service.render.actions import create, delete, draft_in_place_of, replaceable

Json = dict[str, Any]
URI = "http://www.ama-assn.org/go/cpt"
ORIGINAL: Json = {
    "resourceType": "ServiceRequest",
    "id": "old",
    "meta": {"versionId": "7"},
    "identifier": [{"system": "urn:orders", "value": "1"}],
    "status": "draft",
    "intent": "plan",
    "priority": "urgent",
    "code": {"coding": [{"system": URI, "code": "20939"}], "text": "marrow"},
    "orderDetail": [{"text": "from the pedicle"}],
    "quantityQuantity": {"value": 2},
    "subject": {"reference": "Patient/p"},
    "encounter": {"reference": "Encounter/e"},
    "occurrenceDateTime": "2026-12-01",
    "authoredOn": "2026-11-20",
    "requester": {"reference": "Practitioner/d"},
    "reasonCode": [{"text": "why"}],
    "reasonReference": [{"reference": "Condition/c"}],
    "insurance": [{"reference": "Coverage/v"}, {"reference": "ClaimResponse/cr"}],
    "bodySite": [{"text": "C4-C6"}],
    "note": [{"text": "draw 10 ml"}],
    "extension": [{"url": "urn:authorisation", "valueBoolean": True}],
    "supportingInfo": [{"reference": "DocumentReference/x"}],
}
CODE = Code("cpt", "20936")


def replacement(original: Json) -> Json:
    return draft_in_place_of(original, CODE, URI, "Local autograft", "new-id", "Patient/p")


def test_a_replacement_keeps_who_where_when_and_why() -> None:
    before = copy.deepcopy(ORIGINAL)
    made = replacement(ORIGINAL)
    assert before == ORIGINAL
    kept = ("priority", "intent", "subject", "encounter", "occurrenceDateTime", "authoredOn", "requester", "reasonCode")
    for name in (*kept, "reasonReference", "bodySite"):
        assert made[name] == ORIGINAL[name]
    assert made["id"] == "new-id"
    assert made["status"] == "draft"
    assert made["code"] == {
        "coding": [{"system": URI, "code": "20936", "display": "Local autograft"}],
        "text": "Local autograft",
    }
    ServiceRequest.model_validate(made)


def test_a_replacement_does_not_inherit_text_units_identity_or_authorisation() -> None:
    made = replacement(ORIGINAL)
    for name in ("note", "orderDetail", "quantityQuantity", "extension", "identifier", "meta", "supportingInfo"):
        assert name not in made
    assert made["insurance"] == [{"reference": "Coverage/v"}]
    only_claim = ORIGINAL | {"insurance": [{"reference": "ClaimResponse/cr"}]}
    assert "insurance" not in replacement(only_claim)


def test_a_replacement_is_complete_even_of_a_draft_that_is_not() -> None:
    made = replacement({"resourceType": "ServiceRequest", "id": "old"})
    assert (made["status"], made["intent"], made["subject"]) == ("draft", "order", {"reference": "Patient/p"})
    ServiceRequest.model_validate(made)


OTHERS: Json = {
    "groupIdentifier": {"system": "urn:groups", "value": "g-1"},
    "performer": {"reference": "Organization/o"},
    "basedOn": [{"reference": "CarePlan/c"}, {"reference": "Claim/x"}],
    "dispenseRequest": {"numberOfRepeatsAllowed": 1},
    "category": [{"text": "community"}],
}


@pytest.mark.parametrize("kind", ["DeviceRequest", "MedicationRequest"])
def test_a_replacement_of_another_request_is_a_valid_service_request(kind: str) -> None:
    original = {**ORIGINAL, "resourceType": kind, **OTHERS}
    del original["bodySite"]
    before = copy.deepcopy(original)
    made = replacement(original)
    ServiceRequest.model_validate(made)
    assert original == before
    assert made["performer"] == [OTHERS["performer"]]
    assert made["requisition"] == OTHERS["groupIdentifier"]
    assert made["basedOn"] == [{"reference": "CarePlan/c"}]
    for name in ("authoredOn", "requester", "priority", "intent", "subject", "encounter", "reasonCode"):
        assert made[name] == ORIGINAL[name]
    for name in ("groupIdentifier", "dispenseRequest", "category"):
        assert name not in made


def test_only_requests_that_a_service_request_can_stand_for_are_replaced() -> None:
    kinds = {kind for kind in ORDER_TYPES if replaceable({"resourceType": kind})}
    assert kinds == {"ServiceRequest", "DeviceRequest", "MedicationRequest"}
    assert not replaceable({})
    for kind in kinds:
        ServiceRequest.model_validate(replacement({"resourceType": kind, "id": "old"}))


def test_actions() -> None:
    assert delete("ServiceRequest/old", "Remove it") == {
        "type": "delete",
        "description": "Remove it",
        "resourceId": "ServiceRequest/old",
    }
    assert create({"resourceType": "ServiceRequest"}, "Order it") == {
        "type": "create",
        "description": "Order it",
        "resource": {"resourceType": "ServiceRequest"},
    }
