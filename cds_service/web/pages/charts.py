"""Charts as inline SVG, drawn on the server: a title and description for screen readers, colours from the sheet."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log10
from typing import NamedTuple

from markupsafe import Markup

WIDE, HALF, HEIGHT = 960, 620, 230
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 12, 30


class Series(NamedTuple):
    """One colour of a stacked chart; `tone` is a class of the sheet (c1 to c4)."""

    name: str
    tone: str
    values: Sequence[int]


def columns(name: str, title: str, labels: Sequence[str], series: Sequence[Series], width: int = WIDE) -> Markup:
    """Stacked columns over time; `labels` are under the columns, thinned out where they would touch."""
    totals = [sum(s.values[i] for s in series) for i in range(len(labels))]
    top = nice(max(totals, default=0))
    inner_w, inner_h = width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    step = inner_w / max(len(labels), 1)
    parts = [_grid(top, width, inner_h), _labels(labels, step)]
    for i in range(len(labels)):
        base = 0
        for s in series:
            value = s.values[i]
            if value:
                y = TOP + inner_h * (1 - (base + value) / top)
                parts.append(
                    _column(LEFT + i * step, y, step, inner_h * value / top, s.tone, f"{labels[i]}: {s.name} {value}")
                )
                base += value
    described = (
        f"{sum(totals)} in all, at most {max(totals, default=0)} in one column. The table below has every number."
    )
    return _svg(name, title, described, width, Markup("").join(parts))


def _svg(name: str, title: str, description: str, width: int, inside: Markup) -> Markup:
    return Markup(
        '<svg class="chart-svg w{w}" role="img" viewBox="0 0 {w} {h}" aria-labelledby="{n}-title {n}-desc">'
        '<title id="{n}-title">{t}</title><desc id="{n}-desc">{d}</desc>{i}</svg>'
    ).format(w=width, h=HEIGHT, n=name, t=title, d=description, i=inside)


def _column(x: float, y: float, step: float, height: float, tone: str, hint: str) -> Markup:
    gap = min(step * 0.22, 6)
    return Markup(
        '<rect class="{c}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="1.5"><title>{t}</title></rect>'
    ).format(c=tone, x=x + gap / 2, y=y, w=max(step - gap, 1), h=max(height, 0.5), t=hint)


def _grid(top: int, width: int, inner_h: float) -> Markup:
    lines = Markup("")
    for fraction in (0, 0.5, 1):
        y = TOP + inner_h * (1 - fraction)
        lines += Markup(
            '<line class="grid" x1="{x1}" x2="{x2}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="axis" x="{x}" y="{t:.1f}" text-anchor="end">{v}</text>'
        ).format(x1=LEFT, x2=width - RIGHT, y=y, x=LEFT - 8, t=y + 4, v=f"{top * fraction:g}")
    return lines


def _labels(labels: Sequence[str], step: float) -> Markup:
    every = max(1, ceil(64 / step)) if step else 1
    shown = Markup("")
    for i in range(0, len(labels), every):
        x = LEFT + (i + 0.5) * step
        shown += Markup('<text class="axis" x="{x:.1f}" y="{y}" text-anchor="middle">{t}</text>').format(
            x=x, y=HEIGHT - 8, t=labels[i]
        )
    return shown


def bar(parts: Sequence[tuple[str, float]], whole: float) -> Markup:
    """One stacked bar beside its numbers in a table; nothing for a screen reader, which has the numbers."""
    drawn, x = Markup(""), 0.0
    for tone, value in parts:
        width = 200 * value / whole if whole else 0
        drawn += Markup('<rect class="{c}" x="{x:.1f}" width="{w:.1f}" height="12"/>').format(c=tone, x=x, w=width)
        x += width
    return Markup(
        '<svg class="bar-svg" viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rest" width="200" height="12"/>{d}</svg>'
    ).format(d=drawn)


def nice(value: int) -> int:
    """The smallest round number that is not below the value, and that can be halved."""
    if value <= 4:
        return 4
    power = int(10 ** int(log10(value)))
    return next(int(power * m) for m in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if power * m >= value)
