"""Synthetic records for the ledger's tests, and the fixture that runs each test on both databases."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cds_service.ledger.record import CardRecord, Record
from cds_service.ledger.store import Ledger
from tests.functional import postgres

KEY = b"a key of at least thirty-two characters"
TOKEN = "eyJhbGciOiJub25lIn0.fhir-access-token"
POLICY = "aetna/bone-graft-adjuncts"
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database, once on SQLite and once on PostgreSQL."""
    return new_url(request.param, tmp_path)


def new_url(backend: str, folder: Path) -> str:
    return f"sqlite:///{folder}/{uuid4().hex}.db" if backend == "sqlite" else postgres.server().new_database()


@pytest.fixture
def book(url: str) -> Iterator[Ledger]:
    """An open ledger; segments of four rows, so that tests see seals."""
    with Ledger.open(url, key=KEY, writer="test", segment_rows=4) as opened:
        yield opened


def card(**fields: Any) -> CardRecord:
    defaults: dict[str, Any] = {
        "uuid": str(uuid4()),
        "finding": uuid4().hex,
        "kind": "coverage",
        "indicator": "warning",
        "order": "ServiceRequest/marrow",
        "policy": POLICY,
        "version": "2025-12",
        "rule": "marrow-aspirate",
        "suggestions": ((str(uuid4()), "Remove 20939"),),
        "override_reasons": ("patient-preference", "contraindicated"),
    }
    return CardRecord(**{**defaults, **fields})


def determination(**fields: Any) -> dict[str, Any]:
    return {
        "order": "ServiceRequest/marrow",
        "code": "20939",
        "policy": POLICY,
        "version": "2025-12",
        "role": "primary",
        "rule": "marrow-aspirate",
        "outcome": "not-supported",
        "prior_authorization": "unknown",
        "missing": [],
        "trace": {"id": "marrow-aspirate", "op": "any", "outcome": "met", "evidence": [{"ref": "Condition/c1"}]},
        **fields,
    }


def record(*cards: CardRecord, **fields: Any) -> Record:
    shown = [
        {
            "uuid": c.uuid,
            "summary": "Marrow aspirate is not supported",
            "overrideReasons": [
                {"code": code, "system": "urn:reasons", "display": code.replace("-", " ").capitalize()}
                for code in c.override_reasons
            ],
        }
        for c in cards
        if c.shown
    ]
    defaults: dict[str, Any] = {
        "id": str(uuid4()),
        "received": datetime.now(UTC),
        "hook": "order-sign",
        "hook_instance": str(uuid4()),
        "service": "order-sign-advisor",
        "client": "hospital",
        "request": request(),
        "response": {"cards": shown},
        "determinations": (determination(),),
        "cards": cards,
        "explanations": {c.uuid: {"title": "Why", "order": c.order} for c in cards},
        "revision": "rev-1",
        "policies": (f"{POLICY}@2025-12",),
        "fetched": ({"query": "Condition", "status": 200, "ms": 3.5},),
        "timing": {"parse": 0.5, "evaluate": 1.0, "total": 2.0},
        "payer": "aetna",
    }
    return Record(**{**defaults, **fields})


def request() -> dict[str, Any]:
    return {
        "hook": "order-sign",
        "hookInstance": str(uuid4()),
        "fhirAuthorization": {"access_token": TOKEN, "token_type": "Bearer", "scope": "patient/*.rs"},
        "context": {"userId": "Practitioner/p", "patientId": "pat-1"},
        "prefetch": {
            "patient": {"resourceType": "Patient", "id": "pat-1", "name": [{"family": "Zwillinger"}]},
            "conditions": {
                "resourceType": "Bundle",
                "entry": [
                    {"resource": {"resourceType": "Condition", "id": "c1", "note": [{"text": "secret note"}]}},
                    {"resource": {"resourceType": "Condition", "id": "c2", "note": [{"text": "other note"}]}},
                ],
            },
        },
    }


def token() -> tuple[str, str, int]:
    return "https://ehr.example", str(uuid4()), int(time.time()) + 300


def feedback(
    card_: CardRecord, outcome: str = "accepted", at: str = "2026-03-01T09:00:00Z", **more: Any
) -> dict[str, Any]:
    item: dict[str, Any] = {"card": card_.uuid, "outcome": outcome, "outcomeTimestamp": at, **more}
    if outcome == "accepted":
        item.setdefault("acceptedSuggestions", [{"id": card_.suggestions[0][0]}])
    return item


def execute(url_: str, sql: str, *, expect: int | None = None) -> list[tuple[Any, ...]]:
    """Run SQL as an intruder with the database's password, but without the key, would."""
    if url_.startswith("sqlite"):
        connection: Any = sqlite3.connect(url_.removeprefix("sqlite:///"))
    else:
        import psycopg

        connection = psycopg.connect(url_)
    with contextlib.closing(connection):
        cursor = connection.cursor()
        cursor.execute(sql)
        if expect is not None:
            assert cursor.rowcount == expect, f"{cursor.rowcount} rows instead of {expect}: {sql}"
        rows = cursor.fetchall() if cursor.description else []
        cursor.close()
        connection.commit()
    return rows
