"""The hot statements, written in SQLAlchemy Core and compiled once per database."""

from __future__ import annotations

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
        self._insert: Any = sqlite.insert if database.is_sqlite else postgresql.insert
        self.entry = self._plain(schema.entry)
        self.explanation = self._plain(schema.explanation)
        self.answer = self._plain(schema.answer)
        self.determination = self._plain(schema.determination)
        self.card = self._plain(schema.card)
        self.feedback = self._plain(schema.feedback)
        self.segment = self._plain(schema.segment)
        self.chain = self._plain(schema.chain)
        self.token = self._if_new(schema.token)
        self.finding = self._if_new(schema.finding)
        self.tally = self._tally()
        self.add_tally = self._add_tally()
        self._heads()
        self._look_ups()

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
        f, card, t = schema.finding, schema.card, schema.token
        self.find_finding = compile_(select(f).where(f.c.key == bindparam("at_key")).with_for_update())
        self.set_finding = compile_(update(f).where(f.c.key == bindparam("at_key")), "outcome", "reason", "at")
        self.find_card = compile_(select(card).where(card.c.uuid == bindparam("uuid")))
        self.find_digest = compile_(
            select(schema.feedback.c.number).where(schema.feedback.c.digest == bindparam("digest"))
        )
        self.find_id = compile_(select(schema.entry.c.number).where(schema.entry.c.id == bindparam("id")))
        self.forget_tokens = compile_(delete(t).where(t.c.expires < bindparam("now")))

    def _plain(self, table: Table) -> Statement:
        return self._database.compile(table.insert(), *table.c.keys())

    def _if_new(self, table: Table) -> Statement:
        return self._database.compile(self._insert(table).on_conflict_do_nothing(), *table.c.keys())

    def _add_tally(self) -> Statement:
        t = schema.tally
        added = {"count": t.c.count + bindparam("n"), "total": t.c.total + bindparam("ms")}
        return self._database.compile(update(t).where(t.c.key == bindparam("at")).values(added))

    def _tally(self) -> Statement:
        table = schema.tally
        insert = self._insert(table)
        added = {n: table.c[n] + insert.excluded[n] for n in ("count", "total")}
        return self._database.compile(
            insert.on_conflict_do_update(index_elements=[table.c.key], set_=added), *table.c.keys()
        )
