"""Count `finding` and `tally` anew from the projections: after an upgrade that changes what is counted."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, select, update

from cds_service.ledger import schema
from cds_service.ledger.counts import (
    Tally,
    add_answer,
    add_finding,
    add_outcome,
    finding_key,
    finding_rows,
    new_tally,
    tally_row,
    tally_rows,
)
from cds_service.ledger.document import loads
from cds_service.ledger.projection import Row, projection_of, row_of
from cds_service.ledger.reading import stream

_BATCH = 1000


def recount_if_stale(connection: Connection) -> None:
    """Recount when the stored counts were made by other rules than today's."""
    if connection.execute(select(schema.register.c.counts)).scalar_one() != schema.COUNTS:
        _fill_asserted(connection)
        recount(connection)
        connection.execute(update(schema.register).values(counts=schema.COUNTS))


def _fill_asserted(connection: Connection) -> None:
    """What was asserted in records older than its counting; of pruned ones nothing is known."""
    e, a = schema.entry, schema.answer
    query = select(e.c.number, e.c.document).where(e.c.document.contains('"coverage_information"'))
    fill = update(a).where(a.c.number == bindparam("at")).values(determinations=bindparam("said"))
    for entry in stream(connection, query):
        row = row_of(loads(entry["document"]), entry["number"])
        connection.execute(fill, {"at": row["number"], "said": row["determinations"]})


def recount(connection: Connection) -> None:
    """Replace all counts; the caller holds a transaction and keeps writers out."""
    tally = new_tally()
    findings = _answers(connection, tally)
    _feedback(connection, tally, findings)
    counts = [tally_row(row) for row in tally_rows(tally, 0)]
    for table, rows in ((schema.finding, list(findings.values())), (schema.tally, counts)):
        connection.execute(delete(table))
        for start in range(0, len(rows), _BATCH):
            connection.execute(table.insert(), rows[start : start + _BATCH])
    c, heads = schema.counted, select(schema.chain.c.id, schema.chain.c.sequence)
    connection.execute(delete(c).where(c.c.chain != 0))
    connection.execute(c.insert().from_select(["chain", "sequence"], heads))
    connection.execute(update(c).where(c.c.chain == 0).values(sequence=c.c.sequence + 1))


def _answers(connection: Connection, tally: Tally) -> dict[int, Row]:
    first: dict[int, tuple[int, Row]] = {}
    for answer in stream(connection, select(schema.answer).order_by(schema.answer.c.number)):
        projection = projection_of(answer)
        add_answer(tally, projection)
        for row in finding_rows(projection):
            known = first.get(row["key"])
            if known is None or answer["received"] < known[0]:
                first[row["key"]] = answer["received"], row
    for _, row in first.values():
        add_finding(tally, row, "shown", 1)
    return {key: row for key, (_, row) in first.items()}


def _feedback(connection: Connection, tally: Tally, findings: dict[int, Row]) -> None:
    table = schema.feedback
    for row in stream(connection, select(table).order_by(table.c.received, table.c.number)):
        finding = findings.get(finding_key(row))
        state = add_outcome(tally, finding, row) if finding else None
        if finding and state:
            finding.update(state)
