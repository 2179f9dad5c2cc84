"""Patterns of value sets that take no time to speak of on any text: a search must not go through endless ways.

Python's `re` tries one way after the other: `(\\w+\\s?)+x` has 2^n of them on n letters, and holds up every thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_MANY = 256  # a repeat that may go on for so long counts as one without an end
_parse: Any = re._parser.parse  # type: ignore[attr-defined]
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_CURE = "Write how often at most, such as {0,40}."


def repeats_fault(pattern: str) -> tuple[str, str] | None:
    """Text and cure for a valid pattern that some texts would take for ever to search; None if there are none."""
    for body in _endless(_parse(pattern)):
        if any(_wide(name, argument) for name, argument in body):
            return "a repeat without an end of what matches nearly anything.", _CURE
        if any(_varies(name, argument) for name, argument in _within(body)):
            return "a repeat without an end of what has several ways to match.", _CURE
    return None


def _parts(argument: Any) -> Iterator[Any]:
    """The expressions within one part of a parsed pattern."""
    if isinstance(argument, re._parser.SubPattern):  # type: ignore[attr-defined]
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _parts(part)


def _within(expression: Any) -> Iterator[tuple[str, Any]]:
    """Every part of an expression, at any depth."""
    for name, argument in expression:
        yield str(name), argument
        for part in _parts(argument):
            yield from _within(part)


def _endless(expression: Any) -> Iterator[Any]:
    """What is repeated without an end."""
    return (a[2] for name, a in _within(expression) if name in _REPEATS and a[1] >= _MANY)


def _wide(name: Any, argument: Any) -> bool:
    return str(name) in ("ANY", "NOT_LITERAL") or (str(name) == "IN" and str(argument[0][0]) == "NEGATE")


def _varies(name: str, argument: Any) -> bool:
    """May this match one text in several ways? Alternatives do not, if they are plain and none begins another."""
    if name in _REPEATS:
        return bool(argument[0] != argument[1])
    if name != "BRANCH":
        return False
    words = [_plain(option) for option in argument[1]]
    return any(
        one is None or other is None or other.startswith(one)
        for at, one in enumerate(words)
        for other in words[:at] + words[at + 1 :]
    )


def _plain(option: Any) -> str | None:
    return "".join(chr(a) for _, a in option).lower() if all(str(n) == "LITERAL" for n, _ in option) else None
