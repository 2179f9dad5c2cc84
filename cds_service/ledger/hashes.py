"""Hashes that keep the interpreter's lock.

hashlib and hmac give it up for what they think takes long. Under load another call then takes it, and keeps it until
it waits for something itself; waking it up takes longer than hashing a document.
"""

from __future__ import annotations

import hashlib
import hmac

_PIECE = 2047  # bytes: hashlib gives the lock up from 2048 on


def digest(text: str) -> str:
    """SHA-256 (hex) of a text."""
    data = memoryview(text.encode("utf-8", "surrogatepass"))
    hashed = hashlib.sha256()
    for start in range(0, len(data), _PIECE):
        hashed.update(data[start : start + _PIECE])
    return hashed.hexdigest()


class Keyed:
    """HMAC-SHA256 (hex) under one key."""

    def __init__(self, key: bytes) -> None:
        self._start = hmac.new(key, digestmod="sha256")

    def digest(self, data: bytes) -> str:
        """Of short data: two kilobytes at most."""
        hashed = self._start.copy()
        hashed.update(data)
        return hashed.hexdigest()
