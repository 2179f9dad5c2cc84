"""Where the service listens: ports in use are refused at start, and the operators' listener is kept alive."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from support.service import free_port

from cds_service.config import from_environment
from cds_service.errors import ConfigurationError
from tests.functional.deployment import CONTENT, ROOT, SECRET, Deployment, deployed


def start(folder: Path, **options: str) -> subprocess.CompletedProcess[str]:
    """`serve` that is expected to end by itself."""
    site = Deployment(folder)
    site.add("north")
    environment = {"CDS_CLIENTS": str(site.clients_file), "CDS_DATABASE_URL": site.database, "CDS_LEDGER_KEY": SECRET,
                   "CDS_CARDS": str(CONTENT), "CDS_PORT": str(free_port()), **options}  # fmt: skip
    return subprocess.run([sys.executable, "-m", "cds_service.cli", "serve"], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=40, check=False)  # fmt: skip


def test_a_second_service_on_the_port_is_refused(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with deployed(tmp_path, "north") as site:
        done = start(tmp_path / "second", CDS_PORT=str(site.port))
        assert site.answers()
    assert (done.returncode, done.stderr) == (
        2, f"cds-service: port {site.port} is in use. End what uses it, or choose another.\n"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["CDS_PORT", "CDS_ADMIN_PORT"])
def test_a_port_of_another_program_is_refused(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = start(tmp_path, **{name: str(port)})
    assert (done.returncode, done.stderr) == (
        2, f"cds-service: port {port} is in use. End what uses it, or choose another.\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"CDS_HOST": "nowhere.invalid"}, "CDS_HOST: 'nowhere.invalid' is no address that can be listened on."),
        ({"CDS_HOST": "203.0.113.9"}, "cannot listen on 203.0.113.9, port"),
        ({"CDS_ADMIN_PORT": "1", "CDS_ADMIN_HOST": "203.0.113.9"}, "cannot listen on 203.0.113.9, port 1:"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_refused(options: dict[str, str], told: str, tmp_path: Path) -> None:
    done = start(tmp_path, **options)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert told in done.stderr


def test_both_listeners_need_ports_of_their_own() -> None:
    with pytest.raises(ConfigurationError, match="CDS_ADMIN_PORT must differ from CDS_PORT"):
        from_environment({"CDS_ADMIN_PORT": "8000"})


def operators(site: Deployment) -> int | None:
    """Process id of the operators' listener, which is a child of the service's first process."""
    assert site.process is not None
    for pid in Path(f"/proc/{site.process.pid}").glob("task/*/children"):
        for child in pid.read_text().split():
            if b"cds_service.web.admin" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


def test_the_operators_listener_is_started_again_when_it_ends(tmp_path: Path) -> None:
    port = free_port()

    def up() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/health/live", timeout=5).ok
        except requests.ConnectionError:
            return False

    with deployed(tmp_path, "north", CDS_ADMIN_PORT=str(port)) as site:
        site.wait_until(up)
        former = operators(site)
        assert former is not None
        os.kill(former, signal.SIGKILL)
        site.wait_until(lambda: operators(site) not in (None, former))
        site.wait_until(up)
        assert any("the operators' listener ended" in line["message"] for line in site.log_lines())
        assert site.stop() == 0
        assert site.members() == []


def test_a_deployment_that_shows_nothing_says_so(tmp_path: Path) -> None:
    """The bundled policies are all under review."""
    with deployed(tmp_path, "north", CDS_CARDS=str(ROOT / "cards")) as site:
        said = "no policy is approved: nothing will be shown; see CDS_UNREVIEWED_POLICIES"
        assert [line["message"] for line in site.log_lines()].count(said) == 1
        checks = requests.get(f"{site.url}/health/ready", timeout=5).json()["checks"]
        assert checks["policies"] == "none is approved: nothing is shown"
