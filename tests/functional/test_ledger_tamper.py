"""Whoever changes the ledger's rows without its key is found out; pruning is not mistaken for that."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cds_service.errors import ConfigurationError, LedgerError
from cds_service.ledger.store import Ledger
from tests.functional.ledger_samples import KEY, book, card, execute, feedback, record, url

__all__ = ["book", "url"]
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def filled(book: Ledger) -> Ledger:
    """Ten records (two sealed segments of four, two open) and three feedback items, intact."""
    cards = [card() for _ in range(10)]
    for n, c in enumerate(cards):
        book.write(record(c, received=START + timedelta(hours=n)))
    results = book.feedback("order-sign-advisor", "hospital", [feedback(c) for c in cards[:3]])
    assert [r.status for r in results] == ["accepted"] * 3
    assert book.verify().problems == ()
    return book


def sequence(n: int) -> str:
    """WHERE clause for the n-th record."""
    return f"chain = 1 AND sequence = {n}"


# What an intruder does, how many rows that touches, and what `verify` says first.
ATTACKS = {
    "document changed": (
        f"UPDATE entry SET document = replace(document, 'not-supported', 'supported') WHERE {sequence(2)}", 1,
        "test.0/order-sign #2: this entry was changed",
    ),
    "document and hash changed": (
        f"UPDATE entry SET document = document || ' ', hash = '{'a' * 64}' WHERE {sequence(2)}", 1,
        "test.0/order-sign #2: this entry was changed",
    ),
    "hash changed at the end of a segment": (
        f"UPDATE entry SET hash = '{'a' * 64}' WHERE {sequence(4)}", 1,
        "test.0/order-sign #4: this entry was changed",
    ),
    "time changed": (
        f"UPDATE entry SET received = received - 1 WHERE {sequence(10)}", 1,
        "test.0/order-sign #10: kind, id or time of this entry was changed",
    ),
    "first removed": (
        f"DELETE FROM entry WHERE {sequence(1)}", 1, "test.0/order-sign #1: a row of answer belongs to no entry",
    ),
    "middle removed": (
        f"DELETE FROM entry WHERE {sequence(6)}", 1, "test.0/order-sign #6: a row of answer belongs to no entry",
    ),
    "tail removed": (
        f"DELETE FROM entry WHERE {sequence(10)}", 1, "test.0/order-sign #10: a row of answer belongs to no entry",
    ),
    "everything removed": ("DELETE FROM entry", 13, "test.0/order-sign #1: a row of answer belongs to no entry"),
    "two exchanged": (
        "UPDATE entry SET document = (SELECT o.document FROM entry o WHERE o.chain = 1 AND o.sequence = 5 -"
        " entry.sequence) WHERE chain = 1 AND sequence IN (2, 3)", 2, "test.0/order-sign #2: this entry was changed",
    ),
    "inserted behind the head": (
        "INSERT INTO entry SELECT number + 1, chain, sequence + 1, hash, hash, 'new', kind, received, document"
        f" FROM entry WHERE {sequence(10)}", 1, "test.0/order-sign #11: this entry was inserted",
    ),
    "inserted into no chain": (
        "INSERT INTO entry SELECT number + 9007199254740992, 8193, sequence, hash, hash, 'new', kind, received,"
        f" document FROM entry WHERE {sequence(10)}", 1,
        "chain 8193 #10: this entry belongs to no chain: it was inserted",
    ),
    "tail removed and head set back": (
        "UPDATE chain SET sequence = 9, hash = (SELECT hash FROM entry WHERE chain = 1 AND sequence = 9)"
        " WHERE id = 1", 1,
        "test.0/order-sign: the head was changed, or set back to an earlier entry",
    ),
    "seal removed": (
        "DELETE FROM segment WHERE chain = 1 AND first = 1", 1,
        "test.0/order-sign #1: the seal of the segment that begins here was removed or changed",
    ),
    "seal changed": (
        "UPDATE segment SET count = 3 WHERE chain = 1 AND first = 5", 1,
        "test.0/order-sign #5: the seal of the segment that begins here was changed",
    ),
    "removal passed off as pruning": (
        "UPDATE segment SET pruned = 1 WHERE chain = 1 AND first = 1", 1,
        "test.0/order-sign #1: the seal of the segment that begins here was changed",
    ),
    "a chain removed": ("DELETE FROM chain WHERE id = 2", 1, "register: a chain was removed, inserted or renamed"),
    "a chain renamed": (
        "UPDATE chain SET name = 'x' WHERE id = 2", 1, "x: the head was changed, or set back to an earlier entry"
    ),
    "feedback's document changed": (
        "UPDATE entry SET document = replace(document, 'accepted', 'overridden') WHERE chain = 2 AND sequence = 2", 1,
        "test.0/feedback #2: this entry was changed",
    ),
    "feedback's row changed": (
        "UPDATE feedback SET outcome = 'overridden' WHERE number = (SELECT min(number) FROM feedback)", 1,
        "test.0/feedback #1: feedback differs from what the record says: a row was changed, removed or inserted",
    ),
    "answer's row changed": (
        "UPDATE answer SET latency = 0 WHERE number = (SELECT min(number) FROM answer)", 1,
        "test.0/order-sign #1: answer differs from what the record says: a row was changed, removed or inserted",
    ),
    "determination removed": (
        "UPDATE answer SET determinations = '[]' WHERE number = (SELECT min(number) FROM answer)", 1,
        "test.0/order-sign #1: answer differs from what the record says: a row was changed, removed or inserted",
    ),
    "card's rule changed": (
        "UPDATE answer SET details = replace(details, 'marrow-aspirate', 'other')"
        " WHERE number = (SELECT min(number) FROM answer)", 1,
        "test.0/order-sign #1: answer differs from what the record says: a row was changed, removed or inserted",
    ),
    "card changed": (
        "UPDATE card SET uuid = 'other' WHERE number = (SELECT min(number) FROM answer)", 1,
        "test.0/order-sign #1: card differs from what the record says: a row was changed, removed or inserted",
    ),
    "card inserted": (
        "INSERT INTO card SELECT number + 100, position, 'u' FROM card"
        " WHERE number = (SELECT max(number) FROM answer)", 1,
        "test.0/order-sign #110: a row of card belongs to no entry: it was inserted, or its entry was removed",
    ),
    "explanation changed": (
        "UPDATE explanation SET document = '{}' WHERE number = (SELECT min(number) FROM answer)", 1,
        "test.0/order-sign #1: an explanation was changed or inserted",
    ),
    "explanation added": (
        "UPDATE explanation SET document = document || '\n{}' WHERE number = (SELECT min(number) FROM answer)", 1,
        "test.0/order-sign #1: an explanation was changed or inserted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_intruder_is_found_out(filled: Ledger, url: str, attack: str) -> None:
    sql, rows, says = ATTACKS[attack]
    execute(url, sql, expect=rows)
    report = filled.verify()
    assert not report.intact
    assert any(str(p).startswith(says) for p in report.problems), [str(p) for p in report.problems]


REMOVED = {1: "entry 1 was removed", 6: "entry 6 was removed", 10: "entry 10 was removed"}


@pytest.mark.parametrize("n", REMOVED)
def test_removing_all_rows_of_a_record_is_found_out(filled: Ledger, url: str, n: int) -> None:
    number = execute(url, f"SELECT number FROM entry WHERE {sequence(n)}")[0][0]
    for table in ("entry", "answer", "card", "explanation"):
        execute(url, f"DELETE FROM {table} WHERE number = {number}", expect=1)
    assert REMOVED[n] in [p.text for p in filled.verify().problems]


def test_an_explanation_removed_before_its_time_is_found_out(book: Ledger, url: str) -> None:
    book.write(record(card()))
    execute(url, "DELETE FROM explanation", expect=1)
    assert [p.text for p in book.verify().problems] == ["an explanation was removed"]


def test_the_service_does_not_build_on_a_head_that_was_changed(url: str) -> None:
    with Ledger.open(url, key=KEY, writer="w") as book:
        book.write(record())
        book.write(record())
    execute(url, "UPDATE chain SET sequence = 1", expect=1)
    with Ledger.open(url, key=KEY, writer="w") as book:
        book.write(record())  # answers go on, in a new chain; the evidence stays
        report = book.verify()
    assert report.records == 3
    assert str(report.problems[0]).startswith("w.0/order-sign: the head was changed")
    assert all(p.chain == "w.0/order-sign" for p in report.problems)


def test_the_service_does_not_build_on_a_register_that_was_changed(book: Ledger, url: str) -> None:
    execute(url, "UPDATE register SET chains = 5", expect=1)
    with pytest.raises(LedgerError, match="register of chains was changed"):
        book.write(record())


def test_pruning_removes_the_old_and_the_rest_still_verifies(filled: Ledger, url: str) -> None:
    report = filled.prune(START + timedelta(hours=7))
    # Segment 1-4 wholly; 5-8 is sealed and holds a younger entry, so it stays until that is old enough too.
    assert (report.segments, report.rows) == (1, 4)
    found = filled.verify()
    assert (found.records, found.pruned, found.problems) == (6, 4, ())
    filled.write(record(received=START + timedelta(hours=10)))
    assert filled.prune(START + timedelta(hours=9)).rows == 5, "5-8, and 9 of the open segment"
    found = filled.verify()
    assert (found.records, found.feedback, found.pruned, found.problems) == (2, 3, 9, ())
    assert execute(url, "SELECT count(*) FROM answer") == [(11,)], "the de-identified rows stay"
    for _ in range(5):
        filled.write(record(received=START + timedelta(hours=11)))
    assert filled.verify().problems == ()
    assert filled.metrics()["answers"]["total"] == 16


def test_feedback_on_a_pruned_record_still_counts(filled: Ledger) -> None:
    c = card()
    filled.write(record(c, received=START))
    filled.prune(START + timedelta(days=1), "order-sign")
    assert filled.explanation(c.uuid) is None
    assert filled.feedback("order-sign-advisor", "hospital", [feedback(c)])[0].status == "accepted"
    assert filled.verify().problems == ()


def test_pruning_by_hook_leaves_the_other_hooks(book: Ledger) -> None:
    for n in range(12):
        book.write(record(received=START, hook="order-select" if n % 3 else "order-sign"))
    assert book.prune(START + timedelta(days=1), "order-select").rows == 8
    assert [d["hook"] for d in book.records()] == ["order-sign"] * 4
    report = book.verify()
    assert (report.records, report.pruned, report.problems) == (4, 8, ())


def test_pruning_can_take_the_statistics_too(filled: Ledger, url: str) -> None:
    filled.prune(datetime.now(UTC) + timedelta(days=1), statistics=True)
    for table in ("entry", "answer", "card", "feedback", "explanation"):
        assert execute(url, f"SELECT count(*) FROM {table}") == [(0,)]
    report = filled.verify()
    assert (report.records, report.feedback, report.pruned, report.problems) == (0, 0, 13, ())
    assert filled.metrics()["rules"][0]["accepted"] == 3, "counts stay"


@pytest.mark.parametrize("change", ["document = document || ' '", f"previous = '{'b' * 64}'"])
def test_pruning_does_not_remove_evidence(filled: Ledger, url: str, change: str) -> None:
    execute(url, f"UPDATE entry SET {change} WHERE {sequence(2)}", expect=1)
    with pytest.raises(LedgerError, match="changed from outside; nothing of it was pruned"):
        filled.prune(START + timedelta(days=2))
    assert execute(url, "SELECT count(*) FROM entry WHERE chain = 1") == [(10,)]


def test_what_comes_back_into_a_pruned_segment_is_found_out(filled: Ledger, url: str) -> None:
    execute(url, f"CREATE TABLE stolen AS SELECT * FROM entry WHERE {sequence(2)}")
    filled.prune(START + timedelta(hours=4))
    assert filled.verify().intact
    execute(url, "INSERT INTO entry SELECT * FROM stolen", expect=1)
    assert [str(p) for p in filled.verify().problems] == ["test.0/order-sign #2: this entry was inserted"]


def test_a_segment_is_sealed_after_a_day(book: Ledger, url: str) -> None:
    for days in (0, 0.5, 1.5):
        book.write(record(received=START + timedelta(days=days)))
    assert execute(url, "SELECT first, last FROM segment") == [(1, 2)]
    assert book.verify().intact


def test_closing_seals(url: str) -> None:
    with Ledger.open(url, key=KEY, writer="w") as book:
        for _ in range(3):
            book.write(record())
    assert execute(url, "SELECT first, last FROM segment") == [(1, 3)]
    assert execute(url, "SELECT open_first, sequence FROM chain") == [(4, 3)]


EVIL = "BEGIN DELETE FROM token WHERE key = NEW.key; END"
FUNCTION = "CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
STRANGERS = {
    "trigger added": (
        [f"CREATE TRIGGER evil AFTER INSERT ON token {EVIL}"],
        [FUNCTION, "CREATE TRIGGER evil BEFORE INSERT ON token FOR EACH ROW EXECUTE FUNCTION evil()"],
        ["tables: the trigger evil on token is not the service's: it was added"],
    ),
    "own trigger replaced": (
        ["DROP TRIGGER append_entry", "CREATE TRIGGER append_entry INSTEAD OF INSERT ON append BEGIN SELECT 1; END"],
        ["CREATE OR REPLACE FUNCTION append_entry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"],
        ["tables: the trigger append_entry was changed"],
    ),
    "own trigger removed": (
        ["DROP TRIGGER append_entry"], ["DROP TRIGGER append_entry ON append"],
        ["tables: the trigger append_entry was removed"],
    ),
    "rule or view added": (
        ["CREATE VIEW evil AS SELECT * FROM token"],
        ["CREATE RULE evil AS ON INSERT TO token DO INSTEAD NOTHING"],
        ["tables: the rule evil on token is not the service's: it was added"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", STRANGERS)
def test_what_would_act_within_the_services_statements_is_found_out(
    filled: Ledger, url: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    sqlite, postgresql, says = STRANGERS[what]
    for sql in sqlite if url.startswith("sqlite") else postgresql:
        execute(url, sql)
    told = [str(problem) for problem in filled.verify().problems]
    if url.startswith("sqlite"):
        says = [line.replace(" on token", "").replace("rule", "view") for line in says]
    assert told == says
    with Ledger.open(url, key=KEY):
        assert [record.getMessage() for record in caplog.records] == [s.replace("tables", "ledger", 1) for s in says]


# Each a value that SQLite takes though it is of another kind than the column, and where `verify` finds it.
MISFITS = {
    "UPDATE chain SET sequence = 'abc'": "chain: row 1: sequence of another kind",
    "UPDATE chain SET name = x'00ff' WHERE id = 1": "chain: row 1: name of another kind",
    "UPDATE chain SET open_since = 'x', mac = x'ff'": "chain: row 1: open_since, mac of another kind",
    "UPDATE segment SET first = 'x' WHERE first = 1": "segment: row 1/'x': first of another kind",
    "UPDATE segment SET last = 'x' WHERE chain = 1": "segment: row 1/1: last of another kind",
    "UPDATE segment SET mac = x'ff'": "segment: row 1/1: mac of another kind",
    "UPDATE entry SET sequence = 'x'": "entry: row 1099511627777: sequence of another kind",
    "UPDATE entry SET received = 1.5": "entry: row 1099511627777: received of another kind",
    "UPDATE entry SET document = CAST(document AS blob)": "entry: row 1099511627777: document of another kind",
    "UPDATE answer SET latency = 'x'": "answer: row 1099511627777: latency of another kind",
    "UPDATE answer SET details = x'5b5d'": "answer: row 1099511627777: details of another kind",
    "UPDATE card SET number = 'x' || number": "card: row 'x1099511627777'/0: number of another kind",
    "UPDATE card SET position = 'x'": "card: row 1099511627777/'x': position of another kind",
    "UPDATE explanation SET document = x'7b7d'": "explanation: row 1099511627777: document of another kind",
    "UPDATE explanation SET expires = 'x'": "explanation: row 1099511627777: expires of another kind",
    "UPDATE feedback SET commented = 'x'": "feedback: row 2199023255553: commented of another kind",
    "UPDATE feedback SET at = 'x'": "feedback: row 2199023255553: at of another kind",
    "UPDATE register SET counts = 'x'": "register: row 1: counts of another kind",
    "UPDATE token SET expires = 'x'": "token: row",
    "UPDATE counted SET sequence = 'x'": "counted: row 0: sequence of another kind",
}


@pytest.mark.parametrize("sql", MISFITS)
def test_a_value_of_another_kind_is_a_problem_and_no_crash(tmp_path: Path, sql: str) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    with Ledger.open(url, key=KEY, writer="test", segment_rows=4) as book:
        cards = [card() for _ in range(10)]
        for c in cards:
            book.write(record(c))
        book.feedback("order-sign-advisor", "hospital", [feedback(c) for c in cards[:3]])
        assert book.claim("i", "j", 1 << 40)
    execute(url, sql)
    with Ledger.open(url, key=KEY) as book:
        told = [str(problem) for problem in book.verify().problems]
    assert any(line.startswith(MISFITS[sql]) for line in told), told


def test_a_register_of_another_kind_is_not_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    Ledger.open(url, key=KEY).close()
    execute(url, "UPDATE register SET mac = x'ff'", expect=1)
    with pytest.raises(ConfigurationError, match="its register of chains was changed"):
        Ledger.open(url, key=KEY)


def test_the_command_tells_of_a_value_of_another_kind_with_its_exit_code(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    with Ledger.open(url, key=KEY) as book:
        book.write(record(card()))
    execute(url, "UPDATE chain SET sequence = 'abc'")
    done = subprocess.run(
        [sys.executable, "-m", "cds_service.cli", "ledger", "verify", "--database-url", url],
        env={**os.environ, "CDS_LEDGER_KEY": KEY.decode()}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (12, False), done.stderr
    assert "chain: row 1: sequence of another kind than the column: it was changed" in done.stdout
