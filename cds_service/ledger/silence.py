"""Connections to PostgreSQL that give up on a server that has gone silent: the driver itself would wait for ever."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from time import monotonic
from typing import Any

CONNECT_SECONDS = 5
"""To connect to one host, unless the URL has a connect_timeout."""


@cache
def connection_class() -> Any:
    """psycopg's connection, with limits of its own for waiting; psycopg is an extra, so imported here."""
    import psycopg
    from psycopg import generators

    class Connection(psycopg.Connection[Any]):
        """`patience`: seconds in which something must come; `until`: the monotonic time by which all must have come.

        A connection with `until` outlives silence: it is `silent`, and what was asked is still to be answered on it.
        """

        patience: float | None = None
        until: float | None = None
        silent = False

        def wait(self, gen: Any, *more: Any, **options: Any) -> Any:
            if self.patience is None and self.until is None:
                return super().wait(gen, *more, **options)
            try:
                return super().wait(_impatient(gen, self.patience, self.until), *more, **options)
            except TimeoutError as error:
                if self.until is None:
                    self.pgconn.finish()
                else:
                    self.silent = True
                raise psycopg.OperationalError(str(error)) from None

        def revive(self) -> None:
            """Wait for what is still to be answered, which is of no use any more. Raises OperationalError."""
            self.wait(generators.execute(self.pgconn))
            self.silent = False

    return Connection


def _impatient(gen: Generator[Any, Any, Any], patience: float | None, until: float | None) -> Generator[Any, Any, Any]:
    """The driver's generator, which is resumed with 0 every 0.1 s while nothing comes. Raises TimeoutError."""
    last = monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            now = monotonic()
            if ready:
                last = now
            elif (until is not None and now > until) or (patience is not None and now - last > patience):
                raise TimeoutError("the server does not answer in time")
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value
