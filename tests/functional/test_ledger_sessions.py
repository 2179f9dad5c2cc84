"""Sessions of the ledger: waited for once, never more than one connection each, dropped when they are of no use."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
import pytest

from cds_service.errors import LedgerError, LedgerUnavailable
from cds_service.ledger.database import READERS, Database
from cds_service.ledger.lane import Lane
from cds_service.ledger.probe import PROBE
from cds_service.ledger.store import POSTGRESQL_LANES, Ledger
from cds_service.ledger.used_tokens import CONNECTIONS
from tests.functional import postgres
from tests.functional.ledger_samples import KEY, card, execute, feedback, record, token, url

__all__ = ["url"]
DEADLINE = 1.0
MOST_CONNECTIONS = POSTGRESQL_LANES + CONNECTIONS[False] + READERS


@contextmanager
def locked(url: str, table: str = "entry") -> Iterator[None]:
    """Somebody else holds the table (PostgreSQL) or the file (SQLite) until the block ends."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
    else:
        with psycopg.connect(url) as connection:
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield


def backends(url: str) -> int:
    """How many connections others have to the database."""
    [(count,)] = execute(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        " AND pid <> pg_backend_pid() AND query NOT LIKE 'LOCK TABLE%'",
    )
    return int(count)


@pytest.fixture
def book(url: str) -> Iterator[Ledger]:
    with Ledger.open(url, key=KEY, deadline=DEADLINE) as opened:
        opened.write(record())
        yield opened


# --- one deadline, no pile (A4)


@pytest.mark.parametrize(
    "work",
    [
        lambda book: book.write(record()),
        lambda book: book.claim(*token()),
        lambda book: book.feedback("order-sign-advisor", "hospital", [feedback(card())]),
        lambda book: book.ready(),
    ],
    ids=["record", "token", "feedback", "ready"],
)
def test_whatever_waits_for_a_lock_ends_by_the_deadline(
    book: Ledger, url: str, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is held until it has ended; a second attempt would have to wait as long again, and there is none."""
    attempts: list[object] = []
    attempt = Lane._attempt

    def counted(*given: Any) -> Any:
        if threading.current_thread() is threading.main_thread():  # the counting thread has attempts of its own
            attempts.append(given)
        return attempt(*given)

    monkeypatch.setattr(Lane, "_attempt", counted)
    with locked(url, "entry, token, card"), pytest.raises(LedgerUnavailable):
        work(book)
    assert len(attempts) == 1
    work_again(book)


def work_again(book: Ledger) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            return book.write(record())
        except LedgerUnavailable:
            assert time.monotonic() < until


def hammer(book: Ledger, callers: int, done: threading.Event) -> Counter[str]:
    """Callers that write and look up tokens until `done`; what became of it."""
    found: Counter[str] = Counter()

    def call() -> None:
        while not done.is_set():
            try:
                book.was_used(*token()[:2])
                book.write(record(jti=token()))
                found["written"] += 1
            except LedgerUnavailable:
                found["unavailable"] += 1

    with ThreadPoolExecutor(callers) as pool:
        for _ in range(callers):
            pool.submit(call)
    return found


@pytest.mark.postgresql
@pytest.mark.postgresql
def test_connections_do_not_pile_up_while_their_backends_hang() -> None:
    """The sibling of a lock: a disk that gives no answer, where the server does not come to cancelling anything."""
    server = postgres.server()
    url = server.new_database()
    with Ledger.open(url, key=KEY, deadline=DEADLINE) as book, ThreadPoolExecutor(1) as outside:
        done = threading.Event()
        calling = outside.submit(hammer, book, 20, done)
        time.sleep(1)
        pids = [int(pid) for (pid,) in execute(url, "SELECT pid FROM pg_stat_activity WHERE datname = "
                                               "current_database() AND pid <> pg_backend_pid()")]  # fmt: skip
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            seen = [backends(url) for _ in range(25) if not time.sleep(0.2)]
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            time.sleep(0.5)
            done.set()
        found = calling.result()
        assert found["unavailable"] > 0
        assert max(seen) <= MOST_CONNECTIONS
        work_again(book)
        report = book.verify()
        assert report.intact
        assert report.records >= found["written"]  # what nobody knew of may be there as well


# --- readiness: it does what it vouches for (A3)


@pytest.mark.parametrize("table", ["entry", "answer", "card", "explanation", "token"])
def test_ready_needs_room_in_each_table(url: str, table: str) -> None:
    """A trigger stands for a tablespace that is full."""
    with Ledger.open(url, key=KEY, deadline=DEADLINE) as book:
        book.ready()
        if url.startswith("sqlite"):
            execute(url, f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        else:
            execute(
                url,
                "CREATE FUNCTION full_() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$;"
                f"CREATE TRIGGER full_ BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION full_()",
            )
        with pytest.raises(LedgerError):
            book.ready()
        with pytest.raises(LedgerError):
            book.write(record(card(), jti=token()))
        execute(url, "DROP TRIGGER full" if url.startswith("sqlite") else f"DROP TRIGGER full_ ON {table}")
        book.write(record(card()))
        book.ready()
        assert book.verify().records == 1


def test_a_probe_leaves_one_row_that_is_no_token(book: Ledger, url: str) -> None:
    for _ in range(3):
        book.ready()
    book._forget_tokens()
    assert execute(url, "SELECT key FROM token") == [(PROBE,)]
    for table, count in (("entry", 1), ("answer", 1), ("card", 0), ("explanation", 0), ("chain", 1)):
        assert execute(url, f"SELECT count(*) FROM {table}") == [(count,)]
    report = book.verify()
    assert (report.records, report.problems) == (1, ())


def test_a_write_that_failed_in_the_last_seconds_is_not_ready(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Lane, "run", lambda *_: (_ for _ in ()).throw(LedgerUnavailable("no space")))
        with pytest.raises(LedgerUnavailable):
            book.write(record())
    with pytest.raises(LedgerUnavailable, match="no space"):
        book.ready()
    book.write(record())
    book.ready()


# --- sessions of no use (A10)


@pytest.mark.postgresql
def test_a_session_that_somebody_made_read_only_is_dropped() -> None:
    url = postgres.server().new_database()
    with Ledger.open(url, key=KEY, deadline=DEADLINE) as book:
        book.write(record())
        book._lanes[0]._session._connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        book._lanes[0]._session._connection.commit()
        book.write(record())
        assert book.verify().records == 2


@pytest.mark.postgresql
def test_connections_that_were_ended_are_made_anew_without_an_error() -> None:
    url = postgres.server().new_database()
    with Ledger.open(url, key=KEY, deadline=5.0) as book:
        for _ in range(5):
            book.write(record(jti=(used := token())))
            execute(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid()")  # fmt: skip
            assert book.was_used(*used[:2])
        book.ready()
        assert book.verify().records == 5


@pytest.mark.postgresql
def test_a_commit_whose_outcome_is_unknown_is_looked_up_and_never_written_twice() -> None:
    """The connection breaks after the commit, before its answer."""
    url = postgres.server().new_database()
    with Ledger.open(url, key=KEY, deadline=5.0) as book:
        book.write(record())
        connection = book._lanes[0]._session._connection
        commit = connection.commit

        def breaks() -> None:
            commit()
            connection.pgconn.finish()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        connection.commit = breaks
        book.write(record(jti=token()))
        assert book.verify().records == 2


@pytest.mark.postgresql
def test_a_commit_whose_outcome_cannot_be_found_out_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgres.server().new_database()
    with Ledger.open(url, key=KEY, deadline=5.0) as book:
        book.write(record())
        connection = book._lanes[0]._session._connection
        commit = connection.commit

        def breaks() -> None:
            commit()
            connection.pgconn.finish()
            monkeypatch.setattr(Database, "connect", away)
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        def away(*_: object, **__: object) -> None:
            raise LedgerUnavailable("PostgreSQL cannot be reached")

        connection.commit = breaks
        with pytest.raises(LedgerUnavailable):
            book.write(record(jti=(unknown := token())))
        monkeypatch.undo()
        assert book.was_used(*unknown[:2])  # so the same call comes again with a new token
        book.write(record(jti=token()))
        assert book.verify().records == 3


def test_only_what_passes_is_called_unavailable(book: Ledger) -> None:
    with pytest.raises(LedgerError) as found:
        book.write(record(explanations={card().uuid: {}}))
    assert found.value.http_status == 500
    assert LedgerUnavailable("").http_status == 503
