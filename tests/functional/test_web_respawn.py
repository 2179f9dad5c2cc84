"""A worker dies while the operator's files are faulty: the one that replaces it begins with what was in force."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.service import free_port

from cds_service.config import Settings
from cds_service.content_files import load_content, load_rulebook
from cds_service.hooks.runtime import Runtime
from cds_service.ledger.store import Ledger
from cds_service.policy.compiled import dump
from cds_service.web import in_force
from cds_service.web.control import Live, look
from cds_service.web.in_force import Begin, InForce
from tests.functional.deployment import CONTENT, POLICY, SECRET, Deployment, deployed, hook_request, marrow_cards
from tests.functional.test_web_listening import operators

STILL = "What was in force before still is."


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployment]:
    """Two workers, so that one can be replaced soon after the other; policies to edit, and a control file."""
    shutil.copytree(CONTENT, tmp_path / "cards")
    (tmp_path / "control.yaml").write_text("")
    options = {"CDS_WORKERS": "2", "CDS_CARDS": f"{tmp_path}/cards", "CDS_CONTROL": f"{tmp_path}/control.yaml"}
    with deployed(tmp_path, "north", "south", **options) as site:
        yield site
        assert site.stop() == 0


def said(site: Deployment, start: str) -> int:
    return sum(line["message"].startswith(start) for line in site.log_lines())


def edit(site: Deployment, file: Path, text: str, then: str) -> None:
    """Write a watched file, and wait until both workers have said so."""
    before = said(site, then)
    file.write_text(text)
    site.wait_until(lambda: said(site, then) == before + 2)


def hang_up(site: Deployment, then: str) -> None:
    before = said(site, then)
    site.hang_up()
    site.wait_until(lambda: said(site, then) == before + 2)


def workers(site: Deployment) -> list[int]:
    """The workers of the main listener, the oldest first."""
    assert site.process is not None
    children = Path(f"/proc/{site.process.pid}/task/{site.process.pid}/children").read_text().split()
    own = [pid for pid in children if b"cds_service.web.admin" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return [int(pid) for pid in own]


def replace(site: Deployment, *pids: int) -> None:
    """Kill workers, and wait until those that replace them answer."""
    before = site.ready_workers()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    site.wait_until(lambda: site.ready_workers() == before + len(pids))


def checks(site: Deployment) -> dict[str, str]:
    found: dict[str, str] = requests.get(f"{site.url}/health/ready", timeout=10).json()["checks"]
    return found


def status(site: Deployment, client: str) -> int:
    """Of a call on a connection of its own, so that any worker may get it."""
    return site.call(client, hook_request(), headers={"Connection": "close"}).status_code


def without_south(text: str) -> str:
    """The clients file without its last client."""
    return text.partition("  - id: south\n")[0]


def test_a_faulty_clients_file_does_not_keep_a_new_worker_from_starting(site: Deployment) -> None:
    both = site.clients_file.read_text()
    edit(site, site.clients_file, without_south(both), "reloaded")
    edit(site, site.clients_file, f"{both}  - id: [\n", "reload failed")
    replace(site, *workers(site))
    assert site.log_lines()[-1]["message"] == "worker ready"
    [first, second] = [line["message"] for line in site.log_lines() if "reload failed" in line["message"]][-2:]
    assert first == second
    assert str(site.clients_file) in first
    assert first.endswith(f": is not valid YAML: expected the node content, but found '<stream end>'. {STILL}")
    assert checks(site)["reload"].startswith("The last reload failed")
    # The client that a good edit took out stays out, though the faulty file names it.
    assert {client: {status(site, client) for _ in range(8)} for client in ("north", "south")} == {
        "north": {200}, "south": {401},
    }  # fmt: skip
    edit(site, site.clients_file, both, "reloaded")
    assert checks(site)["reload"] == "ok"
    assert status(site, "south") == 200


def test_a_client_taken_out_while_nobody_looked_does_not_come_back(site: Deployment) -> None:
    """The workers are stopped before the edit, so that only those that replace them see it."""
    stopped = workers(site)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    site.clients_file.write_text(without_south(site.clients_file.read_text()))
    replace(site, *stopped)
    assert [status(site, "south") for _ in range(8)] == [401] * 8
    assert status(site, "north") == 200


def test_the_last_client_taken_out_stays_out_and_its_switch_is_no_fault(site: Deployment) -> None:
    edit(site, site.folder / "control.yaml", "format: 1\nclients: {south: stopped}\n", "reloaded")
    edit(site, site.clients_file, "format: 1\nclients: []\n", "reloaded")
    replace(site, *workers(site))
    assert checks(site)["reload"] == "ok"
    assert {status(site, client) for client in ("north", "south")} == {401}


def test_a_faulty_control_file_leaves_the_switches_as_they_were(site: Deployment) -> None:
    control = site.folder / "control.yaml"
    edit(site, control, f"format: 1\npolicies: {{{POLICY}: silent}}\n", "reloaded")
    edit(site, control, "format: 1\npolicies: {no/such: silent}\n", "reload failed")
    replace(site, *workers(site))
    assert site.log().count(f"policies: 'no/such' is not known. Known: {POLICY}. {STILL}") == 4
    for _ in range(4):
        assert marrow_cards(site.call("north", hook_request(), headers={"Connection": "close"}).json()["cards"]) == []


@pytest.mark.parametrize("form", ["folder", "compiled"])
def test_policies_in_force_outlive_the_worker_whatever_the_folder_holds(tmp_path: Path, form: str) -> None:
    folder, compiled = tmp_path / "cards", tmp_path / "policies.cards"
    shutil.copytree(CONTENT, folder)
    policy = folder / POLICY / "policy.yaml"

    def built() -> str:
        compiled.write_bytes(dump(load_content(folder)))
        return load_rulebook(folder).revision[:12]

    built()
    options = {"CDS_WORKERS": "2", "CDS_CARDS": str(folder if form == "folder" else compiled)}
    with deployed(tmp_path, "north", **options) as site:
        policy.write_text(policy.read_text().replace("short_title:", "short_title: Renamed #", 1))
        revision = built()
        hang_up(site, "reloaded")
        policy.write_text("format: [")
        compiled.write_bytes(b"half of a fi")
        one, other = workers(site)
        replace(site, one)
        # Nobody has asked for the policies to be read: the fault is not there yet.
        found = [checks(site) for _ in range(8)]
        assert {(c["content"], c["reload"]) for c in found} == {(revision, "ok")}
        hang_up(site, "reload failed")
        replace(site, other)
        found = [checks(site) for _ in range(8)]
        assert {(c["content"], c["reload"][:22]) for c in found} == {(revision, "The last reload failed")}
        assert said(site, "reload failed: ") == 3
        assert STILL in site.log_lines()[-2]["message"]
        assert "Renamed" in site.cards("north", hook_request())[0]["source"]["label"]


def test_faulty_policies_hold_up_no_client_that_is_taken_out(site: Deployment) -> None:
    """Both at once, as a new worker may find it."""
    stopped = workers(site)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    (site.folder / "cards" / POLICY / "policy.yaml").write_text("format: [")
    site.hang_up()
    site.clients_file.write_text(without_south(site.clients_file.read_text()))
    replace(site, *stopped)
    assert [status(site, "south") for _ in range(8)] == [401] * 8
    assert status(site, "north") == 200


def test_the_operators_listener_comes_back_too(tmp_path: Path) -> None:
    port = free_port()
    with deployed(tmp_path, "north", CDS_ADMIN_PORT=str(port)) as site:

        def ready() -> Any:
            try:
                return requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).json()["checks"]
            except requests.ConnectionError:
                return None

        site.wait_until(ready)
        edit(site, site.clients_file, "format: [\n", "reload failed")
        former = operators(site)
        assert former is not None
        os.kill(former, signal.SIGKILL)
        site.wait_until(lambda: operators(site) not in (None, former))
        site.wait_until(ready)
        assert ready()["reload"].startswith("The last reload failed")


def test_what_cannot_be_kept_is_not_there_rather_than_outdated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(demo=True, cards=str(CONTENT))
    kept, seen = InForce(tmp_path), look(settings, tmp_path / "marker")
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", key=SECRET.encode()) as ledger:
        state = Live(Runtime.build(settings), ledger).state
    kept.keep(state, seen)
    begin = kept.begin(settings)
    assert begin.book is not None
    assert (begin.book.rulebook.revision, begin.texts, begin.seen) == (
        state.runtime.book.rulebook.revision, state.texts, seen,
    )  # fmt: skip
    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir() if file.suffix in (".json", ".cards")} == {0}

    def full(**_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(in_force.tempfile, "mkstemp", full)
        kept.keep(state, seen)
    assert caplog.messages == ["what is in force cannot be kept for workers to come: No space left on device"]
    assert kept.begin(settings) == Begin()
