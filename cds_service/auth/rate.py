"""Rate limit per client: a token bucket, which all workers of an instance draw from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cds_service.auth.clients import Client

_BUCKET = struct.Struct("dd")  # calls that are left, and since when


class RateLimiter:
    """One bucket per client id, of `rate_limit_per_minute` calls, refilled evenly. Safe for threads and processes.

    With a `folder`, processes that name the same one share the buckets: a connection stays with one worker, so a share
    for each worker would be less than the limit to a client with one connection. `now` must be the same clock in all.
    """

    def __init__(self, folder: Path | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._folder = now, folder
        self._lock = threading.Lock()
        self._buckets: dict[str, _Here | _Shared] = {}

    def allow(self, client: Client) -> float | None:
        """None if the call is within the limit, else the seconds to wait (for Retry-After)."""
        limit = client.rate_limit_per_minute
        if limit is None:
            return None
        with self._lock:
            bucket = self._buckets.get(client.id) or self._buckets.setdefault(client.id, self._bucket(client.id))
            with bucket.locked():
                now = self._now()
                level, since = bucket.read() or (float(limit), now)
                level = min(limit, level + max(0.0, now - since) * limit / 60)
                granted = level >= 1
                bucket.write(level - 1 if granted else level, now)
        return None if granted else (1 - level) * 60 / limit

    def _bucket(self, client: str) -> _Here | _Shared:
        if self._folder is None:
            return _Here()
        return _Shared(self._folder / hashlib.sha256(client.encode()).hexdigest()[:32])


class _Here:
    """A bucket of this process alone."""

    _held: tuple[float, float] | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        yield

    def read(self) -> tuple[float, float] | None:
        return self._held

    def write(self, level: float, since: float) -> None:
        self._held = level, since


class _Shared:
    """A bucket in a small file that stays open; a process that dies lets go of its lock."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def locked(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def read(self) -> tuple[float, float] | None:
        held = os.pread(self._file, _BUCKET.size, 0)
        return _BUCKET.unpack(held) if len(held) == _BUCKET.size else None

    def write(self, level: float, since: float) -> None:
        os.pwrite(self._file, _BUCKET.pack(level, since), 0)

    def __del__(self) -> None:
        os.close(self._file)
