"""The token bucket of each client."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cds_service.auth.clients import Client
from cds_service.auth.rate import RateLimiter


def client(limit: int | None, name: str = "ehr") -> Client:
    return Client(id=name, name=name, issuer=name, jku_allowed=["https://e.example.org"], rate_limit_per_minute=limit)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_no_limit() -> None:
    limiter = RateLimiter(now=Clock())
    assert {limiter.allow(client(None)) for _ in range(10_000)} == {None}


def test_burst_then_wait_then_even_refill() -> None:
    clock = Clock()
    limiter, ehr = RateLimiter(now=clock), client(6)
    assert [limiter.allow(ehr) for _ in range(6)] == [None] * 6
    assert limiter.allow(ehr) == pytest.approx(10)
    clock.time += 4
    assert limiter.allow(ehr) == pytest.approx(6)
    clock.time += 6
    assert limiter.allow(ehr) is None
    assert limiter.allow(ehr) == pytest.approx(10)


def test_refused_calls_cost_nothing_and_idle_time_gives_no_more_than_the_limit() -> None:
    clock = Clock()
    limiter, ehr = RateLimiter(now=clock), client(2)
    granted = [limiter.allow(ehr) for _ in range(100)].count(None)
    clock.time += 3600
    assert (granted, [limiter.allow(ehr) for _ in range(100)].count(None)) == (2, 2)


def test_clients_do_not_share() -> None:
    limiter = RateLimiter(now=Clock())
    assert limiter.allow(client(1, "a")) is None
    assert limiter.allow(client(1, "b")) is None
    assert limiter.allow(client(1, "a")) == pytest.approx(60)


def test_those_that_share_a_folder_share_the_limit(tmp_path: Path) -> None:
    clock = Clock()
    several, ehr = [RateLimiter(tmp_path, now=clock) for _ in range(4)], client(8)
    assert [limiter.allow(ehr) for limiter in several * 3].count(None) == 8
    clock.time += 15
    assert [RateLimiter(tmp_path, now=clock).allow(ehr) for _ in range(4)].count(None) == 2  # a worker that is new


def test_a_file_that_was_cut_off_is_a_full_bucket(tmp_path: Path) -> None:
    ehr = client(3)
    assert RateLimiter(tmp_path, now=Clock()).allow(ehr) is None
    [file] = tmp_path.iterdir()
    file.write_bytes(b"\0" * 5)
    limiter = RateLimiter(tmp_path, now=Clock())
    assert [limiter.allow(ehr) for _ in range(5)].count(None) == 3


def test_processes_get_exactly_the_limit(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib;"
        "from cds_service.auth.rate import RateLimiter; from cds_service.auth.clients import Client;"
        "c = Client(id='a', name='a', issuer='a', jku_allowed=['https://e.example.org'], rate_limit_per_minute=500);"
        "r = RateLimiter(pathlib.Path(sys.argv[1]), now=lambda: 1.0);"
        "print(sum(r.allow(c) is None for _ in range(400)))"
    )
    several = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in "abcd"
    ]
    assert sum(int(process.communicate(timeout=60)[0]) for process in several) == 500


def test_threads_get_exactly_the_limit() -> None:
    limiter, ehr, outcomes = RateLimiter(now=Clock()), client(500), []

    def call() -> None:
        outcomes.extend(limiter.allow(ehr) for _ in range(250))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(outcomes), outcomes.count(None)) == (2000, 500)
