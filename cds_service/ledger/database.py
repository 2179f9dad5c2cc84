"""Where the ledger lives: SQLite or PostgreSQL from a URL, raw connections, statements compiled once."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.sql import ClauseElement

from cds_service.errors import ConfigurationError, LedgerError, LedgerUnavailable
from cds_service.ledger.silence import CONNECT_SECONDS, connection_class

Sync = Literal["normal", "full"]
BUSY_SECONDS = 15.0
BUSY_PAUSE = 0.0001
DAMAGED = {"XX001", "XX002"}
"""SQLSTATEs of data or an index that is damaged: that does not pass."""
READERS = 4
"""Connections to PostgreSQL that a process reads pages and counts with, at most."""
WAL_BYTES = 16 << 20
"""SQLite's write-ahead log is copied into the file when it is larger, and cut to this size when it starts anew."""
_POSTGRESQL = {"postgresql", "postgres", "postgresql+psycopg"}
# WAL survives a killed process either way; FULL also survives a power cut. On PostgreSQL both flush to
# the server's disk, and `full` waits for its synchronous standbys too.
_SQLITE_SYNC = {"normal": "NORMAL", "full": "FULL"}
_POSTGRESQL_SYNC = {"normal": "local", "full": "on"}


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text for one database, with the values that never change filled in."""

    sql: str
    fixed: Mapping[str, Any]


class Database:
    """One SQLite file or PostgreSQL database.

    `patience` is how many seconds a server may be silent while it is read from, `deadline` how many a write or a
    look-up may take as a whole, waiting included; None: without end (SQLite: BUSY_SECONDS).
    """

    def __init__(
        self,
        url: str,
        sync: Sync = "normal",
        patience: float | None = None,
        deadline: float | None = None,
        *,
        make: bool = True,
    ) -> None:
        """A SQLite file that is not there is made, or with `make` False is a ConfigurationError."""
        self.url = _parsed(url)
        self.sync, self.patience, self.deadline = sync, patience, deadline
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._file = _check_place(self.path, make)
        elif _psycopg() is None:
            raise ConfigurationError("PostgreSQL needs psycopg: install cds-service[postgresql].")

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(self.url.database or "")

    def check_file(self) -> None:
        """Raise LedgerError where the SQLite file was moved or replaced: what is written now would not be found."""
        try:
            found = _identity(self.path.stat())
        except OSError:
            found = None
        if found != self._file:
            raise LedgerUnavailable(f"The ledger's file {self.path} was moved or replaced. Put it back, or restart.")

    @cached_property
    def engine(self) -> Engine:
        """For reading, migrations and maintenance; SQLite connections begin nothing by themselves."""
        if self.is_sqlite:
            return create_engine(self.url, creator=self.connect, paramstyle="named")
        return create_engine(
            self.url,
            creator=self.connect,
            pool_pre_ping=True,
            pool_size=READERS,
            max_overflow=0,
            pool_timeout=self.deadline or 30,
        )

    def connect(self, *, writing: bool = False) -> Any:
        """A new DBAPI connection with the pragmas or settings of `sync`; one for `writing` waits by `patiently`."""
        if self.is_sqlite:
            return self._connect_sqlite(0.0 if writing else self.deadline or BUSY_SECONDS)
        return self._connect_postgresql(self.deadline if writing else None)

    def _connect_sqlite(self, timeout: float) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.path, timeout=timeout, isolation_level=None, check_same_thread=False)
            connection.execute(f"PRAGMA synchronous={_SQLITE_SYNC[self.sync]}")
            connection.execute("PRAGMA wal_autocheckpoint=0")  # see maintenance.py
            connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"The ledger at {self.path} cannot be opened: {error}.") from error
        return connection

    def _connect_postgresql(self, deadline: float | None) -> Any:
        """With a `deadline` the server itself cancels a statement that takes as long, whoever asked is still there."""
        arguments, options = self.engine.dialect.create_connect_args(self.url)
        wait = CONNECT_SECONDS if deadline is None else max(2, min(CONNECT_SECONDS, int(deadline)))
        try:
            connection = connection_class().connect(*arguments, **{"connect_timeout": wait, **options})
            connection.patience = self.patience
            with connection.cursor() as cursor:
                cursor.execute(f"SET synchronous_commit = {_POSTGRESQL_SYNC[self.sync]}")
                if deadline is not None:
                    cursor.execute(f"SET statement_timeout = {int(deadline * 1000)}")
            connection.commit()
        except self.engine.dialect.loaded_dbapi.Error as error:
            # libpq's text may hold the host and user, never the password.
            raise LedgerUnavailable(f"PostgreSQL cannot be reached: {str(error).strip()}") from error
        return connection

    def compile(self, clause: ClauseElement, *columns: str, named: bool = True) -> Statement:
        """SQL text with `named` parameters or a row of them; `columns` are those that an insert or update sets."""
        dialect: Any = self.engine.dialect
        if not named:
            dialect = type(dialect)(paramstyle="qmark" if self.is_sqlite else "format")
        compiled = clause.compile(dialect=dialect, column_keys=list(columns) or None)
        fixed = {k: v for k, v in compiled.params.items() if v is not None and k not in columns}
        return Statement(str(compiled), fixed)

    def until(self) -> float | None:
        """When what begins now is given up, on the monotonic clock."""
        seconds = self.deadline or (BUSY_SECONDS if self.is_sqlite else None)
        return None if seconds is None else time.monotonic() + seconds

    def begin(self, cursor: Any, until: float | None) -> None:
        """Begin a writing transaction; PostgreSQL does so by itself."""
        if self.is_sqlite:
            self.patiently(lambda: cursor.execute("BEGIN IMMEDIATE"), until)

    def patiently(self, statement: Callable[[], Any], until: float | None) -> None:
        """Run a statement, again and again while another process has SQLite's write lock.

        SQLite's own waiting sleeps up to 100 ms at a time; the lock is held for a tenth of one.
        """
        while True:
            try:
                statement()
            except sqlite3.OperationalError as error:
                if not is_busy(error) or until is None or time.monotonic() > until:
                    raise
                time.sleep(BUSY_PAUSE)
            else:
                return

    def close(self) -> None:
        """Close the reading connections."""
        self.engine.dispose()


def is_busy(error: Exception) -> bool:
    """True when SQLite refused because another connection holds the lock."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def fault(text: str, error: BaseException) -> LedgerError:
    """What a driver's error is to callers: one of the database's state passes, one of a statement does not."""
    original = getattr(error, "orig", None) or error
    # PostgreSQL files a full disk or a standby under "operational" or "internal", by how it came to light.
    names = {kind.__name__ for kind in type(original).__mro__}
    passing = names & {"OperationalError", "InternalError"} and getattr(original, "sqlstate", None) not in DAMAGED
    return (LedgerUnavailable if passing else LedgerError)(f"{text}: {error_text(error)}")


def error_text(error: BaseException | None) -> str:
    """The database's own words, without the SQL and values that SQLAlchemy and PostgreSQL add."""
    error = getattr(error, "orig", None) or error
    return str(getattr(getattr(error, "diag", None), "message_primary", None) or error).splitlines()[0]


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        return None
    return psycopg


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:  # its text may repeat a password
        raise ConfigurationError(
            "The database URL (CDS_DATABASE_URL) cannot be read. Write sqlite:///path/to/ledger.db or postgresql://user@host/name."
        ) from None
    if parsed.drivername in _POSTGRESQL:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ConfigurationError(
            f"The ledger (CDS_DATABASE_URL) runs on sqlite:/// and postgresql://, not on {parsed.drivername}."
        )
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise ConfigurationError(
            "The ledger needs a SQLite file: write CDS_DATABASE_URL as sqlite:///path/to/ledger.db."
        )
    return parsed


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _check_place(path: Path, make: bool) -> tuple[int, int]:
    """Make the file for its owner only: it will hold patient data; returns which file it is."""
    if not make and not path.exists():
        raise ConfigurationError(f"There is no ledger at {path}. Check the path.")
    if not path.parent.is_dir():
        raise ConfigurationError(f"The ledger's folder {path.parent} does not exist. Create it.")
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            return _identity(os.fstat(descriptor))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigurationError(f"The ledger at {path} cannot be written: {error.strerror}.") from error
