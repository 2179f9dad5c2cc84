"""Two instances behind nginx as documented are restarted one after the other, and no call is lost."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import requests
from support.service import free_port

from tests.functional.deployment import SERVICE, Deployment, hook_request
from tests.functional.postgres import server
from tests.functional.test_security_proxy import Proxy, proxied

CALLERS = 6


def instance(folder: Path, database: str, public: str) -> Deployment:
    folder.mkdir()
    return Deployment(folder, {"CDS_DATABASE_URL": database, "CDS_PUBLIC_URL": public})


def call_on(site: Deployment, proxy: Proxy, done: threading.Event, found: list[tuple[str, int]]) -> None:
    """Calls with tokens of their own, one after the other on one connection to the proxy."""
    with requests.Session() as session:
        session.trust_env, session.verify = False, proxy.session.verify
        while not done.is_set():
            body = hook_request()
            headers = site.headers("north", SERVICE)
            answer = session.post(proxy.url + SERVICE, json=body, headers=headers, timeout=30)
            found.append((body["hookInstance"], answer.status_code))


def test_no_call_is_lost_in_a_rolling_restart(tmp_path: Path) -> None:
    port, database = free_port(), server().new_database()
    public = f"https://localhost:{port}"
    first, second = (instance(tmp_path / name, database, public) for name in ("first", "second"))
    first.add("north")
    second.clients_file, second.clients = first.clients_file, first.clients
    (tmp_path / "proxy").mkdir()
    done, found = threading.Event(), list[tuple[str, int]]()
    with proxied(tmp_path / "proxy", [first.port, second.port], port) as proxy:
        for one in (first, second):
            one.start()
        callers = [threading.Thread(target=call_on, args=(first, proxy, done, found)) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            for one in (first, second) * 2:  # as docs/operations.md says: one is ready before the other is stopped
                before = len(found)
                one.wait_until(lambda before=before: len(found) > before + 50)
                assert one.stop() == 0
                one.start()
        finally:
            done.set()
            for caller in callers:
                caller.join()
        log = proxy.log.read_text()
    assert Counter(status for _, status in found) == {200: len(found)}, log
    with first.ledger() as ledger:
        records = Counter(d["hookInstance"] for d in ledger.records() if d.get("hookInstance"))
    assert records == dict.fromkeys([instance for instance, _ in found], 1)  # none twice either
    assert [one.stop() for one in (first, second)] == [0, 0]
