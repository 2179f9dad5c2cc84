"""Threads of a worker beyond CDS_WAITING, so that calls that wait never keep it from saying so."""

from __future__ import annotations

RESERVE = 16
"""For probes and metrics, and to say that all places are taken."""
AT_ONCE = 64
"""May be held by bodies that nobody read and that are still coming; beyond, the connection is closed instead."""
