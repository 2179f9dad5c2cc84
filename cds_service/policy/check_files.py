"""Cross-reference checks of payers, wording and worked cases: what they name exists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cds_service.errors import ContentError
from cds_service.policy.content import Content, PolicyFolder
from cds_service.policy.model import CaseObservation, CaseOrder, ExpectedOrder, WorkedCase
from cds_service.policy.operators.reads import SOURCES
from cds_service.policy.source import Document, Path
from cds_service.policy.spelling import ordered, spelling
from cds_service.policy.words import unknown


def has_set(content: Content, name: str) -> bool:
    """True when the value set exists, also where its own file is faulty: that is said once, there."""
    return name in content.value_sets or f"value_sets/{name}.yaml" in content.names


def has_payer(content: Content, name: str) -> bool:
    """True when the payer exists, or when the registry itself could not be read."""
    return name in content.payers or ("payers.yaml" in content.names and not content.payers)


def _document(folder: PolicyFolder, name: str) -> Document | None:
    return next((d for n, d in folder.documents.items() if n.endswith(f"/{name}")), None)


def card(folder: PolicyFolder) -> Iterator[ContentError]:
    """Items, criteria and sources that `card.yaml` names exist in some version of the policy."""
    document = _document(folder, "card.yaml")
    if document is None:
        return
    versions = folder.policy.versions
    items = {i for v in versions for i in v.orders}
    criteria = {c for v in versions for c in v.criteria}
    sources = {s for v in versions for s in v.sources}
    for item_id, wording in folder.card.orders.items():
        path: Path = ("orders", item_id)
        if item_id not in items:
            yield document.error(path, *unknown("item", item_id, items))
        for index, looked in enumerate(wording.context):
            if looked.criterion not in criteria:
                where = (*path, "context", index, "criterion")
                yield document.error(where, *unknown("criterion", looked.criterion, criteria))
        for part in ("rationale", "distinction", "single_studies", "pitfall", "recommendation"):
            for index, passage in enumerate(getattr(wording, part)):
                for number, cite in enumerate(passage.cite):
                    if cite not in sources:
                        yield document.error((*path, part, index, "cite", number), *unknown("source", cite, sources))


def cases(folder: PolicyFolder, content: Content) -> Iterator[ContentError]:
    """Worked cases name orders, rules, criteria, payers and sources that exist, and expect something."""
    document = _document(folder, "cases.yaml")
    if document is None or folder.cases is None:
        return
    seen: set[str] = set()
    for index, worked in enumerate(folder.cases.cases):
        at: Path = ("cases", index)
        if worked.id in seen:
            yield document.error((*at, "id"), f"the case '{worked.id}' is here twice.", "Rename one.")
        seen.add(worked.id)
        yield from _case(document, at, worked, folder, content)


def _case(
    document: Document, at: Path, worked: WorkedCase, folder: PolicyFolder, content: Content
) -> Iterator[ContentError]:
    if not worked.expect and worked.findings is None:
        yield document.error(at, f"the case '{worked.id}' expects nothing.", "Add 'expect' (or 'findings').")
    if worked.payer and not has_payer(content, worked.payer):
        yield document.error((*at, "payer"), *unknown("payer", worked.payer, content.payers))
    if worked.coverage and not (worked.payer or folder.policy.payers):
        yield document.error((*at, "coverage"), "the case has no payer, so no coverage.", "Add 'payer'.")
    for number, source in enumerate(worked.unavailable):
        if source not in SOURCES:
            yield document.error((*at, "unavailable", number), *unknown("source of facts", source, SOURCES))
    yield from _codes(document, at, worked)
    criteria = {c for v in folder.policy.versions for c in v.criteria}
    for answer in worked.answers:
        if answer not in criteria:
            yield document.error((*at, "answers", answer), *unknown("criterion", answer, criteria))
    names = _names(worked.orders)
    rules = {r.id for v in folder.policy.versions for i in v.orders.values() for r in i.rules}
    findings = {f.id for v in folder.policy.versions for f in v.findings}
    for name, want in worked.expect.items():
        path = (*at, "expect", name)
        if name not in names:
            yield document.error(path, f"the case has no draft order '{name}'.", f"One of: {', '.join(sorted(names))}.")
        if isinstance(want, ExpectedOrder) and want.rule and want.rule not in rules:
            yield document.error((*path, "rule"), *unknown("rule", want.rule, rules))
        for number, wanted in enumerate((want.missing or []) if isinstance(want, ExpectedOrder) else []):
            if wanted not in criteria:
                yield document.error((*path, "missing", number), *unknown("criterion", wanted, criteria))
    for name, wanted_findings in (worked.findings or {}).items():
        for number, finding in enumerate(wanted_findings):
            if finding not in findings:
                yield document.error((*at, "findings", name, number), *unknown("finding", finding, findings))


def _codes(document: Document, at: Path, worked: WorkedCase) -> Iterator[ContentError]:
    """Codes of a case as those of a chart are normalised: the facts of a case are not."""
    for key in ("orders", "conditions", "procedures", "services", "medications", "observations"):
        for index, item in enumerate(getattr(worked, key)):
            path: Path = (*at, key, index)
            spelt, system = (ordered, "cpt") if key == "orders" else (spelling, "icd-10-cm")
            if isinstance(item, str):
                yield from spelt(document, path, system, item)
            elif item.code is not None:
                yield from spelt(document, (*path, "code"), item.system, item.code)
            for number, reason in enumerate(item.reason if isinstance(item, CaseOrder) else ()):
                yield from spelling(document, (*path, "reason", number), "icd-10-cm", reason)
            if isinstance(item, CaseObservation) and item.coded:
                yield from spelling(document, (*path, "coded"), item.coded_system, item.coded)


def _names(orders: list[Any]) -> set[str]:
    """Names by which `expect` may mean a draft order: its code, its id, or o1, o2, ..."""
    found: set[str] = set()
    for number, item in enumerate(orders, 1):
        spec = CaseOrder(code=item) if isinstance(item, str) else item
        if not spec.active:
            found |= {n for n in (spec.code, spec.id or f"o{number}") if n}
    return found
