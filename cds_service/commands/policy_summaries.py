"""Checks the wording of cards: templates that can be filled in, and lines that stay under CDS Hooks' 140 characters."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import TemplateError

from cds_service.policy.case import Code
from cds_service.policy.content import Content, PolicyFolder
from cds_service.policy.lint import Notice, notice
from cds_service.policy.model import FindingRule, Item, Version
from cds_service.policy.vocabulary import CodeSet, Vocabulary, compile_vocabulary
from cds_service.render import wording

OPERATIONS = ("operation", "fusion", "cervical operation", "thoracic operation", "cervical fusion", "lumbar fusion")


def check_wording(content: Content) -> tuple[list[Notice], list[Notice]]:
    """Faults (a template that cannot be filled in) and warnings (a line that may reach 140 characters)."""
    vocabulary = compile_vocabulary(content.value_sets, content.procedures)
    faults: list[Notice] = []
    warnings: list[Notice] = []
    for folder in content.policies.values():
        faults += _templates(folder)
        for index, version in enumerate(folder.policy.versions):
            if not faults:
                warnings += _lines(folder, index, version, vocabulary)
    return sorted(set(faults)), sorted(set(warnings))


def _templates(folder: PolicyFolder) -> Iterator[Notice]:
    document = next((d for n, d in folder.documents.items() if n.endswith("/card.yaml")), None)
    values = dict.fromkeys(("name", "label", "code", "operation", "ordered"), "x")
    for item_id, words in folder.card.orders.items():
        for index, text in enumerate(words.summary):
            try:
                wording.fill(text, values)
            except TemplateError as error:
                if document is not None:
                    what = f"the template cannot be filled in: {error.message}."
                    cure = f"It may use {', '.join(values)}."
                    yield notice(document, ("orders", item_id, "summary", index), "template", what, cure)


def _lines(folder: PolicyFolder, index: int, version: Version, vocabulary: Vocabulary) -> Iterator[Notice]:
    document = next((d for n, d in folder.documents.items() if n.endswith("/policy.yaml")), None)
    if document is None:
        return
    for item_id, item in version.orders.items():
        length = longest_summary(folder, item_id, item, vocabulary)
        if length >= wording.SUMMARY_LIMIT:
            text = f"the card of '{item_id}' may not fit: its longest summary has {length} characters (limit 139)."
            path = ("versions", index, "orders", item_id, "label")
            yield notice(document, path, "long-summary", text, "Shorten the label, or add a shorter line in card.yaml.")
    for number, finding in enumerate(version.findings):
        length = longest_finding(finding, vocabulary)
        if length >= wording.SUMMARY_LIMIT:
            text = f"the remark '{finding.id}' may not fit: it can have {length} characters (limit 139)."
            yield notice(document, ("versions", index, "findings", number, "text"), "long-summary", text, "Shorten it.")


def longest_summary(folder: PolicyFolder, item_id: str, item: Item, vocabulary: Vocabulary) -> int:
    """Length of the card line in the worst case, the last resort that names nothing left out."""
    kinds = ["not-supported"] if folder.policy.kind == "coverage" else ["against", "none"]
    worst = 0
    for kind in kinds:
        templates = wording.summary_templates(folder, item_id, kind)[:-1]
        for operation in OPERATIONS:
            for code in _codes(vocabulary.sets[item.value_set]):
                for ordered in ("", *(f"{a.label} ({a.code})" for a in item.alternatives)):
                    name = f"{item.label} ({code})" if code else item.label
                    values = {"name": name, "label": item.label, "code": code, "operation": operation}
                    lines = [wording.fill(t, {**values, "ordered": ordered}) for t in templates]
                    worst = max(worst, min(len(line) for line in lines))
    return worst


def _codes(members: CodeSet) -> list[str]:
    """The shortest and the longest code that the name may hold."""
    codes = sorted({c.code for c in members.codes}, key=len)
    return [codes[0], codes[-1]] if codes else [""]


def longest_finding(finding: FindingRule, vocabulary: Vocabulary) -> int:
    """Length of a remark with the longest label and code filled in."""
    codes = [c for c in vocabulary.sets[finding.about].codes if c in vocabulary.procedures] or [Code("", "")]
    filled = (finding.text.replace("{code}", c.code).replace("{label}", vocabulary.label(c)) for c in codes)
    return max(len(text) for text in filled)
