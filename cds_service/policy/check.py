"""Cross-reference checks that a schema cannot make: everything named exists, every criterion has one operator."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from typing import Any

from cds_service.errors import ContentError
from cds_service.policy import check_criteria
from cds_service.policy.check_files import card, cases, has_payer, has_set
from cds_service.policy.check_lists import payers, procedures
from cds_service.policy.check_sets import value_sets
from cds_service.policy.content import Content
from cds_service.policy.model import All, AnyOf, AtLeast, Criterion, Expression, Not, Policy, Version
from cds_service.policy.operators.reads import foreign, systems_of
from cds_service.policy.source import Document, Path
from cds_service.policy.spelling import is_system, spelling
from cds_service.policy.words import unknown

_PLACE = re.compile(r"\{([^{}]*)\}")


def check(content: Content) -> list[ContentError]:
    """All dangling references and contradictions in the content."""
    errors = [*value_sets(content), *payers(content), *procedures(content)]
    for folder in content.policies.values():
        for name, source in folder.documents.items():
            if name.endswith("/policy.yaml"):
                errors += _PolicyCheck(folder.policy, content, source).run()
        errors += card(folder)
        errors += cases(folder, content)
    return errors


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
        for below, text, cure in check_criteria.faults(criterion_id, criterion):
            self.add((*path, *below), text, cure)
        if len(check_criteria.operators(criterion)) != 1:
            return
        name, arguments = criterion.operator
        for key in ("value_set", "equals", "stopped_because"):
            used = getattr(arguments, key, None)
            if used:
                self.value_set((*path, name, key), used)
        self.readable((*path, name, "value_set"), name, getattr(arguments, "value_set", None))
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

    def readable(self, path: Path, operator: str, value_set: str | None) -> None:
        """A code system that the operator's types are never written in: the criterion would never be met by it."""
        ahead, seen = [value_set], set[str]()
        while ahead:
            name = ahead.pop()
            members = self.content.value_sets.get(name or "")
            if members is None or name in seen:
                continue
            seen.add(members.id)
            ahead += members.includes
            if (system := foreign(operator, members)) and is_system(system):
                where = f"of '{name}' " if name != value_set else ""
                text = f"'{operator}' reads no codes of the system '{system}' {where}- nothing it looks at has them."
                self.add(path, text.replace(" - ", ": "), f"Use one of: {', '.join(systems_of(operator))}.")

    def value_set(self, path: Path, name: str) -> None:
        if not has_set(self.content, name):
            self.add(path, *unknown("value set", name, self.content.value_sets))

    def cites(self, path: Path, cites: list[str], version: Version) -> None:
        for index, cite in enumerate(cites):
            if cite not in version.sources:
                self.add((*path, index), *unknown("source", cite, version.sources))
