"""Reading much at once: one consistent snapshot, rows streamed in the order of their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, Table, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoneFree

from cds_service.errors import LedgerUnavailable
from cds_service.ledger.database import fault
from cds_service.ledger.projection import Row
from cds_service.ledger.schema import SEQUENCE_BITS

BATCH = 200


def place(number: int) -> tuple[int, int]:
    """Chain and sequence of an entry's number."""
    return number >> SEQUENCE_BITS, number & ((1 << SEQUENCE_BITS) - 1)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection whose faults are LedgerErrors, without SQL or values in their text."""
    try:
        with engine.connect() as connection:
            yield connection
    except NoneFree:
        raise LedgerUnavailable("The ledger's database does not keep up: no connection to it is free.") from None
    except SQLAlchemyError as error:
        raise fault("The ledger could not be read", error) from error


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection that sees the database as it is now, whatever is written meanwhile."""
    with reading(engine) as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


def stream(connection: Connection, query: Any) -> Iterator[Row]:
    """Rows as dicts, a batch at a time, so that memory stays flat."""
    with connection.execute(query, execution_options={"yield_per": BATCH}) as result:
        for row in result.mappings():
            yield dict(row)


class Follower:
    """Rows of a projection, grouped by number, read alongside the entries in one pass."""

    def __init__(self, connection: Connection, table: Table) -> None:
        rows = stream(connection, select(table).order_by(*table.primary_key.columns))
        self._groups = ((number, list(group)) for number, group in groupby(rows, key=lambda r: int(r["number"])))
        self._next = next(self._groups, None)

    def until(self, number: int) -> Iterator[int]:
        """Numbers that come before `number`: rows that no entry stands for."""
        while self._next is not None and self._next[0] < number:
            yield self._next[0]
            self._next = next(self._groups, None)

    def at(self, number: int) -> list[Row]:
        """The rows of `number`; what comes before must have been read with `until`."""
        if self._next is None or self._next[0] != number:
            return []
        rows = self._next[1]
        self._next = next(self._groups, None)
        return rows
