"""The hot statements, written in SQLAlchemy Core and compiled once per database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Table, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cds_service.ledger import schema
from cds_service.ledger.database import Database, Statement

_HEAD = ("sequence", "hash", "open_first", "open_previous", "open_since", "mac")


class Statements:
    """Inserts, upserts and look-ups that a writing transaction uses."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._many: dict[tuple[str, int], Statement] = {}
        self._insert: Any = sqlite.insert if database.is_sqlite else postgresql.insert
        self.append = database.compile(schema.append.insert(), *schema.append.c.keys(), named=False)
        self.feedback = self._plain(schema.feedback)
        self.segment = self._plain(schema.segment)
        self.chain = self._plain(schema.chain)
        self.token = self._if_new(schema.token)
        self._heads()
        self._look_ups()
        self._counts()

    def _heads(self) -> None:
        c, r, compile_ = schema.chain, schema.register, self._database.compile
        columns = (c.c.id, c.c.name, c.c.kind, c.c.sequence, c.c.hash, c.c.open_first, c.c.open_previous)
        self.head = compile_(
            select(*columns, c.c.open_since, c.c.mac).where(c.c.name == bindparam("name")).with_for_update()
        )
        unmoved = (
            c.c.id == bindparam("at_id"),
            c.c.sequence == bindparam("at_sequence"),
            c.c.open_first == bindparam("at_first"),
            c.c.hash == bindparam("at_hash"),
        )
        self.move_head = compile_(update(c).where(*unmoved), *_HEAD)
        self.register = compile_(select(r.c.chains, r.c.hash, r.c.mac).with_for_update())
        self.move_register = compile_(update(r), "chains", "hash", "mac")

    def _look_ups(self) -> None:
        compile_ = self._database.compile
        answer, card, t = schema.answer, schema.card, schema.token
        same = answer.c.number == card.c.number
        self.find_card = compile_(
            select(card.c.position, *answer.c).join(answer, same).where(card.c.uuid == bindparam("uuid"))
        )
        self.find_digest = compile_(
            select(schema.feedback.c.number).where(schema.feedback.c.digest == bindparam("digest"))
        )
        self.find_id = compile_(select(schema.entry.c.number).where(schema.entry.c.id == bindparam("id")))
        e = schema.entry
        self.find_document = compile_(select(e.c.document).where(e.c.number == bindparam("number")))
        self.find_token = compile_(select(t.c.key).where(t.c.key == bindparam("key")))
        self.forget_tokens = compile_(delete(t).where(t.c.expires < bindparam("now")))

    def _counts(self) -> None:
        c = schema.counted
        unmoved = (c.c.chain == 0, c.c.sequence == bindparam("at"))
        self.next_count = self._database.compile(update(c).where(*unmoved).values(sequence=c.c.sequence + 1))

    def _plain(self, table: Table) -> Statement:
        return self._database.compile(table.insert(), *table.c.keys())

    def _if_new(self, table: Table) -> Statement:
        return self._database.compile(self._insert(table).on_conflict_do_nothing(), *table.c.keys())

    def counts(self, name: str, rows: int) -> Statement:
        """Add to, or replace, `rows` rows of `tally`, `finding`, `counted` or `token`; parameters end in `_0`, `_1`."""
        known = self._many.get((name, rows))
        if known is None:
            table = schema.metadata.tables[name]
            names = table.c.keys()
            values: list[dict[str, Any]] = [{n: bindparam(f"{n}_{i}") for n in names} for i in range(rows)]
            insert = self._insert(table).values(values)
            key = next(iter(table.primary_key.columns))
            statement = insert.on_conflict_do_update(index_elements=[key], set_=_SET[name](table, insert.excluded))
            known = self._many[name, rows] = self._database.compile(statement)
        return known


def _sum(table: Table, new: Any) -> dict[str, Any]:
    return {n: table.c[n] + new[n] for n in ("count", "total")}


_SET: dict[str, Callable[[Table, Any], dict[str, Any]]] = {
    "tally": _sum,
    "token": lambda _, new: {"expires": new["expires"]},
    "finding": lambda _, new: {n: new[n] for n in ("outcome", "reason", "at")},
    "counted": lambda _, new: {"sequence": new["sequence"]},
}
