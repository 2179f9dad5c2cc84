"""The call under way: the state it began with, and what its line in the log and the metrics tell of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from flask import Request, g

from cds_service.web.control import State


@dataclass(slots=True)
class Call:
    """One call. What a caller wrote gets in only where `logs` and `metrics` know how to tell it."""

    state: State
    request: Request  # itself: flask's `request` looks it up anew at every use
    began: float = field(default_factory=time.perf_counter)
    endpoint: str = ""
    service: str = ""
    client: str | None = None
    hook_instance: object = None
    reason: str | None = None
    cards: int | None = None
    stages: dict[str, float] = field(default_factory=dict)


def call() -> Call:
    """The call under way in this thread."""
    found: Call = g.call
    return found
