"""Headers of pages, answers and errors; demo mode answers to names of this machine only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cds_service.config import Settings
from cds_service.hooks.runtime import Runtime
from cds_service.ledger.store import Ledger
from cds_service.web.app import create_app
from tests.functional.deployment import CONTENT, SECRET, SERVICE, hook_request

PAGE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", key=SECRET.encode()) as ledger:
        yield create_app(Runtime.build(Settings(demo=True, cards=str(CONTENT))), ledger).test_client()


def explanation(client: FlaskClient) -> str:
    card = client.post(SERVICE, json=hook_request()).json["cards"][0]
    return f"/explanations/{card['uuid']}"


@pytest.mark.parametrize("page", ["explanation", "/", "/policies", "/insights"])
def test_pages_run_nothing_but_our_own_files_and_tell_nobody(client: FlaskClient, page: str) -> None:
    path = explanation(client) if page == "explanation" else page
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert {name: answer.headers.get(name) for name in PAGE} == PAGE
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "Set-Cookie" not in answer.headers


def test_answers_and_errors_are_not_kept_and_not_sniffed(client: FlaskClient) -> None:
    for answer in (client.post(SERVICE, json=hook_request()), client.post(SERVICE, json=[]), client.get("/nothing")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example.org", "127.0.0.1.evil.example.org", "localhost.evil.example.org:8000"])
@pytest.mark.parametrize("path", ["/cds-services", "/", "/metrics", "/fhir/metadata"])
def test_demo_mode_answers_to_names_of_this_machine_only(client: FlaskClient, host: str, path: str) -> None:
    assert client.get(path, headers={"Host": host}).status_code == 400
    assert client.get(path, headers={"Host": "localhost:8000"}).status_code == 200
    assert client.get(path, headers={"Host": "[::1]:8000"}).status_code == 200


def test_demo_mode_is_open_to_browser_clients(client: FlaskClient) -> None:
    answer = client.get("/cds-services", headers={"Origin": "https://sandbox.cds-hooks.org"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    page = client.get("/metrics", headers={"Origin": "https://sandbox.cds-hooks.org"})
    assert "Access-Control-Allow-Origin" not in page.headers


ORIGIN = {"Origin": "https://dtr.example.org"}


@pytest.mark.parametrize(
    "path", ["/Questionnaire", "/Questionnaire/none", "/Questionnaire/a/b/c", "/Questionnaire/$questionnaire-package"]
)
def test_demo_mode_is_open_to_forms_in_browsers(client: FlaskClient, path: str) -> None:
    """Refusals too: what the page cannot read, it cannot tell."""
    preflight = client.options(path, headers=ORIGIN | {"Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    answer = client.post(path, json={}, headers=ORIGIN) if "$" in path else client.get(path, headers=ORIGIN)
    for each in (preflight, answer):
        assert each.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in each.headers


def test_a_questionnaire_is_kept_for_the_origin_that_asked(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", key=SECRET.encode()) as ledger:
        client = create_app(Runtime.build(Settings(demo=True)), ledger).test_client()
        own = client.get("/Questionnaire?_count=1").json["entry"][0]["resource"]["id"]
        for headers in ({}, ORIGIN):
            answer = client.get(f"/Questionnaire/{own}", headers=headers)
            assert (answer.status_code, "max-age" in answer.headers["Cache-Control"]) == (200, True)
            assert answer.headers.getlist("Vary") == ["Origin"]
