"""Cross-reference checks that a schema cannot make: everything named exists, every criterion has one operator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from typing import Any

from cds_service.errors import ContentError
from cds_service.policy.check_files import card, cases, has_payer, has_set
from cds_service.policy.check_lists import payers, procedures
from cds_service.policy.content import Content
from cds_service.policy.model import (
    OPERATORS,
    All,
    AnyOf,
    AtLeast,
    Criterion,
    Expression,
    Not,
    Policy,
    ValueSet,
    Version,
)
from cds_service.policy.source import Document, Path
from cds_service.policy.spelling import spelling
from cds_service.policy.words import unknown


def check(content: Content) -> list[ContentError]:
    """All dangling references and contradictions in the content."""
    errors: list[ContentError] = []
    for name, document in content.documents.items():
        if name.startswith("value_sets/"):
            errors += _value_set_file(name, content, document)
    errors += payers(content)
    errors += procedures(content)
    for folder in content.policies.values():
        for name, source in folder.documents.items():
            if name.endswith("/policy.yaml"):
                errors += _PolicyCheck(folder.policy, content, source).run()
        errors += card(folder)
        errors += cases(folder, content)
    return errors


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
    return None


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


_PLACE = re.compile(r"\{([^{}]*)\}")


class _PolicyCheck:
    def __init__(self, policy: Policy, content: Content, document: Document) -> None:
        self.policy, self.content, self.document = policy, content, document
        self.errors: list[ContentError] = []

    def run(self) -> list[ContentError]:
        policy = self.policy
        if policy.kind == "coverage" and not policy.payers:
            self.add(("kind",), "a coverage policy needs 'payers'.", "Name the payers that apply it.")
        if policy.kind != "coverage" and policy.payers:
            self.add(("payers",), f"a {policy.kind} policy has no payers.", "Remove 'payers'.")
        for index, payer in enumerate(policy.payers):
            if not has_payer(self.content, payer):
                self.add(("payers", index), *unknown("payer", payer, self.content.payers))
        self.versions()
        for index, version in enumerate(policy.versions):
            self.version(("versions", index), version)
        return self.errors

    def add(self, path: Path, text: str, cure: str) -> None:
        self.errors.append(self.document.error(path, text, cure))

    def versions(self) -> None:
        spans = []
        names: set[str] = set()
        for index, version in enumerate(self.policy.versions):
            start, end = version.effective.from_, version.effective.to
            if version.version in names:
                self.add(
                    ("versions", index, "version"), f"the version '{version.version}' is here twice.", "Rename one."
                )
            names.add(version.version)
            if start and end and end < start:
                self.add(("versions", index, "effective"), "'to' is before 'from'.", "Swap them or correct one.")
            spans.append((start or date.min, end or date.max, index))
        spans.sort()
        for (_, end, first), (start, _, second) in pairwise(spans):
            if start <= end:
                one, two = self.policy.versions[first].version, self.policy.versions[second].version
                self.add(
                    ("versions", second, "effective"),
                    f"versions '{one}' and '{two}' are both in force on {start}.",
                    "End one before the other starts.",
                )

    def version(self, at: Path, version: Version) -> None:
        for criterion_id, criterion in version.criteria.items():
            self.criterion((*at, "criteria", criterion_id), criterion_id, criterion, version)
        for item_id, item in version.orders.items():
            path = (*at, "orders", item_id)
            self.value_set((*path, "value_set"), item.value_set)
            if item.given:
                self.value_set((*path, "given"), item.given)
            ids: set[str] = set()
            for index, rule in enumerate(item.rules):
                here = (*path, "rules", index)
                if rule.id in ids:
                    self.add((*here, "id"), f"the rule '{rule.id}' is here twice.", "Rename one.")
                ids.add(rule.id)
                self.expression((*here, "when"), rule.when, version)
                self.cites((*here, "cite"), rule.cite, version)
                self.recommendation((*here, "recommendation"), rule.recommendation)
            self.cites((*path, "otherwise", "cite"), item.otherwise.cite, version)
            self.recommendation((*path, "otherwise", "recommendation"), item.otherwise.recommendation)
            for index, alternative in enumerate(item.alternatives):
                here = (*path, "alternatives", index)
                self.errors += spelling(self.document, (*here, "code"), alternative.system, alternative.code)
                if alternative.order not in version.orders:
                    self.add((*here, "order"), *unknown("item", alternative.order, version.orders))
                if alternative.when is not None:
                    self.expression((*here, "when"), alternative.when, version)
        for index, finding in enumerate(version.findings):
            here = (*at, "findings", index)
            self.value_set((*here, "about"), finding.about)
            self.expression((*here, "when"), finding.when, version)
            self.cites((*here, "cite"), finding.cite, version)
            self.places((*here, "text"), finding.text)
            self.places((*here, "asks"), finding.asks or "")
        self.kinds(at, version)

    def kinds(self, at: Path, version: Version) -> None:
        remarks = self.policy.kind in ("coding", "safety")
        if remarks and version.orders:
            self.add((*at, "orders"), f"a {self.policy.kind} policy makes findings, not outcomes.", "Use 'findings'.")
        if not remarks and version.findings:
            self.add((*at, "findings"), f"a {self.policy.kind} policy gives outcomes, not findings.", "Use 'orders'.")
        if not (version.orders or version.findings):
            self.add(at, f"version '{version.version}' says nothing.", "Add 'orders' (or 'findings').")
        if version.review.status == "approved":
            if not ((version.review.by or "").strip() and version.review.on):
                self.add((*at, "review"), "approved, but not by whom and when.", "Add 'by' and 'on'.")
            unread = sorted(k for k, s in version.sources.items() if s.confidence != "seen")
            if unread:
                self.add(
                    (*at, "review", "status"),
                    f"approved, but the source '{unread[0]}' was not read at its source.",
                    "Read it, or set the status to submitted.",
                )

    def places(self, path: Path, text: str) -> None:
        """What a remark leaves open to be filled in is its label or its code."""
        for name in _PLACE.findall(text):
            if name not in ("label", "code"):
                self.add(path, f"nothing fills in '{{{name}}}'.", "Use {label} or {code}.")

    def recommendation(self, path: Path, value: str | None) -> None:
        if value is not None and self.policy.kind != "guideline":
            self.add(path, "only a guideline makes recommendations.", "Remove 'recommendation'.")

    def criterion(self, path: Path, criterion_id: str, criterion: Criterion, version: Version) -> None:
        if criterion_id == "always":
            self.add(path, "'always' is a reserved word.", "Rename the criterion.")
        operators = [name for name in OPERATORS if getattr(criterion, name) is not None]
        if len(operators) != 1:
            found = " and ".join(f"'{o}'" for o in operators) or "none"
            self.add(
                path,
                f"'{criterion_id}' needs exactly one operator, but has {found}.",
                f"One of: {', '.join(OPERATORS)}.",
            )
            return
        name, arguments = criterion.operator
        if name == "asked" and criterion.ask is None:
            self.add(path, f"'{criterion_id}' is asked, but has no question.", "Add 'ask: {question: ...}'.")
        for key in ("value_set", "equals"):
            used = getattr(arguments, key, None)
            if used:
                self.value_set((*path, name, key), used)
        bounds = [k for k in type(arguments).model_fields if k in ("at_least", "at_most", "above", "below", "under")]
        optional = name in ("companion", "procedure", "observation", "units")
        if bounds and not optional and all(getattr(arguments, b) is None for b in bounds):
            self.add((*path, name), f"'{name}' compares with nothing.", f"Add one of: {', '.join(bounds)}.")
        if name == "operation" and not any((arguments.region, arguments.approach, arguments.role)):
            self.add((*path, name), "'operation' compares with nothing.", "Add region, approach or role.")
        if name == "observation" and all(
            getattr(arguments, k) is None for k in ("at_least", "at_most", "above", "below", "equals", "present")
        ):
            self.add((*path, name), "'observation' compares with nothing.", "Add a bound, 'equals' or 'present'.")
        for key in ("within", "after", "before", "onset_within"):
            window = getattr(arguments, key, None)
            if window is not None and not (window.days or window.weeks or window.months):
                self.add((*path, name, key), f"'{key}' has no length.", "Add days, weeks or months.")
        self.cites((*path, "cite"), criterion.cite, version)

    def expression(self, path: Path, expression: Expression, version: Version) -> None:
        match expression:
            case "always":
                return
            case str():
                if expression not in version.criteria:
                    self.add(path, *unknown("criterion", expression, version.criteria))
            case All(all=parts):
                self.parts((*path, "all"), parts, version)
            case AnyOf(any=parts):
                self.parts((*path, "any"), parts, version)
            case AtLeast(at_least=count, of=parts):
                self.parts((*path, "of"), parts, version)
                if count > len(parts):
                    self.add((*path, "at_least"), f"at least {count} of {len(parts)} can never be met.", "Lower it.")
            case Not():
                self.expression((*path, "not"), expression.not_, version)

    def parts(self, path: Path, parts: list[Any], version: Version) -> None:
        for index, part in enumerate(parts):
            self.expression((*path, index), part, version)

    def value_set(self, path: Path, name: str) -> None:
        if not has_set(self.content, name):
            self.add(path, *unknown("value set", name, self.content.value_sets))

    def cites(self, path: Path, cites: list[str], version: Version) -> None:
        for index, cite in enumerate(cites):
            if cite not in version.sources:
                self.add((*path, index), *unknown("source", cite, version.sources))
