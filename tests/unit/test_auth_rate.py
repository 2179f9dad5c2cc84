"""The token bucket of each client."""

from __future__ import annotations

import threading

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


@pytest.mark.parametrize(("workers", "granted"), [(1, 8), (2, 4), (4, 2), (16, 1)])
def test_workers_share_the_limit(workers: int, granted: int) -> None:
    limiter = RateLimiter(now=Clock(), workers=workers)
    assert [limiter.allow(client(8)) for _ in range(20)].count(None) == granted


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
