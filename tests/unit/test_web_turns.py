"""Turns: never more than so many at once, in the order of asking, given back whatever happens."""

from __future__ import annotations

import threading
import time

import pytest

from cds_service.web.turns import Turns

SECONDS = 10.0


class Line:
    """Threads that ask for a turn one after the other, and hold it until they are told."""

    def __init__(self, turns: Turns, count: int) -> None:
        self.turns = turns
        self.served: list[int] = []
        self.done = [threading.Event() for _ in range(count)]
        self.threads = [threading.Thread(target=self._call, args=(n,)) for n in range(count)]
        for number, thread in enumerate(self.threads):
            thread.start()
            wait(lambda number=number: number in self.served or len(turns._waiting) == number + 1 - len(self.served))

    def _call(self, number: int) -> None:
        with self.turns.take():
            self.served.append(number)
            assert self.done[number].wait(SECONDS)

    def end(self, number: int) -> None:
        self.done[number].set()
        self.threads[number].join(SECONDS)


def wait(holds) -> None:  # type: ignore[no-untyped-def]
    until = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_who_waits_longest_comes_next_and_no_more_than_so_many_at_once() -> None:
    line = Line(Turns(2), 5)
    assert sorted(line.served) == [0, 1]
    for number in (1, 0, 2, 3):
        before = len(line.served)
        line.end(number)
        if before < 5:
            wait(lambda before=before: len(line.served) == before + 1)
            assert line.served[-1] == before
    line.end(4)
    assert sorted(line.served) == [0, 1, 2, 3, 4]
    assert line.turns._free == 2


def test_a_turn_comes_back_from_a_call_that_fails() -> None:
    turns = Turns(1)
    with pytest.raises(ZeroDivisionError), turns.take():
        raise ZeroDivisionError
    with turns.take():
        assert turns._free == 0
    assert turns._free == 1


def test_a_turn_that_is_lent_is_another_ones_meanwhile() -> None:
    turns = Turns(1)
    with turns.take():
        with turns.lent():
            line = Line(turns, 2)
            assert line.served == [0]
            threading.Timer(0.05, line.end, (0,)).start()
            threading.Timer(0.1, line.end, (1,)).start()
        assert line.served == [0, 1]  # it asked again, and waited for those before it
        assert turns._free == 0
    assert turns._free == 1
