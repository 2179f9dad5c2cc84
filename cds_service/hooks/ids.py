"""Random UUIDs (RFC 9562, version 4), a batch of them from one request for randomness: a call needs half a dozen."""

from __future__ import annotations

import os

BATCH = 64
_pool: list[str] = []  # pop and extend are atomic: threads may share it
os.register_at_fork(after_in_child=_pool.clear)  # two processes must not give out the same ids


def new_id() -> str:
    """A UUID that nobody has had before."""
    try:
        return _pool.pop()
    except IndexError:
        digits = os.urandom(16 * BATCH).hex()
        first, *more = (_uuid(digits[at : at + 32]) for at in range(0, len(digits), 32))
        _pool.extend(more)
        return first


def _uuid(digits: str) -> str:
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
