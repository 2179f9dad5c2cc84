"""Looks up whether a token was used, before its call costs anything: a replay is told from a call by that alone.

The transaction that stores a record has the last word (`append`); this only spares what would lead up to it. It has
connections of its own, so that no writing is waited for.
"""

from __future__ import annotations

from queue import Empty, LifoQueue
from time import monotonic

from cds_service.errors import LedgerUnavailable
from cds_service.ledger.database import Database, Statement, fault
from cds_service.ledger.session import Fate, Session

# SQLite answers within microseconds; of PostgreSQL's round trips two may be under way at once.
CONNECTIONS = {True: 1, False: 2}


class UsedTokens:
    """Safe for threads; connections are made on first use."""

    def __init__(self, database: Database, statement: Statement) -> None:
        self._database, self._statement = database, statement
        self._free: LifoQueue[Session] = LifoQueue()
        for _ in range(CONNECTIONS[database.is_sqlite]):
            self._free.put(Session(database, autocommit=True))

    def holds(self, key: str) -> bool:
        """Whether there is a row of `token` with this key. Raises LedgerError."""
        until = self._database.until()
        try:
            session = self._free.get(timeout=None if until is None else until - monotonic())
        except Empty:
            raise LedgerUnavailable("The ledger's database does not keep up: no connection to it is free.") from None
        try:
            return self._asked(session, key, until)
        finally:
            self._free.put(session)

    def _asked(self, session: Session, key: str, until: float | None) -> bool:
        """On the connection, or a new one where it is gone: the database may have been started again since."""
        try:
            return self._found(session, key, until)
        except session.errors as error:
            if session.failed(error) is not Fate.LOST:
                raise fault("The ledger could not be read", error) from error
        try:
            return self._found(session, key, until)
        except session.errors as error:
            session.failed(error)
            raise fault("The ledger could not be read", error) from error

    def _found(self, session: Session, key: str, until: float | None) -> bool:
        # To the last row, or SQLite would keep what it read from being overwritten.
        return bool(session.connection(until).execute(self._statement.sql, {"key": key}).fetchall())

    def close(self) -> None:
        """Close the connections that are free."""
        while not self._free.empty():
            self._free.get().close()
