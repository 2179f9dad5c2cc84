"""Names of the operators' listener, files for secrets, limits of the machine, workers that die."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from support.service import free_port

from cds_service.config import Settings, from_environment, read_files
from cds_service.errors import ConfigurationError
from cds_service.web.listening import check_descriptors
from cds_service.web.pages.insights import _cell
from cds_service.web.respawns import Respawns
from tests.functional.deployment import CONTENT, ROOT, SECRET, Deployment, deployed, hook_request
from tests.functional.postgres import server
from tests.functional.test_web_listening import operators
from tests.functional.test_web_respawn import workers


def test_names_of_the_operators_listener_ignore_case_and_a_last_dot(tmp_path: Path) -> None:
    port = free_port()
    with deployed(tmp_path, "north", CDS_ADMIN_PORT=str(port), CDS_ADMIN_HOSTS="Ops.Example.org") as site:
        url = f"http://127.0.0.1:{port}/metrics"
        site.wait_until(lambda: operators(site) and reachable(url))
        for host, status in {
            "LOCALHOST": 200, "localhost.": 200, f"LocalHost.:{port}": 200, "ops.example.ORG.": 200, "[::1]:9000": 200,
            "localhost..": 400, "evil.example.org": 400, "localhost.evil.example.org": 400, "localhost, a": 400,
        }.items():  # fmt: skip
            assert (host, requests.get(url, headers={"Host": host}, timeout=10).status_code) == (host, status)


def reachable(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


# --- secrets in files


def test_a_setting_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"  {SECRET}\n")
    environment = {"CDS_LEDGER_KEY_FILE": str(tmp_path / "key"), "CDS_FHIR_CA_FILE": "/a.pem", "CDS_PORT": "81"}
    read_files(environment)
    settings = from_environment(environment)
    assert (settings.ledger_key, settings.fhir_ca_file, settings.port) == (SECRET, "/a.pem", 81)


def test_no_setting_can_be_taken_for_the_file_of_another() -> None:
    names = set(Settings.__dataclass_fields__)
    assert not {name for name in names if f"{name}_file" in names}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"CDS_LEDGER_KEY": "x"}, "CDS_LEDGER_KEY and CDS_LEDGER_KEY_FILE are both given. Keep one of them."),
        ({"CDS_LEDGER_KEY_FILE": "/no/such"}, "CDS_LEDGER_KEY_FILE: /no/such cannot be read: No such file"),
        ({"CDS_LEDGER_KEY_FILE": "/dev/zero"}, "CDS_LEDGER_KEY_FILE: /dev/zero cannot be read: Not a regular file."),
    ],
)
def test_a_file_that_cannot_be_used_is_told(more: dict[str, str], told: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        read_files({"CDS_LEDGER_KEY_FILE": str(tmp_path / "key"), **more})


def test_the_service_and_the_commands_read_secrets_from_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET + "\n")
    url = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    (tmp_path / "url").write_text(url + "\n")
    site = Deployment(tmp_path, {"CDS_LEDGER_KEY_FILE": f"{tmp_path}/key", "CDS_DATABASE_URL_FILE": f"{tmp_path}/url"})
    site.add("north")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CDS_")} | site.options
    log = (tmp_path / "log").open("w+b")
    started = {"CDS_CLIENTS": str(site.clients_file), "CDS_CARDS": str(CONTENT), "CDS_PORT": str(site.port)}
    command = [sys.executable, "-m", "cds_service.cli"]
    with log, subprocess.Popen([*command, "serve"], cwd=ROOT, env=environment | started, stdout=log, stderr=log) as run:
        try:
            wait(site.url)
            assert site.call("north", hook_request()).status_code == 200
        finally:
            run.terminate()
    verified = subprocess.run(
        [*command, "ledger", "verify"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (verified.returncode, "intact" in verified.stdout) == (0, True), verified.stdout + verified.stderr


def wait(url: str) -> None:
    until = time.monotonic() + 30
    while not reachable(f"{url}/health/ready"):
        assert time.monotonic() < until
        time.sleep(0.1)


# --- limits of the machine


def limited(soft: int, hard: int) -> Any:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def told_at_start(tmp_path: Path, soft: int, hard: int) -> str:
    code = (
        "import resource; from cds_service.web.listening import check_descriptors;"
        "from cds_service.config import Settings;"
        "print(check_descriptors(Settings()), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, preexec_fn=limited(soft, hard), capture_output=True, text=True
    )
    return (done.stdout or done.stderr.splitlines()[-1]).strip()


def test_the_limit_of_open_files_is_raised_or_told_of(tmp_path: Path) -> None:
    assert told_at_start(tmp_path, 64, 4096) == "1024 4096"
    assert told_at_start(tmp_path, 64, 400) == "240 400"
    assert told_at_start(tmp_path, 64, 64).endswith(
        "only 64 files may be open (ulimit -n), and CDS_WAITING=64 with CDS_FETCH_WORKERS=16 needs 304. "
        "Raise the limit, or lower these."
    )
    assert check_descriptors(Settings()) >= 144


# --- workers that die


def test_a_worker_that_dies_three_times_in_a_row_ends_nothing(tmp_path: Path) -> None:
    with deployed(tmp_path, "north", CDS_WORKERS="2") as site:
        healthy, dying = workers(site)
        for _ in range(3):
            before = site.ready_workers()
            os.kill(dying, signal.SIGKILL)
            site.wait_until(lambda before=before: site.ready_workers() == before + 1)
            [dying] = set(workers(site)) - {healthy}
        assert healthy in workers(site)
        answers = [site.call("north", hook_request(), headers={"Connection": "close"}).status_code for _ in range(8)]
        assert answers == [200] * 8
        assert site.stop() == 0


class Clock:
    time = 100.0

    def __call__(self) -> float:
        return self.time


def test_pauses_grow_where_a_worker_dies_young_and_end_where_it_lived() -> None:
    clock = Clock()
    respawns = Respawns(2, clock)
    pauses = []
    for _ in range(6):
        respawns.died(0, 1.0)
        pauses.append(respawns.pause())
        clock.time += respawns.pause() or 0
        assert respawns.due() == [0]
    assert pauses == [0, 0.5, 1, 2, 4, 4]
    assert respawns.pause() is None
    respawns.died(0, 11.0)
    assert respawns.pause() == 0


def test_only_where_no_worker_has_lived_for_a_minute_it_is_hopeless() -> None:
    clock = Clock()
    respawns = Respawns(2, clock)
    respawns.died(0, 1.0)
    respawns.died(1, 1.0)
    clock.time += 61
    assert respawns.hopeless()
    assert respawns.due() == [0, 1]
    assert not respawns.hopeless()  # they are being tried again
    respawns.died(0, 1.0)
    assert not respawns.hopeless()  # one is alive
    respawns.died(1, 30.0)
    assert not respawns.hopeless()  # and has lived


def test_the_operators_listener_is_back_soon_after_the_database(tmp_path: Path) -> None:
    port = free_port()
    with deployed(tmp_path, "north", CDS_ADMIN_PORT=str(port), CDS_DATABASE_URL=server().new_database()) as site:
        site.wait_until(lambda: reachable(f"http://127.0.0.1:{port}/metrics"))
        former = operators(site)
        assert former is not None
        with server().frozen():
            os.kill(former, signal.SIGKILL)
            time.sleep(8)
        site.wait_until(lambda: reachable(f"http://127.0.0.1:{port}/metrics"), 12)


# --- what people open in a spreadsheet


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", " =", "\u00a0="]
)
def test_a_cell_starts_no_formula(start: str) -> None:
    assert _cell(f"{start}1+1") == f"'{start}1+1"
    assert _cell(f"a{start}") == f"a{start}"
