"""The trace of a verdict as a tree that a person reads: outcome, evidence, what is missing, citation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from cds_service.commands.policy_attributes import citation
from cds_service.commands.policy_requests import Worked
from cds_service.determination.decision import Decision, Determination, OrderDecision
from cds_service.errors import NotFound
from cds_service.policy.content import PolicyFolder
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import ContentSource, Item
from cds_service.policy.rulebook import Rulebook
from cds_service.policy.trace import Trace

SIGNS = {MET: ("✓", "green"), NOT_MET: ("✗", "red"), UNKNOWN: ("?", "yellow")}
COLOURS = {"supported": "green", "not-supported": "red", "needs-information": "yellow", "not-addressed": "dim"}
JOINED = {"all": "all of", "any": "any of", "not": "not", "at_least": "at least some of", "always": "always"}


def explain(decision: Decision, folders: Mapping[str, PolicyFolder], why_not: bool) -> list[RenderableType]:
    """One tree per order and policy that speaks to it; with `why_not`, only what stands between it and support."""
    trees: list[RenderableType] = []
    for decided in decision.orders:
        if not decided.spoken:
            trees.append(Text.assemble((_named(decided), "bold"), ": no policy speaks to it."))
        trees += [_tree(decided, said, folders[said.policy or ""], why_not) for said in decided.spoken]
        trees += [
            Text.assemble((f"{_named(decided)}: ", "bold"), (f"{f.kind} question: ", "magenta"), f.text)
            for f in decided.findings
            if not why_not
        ]
    return trees


def _named(decided: OrderDecision) -> str:
    codes = " ".join(str(c) for c in decided.order.codes) or "no code"
    return f"{decided.order.ref} ({codes})"


def _tree(decided: OrderDecision, said: Determination, folder: PolicyFolder, why_not: bool) -> Tree:
    version = folder.version(said.version)
    item = version.orders[said.item or ""]
    payer = f" for {said.payer}" if said.payer else ""
    head = Text.assemble((_named(decided), "bold"), "  ", (said.outcome, f"bold {COLOURS[said.outcome]}"))
    head.append(f"\n{folder.policy.short_title} {said.key} ({said.role}{payer})", "dim")
    head.append(f"\n{item.label}: {said.because}")
    tree = Tree(head)
    for child in obstacles(said, item) if why_not else said.rules:
        _add(tree, child, version.sources)
    if why_not and said.outcome == "supported":
        tree.add(Text("nothing: this policy supports it", "green"))
    return tree


def obstacles(said: Determination, item: Item) -> list[Trace]:
    """The rules between this case and support, each cut down to the criteria that make it so.

    Rules that would not support it stand in the way unless they are not met; rules that would, unless they are met.
    """
    if said.outcome == "supported":
        return []
    outcomes = {r.id: r.outcome for r in item.rules}
    found: list[Trace] = []
    for trace in said.rules:
        if trace.op != "rule":
            continue
        good = outcomes[trace.id] == "supported"
        if (cut := _cut(trace, wanted=good)) is not None:
            found.append(cut)
    seen = {t.id for t in said.rules}
    found += [
        Trace(r.id, "rule", NOT_MET, f"{r.because} (a rule before it decided)", cites=tuple(r.cite))
        for r in item.rules
        if r.id not in seen and r.outcome == "supported"
    ]
    return found


def _cut(trace: Trace, wanted: bool) -> Trace | None:
    """A trace without what is as wanted already; None when nothing is left."""
    as_wanted: Outcome = MET if wanted else NOT_MET
    if trace.outcome is as_wanted:
        return None
    inner = not wanted if trace.op == "not" else wanted
    children = tuple(c for child in trace.children if (c := _cut(child, inner)) is not None)
    return Trace(trace.id, trace.op, trace.outcome, trace.text, trace.evidence, trace.missing, trace.cites, children)


def _add(tree: Tree, trace: Trace, sources: dict[str, ContentSource]) -> None:
    branch = tree.add(_line(trace))
    for evidence in trace.evidence:
        words = " ".join(w for w in (evidence.text, evidence.code) if w)
        branch.add(Text.assemble((evidence.ref, "cyan"), f"  {words}"))
    for missing in trace.missing:
        branch.add(
            Text.assemble(("wanted: ", "yellow"), f"{missing.text} ", (f"({missing.source}: {missing.state})", "dim"))
        )
    for cite in trace.cites:
        branch.add(Text(cited(cite, sources), "dim"))
    for child in trace.children:
        _add(branch, child, sources)


def _line(trace: Trace) -> Text:
    sign, colour = SIGNS[trace.outcome]
    if trace.op in JOINED:
        return Text.assemble((f"{sign} ", colour), (JOINED[trace.op], "italic"))
    kind = {"rule": "rule ", "otherwise": ""}.get(trace.op, "")
    return Text.assemble((f"{sign} ", colour), (f"{kind}{trace.id}", colour), f": {trace.text}" if trace.text else "")


def cited(cite: str, sources: dict[str, ContentSource]) -> str:
    """A citation in one line: title, section, year or date, address, how it was read."""
    source = sources.get(cite)
    if source is None:
        return cite
    return f"source: {citation(source)}, {source.confidence}"


def worked_case(name: str, rulebook: Rulebook) -> Worked:
    """A worked case by `publisher/policy:case`. Raises NotFound."""
    policy_id, _, case_id = name.partition(":")
    folder = rulebook.folders.get(policy_id)
    if folder is None:
        raise NotFound(f"there is no policy '{policy_id}'. Run 'policy list'.")
    found = next((c for c in (folder.cases.cases if folder.cases else ()) if c.id == case_id), None)
    if found is None:
        raise NotFound(f"'{policy_id}' has no worked case '{case_id}'.")
    return Worked(name, folder, found)


def decided_json(decided: OrderDecision, folders: Mapping[str, PolicyFolder], why_not: bool) -> dict[str, Any]:
    """What one order gets, as plain data; with `why_not`, only what stands between it and support."""
    told = []
    for said in decided.spoken:
        item = folders[said.policy or ""].version(said.version).orders[said.item or ""]
        rules = obstacles(said, item) if why_not else said.rules
        named = {"policy": said.policy, "version": said.version, "role": said.role, "outcome": said.outcome}
        told.append({**named, "trace": [rule.to_json() for rule in rules]})
    return {"order": decided.order.ref, "outcome": decided.outcome, "policies": told}
