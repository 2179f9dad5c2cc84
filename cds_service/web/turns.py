"""How many calls are worked on at once: few, because Python computes one at a time, while many may wait.

A call waits outside its turn for its body, for FHIR servers and for a ledger that is slow, so that others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from cds_service.facts.client import Allowed, Fetched, Query
from cds_service.hooks.runtime import Fetching


class Turns:
    """At most `count` turns are taken at any time; who waits longest gets the next one."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[Lock] = deque()
        self._lock = Lock()

    def take(self) -> Turns:
        """Wait for a turn; it is given back at the end of the `with` block that this is for."""
        with self._lock:
            if self._free:
                self._free -= 1
                return self
            mine = Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()  # until the turn is handed over
        return self

    def give(self) -> None:
        """Hand a turn over to who waits longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

    def __enter__(self) -> None:
        """Nothing: the turn is taken already."""

    def __exit__(self, *_: object) -> None:
        self.give()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give one's turn back meanwhile."""
        self.give()
        try:
            yield
        finally:
            self.take()


class LentFetching:
    """A FHIR client whose callers lend out their turn while they wait for the server."""

    def __init__(self, fhir: Fetching, turns: Turns) -> None:
        self._fhir, self._turns = fhir, turns

    def fetch(
        self, base: str, token: str | None, queries: Sequence[Query], *, allowed: Allowed, deadline: float | None = None
    ) -> dict[str, Fetched]:
        """See `facts.client.FhirClient.fetch`."""
        with self._turns.lent():
            return self._fhir.fetch(base, token, queries, allowed=allowed, deadline=deadline)
