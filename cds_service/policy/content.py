"""Content: everything under `cards/`, parsed, validated and cross-referenced, ready to compile.

`read(files)` is pure: it takes the text of each file by its path below `cards/`. What reads the folder
is `cds_service/content_files.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cds_service.errors import ContentError
from cds_service.policy import model
from cds_service.policy.case import Code
from cds_service.policy.source import Document, Path

M = TypeVar("M", bound=BaseModel)

SCHEMAS: dict[str, type[BaseModel]] = {
    "policy": model.Policy,
    "card": model.CardFile,
    "cases": model.CasesFile,
    "value-set": model.ValueSet,
    "procedures": model.Procedures,
    "payers": model.Payers,
}


@dataclass(frozen=True)
class PolicyFolder:
    """One policy with its wording and worked cases, and the documents they were read from."""

    policy: model.Policy
    card: model.CardFile
    cases: model.CasesFile | None
    documents: Mapping[str, Document] = field(repr=False, compare=False, default_factory=dict)


@dataclass(frozen=True)
class Content:
    """All content of one `cards/` folder, with its hash (`revision`)."""

    revision: str
    policies: Mapping[str, PolicyFolder]
    value_sets: Mapping[str, model.ValueSet]
    procedures: Mapping[Code, model.ProcedureCode]
    payers: Mapping[str, model.Payer]
    documents: Mapping[str, Document] = field(repr=False, default_factory=dict)


class Faults(Exception):
    """All content errors found, in file order."""

    def __init__(self, errors: list[ContentError]) -> None:
        self.errors = sorted(errors, key=lambda e: (e.file, e.line, e.column))
        super().__init__("\n".join(str(e) for e in self.errors))


def revision_of(files: Mapping[str, str]) -> str:
    """SHA-256 over names and texts: the same content has the same revision everywhere."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode())
        digest.update(files[name].encode())
    return digest.hexdigest()


def read(files: Mapping[str, str]) -> Content:
    """Parse and validate all files (path below `cards/` -> text); raises Faults with every error found."""
    from cds_service.policy.check import check  # check needs Content: imported late to break the circle

    reader = _Reader()
    for name in sorted(files):
        reader.file(name, files[name])
    content = reader.content(revision_of(files))
    errors = reader.errors + check(content)
    if errors:
        raise Faults(errors)
    return content


def kind_of(name: str) -> str | None:
    """Which schema a file under `cards/` follows; None for files that are not content."""
    parts = name.split("/")
    if not name.endswith(".yaml") or parts[0].startswith("_"):
        return None
    if parts[0] == "value_sets":
        return "value-set"
    if len(parts) == 1:
        return {"procedures.yaml": "procedures", "payers.yaml": "payers"}.get(name)
    stem = parts[-1].removesuffix(".yaml")
    return stem if len(parts) == 3 and stem in ("policy", "card", "cases") else None


class _Reader:
    def __init__(self) -> None:
        self.errors: list[ContentError] = []
        self.parsed: dict[str, BaseModel] = {}
        self.documents: dict[str, Document] = {}

    def file(self, name: str, text: str) -> None:
        kind = kind_of(name)
        if kind is None:
            if name.endswith((".yaml", ".yml")) and not name.startswith("_"):
                self.errors.append(ContentError(name, 1, 1, "is not a file that cards/ knows.", "See cards/README.md."))
            return
        try:
            document = Document(name, text)
        except ContentError as error:
            self.errors.append(error)
            return
        self.documents[name] = document
        parsed, errors = validate(document, SCHEMAS[kind])
        self.errors += errors
        if parsed is not None:
            self.parsed[name] = parsed

    def content(self, revision: str) -> Content:
        folders: dict[str, PolicyFolder] = {}
        for name, policy in self.parsed.items():
            if isinstance(policy, model.Policy):
                folder = name.rsplit("/", 1)[0]
                card = self.parsed.get(f"{folder}/card.yaml")
                cases = self.parsed.get(f"{folder}/cases.yaml")
                folders[policy.id] = PolicyFolder(
                    policy,
                    card if isinstance(card, model.CardFile) else model.CardFile(format=1),
                    cases if isinstance(cases, model.CasesFile) else None,
                    {n: d for n, d in self.documents.items() if n.startswith(f"{folder}/")},
                )
                if policy.id != folder:
                    self.errors.append(
                        self.documents[name].error(
                            ("id",), f"the id '{policy.id}' is not the folder '{folder}'.", "Make them equal."
                        )
                    )
        procedures = self.parsed.get("procedures.yaml")
        payers = self.parsed.get("payers.yaml")
        return Content(
            revision,
            folders,
            {v.id: v for v in self.parsed.values() if isinstance(v, model.ValueSet)},
            {Code(p.system, p.code): p for p in getattr(procedures, "procedures", ())},
            {p.id: p for p in getattr(payers, "payers", ())},
            self.documents,
        )


def validate(document: Document, shape: type[M]) -> tuple[M | None, list[ContentError]]:
    """Check one document against its model; every error with its place and a cure in plain words."""
    try:
        return shape.model_validate(document.data), []
    except ValidationError as error:
        return None, _explain(document, error)


def _explain(document: Document, error: ValidationError) -> list[ContentError]:
    found: dict[tuple[Path, str], ContentError] = {}
    for detail in error.errors():
        path = _real_path(document.data, detail["loc"])
        text, cure = _words(detail, path)
        found.setdefault((path, text), document.error(path, text, cure))
    # A union reports every branch: keep the deepest complaints, which name the real place.
    deepest = {p for p, _ in found if not any(q != p and q[: len(p)] == p for q, _ in found)}
    return [e for (p, _), e in found.items() if p in deepest]


def _real_path(data: Any, location: tuple[str | int, ...]) -> Path:
    """The location without the names of union branches, which are not in the file."""
    path: list[str | int] = []
    for index, step in enumerate(location):
        if (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        ):
            data = data[step]
        elif index < len(location) - 1 or not (isinstance(data, dict) and isinstance(step, str) and step.islower()):
            continue
        path.append(step)
    return tuple(path)


def _words(detail: Any, path: Path) -> tuple[str, str]:
    name = str(path[-1]) if path else "the file"
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return f"'{name}' is missing.", "Add it."
    if kind == "extra_forbidden":
        return f"'{name}' is not a key here.", "Remove it or correct its spelling; cards/README.md lists the keys."
    if kind == "string_type" and isinstance(detail["input"], int | float):
        return f"'{name}' is the number {detail['input']}.", f'Quote it: "{detail["input"]}".'
    if kind == "literal_error":
        return f"'{name}' must be one of {context['expected']}.", "Use one of these words."
    if kind == "string_pattern_mismatch":
        return f"'{name}' does not have the form {context['pattern']}.", "Use lower-case words joined by hyphens."
    if kind.startswith("date"):
        return f"'{name}' is not a date.", "Write it as YYYY-MM-DD."
    return f"'{name}': {detail['msg'][0].lower()}{detail['msg'][1:]}.", ""
