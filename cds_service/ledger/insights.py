"""Read-only counts for the insights page, beside `metrics`: what can be filtered by, and calls per service."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.pool import StaticPool

from cds_service.ledger.counts import FIRST_DAY, LAST_DAY, Tally, first_key, last_key, tally_row, tally_rows
from cds_service.ledger.crd_metrics import crd_metrics
from cds_service.ledger.metrics import Filters, counted, metrics
from cds_service.ledger.reading import reading
from cds_service.ledger.record import Json
from cds_service.ledger.schema import tally
from cds_service.ledger.store import Ledger


class Counts:
    """Counts that can be read, wherever they are kept."""

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connect = connect

    def choices(self) -> Choices:
        """What occurs, to filter by."""
        with self._connect() as connection:
            return choices(connection)

    def read(self, filters: Filters, *, days: bool = True) -> tuple[Json, list[Json]]:
        """All metrics (see `metrics`; without `days`, over time by month), and calls per service."""
        with self._connect() as connection:
            return metrics(connection, filters, days=days), services(connection, filters)

    def crd(self, filters: Filters) -> Json:
        """The Da Vinci CRD guide's metrics (see `crd_metrics`)."""
        with self._connect() as connection:
            return crd_metrics(connection, filters)


def of_ledger(ledger: Ledger) -> Counts:
    """The counts of a ledger."""

    @contextmanager
    def connect() -> Iterator[Connection]:
        ledger.count()
        with reading(ledger.database.engine) as connection:
            yield connection

    return Counts(connect)


def in_memory(counts: Tally) -> Counts:
    """Counts that belong to no ledger, in a database of their own that ends with the process."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    lock = threading.Lock()  # there is one connection
    tally.create(engine)
    with engine.begin() as connection:
        connection.execute(tally.insert(), [tally_row(row) for row in tally_rows(counts, 0)])

    @contextmanager
    def connect() -> Iterator[Connection]:
        with lock, engine.connect() as connection:
            yield connection

    return Counts(connect)


class Choices(NamedTuple):
    """What occurs in the ledger: values to filter by, and how many hook requests were answered."""

    hooks: tuple[str, ...]
    payers: tuple[str, ...]
    policies: tuple[str, ...]
    answers: int


def choices(connection: Connection) -> Choices:
    """Values that occur, read from the counts per year."""
    answers = _years(connection, "answer", "hook", "payer")
    spoken = _years(connection, "determination", "policy", "payer")
    return Choices(
        _sorted(row[0] for row in answers),
        _sorted(row[1] for row in (*answers, *spoken)),
        _sorted(row[0] for row in spoken),
        sum(int(row[2]) for row in answers),
    )


def _years(connection: Connection, measure: str, *by: str) -> list[Any]:
    first, last = str(FIRST_DAY.year), str(LAST_DAY.year)
    columns = [tally.c[n] for n in by]
    where = tally.c.key.between(first_key(measure, first), last_key(measure, last))
    return list(connection.execute(select(*columns, func.sum(tally.c.count)).where(where).group_by(*columns)))


def _sorted(values: Any) -> tuple[str, ...]:
    return tuple(sorted({v for v in values if v}))


def services(connection: Connection, filters: Filters) -> list[Json]:
    """Per service: hook, calls, mean milliseconds, refused or failed calls, cards shown, findings and reactions."""
    found: dict[tuple[str, str], Json] = {}
    for service, hook, status, n, total in counted(connection, filters, "answer", "service", "hook", "label"):
        entry = found.setdefault((service, hook), {"service": service, "hook": hook, **_ZERO})
        entry["calls"] += n
        entry["milliseconds"] += total
        entry["statuses"] = {**entry["statuses"], status: entry["statuses"].get(status, 0) + n}
    reactions: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for service, hook, label, n, _ in counted(connection, filters, "finding", "service", "hook", "label"):
        reactions[service, hook][label] += n
    for service, hook, label, n, _ in counted(connection, filters, "card", "service", "hook", "label"):
        reactions[service, hook]["cards"] += n if label.startswith("shown") else 0
    for key, entry in found.items():
        entry.update(cards=0, shown=0, accepted=0, overridden=0)
        entry.update({k: v for k, v in reactions[key].items() if k in entry})
        entry["mean_ms"] = round(entry.pop("milliseconds") / entry["calls"], 3) if entry["calls"] else None
    return [found[key] for key in sorted(found)]


_ZERO: Json = {"calls": 0, "milliseconds": 0.0, "statuses": {}}
