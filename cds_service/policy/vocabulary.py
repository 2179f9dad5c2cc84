"""The compiled vocabulary: value sets with their terms, and what procedure codes mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TypeVar

from cds_service.policy.case import Code, Order
from cds_service.policy.model import CodedWords, ProcedureCode, SetCode, SetPrefix, ValueSet

# A term is not a mention when its own clause denies it: "no BMP", "without rhBMP-2", "BMP not used".
_DENIED_BEFORE = re.compile(
    r"\b(?:no|not|non|without|never|avoid(?:ing)?|instead of|rather than|declin\w+|refus\w+|excluding|contraindicat\w+"
    r"|allerg\w+ to|do not use|free of)\b(?:\W+\w+){0,4}\W*$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\W*(?:(?:is|was|are|were|will be|to be|will|shall|should|must)\W+)?"
    r"(?:not|never|contraindicated|declined|refused|avoided|omitted)\b",
    re.IGNORECASE,
)
# A denial reaches a few words, and an order's text is short: more is not looked at, so that no text takes long.
_REACH = 120
_MENTIONS = 100
READ = 10_000
REMEMBERED = 4096
BILLING = frozenset({"cpt", "hcpcs"})
K = TypeVar("K")
T = TypeVar("T")

# Where a denial ends: it reaches neither over a comma nor into the next sentence.
_BOUNDARY = re.compile(r"[;:\n]|[.,](?!\d)|\b(?:but|however|and use|so|therefore|thus|hence)\b", re.IGNORECASE)


def remember(known: dict[K, T], key: K, value: T) -> T:
    """Keep what follows from codes alone: nothing of a patient, and no more than a few thousand entries."""
    if len(known) >= REMEMBERED:
        known.clear()
    known[key] = value
    return value


def starts(code: Code, longest: int) -> Iterator[str]:
    """Ways to begin a code as an index of prefixes has them, none longer than its longest."""
    return (f"{code.system} {code.code[:end]}" for end in range(1, min(len(code.code), longest) + 1))


def legible(texts: Sequence[str]) -> Sequence[str]:
    """Texts as far as they are read: their first 10,000 characters in all."""
    if sum(map(len, texts)) <= READ:
        return texts
    left, found = READ, []
    for text in texts:
        found.append(text[:left])
        left -= len(found[-1])
    return found


def _denied(text: str, start: int, end: int) -> bool:
    first, last = max(0, start - _REACH), end + _REACH
    for boundary in _BOUNDARY.finditer(text, first, start):
        first = boundary.end()
    if boundary_after := _BOUNDARY.search(text, end, last):
        last = boundary_after.start()
    return bool(_DENIED_BEFORE.search(text, first, start) or _DENIED_AFTER.match(text, end, last))


def _named(expression: re.Pattern[str], texts: Sequence[str]) -> str | None:
    for text in legible(texts):
        for match in islice(expression.finditer(text), _MENTIONS):
            if not _denied(text, match.start(), match.end()):
                return match.group(0)
    return None


@dataclass(frozen=True)
class CodeSet:
    """A value set, flattened: codes, prefixes by system, and one expression for all its terms."""

    id: str
    title: str
    codes: Mapping[Code, SetCode]
    prefixes: Mapping[str, tuple[SetPrefix, ...]]
    expression: re.Pattern[str] | None = None
    with_code: tuple[tuple[CodeSet, re.Pattern[str]], ...] = ()

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

    def named_in(self, texts: Sequence[str], codes: Iterable[Code] = ()) -> str | None:
        """The term by which a text names a member (our own spelling is not assumed), negated mentions left out.

        `codes` are those of the order the texts belong to: some words count beside certain codes only.
        """
        if self.expression is not None and (term := _named(self.expression, texts)):
            return term
        for beside, expression in self.with_code:
            if beside.first(codes) and (term := _named(expression, texts)):
                return term
        return None


@dataclass(frozen=True)
class Vocabulary:
    """Value sets by id, and procedures by code."""

    sets: Mapping[str, CodeSet]
    procedures: Mapping[Code, ProcedureCode]
    _homes: dict[Code, frozenset[str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _memberships: dict[tuple[Code, ...], dict[str, str]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _primaries: dict[Code, frozenset[Code]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def sets_of(self, code: Code) -> frozenset[str]:
        """Ids of all value sets that a code is in; remembered, because the same codes come again and again.

        Nothing of a patient is kept: codes and set ids only, and no more than a few thousand of them.
        """
        found = self._homes.get(code)
        return found if found is not None else remember(self._homes, code, self._sets_of(code))

    def _sets_of(self, code: Code) -> frozenset[str]:
        by_code, by_prefix, longest = self._index
        begun = [name for start in starts(code, longest) for name in by_prefix.get(start, ())]
        return frozenset([*by_code.get(code, ()), *begun])

    @cached_property
    def _index(self) -> tuple[dict[Code, list[str]], dict[str, list[str]], int]:
        """Sets by code and by prefix, and the longest prefix: a chart may hold more codes than are remembered."""
        by_code: dict[Code, list[str]] = {}
        by_prefix: dict[str, list[str]] = {}
        for name, members in self.sets.items():
            for code in members.codes:
                by_code.setdefault(code, []).append(name)
            for prefix in (p for group in members.prefixes.values() for p in group):
                by_prefix.setdefault(f"{prefix.system} {prefix.prefix}", []).append(name)
        return by_code, by_prefix, max(map(len, by_prefix), default=0)

    def membership(self, codes: tuple[Code, ...]) -> Mapping[str, str]:
        """The value sets that one of the codes is in, each with the first code that is, in words.

        Remembered like `sets_of`.
        """
        found = self._memberships.get(codes)
        if found is None:
            found = {}
            for code in codes:
                for name in self.sets_of(code):
                    found.setdefault(name, str(code))
            remember(self._memberships, codes, found)
        return found

    def procedure(self, codes: tuple[Code, ...]) -> ProcedureCode | None:
        """The catalogue entry of the first known code."""
        for code in codes:
            entry = self.procedures.get(code)
            if entry is not None:
                return entry
        return None

    def code_of(self, codes: tuple[Code, ...]) -> Code | None:
        """The code that says what is ordered: one of the catalogue, else of a billing system, else the first."""
        if len(codes) < 2:
            return codes[0] if codes else None
        catalogued = (c for c in codes if c in self.procedures)
        return next(catalogued, None) or next((c for c in codes if c.system in BILLING), codes[0])

    def told(self, codes: tuple[Code, ...]) -> str:
        """What is ordered, in evidence; empty without a code."""
        code = self.code_of(codes)
        return "" if code is None else str(code)

    def same_service(self, codes: tuple[Code, ...], others: tuple[Code, ...]) -> bool:
        """Do two orders ask for the same? Their codes of the catalogue tell, else those they are billed by, else all.

        A coding that both have beside these (of a local or clinical system) does not make them the same.
        """
        if codes == others:
            return bool(codes)  # a thousand orders of one code would be compared a million times
        if frozenset(codes).isdisjoint(others):
            return False
        mine, theirs = self._telling(codes), self._telling(others)
        return not mine.isdisjoint(theirs) if mine or theirs else frozenset(codes) == frozenset(others)

    def _telling(self, codes: tuple[Code, ...]) -> frozenset[Code]:
        catalogued = frozenset([c for c in codes if c in self.procedures])
        return catalogued or frozenset([c for c in codes if c.system in BILLING])

    def primaries(self, entry: ProcedureCode) -> frozenset[Code]:
        """The codes that an add-on can be added to; put together once."""
        code = Code(entry.system, entry.code)
        known = self._primaries.get(code)
        if known is None:
            known = self._primaries[code] = frozenset([Code(entry.system, other) for other in entry.requires])
        return known

    def matches(self, order: Order, value_set: str) -> str | None:
        """How an order belongs to a set: its code, or the term its own text uses; None when it does not."""
        return self.membership(order.codes).get(value_set) or self.named(order, value_set)

    def named(self, order: Order, value_set: str) -> str | None:
        """The term by which an order's own text names a member of a set, in words; None where it names none."""
        if not order.texts:
            return None
        return f"text: {term}" if (term := self.sets[value_set].named_in(order.texts, order.codes)) else None

    def label(self, code: Code) -> str:
        """Our own label of a procedure code, empty when the catalogue does not have it."""
        entry = self.procedures.get(code)
        return entry.label if entry else ""


def _flatten(sets: Mapping[str, ValueSet], set_id: str, seen: frozenset[str] = frozenset()) -> list[ValueSet]:
    if set_id in seen or set_id not in sets:
        return []
    value_set = sets[set_id]
    below = [s for i in value_set.includes for s in _flatten(sets, i, seen | {set_id})]
    return [value_set, *below]


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
    return CodeSet(set_id, sets[set_id].title, codes, ordered)


def _terms(terms: Sequence[str]) -> str:
    """Whole words or phrases; most places of a text are passed over by their first character."""
    starts = "".join(sorted({re.escape(term[0]) for term in terms}))
    return rf"(?<!\w)(?=[{starts}])(?:{'|'.join(map(re.escape, terms))})(?!\w)"


def _expression(parts: Sequence[ValueSet | CodedWords]) -> re.Pattern[str] | None:
    words = [_terms(terms)] if (terms := [t for part in parts for t in part.terms]) else []
    words += [f"(?:{p})" for part in parts for p in part.patterns]
    return re.compile("|".join(words), re.IGNORECASE) if words else None


def compile_vocabulary(sets: Mapping[str, ValueSet], procedures: Mapping[Code, ProcedureCode]) -> Vocabulary:
    """Flatten every value set once, at load."""
    return Vocabulary({i: compile_set(sets, i) for i in sets}, dict(procedures))
