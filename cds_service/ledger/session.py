"""One connection that is used again and again, by one thread at a time: made when needed, given up when of no use.

There is never more than one connection for a session, whatever happens: where the server is silent, the connection is
kept, and used again only when what was asked on it has been answered. So a stalled database does not see its
connections pile up.
"""

from __future__ import annotations

import sqlite3
from enum import Enum
from time import monotonic
from typing import Any

from cds_service.errors import LedgerUnavailable
from cds_service.ledger.database import Database, is_busy

LONGEST_SILENCE = 60.0
"""Seconds after which a connection that stays silent is dropped: nobody may be at its other end any more."""
_PASSING = ("08", "57P0")  # connection exceptions, shutdowns (PostgreSQL, Appendix A)
_READ_ONLY = "25006"  # what was the primary is a standby now, or this session was made read-only


class Fate(Enum):
    """What became of a session's connection after an error."""

    KEPT = "kept"
    LOST = "lost"  # the next use makes a new one
    SILENT = "silent"


class Session:
    """A connection of `database` that raises LedgerUnavailable where there is none to be had."""

    def __init__(self, database: Database, *, autocommit: bool = False) -> None:
        self._database, self._autocommit = database, autocommit
        self._connection: Any = None
        self._silent_since: float | None = None
        self.errors: Any = database.engine.dialect.loaded_dbapi.Error

    def connection(self, until: float | None) -> Any:
        """The connection, which answers until then or raises. Raises LedgerUnavailable, or the driver's errors."""
        if self._silent_since is not None:
            self._revive(until)
        if self._connection is None:
            self._connection = self._database.connect(writing=not (self._autocommit and self._database.is_sqlite))
            if self._autocommit and not self._database.is_sqlite:
                self._connection.autocommit = True
        if not self._database.is_sqlite:
            self._connection.until = until
        return self._connection

    def _revive(self, until: float | None) -> None:
        if monotonic() - (self._silent_since or 0) > LONGEST_SILENCE:
            self.close()
            return
        self._connection.until = until
        try:
            self._connection.revive()
            self._connection.rollback()
        except self.errors as error:
            if self.failed(error) is Fate.SILENT:
                raise LedgerUnavailable("The ledger's database is silent.") from error

    def failed(self, error: BaseException) -> Fate:
        """Undo what was begun; a connection that cannot be used any more is dropped."""
        connection = self._connection
        if connection is None:
            return Fate.LOST
        if getattr(connection, "silent", False):
            self._silent_since = self._silent_since or monotonic()
            return Fate.SILENT
        try:
            connection.rollback()
        except self.errors:
            return self.failed(error) if getattr(connection, "silent", False) else self._lost()
        return self._lost() if getattr(connection, "closed", False) or _is_of_no_use(error) else Fate.KEPT

    def _lost(self) -> Fate:
        self.close()
        return Fate.LOST

    def close(self) -> None:
        """Drop the connection; the next use makes a new one."""
        connection, self._connection, self._silent_since = self._connection, None, None
        if connection is not None:
            connection.close()


def _is_of_no_use(error: BaseException) -> bool:
    """Whether an error comes of the connection, so that another one may fare better."""
    if isinstance(error, sqlite3.OperationalError):
        return not is_busy(error)
    state = getattr(error, "sqlstate", None) or ""
    return state.startswith(_PASSING) or state == _READ_ONLY
