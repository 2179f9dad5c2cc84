"""Create or upgrade the ledger's tables at start; several processes may start at once."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from cds_service.errors import ConfigurationError, LedgerError
from cds_service.ledger.database import BUSY_SECONDS, Database, error_text, is_busy
from cds_service.ledger.reading import reading
from cds_service.ledger.schema import HEAD

SCRIPTS = Path(__file__).parent / "migrations"
_LOCK = 7_239_001_488_120_415  # any number of our own, for PostgreSQL's advisory lock


def upgrade(database: Database, revision: str = HEAD, after: Callable[[Connection], None] | None = None) -> bool:
    """Bring the tables to `revision`, then call `after` in the same transaction; True if there was anything to do.

    Alembic is imported only when needed: it costs more than the rest of the start.
    """
    if current(database) == revision:
        return False
    if database.is_sqlite:
        _use_wal(database)
    with database.engine.connect() as connection:
        if not database.is_sqlite:
            connection.detach()  # for this alone: an upgrade takes its time
            # SQLAlchemy does not know that it is ours (silence.py).
            connection.connection.dbapi_connection.patience = None  # type: ignore[union-attr]
        _lock(connection, database)
        _run(connection, revision)
        if after is not None:
            after(connection)
        if database.is_sqlite:
            connection.exec_driver_sql("COMMIT")
        connection.commit()
    return True


def current(database: Database) -> str | None:
    """The revision that the tables are at; None before the first."""
    with reading(database.engine) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return found


def require_ledger(url: str) -> None:
    """Raise ConfigurationError unless there is a ledger at `url`, LedgerError if that cannot be read; make nothing."""
    database = Database(url, make=False)
    try:
        with reading(database.engine) as connection:
            found = set(inspect(connection).get_table_names()) >= {"alembic_version", "register", "chain", "entry"}
    finally:
        database.close()
    if not found:
        raise ConfigurationError("There is no ledger in this database. Check its URL.")


def _lock(connection: Connection, database: Database) -> None:
    if database.is_sqlite:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})


def _run(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except SQLAlchemyError as error:
        raise LedgerError(f"The ledger's tables could not be upgraded: {error_text(error)}") from error
    except CommandError as error:
        raise LedgerError(
            "The ledger was written by a newer release of this service. Install that release or restore a backup."
        ) from error


def _use_wal(database: Database) -> None:
    """Once, when the file is made: switching later gives 'database is locked' to whoever is reading."""
    deadline = time.monotonic() + BUSY_SECONDS
    connection = database.connect()
    try:
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise LedgerError(f"The ledger at {database.path} is in use: {error}.") from error
                time.sleep(0.01)
    finally:
        connection.close()
