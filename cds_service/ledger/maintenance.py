"""Work kept off the request path: counting, checkpoints of SQLite's write-ahead log, forgetting expired tokens."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable

from cds_service.errors import LedgerError, place_of
from cds_service.ledger.database import WAL_BYTES, Database

logger = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 0.05
COUNT_SECONDS = 1.0
TIDY_SECONDS = 60.0
FULL_ATTEMPTS = 20
FULL_PAUSE = 0.005


class Maintenance:
    """A background thread; `count` is called every second, `tidy` every minute."""

    def __init__(self, database: Database, count: Callable[[], None], tidy: Callable[[], None]) -> None:
        self._database = database
        self._chores = [(COUNT_SECONDS, count), (TIDY_SECONDS, tidy)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-maintenance", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = [time.monotonic() + seconds for seconds, _ in self._chores]
        while not self._stop.wait(CHECKPOINT_SECONDS if self._database.is_sqlite else COUNT_SECONDS):
            try:
                if self._database.is_sqlite:
                    checkpoint(self._database)
                for i, (seconds, chore) in enumerate(self._chores):
                    if time.monotonic() >= due[i]:
                        due[i] = time.monotonic() + seconds
                        chore()
            except (sqlite3.Error, LedgerError) as error:
                # The next round tries again; writes fail loudly by themselves if the database is gone.
                logger.warning("ledger maintenance failed: %s", error)
            except Exception as error:  # noqa: BLE001 - rows that somebody changed must not end the thread
                logger.error("ledger maintenance failed: %s", place_of(error))


def checkpoint(database: Database) -> None:
    """Copy the log into the file once it has grown, so that the next writer begins at its start again.

    PASSIVE never makes a writer wait, but what is written meanwhile stays behind, so that under steady load the log
    would grow for ever. FULL copies that short rest while nobody writes, in no process; it gives way to a writer at
    work, and to readers of an older state, and is tried again.
    """
    if _wal_bytes(database) <= WAL_BYTES:
        return
    connection = database.connect(writing=True)
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        for _ in range(FULL_ATTEMPTS):
            busy, log, copied = connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            if not busy and log == copied:
                return
            time.sleep(FULL_PAUSE)
    finally:
        connection.close()


def _wal_bytes(database: Database) -> int:
    try:
        return database.path.with_name(database.path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0
