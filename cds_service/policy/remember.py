"""Remembers what follows from codes alone, up to a bound: the same codes come again and again."""

from __future__ import annotations

from typing import TypeVar

REMEMBERED = 4096
K = TypeVar("K")
T = TypeVar("T")


def remember(known: dict[K, T], key: K, value: T) -> T:
    """Keep what follows from codes alone: nothing of a patient, and no more than a few thousand entries."""
    if len(known) >= REMEMBERED:
        known.clear()
    known[key] = value
    return value
