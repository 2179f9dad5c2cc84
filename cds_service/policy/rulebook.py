"""The rulebook: every compiled policy, indexed by code, prefix and term so that only those that can speak are built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

from cds_service.policy.case import Code, Order
from cds_service.policy.code_sets import CodeSet, starts
from cds_service.policy.compile import CompiledVersion, compile_version
from cds_service.policy.content import Content, PolicyFolder
from cds_service.policy.criteria_used import item_criteria
from cds_service.policy.item_words import Labels, labels_of
from cds_service.policy.model import Policy, Version, criterion_ids
from cds_service.policy.operators.reads import reads
from cds_service.policy.remember import remember
from cds_service.policy.vocabulary import Vocabulary, compile_vocabulary

ALL_PAYERS = "*"
ANYONE = "any"  # the policies of all payers and societies: does anything speak to this order?


def _once(numbers: list[int], number: int) -> None:
    if not numbers or numbers[-1] != number:
        numbers.append(number)


@dataclass(frozen=True)
class Audience:
    """What speaks to one payer's orders (or, for ALL_PAYERS, to everyone's): version numbers by code and by set."""

    by_code: dict[str, list[int]] = field(default_factory=dict)
    by_prefix: dict[str, list[int]] = field(default_factory=dict)
    by_text: dict[str, list[int]] = field(default_factory=dict)

    def add(self, number: int, code_sets: Iterable[CodeSet]) -> None:
        """Index one version by the codes and the terms of the sets it speaks to."""
        for members in code_sets:
            for code in members.codes:
                _once(self.by_code.setdefault(str(code), []), number)
            for prefix in (p for group in members.prefixes.values() for p in group):
                _once(self.by_prefix.setdefault(f"{prefix.system} {prefix.prefix}", []), number)
            if members.reads_text:
                self.by_text.setdefault(members.id, []).append(number)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.by_prefix), default=0)

    def numbers(self, order: Order, vocabulary: Vocabulary) -> list[int]:
        """Versions that may speak to an order, each once, in file order of the content."""
        found = {n for code in order.codes for n in self.by_code.get(str(code), ())}
        if self.by_prefix:
            for code in order.codes:
                found.update(n for start in starts(code, self._longest) for n in self.by_prefix.get(start, ()))
        if order.texts:
            named = (s for s in self.by_text if vocabulary.sets[s].mention_in(order.texts, order.codes))
            found.update(n for s in named for n in self.by_text[s])
        return sorted(found)


@dataclass(frozen=True)
class Rulebook:
    """Everything the engine needs: compiled policies, the vocabulary, and the indexes to find what can speak."""

    content: Content
    vocabulary: Vocabulary
    versions: Sequence[CompiledVersion]
    folders: Mapping[str, PolicyFolder] = field(repr=False)
    audiences: Mapping[str, Audience] = field(repr=False)
    reads: frozenset[str] = field(repr=False)
    observed: frozenset[str] = field(repr=False)
    periods: Sequence[tuple[date | None, date | None]] = field(repr=False)
    outlines: Mapping[str, tuple[Outline, ...]] = field(repr=False)
    _known: dict[tuple[str, tuple[Code, ...], date], tuple[CompiledVersion, ...]] = field(
        default_factory=dict, init=False, repr=False
    )
    _concerns: dict[tuple[tuple[Code, ...], date], tuple[Outline, ...]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def revision(self) -> str:
        """Hash of the content."""
        return self.content.revision

    @cached_property
    def item_labels(self) -> Labels:
        """How what policies speak to is called here: their items, and the codes of those that the catalogue names."""
        items = (item for f in self.content.policies.values() for v in f.policy.versions for item in v.orders.values())
        spoken = (code for name in self.outlines for code in self.vocabulary.sets[name].codes)
        return labels_of({*(item.label for item in items), *filter(None, map(self.vocabulary.label, spoken))})

    def speaking(self, order: Order, payer: str, day: date) -> tuple[CompiledVersion, ...]:
        """Versions in force that may speak to an order: of one payer, or (ALL_PAYERS) of everyone.

        Remembered for orders without text, whose codes say nothing of a patient.
        """
        if order.texts:
            return self._speaking(order, payer, day)
        key = (payer, order.codes, day)
        known = self._known.get(key)
        return known if known is not None else remember(self._known, key, self._speaking(order, payer, day))

    def _speaking(self, order: Order, payer: str, day: date) -> tuple[CompiledVersion, ...]:
        audience = self.audiences.get(payer)
        numbers = audience.numbers(order, self.vocabulary) if audience else ()
        return tuple([self.versions[n] for n in numbers if within(self.periods[n], day)])

    def concerning(self, order: Order, day: date) -> tuple[Outline, ...]:
        """Outlines of everything that may speak to an order, whoever the payer. Builds no policy, however many speak.

        Empty means that no policy speaks. The sources named are at least those that the versions in force read.
        """
        if order.texts:
            return self._concerning(order, day)
        key = (order.codes, day)
        known = self._concerns.get(key)
        return known if known is not None else remember(self._concerns, key, self._concerning(order, day))

    def _concerning(self, order: Order, day: date) -> tuple[Outline, ...]:
        sets = {s for code in order.codes for s in self.vocabulary.sets_of(code) if s in self.outlines}
        everyone = self.audiences.get(ANYONE)
        if order.texts and everyone is not None:
            known = self.vocabulary.sets
            others = (s for s in everyone.by_text if s not in sets)
            sets.update([s for s in others if known[s].mention_in(order.texts, order.codes)])
        found = (o for s in sorted(sets) for o in self.outlines[s] if within((o.start, o.end), day))
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Outline:
    """What versions that speak to one value set have in common, known without building them.

    `start` and `end` span all of them: an order outside of the span concerns none; one inside may.
    """

    kind: str
    status: str
    reads: frozenset[str]
    start: date | None
    end: date | None


def outlines_of(pairs: Iterable[tuple[Policy, Version]], sets: Mapping[str, CodeSet]) -> dict[str, tuple[Outline, ...]]:
    """Outlines by the value set spoken to; versions that read the same under the same review are one outline."""
    found: dict[str, dict[tuple[str, str, frozenset[str]], Outline]] = {}
    for policy, version in pairs:
        for value_set, criteria in _spoken(version):
            named = frozenset(s for c in criteria for s in reads(version.criteria[c], sets))
            rows = found.setdefault(value_set, {})
            key = (policy.kind, version.review.status, named)
            rows[key] = _spanning(rows.get(key), Outline(*key, version.effective.from_, version.effective.to))
    return {value_set: tuple(rows.values()) for value_set, rows in found.items()}


def _spoken(version: Version) -> Iterator[tuple[str, set[str]]]:
    """Value sets that a version speaks to, each with the criteria it then reads."""
    yield from ((item.value_set, item_criteria(item)) for item in version.orders.values())
    yield from ((finding.about, set(criterion_ids(finding.when))) for finding in version.findings)


def _spanning(known: Outline | None, more: Outline) -> Outline:
    if known is None:
        return more
    start = None if known.start is None or more.start is None else min(known.start, more.start)
    end = None if known.end is None or more.end is None else max(known.end, more.end)
    return replace(more, start=start, end=end)


def within(period: tuple[date | None, date | None], day: date) -> bool:
    """True on days within effective dates, both inclusive; None is open."""
    start, end = period
    return (start is None or start <= day) and (end is None or day <= end)


def audience_of(policy: Policy) -> list[str]:
    """Payers whose orders a policy is asked about; ALL_PAYERS unless it is a coverage policy."""
    return list(policy.payers) if policy.kind == "coverage" else [ALL_PAYERS]


def sets_spoken_to(version: Version) -> list[str]:
    """Value sets of the orders a version speaks to, each once."""
    return list(dict.fromkeys([i.value_set for i in version.orders.values()] + [f.about for f in version.findings]))


def index_versions(pairs: Iterable[tuple[Policy, Version]], vocabulary: Vocabulary) -> dict[str, Audience]:
    """Index versions, numbered as they come, by payer, code and term."""
    audiences: dict[str, Audience] = {}
    for number, (policy, version) in enumerate(pairs):
        sets = [vocabulary.sets[name] for name in sets_spoken_to(version)]
        for payer in (*audience_of(policy), ANYONE):
            audiences.setdefault(payer, Audience()).add(number, sets)
    return audiences


def compile_content(content: Content) -> Rulebook:
    """Compile all policies and index them by payer and code."""
    vocabulary = compile_vocabulary(content.value_sets, content.procedures)
    pairs = [(f.policy, v) for _, f in sorted(content.policies.items()) for v in f.policy.versions]
    return Rulebook(
        content,
        vocabulary,
        tuple(compile_version(p, v, vocabulary.sets) for p, v in pairs),
        content.policies,
        index_versions(pairs, vocabulary),
        sources_read([v for _, v in pairs], vocabulary.sets),
        observed_sets(v for _, v in pairs),
        [(v.effective.from_, v.effective.to) for _, v in pairs],
        outlines_of(pairs, vocabulary.sets),
    )


def sources_read(versions: Iterable[Version], sets: Mapping[str, CodeSet]) -> frozenset[str]:
    """Names of the sources that any criterion reads."""
    return frozenset(s for v in versions for c in v.criteria.values() for s in reads(c, sets))


def observed_sets(versions: Iterable[Version]) -> frozenset[str]:
    """Value sets of the results that any criterion asks for."""
    criteria = (c for v in versions for c in v.criteria.values())
    return frozenset(c.observation.value_set for c in criteria if c.observation is not None)
