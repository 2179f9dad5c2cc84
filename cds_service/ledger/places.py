"""Places in a document: the segments of a pointer, followed down its members and elements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

ANY_DEPTH = "**"


def members(node: Any, name: str) -> list[Any]:
    """Keys of the members or elements of a node that a segment of a pointer names; `*` names all."""
    if isinstance(node, dict):
        return list(node) if name == "*" else [name] if name in node else []
    if isinstance(node, list):
        if name == "*":
            return list(range(len(node)))
        return [int(name)] if name.isdecimal() and int(name) < len(node) else []
    return []


def change_at(node: Any, path: Sequence[str], change: Callable[[Any], Any]) -> None:
    """Put `change` of what stands at a path in its place; the segment `**` stands for any number of segments."""
    head, rest = path[0], path[1:]
    if head == ANY_DEPTH:
        change_at(node, rest, change)
        for key in members(node, "*"):
            change_at(node[key], path, change)
        return
    for key in members(node, head):
        if rest:
            change_at(node[key], rest, change)
        else:
            node[key] = change(node[key])


def change_texts(node: Any, change: Callable[[str], str]) -> Any:
    """A copy of a node with every text in it changed, but no name of a member."""
    if isinstance(node, str):
        return change(node)
    if isinstance(node, dict):
        return {name: change_texts(value, change) for name, value in node.items()}
    return [change_texts(value, change) for value in node] if isinstance(node, list) else node


def paths(*pointers: str) -> Iterable[tuple[str, ...]]:
    """The segments of pointers that are written without a slash in front."""
    return tuple(tuple(pointer.split("/")) for pointer in pointers)
