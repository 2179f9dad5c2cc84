"""Feedback over HTTP: what is in order is kept, the rest is named; nobody speaks of another's cards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.functional.deployment import FEEDBACK, POLICY, SERVICE, Deployment, deployed, hook_request, marrow_cards

AT = "2026-11-20T12:00:00Z"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("feedback"), "north", "south") as site:
        yield site


@pytest.fixture
def card(site: Deployment) -> dict[str, Any]:
    [card] = marrow_cards(site.cards("north", hook_request()))
    return card


def overridden(card: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": AT, **more}


def give(
    site: Deployment, *items: Any, client: str = "north", path: str = FEEDBACK
) -> tuple[int, list[dict[str, Any]]]:
    answer = site.call(client, {"feedback": list(items)}, path)
    assert answer.headers["Content-Type"] == "application/fhir+json"
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    return answer.status_code, [{"code": i["code"], "at": i.get("expression", [""])[0]} for i in body["issue"]]


def kept(site: Deployment, card: dict[str, Any]) -> list[dict[str, Any]]:
    with site.ledger() as ledger:
        return [d for d in ledger.records(hook="feedback") if d["card"]["uuid"] == card["uuid"]]


def test_good_items_are_kept_and_bad_ones_named(site: Deployment, card: dict[str, Any]) -> None:
    suggestion = card["suggestions"][0]["uuid"]
    accepted = {"card": card["uuid"], "outcome": "accepted", "outcomeTimestamp": AT}
    accepted["acceptedSuggestions"] = [{"id": suggestion}]
    status, issues = give(site, accepted, overridden({"uuid": str(uuid4())}), "not an object")
    assert status == 200
    assert issues == [
        {"code": "informational", "at": ""},
        {"code": "value", "at": "feedback[1].card"},
        {"code": "value", "at": "feedback[2]"},
    ]
    assert [(d["outcome"], d["client"]) for d in kept(site, card)] == [("accepted", "north")]


def test_a_reason_outside_the_list_is_kept_and_a_repeat_counts_once(site: Deployment, card: dict[str, Any]) -> None:
    item = overridden(card, overrideReason={"reason": {"code": "own-reason", "system": "https://north.example.org"}})
    assert [give(site, item)[0] for _ in range(2)] == [200, 200]
    [stored] = kept(site, card)
    assert stored["reason"]["code"] == "own-reason"


def test_wholly_bad_feedback_is_refused(site: Deployment, card: dict[str, Any]) -> None:
    assert give(site, overridden(card) | {"outcome": "ignored"}) == (
        400,
        [{"code": "value", "at": "feedback[0].outcome"}],
    )
    assert give(site) == (400, [{"code": "structure", "at": "feedback"}])
    assert kept(site, card) == []


def test_people_read_each_path_once(site: Deployment, card: dict[str, Any]) -> None:
    bad = [overridden(card) | {"outcome": "ignored"}, overridden({"uuid": str(uuid4())}), 7]
    issues = site.call("north", {"feedback": bad}, FEEDBACK).json()["issue"]
    assert [i["diagnostics"] for i in issues] == [
        "feedback[0].outcome must be accepted or overridden",
        "feedback[1].card is not a card that this service showed you",
        "feedback[2] must be a JSON object",
    ]


def test_cards_of_another_client_or_service_are_refused(site: Deployment, card: dict[str, Any]) -> None:
    assert give(site, overridden(card), client="south") == (400, [{"code": "value", "at": "feedback[0].card"}])
    other = "/cds-services/order-select-advisor/feedback"
    assert give(site, overridden(card), path=other) == (400, [{"code": "value", "at": "feedback[0].card"}])
    assert give(site, overridden(card), path="/cds-services/none/feedback")[0] == 404
    assert kept(site, card) == []


def test_a_token_for_feedback_names_the_feedback_or_its_service_and_counts_once(
    site: Deployment, card: dict[str, Any]
) -> None:
    """Not another service's, and not the other way round."""
    body = {"feedback": [overridden(card)]}

    def sent(token: str, path: str = FEEDBACK, body: Any = body) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.post(site.url + path, json=body, headers=headers, timeout=20).status_code

    north = site.clients["north"]
    for path in (FEEDBACK, SERVICE):
        token = north.token(site.url + path)
        assert [sent(token), sent(token), sent(token, SERVICE, hook_request())] == [200, 401, 401]
    for path in ("/cds-services", "/cds-services/order-select-advisor", "/cds-services/order-select-advisor/feedback"):
        assert sent(north.token(site.url + path)) == 401
    assert sent(north.token(site.url + FEEDBACK), SERVICE, hook_request()) == 401


def test_feedback_counts_by_rule(site: Deployment, card: dict[str, Any]) -> None:
    assert give(site, overridden(card))[0] == 200
    with site.ledger() as ledger:
        rules = ledger.metrics(client="north", service=SERVICE.rsplit("/", 1)[1])["rules"]
    [rule] = [r for r in rules if r["policy"] == POLICY]
    # The same finding fired in every test of this module: it is one, and its last outcome counts.
    assert (rule["shown"], rule["overridden"]) == (1, 1)
