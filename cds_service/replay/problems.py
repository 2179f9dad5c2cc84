"""What a replay could not use: by file and line, never with a value from a chart."""

from __future__ import annotations

from dataclasses import dataclass

KEPT = 1000  # problems kept for the end and the report


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that was not replayed. `kind`: `skipped` (not for replay), `faulty`, `refused`, or `internal`."""

    file: str
    line: int | None
    kind: str
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.kind}: {self.text}"


def no_orders(export: str) -> Problem:
    """What is said of an export from which no event can be made."""
    return Problem(export, None, "skipped", "an export that holds no orders")
