"""Operators silence, stop and reload while the service answers, and no call is lost or sees two revisions."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cds_service.config import Settings
from cds_service.content_files import load_rulebook
from cds_service.hooks.runtime import Runtime
from cds_service.ledger.store import Ledger
from cds_service.web.app import create_app
from cds_service.web.watch import Watcher
from tests.functional.deployment import (
    CONTENT,
    FEEDBACK,
    POLICY,
    SECRET,
    SERVICE,
    Deployment,
    deployed,
    hook_request,
    marrow_cards,
    order,
)

CRD = "/cds-services/order-sign-crd"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two workers, a copy of the policies to edit, and an empty control file."""
    folder = tmp_path_factory.mktemp("control")
    shutil.copytree(CONTENT, folder / "cards")
    (folder / "control.yaml").write_text("")
    options = {"CDS_WORKERS": "2", "CDS_CARDS": str(folder / "cards"), "CDS_CONTROL": str(folder / "control.yaml")}
    with deployed(folder, "north", "south", **options) as site:
        yield site
        assert site.stop() == 0


def control(site: Deployment, **modes: dict[str, str]) -> None:
    """Write the control file, and wait until both workers have read it."""
    before = reloads(site)
    text = json.dumps({"format": 1, **modes}) if modes else ""
    (site.folder / "control.yaml").write_text(text + "\n# changed\n" * (reloads(site)["reloaded"] + 1))
    site.wait_until(lambda: reloads(site).total() == before.total() + 2)


def reloads(site: Deployment) -> Counter[str]:
    lines = (line["message"].split(":")[0] for line in site.log_lines() if line["logger"] == "cds_service.web.control")
    return Counter(lines)


def stored(site: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    with site.ledger() as ledger:
        [document] = [d for d in ledger.records() if d.get("hookInstance") == body["hookInstance"]]
    return document


def of_policy(site: Deployment, client: str) -> tuple[list[Any], dict[str, Any]]:
    """Cards of the policy in an answer, and the record of that answer."""
    body = hook_request()
    cards = [c for c in site.cards(client, body) if "Test policy" in c["source"]["label"]]
    return cards, stored(site, body)


def test_a_silent_policy_is_evaluated_and_recorded_but_not_shown(site: Deployment) -> None:
    control(site, policies={POLICY: "silent"})
    cards, record = of_policy(site, "north")
    assert cards == []
    held = [c for c in record["cards"] if c["policy"] == POLICY]
    assert [(c["kind"], c["shown"]) for c in held] == [("not-supported", False)]
    assert {"not-supported"} <= {d["outcome"] for d in record["determinations"] if d["policy"] == POLICY}
    # Nobody saw it, so nobody can speak of it.
    item = {"card": held[0]["uuid"], "outcome": "overridden", "outcomeTimestamp": "2026-11-20T12:00:00Z"}
    assert site.call("north", {"feedback": [item]}, FEEDBACK).status_code == 400
    control(site)
    assert len(of_policy(site, "north")[0]) == 1


def coverage_information(answer: dict[str, Any]) -> list[str]:
    """The orders that CRD's system actions speak of."""
    return [action["resource"]["id"] for action in answer["systemActions"]]


def test_a_silent_policy_asserts_nothing_to_crd_either(site: Deployment) -> None:
    drafts = [order(code) | {"requester": {"reference": "Practitioner/d1"}} for code in ("22551", "20939", "99999")]
    body = hook_request(*drafts)
    spoken = coverage_information(site.call("north", body, CRD).json())
    assert spoken == ["order-22551", "order-20939", "order-99999"]
    control(site, policies={POLICY: "silent"})
    assert coverage_information(site.call("north", hook_request(*drafts), CRD).json()) == ["order-99999"]
    control(site, clients={"north": "silent"})
    assert coverage_information(site.call("north", hook_request(*drafts), CRD).json()) == []
    control(site)


def test_a_stopped_policy_is_not_evaluated(site: Deployment) -> None:
    control(site, policies={POLICY: "stopped"})
    cards, record = of_policy(site, "north")
    assert cards == []
    assert [c for c in record["cards"] if c["policy"] == POLICY] == []
    assert POLICY not in {d["policy"] for d in record["determinations"]}
    control(site)


def test_a_silent_client_sees_nothing_and_others_do(site: Deployment) -> None:
    control(site, clients={"north": "silent"})
    body = hook_request()
    assert site.cards("north", body) == []
    record = stored(site, body)
    assert record["cards"]
    assert [c for c in record["cards"] if c["shown"]] == []
    assert len(of_policy(site, "south")[0]) == 1
    control(site)


def test_a_stopped_client_gets_no_advice_and_the_call_is_recorded(site: Deployment) -> None:
    control(site, clients={"south": "stopped"})
    body = hook_request()
    assert site.cards("south", body) == []
    record = stored(site, body)
    assert (record["client"], record["cards"], record["determinations"]) == ("south", [], [])
    control(site)


def test_the_clients_file_counts_without_restart(site: Deployment) -> None:
    before = reloads(site)["reloaded"]
    site.add("east", "--silent")
    site.wait_until(lambda: reloads(site)["reloaded"] == before + 2)
    assert site.cards("east", hook_request()) == []
    text = site.clients_file.read_text()
    site.clients_file.write_text(text.replace("silent: true", "disabled: true"))
    site.wait_until(lambda: reloads(site)["reloaded"] == before + 4)
    body = hook_request()
    assert site.cards("east", body) == []
    assert stored(site, body)["determinations"] == []
    kept, _, _ = text.partition("  - id: east")
    site.clients_file.write_text(kept)
    site.wait_until(lambda: reloads(site)["reloaded"] == before + 6)
    assert site.call("east", hook_request()).status_code == 401
    assert site.call("north", hook_request()).status_code == 200


def test_the_last_client_can_be_taken_out_though_it_has_a_switch(site: Deployment) -> None:
    good = site.clients_file.read_text()
    control(site, clients={"north": "silent"})
    before = reloads(site)
    site.clients_file.write_text("format: 1\nclients: []\n")
    site.wait_until(lambda: reloads(site)["reloaded"] == before["reloaded"] + 2)
    assert site.call("north", hook_request()).status_code == 401
    site.clients_file.write_text("")  # somebody is writing it: nothing is known of the clients
    site.wait_until(lambda: reloads(site)["reload failed"] == before["reload failed"] + 2)
    site.clients_file.write_text(good)
    site.wait_until(lambda: reloads(site)["reloaded"] == before["reloaded"] + 4)
    assert site.call("north", hook_request()).status_code == 200
    control(site)


def test_a_client_silenced_on_a_policy_that_is_not_there_is_told(site: Deployment) -> None:
    good = site.clients_file.read_text()
    before = reloads(site)["reload failed"]
    site.clients_file.write_text(good.replace("  - id: north\n", "  - id: north\n    silent: [misspelt/policy]\n", 1))
    site.wait_until(lambda: reloads(site)["reload failed"] == before + 2)
    assert "client 'north': silent: 'misspelt/policy' is not a policy here." in site.log()
    site.clients_file.write_text(good)
    control(site)


@pytest.mark.parametrize(
    "text",
    ["format: 1\npolicies: {no/such-policy: silent}\n", "format: 1\nclients: {north: off}\n", "format: [\n"],
)
def test_a_faulty_control_file_changes_nothing_and_is_told(site: Deployment, text: str) -> None:
    control(site, policies={POLICY: "silent"})
    before = reloads(site)["reload failed"]
    (site.folder / "control.yaml").write_text(text)
    site.wait_until(lambda: reloads(site)["reload failed"] == before + 2)
    assert of_policy(site, "north")[0] == []
    ready = requests.get(f"{site.url}/health/ready", timeout=10)
    assert (ready.status_code, ready.json()["checks"]["reload"][:22]) == (200, "The last reload failed")
    control(site)
    assert requests.get(f"{site.url}/health/ready", timeout=10).json()["checks"]["reload"] == "ok"


BAD_CLIENTS = {
    "a FHIR server above its folder": (
        "fhir_servers:\n      - {url: 'https://fhir.example.org/../r4'}",
        "holds . or ..",
    ),
    "a host that is not ASCII": ("fhir_servers: [{url: https://fhír.example.org/r4}]", "not ASCII"),
    "a day that does not exist": ("name: 2026-13-45", "is none. Put it in quotes."),
    "nested deeply": (
        f"tenants: {'[' * 3000}{']' * 3000}",
        "is nested more than 64 levels deep. Write it with fewer levels.",
    ),
}


@pytest.mark.parametrize("case", BAD_CLIENTS)
def test_a_faulty_clients_file_leaves_the_kill_switch_in_order(site: Deployment, case: str) -> None:
    entry, told = BAD_CLIENTS[case]
    good = site.clients_file.read_text()
    before = reloads(site)["reload failed"]
    site.clients_file.write_text(f"{good}  - id: west\n    issuer: https://west.example.org\n    {entry}\n")
    site.wait_until(lambda: reloads(site)["reload failed"] == before + 2)
    assert told in site.log()
    assert requests.get(f"{site.url}/health/ready", timeout=10).json()["checks"]["reload"].startswith("The last")
    site.clients_file.write_text(good)
    control(site, clients={"south": "stopped"})
    body = hook_request()
    site.cards("south", body)
    assert stored(site, body)["determinations"] == []
    control(site)


def edit_policy(site: Deployment, old: str, new: str) -> str:
    """Change the text of the policy; the revision that results."""
    file = site.folder / "cards" / POLICY / "policy.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return load_rulebook(site.folder / "cards").revision


def test_content_is_reloaded_under_load_and_every_call_sees_one_revision(site: Deployment) -> None:
    file = site.folder / "cards" / POLICY / "policy.yaml"
    title = next(line for line in file.read_text().splitlines() if line.startswith("short_title:"))
    first = load_rulebook(site.folder / "cards").revision
    done = threading.Event()
    answers: dict[str, tuple[int, str]] = {}

    def calls() -> None:
        while not done.is_set():
            body = hook_request()
            headers = site.headers("north", SERVICE) | {"Connection": "close"}
            answer = requests.post(site.url + SERVICE, json=body, headers=headers, timeout=30)
            answers[body["hookInstance"]] = (answer.status_code, answer.text)

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for thread in threads:
        thread.start()
    revisions = [first]
    try:
        for number in (1, 2):
            before = reloads(site)["reloaded"]
            former = title if number == 1 else f"short_title: Renamed {number - 1}"
            revisions.append(edit_policy(site, former, f"short_title: Renamed {number}"))
            site.hang_up()
            site.wait_until(lambda before=before: reloads(site)["reloaded"] == before + 2, 30)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert Counter(status for status, _ in answers.values()) == {200: len(answers)}
    with site.ledger() as ledger:
        seen = {d["hookInstance"]: d["revision"] for d in ledger.records() if d.get("hookInstance") in answers}
    assert set(seen) == set(answers)
    assert set(seen.values()) == set(revisions)
    names = {revision: f"Renamed {n}" for n, revision in enumerate(revisions) if n}
    for instance, (_, text) in answers.items():
        expected = names.get(seen[instance], title.removeprefix("short_title:").strip(" '\""))
        assert expected in text
        assert not any(name in text for name in set(names.values()) - {expected})


def test_faulty_content_is_told_and_the_former_stays(site: Deployment) -> None:
    before, good = reloads(site)["reload failed"], requests.get(f"{site.url}/health/ready", timeout=10).json()
    file = site.folder / "cards" / POLICY / "policy.yaml"
    text = file.read_text()
    file.write_text(text + "\nsurplus: true\n")
    site.hang_up()
    site.wait_until(lambda: reloads(site)["reload failed"] == before + 2)
    assert "policy.yaml" in site.log_lines()[-1]["message"] or "policy.yaml" in site.log()
    assert requests.get(f"{site.url}/health/ready", timeout=10).json()["checks"]["content"] == good["checks"]["content"]
    assert len(marrow_cards(site.cards("north", hook_request()))) == 1
    file.write_text(text)


def test_a_deployment_offers_the_services_it_names(tmp_path: Path) -> None:
    with deployed(tmp_path, "north", CDS_SERVICES="crd") as site:
        offered = {s["id"] for s in requests.get(f"{site.url}/cds-services", timeout=10).json()["services"]}
        assert not any(id_.endswith("-advisor") for id_ in offered)
        assert site.call("north", hook_request()).status_code == 404


def test_a_change_between_reading_a_file_and_watching_it_is_not_missed(tmp_path: Path) -> None:
    switches, marker = tmp_path / "control.yaml", tmp_path / "marker"
    switches.write_text("")
    settings = Settings(demo=True, cards=str(CONTENT), control=str(switches))
    watcher = Watcher(settings, marker)
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", key=SECRET.encode()) as ledger:
        live = create_app(Runtime.build(settings), ledger).extensions["cds_live"]
        switches.write_text(json.dumps({"format": 1, "policies": {POLICY: "stopped"}}))
        watcher.start(live)
        until = time.monotonic() + 10
        while not live.state.runtime.stopped and time.monotonic() < until:
            time.sleep(0.05)
        watcher.stop()
        assert live.state.runtime.stopped == {POLICY}


def test_watching_goes_on_after_what_nobody_foresaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    switches = tmp_path / "folder" / "control.yaml"
    switches.parent.mkdir()
    switches.write_text("")
    settings = Settings(demo=True, cards=str(CONTENT), control=str(switches))
    watcher = Watcher(settings, tmp_path / "marker")

    def wait_for(holds: Callable[[], Any]) -> None:
        until = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < until
            time.sleep(0.05)

    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", key=SECRET.encode()) as ledger:
        live = create_app(Runtime.build(settings), ledger).extensions["cds_live"]
        watcher.start(live)
        with monkeypatch.context() as patched:
            patched.setattr("cds_service.web.control.load_control", lambda *_: {}["a secret of the file"])
            switches.write_text("# changed\n")
            wait_for(lambda: live.fault)
        assert "reload failed: unforeseen KeyError at" in caplog.text
        assert "a secret of the file" not in caplog.text
        shutil.rmtree(switches.parent)
        switches.parent.write_text("a file where a folder was")
        wait_for(lambda: "Not a directory" in caplog.text)
        switches.parent.unlink()
        switches.parent.mkdir()
        switches.write_text(json.dumps({"format": 1, "policies": {POLICY: "stopped"}}))
        wait_for(lambda: live.state.runtime.stopped)
        watcher.stop()
        assert (live.state.runtime.stopped, live.fault) == ({POLICY}, "")
