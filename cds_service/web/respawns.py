"""When workers that died are replaced: at once, or after a pause where one dies again and again."""

from __future__ import annotations

import time
from collections.abc import Callable


class Respawns:
    """The deaths of `count` workers. Seconds are those of `now`."""

    STEADY, FIRST_PAUSE, LONGEST_PAUSE, HOPELESS = 10.0, 0.5, 4.0, 60.0

    def __init__(self, count: int, now: Callable[[], float] = time.monotonic) -> None:
        self._count, self._now = count, now
        self._pauses: dict[int, float] = {}  # of workers that died young
        self._due: dict[int, float] = {}
        self._failing: dict[int, float] = {}  # since when no worker of this number has lived for long

    def died(self, index: int, age: float) -> None:
        """A worker has ended by itself at this age, or could not be started."""
        now = self._now()
        if age >= self.STEADY:
            self._pauses.pop(index, None)
            self._failing.pop(index, None)
        self._failing.setdefault(index, now)
        pause = self._pauses.get(index, 0.0)
        self._due[index] = now + pause
        self._pauses[index] = min(max(2 * pause, self.FIRST_PAUSE), self.LONGEST_PAUSE)

    def pause(self) -> float | None:
        """Seconds until the next one is due; None where none is."""
        return max(0.0, min(self._due.values()) - self._now()) if self._due else None

    def due(self) -> list[int]:
        """Those to be replaced now; each is told once."""
        now = self._now()
        found = [index for index, at in self._due.items() if at <= now]
        for index in found:
            del self._due[index]
        return found

    def hopeless(self) -> bool:
        """No worker is alive, and each has died again and again for a minute."""
        now = self._now()
        return len(self._due) == self._count and all(now - since > self.HOPELESS for since in self._failing.values())
