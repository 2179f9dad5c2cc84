"""Looks up whether a token was used, before its call costs anything: a replay is told from a call by that alone.

The transaction that stores a record has the last word (`append`); this only spares what would lead up to it. It has
connections of its own, so that no writing is waited for.
"""

from __future__ import annotations

from queue import Empty, LifoQueue
from time import monotonic
from typing import Any

from cds_service.errors import LedgerError, LedgerUnavailable
from cds_service.ledger.database import Database, Statement, fault

# SQLite answers within microseconds; of PostgreSQL's round trips two may be under way at once.
CONNECTIONS = {True: 1, False: 2}
_AT_ONCE = 1.0


class UsedTokens:
    """Safe for threads; connections are made on first use."""

    def __init__(self, database: Database, statement: Statement) -> None:
        self._database, self._statement = database, statement
        self._errors = database.engine.dialect.loaded_dbapi.Error
        self._free: LifoQueue[Any] = LifoQueue()
        for _ in range(CONNECTIONS[database.is_sqlite]):
            self._free.put(None)

    def holds(self, key: str) -> bool:
        """Whether there is a row of `token` with this key. Raises LedgerError."""
        until = self._database.until()
        try:
            connection = self._free.get(timeout=None if until is None else until - monotonic())
        except Empty:
            raise LedgerUnavailable("The ledger's database does not keep up: no connection to it is free.") from None
        try:
            connection, found = self._look_up(connection, key, until)
        except self._errors as error:
            connection = None
            raise fault("The ledger could not be read", error) from error
        except LedgerError:
            connection = None
            raise
        finally:
            self._free.put(connection)
        return found

    def _look_up(self, connection: Any, key: str, until: float | None) -> tuple[Any, bool]:
        """On the connection, or a new one where it is gone: the database may have been started again since."""
        began = monotonic()
        if connection is not None:
            try:
                return connection, self._asked(connection, key, until)
            except self._errors:
                connection.close()
                if monotonic() - began > _AT_ONCE:
                    raise  # it was silent, and would be so again
        connection = self._database.connect(writing=not self._database.is_sqlite)
        if not self._database.is_sqlite:
            connection.autocommit = True
        return connection, self._asked(connection, key, until)

    def _asked(self, connection: Any, key: str, until: float | None) -> bool:
        if not self._database.is_sqlite:
            connection.until = until
        # To the last row, or SQLite would keep what it read from being overwritten.
        return bool(connection.execute(self._statement.sql, {"key": key}).fetchall())

    def close(self) -> None:
        """Close the connections that are free."""
        while not self._free.empty():
            connection = self._free.get()
            if connection is not None:
                connection.close()
