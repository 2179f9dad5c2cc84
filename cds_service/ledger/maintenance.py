"""Work kept off the request path: counting, checkpoints of SQLite's write-ahead log, forgetting expired tokens."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from cds_service.errors import LedgerError
from cds_service.ledger.database import WAL_BYTES, Database

Quiet = Callable[[], AbstractContextManager[None]]
logger = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 0.05
COUNT_SECONDS = 1.0
TIDY_SECONDS = 60.0
RESTART_BYTES = 64 << 20


class Maintenance:
    """A background thread; `count` is called every second, `tidy` every minute; `quiet` keeps writers waiting."""

    def __init__(self, database: Database, count: Callable[[], None], tidy: Callable[[], None], quiet: Quiet) -> None:
        self._database, self._quiet = database, quiet
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
                    checkpoint(self._database, self._quiet)
                for i, (seconds, chore) in enumerate(self._chores):
                    if time.monotonic() >= due[i]:
                        due[i] = time.monotonic() + seconds
                        chore()
            except (sqlite3.Error, LedgerError) as error:
                # The next round tries again; writes fail loudly by themselves if the database is gone.
                logger.warning("ledger maintenance failed: %s", error)


def checkpoint(database: Database, quiet: Quiet = nullcontext) -> None:
    """Copy the log into the file once it has grown.

    PASSIVE never makes a writer wait, but what is written meanwhile stays behind, so that under steady
    load the log would grow for ever. The second, short round runs while this process writes nothing:
    then the log is wholly copied and the next writer begins at its start again, which is also faster
    than a growing file. RESTART waits for the gaps of other processes, and only when it must.
    """
    if _wal_bytes(database) <= WAL_BYTES:
        return
    connection = database.connect()
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with quiet():
            _, log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if log != copied and _wal_bytes(database) > RESTART_BYTES:
            connection.execute("PRAGMA busy_timeout=100")
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    finally:
        connection.close()


def _wal_bytes(database: Database) -> int:
    try:
        return database.path.with_name(database.path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0
