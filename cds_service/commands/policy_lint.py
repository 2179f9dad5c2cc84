"""`policy lint`: all faults of a folder, or all doubts; among them card lines that may reach 140 characters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from cds_service.commands.policy_output import Remark, of_error, of_notice
from cds_service.content_files import load_content
from cds_service.errors import ConfigurationError
from cds_service.policy.case import Code
from cds_service.policy.code_sets import CodeSet
from cds_service.policy.content import Content, Faults, PolicyFolder
from cds_service.policy.lint import Notice, lint, notice
from cds_service.policy.model import FindingRule, Item, ItemWording, Version
from cds_service.policy.vocabulary import Vocabulary, compile_vocabulary
from cds_service.render import wording

OPERATIONS = ("operation", "fusion", "cervical operation", "thoracic operation", "cervical fusion", "lumbar fusion")


def lint_folder(folder: Path, today: date) -> list[Remark]:
    """All errors of a folder; when there are none, all warnings, in file order. Raises ConfigurationError."""
    try:
        content = load_content(folder)
    except Faults as faults:
        return [of_error(e) for e in faults.errors]
    if not content.policies:
        raise ConfigurationError(f"there is no policy below {folder}. Policies are <publisher>/<policy>/policy.yaml.")
    return [of_notice(n) for n in sorted([*lint(content, today), *long_lines(content), *silent_lines(content)])]


def silent_lines(content: Content) -> Iterator[Notice]:
    """Warnings: card lines of a policy that come out empty, and so are never used."""
    filled = dict.fromkeys(wording.VALUES, "x")
    for folder in content.policies.values():
        document = next((d for n, d in folder.documents.items() if n.endswith("/card.yaml")), None)
        for item, words in folder.card.orders.items() if document else ():
            for name in ("summary", "summary_none", "summary_against"):
                for number, text in enumerate(getattr(words, name)):
                    if document and not any(wording.fill(text, {**filled, "ordered": o}) for o in ("x", "")):
                        path = ("orders", item, name, number)
                        yield notice(document, path, "empty-summary", "the template says nothing.", "Remove it.")


def long_lines(content: Content) -> list[Notice]:
    """Warnings: card lines that may reach 140 characters."""
    vocabulary = compile_vocabulary(content.value_sets, content.procedures)
    versions = (
        (f, number, version) for f in content.policies.values() for number, version in enumerate(f.policy.versions)
    )
    return sorted({n for f, number, version in versions for n in _lines(f, number, version, vocabulary)})


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
        templates = wording.summary_templates(folder.card.orders.get(item_id, ItemWording()), kind)[:-1]
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
