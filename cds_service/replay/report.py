"""The report of a replay as one HTML file: inline charts, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cds_service.errors import ConfigurationError
from cds_service.replay.outcome import Outcome
from cds_service.replay.summary import cells
from cds_service.replay.tally import Tally

OUTCOMES = ("supported", "needs-information", "not-supported", "not-addressed")
_WIDTH = 560
_REASONS = 50


@dataclass(frozen=True)
class Segment:
    """One stretch of a bar, in pixels."""

    outcome: str
    x: float
    width: float
    count: int


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: its name, its stretches, its total."""

    name: str
    segments: tuple[Segment, ...]
    total: int


def bars(counts: Mapping[str, Mapping[str, int]]) -> list[Bar]:
    """Stacked bars to one scale, longest first; outcomes in their usual order."""
    longest = max((sum(c.values()) for c in counts.values()), default=0)
    found = []
    for name, by_outcome in sorted(counts.items(), key=lambda i: (-sum(i[1].values()), i[0])):
        x, segments = 0.0, []
        for outcome in OUTCOMES:
            width = by_outcome.get(outcome, 0) / longest * _WIDTH
            if width:
                segments.append(Segment(outcome, round(x, 2), round(width, 2), by_outcome[outcome]))
            x += width
        found.append(Bar(name, tuple(segments), sum(by_outcome.values())))
    return found


def _by_policy(tally: Tally) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for (policy, _, _, outcome), count in tally.rows.items():
        counts.setdefault(policy or "no coverage policy", Counter())[outcome] += count
    return counts


def _changed(tally: Tally) -> list[tuple[str, list[Bar]]]:
    """Per policy that changes: the orders it judges differently, as they were and as they are now."""
    counts: dict[str, dict[str, Counter[str]]] = {}
    for (policy, before, after), count in tally.shifts.items():
        pair = counts.setdefault(policy or "-", {"before": Counter(), "after": Counter()})
        pair["before"][before] += count
        pair["after"][after] += count
    return [(p, sorted(bars(c), key=lambda b: b.name == "after")) for p, c in sorted(counts.items())]


def _ranked(counts: Mapping[Any, int], most: int) -> Iterable[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda i: (-i[1], i[0]))[:most]


def render(outcome: Outcome, compared: bool, about: Mapping[str, str]) -> str:
    """The report. `about` is told at its top: inputs, policies, baseline."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    tally = outcome.tally
    return environment.get_template("report.html.j2").render(
        about=about,
        tally=tally,
        compared=compared,
        policies=bars(_by_policy(tally)),
        changed=_changed(tally),
        shifts=_ranked(tally.shifts, len(tally.shifts)),
        reasons=_ranked(tally.reasons, _REASONS),
        examples=[list(cells(e)) for e in outcome.examples],
        changes=sum(tally.shifts.values()),
        unheard=outcome.unheard,
        rows=sorted(tally.rows.items()),
        problems=outcome.problems,
        outcomes=OUTCOMES,
        width=_WIDTH,
    )


def write(path: Path, outcome: Outcome, compared: bool, about: Mapping[str, str]) -> None:
    """Write the report. Raises ConfigurationError where the file cannot be written."""
    try:
        path.write_text(render(outcome, compared, about), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error
