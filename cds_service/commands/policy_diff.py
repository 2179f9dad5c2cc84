"""`policy diff`: which determinations change between two rulebooks, and what changed them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from cds_service.commands.policy_explain import COLOURS
from cds_service.commands.policy_output import console, counted
from cds_service.determination.decide import OrderResult
from cds_service.determination.worked import verdict_of
from cds_service.policy.diff import Change, change, days_of
from cds_service.policy.rulebook import Rulebook


def changes_of(name: str, before: Iterable[OrderResult], after: Iterable[OrderResult]) -> list[Change]:
    """What one input gives under two rulebooks, where it differs."""
    old, new = {r.order.ref: r for r in before}, {r.order.ref: r for r in after}
    found = []
    for ref in dict.fromkeys((*old, *new)):
        results = [r for r in (old.get(ref), new.get(ref)) if r is not None]
        policies = dict.fromkeys(d.verdict.version.policy.id for r in results for d in r.determinations if d.verdict)
        code = next((c.code for r in results for c in r.order.codes), "")
        for policy in policies:
            pair = [verdict_of(policy, r[ref]) if ref in r else None for r in (old, new)]
            found.append(change(name, code, *pair))
    return [c for c in found if c is not None]


def versions_of(results: Iterable[OrderResult]) -> set[str]:
    """Keys of the versions that spoke."""
    spoken = {d.verdict.version.key for r in results for d in r.determinations if d.verdict}
    return spoken | {f.version.key for r in results for f in r.findings}


def silent(before: Rulebook, after: Rulebook, judged: set[str]) -> list[str]:
    """Of each version that is new and judged none of the inputs: that nothing was compared by it."""
    old = {v.key for v in before.versions}
    return [
        f"version {v.version.version} of {v.policy.id} judged nothing: no input is of its days ({days_of(v.version)}) "
        "and orders what it speaks to. --as-of DAY judges all inputs as of a day."
        for v in after.versions
        if v.key not in old | judged
    ]


def show_changes(changes: list[Change], compared: int) -> None:
    """Print changes, each with what caused it."""
    out = console()
    for c in changes:
        was, now = c.before or "not addressed", c.after or "not addressed"
        colour = COLOURS.get(now, "dim")
        out.print(Text.assemble((c.case, "bold"), f"  {c.code} ({c.order})  {c.policy}: {was} -> ", (now, colour)))
        for reason in c.reasons:
            out.print(Text(f"    {reason}"))
    out.print(Text(f"{counted(len(changes), 'determination')} changed, in {counted(compared, 'case')} compared."))
