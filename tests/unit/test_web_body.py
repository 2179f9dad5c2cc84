"""Reading a body: few questions to a client that sends it, an early end for one that drips it."""

from __future__ import annotations

import pytest

from cds_service.errors import TooLarge
from cds_service.web import body
from cds_service.web.body import Timeout, _read


class Wire:
    """A body of which `burst` bytes come at once and the rest at a rate, on a clock of its own."""

    def __init__(self, data: bytes, rate: float, burst: int = 0) -> None:
        self.data, self.rate, self.burst = data, rate, burst
        self.now, self.read_so_far = 0.0, 0
        self.reads = 0

    def monotonic(self) -> float:
        return self.now

    def read(self, size: int) -> bytes:
        """As granian does it: only when all that was asked for is there."""
        chunk = self.data[self.read_so_far : self.read_so_far + size]
        self.read_so_far += len(chunk)
        self.reads += 1
        self.now = max(self.now, (self.read_so_far - self.burst) / self.rate)
        return chunk


def read(wire: Wire, monkeypatch: pytest.MonkeyPatch, length: int | None, limit: int = 1 << 20) -> bytes:
    monkeypatch.setattr(body, "time", wire)
    return _read(wire, length, limit, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "reads"), [(0, 0), (1, 1), (16, 1), (17, 2), (20_000, 7), (1 << 20, 9)])
def test_a_body_that_is_there_takes_few_reads(size: int, reads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(b"x" * size, 1e12)
    assert read(wire, monkeypatch, size) == wire.data
    assert wire.reads == reads


@pytest.mark.parametrize("rate", [20.0, 100.0, 10_000.0])
def test_one_that_drips_is_found_out_within_four_times_the_deadline(
    rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(b"x" * (1 << 20), rate)
    with pytest.raises(Timeout):
        read(wire, monkeypatch, 1 << 20)
    assert 1.0 < wire.now <= 4.0


def test_what_came_at_once_buys_no_more_than_three_times_as_much_at_a_drip(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(b"x" * (1 << 20), 10.0, burst=16)
    with pytest.raises(Timeout):
        read(wire, monkeypatch, 1 << 20)
    assert wire.read_so_far == 4 * 16


def test_what_ends_early_is_handed_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(Wire(b"x" * 100, 1e6), monkeypatch, 200) == b"x" * 100


def test_no_more_than_the_limit_is_kept_of_a_body_of_unknown_length(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(b"x" * 5000, 1e6)
    with pytest.raises(TooLarge):
        read(wire, monkeypatch, None, limit=1000)
    assert wire.read_so_far <= 4000
