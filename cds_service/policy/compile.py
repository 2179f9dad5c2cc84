"""Compiles the dated versions of policies into closures over a view of the case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, partial
from typing import Any

from cds_service.policy import logic, operators
from cds_service.policy.case import Code, Order
from cds_service.policy.logic import MET, UNKNOWN, Outcome
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
from cds_service.policy.trace import MOST_EVIDENCE, Evidence, Trace, few, node
from cds_service.policy.view import ORDER, PATIENT, View
from cds_service.policy.vocabulary import Vocabulary, remember

Check = Callable[[View], Trace]
Guard = Callable[[View], bool]


_ALWAYS = Trace("always", "always", MET)


@dataclass(frozen=True)
class CompiledRule:
    """A rule with its test, whose trace stands under the rule's own; `rule` is the content it came from."""

    rule: Rule
    check: Check
    traced: Check


@dataclass(frozen=True)
class CompiledItem:
    """One kind of order a policy version speaks to. `reach`: how far what its rules find reaches."""

    id: str
    item: Item
    rules: tuple[CompiledRule, ...]
    alternatives: tuple[tuple[Alternative, Check | None], ...]
    reads: frozenset[str] = frozenset()
    companions: frozenset[str] = frozenset()
    reach: int = ORDER

    @property
    def otherwise(self) -> Otherwise:
        """The outcome when every rule is not met."""
        return self.item.otherwise


@dataclass(frozen=True)
class CompiledFinding:
    """A coding or safety remark with its test."""

    rule: FindingRule
    check: Check
    met: Guard


@dataclass(frozen=True)
class CompiledVersion:
    """One dated version, ready to evaluate."""

    policy: Policy
    version: Version
    items: tuple[CompiledItem, ...]
    findings: tuple[CompiledFinding, ...]
    checks: Mapping[str, Check]
    leans: bool = False
    key: str = field(default="", compare=False)
    _items: dict[tuple[Code, ...], CompiledItem | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _remarks: dict[tuple[Code, ...], tuple[CompiledFinding, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.policy.id}@{self.version.version}")

    @cached_property
    def references(self) -> tuple[dict[str, Any], ...]:
        """Its sources as plain data, each with its key as `id`."""
        sources = self.version.sources.items()
        return tuple({"id": key, **source.model_dump(mode="json", exclude_none=True)} for key, source in sources)

    def item_for(self, order: Order, vocabulary: Vocabulary) -> CompiledItem | None:
        """The first item that the order matches, by code or by its own text; remembered where there is no text."""
        if order.texts:
            return self._item_for(order, vocabulary)
        try:
            return self._items[order.codes]
        except KeyError:
            return remember(self._items, order.codes, self._item_for(order, vocabulary))

    def _item_for(self, order: Order, vocabulary: Vocabulary) -> CompiledItem | None:
        homes = vocabulary.membership(order.codes)
        for item in self.items:
            value_set = item.item.value_set
            if value_set in homes or (order.texts and vocabulary.sets[value_set].named_in(order.texts, order.codes)):
                return item
        return None

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


def sources_of(criterion: Criterion) -> tuple[str, ...]:
    """Sources that one criterion reads."""
    name, _ = criterion.operator
    return operators.READS[name] + (("answers",) if criterion.ask else ())


def compile_criterion(criterion_id: str, criterion: Criterion) -> Check:
    """A criterion as a function of the view; what does not depend on the judged order alone is found once for all."""
    name, arguments = criterion.operator
    operator = operators.BY_NAME[name](criterion, arguments)
    cites = tuple(criterion.cite)
    text, asks = criterion.text, criterion.ask is not None
    bare = {o: Trace(criterion_id, name, o, text, (), (), cites) for o in Outcome}
    reach = operators.reach(name, arguments)

    def check(view: View) -> Trace:
        shelf = view.shelves[reach]
        known: Trace | None = shelf.get(criterion_id)
        if known is None:
            outcome, evidence, missing = operator(view)
            if asks and outcome is UNKNOWN and (answer := _answer(criterion_id, view)) is not None:
                outcome, evidence, missing = answer[0], (*evidence, answer[1]), ()
            if evidence or missing:
                if len(evidence) > MOST_EVIDENCE:
                    evidence = few(evidence)
                known = node((criterion_id, name, outcome, text, evidence, missing, cites, ()))
            else:
                known = bare[outcome]
            shelf[criterion_id] = known
        return known

    return check


def _answer(criterion_id: str, view: View) -> tuple[Outcome, Evidence] | None:
    """The latest yes or no given to the criterion's question, for this order."""
    if not view.case.answers:
        return None
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


class Compiler:
    """Turns the expressions of one version into functions of the view, over its criteria."""

    def __init__(self, criteria: Mapping[str, Criterion]) -> None:
        self.checks = {i: compile_criterion(i, c) for i, c in criteria.items()}
        self._reach = {i: operators.reach(*c.operator) for i, c in criteria.items()}
        self._shared_so_far = 0

    def reach(self, expression: Expression) -> int:
        """How far the answer of an expression reaches: as far as that of each of its criteria."""
        return max((self._reach[c] for c in criterion_ids(expression)), default=PATIENT)

    def expression(self, expression: Expression) -> Check:
        """An expression as a function of the view. All parts are evaluated, so that the trace is whole."""
        match expression:
            case "always":
                return lambda _view: _ALWAYS
            case str():
                return self.checks[expression]
            case All(all=parts):
                return self._combine("all", expression, parts, logic.all_of)
            case AnyOf(any=parts):
                return self._combine("any", expression, parts, logic.any_of)
            case AtLeast(at_least=number, of=parts):
                return self._combine("at_least", expression, parts, lambda outcomes: logic.at_least(number, outcomes))
            case Not():
                return self._combine("not", expression, [expression.not_], lambda found: logic.negate(found[0]))

    def _combine(
        self, op: str, whole: Expression, parts: Sequence[Expression], join: Callable[[list[Outcome]], Outcome]
    ) -> Check:
        checks = [self.expression(p) for p in parts]

        def find(view: View) -> Trace:
            children = [check(view) for check in checks]
            outcome = join([child.outcome for child in children])
            return node((op, op, outcome, "", (), (), (), tuple(children)))

        return self._shared(find, self.reach(whole))

    def rule(self, rule: Rule) -> CompiledRule:
        """A rule with its test."""
        check, rule_id = self.expression(rule.when), rule.id
        because, cites = rule.because, tuple(rule.cite)

        def traced(view: View) -> Trace:
            found = check(view)
            return node((rule_id, "rule", found.outcome, because, (), (), cites, (found,)))

        return CompiledRule(rule, check, traced)

    def _shared(self, find: Check, reach: int) -> Check:
        """What reaches beyond one order is found once for all that it reaches."""
        if reach == ORDER:
            return find
        self._shared_so_far += 1
        key = f"\0{self._shared_so_far}"  # ids of criteria cannot begin so

        def check(view: View) -> Trace:
            shelf = view.shelves[reach]
            known: Trace | None = shelf.get(key)
            if known is None:
                known = shelf[key] = find(view)
            return known

        return check

    def met(self, expression: Expression) -> Guard:
        """Is an expression met? Stops at the first part that settles it, and leaves no trace of its own."""
        match expression:
            case All(all=parts):
                guards = [self.met(p) for p in parts]
                return partial(_every, guards)
            case _:
                check = self.expression(expression)
                return lambda view: check(view).outcome is MET


def _every(guards: list[Guard], view: View) -> bool:
    for guard in guards:  # noqa: SIM110 - a generator costs more than most guards
        if not guard(view):
            return False
    return True


def compile_version(policy: Policy, version: Version) -> CompiledVersion:
    """One version with all its criteria as closures."""
    compiler = Compiler(version.criteria)
    items = tuple(
        CompiledItem(
            item_id,
            item,
            tuple(compiler.rule(r) for r in item.rules),
            tuple((a, compiler.expression(a.when) if a.when else None) for a in item.alternatives),
            frozenset(s for c in item_criteria(item) for s in sources_of(version.criteria[c])),
            companion_sets(version, item),
            max((compiler.reach(r.when) for r in item.rules), default=PATIENT),
        )
        for item_id, item in version.orders.items()
    )
    findings = tuple(CompiledFinding(f, compiler.expression(f.when), compiler.met(f.when)) for f in version.findings)
    leans = any(c.companion is not None and c.companion.outcome for c in version.criteria.values())
    return CompiledVersion(policy, version, items, findings, compiler.checks, leans)


def companion_sets(version: Version, item: Item) -> frozenset[str]:
    """Value sets in which an item's criteria look for orders beside the judged one.

    Where a criterion asks for another order's outcome, that order's own companions count as well: all of the version's.
    """
    tests = [c.companion for i in item_criteria(item) if (c := version.criteria[i]).companion is not None]
    if any(t.outcome for t in tests):
        tests = [c.companion for c in version.criteria.values() if c.companion is not None]
    return frozenset(t.value_set for t in tests)


def item_criteria(item: Item) -> set[str]:
    """Ids of the criteria that an item's rules and alternatives read."""
    expressions = [r.when for r in item.rules] + [a.when for a in item.alternatives if a.when]
    return {c for e in expressions for c in criterion_ids(e)}


def used_criteria(version: Version) -> set[str]:
    """Ids of the criteria that some rule, alternative or finding reads."""
    found = {c for f in version.findings for c in criterion_ids(f.when)}
    return found.union(*(item_criteria(i) for i in version.orders.values()))
