"""Connections to PostgreSQL that give up on a server that has gone silent: the driver itself would wait for ever."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from time import monotonic
from typing import Any

CONNECT_SECONDS = 5
"""To connect to one host, unless the URL has a connect_timeout."""
ANSWER_SECONDS = 10.0
"""What the service waits for the next bytes of an answer; commands for operators wait as long as it takes."""


@cache
def connection_class() -> Any:
    """psycopg's connection with a `patience` in seconds (None: without end); it is an extra, so imported here."""
    import psycopg

    class Connection(psycopg.Connection[Any]):
        patience: float | None = None

        def wait(self, gen: Any, *more: Any, **options: Any) -> Any:
            if self.patience is None:
                return super().wait(gen, *more, **options)
            try:
                return super().wait(_impatient(gen, self.patience), *more, **options)
            except TimeoutError as error:
                # What was asked may still be done, and its answer come: nothing else can be asked on this connection.
                self.pgconn.finish()
                raise psycopg.OperationalError(str(error)) from None

    return Connection


def _impatient(gen: Generator[Any, Any, Any], patience: float) -> Generator[Any, Any, Any]:
    """The driver's generator, which is resumed with 0 every 0.1 s while nothing comes. Raises TimeoutError."""
    last = monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                last = monotonic()
            elif monotonic() - last > patience:
                raise TimeoutError(f"the server has not answered for {patience:g} s")
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value
