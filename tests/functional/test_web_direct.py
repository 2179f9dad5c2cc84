"""The direct way of hook calls: whatever is called, the answer is the one that Flask gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from cds_service.config import Settings
from cds_service.hooks.runtime import Runtime
from cds_service.ledger.store import Ledger
from cds_service.web import direct
from cds_service.web.app import create_app

STORY = Path(__file__).resolve().parents[2] / "fhir_fixtures" / "cervical-fusion-authorised" / "request.json"
ADVISOR = "/cds-services/order-sign-advisor"
HERE = "http://127.0.0.1:8000"
UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Path, then what differs from a good call of the seed story.
DIRECTLY: list[tuple[str, dict[str, Any]]] = [
    (ADVISOR, {}),
    (ADVISOR, {"headers": {"Origin": "https://sandbox.example.org"}}),
    (ADVISOR, {"data": b"{"}),
    (ADVISOR, {"data": b"{}"}),
    (ADVISOR, {"data": b"x" * 200_000}),
    (ADVISOR, {"content_type": "text/plain"}),
    (ADVISOR, {"headers": {"Content-Encoding": "gzip"}}),
    (ADVISOR, {"base_url": "http://example.org"}),
    ("/cds-services/no-such-service", {}),
]
BY_FLASK: list[tuple[str, dict[str, Any]]] = [
    (f"{ADVISOR}/", {}),
    (f"/{ADVISOR}", {}),
    (f"{ADVISOR}/feedback", {}),
    ("/cds-services/%C3%A9", {}),
    (ADVISOR, {"method": "GET"}),
    (ADVISOR, {"method": "OPTIONS", "headers": {"Origin": "https://sandbox.example.org"}}),
    (ADVISOR, {"environ_overrides": {"HTTP_HOST": "a..b"}}),
    (ADVISOR, {"environ_overrides": {"HTTP_HOST": "a" * 64}}),
    (ADVISOR, {"base_url": "http://[::1]:8000"}),
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The service in demo mode."""
    settings = Settings(demo=True, max_body_bytes=100_000)
    path = tmp_path_factory.mktemp("direct") / "ledger.sqlite3"
    with Ledger.open(f"sqlite:///{path}", key=b"k" * 32) as ledger:
        yield create_app(Runtime.build(settings), ledger)


def environ(path: str, **options: Any) -> dict[str, Any]:
    usual = {"method": "POST", "base_url": HERE, "data": STORY.read_bytes(), "content_type": "application/json"}
    return dict(EnvironBuilder(path, **{**usual, **options}).get_environ())


def answer(way: Any, path: str, options: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    pieces, status, headers = run_wsgi_app(way, environ(path, **options))
    return status, sorted(headers), UUID.sub(b"-", b"".join(pieces))


@pytest.mark.parametrize(("path", "options"), DIRECTLY + BY_FLASK)
def test_both_ways_answer_alike(app: Flask, path: str, options: dict[str, Any]) -> None:
    both: Any = app.wsgi_app._app._app  # behind what is in front of both
    assert answer(both, path, options) == answer(both._flask, path, options)


def test_only_plain_hook_calls_go_directly() -> None:
    assert all(direct._service(environ(path, **options)) for path, options in DIRECTLY)
    assert not any(direct._service(environ(path, **options)) for path, options in BY_FLASK)


def test_what_was_not_foreseen_is_answered_with_500(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(direct, "hook", broken)
    status, _, body = answer(app.wsgi_app, ADVISOR, {})
    assert status.startswith("500")
    assert b"OperationOutcome" in body
