"""Backup and restore, upgrade, the commands, and how the log and the tables are kept in shape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner, Result
from sqlalchemy import MetaData, delete, select, update

from cds_service.errors import LedgerError
from cds_service.ledger import counting, maintenance, schema
from cds_service.ledger.cli import ledger
from cds_service.ledger.database import Database
from cds_service.ledger.document import dumps
from cds_service.ledger.insights import of_ledger
from cds_service.ledger.keys import ledger_key
from cds_service.ledger.metrics import Filters
from cds_service.ledger.migrate import SCRIPTS, current, upgrade
from cds_service.ledger.recount import recount, recount_if_stale
from cds_service.ledger.store import Ledger
from tests.functional import postgres
from tests.functional.ledger_samples import (
    KEY,
    POLICY,
    book,
    card,
    determination,
    execute,
    feedback,
    new_url,
    record,
    token,
    url,
)

__all__ = ["book", "url"]
START = datetime(2026, 1, 1, tzinfo=UTC)
CONDITIONAL = [
    {
        "covered": "conditional",
        "pa-needed": "auth-needed",
        "doc-needed": "clinical",
        "questionnaire": ["q"],
        "sent": True,
    },
    {"covered": "conditional", "pa-needed": "satisfied", "sent": False},
]
REASON = {"reason": {"code": "contraindicated", "system": "urn:reasons"}}


def fill(book: Ledger) -> None:
    """Records and feedback of several kinds: re-fired findings, changed minds, silent cards, missing facts."""
    missing = [{"text": "Nicotine test", "source": "observations", "state": "empty"}]
    for n in range(12):
        c = card(finding=f"finding-{n % 5}", rule=f"rule-{n % 2}", shown=n % 6 != 5)
        determinations = (
            determination(coverage_information=[{"covered": "not-covered", "sent": True}]),
            determination(coverage_information=[{"covered": "not-covered", "sent": True}], policy="aetna/other"),
            determination(order="ServiceRequest/two", outcome="needs-information", missing=missing,
                          coverage_information=CONDITIONAL),
        )  # fmt: skip
        service = "order-sign-crd" if n % 3 == 0 else "order-sign-advisor"
        book.write(record(c, received=START + timedelta(days=n), determinations=determinations, jti=token(),
                          service=service, timing={"total": 700.0 * n}))  # fmt: skip
        outcome = ("accepted", "overridden")[n % 2]
        more = {"overrideReason": REASON} if n % 2 else {}
        book.feedback(service, "hospital", [feedback(c, outcome, f"2026-03-{n + 1:02}T00:00:00Z", **more)])


def crd(book: Ledger, **filters: Any) -> Any:
    return of_ledger(book).crd(Filters(**filters))


def counts(url: str) -> list[Any]:
    """Counts, shards summed, zeros left out."""
    rows = execute(
        url,
        "SELECT measure, period, hook, service, client, payer, policy, version, rule, label, sum(count), sum(total)"
        " FROM tally GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 HAVING sum(count) <> 0",
    )
    return sorted((*map(str, row[:-2]), int(row[-2]), float(row[-1])) for row in rows)


# -- no ledger there

READERS = {
    "show": ["show", "x"], "export": ["export"], "verify": ["verify"], "metrics": ["metrics"],
    "prune": ["prune", "--older-than", "1"], "backup": ["backup", "copy.db"],
}  # fmt: skip


@pytest.mark.parametrize("command", READERS)
def test_a_command_that_reads_makes_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("no database " * 1000)
    execute(f"sqlite:///{tmp_path}/other.db", "CREATE TABLE alembic_version (version_num TEXT)")
    before = sorted(p.name for p in tmp_path.iterdir())
    told = {
        "none.db": (2, f"There is no ledger at {tmp_path}/none.db. Check the path."),
        "empty.db": (2, "There is no ledger in this database. Check its URL."),
        "other.db": (2, "There is no ledger in this database. Check its URL."),
        "text.db": (12, f"The ledger at {tmp_path}/text.db cannot be opened: file is not a database."),
    }
    for name, (code, text) in told.items():
        done = CliRunner().invoke(ledger, [*READERS[command], "--database-url", f"sqlite:///{tmp_path}/{name}"])
        assert (done.exit_code, done.output) == (code, f"Error: {text}\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.postgresql
def test_a_foreign_postgresql_database_is_no_ledger() -> None:
    url = postgres.server().new_database()
    done = CliRunner().invoke(ledger, ["verify", "--database-url", url], env={"CDS_LEDGER_KEY": KEY.decode()})
    assert (done.exit_code, done.output) == (2, "Error: There is no ledger in this database. Check its URL.\n")


def test_a_lost_key_is_not_made_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    Ledger.open(url, key=ledger_key(url, {})).close()
    (tmp_path / "ledger.db.key").unlink()
    done = CliRunner().invoke(ledger, ["verify", "--database-url", url])
    assert (done.exit_code, "ledger.db.key cannot be read. Put it back" in done.output) == (2, True)
    assert not (tmp_path / "ledger.db.key").exists()


# -- upgrade


def test_the_tables_that_migrations_make_are_those_of_the_schema(book: Ledger) -> None:
    with book.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_counts_kept_with_every_write_are_those_counted_anew(book: Ledger, url: str) -> None:
    fill(book)
    book.count()
    kept, findings = counts(url), sorted(execute(url, "SELECT * FROM finding"))
    assert kept
    with book.database.engine.begin() as connection:
        recount(connection)
    assert counts(url) == kept
    assert sorted(execute(url, "SELECT * FROM finding")) == findings


OLD: dict[str, Any] = json.loads(Path(__file__).with_name("ledger-0002.json").read_text())
"""What a release at revision 0002 wrote: `fill`, and a record of two cards of which the second is explained."""


def write_old(url: str, revision: str) -> None:
    """A ledger as a release at `revision` left it."""
    database = Database(url)
    upgrade(database, revision)
    tables = MetaData()
    tables.reflect(database.engine)
    with database.engine.begin() as connection:
        for name, part in OLD["tables"].items():
            if name in tables.tables:
                known = tables.tables[name].c.keys()
                rows = [dict(zip(part["columns"], row, strict=True)) for row in part["rows"]]
                kept = [{k: v for k, v in row.items() if k in known} for row in rows]
                connection.execute(tables.tables[name].insert(), kept)
    database.close()


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_ledger_of_an_earlier_revision_is_upgraded_with_its_data(url: str, revision: str) -> None:
    write_old(url, revision)
    ids = sorted(row[OLD["tables"]["entry"]["columns"].index("id")] for row in OLD["tables"]["entry"]["rows"])
    with Ledger.open(url, key=KEY, writer="old") as book:
        assert current(book.database) == schema.HEAD
        assert book.metrics() == OLD["metrics"]
        assert sorted(d["id"] for kind in (None, "feedback") for d in book.records(hook=kind)) == ids
        assert book.verify().problems == ()
        unexplained, explained = OLD["pages"]
        assert book.explanation(unexplained) is None
        assert book.explanation(explained) == {"title": "Only the second"}
        book.write(record(c := card()))
        items = [feedback(card(uuid=explained), "overridden"), feedback(c)]
        assert [r.status for r in book.feedback("order-sign-advisor", "hospital", items)] == ["accepted"] * 2
        found = book.metrics()
        assert found["answers"]["total"] == OLD["metrics"]["answers"]["total"] + 1
        with book.database.engine.begin() as connection:
            recount(connection)
        assert book.metrics() == found
        report = book.verify()
        assert (report.chains, report.problems) == (2, ())


def test_what_older_records_asserted_is_counted_after_an_upgrade(url: str) -> None:
    with Ledger.open(url, key=KEY) as book:
        fill(book)
        guide = crd(book)
    assert guide["orders"] == 8
    database = Database(url)
    with database.engine.begin() as connection:
        a = schema.answer
        for number, text in connection.execute(select(a.c.number, a.c.determinations)).all():
            unsaid = dumps([[*row[:-1], ""] for row in json.loads(text)]).decode()
            connection.execute(update(a).where(a.c.number == number).values(determinations=unsaid))
        connection.execute(update(schema.register).values(counts=schema.COUNTS - 1))
        connection.execute(delete(schema.tally))
        recount_if_stale(connection)  # as the upgrade to a new revision does
    database.close()
    with Ledger.open(url, key=KEY) as book:
        assert crd(book) == guide
        assert book.verify().problems == ()


def test_the_guides_metrics_are_of_orders_and_outlive_the_records(book: Ledger) -> None:
    fill(book)
    found = crd(book)
    assert (found["calls"], found["orders"]) == (4, 8), "an order that two policies speak to is one order"
    assert found["1_with_coverage_information"] == {"count": 8, "of": 8, "percent": 100.0}
    assert {k: v["count"] for k, v in found["2_by_covered"].items()} == {"conditional": 4, "not-covered": 4}
    assert found["3_prior_authorization_with_questionnaire"] == {"count": 4, "of": 4, "percent": 100.0}
    assert found["5_authorization_satisfied"] == {"count": 4, "of": 8, "percent": 50.0}
    assert found["6_answered_within_5_seconds"] == {"count": 3, "of": 4, "percent": 75.0}, "0, 2.1, 4.2 and 6.3 s"
    assert found["by_payer"]["aetna"]["6_answered_within_5_seconds"]["count"] == 3
    assert crd(book, payer="cigna")["calls"] == 0
    assert crd(book, policy=POLICY)["orders"] == 8
    assert crd(book, policy="aetna/other")["orders"] == 0
    assert crd(book, since=date(2026, 1, 7), until=date(2026, 1, 9))["orders"] == 2
    book.prune(datetime.now(UTC))
    assert crd(book) == found


def test_each_revision_upgrades_from_the_one_before(url: str) -> None:
    database = Database(url)
    assert current(database) is None
    assert upgrade(database, "0001") is True
    assert current(database) == "0001"
    assert upgrade(database) is True
    assert upgrade(database) is False
    database.close()


def test_a_ledger_of_a_newer_release_is_refused(book: Ledger, url: str) -> None:
    execute(url, "UPDATE alembic_version SET version_num = '9999'", expect=1)
    with pytest.raises(LedgerError, match="written by a newer release"):
        Ledger.open(url, key=KEY)


def test_many_processes_may_make_the_ledger_at_once(url: str) -> None:
    code = (
        "import sys\nfrom cds_service.ledger.store import Ledger\n"
        "from tests.functional.ledger_samples import KEY, record\n"
        "with Ledger.open(sys.argv[1], key=KEY) as book: book.write(record())\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, url]) for _ in range(5)]
    assert [child.wait() for child in children] == [0] * 5
    with Ledger.open(url, key=KEY) as book:
        report = book.verify()
    assert (report.records, report.chains, report.problems) == (5, 5, ())


# -- counts follow


def uncounted(url: str, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger whose background work never counts, as if its process were killed first."""
    monkeypatch.setattr(maintenance, "COUNT_SECONDS", 1e9)
    return Ledger.open(url, key=KEY)


def test_what_a_killed_process_left_uncounted_is_counted_by_the_next_reader(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with uncounted(url, monkeypatch) as killed:
        fill(killed)
        assert execute(url, "SELECT count(*) FROM tally") == [(0,)]
        with Ledger.open(url, key=KEY) as other:
            found = other.metrics()
        assert (found["answers"]["total"], found["cards"]["shown"]) == (12, 10)
        with killed.database.engine.begin() as connection:
            recount(connection)
        assert killed.metrics() == found


def test_processes_that_count_at_once_add_nothing_twice(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST", 3)
    with uncounted(url, monkeypatch) as book:
        fill(book)
        others = [uncounted(url, monkeypatch) for _ in range(3)]
        threads = [threading.Thread(target=other.count) for other in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kept, findings = counts(url), sorted(execute(url, "SELECT * FROM finding"))
        with book.database.engine.begin() as connection:
            recount(connection)
        assert counts(url) == kept
        assert sorted(execute(url, "SELECT * FROM finding")) == findings
        for other in others:
            other.close()


def test_what_is_pruned_with_its_statistics_is_counted_first(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with uncounted(url, monkeypatch) as book:
        fill(book)
        book.prune(datetime.now(UTC) + timedelta(days=1), statistics=True)
        assert execute(url, "SELECT count(*) FROM answer") == [(0,)]
        assert book.metrics()["answers"]["total"] == 12


# -- backup


def test_a_backup_taken_while_writing_restores_whole(tmp_path: Path) -> None:
    url = new_url("sqlite", tmp_path)
    target = tmp_path / "backup.db"
    code = (
        "import sys\nfrom cds_service.ledger.store import Ledger\n"
        "from tests.functional.ledger_samples import KEY, card, record\n"
        "book = Ledger.open(sys.argv[1], key=KEY, segment_rows=10)\n"
        "print('ready', flush=True)\n"
        "while True: book.write(record(card()))\n"
    )
    with Ledger.open(url, key=KEY) as book:
        fill(book)
        writer = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        try:
            result = run("backup", str(target), url=url)
        finally:
            writer.kill()
            writer.wait()
            writer.stdout.close()
        assert result.exit_code == 0, result.output
        known = {d["id"] for d in book.records()}
    with Ledger.open(f"sqlite:///{target}", key=KEY) as restored:
        report = restored.verify()
        assert report.problems == ()
        assert report.feedback == 10
        assert {d["id"] for d in restored.records()} <= known
        assert restored.metrics()["answers"]["total"] == report.records >= 12
        restored.write(record(card()))
        assert restored.verify().intact
    assert run("backup", str(target), url=url).exit_code == 2, "an existing file is not overwritten"


@pytest.mark.postgresql
def test_a_postgresql_ledger_is_backed_up_with_pg_dump(tmp_path: Path) -> None:
    server = postgres.server()
    url = server.new_database()
    with Ledger.open(url, key=KEY) as book:
        fill(book)
        metrics = book.metrics()
    name = url.split("/")[3].split("?")[0]
    dump = tmp_path / "dump.sql"
    dump.write_bytes(server.tool("pg_dump", "--no-owner", name))
    restored = server.new_database()
    server.tool("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump), restored.split("/")[3].split("?")[0])
    with Ledger.open(restored, key=KEY) as book:
        assert book.verify().problems == ()
        assert book.metrics() == metrics
    assert run("backup", str(tmp_path / "x"), url=url).exit_code == 2


# -- SQLite's log


def test_the_write_ahead_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "WAL_BYTES", 200_000)
    url = new_url("sqlite", tmp_path)
    wal = Path(url.removeprefix("sqlite:///") + "-wal")
    with Ledger.open(url, key=KEY) as book:
        for _ in range(400):
            book.write(record(card(), response={"cards": [], "padding": "x" * 20_000}))
        maintenance.checkpoint(book.database)
        size = wal.stat().st_size
        book.write(record())
        assert wal.stat().st_size <= size, "the log began anew"
        assert Path(url.removeprefix("sqlite:///")).stat().st_size > 8_000_000, "the log was copied into the file"
        assert execute(url, "PRAGMA journal_mode") == [("wal",)]


# -- commands


def run(*arguments: str, url: str) -> Result:
    environment = {"CDS_DATABASE_URL": url, "CDS_LEDGER_KEY": KEY.decode()}
    return CliRunner().invoke(ledger, list(arguments), env=environment, catch_exceptions=False)


def test_what_nobody_foresaw_does_not_end_the_background_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that somebody changed, say. Else the log of SQLite would grow until the disk is full."""
    monkeypatch.setattr(maintenance, "COUNT_SECONDS", 0.01)
    rounds = threading.Semaphore(0)

    def count() -> None:
        rounds.release()
        raise TypeError("a value from a row")

    work = maintenance.Maintenance(Database(f"sqlite:///{tmp_path / 'ledger.db'}"), count, lambda: None)
    assert rounds.acquire(timeout=10)
    assert rounds.acquire(timeout=10)  # it goes on after the first
    work.close()
    assert "ledger maintenance failed: TypeError at " in caplog.text
    assert "a value from a row" not in caplog.text


def test_commands_show_export_verify_metrics_prune_upgrade(book: Ledger, url: str, tmp_path: Path) -> None:
    fill(book)
    wanted = next(iter([*book.records()]))
    assert json.loads(run("show", wanted["id"], url=url).output) == wanted
    missing = run("show", "no-such-id", url=url)
    assert (missing.exit_code, missing.output) == (1, "Error: There is no record no-such-id.\n")

    out = tmp_path / "all.ndjson"
    assert run("export", "--out", str(out), url=url).output == f"22 entries written to {out}.\n"
    assert len([json.loads(line) for line in out.read_text().splitlines()]) == 22
    assert run("export", "--out", str(out), url=url).exit_code == 2, "an existing file is not overwritten"

    assert run("verify", url=url).output == "12 records, 10 feedback, 0 pruned, in 2 chains: intact.\n"
    found = json.loads(run("metrics", "--json", "--rule", "rule-0", url=url).output)
    assert [r["rule"] for r in found["rules"]] == ["rule-0"]
    text = run("metrics", url=url).output
    assert text.startswith("12 answers, 10 cards, latency p50 ")
    assert "Contraindicated" in text

    assert run("prune", url=url).exit_code == 2
    pruned = run("prune", "--before", "2026-01-06", "--hook", "order-sign", url=url)
    # The sixth shares a segment with the fifth: whole segments go, and a segment spans at most a day.
    assert pruned.output == "4 entries in 2 segments removed, 8 old explanations.\n"
    assert run("upgrade", url=url).output == f"The ledger was at {schema.HEAD} and is at {schema.HEAD}.\n"
    assert run("verify", url=url).output == "8 records, 10 feedback, 4 pruned, in 2 chains: intact.\n"

    execute(url, f"DELETE FROM entry WHERE id = '{list(book.records())[-1]['id']}'", expect=1)
    broken = run("verify", url=url)
    assert broken.exit_code == LedgerError.exit_code
    assert "was removed" in broken.output


def test_commands_say_what_is_wrong_without_a_trace(tmp_path: Path) -> None:
    result = run("verify", url="mysql://h/d")
    assert (result.exit_code, "not on mysql" in result.output) == (2, True)
    url = f"sqlite:///{tmp_path}/a.db"
    Ledger.open(url, key=ledger_key(url, {})).close()
    result = run("verify", url=url)
    assert (result.exit_code, "key does not fit" in result.output) == (2, True)


def test_postgresql_tests_do_not_pass_unnoticed_in_ci() -> None:
    if os.environ.get("CI") == "true":
        assert postgres.server().binaries.is_dir()
