"""Compiles the dated versions of policies: criteria into tests of a view of the case, rules into tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cds_service.policy.case import Code, Order
from cds_service.policy.code_sets import CodeSet
from cds_service.policy.criteria import Test
from cds_service.policy.criteria_used import item_criteria
from cds_service.policy.formula import Formula
from cds_service.policy.model import Alternative, Criterion, FindingRule, Item, Policy, Version
from cds_service.policy.operators.reads import reads
from cds_service.policy.remember import remember
from cds_service.policy.rules import Rules
from cds_service.policy.view import ORDER, PATIENT
from cds_service.policy.vocabulary import Vocabulary


@dataclass(frozen=True)
class CompiledItem:
    """One kind of order a policy version speaks to. `reach`: how far what its rules find reaches."""

    id: str
    item: Item
    rules: Rules
    alternatives: tuple[tuple[Alternative, Formula | None], ...]
    reads: frozenset[str] = frozenset()
    companions: frozenset[str] = frozenset()
    reach: int = ORDER


@dataclass(frozen=True)
class CompiledFinding:
    """A coding or safety remark with its test."""

    rule: FindingRule
    check: Formula


class Choice(NamedTuple):
    """The item that judges an order; `possible` are items before it that its text may ask for, with the words."""

    item: CompiledItem | None
    possible: tuple[tuple[CompiledItem, str], ...] = ()


@dataclass(frozen=True)
class CompiledVersion:
    """One dated version, ready to evaluate."""

    policy: Policy
    version: Version
    items: tuple[CompiledItem, ...]
    findings: tuple[CompiledFinding, ...]
    tests: Mapping[str, Test]
    leans: bool = False
    key: str = field(default="", compare=False)
    _choices: dict[tuple[Code, ...], Choice] = field(default_factory=dict, init=False, repr=False, compare=False)
    _remarks: dict[tuple[Code, ...], tuple[CompiledFinding, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.policy.id}@{self.version.version}")

    def choice(self, order: Order, vocabulary: Vocabulary) -> Choice:
        """The first item that the order matches, by code or by its own text; remembered where there is no text."""
        if order.texts:
            return self._choice(order, vocabulary)
        try:
            return self._choices[order.codes]
        except KeyError:
            return remember(self._choices, order.codes, self._choice(order, vocabulary))

    def _choice(self, order: Order, vocabulary: Vocabulary) -> Choice:
        homes = vocabulary.membership(order.codes)
        possible: list[tuple[CompiledItem, str]] = []
        for item in self.items:
            if item.item.value_set in homes:
                return Choice(item, tuple(possible))
            mention = vocabulary.mention(order, item.item.value_set)
            if mention is not None:
                if mention.sure:
                    return Choice(item, tuple(possible))
                possible.append((item, mention.told))
        return Choice(None, tuple(possible))

    def findings_for(self, order: Order, vocabulary: Vocabulary) -> tuple[CompiledFinding, ...]:
        """The findings that are about the order, by code or by its own text; remembered where there is no text."""
        if not self.findings:
            return ()
        known = None if order.texts else self._remarks.get(order.codes)
        if known is None:
            known = tuple([f for f in self.findings if vocabulary.matches(order, f.rule.about)])
            if not order.texts:
                remember(self._remarks, order.codes, known)
        return known

    def findings_in_doubt(self, order: Order, vocabulary: Vocabulary) -> tuple[CompiledFinding, ...]:
        """The findings that may be about the order: its own text mentions what they are about, and leaves it open."""
        if not order.texts:
            return ()
        homes = vocabulary.membership(order.codes)
        found = [(f, vocabulary.mention(order, f.rule.about)) for f in self.findings if f.rule.about not in homes]
        return tuple([f for f, mention in found if mention is not None and not mention.sure])


def compile_version(policy: Policy, version: Version, sets: Mapping[str, CodeSet]) -> CompiledVersion:
    """One version with all its criteria as tests."""
    tests = {i: Test(i, c, policy.id, _asking(policy, i, c)) for i, c in version.criteria.items()}
    items = tuple([_compile_item(item_id, item, version, tests, sets) for item_id, item in version.orders.items()])
    findings = tuple([CompiledFinding(f, Formula(f.when, tests)) for f in version.findings])
    leans = any(c.companion is not None and c.companion.outcome for c in version.criteria.values())
    return CompiledVersion(policy, version, items, findings, tests, leans)


def _asking(policy: Policy, name: str, criterion: Criterion) -> frozenset[str]:
    """The versions that ask the same question under the same name: an answer to one is an answer to all of them."""
    if criterion.ask is None:
        return frozenset()
    every = [(v.version, known.ask) for v in policy.versions if (known := v.criteria.get(name)) is not None]
    return frozenset([v for v, ask in every if ask is not None and ask.question == criterion.ask.question])


def _compile_item(
    item_id: str, item: Item, version: Version, tests: Mapping[str, Test], sets: Mapping[str, CodeSet]
) -> CompiledItem:
    rules = Rules(item, tests)
    return CompiledItem(
        item_id,
        item,
        rules,
        tuple([(a, Formula(a.when, tests) if a.when else None) for a in item.alternatives]),
        frozenset(s for c in item_criteria(item) for s in reads(version.criteria[c], sets)),
        companion_sets(version, item),
        max([test.reach for rule in rules for test in rule.tests], default=PATIENT),
    )


def companion_sets(version: Version, item: Item) -> frozenset[str]:
    """Value sets in which an item's criteria look for orders beside the judged one.

    Where a criterion asks for another order's outcome, that order's own companions count as well: all of the version's.
    """
    tests = [c.companion for i in item_criteria(item) if (c := version.criteria[i]).companion is not None]
    if any(t.outcome for t in tests):
        tests = [c.companion for c in version.criteria.values() if c.companion is not None]
    return frozenset(t.value_set for t in tests)
