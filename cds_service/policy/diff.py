"""What a comparison of policies needs to know of them: days of a version, and nodes of a trace that join others."""

from __future__ import annotations

from cds_service.policy.model import Version

STRUCTURE = frozenset({"rules", "rule", "otherwise", "given", "all", "any", "not", "at_least", "always"})


def days_of(version: Version) -> str:
    """The days on which a version is in force."""
    start, end = version.effective.from_, version.effective.to
    return " ".join((f"from {start}" if start else "from the first", f"to {end}" if end else "on"))
