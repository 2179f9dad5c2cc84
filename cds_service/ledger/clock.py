"""Whose time decides: that of the database where several machines share it, else the more careful of two clocks."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, text

CLOCK_SECONDS = 60.0
"""What a machine's clock may differ from the database's."""
KEEP_TOKENS_SECONDS = 24 * 3600
"""How long used tokens are kept beyond their end."""


class Clock:
    """This process's idea of the time, in Unix seconds, and how far it can be believed."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._opened = now() - time.monotonic()

    def earliest(self) -> float:
        """The time, but not later than what has passed since the start tells: a clock that was set ahead is not
        followed, one that was set back is.
        """
        return min(self.now(), self._opened + time.monotonic())

    def off(self, connection: Connection) -> float:
        """By how many seconds the clock is ahead of the database's; the way there and back is allowed for."""
        before = self.now()
        theirs = database_time(connection)
        after = self.now()
        return before - theirs if theirs < before else after - theirs if theirs > after else 0.0


def database_time(connection: Connection) -> float:
    """PostgreSQL's clock, in Unix seconds."""
    return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
