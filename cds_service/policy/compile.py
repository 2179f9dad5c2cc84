"""Compiles policies into closures, and indexes them by code so that only those that can speak are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, partial
from itertools import count
from typing import Any, TypeVar

from cds_service.policy import logic, operators
from cds_service.policy.case import Code, Order
from cds_service.policy.content import Content, PolicyFolder
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
from cds_service.policy.trace import MOST_EVIDENCE, Evidence, Trace, few
from cds_service.policy.view import ORDER, PATIENT, View
from cds_service.policy.vocabulary import REMEMBERED, CodeSet, Vocabulary, compile_vocabulary

K = TypeVar("K")
T = TypeVar("T")
Check = Callable[[View], Trace]
Guard = Callable[[View], bool]


# What Trace(...) does, without the call in between: an answer makes hundreds of them.
_make: Callable[[type[Trace], tuple[Any, ...]], Trace] = tuple.__new__
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
    _items: dict[tuple[Code, ...], CompiledItem | None] = field(default_factory=dict, repr=False, compare=False)
    _remarks: dict[tuple[Code, ...], tuple[CompiledFinding, ...]] = field(
        default_factory=dict, repr=False, compare=False
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
            return _remember(self._items, order.codes, self._item_for(order, vocabulary))

    def _item_for(self, order: Order, vocabulary: Vocabulary) -> CompiledItem | None:
        homes = vocabulary.homes(order.codes)
        for item in self.items:
            value_set = item.item.value_set
            if value_set in homes or (order.texts and vocabulary.sets[value_set].named_in(order.texts, order.codes)):
                return item
        return None

    def findings_for(self, order: Order, vocabulary: Vocabulary) -> tuple[CompiledFinding, ...]:
        """The findings that are about the order, by code or by its own text; remembered where there is no text."""
        known = None if order.texts else self._remarks.get(order.codes)
        if known is None:
            known = tuple(f for f in self.findings if vocabulary.matches(order, f.rule.about))
            if not order.texts:
                _remember(self._remarks, order.codes, known)
        return known


def _remember(known: dict[K, T], key: K, value: T) -> T:
    """Keep what follows from codes alone: nothing of a patient, and no more than a few thousand."""
    if len(known) >= REMEMBERED:
        known.clear()
    known[key] = value
    return value


def sources_of(criterion: Criterion) -> tuple[str, ...]:
    """Sources that one criterion reads."""
    name, _ = criterion.operator
    return operators.READS[name] + (("answers",) if criterion.ask else ())


def compile_criterion(criterion_id: str, criterion: Criterion) -> Check:
    """A criterion as a function of the view; what does not depend on the judged order alone is found once for all."""
    name, arguments = criterion.operator
    operator = operators.BY_NAME[name]
    cites = tuple(criterion.cite)
    text, asks = criterion.text, criterion.ask is not None
    bare = {o: Trace(criterion_id, name, o, text, (), (), cites) for o in Outcome}
    reach = operators.reach(name, arguments)

    def check(view: View) -> Trace:
        shelf = view.shelves[reach]
        known: Trace | None = shelf.get(criterion_id)
        if known is None:
            outcome, evidence, missing = operator(criterion, arguments, view)
            if asks and outcome is UNKNOWN and (answer := _answer(criterion_id, view)) is not None:
                outcome, evidence, missing = answer[0], (*evidence, answer[1]), ()
            if evidence or missing:
                if len(evidence) > MOST_EVIDENCE:
                    evidence = few(evidence)
                known = _make(Trace, (criterion_id, name, outcome, text, evidence, missing, cites, ()))
            else:
                known = bare[outcome]
            shelf[criterion_id] = known
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


class Compiler:
    """Turns the expressions of one version into functions of the view, over its criteria."""

    def __init__(self, criteria: Mapping[str, Criterion]) -> None:
        self.checks = {i: compile_criterion(i, c) for i, c in criteria.items()}
        self._reach = {i: operators.reach(*c.operator) for i, c in criteria.items()}
        self._keys = (f"\0{n}" for n in count())  # ids of criteria cannot begin so

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
            children = tuple([check(view) for check in checks])
            return _make(Trace, (op, op, join([c.outcome for c in children]), "", (), (), (), children))

        return self._shared(find, self.reach(whole))

    def rule(self, rule: Rule) -> CompiledRule:
        """A rule with its test."""
        check, because, cites = self.expression(rule.when), rule.because, tuple(rule.cite)

        def traced(view: View) -> Trace:
            found = check(view)
            return _make(Trace, (rule.id, "rule", found.outcome, because, (), (), cites, (found,)))

        return CompiledRule(rule, check, self._shared(traced, self.reach(rule.when)))

    def _shared(self, find: Check, reach: int) -> Check:
        """What reaches beyond one order is found once for all that it reaches."""
        if reach == ORDER:
            return find
        key = next(self._keys)

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

    def numbers(self, order: Order, vocabulary: Vocabulary) -> Iterator[int]:
        """Versions that may speak to an order, each once, in file order of the content."""
        found = {n for code in order.codes for n in self.by_code.get(str(code), ())}
        if self.by_prefix:
            starts = (f"{c.system} {c.code[:end]}" for c in order.codes for end in range(1, len(c.code) + 1))
            found.update(n for start in starts for n in self.by_prefix.get(start, ()))
        if order.texts:
            named = (s for s in self.by_text if vocabulary.sets[s].named_in(order.texts, order.codes))
            found.update(n for s in named for n in self.by_text[s])
        return iter(sorted(found))


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
    _known: dict[tuple[str, tuple[Code, ...]], tuple[int, ...]] = field(default_factory=dict, repr=False)
    _concerns: dict[tuple[tuple[Code, ...], date], tuple[Outline, ...]] = field(default_factory=dict, repr=False)

    @property
    def revision(self) -> str:
        """Hash of the content."""
        return self.content.revision

    def speaking(self, order: Order, payer: str, day: date) -> Iterator[CompiledVersion]:
        """Versions in force that may speak to an order: of one payer, or (ALL_PAYERS) of everyone."""
        for number in self._numbers(order, payer):
            if within(self.periods[number], day):
                yield self.versions[number]

    def concerning(self, order: Order, day: date) -> tuple[Outline, ...]:
        """Outlines of everything that may speak to an order, whoever the payer. Builds no policy, however many speak.

        Empty means that no policy speaks. The sources named are at least those that the versions in force read.
        """
        if order.texts:
            return self._concerning(order, day)
        key = (order.codes, day)
        known = self._concerns.get(key)
        return known if known is not None else _remember(self._concerns, key, self._concerning(order, day))

    def _concerning(self, order: Order, day: date) -> tuple[Outline, ...]:
        sets = {s for code in order.codes for s in self.vocabulary.sets_of(code) if s in self.outlines}
        everyone = self.audiences.get(ANYONE)
        if order.texts and everyone is not None:
            known = self.vocabulary.sets
            others = (s for s in everyone.by_text if s not in sets)
            sets.update([s for s in others if known[s].named_in(order.texts, order.codes)])
        found = (o for s in sorted(sets) for o in self.outlines[s] if within((o.start, o.end), day))
        return tuple(dict.fromkeys(found))

    def _numbers(self, order: Order, payer: str) -> tuple[int, ...]:
        """Version numbers by code; remembered for orders without text, whose codes say nothing of a patient."""
        key = (payer, order.codes)
        known = None if order.texts else self._known.get(key)
        if known is None:
            audience = self.audiences.get(payer)
            known = tuple(audience.numbers(order, self.vocabulary)) if audience else ()
            if not order.texts:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known


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


def outlines_of(pairs: Iterable[tuple[Policy, Version]]) -> dict[str, tuple[Outline, ...]]:
    """Outlines by the value set spoken to; versions that read the same under the same review are one outline."""
    found: dict[str, dict[tuple[str, str, frozenset[str]], Outline]] = {}
    for policy, version in pairs:
        for value_set, criteria in _spoken(version):
            reads = frozenset(s for c in criteria for s in sources_of(version.criteria[c]))
            rows = found.setdefault(value_set, {})
            key = (policy.kind, version.review.status, reads)
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
        tuple(compile_version(p, v) for p, v in pairs),
        content.policies,
        index_versions(pairs, vocabulary),
        sources_read(v for _, v in pairs),
        observed_sets(v for _, v in pairs),
        [(v.effective.from_, v.effective.to) for _, v in pairs],
        outlines_of(pairs),
    )


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


def sources_read(versions: Iterable[Version]) -> frozenset[str]:
    """Names of the sources that any criterion reads."""
    return frozenset(s for v in versions for c in v.criteria.values() for s in sources_of(c))


def observed_sets(versions: Iterable[Version]) -> frozenset[str]:
    """Value sets of the results that any criterion asks for."""
    criteria = (c for v in versions for c in v.criteria.values())
    return frozenset(c.observation.value_set for c in criteria if c.observation is not None)


def used_criteria(version: Version) -> set[str]:
    """Ids of the criteria that some rule, alternative or finding reads."""
    found = {c for f in version.findings for c in criterion_ids(f.when)}
    return found.union(*(item_criteria(i) for i in version.orders.values()))
