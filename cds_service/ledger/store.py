"""The ledger: write records and feedback durably, read them back, and keep count."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from queue import Empty, LifoQueue
from typing import IO, Any, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, select

from cds_service.errors import ConfigurationError, LedgerError, LedgerUnavailable
from cds_service.ledger import export as export_
from cds_service.ledger import metrics as metrics_
from cds_service.ledger import retention, schema
from cds_service.ledger.chain import GENESIS, Sealer
from cds_service.ledger.clock import CLOCK_SECONDS, KEEP_TOKENS_SECONDS, Clock, database_time
from cds_service.ledger.counting import count
from cds_service.ledger.database import Database, Sync
from cds_service.ledger.document import document_of, dumps, loads, milliseconds, serialise
from cds_service.ledger.feedback import record_item, uuid_of
from cds_service.ledger.hashes import digest
from cds_service.ledger.lane import Lane, Transaction
from cds_service.ledger.maintenance import Maintenance
from cds_service.ledger.mask import Mask, without_copies_of_masked
from cds_service.ledger.migrate import upgrade
from cds_service.ledger.probe import FAILED_SECONDS, PROBE, Undone, probe
from cds_service.ledger.projection import row_of, uuids
from cds_service.ledger.reading import reading
from cds_service.ledger.record import FeedbackResult, Json, PruneReport, Record, VerifyReport
from cds_service.ledger.recount import recount_if_stale
from cds_service.ledger.statements import Statements
from cds_service.ledger.tables import strangers
from cds_service.ledger.tokens import secret_of, without_copies
from cds_service.ledger.traces import expanded
from cds_service.ledger.used_tokens import UsedTokens
from cds_service.ledger.verify import verify

T = TypeVar("T")
logger = logging.getLogger(__name__)
POSTGRESQL_LANES = 8
SKEW_SECONDS = 120
FREE_BYTES = 256 << 20
_PROJECTED = itemgetter(
    "service", "client", "payer", "status", "latency", "cards", "silent", "revision", "determinations", "details"
)


class Ledger:
    """The durable record of answers and feedback; safe for threads, one instance per process."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        mask: Mask,
        writer: str,
        life: timedelta,
        segment_rows: int,
        clock: Callable[[], float],
    ) -> None:
        self.database, self.sealer, self._mask, self._life = database, sealer, mask, life
        self._pid = os.getpid()
        statements = Statements(database)
        # SQLite has one writer at a time anyway; PostgreSQL's commits overlap.
        self._lanes = [
            Lane(database, statements, sealer, f"{writer}.{n}", segment_rows)
            for n in range(1 if database.is_sqlite else POSTGRESQL_LANES)
        ]
        self._used = UsedTokens(database, statements.find_token)
        self._free: LifoQueue[Lane] = LifoQueue()
        for lane in reversed(self._lanes):  # last in, first out: few lanes are used until more are needed
            self._free.put(lane)
        self._failures: dict[str, tuple[float, str]] = {}
        self._clock = Clock(clock)
        self._counting = threading.Lock()
        self._uncounted = False
        self._maintenance = Maintenance(database, self._count_new, self._forget_tokens)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        key: bytes,
        sync: Sync = "normal",
        mask: Sequence[str] = (),
        writer: str | None = None,
        explanation_life: timedelta = timedelta(days=30),
        segment_rows: int = 1000,
        patience: float | None = None,
        deadline: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Ledger:
        """Open, and create or upgrade, the ledger at `url` (`sqlite:///...` or `postgresql://...`).

        `key` signs the chains; `mask` lists JSON Pointers that are never stored (see `Mask`); a `writer`
        name continues its chains after a restart, without one every opening begins new chains. `patience`
        is how many seconds a PostgreSQL server may be silent while it is read from, `deadline` how many a write
        may take as a whole before it is given up with LedgerUnavailable; None: any (SQLite: 15). `clock` is this
        process's idea of the time, in Unix seconds.
        """
        database, masked, sealer = Database(url, sync, patience, deadline), Mask(mask), Sealer(key)
        try:
            upgrade(database, after=lambda connection: _prepare(connection, sealer))
            with reading(database.engine) as connection:
                _check_key(connection, sealer)
                for stranger in strangers(connection):
                    logger.error("ledger: %s", stranger)
        except BaseException:
            database.close()
            raise
        return cls(database, sealer, masked, writer or uuid4().hex[:12], explanation_life, segment_rows, clock)

    # -- writing

    def write(self, record: Record) -> None:
        """Make a record durable before returning: record, projections and `jti` in one transaction.

        Raises Replayed (401) when the token was used before, LedgerError when the record is not safe.
        """
        expires = milliseconds(record.received + self._life)
        secret = secret_of(record.request)
        pages = [self._page(record.explanations.get(card.uuid), secret) for card in record.cards]
        hashes = {card.uuid: digest(page) for card, page in zip(record.cards, pages, strict=True) if page}
        if len(hashes) < len(record.explanations):
            raise LedgerError("An explanation belongs to no card of its record.")
        document = self._mask.erase(document_of(record, hashes, expires))
        document = without_copies_of_masked(document, record.response)
        stored, changed = serialise(document, secret)
        if changed:
            document = loads(stored)
        more = (
            *_PROJECTED(row_of(document, 0)),
            dumps(uuids(document)).decode(),
            expires,
            "\n".join(pages) if hashes else None,
            *(_token(*record.jti) if record.jti else (None, None)),
        )

        def append(tx: Transaction) -> None:
            if tx.unsure and tx.one(tx.sql.find_id, {"id": record.id}):
                return  # the connection broke after the commit, not before
            tx.append(record.hook, record.id, document["received"], stored, more)

        with self._told_to_probes("record"):
            self._run(append)
        self._uncounted = True

    def _page(self, page: Json | None, secret: str | None) -> str:
        """An explanation as it is stored: a line, empty where there is none."""
        if page is None:
            return ""
        line = dumps(self._mask.erase({"explanations": page})["explanations"])
        if secret is not None and secret.encode() in line:
            line = dumps(without_copies(loads(line), secret, page=True))
        return line.decode()

    def feedback(self, service: str, client: str | None, items: Sequence[object]) -> list[FeedbackResult]:
        """Record feedback items (CDS Hooks, Feedback), durably before returning; one result for each.

        A repeat of the same card, outcome, time and content is a `duplicate`; an item that names no card
        shown to this client by this service, or is malformed, is `rejected` with the path of its fault.
        """
        now = datetime.now(UTC)
        with self._told_to_probes("feedback"):
            results = self._run(
                lambda tx: [record_item(tx, self._mask, service, client, item, i, now) for i, item in enumerate(items)]
            )
        self._uncounted = True
        return results

    def claim(self, issuer: str, jti: str, expires: int) -> bool:
        """True the first time; holds across processes and restarts until `expires` (Unix seconds) and skew."""
        with self._told_to_probes("token"):
            return self._run(lambda tx: _claim(tx, issuer, jti, expires))

    def was_used(self, issuer: str, jti: str) -> bool:
        """Whether a token is known as used, without using it up: only `write` and `claim` say so for certain."""
        return self._used.holds(_token(issuer, jti, 0)[0])

    def finding_key(self, *parts: str | None) -> str:
        """A pseudonym for client, patient, order and rule: the same for the same parts, useless without the key."""
        return self.sealer.pseudonym(*parts)

    def count(self) -> None:
        """Bring the counts up to what was written; whoever reads them does so first."""
        with self._counting:
            count(self.database, self._run)

    def _count_new(self) -> None:
        if self._uncounted:
            self._uncounted = False
            self.count()

    def _forget_tokens(self) -> None:
        """Long after they expired, by the clock that all processes share: rows are small, and a clock may be wrong."""
        if not self.database.is_sqlite:
            with reading(self.database.engine) as connection:
                now = database_time(connection)
        else:
            now = self._clock.earliest()
        self._run(lambda tx: tx.run(tx.sql.forget_tokens, {"now": int(now) - KEEP_TOKENS_SECONDS}))

    @contextmanager
    def _told_to_probes(self, kind: str) -> Iterator[None]:
        """What fails to be written is known to `ready`, until something of its kind is written."""
        try:
            yield
        except LedgerError as error:
            self._failures[kind] = time.monotonic(), str(error)
            raise
        self._failures.pop(kind, None)

    def _run(self, work: Callable[[Transaction], T]) -> T:
        if os.getpid() != self._pid:
            raise LedgerError("The ledger was opened in another process. Open it after the fork.")
        until = self.database.until()
        try:
            lane = self._free.get(timeout=None if until is None else until - time.monotonic())
        except Empty:
            raise LedgerUnavailable("The ledger's database does not keep up: no connection to it is free.") from None
        try:
            return lane.run(work, until)
        finally:
            self._free.put(lane)

    # -- reading

    def explanation(self, card_uuid: str) -> Json | None:
        """The stored explanation of a card; None when there is none or it has expired."""
        page, card = schema.explanation, schema.card
        query = select(page.c.document, card.c.position).join(card, page.c.number == card.c.number)
        query = query.where(card.c.uuid == uuid_of(card_uuid), page.c.expires > int(time.time() * 1000))
        found = self._first(query)
        line = found[0].split("\n")[found[1]] if found else ""
        return dict(loads(line)) if line else None

    def record(self, id_: str) -> Json | None:
        """The stored document of a record (or feedback) by its id."""
        found = self._first(select(schema.entry.c.document).where(schema.entry.c.id == id_))
        return None if found is None else expanded(loads(found[0]))

    def records(
        self, *, hook: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Json]:
        """Stored documents, chain by chain; `hook` may be `feedback`; `since` <= received < `until`."""
        return export_.documents(self.database.engine, hook, since, until)

    def _first(self, query: Any) -> Any:
        with reading(self.database.engine) as connection:
            return connection.execute(query).first()

    def metrics(self, **filters: Any) -> Json:
        """Counts from the de-identified projection: see `metrics.Filters` for the filters."""
        self.count()
        with reading(self.database.engine) as connection:
            return metrics_.metrics(connection, metrics_.Filters(**filters))

    # -- keeping

    def verify(self) -> VerifyReport:
        """Check every chain, seal, record, feedback, explanation and projection; changes nothing."""
        return verify(self.database, self.sealer)

    def prune(self, before: datetime, hook: str | None = None, *, statistics: bool = False) -> PruneReport:
        """Remove whole segments received before a time (of one hook, or `feedback`), leaving their seals.

        The de-identified projections stay unless `statistics`; counts always stay.
        """
        self.count()  # pruning may remove what is counted
        return retention.prune(self._run, self.database, milliseconds(before), hook, statistics)

    def export(self, stream: IO[bytes]) -> int:
        """Write every entry as a line of JSON with its place in its chain; the number of lines."""
        return export_.export(self.database.engine, stream)

    def ready(self) -> None:
        """Raise LedgerError unless the database takes writes, is where it was, and the disk has room.

        A record is written as any other and undone, and a row is written for good: what keeps records from being
        written keeps these too. What failed in the last seconds is not tried again.
        """
        if self.database.is_sqlite:
            self.database.check_file()
            free = shutil.disk_usage(self.database.path.parent).free
            if free < FREE_BYTES:
                raise LedgerUnavailable(f"The ledger's disk has only {free >> 20} MiB left.")
        for at, text in list(self._failures.values()):
            if time.monotonic() - at < FAILED_SECONDS:
                raise LedgerUnavailable(text)
        self._check_clock()
        with suppress(Undone):
            self._run(probe)
        mark = time.time_ns() // 1000  # another each time: the same again would not be written
        self._run(lambda tx: tx.run(tx.sql.counts("token", 1), {"key_0": PROBE, "expires_0": mark}))

    def _check_clock(self) -> None:
        """Raise LedgerUnavailable where this process's clock is not the database's, and tokens are judged by it."""
        if self.database.is_sqlite:
            return
        with reading(self.database.engine) as connection:
            off = self._clock.off(connection)
        if abs(off) > CLOCK_SECONDS:
            text = f"This machine's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the database's."
            logger.error("ledger: %s Tokens cannot be judged by it: set it right.", text)
            raise LedgerUnavailable(text)

    def close(self) -> None:
        """Stop the background work, seal and count what this process wrote, and close; it is then unusable."""
        self._maintenance.close()
        now = milliseconds(datetime.now(UTC))
        for lane in self._lanes:
            kinds = tuple(lane.heads)
            try:
                if kinds:
                    lane.run(partial(_seal, kinds, now))
            finally:
                lane.close()
        self._used.close()
        self.database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _token(issuer: str, jti: str, expires: int) -> tuple[str, int]:
    """The key and the expiry of a row of `token`."""
    return digest(f"{len(issuer)} {issuer} {jti}"), expires + SKEW_SECONDS


def _claim(tx: Transaction, issuer: str, jti: str, expires: int) -> bool:
    key, expires = _token(issuer, jti, expires)
    if tx.run(tx.sql.token, {"key": key, "expires": expires}) == 1:
        return True
    if tx.unsure:  # the connection broke before: nobody can tell whether this very claim was committed
        raise LedgerUnavailable("The token could not be used up: the connection to the database was lost.")
    return False


def _seal(kinds: Iterable[str], now: int, tx: Transaction) -> None:
    for kind in kinds:
        tx.seal(kind, now)


def _prepare(connection: Connection, sealer: Sealer) -> None:
    """The register's only row, and counts when the counting rules are new."""
    if connection.execute(select(schema.register.c.id)).first() is None:
        row = {"id": 1, "chains": 0, "hash": GENESIS, "mac": sealer.register(0, GENESIS), "counts": 0}
        connection.execute(schema.register.insert(), row)
    recount_if_stale(connection)


def _check_key(connection: Connection, sealer: Sealer) -> None:
    row = connection.execute(select(schema.register)).mappings().one_or_none()
    if row is None or not sealer.fits(sealer.register(row["chains"], row["hash"]), row["mac"]):
        raise ConfigurationError(
            "The key does not fit this ledger, or its register of chains was changed. "
            "Use the key that the ledger was made with (CDS_LEDGER_KEY, or its key file)."
        )
