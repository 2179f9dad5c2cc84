"""Remembers what follows from the content alone, until the content changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from cds_service.policy.rulebook import Rulebook

T = TypeVar("T")


def per_revision(make: Callable[[Rulebook], T]) -> Callable[[Rulebook], T]:
    """`make`, called once per revision of the content; one thread makes it, others wait for it."""
    lock = threading.Lock()
    kept: dict[str, T] = {}

    @wraps(make)
    def remembered(rulebook: Rulebook) -> T:
        with lock:
            if rulebook.revision not in kept:
                kept.clear()
                kept[rulebook.revision] = make(rulebook)
            return kept[rulebook.revision]

    return remembered
