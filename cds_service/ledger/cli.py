"""`cds-service ledger ...`: look at, check, count, prune, back up and upgrade the ledger."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table

from cds_service.errors import ConfigurationError, LedgerError
from cds_service.ledger import export as export_
from cds_service.ledger.database import Database
from cds_service.ledger.insights import of_ledger
from cds_service.ledger.keys import ledger_key
from cds_service.ledger.metrics import Filters
from cds_service.ledger.migrate import current, require_ledger
from cds_service.ledger.schema import HEAD
from cds_service.ledger.store import Ledger

DAY = click.DateTime(["%Y-%m-%d"])


def database_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --database-url, by default from CDS_DATABASE_URL."""
    return click.option(
        "--database-url",
        "url",
        envvar="CDS_DATABASE_URL",
        required=True,
        help="sqlite:///path/to/ledger.db or postgresql://user@host/name.",
    )(command)


@click.group()
def ledger() -> None:
    """The durable record of every answer and of feedback on it."""


@ledger.command()
@click.argument("record_id")
@database_option
def show(record_id: str, url: str) -> None:
    """Print one record (or feedback) as JSON. It holds patient data."""
    with _open(url) as book:
        document = book.record(record_id)
    if document is None:
        raise click.ClickException(f"There is no record {record_id}.")
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


@ledger.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to make; standard output if absent.")
@database_option
def export(out: Path | None, url: str) -> None:
    """Write every entry as a line of JSON (NDJSON) with its place in its chain. It holds patient data."""
    with _open(url) as book:
        if out is None:
            book.export(sys.stdout.buffer)
            return
        with closing(_private(out)) as stream:
            count = book.export(stream)
    click.echo(f"{count} entries written to {out}.")


@ledger.command()
@database_option
def verify(url: str) -> None:
    """Find changed, removed or inserted rows; exit code 12 if there are any."""
    with _open(url) as book:
        report = book.verify()
    for problem in report.problems:
        click.echo(str(problem))
    click.echo(
        f"{report.records} records, {report.feedback} feedback, {report.pruned} pruned, in {report.chains} chains: "
        + ("intact." if report.intact else f"{len(report.problems)} problems.")
    )
    if not report.intact:
        raise SystemExit(LedgerError.exit_code)


@ledger.command()
@click.option("--since", type=DAY, help="First day (UTC).")
@click.option("--until", type=DAY, help="Last day (UTC).")
@click.option("--hook")
@click.option("--service")
@click.option("--client")
@click.option("--payer")
@click.option("--policy")
@click.option("--rule")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.option("--crd", is_flag=True, help="The Da Vinci CRD guide's metrics, as JSON.")
@database_option
def metrics(
    url: str, as_json: bool, crd: bool, since: datetime | None, until: datetime | None, **filters: str | None
) -> None:
    """Answers, latency, and how often each rule's findings were accepted or overridden, and why."""
    if crd and filters["rule"]:
        raise click.UsageError("The guide's metrics are not counted by rule.")
    with _open(url) as book:
        asked: dict[str, Any] = {"since": _day(since), "until": _day(until), **filters}
        found = of_ledger(book).crd(Filters(**asked)) if crd else book.metrics(**asked)
    if as_json or crd:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        _print_metrics(found)


@ledger.command()
@click.option("--before", type=DAY, help="Remove what was received before this day (UTC).")
@click.option("--older-than", type=click.IntRange(min=0), help="Remove what is older than this many days.")
@click.option("--hook", help="Only this hook, or `feedback`.")
@click.option("--statistics", is_flag=True, help="Remove the de-identified rows too; counts stay.")
@database_option
def prune(url: str, before: datetime | None, older_than: int | None, hook: str | None, statistics: bool) -> None:
    """Remove old records, leaving their seals: `ledger verify` still passes."""
    if (before is None) == (older_than is None):
        raise click.UsageError("Give --before or --older-than.")
    limit = before.replace(tzinfo=UTC) if before else datetime.now(UTC) - timedelta(days=older_than or 0)
    with _open(url) as book:
        report = book.prune(limit, hook, statistics=statistics)
    click.echo(f"{report.rows} entries in {report.segments} segments removed, {report.explanations} old explanations.")


@ledger.command()
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@database_option
def backup(target: Path, url: str) -> None:
    """Copy a SQLite ledger into a new file while the service goes on. Keep the key with it, apart from it."""
    with _faults():
        require_ledger(url)
        database = Database(url)
        export_.backup(database, target)
        database.close()
    click.echo(f"Backup written to {target}. It verifies only with the ledger's key.")


@ledger.command()
@database_option
def upgrade(url: str) -> None:
    """Bring the tables to this release's form; `serve` does so by itself."""
    with _faults():
        database = Database(url)
        before = current(database)
        database.close()
        Ledger.open(url, key=ledger_key(url)).close()
    click.echo(f"The ledger was at {before or 'nothing'} and is at {HEAD}.")


@contextmanager
def _faults() -> Iterator[None]:
    """Turn the service's own errors into a line of text and their exit code."""
    try:
        yield
    except (ConfigurationError, LedgerError) as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from error


@contextmanager
def _open(url: str) -> Iterator[Ledger]:
    """The ledger that is at an address, closed at the end; faults as `_faults` tells them."""
    with _faults():
        require_ledger(url)
        with Ledger.open(url, key=ledger_key(url, make=False)) as book:
            yield book


def _private(path: Path) -> Any:
    """A new file that only its owner reads."""

    try:
        return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be made: {error.strerror}.") from error


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


def _print_metrics(found: dict[str, Any]) -> None:
    latency = found["latency_ms"]
    console = Console(width=None if sys.stdout.isatty() else 200)  # a pipe has no width to fit
    console.print(
        f"{found['answers']['total']} answers, {found['cards']['shown']} cards, "
        f"latency p50 {latency['p50']} ms, p99 {latency['p99']} ms"
    )
    table = Table("policy", "rule", "findings", "accepted", "overridden", "ignored", "reasons")
    for rule in found["rules"]:
        reasons = ", ".join(f"{r['display'] or r['code']} ({r['count']})" for r in rule["reasons"])
        counts = [str(rule[k]) for k in ("shown", "accepted", "overridden", "ignored")]
        table.add_row(f"{rule['policy']} {rule['version']}", rule["rule"], *counts, reasons)
    console.print(table)
