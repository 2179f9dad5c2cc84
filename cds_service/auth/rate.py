"""Rate limit per client: a token bucket."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cds_service.auth.clients import Client


class RateLimiter:
    """One bucket per client id, of `rate_limit_per_minute` calls, refilled evenly. Thread-safe.

    Buckets live in the process: with n workers give `workers=n`, and each worker grants its share.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic, workers: int = 1) -> None:
        self._now, self._workers = now, workers
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def allow(self, client: Client) -> float | None:
        """None if the call is within the limit, else the seconds to wait (for Retry-After)."""
        if client.rate_limit_per_minute is None:
            return None
        capacity = max(1.0, client.rate_limit_per_minute / self._workers)
        per_second = client.rate_limit_per_minute / self._workers / 60
        with self._lock:
            now = self._now()
            level, since = self._buckets.get(client.id, (capacity, now))
            level = min(capacity, level + (now - since) * per_second)
            granted = level >= 1
            self._buckets[client.id] = (level - 1 if granted else level, now)
        return None if granted else (1 - level) / per_second
