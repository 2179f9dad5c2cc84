"""Compiles policies into closures, and indexes them by code so that only those that can speak are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from cds_service.policy import logic, operators
from cds_service.policy.case import Code, Order
from cds_service.policy.content import Content, PolicyFolder
from cds_service.policy.logic import UNKNOWN, Outcome
from cds_service.policy.model import (
    All,
    Alternative,
    AnyOf,
    AtLeast,
    Criterion,
    Expression,
    FindingRule,
    Item,
    Not,
    Otherwise,
    Policy,
    Rule,
    Version,
    criterion_ids,
)
from cds_service.policy.trace import Evidence, Trace
from cds_service.policy.view import View
from cds_service.policy.vocabulary import Vocabulary, compile_vocabulary

Check = Callable[[View], Trace]


@dataclass(frozen=True)
class CompiledRule:
    """A rule with its test; `rule` is the content it came from."""

    rule: Rule
    check: Check


@dataclass(frozen=True)
class CompiledItem:
    """One kind of order a policy version speaks to."""

    id: str
    item: Item
    rules: tuple[CompiledRule, ...]
    alternatives: tuple[tuple[Alternative, Check | None], ...]

    @property
    def otherwise(self) -> Otherwise:
        """The outcome when every rule is not met."""
        return self.item.otherwise


@dataclass(frozen=True)
class CompiledFinding:
    """A coding or safety remark with its test."""

    rule: FindingRule
    check: Check


@dataclass(frozen=True)
class CompiledVersion:
    """One dated version, ready to evaluate."""

    policy: Policy
    version: Version
    items: tuple[CompiledItem, ...]
    findings: tuple[CompiledFinding, ...]
    checks: Mapping[str, Check]

    @property
    def key(self) -> str:
        """`aetna/bone-graft-adjuncts@2025-12`."""
        return f"{self.policy.id}@{self.version.version}"

    def in_force(self, day: date) -> bool:
        """True on days within the effective dates, both inclusive."""
        start, end = self.version.effective.from_, self.version.effective.to
        return (start is None or start <= day) and (end is None or day <= end)

    def item_for(self, order: Order, vocabulary: Vocabulary) -> CompiledItem | None:
        """The first item that the order matches, by code or by its own text."""
        return next((i for i in self.items if vocabulary.matches(order, i.item.value_set)), None)

    def reads(self) -> frozenset[str]:
        """Names of the sources its criteria read."""
        return frozenset(s for c in self.version.criteria.values() for s in sources_of(c))


def sources_of(criterion: Criterion) -> tuple[str, ...]:
    """Sources that one criterion reads."""
    name, _ = criterion.operator
    return operators.READS[name] + (("answers",) if criterion.ask else ())


def compile_criterion(criterion_id: str, criterion: Criterion) -> Check:
    """A criterion as a function of the view; each view evaluates it at most once."""
    name, arguments = criterion.operator
    operator = operators.BY_NAME[name]
    cites = tuple(criterion.cite)

    def check(view: View) -> Trace:
        known = view.done.get(criterion_id)
        if known is None:
            found = operator(criterion, arguments, view)
            outcome, evidence, missing = found
            if outcome is UNKNOWN and criterion.ask and (answer := _answer(criterion_id, view)) is not None:
                outcome, evidence, missing = answer[0], (*evidence, answer[1]), ()
            known = Trace(criterion_id, name, outcome, criterion.text, evidence, missing, cites)
            view.done[criterion_id] = known
        return known

    return check


def _answer(criterion_id: str, view: View) -> tuple[Outcome, Evidence] | None:
    """The latest yes or no given to the criterion's question, for this order."""
    given = [
        a
        for a in view.case.answers
        if a.link_id == criterion_id
        and isinstance(a.value, bool)
        and f"/{view.policy}/" in a.questionnaire  # canonical: .../Questionnaire/<policy id>/<rule>|<version>
        and (not a.about or view.order.ref in a.about)
    ]
    if not given:
        return None
    latest = max(given, key=lambda a: (a.authored or date.min, a.ref))
    return logic.of(bool(latest.value)), Evidence(latest.ref, "answer to the policy's question")


def compile_expression(expression: Expression, checks: Mapping[str, Check]) -> Check:
    """An expression over criteria as a function of the view. All parts are evaluated, so that the trace is whole."""
    match expression:
        case "always":
            return lambda _view: Trace("always", "always", logic.MET)
        case str():
            return checks[expression]
        case All(all=parts):
            return _combine("all", [compile_expression(p, checks) for p in parts], logic.all_of)
        case AnyOf(any=parts):
            return _combine("any", [compile_expression(p, checks) for p in parts], logic.any_of)
        case AtLeast(at_least=count, of=parts):
            compiled = [compile_expression(p, checks) for p in parts]
            return _combine("at_least", compiled, lambda outcomes: logic.at_least(count, outcomes))
        case Not():
            inner = compile_expression(expression.not_, checks)
            return _combine("not", [inner], lambda outcomes: logic.negate(outcomes[0]))


def _combine(op: str, checks: list[Check], join: Callable[[list[Outcome]], Outcome]) -> Check:
    def check(view: View) -> Trace:
        children = tuple(c(view) for c in checks)
        return Trace(op, op, join([c.outcome for c in children]), children=children)

    return check


def compile_version(policy: Policy, version: Version) -> CompiledVersion:
    """One version with all its criteria as closures."""
    checks = {i: compile_criterion(i, c) for i, c in version.criteria.items()}
    items = tuple(
        CompiledItem(
            item_id,
            item,
            tuple(CompiledRule(r, compile_expression(r.when, checks)) for r in item.rules),
            tuple((a, compile_expression(a.when, checks) if a.when else None) for a in item.alternatives),
        )
        for item_id, item in version.orders.items()
    )
    findings = tuple(CompiledFinding(f, compile_expression(f.when, checks)) for f in version.findings)
    return CompiledVersion(policy, version, items, findings, checks)


ALL_PAYERS = "*"


@dataclass(frozen=True)
class Rulebook:
    """Everything the engine needs: compiled policies, the vocabulary, and the indexes to find what can speak."""

    content: Content
    vocabulary: Vocabulary
    versions: tuple[CompiledVersion, ...]
    _by_code: Mapping[str, Mapping[Code, tuple[CompiledVersion, ...]]] = field(repr=False)
    _by_text: Mapping[str, tuple[CompiledVersion, ...]] = field(repr=False)
    folders: Mapping[str, PolicyFolder] = field(repr=False)

    @property
    def revision(self) -> str:
        """Hash of the content."""
        return self.content.revision

    def speaking(self, order: Order, payer: str, day: date) -> Iterator[CompiledVersion]:
        """Versions in force that may speak to an order: of one payer, or (ALL_PAYERS) of everyone."""
        found: dict[int, CompiledVersion] = {}
        by_code = self._by_code.get(payer, {})
        for code in order.codes:
            found.update((id(v), v) for v in by_code.get(code, ()))
        if order.texts:
            found.update((id(v), v) for v in self._by_text.get(payer, ()))
        return (v for v in found.values() if v.in_force(day))


def _audience(policy: Policy) -> list[str]:
    return list(policy.payers) if policy.kind == "coverage" else [ALL_PAYERS]


def compile_content(content: Content) -> Rulebook:
    """Compile all policies and index them by payer and code."""
    vocabulary = compile_vocabulary(content.value_sets, content.procedures)
    versions = tuple(
        compile_version(f.policy, v) for _, f in sorted(content.policies.items()) for v in f.policy.versions
    )
    by_code: dict[str, dict[Code, list[CompiledVersion]]] = {}
    by_text: dict[str, list[CompiledVersion]] = {}
    for version in versions:
        names = [i.item.value_set for i in version.items] + [f.rule.about for f in version.findings]
        sets = [vocabulary.sets[name] for name in dict.fromkeys(names)]
        for payer in _audience(version.policy):
            index = by_code.setdefault(payer, {})
            for code in dict.fromkeys(c for s in sets for c in s.codes):
                index.setdefault(code, []).append(version)
            if any(s.expression for s in sets):
                by_text.setdefault(payer, []).append(version)
    return Rulebook(
        content,
        vocabulary,
        versions,
        {p: {c: tuple(v) for c, v in codes.items()} for p, codes in by_code.items()},
        {p: tuple(v) for p, v in by_text.items()},
        content.policies,
    )


def used_criteria(version: Version) -> set[str]:
    """Ids of the criteria that some rule, alternative or finding reads."""
    expressions = [r.when for i in version.orders.values() for r in i.rules]
    expressions += [a.when for i in version.orders.values() for a in i.alternatives if a.when]
    expressions += [f.when for f in version.findings]
    return {c for e in expressions for c in criterion_ids(e)}
