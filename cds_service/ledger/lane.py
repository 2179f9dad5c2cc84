"""One writing connection with the heads of its chains; a lane is used by one thread at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from cds_service.errors import LedgerError
from cds_service.ledger.chain import DAY, Head, Sealer, link, next_register, sealed
from cds_service.ledger.counts import SHARDS, new_tally, tally_row, tally_rows
from cds_service.ledger.database import Database, Statement, error_text, is_busy
from cds_service.ledger.schema import SEQUENCE_BITS
from cds_service.ledger.statements import Statements

T = TypeVar("T")
ATTEMPTS = 6
MOST_COUNTED = 20_000


class Conflict(Exception):
    """A head was moved by someone else (pruning, or a process with the same writer's name)."""


class Transaction:
    """What one transaction writes; `finish` adds the heads and counts.

    `fresh` is True on a second attempt: heads are then read again, and locked. `unsure` is True when
    the connection broke before: the first attempt may have been committed.
    """

    def __init__(self, lane: Lane, cursor: Any, fresh: bool, unsure: bool) -> None:
        self.lane, self.cursor, self.fresh, self.unsure = lane, cursor, fresh, unsure
        self.sql = lane.statements
        self.tally = new_tally()
        self.heads: dict[str, tuple[Head, Head]] = {}
        self.counted: set[int] = set()

    def run(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Execute once; the number of rows changed."""
        self.cursor.execute(statement.sql, {**statement.fixed, **values} if statement.fixed else values)
        return int(self.cursor.rowcount)

    def many(self, statement: Statement, rows: Iterable[Mapping[str, Any]]) -> None:
        """Execute for every row."""
        self.cursor.executemany(statement.sql, rows)

    def one(self, statement: Statement, values: Mapping[str, Any]) -> Any:
        """The first row found, or None."""
        self.run(statement, values)
        return self.cursor.fetchone()

    def append(self, kind: str, id_: str, received: int, document: str) -> int:
        """Link a document to the chain of its kind; the entry's number."""
        start, head = self.heads.get(kind) or (self._head(kind),) * 2
        if head.open_rows and received - head.open_since > DAY:
            head = self._seal(head, received)
        sequence = head.sequence + 1
        digest = link(head.name, sequence, head.hash, document)
        number = head.id << SEQUENCE_BITS | sequence
        row = {"number": number, "chain": head.id, "sequence": sequence, "previous": head.hash, "hash": digest}
        self.run(self.sql.entry, {**row, "id": id_, "kind": kind, "received": received, "document": document})
        head = replace(head, sequence=sequence, hash=digest, open_since=head.open_since or received)
        if head.open_rows >= self.lane.segment_rows:
            head = self._seal(head, received)
        self.heads[kind] = start, head
        return number

    def seal(self, kind: str, received: int) -> None:
        """Seal the open segment of one of the lane's chains, if there is one."""
        start = self._head(kind)
        if start.open_rows:
            self.heads[kind] = start, self._seal(start, received)

    def _seal(self, head: Head, received: int) -> Head:
        segment, after = sealed(head, received)
        self.run(self.sql.segment, segment_row(segment, self.lane.sealer))
        return after

    def finish(self) -> None:
        """Write counts, then the heads; raises Conflict when a head is no longer where it was."""
        self._count()
        for start, head in self.heads.values():
            move_head(self, start, head)

    def _count(self) -> None:
        """Add to `tally`: by key alone where the row is known to exist, which is much the most frequent."""
        known = self.lane.counted
        rows = tally_rows(self.tally, self.lane.shard)
        self.counted = {row["key"] for row in rows if row["key"] not in known}
        new = [tally_row(row) for row in rows if row["key"] in self.counted]
        old = [{"at": r["key"], "n": r["count"], "ms": r["total"]} for r in rows if r["key"] not in self.counted]
        if new:
            self.many(self.sql.tally, new)
        if old:
            self.many(self.sql.add_tally, old)

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
        self, database: Database, statements: Statements, sealer: Sealer, name: str, shard: int, segment_rows: int
    ) -> None:
        self.database, self.statements, self.sealer = database, statements, sealer
        self.name, self.shard, self.segment_rows = name, shard % SHARDS, segment_rows
        self.heads: dict[str, Head] = {}
        self.counted: set[int] = set()
        self._connection: Any = None
        self._errors = database.engine.dialect.loaded_dbapi.Error

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Do `work` in one transaction that is durable when this returns; raises LedgerError."""
        last: Exception | None = None
        unsure = False
        for attempt in range(ATTEMPTS):
            try:
                return self._attempt(work, attempt > 0, unsure)
            except (Conflict, self._errors) as error:
                if not self._may_retry(error):
                    raise LedgerError(f"The record could not be written: {error_text(error)}") from error
                unsure = unsure or self._connection is None
                last = error
        raise LedgerError(f"The record could not be written: {error_text(last)}") from last

    def _attempt(self, work: Callable[[Transaction], T], fresh: bool, unsure: bool) -> T:
        if self._connection is None:
            self._connection = self.database.connect()
        cursor = self._connection.cursor()
        try:
            self.database.begin(cursor)
            transaction = Transaction(self, cursor, fresh, unsure)
            result = work(transaction)
            transaction.finish()
            self._connection.commit()
        except BaseException:
            self._roll_back()
            raise
        finally:
            cursor.close()
        self._remember(transaction)
        return result

    def _remember(self, transaction: Transaction) -> None:
        """What is certain once the transaction is committed."""
        self.heads.update((kind, head) for kind, (_, head) in transaction.heads.items())
        if len(self.counted) > MOST_COUNTED:
            self.counted.clear()
        self.counted |= transaction.counted

    def _roll_back(self) -> None:
        """Undo; a connection that cannot even do that is given up."""
        try:
            self._connection.rollback()
        except self._errors:
            self.close()
        else:
            if getattr(self._connection, "closed", False):
                self.close()

    def _may_retry(self, error: Exception) -> bool:
        """A moved head, a lock, a deadlock, a row that someone else inserted first, a lost connection."""
        if isinstance(error, Conflict) or self._connection is None:
            return True
        return (
            is_busy(error)
            or isinstance(error, self.database.engine.dialect.loaded_dbapi.IntegrityError)
            or (getattr(error, "sqlstate", None) in {"40001", "40P01"})
        )

    def close(self) -> None:
        """Drop the connection; the next use makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


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
