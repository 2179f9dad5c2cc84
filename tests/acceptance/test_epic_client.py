"""A client of the `epic` dialect from end to end: its own keys and tokens, its requests, its cards, its feedback."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
import requests
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.functional.deployment import ROOT, Deployment

Json = dict[str, Any]
KID = "q7Zt1+Wc0b/9dLr+Yk2mTgHs5uXvN3aPeJ8iFoRxB4E="
PATIENT, ENCOUNTER = "eQzP1rTnB0uVwXyA2bCdEfG3", "eK9LmNoPqRsTuVwXyZ0AbCdEfGhIjKlMnOpQrStUvW12"
SITE_CODES = "urn:oid:1.2.840.114350.1.13.999.1.7.2.696580"
CPT = "urn:oid:2.16.840.1.113883.6.12"
ADVISOR, CRD = "/cds-services/order-sign-advisor", "/cds-services/order-sign-crd"
PREFERENCE = "urn:com.epic.cdshooks.action.code.system.preference-list-item"
EXTENSION = "com.epic.cdshooks.feedback.overrideReason"


class _Keys(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Not into the test's output."""


class Ehr:
    """What the EHR is: a key of its own, published under its `jku`, and tokens as it makes them."""

    def __init__(self, site: Deployment) -> None:
        self.site, self.key = site, rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(RSAAlgorithm.to_jwk(self.key.public_key()))
        keys = {"keys": [{**public, "kid": KID, "alg": "RS384", "use": "sig"}]}
        handler = type("Keys", (_Keys,), {"body": json.dumps(keys).encode()})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{self.server.server_address[1]}/interconnect"
        self.issuer, self.jku = f"{base}/api/FHIR/R4", f"{base}/api/epic/2019/Security/Open/PublicKeys/530013/530013"

    def token(self, url: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer, "sub": str(uuid4()), "aud": url, "iat": now, "nbf": now - 300, "exp": now + 900,
            "jti": str(uuid4()),
        }  # fmt: skip
        headers = {"kid": KID, "jku": self.jku, "typ": "JWT"}
        return jwt.encode(claims, self.key, "RS384", headers)

    def post(self, path: str, body: Json, *, audience: str | None = None) -> requests.Response:
        url = self.site.url + path
        headers = {"Authorization": f"Bearer {self.token(audience or url)}"}
        return requests.post(url, json=body, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def ehr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ehr]:
    folder = tmp_path_factory.mktemp("epic")
    site = Deployment(
        folder, {"CDS_CARDS": str(ROOT / "cards"), "CDS_UNREVIEWED_POLICIES": "show", "CDS_PAYERS": "aetna"}
    )
    ehr = Ehr(site)
    client = {
        "id": "west", "name": "West Hospital", "issuer": ehr.issuer, "jku_allowed": [ehr.jku], "dialect": "epic",
        "allow_loopback_http": True, "order_codes": {"cpt:20936": "WESTGRAFT1"},
    }  # fmt: skip
    site.clients_file.write_text(yaml.safe_dump({"format": 1, "clients": [client]}))
    site.start()
    yield ehr
    site.stop()
    ehr.server.shutdown()
    ehr.server.server_close()


def long_id(number: int) -> str:
    return f"eUnsigned{number}.".ljust(194, "x")


def order(number: int, code: str) -> Json:
    """An unsigned order: no authoredOn, no requester but the reason why there is none, the site's code first."""
    return {
        "resourceType": "ServiceRequest",
        "id": long_id(number),
        "status": "draft",
        "intent": "order",
        "code": {
            "coding": [{"system": SITE_CODES, "code": f"9{number}"}, {"system": CPT, "code": code}],
            "text": "an order",
        },
        "subject": {"reference": f"Patient/{PATIENT}"},
        "encounter": {"reference": f"Encounter/{ENCOUNTER}"},
        "requester": {
            "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
        },
    }


def bundle(base: str, *resources: Json, outcome: bool = False) -> Json:
    entries: list[Json] = [
        {"fullUrl": f"{base}/{r['resourceType']}/{r['id']}", "resource": r, "search": {"mode": "match"}}
        for r in resources
    ]
    if outcome:
        issue = {
            "severity": "warning",
            "code": "processing",
            "details": {"text": "Resource request returns no results."},
        }
        found = {"resourceType": "OperationOutcome", "issue": [issue]}
        entries.append({"resource": found, "search": {"mode": "outcome"}})
    return {"resourceType": "Bundle", "type": "searchset", "total": len(resources), "entry": entries}


def request_of(ehr: Ehr) -> Json:
    base = ehr.issuer
    medication = {
        "resourceType": "Medication",
        "id": "eMed1",
        "code": {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.88", "code": "161"}]},
    }
    prescription = {
        "resourceType": "MedicationRequest",
        "id": long_id(9),
        "status": "draft",
        "intent": "order",
        "medicationReference": {"reference": "Medication/eMed1"},
        "subject": {"reference": f"Patient/{PATIENT}"},
    }
    orders = [order(1, "22551"), order(2, "22552"), order(3, "20930"), order(6, "20939"), prescription, medication]
    patient = {"resourceType": "Patient", "id": PATIENT, "birthDate": "1961-04-07", "gender": "female"}
    slip = {
        "resourceType": "Condition",
        "id": "eSlip",
        "clinicalStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
        },
        "subject": {"reference": f"{base}/Patient/{PATIENT}"},
        "code": {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.90", "code": "M43.12"}]},
    }
    payer = {
        "resourceType": "Organization",
        "id": "ePayer",
        "identifier": [{"system": "http://example.org/payer-id", "value": "aetna"}],
        "name": "Aetna",
    }
    coverage = {
        "resourceType": "Coverage",
        "id": "eCov",
        "status": "active",
        "beneficiary": {"reference": f"{base}/Patient/{PATIENT}"},
        "payor": [{"reference": f"{base}/Organization/ePayer", "display": "Aetna"}],
    }
    return {
        "hook": "order-sign",
        "hookInstance": str(uuid4()),
        "fhirServer": base,
        "context": {
            "patientId": PATIENT,
            "encounterId": ENCOUNTER,
            "userId": "PractitionerRole/eRole1",
            "draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in orders]},
        },
        "prefetch": {
            "patient": patient,
            "conditions": bundle(base, slip),
            "procedures": bundle(base, outcome=True),
            "activeOrders": bundle(base, outcome=True),
            "coverage": bundle(base, coverage, payer),
            "authorizations": bundle(base, outcome=True),
            "observations": bundle(base, outcome=True),
            "questionnaireResponses": bundle(base, outcome=True),
        },
        "extension": {
            "com.epic.cdshooks.request.bpa-trigger-action": "23",
            "com.epic.cdshooks.request.cds-hooks-implementation-version": "1.1",
            "com.epic.cdshooks.request.cds-hooks-su-version": "1.0",
            "com.epic.cdshooks.request.criteria-id": "4711",
            "com.epic.cdshooks.request.epic-version": "10.8",
            "com.epic.cdshooks.request.fhir-version": "R4",
            "internal-id": "e1",
        },
    }


@pytest.fixture
def card(ehr: Ehr) -> Json:
    response = ehr.post(ADVISOR, request_of(ehr))
    assert response.status_code == 200, f"{response.text}\n{ehr.site.log()[-2000:]}"
    [card] = [c for c in response.json()["cards"] if "20939" in c["summary"]]
    return dict(card)


def test_the_card_is_one_that_this_client_can_take(card: Json) -> None:
    assert card["indicator"] == "warning"
    assert card["selectionBehavior"] == "any"
    assert [len(s["actions"]) for s in card["suggestions"]] == [1] * len(card["suggestions"])
    by_type = {s["actions"][0]["type"]: s for s in card["suggestions"]}
    assert set(by_type) == {"delete", "create"}
    assert by_type["delete"]["actions"][0]["resourceId"] == f"ServiceRequest/{long_id(6)}"
    created = by_type["create"]["actions"][0]
    assert created["resource"]["code"]["coding"][0] == {"system": PREFERENCE, "code": "WESTGRAFT1"}
    assert created["description"] == by_type["create"]["label"]
    # Of all options only the one that the site has a code for has a button.
    assert sum(s["actions"][0]["type"] == "create" for s in card["suggestions"]) == 1
    assert re.fullmatch(r"[A-Za-z0-9]{1,100}", card["source"]["topic"]["code"])


def test_the_topic_is_the_same_the_next_time(ehr: Ehr, card: Json) -> None:
    [again] = [c for c in ehr.post(ADVISOR, request_of(ehr)).json()["cards"] if "20939" in c["summary"]]
    assert again["uuid"] != card["uuid"]
    assert again["source"]["topic"] == card["source"]["topic"]


def test_crd_answers_each_order_under_its_own_long_id(ehr: Ehr) -> None:
    response = ehr.post(CRD, request_of(ehr))
    assert response.status_code == 200, response.text
    answered = {a["resource"]["id"] for a in response.json()["systemActions"]}
    assert {long_id(n) for n in (1, 2, 3, 6)} <= answered


def kept(ehr: Ehr, card: Json) -> list[Json]:
    with ehr.site.ledger() as ledger:
        return [d for d in ledger.records(hook="feedback") if d["card"]["uuid"] == card["uuid"]]


def feedback(card: Json, **more: Any) -> Json:
    item = {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": "2026-11-20T19:44:04Z", **more}
    return {"feedback": [item]}


@pytest.mark.parametrize(
    ("said", "code", "offered"),
    [
        ({"reason": {"code": "prefers-alternative", "display": "No", "system": "any"}}, "prefers-alternative", True),
        (
            {"extension": {
                f"{EXTENSION}.reasonCategory": "45",
                f"{EXTENSION}.reasonDisplay": "Does not meet criteria",
                f"{EXTENSION}.reasonTitle": "Does not meet criteria",
            }},
            "45",
            False,
        ),
        ({"extension": {f"{EXTENSION}.id": "1040"}}, "1040", False),
        ({}, None, None),
    ],
)  # fmt: skip
def test_its_feedback_is_joined_to_the_rule_with_reason_and_comment(
    ehr: Ehr, card: Json, said: Json, code: str | None, offered: bool | None
) -> None:
    body = feedback(card, overrideReasons={**said, "userComment": "surgeon's choice"})
    response = ehr.post(f"{ADVISOR}/feedback", body, audience=ehr.site.url + ADVISOR)
    assert response.status_code == 200, response.text
    [stored] = kept(ehr, card)
    assert stored["feedback"] == body["feedback"][0]
    assert ((stored["reason"] or {}).get("code"), stored["reasonOffered"], stored["commented"]) == (code, offered, True)
    assert stored["card"]["policy"]
    assert stored["card"]["rule"]
    with ehr.site.ledger() as ledger:
        [rule] = [
            r
            for r in ledger.metrics(client="west")["rules"]
            if (r["policy"], r["rule"]) == (stored["card"]["policy"], stored["card"]["rule"])
        ]
    assert rule["overridden"] == 1


def test_an_accepted_suggestion_is_one_of_those_that_were_shown(ehr: Ehr, card: Json) -> None:
    for suggestion in card["suggestions"]:
        body = feedback(card, outcome="accepted", acceptedSuggestions=[{"id": suggestion["uuid"]}])
        assert ehr.post(f"{ADVISOR}/feedback", body).status_code == 200
    told = {tuple(pair) for stored in kept(ehr, card) for pair in stored["suggestions"]}
    assert told == {(s["uuid"], s["label"]) for s in card["suggestions"]}


def test_the_sheet_is_what_its_analyst_types_in(ehr: Ehr, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from cds_service.auth.cli import client_group

    done = CliRunner().invoke(
        client_group,
        ["sheet", "west", "--clients", str(ehr.site.clients_file)],
        env={"CDS_PUBLIC_URL": ehr.site.url, "CDS_CARDS": str(ROOT / "cards")},
    )
    assert done.exit_code == 0, done.output
    for wanted in (ehr.site.url + ADVISOR, ehr.jku, ehr.issuer, "900 s", "WESTGRAFT1", PREFERENCE):
        assert wanted in done.output
