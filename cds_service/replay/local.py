"""The local engine: work done in this process or in several, results always in the order of the work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Protocol, TypeVar

from cds_service.errors import Unfinished
from cds_service.replay.bulk import Piece, Sorted, sort
from cds_service.replay.judge import Desk, Result, Terms
from cds_service.replay.work import Work, do

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 2  # pieces of work that wait, beside those under way

_desk: Desk | None = None  # of a worker process


class Engine(Protocol):
    """Sorts exports and does work; results come in the order of what was given."""

    def sort(self, pieces: Iterable[Piece]) -> Iterator[Sorted]:
        """Sort pieces of exports."""

    def judge(self, pieces: Iterable[Work]) -> Iterator[Result]:
        """Do the work."""


class Here:
    """Everything in this process."""

    def __init__(self, terms: Terms) -> None:
        self.desk = Desk(terms)

    def sort(self, pieces: Iterable[Piece]) -> Iterator[Sorted]:
        """Sort pieces one by one."""
        return map(sort, pieces)

    def judge(self, pieces: Iterable[Work]) -> Iterator[Result]:
        """Do pieces one by one."""
        return (do(self.desk, piece) for piece in pieces)


class Processes:
    """Several processes; few pieces are on their way at a time, so memory stays flat."""

    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self._pool, self._window = pool, count + _AHEAD

    def sort(self, pieces: Iterable[Piece]) -> Iterator[Sorted]:
        """Sort pieces in all processes."""
        return self._ordered(sort, pieces)

    def judge(self, pieces: Iterable[Work]) -> Iterator[Result]:
        """Do pieces in all processes."""
        return self._ordered(_do, pieces)

    def _ordered(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(function, item))
                if len(waiting) >= self._window:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise Unfinished("a worker process ended, perhaps for want of memory.") from error


@contextmanager
def engine(terms: Terms, processes: int) -> Iterator[Engine]:
    """This process alone, or a pool that ends with the block."""
    if processes <= 1:
        yield Here(terms)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(terms,))
    try:
        yield Processes(pool, processes)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(terms: Terms) -> None:
    global _desk  # noqa: PLW0603
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _desk = Desk(terms)


def _end_with_parent() -> None:
    """A pool whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _do(piece: Work) -> Result:
    assert _desk is not None
    return do(_desk, piece)
