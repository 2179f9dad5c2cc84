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
