"""Cross-reference checks of value sets: named as their file, of members that can match, in no circle."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cds_service.errors import ContentError
from cds_service.policy.check_files import has_set
from cds_service.policy.check_patterns import repeats_fault
from cds_service.policy.content import Content
from cds_service.policy.model import ValueSet
from cds_service.policy.source import Document, Path
from cds_service.policy.spelling import spelling
from cds_service.policy.words import unknown


def value_sets(content: Content) -> Iterator[ContentError]:
    """Faults of every file of a value set."""
    for name, document in content.documents.items():
        if name.startswith("value_sets/"):
            yield from _value_set_file(name, content, document)


def _value_set_file(name: str, content: Content, document: Document) -> Iterator[ContentError]:
    stem = name.removeprefix("value_sets/").removesuffix(".yaml")
    value_set = content.value_sets.get(str(document.data.get("id", ""))) if isinstance(document.data, dict) else None
    if value_set is not None:
        yield from _value_set(value_set, stem, content, document)


def _value_set(value_set: ValueSet, stem: str, content: Content, document: Document) -> Iterator[ContentError]:
    if value_set.id != stem:
        yield document.error(("id",), f"the id '{value_set.id}' is not the file name '{stem}'.", "Make them equal.")
    words = value_set.terms or value_set.patterns or value_set.with_code
    if not (value_set.codes or value_set.prefixes or words or value_set.includes):
        yield document.error((), f"the value set '{value_set.id}' is empty.", "Add codes, prefixes, terms or includes.")
    for index, included in enumerate(value_set.includes):
        if not has_set(content, included):
            yield document.error(("includes", index), *unknown("value set", included, content.value_sets))
    yield from _patterns(document, ("patterns",), value_set.patterns)
    if value_set.with_code is not None:
        if not has_set(content, value_set.with_code.value_set):
            strange = unknown("value set", value_set.with_code.value_set, content.value_sets)
            yield document.error(("with_code", "value_set"), *strange)
        yield from _patterns(document, ("with_code", "patterns"), value_set.with_code.patterns)
    if value_set.id in _included(value_set, content):
        yield document.error(("includes",), f"the value set '{value_set.id}' includes itself.", "Break the circle.")
    seen: set[tuple[str, str]] = set()
    for index, code in enumerate(value_set.codes):
        if (code.system, code.code) in seen:
            yield document.error(("codes", index), f"the code {code.code} is here twice.", "Keep one of them.")
        seen.add((code.system, code.code))
        yield from spelling(document, ("codes", index, "code"), code.system, code.code)
    for index, prefix in enumerate(value_set.prefixes):
        yield from spelling(document, ("prefixes", index, "prefix"), prefix.system, prefix.prefix, start=True)


def _patterns(document: Document, path: Path, patterns: list[str]) -> Iterator[ContentError]:
    for index, pattern in enumerate(patterns):
        if fault := _pattern_fault(pattern):
            yield document.error((*path, index), *fault)


# Patterns of value sets become one expression: names and numbers of groups would mean the groups of another.
_GROUP_AGAIN = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[1-9]|\(\?\()")


def _pattern_fault(pattern: str) -> tuple[str, str] | None:
    """Text and cure for a pattern that cannot be a part of an expression."""
    try:
        groups = re.compile(pattern).groupindex
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}.", "Correct it."
    if groups or _GROUP_AGAIN.search(pattern):
        return "patterns are joined, so none may name its groups or refer to them.", "Use (?:...), and no \\1."
    try:
        re.compile(f"(?:{pattern})")
    except re.error:
        return "patterns are joined, so flags must not hold for all.", "Write them on a group: (?-i:...)."
    return repeats_fault(pattern)


def _included(value_set: ValueSet, content: Content) -> set[str]:
    """Everything a value set includes, at any depth."""
    found: set[str] = set()
    ahead = list(value_set.includes)
    while ahead:
        name = ahead.pop()
        if name not in found and name in content.value_sets:
            found.add(name)
            ahead += content.value_sets[name].includes
    return found
