"""Killed at any moment, the ledger has every record whose write returned, once, and its chains hold."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cds_service.ledger.store import Ledger
from tests.functional import postgres
from tests.functional.ledger_samples import BOTH, KEY, new_url, record

WRITER = """
import sys, threading
from cds_service.ledger.store import Ledger
from tests.functional.ledger_samples import KEY, card, feedback, record, token
book = Ledger.open(sys.argv[1], key=KEY, segment_rows=7)
def work(hook):
    while True:
        c = card()
        r = record(c, hook=hook, jti=token())
        book.write(r)
        sys.stdout.write(f"{r.id}\\n")
        sys.stdout.flush()
        book.feedback("order-sign-advisor", "hospital", [feedback(c)])
threads = [threading.Thread(target=work, args=(hook,)) for hook in ("order-sign", "order-select")]
[t.start() for t in threads]
"""


def round_of(url: str, folder: Path, dice: random.Random) -> list[str]:
    """Two processes of two threads write until the whole group is killed; the ids whose write returned."""
    outputs = [folder / f"{n}.out" for n in range(2)]
    group = None
    children = []
    for output in outputs:
        with output.open("wb") as stream:
            child = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=stream, process_group=group or 0)
        group = group or child.pid
        children.append(child)
    wait_for_output(outputs)
    time.sleep(dice.uniform(0.0, 0.3))
    os.killpg(children[0].pid, signal.SIGKILL)
    assert [child.wait() for child in children] == [-signal.SIGKILL] * 2
    # A line that the kill cut short is no acknowledgement.
    return [line for o in outputs for line in o.read_text().splitlines(keepends=True) if line.endswith("\n")]


def wait_for_output(outputs: list[Path]) -> None:
    deadline = time.monotonic() + 30
    while not all(o.stat().st_size for o in outputs):
        assert time.monotonic() < deadline, "the writers did not start"
        time.sleep(0.005)


def check(url: str, acknowledged: list[str]) -> None:
    with Ledger.open(url, key=KEY) as book:
        stored = Counter(d["id"] for d in book.records())
        assert {i: stored[i] for i in acknowledged if stored[i] != 1} == {}
        report = book.verify()
        assert report.problems == ()
        assert (report.records, book.metrics()["answers"]["total"]) == (stored.total(),) * 2
        # At most one write per thread was on its way.
        assert 0 <= stored.total() - len(acknowledged) <= 4 * KILLS[url]


KILLS: Counter[str] = Counter()


def drill(backend: str, folder: Path, rounds: int) -> None:
    url = new_url(backend, folder)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    acknowledged: list[str] = []
    for _ in range(rounds):
        acknowledged += [line.strip() for line in round_of(url, folder, dice)]
        KILLS[url] += 1
        if rounds <= 5:
            check(url, acknowledged)
    assert len(acknowledged) >= 2 * rounds
    check(url, acknowledged)


@pytest.mark.parametrize("backend", BOTH)
def test_five_kills_lose_nothing(backend: str, tmp_path: Path) -> None:
    drill(backend, tmp_path, 5)


@pytest.mark.verify
@pytest.mark.parametrize("backend", BOTH)
def test_a_hundred_kills_lose_nothing(backend: str, tmp_path: Path) -> None:
    drill(backend, tmp_path, 100)


@pytest.mark.postgresql
def test_a_postgresql_server_that_dies_loses_nothing_and_is_found_again(tmp_path: Path) -> None:
    url = postgres.server().new_database()
    with Ledger.open(url, key=KEY) as book:
        before, after = record(), record()
        book.write(before)
        postgres.server().restart("immediate")
        book.write(after)
        assert book.record(before.id) is not None
        assert book.record(after.id) is not None
        report = book.verify()
        assert (report.records, report.problems) == (2, ())
