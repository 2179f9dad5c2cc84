"""Traces as a record keeps them: what determinations share is written once, and a number stands for it.

- `decisions`: what the rules of an item found, [rules, outcome of "otherwise" or null]. A rule is [shape, found]: the
  shape is a tree of [id, operator, outcome, children], in which a number is a place in the list of what was found.
- `roots`: one for each verdict, [item, outcome, decision, the primary it is judged given, or null].

What was found is [id, operator, outcome, evidence, missing], for each criterion: evidence as [reference, text, code],
missing facts as [text, source, state]. The policy's own words are left out: its version and the content revision say
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cds_service.ledger.record import Json

_EVIDENCE = ("ref", "text", "code")
_MISSING = ("text", "source", "state")


def expanded(document: Json) -> Json:
    """The document with its traces nested, as `evaluate --json` prints them; one that has them so already as it is."""
    kept = document.get("traces")
    if kept is None:
        return document
    decisions = [_decision(rules, otherwise) for rules, otherwise in kept["decisions"]]
    roots = [_root(item, outcome, decisions[place], given) for item, outcome, place, given in kept["roots"]]
    entries = [_entry(entry, roots) for entry in document["determinations"]]
    return {k: v for k, v in document.items() if k != "traces"} | {"determinations": entries}


def _decision(rules: Sequence[Any], otherwise: str | None) -> list[Json]:
    nodes = [_node(shape, found) for shape, found in rules]
    return nodes if otherwise is None else [*nodes, {"id": "otherwise", "op": "otherwise", "outcome": otherwise}]


def _node(shape: Any, found: Sequence[Any]) -> Json:
    if isinstance(shape, int):
        return _leaf(*found[shape])
    id_, op, outcome, *below = shape
    node: Json = {"id": id_, "op": op, "outcome": outcome}
    if below:
        node["children"] = [_node(child, found) for child in below[0]]
    return node


def _leaf(id_: str, op: str, outcome: str, evidence: Sequence[Any], missing: Sequence[Any]) -> Json:
    node: Json = {"id": id_, "op": op, "outcome": outcome}
    if evidence:
        node["evidence"] = [{k: v for k, v in zip(_EVIDENCE, e, strict=True) if v} for e in evidence]
    if missing:
        node["missing"] = [dict(zip(_MISSING, m, strict=True)) for m in missing]
    return node


def _root(item: str, outcome: str, rules: list[Json], given: Sequence[Any] | None) -> Json:
    children = rules if given is None else [*rules, _leaf(*given)]
    return {"id": item, "op": "rules", "outcome": outcome} | ({"children": children} if children else {})


def _entry(entry: Json, roots: list[Json]) -> Json:
    """A determination: its trace is [which of the roots, or null; what the policy's part says beside it]."""
    root, said = entry["trace"]
    return {**entry, "trace": {**(roots[root] if root is not None else {}), **said}}
