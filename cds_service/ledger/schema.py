"""The ledger's tables (SQLAlchemy Core). Times are milliseconds since 1970, UTC; days are ISO dates.

`entry` holds the documents and is chained; `answer`, `card` and `feedback` are de-identified projections of it,
written with it; `finding` and `tally` are counted from these a little later, up to where `counted` says.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

HEAD = "0003"
"""Newest revision in migrations/versions."""

COUNTS = 4
"""Version of the counting rules; when it changes, `finding` and `tally` are counted anew at start."""

SEQUENCE_BITS = 40
"""entry.number = chain << 40 | sequence: one integer key that sorts by chain and place."""

metadata = MetaData()
_Number = BigInteger().with_variant(Integer, "sqlite")  # a plain INTEGER key is SQLite's rowid


def _key() -> Column[int]:
    return Column("number", _Number, primary_key=True, autoincrement=False)


register = Table(
    "register",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("chains", Integer, nullable=False),
    Column("hash", Text, nullable=False),
    Column("mac", Text, nullable=False),
    Column("counts", Integer, nullable=False),
)

chain = Table(
    "chain",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("open_first", BigInteger, nullable=False),
    Column("open_previous", Text, nullable=False),
    Column("open_since", BigInteger, nullable=False),
    Column("mac", Text, nullable=False),
)

segment = Table(
    "segment",
    metadata,
    Column("chain", Integer, primary_key=True, autoincrement=False),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("received_first", BigInteger, nullable=False),
    Column("received_last", BigInteger, nullable=False),
    Column("pruned", BigInteger),
    Column("mac", Text, nullable=False),
)

entry = Table(
    "entry",
    metadata,
    _key(),
    Column("chain", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

token = Table(
    "token",
    metadata,
    Column("key", Text, primary_key=True),
    Column("expires", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# A line for each card of the record, empty where a card has none.
explanation = Table(
    "explanation",
    metadata,
    _key(),
    Column("expires", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

answer = Table(
    "answer",
    metadata,
    _key(),
    Column("received", BigInteger, nullable=False),
    Column("hook", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("client", Text),
    Column("payer", Text),
    Column("status", SmallInteger, nullable=False),
    Column("latency", Float, nullable=False),
    Column("cards", Integer, nullable=False),
    Column("silent", Integer, nullable=False),
    Column("revision", Text, nullable=False),
    Column("determinations", Text, nullable=False),
    Column("details", Text, nullable=False),
)

# Which record a card belongs to; what the card was is in `answer.details`.
card = Table(
    "card",
    metadata,
    _key(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("uuid", Text, nullable=False, unique=True),
    sqlite_with_rowid=False,
)

feedback = Table(
    "feedback",
    metadata,
    _key(),
    Column("digest", Text, nullable=False, unique=True),
    Column("received", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("card", Text, nullable=False, index=True),
    Column("finding", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("suggestions", Text, nullable=False),
    Column("reason_system", Text),
    Column("reason_code", Text),
    Column("reason_display", Text),
    Column("reason_offered", Boolean),
    Column("commented", Boolean, nullable=False),
    Column("policy", Text),
    Column("version", Text),
    Column("rule", Text),
    Column("hook", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("client", Text),
    Column("payer", Text),
)

finding = Table(
    "finding",
    metadata,
    Column("key", _Number, primary_key=True, autoincrement=False),
    Column("day", Text, nullable=False),
    Column("hook", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# The key (see counts.py) puts what is read together side by side: no other index is needed.
tally = Table(
    "tally",
    metadata,
    Column("key", _Number, primary_key=True, autoincrement=False),
    Column("measure", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("hook", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("total", Float, nullable=False),
)

# Up to which entry each chain is counted; `chain` 0 counts the countings, so that two never add the same.
counted = Table(
    "counted",
    metadata,
    Column("chain", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
)

# A view whose trigger writes an entry, moves its chain's head and writes what belongs to the entry: one statement,
# so that no lock is held while Python does something else.
append = Table(
    "append",
    MetaData(),
    *(Column(name, BigInteger) for name in ("number", "chain", "sequence")),
    *(Column(name, Text) for name in ("previous", "hash", "id", "kind")),
    Column("received", BigInteger),
    Column("document", Text),
    *(Column(name, BigInteger) for name in ("at_first", "open_first")),
    Column("open_previous", Text),
    Column("open_since", BigInteger),
    Column("mac", Text),
    *(Column(name, Text) for name in ("service", "client", "payer")),
    Column("status", SmallInteger),
    Column("latency", Float),
    *(Column(name, Integer) for name in ("cards", "silent")),
    *(Column(name, Text) for name in ("revision", "determinations", "details", "uuids")),
    Column("expires", BigInteger),
    *(Column(name, Text) for name in ("pages", "token")),
    Column("token_expires", BigInteger),
)
