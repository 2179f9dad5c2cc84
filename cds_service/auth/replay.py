"""Each token counts once: the contract, and a guard in memory for one process."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import Protocol


class ReplayGuard(Protocol):
    """Remembers used tokens until they have expired."""

    def claim(self, issuer: str, jti: str, expires: int) -> bool:
        """True the first time this issuer's `jti` is claimed; may forget it after `expires` (Unix time)."""


class MemoryReplay:
    """ReplayGuard of one process, for `client check-token` and tests: it forgets at restart."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._used: set[tuple[str, str]] = set()
        self._by_expiry: list[tuple[int, str, str]] = []

    def claim(self, issuer: str, jti: str, expires: int) -> bool:
        """See ReplayGuard."""
        with self._lock:
            while self._by_expiry and self._by_expiry[0][0] < self._now():
                _, *old = heapq.heappop(self._by_expiry)
                self._used.discard((old[0], old[1]))
            if (issuer, jti) in self._used:
                return False
            self._used.add((issuer, jti))
            heapq.heappush(self._by_expiry, (expires, issuer, jti))
            return True
