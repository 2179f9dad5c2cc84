"""`policy diff`: which determinations change between two rulebooks, and what changed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rich.text import Text

from cds_service.commands.policy_explain import COLOURS
from cds_service.commands.policy_output import console, counted
from cds_service.determination.decision import Decision
from cds_service.determination.difference import Change, Said, change
from cds_service.determination.worked import determination_of
from cds_service.policy.content import PolicyFolder
from cds_service.policy.diff import days_of
from cds_service.policy.rulebook import Rulebook


class Judged(NamedTuple):
    """What one input comes to, and the policies that it was decided by."""

    decision: Decision
    folders: Mapping[str, PolicyFolder]

    def said(self, ref: str, policy: str) -> Said | None:
        """What one policy said of an order."""
        decided = next((d for d in self.decision.orders if d.order.ref == ref), None)
        found = determination_of(policy, decided) if decided else None
        return Said(found, self.folders[policy].version(found.version)) if found else None


def changes_of(name: str, before: Judged, after: Judged) -> list[Change]:
    """What one input gives under two rulebooks, where it differs."""
    every = (*before.decision.orders, *after.decision.orders)
    found = []
    for ref in dict.fromkeys(d.order.ref for d in every):
        both = [d for d in every if d.order.ref == ref]
        policies = dict.fromkeys(s.policy for d in both for s in d.spoken if s.policy)
        code = next((c.code for d in both for c in d.order.codes), "")
        found += [change(name, ref, code, before.said(ref, policy), after.said(ref, policy)) for policy in policies]
    return [c for c in found if c is not None]


def versions_of(decision: Decision) -> set[str]:
    """Keys of the versions that spoke."""
    spoken = {said.key for d in decision.orders for said in d.spoken}
    return spoken | {f.key for d in decision.orders for f in d.findings}


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
