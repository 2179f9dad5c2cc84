"""Export as NDJSON, stored documents one by one, and backup of a SQLite ledger while it is written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import IO

from sqlalchemy import Engine, select

from cds_service.errors import ConfigurationError
from cds_service.ledger.database import Database
from cds_service.ledger.document import dumps, loads, milliseconds
from cds_service.ledger.reading import snapshot, stream
from cds_service.ledger.record import Json
from cds_service.ledger.schema import chain, entry
from cds_service.ledger.traces import expanded

_PAGES = 1000


def export(engine: Engine, stream_: IO[bytes]) -> int:
    """One line per entry: its chain, place, hashes, kind, and the document exactly as stored and hashed."""
    count = 0
    query = select(entry, chain.c.name).join(chain, chain.c.id == entry.c.chain).order_by(entry.c.number)
    with snapshot(engine) as connection:
        for row in stream(connection, query):
            fields = {k: row[k] for k in ("name", "sequence", "previous", "hash", "kind")}
            fields["chain"] = fields.pop("name")
            stream_.write(dumps(fields)[:-1] + b',"document":' + row["document"].encode() + b"}\n")
            count += 1
    return count


def documents(engine: Engine, hook: str | None, since: datetime | None, until: datetime | None) -> Iterator[Json]:
    """Documents of records, or of one kind of entry, in the order of chains."""
    query = select(entry.c.document).order_by(entry.c.number)
    query = query.where(entry.c.kind != "feedback" if hook is None else entry.c.kind == hook)
    if since is not None:
        query = query.where(entry.c.received >= milliseconds(since))
    if until is not None:
        query = query.where(entry.c.received < milliseconds(until))
    with snapshot(engine) as connection:
        for row in stream(connection, query):
            yield expanded(loads(row["document"]))


def backup(database: Database, target: Path) -> None:
    """Copy a SQLite ledger into a new file, consistently, while others go on writing."""
    if not database.is_sqlite:
        raise ConfigurationError("Back a PostgreSQL ledger up with pg_dump; see docs/ledger.md.")
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise ConfigurationError(f"The backup {target} cannot be made: {error.strerror}.") from error
    with closing(database.connect()) as source, closing(sqlite3.connect(target)) as copy:
        # One read transaction holds the snapshot; otherwise every write elsewhere starts the copy anew.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM register").fetchall()
        source.backup(copy, pages=_PAGES)
        source.execute("ROLLBACK")
