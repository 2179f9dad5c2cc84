"""One writing connection with the heads of its chains; a lane is used by one thread at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cds_service.errors import LedgerError, LedgerUnavailable
from cds_service.ledger.chain import DAY, Head, Sealer, link, next_register, sealed
from cds_service.ledger.database import Database, Statement, error_text, fault, is_busy
from cds_service.ledger.record import Replayed
from cds_service.ledger.schema import SEQUENCE_BITS, append
from cds_service.ledger.statements import Statements

T = TypeVar("T")
ATTEMPTS = 6
ROWS = 32
OF_ENTRY = append.c.keys().index("service")
ENTRY_ONLY = (None,) * (len(append.c) - OF_ENTRY)


class Conflict(Exception):
    """A head was moved by someone else (pruning, or a process with the same writer's name)."""


class Transaction:
    """What is written together.

    An entry whose chain's head is known is written by one statement, which SQLite commits by itself; the first of any
    other statements begins a transaction. `fresh` is True on a second attempt: heads are then read again, and locked.
    `unsure` is True when the connection broke before: the first attempt may have been committed.
    """

    def __init__(self, lane: Lane, cursor: Any, fresh: bool, unsure: bool, until: float | None) -> None:
        self.lane, self.cursor, self.fresh, self.unsure, self.until = lane, cursor, fresh, unsure, until
        self.sql = lane.statements
        self.heads: dict[str, Head] = {}
        self.begun = False

    def run(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Execute once; the number of rows changed."""
        if not self.begun:
            self.lane.database.begin(self.cursor, self.until)
            self.begun = True
        self._execute(statement, values)
        return int(self.cursor.rowcount)

    def _execute(self, statement: Statement, values: Mapping[str, Any]) -> None:
        parameters = {**statement.fixed, **values} if statement.fixed else values
        self.lane.database.patiently(lambda: self.cursor.execute(statement.sql, parameters), self.until)

    def one(self, statement: Statement, values: Mapping[str, Any]) -> Any:
        """The first row found, or None."""
        self.run(statement, values)
        return self.cursor.fetchone()

    def many(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add to counts, some rows at a time: few statements keep the lock for a short time only."""
        start = 0
        while left := len(rows) - start:
            size = min(ROWS, 1 << left.bit_length() - 1)  # powers of two: few statements to compile
            part = rows[start : start + size]
            values = {f"{name}_{i}": value for i, row in enumerate(part) for name, value in row.items()}
            self.run(self.sql.counts(table, size), values)
            start += size

    def append(self, kind: str, id_: str, received: int, document: str, more: tuple[Any, ...] = ENTRY_ONLY) -> int:
        """Link a document to the chain of its kind; the entry's number. `more`: the columns from `service` on.

        Raises Replayed when there is a token among them that was used before.
        """
        start = head = self.heads.get(kind) or self._head(kind)
        if head.open_rows and received - head.open_since > DAY:
            head = self._seal(head, received)
        sequence, previous = head.sequence + 1, head.hash
        digest = link(head.name, sequence, previous, document)
        head = head._replace(sequence=sequence, hash=digest, open_since=head.open_since or received)
        if head.open_rows >= self.lane.segment_rows:
            head = self._seal(head, received)
        number = head.id << SEQUENCE_BITS | sequence
        entry = (number, head.id, sequence, previous, digest, id_, kind, received, document)
        moved = (start.open_first, head.open_first, head.open_previous, head.open_since, self.lane.sealer.head(head))
        self._append(entry + moved + more)
        self.heads[kind] = head
        return number

    def _append(self, row: tuple[Any, ...]) -> None:
        try:
            self.lane.database.patiently(lambda: self.cursor.execute(self.sql.append.sql, row), self.until)
        except self.lane.errors as error:
            if error_text(error) == "replayed":
                raise Replayed from None
            raise

    def seal(self, kind: str, received: int) -> None:
        """Seal the open segment of one of the lane's chains, if there is one."""
        start = self._head(kind)
        if start.open_rows:
            self.heads[kind] = head = self._seal(start, received)
            move_head(self, start, head)

    def _seal(self, head: Head, received: int) -> Head:
        segment, after = sealed(head, received)
        self.run(self.sql.segment, segment_row(segment, self.lane.sealer))
        return after

    def _head(self, kind: str) -> Head:
        known = None if self.fresh else self.lane.heads.get(kind)
        return known or self._load(kind)

    def _load(self, kind: str) -> Head:
        """The chain's head from the database, or a new chain; never one whose HMAC is wrong."""
        base = name = f"{self.lane.name}/{kind}"
        generation = 1
        while row := self.one(self.sql.head, {"name": name}):
            head = Head(*row[:-1])
            if self.lane.sealer.fits(self.lane.sealer.head(head), row[-1]):
                return head
            generation += 1
            name = f"{base}~{generation}"
        return self._create(name, kind)

    def _create(self, name: str, kind: str) -> Head:
        chains, digest, mac = self.one(self.sql.register, {})
        sealer = self.lane.sealer
        if not sealer.fits(sealer.register(chains, digest), mac):
            raise LedgerError("The ledger's register of chains was changed from outside. Run `ledger verify`.")
        head = Head(chains + 1, name, kind)
        self.run(self.sql.chain, {**head_row(head, sealer), "id": head.id, "name": name, "kind": kind})
        digest = next_register(digest, head.id, name, kind)
        mac = sealer.register(head.id, digest)
        self.run(self.sql.move_register, {"chains": head.id, "hash": digest, "mac": mac})
        return head


class Lane:
    """One connection and its chains."""

    def __init__(
        self, database: Database, statements: Statements, sealer: Sealer, name: str, segment_rows: int
    ) -> None:
        self.database, self.statements, self.sealer = database, statements, sealer
        self.name, self.segment_rows = name, segment_rows
        self.heads: dict[str, Head] = {}
        self._connection: Any = None
        self.errors = database.engine.dialect.loaded_dbapi.Error

    def run(self, work: Callable[[Transaction], T], until: float | None = None) -> T:
        """Do `work` in one transaction that is durable when this returns.

        Raises LedgerUnavailable when it was not done by `until` (monotonic clock) or the database cannot do it now,
        else LedgerError. Before that time it is tried again where others undid it (`_collided`), and once where a
        session failed that was there before: it may have been ended, or its server become a standby.
        """
        last: Exception | None = None
        unsure = False
        for _ in range(ATTEMPTS):
            new = self._connection is None
            try:
                return self._attempt(work, last is not None, unsure, until)
            except (Conflict, self.errors) as error:
                last = error
            unsure = unsure or self._connection is None
            if (self._connection is None and (new or _is_late(last))) or _is_past(until):
                break
        if last is None or isinstance(last, Conflict):
            raise LedgerUnavailable(f"The record could not be written: {last}.")
        raise fault("The record could not be written", last) from last

    def _attempt(self, work: Callable[[Transaction], T], fresh: bool, unsure: bool, until: float | None) -> T:
        if self._connection is None:
            self._connection = self.database.connect(writing=True)
        if not self.database.is_sqlite:
            self._connection.until = until
        cursor = self._connection.cursor()
        try:
            transaction = Transaction(self, cursor, fresh, unsure, until)
            result = work(transaction)
            self._connection.commit()
        except BaseException as error:
            cursor.close()
            self._roll_back(keep=not isinstance(error, self.errors) or self._collided(error))
            raise
        cursor.close()
        self.heads.update(transaction.heads)  # certain, now that they are committed
        return result

    def _roll_back(self, keep: bool) -> None:
        """Undo; a connection that cannot even do that is given up, and so is one that failed by itself."""
        try:
            self._connection.rollback()
        except self.errors:
            keep = False
        if not keep or getattr(self._connection, "closed", False):
            self.close()

    def _collided(self, error: Exception) -> bool:
        """A lock, a deadlock, a row that someone else inserted first: nothing is wrong with the connection."""
        return (
            is_busy(error)
            or isinstance(error, self.database.engine.dialect.loaded_dbapi.IntegrityError)
            or getattr(error, "sqlstate", None) in {"40001", "40P01"}
        )

    def close(self) -> None:
        """Drop the connection; the next use makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _is_past(until: float | None) -> bool:
    return until is not None and time.monotonic() > until


def _is_late(error: Exception) -> bool:
    """The server cancelled the statement, or did not get its lock in time: it would not again."""
    return getattr(error, "sqlstate", None) in {"57014", "55P03"}


def move_head(transaction: Transaction, start: Head, head: Head) -> None:
    """Update a chain's row, provided that nobody else moved it; raises Conflict."""
    row = head_row(head, transaction.lane.sealer)
    where = {"at_id": head.id, "at_sequence": start.sequence, "at_first": start.open_first, "at_hash": start.hash}
    if transaction.run(transaction.sql.move_head, {**row, **where}) != 1:
        raise Conflict("another process moved the head of this chain")


def head_row(head: Head, sealer: Sealer) -> dict[str, Any]:
    """The columns of `chain` that change."""
    return {
        "sequence": head.sequence,
        "hash": head.hash,
        "open_first": head.open_first,
        "open_previous": head.open_previous,
        "open_since": head.open_since,
        "mac": sealer.head(head),
    }


def segment_row(s: Any, sealer: Sealer) -> dict[str, Any]:
    """A row of `segment` with its HMAC."""
    names = ("chain", "first", "last", "count", "previous", "hash", "received_first", "received_last", "pruned")
    return {**{n: getattr(s, n) for n in names}, "mac": sealer.segment(s)}
