"""What operators rely on: metrics over all workers, logs without patient data, health, and a clean end."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from support.service import free_port

from cds_service.config import Settings
from cds_service.errors import LedgerError
from cds_service.hooks.runtime import Runtime
from cds_service.ledger import store
from cds_service.ledger.store import Ledger
from cds_service.web.app import create_admin_app, create_app
from tests.functional import postgres
from tests.functional.deployment import (
    CONTENT,
    COVERAGE,
    FEEDBACK,
    ORDERS,
    PATIENT,
    POLICY,
    PREFETCH,
    SECRET,
    SERVICE,
    Deployment,
    bundle,
    deployed,
    hook_request,
    sample,
)
from tests.functional.hostile_fhir import HostileFhir, Request, Wire

NAME = SERVICE.rsplit("/", 1)[1]
WITHOUT_COVERAGE = {key: value for key, value in PREFETCH.items() if key != "coverage"}
TOKEN = "fhir-token-of-north-6b1f"


def slowly(wire: Wire, _request: Request) -> None:
    time.sleep(1.0)
    wire.json(bundle(COVERAGE))


@pytest.fixture(scope="module")
def fhir() -> Iterator[HostileFhir]:
    with HostileFhir(slowly) as server:
        yield server


def made(folder: Path, fhir: HostileFhir, **options: str) -> Deployment:
    site = Deployment(folder, options)
    site.add("north", "--fhir-server", fhir.base, "--allow-private")
    return site


@pytest.fixture(scope="module")
def site(fhir: HostileFhir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two workers and an operators' listener."""
    folder = tmp_path_factory.mktemp("operations")
    site = made(folder, fhir, CDS_WORKERS="2", CDS_ADMIN_PORT=str(free_port()), CDS_READ_DEADLINE="1").start()
    site.wait_until(lambda: connects(int(site.options["CDS_ADMIN_PORT"])))
    yield site
    assert site.stop() == 0
    assert site.members() == []


def connects(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def admin(site: Deployment, path: str, **options: Any) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{site.options['CDS_ADMIN_PORT']}{path}", timeout=20, **options)


def fetching(fhir: HostileFhir) -> dict[str, Any]:
    access = {"access_token": TOKEN, "token_type": "Bearer"}
    return hook_request(prefetch=WITHOUT_COVERAGE, fhirServer=fhir.base, fhirAuthorization=access)


def post(site: Deployment, body: Any) -> requests.Response:
    """A call on a connection of its own, so that either worker may get it."""
    headers = site.headers("north", SERVICE) | {"Connection": "close"}
    return requests.post(site.url + SERVICE, json=body, headers=headers, timeout=30)


def test_operators_pages_answer_to_their_own_names_only(site: Deployment) -> None:
    hosts = {"localhost": 200, "[::1]:9000": 200, "evil.example": 400, "10.0.0.5": 400}
    assert {host: admin(site, "/metrics", headers={"Host": host}).status_code for host in hosts} == hosts


def test_beyond_loopback_too_a_foreign_name_is_refused(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", key=SECRET.encode()) as ledger:
        settings = Settings(demo=True, cards=str(CONTENT), admin_host="0.0.0.0", admin_hosts="cds, ops.example.org")
        client = create_admin_app(Runtime.build(settings), ledger).test_client()
        hosts = {"cds:9000": 200, "ops.example.org": 200, "localhost:9000": 200, "10.0.0.5:9000": 200, "[fd00::5]": 200,
                 "evil.example": 400, "ops.example.org.evil.example": 400}  # fmt: skip
        assert {host: client.get("/metrics", headers={"Host": host}).status_code for host in hosts} == hosts


def test_metrics_count_the_calls_of_all_workers(site: Deployment, fhir: HostileFhir) -> None:
    before = admin(site, "/metrics").text
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: post(site, hook_request()), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert post(site, fetching(fhir)).status_code == 200
    assert post(site, {"hook": "order-sign"}).status_code == 400
    card = answers[0].json()["cards"][0]["uuid"]
    item = {"card": card, "outcome": "overridden", "outcomeTimestamp": "2026-11-20T12:00:00Z"}
    assert site.call("north", {"feedback": [item, {}]}, FEEDBACK).status_code == 200
    after = admin(site, "/metrics").text

    def rise(name: str, **labels: str) -> float:
        return sample(after, name, **labels) - sample(before, name, **labels)

    hook = {"endpoint": "hook", "service": NAME}
    assert rise("cds_calls_total", status="200", **hook) == 21
    assert rise("cds_calls_total", status="400", **hook) == 1
    assert rise("cds_call_seconds_count", service=NAME) == 22
    assert rise("cds_stage_seconds_count", stage="ledger") == 21
    of_rule = {"policy": POLICY, "rule": "never"}
    assert rise("cds_determinations_total", role="primary", outcome="not-supported", **of_rule) == 21
    assert rise("cds_cards_total", kind="not-supported", shown="yes", **of_rule) == 21
    assert rise("cds_fetches_total", source="coverage", state="read", status="200") == 1
    assert rise("cds_fetch_seconds_count") == 1
    assert [rise("cds_feedback_total", service=NAME, result=r) for r in ("accepted", "rejected")] == [1, 1]
    revision = requests.get(f"{site.url}/health/ready", timeout=10).json()["checks"]["content"]
    assert sample(after, "cds_content_workers", revision=revision) == 2


def test_what_a_client_refers_to_makes_no_series_of_its_own(site: Deployment, fhir: HostileFhir) -> None:
    def device(reference: str) -> dict[str, Any]:
        own = reference.rpartition("/")[2]
        return {"resourceType": "DeviceRequest", "id": f"dr-{own}", "status": "draft", "intent": "order",
                "subject": {"reference": f"Patient/{PATIENT}"}, "codeReference": {"reference": reference}}  # fmt: skip

    before = admin(site, "/metrics").text
    asked = [device("Device/Zwillinger-1"), device("Device/Zwillinger-2"), device("Zwillinger/z-3")]
    access = {"access_token": TOKEN, "token_type": "Bearer"}
    body = hook_request(*ORDERS, *asked, fhirServer=fhir.base, fhirAuthorization=access)
    assert post(site, body).status_code == 200
    after = admin(site, "/metrics").text
    assert "Zwillinger" not in after
    for source, count in (("Device", 2), ("other", 1)):
        labels = {"source": source, "state": "unavailable", "status": "200"}
        assert sample(after, "cds_fetches_total", **labels) - sample(before, "cds_fetches_total", **labels) == count


def test_operators_pages_are_not_on_the_main_listener_and_answer_local_names_only(site: Deployment) -> None:
    assert requests.get(f"{site.url}/metrics", timeout=10).status_code == 404
    assert admin(site, "/health/ready").json()["status"] == "ok"
    assert admin(site, SERVICE).status_code == 404
    assert admin(site, "/metrics", headers={"Host": "evil.example.org"}).status_code == 400


def test_logs_are_json_and_hold_no_patient_data(site: Deployment, fhir: HostileFhir) -> None:
    telling = "order for Zwillinger born 1961-04-07"
    plain = hook_request()
    assert [post(site, body).status_code for body in (plain, fetching(fhir) | {"hookInstance": telling})] == [200, 200]
    broken = hook_request() | {"hook": "order-Zwillinger", "hookInstance": telling}
    broken["prefetch"] |= {"Zwillinger": {"resourceType": "Zwillinger"}}
    assert post(site, broken).status_code == 400
    site.wait_until(lambda: site.log().count('"reason": "value"') >= 1)
    lines = [line for line in site.log_lines() if line["logger"] == "cds_service.access"]
    assert {
        "time",
        "level",
        "logger",
        "message",
        "service",
        "status",
        "ms",
        "hookInstance",
        "client",
        "cards",
        "stages",
    } == set(next(line for line in lines if line.get("hookInstance") == plain["hookInstance"]))
    hashed = [line for line in lines if str(line.get("hookInstance")).startswith("sha256:")]
    assert sorted(line["status"] for line in hashed) == [200, 400]
    assert len({line["hookInstance"] for line in hashed}) == 1
    for secret in ("Zwillinger", "zwillinger", "1961", TOKEN, "eyJ", SECRET):
        assert secret not in site.log()


def drip(site: Deployment, seconds: float) -> tuple[bytes, float]:
    """Send a body byte by byte; what comes back, and after how long."""
    token = site.headers("north", SERVICE)["Authorization"]
    head = f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Type: application/json\r\n"
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode())
        connection.settimeout(0.1)
        while time.monotonic() - started < seconds:
            connection.sendall(b"{")
            try:
                return connection.recv(4096), time.monotonic() - started
            except TimeoutError:
                continue
    raise AssertionError("no answer")


def test_clients_that_drip_their_bodies_are_cut_off_and_hold_up_nobody(site: Deployment) -> None:
    with ThreadPoolExecutor(12) as drippers:
        slow = [drippers.submit(drip, site, 20) for _ in range(12)]
        time.sleep(0.3)
        started = time.monotonic()
        assert post(site, hook_request()).status_code == 200
        assert time.monotonic() - started < 1.0
        for answer, seconds in (future.result() for future in slow):
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert 1.0 <= seconds < 5.0


def test_a_call_under_way_is_finished_at_shutdown(fhir: HostileFhir, tmp_path: Path) -> None:
    site = made(tmp_path, fhir).start()
    with ThreadPoolExecutor(4) as callers:
        bodies = [fetching(fhir) for _ in range(4)]
        before = len(fhir.requests)
        under_way = [callers.submit(post, site, body) for body in bodies]
        site.wait_until(lambda: len(fhir.requests) == before + 4)
        assert site.stop() == 0
        answers = [future.result() for future in under_way]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(answer.json()["cards"] for answer in answers)
    with site.ledger() as ledger:
        assert {d["hookInstance"] for d in ledger.records()} == {body["hookInstance"] for body in bodies}
        assert ledger.verify().problems == ()


def test_no_process_is_left_over_when_the_parent_is_killed(fhir: HostileFhir, tmp_path: Path) -> None:
    site = made(tmp_path, fhir, CDS_WORKERS="2", CDS_ADMIN_PORT=str(free_port())).start()
    assert site.process is not None
    site.process.kill()
    site.process.wait(10)
    site.wait_until(lambda: not site.members())
    assert not connects(site.port)


def test_a_killed_worker_is_replaced(fhir: HostileFhir, tmp_path: Path) -> None:
    with deployed(tmp_path, "north") as site:
        [worker] = set(site.members()) - {site.process.pid if site.process else 0}
        os.kill(worker, signal.SIGKILL)
        site.wait_until(lambda: len(set(site.members()) - {worker}) == 2)
        site.wait_until(site.answers)
        assert site.call("north", hook_request()).status_code == 200


def test_ready_tells_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(demo=True, cards=str(CONTENT))
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", key=SECRET.encode()) as ledger:
        client = create_app(Runtime.build(settings), ledger).test_client()
        monkeypatch.setattr(store, "FREE_BYTES", 1 << 62)
        answer = client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json["status"] == "unavailable"
        assert answer.json["checks"]["ledger"].startswith("The ledger's disk has only ")
        assert client.get("/health/live").status_code == 200


def test_one_thread_at_a_time_asks_the_ledger_whether_it_is_ready(tmp_path: Path) -> None:
    asked = []

    class Slow(Ledger):
        def ready(self) -> None:
            asked.append(time.monotonic())
            time.sleep(0.1)

    settings = Settings(demo=True, cards=str(CONTENT))
    with Slow.open(f"sqlite:///{tmp_path / 'ledger.db'}", key=SECRET.encode()) as ledger:
        app = create_app(Runtime.build(settings), ledger)
        threads = [threading.Thread(target=lambda: app.test_client().get("/health/ready")) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 1


@pytest.mark.postgresql
def test_a_database_that_hangs_is_given_up_and_takes_nothing_with_it(tmp_path: Path) -> None:
    server = postgres.server()
    with deployed(tmp_path, "north", CDS_DATABASE_URL=server.new_database()) as site:
        assert site.call("north", hook_request()).status_code == 200
        with ThreadPoolExecutor(82) as callers, server.frozen():
            time.sleep(1.1)  # what the last probe found counts for a second
            started = time.monotonic()
            calls = [callers.submit(post, site, hook_request()) for _ in range(2)]
            probes = [callers.submit(requests.get, f"{site.url}/health/ready", timeout=60) for _ in range(80)]
            time.sleep(3)
            asked = time.monotonic()
            assert requests.get(f"{site.url}/health/live", timeout=5).status_code == 200
            assert time.monotonic() - asked < 2
            assert {future.result().status_code for future in calls} == {503}
            assert {future.result().status_code for future in probes} == {503}
            assert time.monotonic() - started < 30
        site.wait_until(site.answers)
        assert site.call("north", hook_request()).status_code == 200
        with site.ledger() as ledger:
            assert ledger.verify().problems == ()


def test_ready_tells_of_a_ledger_that_was_moved_away(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{file}", key=SECRET.encode()) as ledger:
        ledger.ready()
        file.rename(tmp_path / "elsewhere.db")
        for _ in range(2):
            with pytest.raises(LedgerError, match="was moved or replaced"):
                ledger.ready()
            file.write_bytes(b"")
        (tmp_path / "elsewhere.db").rename(file)
        ledger.ready()
