"""The compiled vocabulary: which value sets codes and texts are in, and what procedure codes mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from cds_service.policy.case import Code, Order
from cds_service.policy.code_sets import CodeSet, compile_set, is_whole, starts
from cds_service.policy.mentions import Mention
from cds_service.policy.model import ProcedureCode, ValueSet
from cds_service.policy.remember import remember

BILLING = frozenset({"cpt", "hcpcs"})


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
        return self._holding(code, [*by_code.get(code, ()), *begun])

    def _holding(self, code: Code, names: Iterable[str]) -> frozenset[str]:
        """Of the sets with a code or a start of it, those that do not except it by its seventh character."""
        if not is_whole(code):
            return frozenset(names)
        return frozenset([name for name in names if self.sets[name].find(code) is not None])

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

    def is_known(self, code: Code) -> bool:
        """Does the catalogue, or a value set, have a code?"""
        return code in self.procedures or bool(self.sets_of(code))

    def knows(self, codes: tuple[Code, ...]) -> bool:
        """Does the catalogue, or a value set, have one of the codes?"""
        return bool(self.membership(codes)) or self.procedure(codes) is not None

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
        """How an order surely belongs to a set: its code, or the term its own text uses; None when it does not."""
        how = self.membership(order.codes).get(value_set)
        if how is not None:
            return how
        mention = self.mention(order, value_set)
        return mention.told if mention is not None and mention.sure else None

    def mention(self, order: Order, value_set: str) -> Mention | None:
        """The term by which an order's own text names a member of a set, or may name one; None where it names none."""
        return self.sets[value_set].mention_in(order.texts, order.codes) if order.texts else None

    def label(self, code: Code) -> str:
        """Our own label of a procedure code, empty when the catalogue does not have it."""
        entry = self.procedures.get(code)
        return entry.label if entry else ""


def compile_vocabulary(sets: Mapping[str, ValueSet], procedures: Mapping[Code, ProcedureCode]) -> Vocabulary:
    """Flatten every value set once, at load."""
    return Vocabulary({i: compile_set(sets, i) for i in sets}, dict(procedures))
