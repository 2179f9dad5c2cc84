"""How many calls are worked on at once: few, because Python computes one at a time, while many may wait.

A call waits outside its turn for its body, for FHIR servers and for a ledger that is slow, so that others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from cds_service.facts.client import Allowed, Fetched, Query
from cds_service.hooks.runtime import Fetching


class Held:
    """A turn that is taken, until the end of a `with` block."""

    def __init__(self, free: SimpleQueue[None]) -> None:
        self._free = free

    def __enter__(self) -> None:
        """Nothing: it is taken already."""

    def __exit__(self, *_: object) -> None:
        self._free.put(None)


class Turns:
    """At most `count` turns are taken at any time."""

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        self._held = Held(self._free)
        for _ in range(count):
            self._free.put(None)

    def take(self) -> Held:
        """Wait for a turn; it is given back at the end of the `with` block that this is for."""
        self._free.get()
        return self._held

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give one's turn back meanwhile."""
        self._free.put(None)
        try:
            yield
        finally:
            self._free.get()


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
