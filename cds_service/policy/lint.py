"""Lint: content that loads, but does not do what its author wanted. Every notice has its place and a cure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from cds_service.policy.case import Code
from cds_service.policy.compile import used_criteria
from cds_service.policy.content import Content, PolicyFolder
from cds_service.policy.lint_questions import asks_of_policy, gap_places, payer_names, questions, unanswerable
from cds_service.policy.lint_reach import hidden, impossible, item_before
from cds_service.policy.model import Alternative, Criterion, Expression, Item, ValueSet, Version
from cds_service.policy.propositions import table
from cds_service.policy.review import is_changed, named_sets
from cds_service.policy.source import Document, Path
from cds_service.policy.vocabulary import Vocabulary, compile_vocabulary

GAP = "gap"  # the kind of notice that is no doubt about the content: what the encoding says it does not know
STALE_AFTER = timedelta(days=366)


@dataclass(frozen=True, order=True)
class Notice:
    """One warning: its place, what is wrong, the cure, and a stable name for its kind."""

    file: str
    line: int
    column: int
    text: str
    cure: str
    kind: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text} {self.cure}"


def notice(document: Document, path: Path, kind: str, text: str, cure: str) -> Notice:
    """A notice at a path of a document."""
    return Notice(document.file, *document.position(path), text, cure, kind)


def lint(content: Content, today: date) -> list[Notice]:
    """All notices on valid content, in file order. `today` is only used for the age of confirmations."""
    vocabulary = compile_vocabulary(content.value_sets, content.procedures)
    found = list(_value_sets(content))
    for folder in content.policies.values():
        document = next((d for n, d in folder.documents.items() if n.endswith("/policy.yaml")), None)
        if document is not None:
            found += _spans(folder, document)
            found += _asking(folder, content, document)
            found += _links(folder, document)
            for index, version in enumerate(folder.policy.versions):
                at: Path = ("versions", index)
                found += _VersionLint(folder, version, document, at, vocabulary, content.value_sets, today).run()
    return sorted(set(found))


def _value_sets(content: Content) -> Iterator[Notice]:
    """Value sets that no policy uses, directly or through a set that includes them."""
    used: set[str] = set()
    ahead = [name for f in content.policies.values() for v in f.policy.versions for name in named_sets(v)]
    while ahead:
        name = ahead.pop()
        if name not in used:
            used.add(name)
            ahead += content.value_sets[name].includes
            if beside := content.value_sets[name].with_code:
                ahead.append(beside.value_set)
    for name, value_set in content.value_sets.items():
        document = content.documents.get(f"value_sets/{name}.yaml")
        if name not in used and document is not None:
            text = f"no policy uses the value set '{value_set.id}'."
            yield notice(document, ("id",), "unused-value-set", text, "Use it or remove the file.")


def _spans(folder: PolicyFolder, document: Document) -> Iterator[Notice]:
    numbered = enumerate(folder.policy.versions)
    spans = sorted((v.effective.from_ or date.min, v.effective.to or date.max, n) for n, v in numbered)
    for (_, end, _first), (start, _, second) in pairwise(spans):
        meant = "gap" in (folder.policy.versions[second].changes or "").lower()
        if end < date.max and end + timedelta(days=1) < start and not meant:
            text = f"no version is in force from {end + timedelta(days=1)} to {start - timedelta(days=1)}."
            path: Path = ("versions", second, "effective")
            yield notice(document, path, "version-gap", text, "Close it, or say in 'changes' that this gap is meant.")


def _asking(folder: PolicyFolder, content: Content, document: Document) -> Iterator[Notice]:
    """Gaps of the encoding; questions that ask what a policy says; what wants information and names none."""
    names = payer_names(content, folder.policy)
    for index, version in enumerate(folder.policy.versions):
        at: Path = ("versions", index)
        for place, text in questions(version):
            if words := asks_of_policy(text, names):
                told = f"a clinician is asked what a policy says ('{words}')."
                cure = "Ask for the fact of the chart, or write as 'gap' what is not known of the policy."
                yield notice(document, (*at, *place), "asks-policy", told, cure)
        for place, name in unanswerable(version):
            told = f"'{name}' needs information and names none that would settle it."
            yield notice(document, (*at, *place), "unasked", told, "Add 'asks', or a 'gap' of the encoding.")
        for place, gap in gap_places(version):
            yield notice(document, (*at, *place), GAP, f"not known: {gap.rstrip('.')}.", "")


def _links(folder: PolicyFolder, document: Document) -> Iterator[Notice]:
    """Addresses that lead to a home page or a search: a reader would have to look for the policy again."""
    urls: list[tuple[Path, str | None]] = [(("url",), folder.policy.url)]
    for index, version in enumerate(folder.policy.versions):
        urls += [(("versions", index, "sources", name, "url"), s.url) for name, s in version.sources.items()]
    for path, url in urls:
        if url is not None and not is_deep(url):
            text = f"'{url}' leads to no document: it is a home page or a search."
            yield notice(document, path, "shallow-link", text, "Name the page itself, or leave 'url' out.")


def is_deep(url: str) -> bool:
    """True where an address names a document of its site, as far as can be told by looking at it."""
    address, _, query = url.partition("#")[0].partition("?")
    path = address.partition("://")[2].partition("/")[2].rstrip("/")
    last = path.rpartition("/")[2].partition(".")[0].lower()
    return bool(last) and (bool(query) or last not in ("index", "default", "home", "search"))


@dataclass
class _VersionLint:
    folder: PolicyFolder
    version: Version
    document: Document
    at: Path
    vocabulary: Vocabulary
    value_sets: Mapping[str, ValueSet]
    today: date

    def run(self) -> Iterator[Notice]:
        yield from self.confirmed()
        yield from self.approval()
        yield from self.to_come()
        yield from self.criteria()
        yield from self.sources()
        for item_id, item in self.version.orders.items():
            yield from self.reached(item_id)
            yield from self.rules(item_id, item)
            for index, alternative in enumerate(item.alternatives):
                path = (*self.at, "orders", item_id, "alternatives", index)
                yield from self.alternative(path, alternative)
        for index, finding in enumerate(self.version.findings):
            yield from self.never((*self.at, "findings", index), finding.id, "finding", finding.when)

    def at_(self, path: Path, kind: str, text: str, cure: str) -> Notice:
        return notice(self.document, path, kind, text, cure)

    def confirmed(self) -> Iterator[Notice]:
        """In force, but its sources were last confirmed more than a year ago."""
        ended = self.version.effective.to is not None and self.version.effective.to < self.today
        if not ended and self.today - self.version.last_confirmed_on >= STALE_AFTER:
            yield self.at_(
                (*self.at, "last_confirmed_on"),
                "stale",
                f"version '{self.version.version}' was last confirmed on {self.version.last_confirmed_on}.",
                "Read its sources again and update last_confirmed_on.",
            )

    def approval(self) -> Iterator[Notice]:
        """Changed since it was approved: it counts as submitted until somebody approves it again."""
        if is_changed(self.version, self.value_sets):
            text = f"version '{self.version.version}' was changed since it was approved, and counts as submitted."
            yield self.at_((*self.at, "review"), "changed", text, "Review it again: cds-service policy approve.")

    def to_come(self) -> Iterator[Notice]:
        """Days on which something was done, but which are to come. East of here it may be tomorrow."""
        version = self.version
        days = (("last_confirmed_on",), version.last_confirmed_on), (("review", "on"), version.review.on)
        for path, day in days:
            if day is not None and day > self.today + timedelta(days=1):
                text = f"version '{version.version}': {day} is still to come."
                yield self.at_((*self.at, *path), "future", text, "Write the day on which it was done.")

    def reached(self, item_id: str) -> Iterator[Notice]:
        before = item_before(item_id, self.version, self.value_sets, self.vocabulary)
        if before:
            text = f"the item '{item_id}' is never reached: {before} before it takes all that it matches."
            yield self.at_((*self.at, "orders", item_id), "unreachable-item", text, "Put the narrower item first.")

    def criteria(self) -> Iterator[Notice]:
        shown = {looked.criterion for wording in self.folder.card.orders.values() for looked in wording.context}
        used = used_criteria(self.version) | shown
        for criterion_id, criterion in self.version.criteria.items():
            path = (*self.at, "criteria", criterion_id)
            if criterion_id not in used:
                text = f"no rule uses the criterion '{criterion_id}'."
                yield self.at_(path, "unused-criterion", text, "Use it or remove it.")
            why = impossible(criterion)
            if why:
                text = f"the criterion '{criterion_id}' can never be met: {why}."
                yield self.at_(path, "never-met", text, "Correct the bounds.")
            if _unitless(criterion) and not self._is_score(criterion):
                text = f"the criterion '{criterion_id}' compares a number in any unit."
                yield self.at_(path, "no-unit", text, "Add 'unit' (UCUM).")

    def _is_score(self, criterion: Criterion) -> bool:
        """Scores are plain numbers: charts give them no unit, or any."""
        return "score" in self.vocabulary.sets[criterion.operator[1].value_set].title.lower()

    def sources(self) -> Iterator[Notice]:
        cited = {c for criterion in self.version.criteria.values() for c in criterion.cite}
        cited |= {c for i in self.version.orders.values() for rule in i.rules for c in rule.cite}
        cited |= {c for i in self.version.orders.values() for c in i.otherwise.cite}
        cited |= {c for f in self.version.findings for c in f.cite}
        for wording in self.folder.card.orders.values():
            for part in ("rationale", "distinction", "single_studies", "pitfall", "recommendation"):
                cited |= {c for passage in getattr(wording, part) for c in passage.cite}
        for source in self.version.sources:
            if source not in cited:
                text = f"nothing cites the source '{source}'."
                yield self.at_((*self.at, "sources", source), "uncited-source", text, "Cite it or remove it.")

    def rules(self, item_id: str, item: Item) -> Iterator[Notice]:
        whens = [r.when for r in item.rules]
        proved = table(whens, self.version.criteria)
        for index, rule in enumerate(item.rules):
            path = (*self.at, "orders", item_id, "rules", index)
            never = list(self.never(path, rule.id, "rule", rule.when))
            yield from never
            if not never:
                why = hidden(rule, item.rules[:index], proved)
                if why:
                    text = f"the rule '{rule.id}' is never reached: {why}."
                    yield self.at_(
                        path, "unreachable-rule", text, "Move it up, narrow the rules before it, or remove it."
                    )

    def never(self, path: Path, name: str, what: str, when: Expression) -> Iterator[Notice]:
        proved = table([when], self.version.criteria)
        if proved is not None and proved.mask(when) == 0:
            text = f"the {what} '{name}' can never be met: its 'when' contradicts itself."
            yield self.at_((*path, "when"), "never-met", text, "Correct the expression.")

    def alternative(self, path: Path, alternative: Alternative) -> Iterator[Notice]:
        code = Code(alternative.system, alternative.code)
        target = self.version.orders[alternative.order]
        if "supported" not in {target.otherwise.outcome, *(r.outcome for r in target.rules)}:
            text = f"'{alternative.code}' is never offered: no rule of '{alternative.order}' supports it."
            yield self.at_(path, "unsupported-alternative", text, "Remove it, or name the item that supports it.")
        judge = next((n for n, i in self.version.orders.items() if self._speaks(i, code)), None)
        if judge != alternative.order:
            why = f"'{judge}' judges it, not '{alternative.order}'"
            why = why if judge else f"the value set '{target.value_set}' does not have it"
            text = f"'{alternative.code}' is never offered: {why}."
            yield self.at_(path, "unsupported-alternative", text, "Correct the code or the item.")
        if alternative.when is not None:
            yield from self.never(path, alternative.code, "alternative", alternative.when)

    def _speaks(self, item: Item, code: Code) -> bool:
        return self.vocabulary.sets[item.value_set].find(code) is not None


def _unitless(criterion: Criterion) -> bool:
    test = criterion.observation
    bounds = (test.at_least, test.at_most, test.above, test.below) if test else ()
    return test is not None and test.unit is None and any(b is not None for b in bounds)
