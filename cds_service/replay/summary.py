"""The tables that a replay ends with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cds_service.replay.outcome import Outcome
from cds_service.replay.tally import Tally

LISTED = 20
_STYLES = {"not-supported": "red", "needs-information": "yellow", "supported": "green"}


def show(outcome: Outcome, compared: bool, out: Console) -> None:
    """Counts by policy, rule and outcome; what changed against the baseline; what was not replayed."""
    tally = outcome.tally
    out.print(f"{tally.events:,} events, {tally.orders:,} orders, {tally.determinations:,} determinations.")
    if tally.rows:
        out.print(_by_policy(tally))
    if compared:
        _show_changes(outcome, out)
    if outcome.unheard:
        out.print(_unheard(outcome))
    if tally.in_words:
        told = f"{tally.in_words:,} orders say only in words what is ordered, and were not checked."
        out.print(Text(f"{told} 'cds-service policy unmapped' names their codes.", style="yellow"))
    if tally.problems:
        told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(tally.problems.items()))
        out.print(Text(f"Not replayed: {told}.", style="yellow"))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold", justify="right" if name == "count" else "left")
    return table


def _add(table: Table, *cells: str | Text) -> None:
    """A row of plain text: what comes from a chart is neither markup nor control codes."""
    table.add_row(*(c if isinstance(c, Text) else Text(_printable(c)) for c in cells))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _outcome(text: str) -> Text:
    return Text(text or "-", style=_STYLES.get(text, ""))


def _by_policy(tally: Tally) -> Table:
    table = _table("Determinations", "policy", "rule", "role", "outcome", "count")
    for (policy, rule, role, outcome), count in sorted(tally.rows.items()):
        _add(table, policy or "(no coverage policy speaks)", rule or "-", role, _outcome(outcome), f"{count:,}")
    return table


def _show_changes(outcome: Outcome, out: Console) -> None:
    tally = outcome.tally
    if not tally.shifts:
        out.print("Nothing changes against the baseline.")
        return
    out.print(f"Against the baseline, {tally.changed_orders:,} orders change.")
    shifts = _table("Outcomes that change", "policy", "before", "after", "count")
    for (policy, before, after), count in sorted(tally.shifts.items(), key=lambda i: (-i[1], i[0])):
        _add(shifts, policy or "-", _outcome(before), _outcome(after), f"{count:,}")
    out.print(shifts)
    reasons = _table("By which criterion", "policy", "what made the difference", "count")
    for (policy, reason), count in sorted(tally.reasons.items(), key=lambda i: (-i[1], i[0]))[:LISTED]:
        _add(reasons, policy or "-", reason, f"{count:,}")
    out.print(reasons)
    out.print(_for_whom(outcome))


def _unheard(outcome: Outcome) -> Table:
    table = _table("Versions that differ from the baseline's and judged nothing", "policy", "version", "why")
    for silent in outcome.unheard:
        _add(table, silent.policy, silent.version, silent.why)
    return table


def _for_whom(outcome: Outcome) -> Table:
    listed = outcome.examples[:LISTED]
    more = sum(outcome.tally.shifts.values()) - len(listed)
    title = "For whom" + (f" (the first {len(listed)}; {more:,} more are in the changes beside --out)" if more else "")
    table = _table(title, "event", "order", "code", "policy", "before", "after", "criterion")
    for change in listed:
        _add(table, *cells(change))
    return table


def cells(change: dict[str, Any]) -> Iterator[str]:
    """A change as a row: event, order, code, policy, before, after, criterion."""
    for name in ("event", "order", "code", "policy", "before", "after"):
        yield str(change[name] or "-")
    yield "; ".join(change["reasons"])
