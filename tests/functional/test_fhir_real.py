"""The FHIR client against a real FHIR server (sekmet-fhir), which asks for the bearer token."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hostile_fhir import wait_for

from cds_service.facts.client import Allowed, FhirClient, Limits, Query
from cds_service.policy.case import SourceState

TOKEN = "synthetic-token-93af"
READ, EMPTY, UNAVAILABLE = SourceState.READ, SourceState.EMPTY, SourceState.UNAVAILABLE
PATIENT = {"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1960-03-01"}


def condition(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": f"c{number}",
        "subject": {"reference": "Patient/p1"},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M43.16"}]},
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running server with one patient and seven conditions."""
    folder = tmp_path_factory.mktemp("sekmet")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/fhir"
    settings = {
        "base_url": url,
        "data_dir": str(folder),
        "server_auth": {"types": ["bearer"], "tokens": [TOKEN]},
        "simulator": {"enabled": False},
    }
    (folder / "settings.yaml").write_text(json.dumps(settings))
    command = [Path(sys.executable).parent / "sekmet", "serve", "--config", "settings.yaml"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], cwd=folder, stdout=log, stderr=log
        ) as server,
    ):
        try:
            wait_for(lambda: server.poll() is not None or listens(port), 30)
            assert server.poll() is None, (folder / "log").read_text()
            for resource in (PATIENT, *map(condition, range(7))):
                put(url, resource)
            yield url
        finally:
            server.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def put(url: str, resource: dict[str, Any]) -> None:
    where = f"{url}/{resource['resourceType']}/{resource['id']}"
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/fhir+json"}
    response = requests.put(where, json=resource, headers=headers, timeout=10)
    assert response.status_code == 201, response.text


@pytest.fixture
def client() -> Iterator[FhirClient]:
    made = FhirClient(Limits(deadline_s=5.0))
    yield made
    made.close()


def test_reads_searches_and_pages(client: FhirClient, base: str) -> None:
    queries = [
        Query("patient", "Patient/p1"),
        Query("version", "Patient/p1/_history/1"),
        Query("nobody", "Patient/p2"),
        Query("conditions", "Condition?patient=p1&_count=2"),
        Query("coded", "Condition?patient=p1&code=http://hl7.org/fhir/sid/icd-10-cm|M43.16&_include=Condition:subject"),
        Query("procedures", "Procedure?patient=p1"),
    ]
    found = client.fetch(base, TOKEN, queries, allowed=Allowed.of([(base, True)]))
    assert {name: fetched.state for name, fetched in found.items()} == {
        "patient": READ,
        "version": READ,
        "nobody": EMPTY,
        "conditions": READ,
        "coded": READ,
        "procedures": EMPTY,
    }
    assert found["patient"].resources[0] | PATIENT == found["patient"].resources[0]
    assert (found["nobody"].status, found["conditions"].pages) == (404, 4)
    assert sorted(resource["id"] for resource in found["conditions"].resources) == [f"c{n}" for n in range(7)]
    assert sorted({resource["resourceType"] for resource in found["coded"].resources}) == ["Condition", "Patient"]


def test_more_pages_than_allowed_are_not_passed_off_as_the_chart(base: str) -> None:
    client = FhirClient(Limits(deadline_s=5.0, max_pages=3))
    queries = [Query("conditions", "Condition?patient=p1&_count=2")]
    fetched = client.fetch(base, TOKEN, queries, allowed=Allowed.of([(base, True)]))["conditions"]
    client.close()
    assert (fetched.state, fetched.resources, fetched.pages) == (UNAVAILABLE, (), 3)


@pytest.mark.parametrize("token", [None, "another-token"])
def test_without_the_right_token_access_is_refused(client: FhirClient, base: str, token: str | None) -> None:
    queries = [Query("patient", "Patient/p1"), Query("conditions", "Condition?patient=p1")]
    found = client.fetch(base, token, queries, allowed=Allowed.of([(base, True)]))
    assert {(f.state, f.status, f.detail) for f in found.values()} == {
        (UNAVAILABLE, 401, "the FHIR server refuses access (HTTP 401)")
    }
