"""Whether the database is as this service makes it: triggers and views are its own, values are of their columns' kinds.

A trigger does what it does within the service's own statements: one that is not ours could remove used tokens or
records as they come, with every row that is left in order. SQLite takes a text where a number belongs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Float, Integer, Table, func, or_, select, text

from cds_service.ledger import schema

# SHA-256 of what revision `schema.HEAD` makes beside tables and indexes.
_SQLITE = {
    ("view", "append"): "5ef5d10e15b028eedeaa1769308af5c96848d995d0d7a789ddd0c1fd4c8d3503",
    ("trigger", "append_entry"): "86a7a4f695ee665fefa8810b87ede7a000ffae3df4af27b9f68a84e440a6929f",
}
_POSTGRESQL = {("trigger", "append_entry"): "b37b43400723e456df7c4bc10c677626a6b263638f9128f05ae27d202519947f"}
MOST_VALUES = 100  # named in each table

_TRIGGERS = text(
    "SELECT 'trigger', t.tgname || CASE WHEN c.relname = 'append' THEN '' ELSE ' on ' || c.relname END, p.prosrc"
    " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid"
    " WHERE NOT t.tgisinternal AND t.tgrelid IN (SELECT to_regclass(n)::oid FROM unnest(CAST(:names AS text[])) n)"
    " UNION ALL SELECT 'rule', r.rulename || ' on ' || c.relname, '' FROM pg_rewrite r"
    " JOIN pg_class c ON c.oid = r.ev_class WHERE r.rulename <> '_RETURN'"
    " AND r.ev_class IN (SELECT to_regclass(n)::oid FROM unnest(CAST(:names AS text[])) n)"
)


def strangers(connection: Connection) -> Iterator[str]:
    """What acts within our statements and is not ours, or is ours and changed or gone."""
    if connection.dialect.name == "sqlite":
        own = _SQLITE
        rows = connection.execute(text("SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'view')"))
    else:
        own = _POSTGRESQL
        rows = connection.execute(_TRIGGERS, {"names": [*schema.metadata.tables, schema.append.name]})
    found = {(str(kind), str(name)): sha256(str(made).encode()).hexdigest() for kind, name, made in rows}
    for kind, name in sorted(found.keys() - own.keys()):
        yield f"the {kind} {name} is not the service's: it was added"
    for (kind, name), wanted in own.items():
        if found.get((kind, name)) != wanted:
            yield f"the {kind} {name} was {'changed' if (kind, name) in found else 'removed'}"


def misfits(connection: Connection) -> Iterator[tuple[str, str]]:
    """Values of another kind than their column's: the table, and what is wrong. PostgreSQL takes none."""
    if connection.dialect.name != "sqlite":
        return
    for table in schema.metadata.sorted_tables:
        for row in connection.execute(_misfits(table)):
            size = len(table.primary_key)
            key, kinds = "/".join(map(str, row[:size])), row[size:]
            wrong = [c.name for c, kind in zip(table.columns, kinds, strict=True) if kind not in _kinds(c)]
            yield table.name, f"row {key}: {', '.join(wrong)} of another kind than the column: it was changed"


def _misfits(table: Table) -> Any:
    kinds = [func.typeof(column) for column in table.columns]
    strange = [kind.not_in(_kinds(column)) for kind, column in zip(kinds, table.columns, strict=True)]
    return select(*map(func.quote, table.primary_key.columns), *kinds).where(or_(*strange)).limit(MOST_VALUES)


def _kinds(column: Column[Any]) -> Sequence[str]:
    kind = "real" if isinstance(column.type, Float) else "integer"
    kind = kind if isinstance(column.type, Float | Integer | Boolean) else "text"
    return [kind, "null"] if column.nullable else [kind]
