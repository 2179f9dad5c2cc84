"""kill -9 of the whole service under load: every 200 that a client saw is in the ledger, none twice, chains intact."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import requests

from tests.functional import postgres
from tests.functional.deployment import SERVICE, Deployment, hook_request
from tests.functional.ledger_samples import BOTH

CALLERS = 4


def deployment(backend: str, folder: Path) -> Deployment:
    options = {"CDS_WORKERS": "2"}
    if backend == "postgresql":
        options["CDS_DATABASE_URL"] = postgres.server().new_database()
    site = Deployment(folder, options)
    site.add("north")
    return site


class Callers:
    """Clients that call until the service is gone, and note what they saw."""

    def __init__(self, site: Deployment) -> None:
        self._site = site
        self.sent: list[str] = []
        self.acknowledged: list[str] = []
        self.other: list[str] = []
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        with requests.Session() as session:
            while True:
                body = hook_request()
                self.sent.append(body["hookInstance"])
                headers = self._site.headers("north", SERVICE)
                try:
                    answer = session.post(self._site.url + SERVICE, json=body, headers=headers, timeout=30)
                except requests.RequestException:
                    return
                if answer.status_code == 200 and answer.json()["cards"]:
                    self.acknowledged.append(body["hookInstance"])
                else:
                    self.other.append(f"{answer.status_code} {answer.text[:200]}")

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def drill(backend: str, folder: Path, rounds: int) -> None:
    site = deployment(backend, folder)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    sent: list[str] = []
    acknowledged: list[str] = []
    try:
        for _ in range(rounds):
            site.start()
            callers = Callers(site)
            site.wait_until(lambda callers=callers: len(callers.acknowledged) >= 2)
            time.sleep(dice.uniform(0.0, 0.5))
            site.kill_group()
            callers.join()
            assert callers.other == []
            sent += callers.sent
            acknowledged += callers.acknowledged
    finally:
        if site.process is not None and site.process.poll() is None:
            site.kill_group()
    check(site, sent, acknowledged, rounds)


def check(site: Deployment, sent: list[str], acknowledged: list[str], rounds: int) -> None:
    with site.ledger() as ledger:
        stored = Counter(document["hookInstance"] for document in ledger.records())
        report = ledger.verify()
    assert {i: stored[i] for i in acknowledged if stored[i] != 1} == {}
    assert {i: n for i, n in stored.items() if n != 1} == {}
    assert set(stored) <= set(sent)
    # At most the calls under way when it was killed were recorded without the client's seeing the answer.
    assert len(stored) - len(acknowledged) <= CALLERS * rounds
    assert (report.records, report.problems) == (stored.total(), ())


@pytest.mark.parametrize("backend", BOTH)
def test_five_kills_of_the_service_lose_nothing(backend: str, tmp_path: Path) -> None:
    drill(backend, tmp_path, 5)


@pytest.mark.verify
@pytest.mark.parametrize("backend", BOTH)
def test_a_hundred_kills_of_the_service_lose_nothing(backend: str, tmp_path: Path) -> None:
    drill(backend, tmp_path, 100)
