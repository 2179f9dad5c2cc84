"""Only trusted clients get in, each token counts once, and each client sees its own."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from cds_service.auth.issue import public_jwk
from tests.functional.deployment import (
    COVERAGE,
    FEEDBACK,
    ORDERS,
    PREFETCH,
    SERVICE,
    Deployment,
    bundle,
    deployed,
    hook_request,
    marrow_cards,
    order,
)
from tests.functional.hostile_fhir import HostileFhir, Request, Wire

REFUSAL = "The calling client is not trusted. Send a valid bearer token of a declared client."
LOCAL = "https://north.example.org/orders"


def answer_coverage(wire: Wire, request: Request) -> None:
    wire.json(bundle(COVERAGE) if "/Coverage" in request.path else bundle())


@pytest.fixture(scope="module")
def fhir() -> Iterator[HostileFhir]:
    with HostileFhir(answer_coverage) as server:
        yield server


@pytest.fixture(scope="module")
def site(fhir: HostileFhir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two workers, closed discovery; clients with different rights."""
    site = Deployment(
        tmp_path_factory.mktemp("trust"),
        {"CDS_WORKERS": "2", "CDS_OPEN_DISCOVERY": "false", "CDS_CORS_ORIGINS": "https://portal.example.org"},
    )
    site.add("north", "--fhir-server", fhir.base, "--allow-private")
    site.add("south", "--cors-origin", "https://south.example.org")
    site.add("hasty", "--rate-limit", "4")
    site.add("thrifty", "--rate-limit", "6")
    site.add("rsa", "--algorithm", "RS384")
    text = site.clients_file.read_text().replace(
        "fhir_servers:", f"code_map: {{'{LOCAL}': {{GRAFT: 'cpt:20939'}}}}\n    fhir_servers:", 1
    )
    site.clients_file.write_text(text)
    site.start()
    yield site
    assert site.stop() == 0


def post(site: Deployment, token: str, body: Any, path: str = SERVICE) -> requests.Response:
    # A connection of its own, so that either worker may get it.
    headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
    return requests.post(site.url + path, json=body, headers=headers, timeout=20)


def refused(response: requests.Response) -> None:
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["Cache-Control"] == "no-store"
    [issue] = response.json()["issue"]
    assert (issue["code"], issue["diagnostics"]) == ("login", REFUSAL)


@pytest.mark.parametrize("client", ["north", "rsa"])
def test_a_trusted_client_is_answered(site: Deployment, client: str) -> None:
    assert len(marrow_cards(site.cards(client, hook_request()))) == 1


def forged(site: Deployment, kind: str) -> str | None:
    """An Authorization header that must not get in."""
    north, south = site.clients["north"], site.clients["south"]
    url, now = site.url + SERVICE, int(time.time())
    claims = {"iss": north.issuer, "aud": url, "iat": now, "exp": now + 60, "jti": str(uuid4())}
    kid = public_jwk(north.key)["kid"]

    def signed(key: Any = north.key, algorithm: str = "ES384", **changed: Any) -> str:
        return "Bearer " + jwt.encode(claims | changed, key, algorithm, headers={"kid": kid})

    return {
        "nothing": None,
        "basic": "Basic bm9ydGg6c2VjcmV0",
        "another key": signed(ec.generate_private_key(ec.SECP384R1())),
        "another client's key": signed(south.key),
        "alg none": signed(None, "none"),
        "hmac": signed("secret-of-thirty-two-characters!", "HS256"),
        "another endpoint": signed(aud=site.url + FEEDBACK),
        "expired": signed(iat=now - 300, exp=now - 120),
        "not yet": signed(iat=now + 120, exp=now + 240),
        "stranger": signed(iss="https://stranger.example.org"),
        "no jti": signed(jti=None),
        "two tokens": f"{signed()}, {signed()}",
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["nothing", "basic", "another key", "another client's key", "alg none", "hmac", "another endpoint", "expired",
     "not yet", "stranger", "no jti", "two tokens"],
)  # fmt: skip
def test_forged_tokens_are_refused_with_one_body_and_leave_no_record(site: Deployment, kind: str) -> None:
    header, body = forged(site, kind), hook_request()
    headers = {} if header is None else {"Authorization": header}
    refused(requests.post(site.url + SERVICE, json=body, headers=headers, timeout=20))
    assert instances(site).count(body["hookInstance"]) == 0


def test_two_authorization_headers_are_refused(site: Deployment) -> None:
    first, second = (site.headers("north", SERVICE)["Authorization"] for _ in range(2))
    head = f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\nAuthorization: {first}\r\nAuthorization: {second}\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def instances(site: Deployment) -> list[str]:
    with site.ledger() as ledger:
        return [document["hookInstance"] for document in ledger.records() if document["hook"] != "feedback"]


def test_a_token_counts_once_even_if_sent_ten_times_at_once_to_two_workers(site: Deployment) -> None:
    token, body = site.clients["north"].token(site.url + SERVICE), hook_request()
    with ThreadPoolExecutor(10) as senders:
        answers = list(senders.map(lambda _: post(site, token, body), range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9
    for answer in answers:
        if answer.status_code == 401:
            refused(answer)
    assert instances(site).count(body["hookInstance"]) == 1


def test_a_replay_costs_neither_rate_limit_nor_a_query(site: Deployment, fhir: HostileFhir) -> None:
    prefetch = {key: value for key, value in PREFETCH.items() if key != "coverage"}
    access = {"fhirServer": fhir.base, "fhirAuthorization": {"access_token": "t-north-1", "token_type": "Bearer"}}
    body = hook_request(prefetch=prefetch, **access)
    token = site.clients["north"].token(site.url + SERVICE)
    assert post(site, token, body).status_code == 200
    before = len(fhir.requests)
    for _ in range(8):  # either worker gets some
        refused(post(site, token, body))
    assert len(fhir.requests) == before
    token = site.clients["thrifty"].token(site.url + SERVICE)
    assert post(site, token, hook_request()).status_code == 200
    for _ in range(20):
        refused(post(site, token, hook_request()))
    for _ in range(2):  # each worker grants three calls a minute
        assert site.call("thrifty", hook_request(), headers={"Connection": "close"}).status_code == 200


def test_a_repeated_hook_instance_with_tokens_of_its_own_is_answered(site: Deployment) -> None:
    body = hook_request()
    assert [site.call("north", body).status_code for _ in range(2)] == [200, 200]
    assert instances(site).count(body["hookInstance"]) == 2


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [(SERVICE, {"hook": "order-sign"}, 400), (SERVICE, [], 400), ("/cds-services/none", hook_request(), 404)],
)
def test_the_token_of_a_refused_call_is_used_up(site: Deployment, path: str, body: Any, status: int) -> None:
    token = site.clients["north"].token(site.url + path)
    assert post(site, token, body, path).status_code == status
    refused(post(site, token, hook_request() if path == SERVICE else body, path))


def test_discovery_is_closed_and_uses_up_its_token(site: Deployment) -> None:
    url = f"{site.url}/cds-services"
    refused(requests.get(url, timeout=20))
    headers = site.headers("south", "/cds-services")
    first = requests.get(url, headers=headers, timeout=20)
    assert {"order-sign-advisor", "order-select-advisor"} <= {s["id"] for s in first.json()["services"]}
    refused(requests.get(url, headers=headers, timeout=20))


def test_beyond_the_rate_limit_429_says_when_to_come_again_and_the_token_stays_good(site: Deployment) -> None:
    held, waits = "", []
    for _ in range(12):  # two workers grant two calls a minute each
        token = site.clients["hasty"].token(site.url + SERVICE)
        answer = post(site, token, hook_request())
        if answer.status_code == 429:
            held = token
            waits.append(int(answer.headers["Retry-After"]))
            assert answer.json()["issue"][0]["code"] == "throttled"
    assert len(waits) >= 5
    assert all(1 <= wait <= 60 for wait in waits)
    with site.ledger() as ledger:
        claims = jwt.decode(held, options={"verify_signature": False})
        assert ledger.claim(claims["iss"], claims["jti"], claims["exp"])


def test_a_clients_own_codes_count_and_no_other_clients(site: Deployment) -> None:
    body = hook_request(*ORDERS[:2], order("GRAFT", LOCAL))
    assert len(marrow_cards(site.cards("north", body))) == 1
    assert marrow_cards(site.cards("south", body | {"hookInstance": str(uuid4())})) == []


def test_only_the_callers_own_fhir_servers_are_asked(site: Deployment, fhir: HostileFhir) -> None:
    prefetch = {key: value for key, value in PREFETCH.items() if key != "coverage"}
    access = {"fhirServer": fhir.base, "fhirAuthorization": {"access_token": "t-north-1", "token_type": "Bearer"}}
    before = len(fhir.requests)
    assert len(marrow_cards(site.cards("north", hook_request(prefetch=prefetch, **access)))) == 1
    asked = fhir.requests[before:]
    assert [request.headers["authorization"] for request in asked] == ["Bearer t-north-1"]
    stranger = site.call("south", hook_request(prefetch=prefetch, **access))
    assert stranger.status_code == 412
    assert "prefetch.coverage is needed" in stranger.text
    assert "fhirServer is not a FHIR server declared for this client" in stranger.text
    assert len(fhir.requests) == before + 1


@pytest.mark.parametrize(
    "path", ["/cds-services", SERVICE, FEEDBACK, "/Questionnaire", "/Questionnaire/$questionnaire-package"]
)
@pytest.mark.parametrize("origin", ["https://portal.example.org", "https://south.example.org"])
def test_preflights_of_listed_origins_pass(site: Deployment, path: str, origin: str) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = requests.options(site.url + path, headers=asked, timeout=20)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_an_answer_may_be_read_by_a_listed_origin_only(site: Deployment) -> None:
    good = site.call("south", hook_request(), headers={"Origin": "https://south.example.org"})
    assert (good.status_code, good.headers["Access-Control-Allow-Origin"]) == (200, "https://south.example.org")
    other = site.call("south", hook_request(), headers={"Origin": "https://evil.example.org"})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_questionnaires_may_be_read_by_a_listed_origin_only(site: Deployment) -> None:
    listed = "https://south.example.org"
    for origin, allowed in ((listed, listed), ("https://evil.example.org", None)):
        headers = site.headers("south", "/Questionnaire") | {"Origin": origin}
        answer = requests.get(f"{site.url}/Questionnaire", headers=headers, timeout=20)
        assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (200, allowed)


def test_a_token_stays_used_up_after_a_restart(tmp_path: Path) -> None:
    with deployed(tmp_path, "north") as site:
        token = site.clients["north"].token(site.url + SERVICE)
        assert post(site, token, hook_request()).status_code == 200
        assert requests.get(f"{site.url}/cds-services", timeout=20).status_code == 200  # discovery is open by default
        assert site.stop() == 0
        site.start()
        refused(post(site, token, hook_request()))
