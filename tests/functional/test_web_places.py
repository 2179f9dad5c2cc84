"""Whether the process lives is answered whatever calls wait for; beyond the places calls are refused at once."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import requests
from support.service import free_port

from tests.functional.deployment import SERVICE, Deployment, deployed, hook_request, sample
from tests.functional.postgres import server

CALLERS = 160


@contextmanager
def locked(url: str) -> Iterator[None]:
    """The database answers no write, as when somebody maintains it, until the block ends."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE entry IN ACCESS EXCLUSIVE MODE")
        yield


class Callers:
    """Threads with a keep-alive connection each, which call again and again."""

    def __init__(self, site: Deployment) -> None:
        self.statuses: Counter[int | str] = Counter()
        self.retry_after: set[str | None] = set()
        self._site, self._done = site, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CALLERS)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self._site.port, timeout=60)) as connection:
            while not self._done.is_set():
                headers = {"Content-Type": "application/json", **self._site.headers("north", SERVICE)}
                connection.request("POST", SERVICE, json.dumps(hook_request()), headers)
                answer = connection.getresponse()
                answer.read()
                self.statuses[answer.status] += 1
                if answer.status == 503:
                    self.retry_after.add(answer.headers["Retry-After"])
                    self._done.wait(0.5)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder, admin = tmp_path_factory.mktemp("places"), free_port()
    options = {"CDS_DATABASE_URL": server().new_database(), "CDS_ADMIN_PORT": str(admin), "CDS_WAITING": "16"}
    with deployed(folder, "north", **options) as site:
        site.wait_until(lambda: up(admin))
        yield site
        assert site.stop() == 0


def up(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/live", timeout=2).ok
    except requests.ConnectionError:
        return False


def admin(site: Deployment) -> str:
    return f"http://127.0.0.1:{site.options['CDS_ADMIN_PORT']}"


def test_liveness_is_answered_while_a_locked_database_holds_all_places(site: Deployment) -> None:
    with Callers(site) as callers:
        site.wait_until(lambda: callers.statuses[200] > 20)
        with locked(site.database):
            site.wait_until(lambda: callers.statuses[503] > CALLERS)  # all places are taken
            for _ in range(10):
                assert requests.get(f"{site.url}/health/live", timeout=2).json() == {"status": "ok"}
                assert requests.get(f"{site.url}/health/ready", timeout=4).status_code in (200, 503)
    site.wait_until(lambda: site.call("north", hook_request()).status_code == 200)
    assert callers.retry_after == {"1"}
    metrics = requests.get(f"{admin(site)}/metrics", timeout=5).text
    assert sample(metrics, "cds_calls_total", endpoint="none", service="", status="503") == callers.statuses[503]


def test_metrics_are_told_while_pages_wait_for_the_database(site: Deployment) -> None:
    """The same on the operators' listener, whose pages read what is locked."""
    with locked(site.database):
        waiting = [threading.Thread(target=_page, args=(site,)) for _ in range(60)]
        for thread in waiting:
            thread.start()
        until = time.monotonic() + 20
        while requests.get(f"{admin(site)}/insights", timeout=10).status_code != 503:
            assert time.monotonic() < until
        for _ in range(5):
            assert "cds_calls_total" in requests.get(f"{admin(site)}/metrics", timeout=2).text
            assert requests.get(f"{admin(site)}/health/live", timeout=2).ok
    for thread in waiting:
        thread.join()


def _page(site: Deployment) -> None:
    requests.get(f"{admin(site)}/insights", timeout=60)


def test_many_who_ask_for_readiness_keep_nobody_from_asking_for_liveness(site: Deployment) -> None:
    answers: list[int] = []
    with locked(site.database):
        asking = [
            threading.Thread(
                target=lambda: answers.append(requests.get(f"{site.url}/health/ready", timeout=60).status_code)
            )
            for _ in range(80)
        ]
        for thread in asking:
            thread.start()
        for _ in range(5):
            assert requests.get(f"{site.url}/health/live", timeout=2).ok
    for thread in asking:
        thread.join()
    assert set(answers) <= {200, 503}


def test_a_call_has_exactly_one_host(tmp_path: Path) -> None:
    import socket

    with deployed(tmp_path, "north") as site:
        for version, hosts, status in (
            ("1.1", 0, 400), ("1.1", 1, 200), ("1.1", 2, 400), ("1.0", 0, 200), ("1.0", 2, 400),
        ):  # fmt: skip
            for path in ("/health/live", "/cds-services"):
                head = f"GET {path} HTTP/{version}\r\n" + "Host: a\r\n" * hosts + "Connection: close\r\n\r\n"
                with socket.create_connection(("127.0.0.1", site.port), timeout=10) as sock:
                    sock.sendall(head.encode())
                    assert sock.recv(12).split()[1:] == [str(status).encode()], head


def test_where_the_database_is_only_operators_and_the_log_are_told(tmp_path: Path) -> None:
    port = free_port()
    with deployed(tmp_path, "north", CDS_ADMIN_PORT=str(port)) as site:
        site.wait_until(lambda: up(port))
        for file in tmp_path.glob("ledger.sqlite3*"):
            if file.suffix != ".key":
                file.rename(file.with_name(f"moved-{file.name}"))
        site.wait_until(lambda: requests.get(f"{site.url}/health/ready", timeout=5).status_code == 503)
        public = requests.get(f"{site.url}/health/ready", timeout=5)
        assert public.json()["checks"]["ledger"] == "unavailable"
        assert str(tmp_path) not in public.text
        site.wait_until(lambda: str(tmp_path) in requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).text)
        assert any(line["message"].startswith("not ready: ") for line in site.log_lines())
