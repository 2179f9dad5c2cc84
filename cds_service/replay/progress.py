"""How far a replay is: a bar with rate and remaining time on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cds_service.replay.problems import Problem

EVERY = 10.0
SHOWN = 200  # problems told one by one


class Watch:
    """Tells of progress and problems on a console that is not the output's."""

    def __init__(self, console: Console, total: int, bar: Progress | None) -> None:
        self._console, self._total, self._bar = console, max(total, 1), bar
        self._task = bar.add_task("orders", total=self._total, note="") if bar else None
        self._began = self._told = monotonic()
        self._done = self._orders = self._shown = 0

    def sorting(self, done: int, of: int) -> None:
        """An export is being sorted by patient."""
        self._tell(f"sorting by patient: {done} of {of}")

    def advance(self, weight: int, orders: int) -> None:
        """Work done: bytes of input, and orders judged."""
        self._done = min(self._done + weight, self._total)
        self._orders += orders
        seconds = monotonic() - self._began
        rate = self._orders / seconds if seconds > 0 else 0.0
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, note=f"{self._orders:,} orders, {rate:,.0f}/s")
            return
        left = seconds * (self._total - self._done) / self._done if self._done else 0.0
        self._tell(f"{self._orders:,} orders, {rate:,.0f}/s, {self._done / self._total:.0%}, {_clock(left)} left")

    def problems(self, found: list[Problem], more: int = 0) -> None:
        """Tell of what was not replayed, and that there is `more`; after many, only how to learn of the rest."""
        for problem in found[: max(0, SHOWN - self._shown)]:
            self._console.print(str(problem), markup=False, emoji=False, highlight=False, soft_wrap=True)
        if self._shown < SHOWN <= self._shown + len(found) + more:
            self._console.print("Further problems are counted, not shown.")
        self._shown += len(found) + more

    def _tell(self, text: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, note=text)
        elif monotonic() - self._told >= EVERY:
            self._told = monotonic()
            self._console.print(text, highlight=False)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


@contextmanager
def watching(console: Console, total: int) -> Iterator[Watch]:
    """A watch over `total` bytes of input."""
    if not console.is_terminal:
        yield Watch(console, total, None)
        return
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield Watch(console, total, bar)
