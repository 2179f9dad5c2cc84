"""Remove old records by whole segments, leaving their seals, so that the chains still verify."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update

from cds_service.errors import LedgerError
from cds_service.ledger import schema
from cds_service.ledger.chain import Head, Segment, link, sealed
from cds_service.ledger.counts import OTHER
from cds_service.ledger.database import Database, Statement
from cds_service.ledger.lane import Transaction, move_head, segment_row
from cds_service.ledger.reading import stream
from cds_service.ledger.record import PruneReport
from cds_service.ledger.schema import SEQUENCE_BITS

Run = Callable[[Callable[[Transaction], Any]], Any]
_RECORDS = ("explanation", "entry")
_STATISTICS = ("answer", "card", "feedback")


def prune(run: Run, database: Database, before: int, hook: str | None, statistics: bool) -> PruneReport:
    """Remove what was received before `before` (ms), a transaction per segment; writing goes on meanwhile.

    The open segment of a chain is first sealed up to the last entry that is old enough.
    """
    pruner = _Pruner(database, before, statistics)
    for name in pruner.chain_names(hook):
        run(partial(pruner.seal_old, name))
    segments = pruner.old_segments(hook)
    for name, segment in segments:
        run(partial(pruner.remove, name, segment))
    expired = run(lambda tx: tx.run(pruner.expired, {"now": int(time.time() * 1000)}))
    return PruneReport(len(segments), sum(s.count for _, s in segments), expired)


class _Pruner:
    def __init__(self, database: Database, before: int, statistics: bool) -> None:
        self.database, self.before = database, before
        e, s = schema.entry, schema.segment
        bounds: tuple[Any, Any] = (bindparam("low"), bindparam("high"))
        tables = (*_RECORDS, *_STATISTICS) if statistics else _RECORDS
        compile_ = database.compile
        self.deletes = [compile_(delete(t).where(t.c.number.between(*bounds))) for t in map(_table, tables)]
        self.expired: Statement = compile_(
            delete(schema.explanation).where(schema.explanation.c.expires < bindparam("now"))
        )
        f = schema.feedback
        foreign = (f.c.number.between(*bounds), f.c.reason_offered.is_not(True), f.c.reason_code.is_not(None))
        # A code that the card did not offer is the caller's: it goes with its record.
        self.forget_codes = compile_(update(f).where(*foreign).values(reason_code=OTHER))
        self.first_young = compile_(
            select(func.min(e.c.number)).where(e.c.number.between(*bounds), e.c.received >= bindparam("before"))
        )
        self.find_entry = compile_(select(e.c.hash, e.c.received).where(e.c.number == bindparam("at")))
        self.entries = compile_(
            select(e.c.sequence, e.c.previous, e.c.hash, e.c.document)
            .where(e.c.number.between(*bounds))
            .order_by(e.c.number)
        )
        self.mark = compile_(
            update(s).where(s.c.chain == bindparam("at_chain"), s.c.first == bindparam("at_first")), "pruned", "mac"
        )

    def chain_names(self, hook: str | None) -> list[str]:
        """Chains of a hook, or all."""
        c = schema.chain
        query = select(c.c.name).where(c.c.sequence >= c.c.open_first)
        with self.database.engine.connect() as connection:
            return list(connection.scalars(query if hook is None else query.where(c.c.kind == hook)))

    def seal_old(self, name: str, tx: Transaction) -> None:
        """Seal the old beginning of a chain's open segment."""
        head = _checked_head(tx, name)
        low, high = head.id << SEQUENCE_BITS | head.open_first, head.id << SEQUENCE_BITS | head.sequence
        young = tx.one(self.first_young, {"low": low, "high": high, "before": self.before})[0]
        last = high if young is None else young - 1
        if last < low:
            return
        digest, received = tx.one(self.find_entry, {"at": last}) or _damaged(name)
        old = head._replace(sequence=last & ((1 << SEQUENCE_BITS) - 1), hash=digest)
        segment, after = sealed(old, received)
        since = received if young is not None else 0
        tx.run(tx.sql.segment, segment_row(segment, tx.lane.sealer))
        move_head(tx, head, after._replace(sequence=head.sequence, hash=head.hash, open_since=since))

    def old_segments(self, hook: str | None) -> list[tuple[str, Segment]]:
        """Sealed segments, not pruned yet, whose last entry is old enough, with their chain's name."""
        s, c = schema.segment, schema.chain
        query = select(c.c.name, s).join(c, c.c.id == s.c.chain)
        query = query.where(s.c.pruned.is_(None), s.c.received_last < self.before).order_by(s.c.chain, s.c.first)
        if hook is not None:
            query = query.where(c.c.kind == hook)
        found = []
        with self.database.engine.connect() as connection:
            for row in stream(connection, query):
                name, mac, count = row.pop("name"), row.pop("mac"), row.pop("count")
                del mac, count  # checked below, under the writer's lock
                found.append((name, Segment(**row)))
        return found

    def remove(self, name: str, segment: Segment, tx: Transaction) -> None:
        """Check a segment against its seal, remove its entries, and mark the seal; raises LedgerError."""
        if self.database.is_sqlite:
            tx.cursor.execute("PRAGMA secure_delete=ON")  # overwrite, not only unlink, what is removed
        bounds = {
            "low": segment.chain << SEQUENCE_BITS | segment.first,
            "high": segment.chain << SEQUENCE_BITS | segment.last,
        }
        tx.run(self.entries, bounds)
        previous = segment.previous
        for sequence, before, digest, document in tx.cursor:
            if before != previous or link(name, sequence, before, document) != digest:
                _damaged(name)
            previous = digest
        if previous != segment.hash:
            _damaged(name)
        for statement in self.deletes:
            tx.run(statement, bounds)
        tx.run(self.forget_codes, bounds)
        marked = replace(segment, pruned=int(time.time() * 1000))
        where = {"at_chain": segment.chain, "at_first": segment.first}
        tx.run(self.mark, {**where, "pruned": marked.pruned, "mac": tx.lane.sealer.segment(marked)})


def _checked_head(tx: Transaction, name: str) -> Head:
    row = tx.one(tx.sql.head, {"name": name})
    head = Head(*row[:-1])
    if not tx.lane.sealer.fits(tx.lane.sealer.head(head), row[-1]):
        _damaged(name)
    return head


def _table(name: str) -> Any:
    return schema.metadata.tables[name]


def _damaged(name: str) -> Any:
    raise LedgerError(f"Chain {name} was changed from outside; nothing of it was pruned. Run `ledger verify`.")
