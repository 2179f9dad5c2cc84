"""Compiled value sets: the codes, starts of codes and terms of a set with everything it includes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from cds_service.policy.case import Code
from cds_service.policy.mentions import Mention, mention
from cds_service.policy.model import CodedWords, SetCode, SetPrefix, ValueSet


def is_whole(code: Code) -> bool:
    """Has it seven characters, as complete codes of ICD-10-CM for injuries have?"""
    return len(code.code.replace(".", "")) == 7


def starts(code: Code, longest: int) -> Iterator[str]:
    """Ways to begin a code as an index of prefixes has them, none longer than its longest."""
    return (f"{code.system} {code.code[:end]}" for end in range(1, min(len(code.code), longest) + 1))


@dataclass(frozen=True)
class CodeSet:
    """A value set, flattened: codes, prefixes by system, and one expression for all its terms."""

    id: str
    title: str
    codes: Mapping[Code, SetCode]
    prefixes: Mapping[str, tuple[SetPrefix, ...]]
    expression: re.Pattern[str] | None = None
    with_code: tuple[tuple[CodeSet, re.Pattern[str]], ...] = ()
    without_seventh: frozenset[str] = frozenset()

    @property
    def reads_text(self) -> bool:
        """True when an order's text can name a member."""
        return self.expression is not None or bool(self.with_code)

    @cached_property
    def systems(self) -> frozenset[str]:
        """Code systems that its members come from."""
        return frozenset(c.system for c in self.codes) | frozenset(self.prefixes)

    def find(self, code: Code) -> SetCode | SetPrefix | None:
        """The member that a normalised code matches, or None."""
        if self.without_seventh and is_whole(code) and code.code[-1] in self.without_seventh:
            return None
        member = self.codes.get(code)
        if member is not None:
            return member
        for prefix in self.prefixes.get(code.system, ()):
            if code.code.startswith(prefix.prefix):
                return prefix
        return None

    def first(self, codes: Iterable[Code]) -> tuple[Code, SetCode | SetPrefix] | None:
        """The first of `codes` that is a member, with the member."""
        for code in codes:
            member = self.find(code)
            if member is not None:
                return code, member
        return None

    def mention_in(self, texts: Sequence[str], codes: Iterable[Code] = ()) -> Mention | None:
        """How a text names a member (our own spelling is not assumed); None where it does not, or denies it.

        `codes` are those of the order the texts belong to: some words count beside certain codes only.
        """
        open_: Mention | None = None
        for expression in self._expressions(codes):
            found = mention(expression, texts)
            if found is not None:
                if found.sure:
                    return found
                open_ = open_ or found
        return open_

    def _expressions(self, codes: Iterable[Code]) -> Iterator[re.Pattern[str]]:
        if self.expression is not None:
            yield self.expression
        for beside, expression in self.with_code:
            if beside.first(codes):
                yield expression


def _flatten(sets: Mapping[str, ValueSet], set_id: str) -> list[ValueSet]:
    """The set and what it includes, each once: twenty sets that include each other in pairs have a million ways."""
    found: dict[str, ValueSet] = {}
    ahead = [set_id]
    while ahead:
        name = ahead.pop()
        if name not in found and name in sets:
            found[name] = sets[name]
            ahead += reversed(sets[name].includes)
    return list(found.values())


def compile_set(sets: Mapping[str, ValueSet], set_id: str) -> CodeSet:
    """One value set with everything it includes."""
    parts = _flatten(sets, set_id)
    coded = [part.with_code for part in parts if part.with_code]
    with_code = tuple((_codes_only(sets, c.value_set), e) for c in coded if (e := _expression([c])))
    return replace(_codes_only(sets, set_id), expression=_expression(parts), with_code=with_code)


def _codes_only(sets: Mapping[str, ValueSet], set_id: str) -> CodeSet:
    parts = _flatten(sets, set_id)
    codes = {Code(c.system, c.code): c for part in reversed(parts) for c in part.codes}
    prefixes: dict[str, list[SetPrefix]] = {}
    for part in parts:
        for prefix in part.prefixes:
            prefixes.setdefault(prefix.system, []).append(prefix)
    # Longest first, so that the more specific prefix gives its label and region.
    ordered = {s: tuple(sorted(p, key=lambda x: -len(x.prefix))) for s, p in prefixes.items()}
    return CodeSet(set_id, sets[set_id].title, codes, ordered, without_seventh=frozenset(sets[set_id].without_seventh))


def _terms(terms: Sequence[str]) -> str:
    """Whole words or phrases; most places of a text are passed over by their first character."""
    starts = "".join(sorted({re.escape(term[0]) for term in terms}))
    return rf"(?<!\w)(?=[{starts}])(?:{'|'.join(map(re.escape, terms))})(?!\w)"


def _expression(parts: Sequence[ValueSet | CodedWords]) -> re.Pattern[str] | None:
    words = [_terms(terms)] if (terms := [t for part in parts for t in part.terms]) else []
    words += [f"(?:{p})" for part in parts for p in part.patterns]
    return re.compile("|".join(words), re.IGNORECASE) if words else None
