"""What a client writes cannot damage the record of its call, nor put a token into it."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.deployment import PREFETCH, SLIP, Deployment, bundle, deployed, hook_request, order
from tests.functional.ledger_samples import execute

SECRET = "aZ09-fhir-access-token"
WORDS = [
    "received", "explanations", "determinations", "response", "not-supported", "hookInstance", "conditions", 'cards":[',
    "resourceType", "policies", "ServiceRequest", "evidence", "order-sign", "20939", "explanationsExpire", "sha256",
    "MedicationAdministration", "http://www.ama-assn.org/go/cpt", "demo/spine", "[removed]",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("record"), "north") as site:
        yield site


def access(token: str) -> dict[str, Any]:
    return {"access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": "x", "subject": "y"}


def stored(site: Deployment, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer to a call, and its record as it is kept."""
    answer = site.call("north", body)
    assert answer.status_code == 200, answer.text
    instance = body["hookInstance"]
    rows = execute(site.database, f"SELECT document FROM entry WHERE document LIKE '%{instance}%'")
    [document] = [found for (text,) in rows if (found := json.loads(text))["hookInstance"] == instance]
    return answer.json(), document


@pytest.mark.parametrize("word", [*WORDS, "digits of now"])
def test_a_word_as_token_leaves_the_record_as_it_is(site: Deployment, word: str) -> None:
    if word == "digits of now":  # as the times of the record have them
        word = str(int(time.time() * 1000))[:8]
    body = hook_request(fhirAuthorization=access(word))
    answer, document = stored(site, body)
    assert document["response"] == answer
    assert document["request"] == {**body, "fhirAuthorization": access("[removed]")}
    outcomes = {d["code"]: d["outcome"] for d in document["determinations"] if d["policy"]}
    assert outcomes == {"22551": "supported", "20930": "supported", "20939": "not-supported"}


def test_what_is_our_own_stays_even_if_a_token_names_it(site: Deployment) -> None:
    """The content's revision can be a token as far as anyone can tell: any client sees it in /health/ready."""
    revision = stored(site, hook_request())[1]["revision"]
    _, document = stored(site, hook_request(fhirAuthorization=access(revision)))
    assert document["revision"] == revision


def quoting(secret: str) -> dict[str, Any]:
    """A request with copies of a token wherever the record, the answer or an explanation may quote them."""
    slip, marrow = copy.deepcopy(SLIP), order("20939") | {"id": secret, "note": [{"text": f"see {secret}!"}]}
    slip["id"] = f"c-{secret}"
    unusable = {"resourceType": "Condition", "id": f"u-{secret}", "modifierExtension": [{"url": "http://x"}]}
    prefetch = PREFETCH | {"conditions": bundle(slip, unusable), "other": {"copies": [secret, {"deep": secret}]}}
    marrow["code"]["coding"].append({"system": "urn:local", "code": secret, "display": secret})
    body = hook_request(order("22551"), order("20930"), marrow, fhirAuthorization=access(secret), prefetch=prefetch)
    body["hookInstance"] += secret
    return body


def test_no_copy_of_a_token_is_kept_in_any_text(site: Deployment) -> None:
    body = quoting(SECRET)
    answer = site.call("north", body)
    assert (answer.status_code, SECRET in answer.text) == (200, True)
    for table in ("entry", "explanation", "answer", "card"):
        assert SECRET not in str(execute(site.database, f"SELECT * FROM {table}"))


def test_every_record_verifies(site: Deployment) -> None:
    with site.ledger() as ledger:
        assert ledger.verify().problems == ()


def test_tokens_that_tell_themselves_are_not_kept(site: Deployment) -> None:
    leaks = {
        "accessToken": "LEAK1", "token": "LEAK2", "client_secret": "LEAK3", "Authorization ": "LEAK4",
        "x": "http://h/?a=1&access_token=LEAK5&b=2", "headers": "Bearer LEAK6-0123", "X-Api-Key": "LEAK7",
        "header": "Authorization: bearer LEAK8abc==", "PassWord": ["LEAK9", {"value": "LEAK10"}],
        "deep": [{"token": {"value": "LEAK11", "expires": 300}}], "idToken": "LEAK12", "refresh-token": "LEAK13",
    }  # fmt: skip
    body = hook_request(fhirAuthorization=access("a-token-of-2026"), extension=leaks)
    body["fhirauthorization"] = {"Access_Token": "LEAK14", "scope": "patient/*.rs"}
    body["prefetch"]["conditions"]["entry"][0]["resource"]["sessionToken"] = "LEAK15"
    document = stored(site, body)[1]
    assert "LEAK" not in json.dumps(document)
    kept = document["request"]
    assert kept["fhirAuthorization"] == access("[removed]")
    assert kept["fhirauthorization"] == {"Access_Token": "[removed]", "scope": "patient/*.rs"}
    assert kept["extension"]["x"] == "http://h/?a=1&access_token=[removed]&b=2"
    assert kept["extension"]["deep"] == [{"token": {"value": "[removed]", "expires": 300}}]


def test_what_only_sounds_like_a_token_is_kept(site: Deployment) -> None:
    slip = copy.deepcopy(SLIP) | {
        "note": [{"text": "bearer of a BRCA1 mutation; secretary of a token ring, authorization needed; passport"}]
    }
    body = hook_request(fhirAuthorization=access("a-token-of-2026"))
    body["prefetch"] |= {"conditions": bundle(slip), "authorization": bundle(SLIP), "PriorAuthorization": bundle(SLIP)}
    body["extension"] = {
        "priorAuthorizationNumber": "PA-123",
        "preAuthorization": "A1",
        "hasToken": True,
        "secretary": "M",
    }
    assert stored(site, body)[1]["request"] == body | {"fhirAuthorization": access("[removed]")}
