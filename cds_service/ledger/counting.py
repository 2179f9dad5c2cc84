"""Count what was written since the last time: `finding` and `tally` follow the projections a moment later.

A batch is read and added up without any lock, then written if nobody else counted meanwhile. Whoever reads counts
counts first, so that a process that was killed leaves nothing out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from cds_service.ledger import schema
from cds_service.ledger.counts import (
    Tally,
    add_answer,
    add_finding,
    add_outcome,
    add_spoken,
    day_of,
    finding_key,
    finding_rows,
    new_tally,
    tally_row,
    tally_rows,
)
from cds_service.ledger.database import Database
from cds_service.ledger.lane import Transaction
from cds_service.ledger.projection import Projection, Row, cards_of, determinations_of
from cds_service.ledger.reading import place, snapshot
from cds_service.ledger.schema import SEQUENCE_BITS

MOST = 500
"""Rows counted at once."""
_SAME_TIME = 400  # keys looked up by one query


@dataclass
class Batch:
    """Counts to add, findings to set, and how far the chains are then counted; `at` is the counting before it."""

    at: int
    counted: dict[int, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=new_tally)
    findings: dict[int, Row] = field(default_factory=dict)

    def write(self, tx: Transaction) -> bool:
        """Add the counts; False, and nothing is written, when someone else counted meanwhile."""
        if tx.run(tx.sql.next_count, {"at": self.at}) != 1:
            return False
        tx.many("counted", [{"chain": c, "sequence": s} for c, s in self.counted.items()])
        tx.many("finding", [self.findings[key] for key in sorted(self.findings)])
        tx.many("tally", [tally_row(row) for row in tally_rows(self.tally, 0)])
        return True


def count(database: Database, run: Callable[[Callable[[Transaction], Any]], Any]) -> None:
    """Count until nothing is left that is not counted, what is written meanwhile included."""
    while True:
        with snapshot(database.engine) as connection:
            batch = _next_batch(connection)
        if not batch.counted:
            return
        run(batch.write)


def _next_batch(connection: Connection) -> Batch:
    """Answers first: by the time feedback is read, the finding that it is on has been."""
    c, done = schema.chain, schema.counted
    batch = Batch(connection.scalars(select(done.c.sequence).where(done.c.chain == 0)).one())
    known = done.c.sequence
    query = select(c.c.id, c.c.kind, c.c.sequence, known).outerjoin(done, done.c.chain == c.c.id)
    behind = list(connection.execute(query.where(known.is_(None) | (known < c.c.sequence))))
    answers = _rows(connection, schema.answer, [r for r in behind if r[1] != "feedback"], batch)
    feedback: list[Row] = []
    if len(answers) < MOST:
        feedback = _rows(connection, schema.feedback, [r for r in behind if r[1] == "feedback"], batch)
    _add(connection, batch, answers, feedback)
    return batch


def _rows(connection: Connection, table: Any, chains: Iterable[Any], batch: Batch) -> list[Row]:
    """The next rows of a projection, in order of time; the batch learns how far they reach."""
    found: list[Row] = []
    for chain, _, head, counted in chains:
        room = MOST - len(found)
        if not room:
            break
        first, last = (chain << SEQUENCE_BITS | n for n in ((counted or 0) + 1, head))
        query = select(table).where(table.c.number.between(first, last)).order_by(table.c.number).limit(room)
        rows = [dict(row) for row in connection.execute(query).mappings()]
        batch.counted[chain] = head if len(rows) < room else place(rows[-1]["number"])[1]
        found += rows
    return sorted(found, key=lambda row: (row["received"], row["number"]))


def _add(connection: Connection, batch: Batch, answers: list[Row], feedback: list[Row]) -> None:
    _add_spoken(batch.tally, answers)
    projections = [Projection(row, [], cards_of(row)) for row in answers]
    shown = [row for p in projections for row in finding_rows(p)]
    known = _known(connection, {row["key"] for row in shown} | {finding_key(row) for row in feedback})
    for p in projections:
        add_answer(batch.tally, p)
    for row in shown:
        if row["key"] not in known:
            known[row["key"]] = batch.findings[row["key"]] = row
            add_finding(batch.tally, row, "shown", 1)
    for row in feedback:
        finding = known.get(finding_key(row))
        state = add_outcome(batch.tally, finding, row) if finding else None
        if finding and state:
            finding.update(state)
            batch.findings[finding["key"]] = finding


def _add_spoken(tally: Tally, answers: list[Row]) -> None:
    """Answers that say the same of a day's calls, of which there are many, are read once."""
    same: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in answers:
        where = (day_of(row["received"]), row["hook"], row["service"], row["client"], row["payer"])
        same[*where, row["determinations"]].append(row)
    for rows in same.values():
        add_spoken(tally, rows[0], determinations_of(rows[0]["determinations"]), len(rows))


def _known(connection: Connection, keys: set[int]) -> dict[int, Row]:
    table, wanted = schema.finding, sorted(keys)
    found: dict[int, Row] = {}
    for start in range(0, len(wanted), _SAME_TIME):
        query = select(table).where(table.c.key.in_(wanted[start : start + _SAME_TIME]))
        found |= {row["key"]: dict(row) for row in connection.execute(query).mappings()}
    return found
