"""The trace of a verdict as a tree that a person reads: outcome, evidence, what is missing, citation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from cds_service.commands.policy_attributes import citation
from cds_service.commands.policy_requests import Worked
from cds_service.determination.decide import Determination, OrderResult
from cds_service.errors import NotFound
from cds_service.policy.evaluate import Verdict
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import ContentSource
from cds_service.policy.rulebook import Rulebook
from cds_service.policy.trace import Trace

SIGNS = {MET: ("✓", "green"), NOT_MET: ("✗", "red"), UNKNOWN: ("?", "yellow")}
COLOURS = {"supported": "green", "not-supported": "red", "needs-information": "yellow", "not-addressed": "dim"}
JOINED = {"all": "all of", "any": "any of", "not": "not", "at_least": "at least some of", "always": "always"}


def explain(results: Iterable[OrderResult], why_not: bool) -> list[RenderableType]:
    """One tree per order and policy that speaks to it; with `why_not`, only what stands between it and support."""
    trees: list[RenderableType] = []
    for result in results:
        spoken = [d for d in result.determinations if d.verdict is not None]
        if not spoken:
            trees.append(Text.assemble((_named(result), "bold"), ": no policy speaks to it."))
        for determination in spoken:
            trees.append(_tree(result, determination, why_not))
        trees += [
            Text.assemble((f"{_named(result)}: ", "bold"), (f"{f.kind} question: ", "magenta"), f.text)
            for f in result.findings
            if not why_not
        ]
    return trees


def _named(result: OrderResult) -> str:
    codes = " ".join(str(c) for c in result.order.codes) or "no code"
    return f"{result.order.ref} ({codes})"


def _tree(result: OrderResult, determination: Determination, why_not: bool) -> Tree:
    verdict = determination.verdict
    assert verdict is not None
    payer = f" for {determination.payer}" if determination.payer else ""
    head = Text.assemble((_named(result), "bold"), "  ", (verdict.outcome, f"bold {COLOURS[verdict.outcome]}"))
    head.append(f"\n{verdict.version.policy.short_title} {verdict.version.key} ({determination.role}{payer})", "dim")
    head.append(f"\n{verdict.item.item.label}: {verdict.because}")
    tree = Tree(head)
    for child in obstacles(verdict) if why_not else verdict.trace.children:
        _add(tree, child, verdict.version.version.sources)
    if why_not and verdict.outcome == "supported":
        tree.add(Text("nothing: this policy supports it", "green"))
    return tree


def obstacles(verdict: Verdict) -> list[Trace]:
    """The rules between this case and support, each cut down to the criteria that make it so.

    Rules that would not support it stand in the way unless they are not met; rules that would, unless they are met.
    """
    if verdict.outcome == "supported":
        return []
    outcomes = {r.id: r.outcome for r in verdict.item.item.rules}
    found: list[Trace] = []
    for trace in verdict.trace.children:
        if trace.op != "rule":
            continue
        good = outcomes[trace.id] == "supported"
        if (cut := _cut(trace, wanted=good)) is not None:
            found.append(cut)
    seen = {t.id for t in verdict.trace.children}
    found += [
        Trace(r.id, "rule", NOT_MET, f"{r.because} (a rule before it decided)", cites=tuple(r.cite))
        for r in verdict.item.item.rules
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


def result_json(result: OrderResult, why_not: bool) -> dict[str, Any]:
    """What one order gets, as plain data; with `why_not`, only what stands between it and support."""
    return {
        "order": result.order.ref,
        "outcome": result.outcome,
        "policies": [
            {
                "policy": d.verdict.version.policy.id,
                "version": d.verdict.version.version.version,
                "role": d.role,
                "outcome": d.outcome,
                "trace": [t.to_json() for t in (obstacles(d.verdict) if why_not else d.verdict.trace.children)],
            }
            for d in result.determinations
            if d.verdict
        ],
    }
