"""A database that is locked, full, read-only, away or of another time: told at once, and nothing piles up."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from cds_service.errors import LedgerUnavailable
from cds_service.ledger.record import Replayed
from cds_service.ledger.store import POSTGRESQL_LANES, Ledger
from cds_service.ledger.used_tokens import CONNECTIONS
from tests.functional import postgres
from tests.functional.deployment import SERVICE, Deployment, deployed, hook_request
from tests.functional.ledger_samples import BOTH, KEY, card, execute, feedback, new_url, record, token

DEADLINE = 0.5
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
FULL_BYTES = 64 << 20  # more than a file of PostgreSQL's log may have


def opened(url: str, **more: Any) -> Ledger:
    return Ledger.open(url, key=KEY, deadline=DEADLINE, patience=DEADLINE, **more)


@contextmanager
def locked(url: str, table: str) -> Iterator[None]:
    """Somebody else holds a table (SQLite: the file), as a careless ALTER TABLE does."""
    if url.startswith("sqlite"):
        connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        statement = "BEGIN IMMEDIATE"
    else:
        import psycopg

        connection = psycopg.connect(url)
        statement = f"LOCK TABLE {table}"
    with closing(connection):
        connection.execute(statement)
        yield
        connection.rollback()


def outcome(book: Ledger) -> str:
    try:
        book.write(record(card(), jti=token()))
    except LedgerUnavailable:
        return "unavailable"
    return "written"


def refusal(book: Ledger) -> str:
    """Why the ledger is not ready; empty when it is."""
    try:
        book.ready()
    except LedgerUnavailable as error:
        return str(error)
    return ""


# -- one deadline for the whole write, and nothing left on the server


@pytest.mark.postgresql
@pytest.mark.parametrize("table", ["entry", "chain", "token"])
def test_a_locked_table_leaves_no_pile_of_backends(table: str) -> None:
    url = postgres.server().new_database()
    most, stop = [0], threading.Event()

    def watch() -> None:
        import psycopg

        with psycopg.connect(url, autocommit=True) as own:
            while not stop.wait(0.05):
                count = own.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
                most[0] = max(most[0], count.fetchone()[0])  # type: ignore[index]

    with opened(url) as book:
        book.write(record())
        watcher = threading.Thread(target=watch)
        with locked(url, table):
            watcher.start()
            with ThreadPoolExecutor(40) as callers:
                found = Counter(callers.map(lambda _: outcome(book), range(120)))
            ((waiting,),) = execute(url, WAITING)
            stop.set()
        assert waiting <= 1  # the counting thread's
        watcher.join()
        assert found == {"unavailable": 120}
        # Lanes, look-ups, the counting thread's, the watcher's and the lock's own.
        assert most[0] <= POSTGRESQL_LANES + CONNECTIONS[False] + 2 + 2
        assert outcome(book) == "written"
        assert book.verify().problems == ()


@pytest.mark.parametrize("backend", BOTH)
def test_a_lock_is_waited_for_once(backend: str, tmp_path: Path) -> None:
    """As a ratio: all that a write waits for, to what one deadline is."""
    url = new_url(backend, tmp_path)
    with opened(url) as book:
        book.write(record())
        with locked(url, "entry"):
            began = time.monotonic()
            assert outcome(book) == "unavailable"
            assert (time.monotonic() - began) / DEADLINE < 4  # six waits and more before
        assert outcome(book) == "written"


@pytest.mark.postgresql
def test_a_look_up_of_a_token_is_given_up_and_cancelled_too() -> None:
    url = postgres.server().new_database()
    with opened(url) as book:
        assert not book.was_used("i", "j")
        with locked(url, "token"):
            with pytest.raises(LedgerUnavailable):
                book.was_used("i", "j")
            assert execute(url, WAITING) == [(0,)]
        assert not book.was_used("i", "j")


# -- readiness does what it vouches for


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("table", ["entry", "answer", "explanation"])
def test_a_locked_ledger_is_not_ready(backend: str, table: str, tmp_path: Path) -> None:
    url = new_url(backend, tmp_path)
    with opened(url) as book:
        book.ready()
        with locked(url, table), pytest.raises(LedgerUnavailable):
            book.ready()
        book.ready()
        assert book.verify().problems == ()


@contextmanager
def full(url: str) -> Iterator[None]:
    """No file grows any more."""
    if url.startswith("sqlite"):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        reader = sqlite3.connect(url.removeprefix("sqlite:///"))  # or the log would be copied, and begin anew
        reader.execute("SELECT count(*) FROM entry").fetchall()
        size = sum(file.stat().st_size for file in Path(url.removeprefix("sqlite:///")).parent.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            reader.close()
        return
    data = postgres.server().root / "data"
    for name in ("'entry'::regclass", "(SELECT reltoastrelid FROM pg_class WHERE oid = 'entry'::regclass)"):
        ((file,),) = execute(url, f"SELECT pg_relation_filepath({name})")
        os.truncate(data / file, FULL_BYTES)
    parent = (data / "postmaster.pid").read_text().split()[0]

    def limit(most: str) -> None:  # as the server's own user: nobody else may
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        user, group = data.stat().st_uid, data.stat().st_gid
        for pid in (parent, *children):
            command = ["prlimit", "--pid", pid, f"--fsize={most}:"]
            done = subprocess.run(command, capture_output=True, check=False, user=user, group=group, extra_groups=[])
            assert done.returncode == 0 or not Path(f"/proc/{pid}").exists(), done.stderr

    limit(str(FULL_BYTES))
    try:
        yield
    finally:
        limit("unlimited")


@pytest.mark.parametrize("backend", BOTH)
def test_a_ledger_that_cannot_grow_is_not_ready(backend: str, tmp_path: Path) -> None:
    url = new_url(backend, tmp_path)
    with opened(url) as book:
        book.write(record())
        book.ready()
        with full(url):
            for _ in range(200):
                if outcome(book) == "unavailable":
                    break
            else:
                pytest.fail("the ledger grew all the same")
            with pytest.raises(LedgerUnavailable):
                book.ready()
            book._failures.clear()  # the probe by itself, as where no call comes any more
            probes = (refusal(book) for _ in range(200))
            assert any(probes)
        assert outcome(book) == "written"
        book.ready()
        assert book.verify().problems == ()


def test_feedback_that_fails_speaks_against_the_ledger_until_some_is_written(tmp_path: Path) -> None:
    url = new_url("sqlite", tmp_path)
    with opened(url) as book:
        book.write(record(c := card()))
        execute(url, "ALTER TABLE feedback RENAME TO elsewhere")
        with pytest.raises(LedgerUnavailable):
            book.feedback("order-sign-advisor", "hospital", [feedback(c)])
        assert outcome(book) == "written"
        with pytest.raises(LedgerUnavailable):
            book.ready()
        execute(url, "ALTER TABLE elsewhere RENAME TO feedback")
        assert book.feedback("order-sign-advisor", "hospital", [feedback(c)])[0].status == "accepted"
        book.ready()


# -- sessions that are of no use any more


@pytest.mark.postgresql
def test_a_session_that_became_read_only_is_dropped() -> None:
    url = postgres.server().new_database()
    ((name,),) = execute(url, "SELECT current_database()")
    with opened(url) as book:
        book.write(record())
        execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        execute(url, f"SELECT pg_terminate_backend(pid) {OTHERS}")
        assert outcome(book) == "unavailable"
        with pytest.raises(LedgerUnavailable):
            book.ready()
        import psycopg

        with psycopg.connect(url, autocommit=True) as own:
            own.execute("SET default_transaction_read_only = off")
            own.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert outcome(book) == "written"
        book.ready()


# -- the whole service


def post(site: Deployment, body: dict[str, Any]) -> requests.Response:
    headers = site.headers("north", SERVICE) | {"Connection": "close"}
    return requests.post(site.url + SERVICE, json=body, headers=headers, timeout=30)


@pytest.mark.postgresql
def test_a_database_that_stops_under_load_costs_503_and_no_acknowledged_record(tmp_path: Path) -> None:
    server = postgres.server()
    with deployed(tmp_path, "north", CDS_DATABASE_URL=server.new_database(), CDS_WORKERS="2") as site:
        stop, answers = threading.Event(), []

        def call() -> None:
            while not stop.is_set():
                body = hook_request()
                answer = post(site, body)
                answers.append((answer.status_code, answer.headers.get("Retry-After"), body["hookInstance"]))

        with ThreadPoolExecutor(6) as callers:
            calls = [callers.submit(call) for _ in range(6)]
            site.wait_until(lambda: len(answers) > 30)
            with server.stopped("fast"):
                time.sleep(3)
                assert requests.get(f"{site.url}/health/ready", timeout=10).status_code == 503
                assert requests.get(f"{site.url}/health/live", timeout=10).status_code == 200
            site.wait_until(site.answers)
            known = len(answers)
            site.wait_until(lambda: sum(status == 200 for status, *_ in answers[known:]) > 30)
            stop.set()
            for done in calls:
                done.result()
        assert {status for status, *_ in answers} == {200, 503}
        assert {retry for status, retry, _ in answers if status == 503} == {"2"}
        acknowledged = {instance for status, _, instance in answers if status == 200}
        with site.ledger() as ledger:
            stored = Counter(document["hookInstance"] for document in ledger.records())
            assert {i: stored[i] for i in acknowledged if stored[i] != 1} == {}
            assert ledger.verify().problems == ()


# -- clocks


@pytest.mark.postgresql
def test_a_clock_that_is_ahead_forgets_no_token_of_others() -> None:
    url = postgres.server().new_database()
    used = token()
    with opened(url) as book, opened(url, clock=lambda: time.time() + 48 * 3600) as ahead:
        book.write(record(jti=used))
        ahead._forget_tokens()
        assert book.was_used(*used[:2])
        with pytest.raises(Replayed):
            book.write(record(jti=used))


def test_a_clock_that_is_set_ahead_forgets_no_token_on_sqlite(tmp_path: Path) -> None:
    ahead, used = [0.0], token()
    with opened(new_url("sqlite", tmp_path), clock=lambda: time.time() + ahead[0]) as book:
        book.write(record(jti=used))
        ahead[0] = 48 * 3600
        book._forget_tokens()
        assert book.was_used(*used[:2])


@pytest.mark.postgresql
@pytest.mark.parametrize("off", [-1200, 1200])
def test_a_clock_that_is_not_the_databases_is_told_and_not_ready(off: int, caplog: pytest.LogCaptureFixture) -> None:
    with opened(postgres.server().new_database(), clock=lambda: time.time() + off) as book:
        with pytest.raises(LedgerUnavailable, match=f"clock is 1200 s {'ahead of' if off > 0 else 'behind'}"):
            book.ready()
        assert "Tokens cannot be judged by it" in caplog.text
