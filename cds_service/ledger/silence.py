"""Connections to PostgreSQL that give up on a silent server, and at a deadline: the driver would wait for ever."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import Any

CONNECT_SECONDS = 5
"""To connect to one host, unless the URL has a connect_timeout."""
ANSWER_SECONDS = 10.0
"""What the service waits for the next bytes of what it reads; commands for operators wait as long as it takes."""
CANCEL_SECONDS = 1.0
"""For asking the server to cancel a statement that is given up; one that is silent as a whole does not hear it."""


@cache
def connection_class() -> Any:
    """psycopg's connection with a `patience` in seconds and a time `until` (None: without end); `gave_up` tells
    that one of them ran out. psycopg is an extra, so it is imported here.
    """
    import psycopg

    class Connection(psycopg.Connection[Any]):
        patience: float | None = None
        until: float | None = None
        gave_up = False

        def wait(self, gen: Any, *more: Any, **options: Any) -> Any:
            if self.gave_up or (self.patience is None and self.until is None):
                return super().wait(gen, *more, **options)
            try:
                return super().wait(_impatient(gen, self.patience, self.until), *more, **options)
            except TimeoutError as error:
                # What was asked may still be done, and its answer come: nothing else can be asked on this connection.
                # Without the cancelling its backend would stay, and wait for its lock.
                self.gave_up = True
                if psycopg.capabilities.has_cancel_safe():  # the older way would wait for a silent server for ever
                    with suppress(psycopg.Error):
                        self.cancel_safe(timeout=CANCEL_SECONDS)
                self.pgconn.finish()
                raise psycopg.OperationalError(str(error)) from None

    return Connection


def _impatient(gen: Generator[Any, Any, Any], patience: float | None, until: float | None) -> Generator[Any, Any, Any]:
    """The driver's generator, which is resumed with 0 every 0.1 s while nothing comes. Raises TimeoutError."""
    last = monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                last = monotonic()
            elif patience is not None and monotonic() - last > patience:
                raise TimeoutError(f"the server has not answered for {patience:g} s")
            elif until is not None and monotonic() > until:
                raise TimeoutError("the server has not answered in time")
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value
