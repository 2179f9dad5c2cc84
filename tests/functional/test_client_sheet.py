"""`cds-service client sheet`: what an analyst types in is what the running service says of itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cds_service.render.parts import OVERRIDE_REASONS
from tests.functional.deployment import CONTENT, Deployment, deployed


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("sheet"), "north") as site:
        yield site


def sheet(site: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"], "CDS_PUBLIC_URL": site.url, "CDS_CARDS": str(CONTENT),
        "CDS_CLIENTS": str(site.clients_file),
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name("cds-service")), "client", "sheet", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_it_says_what_discovery_says(site: Deployment, form: str) -> None:
    done = sheet(site, "north", "--format", form)
    assert done.returncode == 0, done.stderr
    told = done.stdout.replace(r"\|", "|")
    parts = {part.partition("\n")[0]: part for part in re.split(r"(?m)^(?:## )?Service: ", told)[1:]}
    services = requests.get(f"{site.url}/cds-services", timeout=20).json()["services"]
    assert sorted(parts) == sorted(s["title"] for s in services)
    for service in services:
        part = parts[service["title"]]
        url = f"{site.url}/cds-services/{service['id']}"
        for wanted in (service["hook"], url, f"{url}/feedback", *service["prefetch"].values()):
            assert re.search(rf"[ `]{re.escape(wanted)}(`|\n)", part), wanted
        assert set(re.findall(r"(?m)^(?:\| )?Prefetch (\w+)(?: \||  )", part)) == set(service["prefetch"])
    client = site.clients["north"]
    kinds = {re.match("[A-Za-z]+", t)[0] for s in services for t in s["prefetch"].values()}  # type: ignore[index]
    for wanted in (
        client.issuer,
        "900 s",
        "60 s",
        *(c for c, _ in OVERRIDE_REASONS),
        *(f"user/{k}.read" for k in kinds),
    ):
        assert wanted in told, wanted


def test_a_client_that_is_not_declared_is_named_with_those_that_are(site: Deployment) -> None:
    done = sheet(site, "south")
    assert done.returncode == 2
    assert "no client 'south'" in done.stderr
    assert "north" in done.stderr
