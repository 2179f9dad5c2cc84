"""One row of `answer` for all that a record's projection says, one of `explanation`; appending by one statement."""

# ruff: noqa: S608 - all names in statements are our own

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
BATCH = 500
DETERMINATION = "policy, version, rule, role, outcome, prior_authorization, payer, missing"
CARD = "uuid, finding, kind, indicator, policy, version, rule, shown, suggestions, override_reasons"
ENTRY = "number, chain, sequence, previous, hash, id, kind, received, document"
ANSWER = "service, client, payer, status, latency, cards, silent, revision, determinations, details"
TYPES = {
    "BIGINT": "number chain sequence received at_first open_first open_since expires token_expires",
    "TEXT": "previous hash id kind document open_previous mac service client payer revision determinations details "
    "uuids pages token",
    "INTEGER": "status cards silent",
    "DOUBLE PRECISION": "latency",
}


def upgrade() -> None:
    """Apply."""
    connection = op.get_bind()
    for name in ("determinations", "details"):
        op.add_column("answer", sa.Column(name, sa.Text, nullable=False, server_default="[]"))
    _make("explanation_", sa.Column("expires", sa.BigInteger, nullable=False),
          sa.Column("document", sa.Text, nullable=False))  # fmt: skip
    _convert(connection)
    _slim()
    op.create_table(
        "counted",
        sa.Column("chain", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO counted (chain, sequence) VALUES (0, 0)")
    op.execute("INSERT INTO counted (chain, sequence) SELECT id, sequence FROM chain")
    _append(connection.dialect.name == "sqlite")


def _make(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(name, sa.Column("number", NUMBER, primary_key=True, autoincrement=False), *columns)


def _slim() -> None:
    """`card` keeps what finds a card; `explanation` is one row for each record."""
    op.create_table(
        "card_",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("uuid", sa.Text, nullable=False, unique=True),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO card_ SELECT number, position, uuid FROM card ORDER BY number, position")
    for name in ("determination", "card", "explanation"):
        op.drop_table(name)
    for name in ("card", "explanation"):
        op.rename_table(f"{name}_", name)


def _convert(connection: sa.Connection) -> None:
    """Move determinations and cards into `answer`, and join the explanations of each record, batch by batch."""
    last = -1
    while True:
        query = "SELECT number FROM answer WHERE number > :last ORDER BY number LIMIT :most"
        numbers = list(connection.scalars(sa.text(query), {"last": last, "most": BATCH}))
        query = "SELECT number FROM explanation WHERE number > :last ORDER BY number LIMIT :most"
        numbers = sorted({*numbers, *connection.scalars(sa.text(query), {"last": last, "most": BATCH})})[:BATCH]
        if not numbers:
            return
        _convert_batch(connection, last + 1, numbers[-1])
        last = numbers[-1]


def _convert_batch(connection: sa.Connection, low: int, high: int) -> None:
    bounds = {"low": low, "high": high}
    determinations = _grouped(connection, "determination", DETERMINATION, bounds)
    cards = _grouped(connection, "card", CARD, bounds)
    details = {n: [[*row[:7], bool(row[7]), *map(orjson.loads, row[8:])] for row in rows] for n, rows in cards.items()}
    changed = [
        # What was asserted is filled in from the documents, by the recount that follows.
        {
            "at": n,
            "determinations": _json([[*d, ""] for d in determinations.get(n, ())]),
            "details": _json(details.get(n)),
        }
        for n in determinations.keys() | details.keys()
    ]
    if changed:
        connection.execute(
            sa.text("UPDATE answer SET determinations = :determinations, details = :details WHERE number = :at"),
            changed,
        )
    pages = _grouped(connection, "explanation", "position, expires, document", bounds)
    if pages:
        statement = "INSERT INTO explanation_ (number, expires, document) VALUES (:number, :expires, :document)"
        connection.execute(
            sa.text(statement), [{"number": n, **_joined(rows, len(cards.get(n, ())))} for n, rows in pages.items()]
        )


def _grouped(connection: sa.Connection, table: str, columns: str, bounds: dict[str, int]) -> dict[int, list[list[Any]]]:
    query = f"SELECT number, {columns} FROM {table} WHERE number BETWEEN :low AND :high ORDER BY number, position"
    found: dict[int, list[list[Any]]] = defaultdict(list)
    for number, *row in connection.execute(sa.text(query), bounds):
        found[number].append(row)
    return found


def _json(rows: list[list[Any]] | None) -> str:
    return orjson.dumps(rows or []).decode()


def _joined(rows: list[list[Any]], cards: int) -> dict[str, Any]:
    lines = {position: document for position, _, document in rows}
    count = max(cards, *(position + 1 for position in lines))
    return {"expires": rows[0][1], "document": "\n".join(lines.get(i, "") for i in range(count))}


# -- appending


def _append(sqlite: bool) -> None:
    columns = [f"CAST(NULL AS {kind}) AS {name}" for kind, names in TYPES.items() for name in names.split()]
    op.execute(f"CREATE VIEW append AS SELECT {', '.join(columns)} WHERE 1 = 0")
    for statement in _SQLITE if sqlite else _POSTGRESQL:
        op.execute(sa.text(statement.replace(":", "\\:")))


def _new(names: str) -> str:
    return ", ".join(f"NEW.{name}" for name in names.split(", "))


_MOVE = """UPDATE chain SET sequence = NEW.sequence, hash = NEW.hash, open_first = NEW.open_first,
    open_previous = NEW.open_previous, open_since = NEW.open_since, mac = NEW.mac
    WHERE id = NEW.chain AND sequence = NEW.sequence - 1 AND open_first = NEW.at_first AND hash = NEW.previous"""
_WRITE = f"""
  INSERT INTO entry ({ENTRY}) VALUES ({_new(ENTRY)});
  INSERT INTO answer (number, received, hook, {ANSWER})
    SELECT NEW.number, NEW.received, NEW.kind, {_new(ANSWER)} WHERE NEW.service IS NOT NULL;
  INSERT INTO explanation (number, expires, document)
    SELECT NEW.number, NEW.expires, NEW.pages WHERE NEW.pages IS NOT NULL;
"""
_SQLITE = [
    f"""
CREATE TRIGGER append_entry INSTEAD OF INSERT ON append BEGIN
  SELECT RAISE(ABORT, 'replayed') WHERE EXISTS (SELECT 1 FROM token WHERE key = NEW.token);
  INSERT INTO token (key, expires) SELECT NEW.token, NEW.token_expires WHERE NEW.token IS NOT NULL;
  {_MOVE};
  SELECT RAISE(ABORT, 'moved') WHERE changes() = 0;
  {_WRITE}
  INSERT INTO card (number, position, uuid) SELECT NEW.number, key, value FROM json_each(NEW.uuids);
END"""
]
_POSTGRESQL = [
    f"""
CREATE FUNCTION append_entry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.token IS NOT NULL THEN
    INSERT INTO token (key, expires) VALUES (NEW.token, NEW.token_expires) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN RAISE EXCEPTION 'replayed'; END IF;
  END IF;
  {_MOVE};
  IF NOT FOUND THEN RAISE EXCEPTION 'moved' USING ERRCODE = '40001'; END IF;
  {_WRITE}
  INSERT INTO card (number, position, uuid)
    SELECT NEW.number, place - 1, uuid
    FROM json_array_elements_text(NEW.uuids::json) WITH ORDINALITY AS u(uuid, place);
  RETURN NEW;
END $$""",
    "CREATE TRIGGER append_entry INSTEAD OF INSERT ON append FOR EACH ROW EXECUTE FUNCTION append_entry()",
]
