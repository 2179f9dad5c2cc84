"""Traces as a record keeps them: each node written once, where it is first met; afterwards its number stands for it.

A node is [id, operator, outcome, children, evidence, missing]; a leaf may be [id, operator, outcome]. Nodes are
numbered as they are met, parents before children. Evidence is [reference, text, code], a missing fact
[text, source, state]. The policy's own words are left out: its version and the content revision say them.
"""

from __future__ import annotations

from typing import Any

import orjson

from cds_service.ledger.record import Json

_EVIDENCE = ("ref", "text", "code")
_MISSING = ("text", "source", "state")


def written(traces: list[Any]) -> bytes:
    """JSON of `policy.trace.Trace`s that may share nodes; shared ones are known by identity."""
    numbers: dict[int, int] = {}

    def row(node: Any) -> Any:
        number = numbers.get(id(node))
        if number is not None:
            return number
        numbers[id(node)] = len(numbers)
        children, evidence, missing = node.children, node.evidence, node.missing
        if evidence or missing:
            return node.id, node.op, node.outcome, children, [tuple(e) for e in evidence], [tuple(m) for m in missing]
        return (node.id, node.op, node.outcome, children) if children else (node.id, node.op, node.outcome)

    return orjson.dumps(traces, default=row)


def expanded(document: Json) -> Json:
    """The document with its traces nested, as `evaluate --json` prints them; one that has them so already as it is."""
    if "traces" not in document:
        return document
    nodes: list[Json] = []
    roots = [_node(row, nodes) for row in document["traces"]]
    entries = [_entry(entry, roots) for entry in document["determinations"]]
    return {k: v for k, v in document.items() if k != "traces"} | {"determinations": entries}


def _node(row: Any, nodes: list[Json]) -> Json:
    if isinstance(row, int):
        return nodes[row]
    id_, op, outcome, *more = row
    children, evidence, missing = [*more, (), (), ()][:3]
    node: Json = {"id": id_, "op": op, "outcome": outcome}
    nodes.append(node)
    if evidence:
        node["evidence"] = [{k: v for k, v in zip(_EVIDENCE, e, strict=True) if v} for e in evidence]
    if missing:
        node["missing"] = [dict(zip(_MISSING, m, strict=True)) for m in missing]
    if children:
        node["children"] = [_node(child, nodes) for child in children]
    return node


def _entry(entry: Json, roots: list[Json]) -> Json:
    """A determination: its trace is [which of the roots, or null; what the policy's part says beside it]."""
    root, said = entry["trace"]
    return {**entry, "trace": {**(roots[root] if root is not None else {}), **said}}
