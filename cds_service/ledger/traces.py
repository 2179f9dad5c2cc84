"""Traces as a record keeps them: what determinations share is written once, and a number stands for it.

- `rules`: the trace of a rule, or of what holds beside the rules, as nested nodes of
  [id, operator, outcome, children, evidence, missing] without empty ends: evidence as [reference, text, code], missing
  facts as [text, source, state].
- `roots`: one for each determination, [item, outcome, places in `rules`].

The policy's own words are left out: its version and the content revision say them.
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
    rules = [_node(*node) for node in kept["rules"]]
    roots = [_root(item, outcome, [rules[n] for n in places]) for item, outcome, places in kept["roots"]]
    entries = [_entry(entry, roots) for entry in document["determinations"]]
    return {k: v for k, v in document.items() if k != "traces"} | {"determinations": entries}


def _node(
    id_: str,
    op: str,
    outcome: str,
    children: Sequence[Any] = (),
    evidence: Sequence[Any] = (),
    missing: Sequence[Any] = (),
) -> Json:
    node: Json = {"id": id_, "op": op, "outcome": outcome}
    if evidence:
        node["evidence"] = [{k: v for k, v in zip(_EVIDENCE, e, strict=True) if v} for e in evidence]
    if missing:
        node["missing"] = [dict(zip(_MISSING, m, strict=True)) for m in missing]
    if children:
        node["children"] = [_node(*child) for child in children]
    return node


def _root(item: str, outcome: str, children: list[Json]) -> Json:
    return {"id": item, "op": "rules", "outcome": outcome} | ({"children": children} if children else {})


def _entry(entry: Json, roots: list[Json]) -> Json:
    """A determination: its trace is [which of the roots, or null; what the policy's part says beside it]."""
    root, said = entry["trace"]
    return {**entry, "trace": {**(roots[root] if root is not None else {}), **said}}
