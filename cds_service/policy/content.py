"""Content: everything under `cards/`, parsed, validated and cross-referenced, ready to compile.

`read(files)` is pure: it takes the text of each file by its path below `cards/`. What reads the folder
is `cds_service/content_files.py`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from cds_service.errors import ContentError
from cds_service.policy import model
from cds_service.policy.case import Code
from cds_service.policy.source import Document
from cds_service.policy.words import explain

M = TypeVar("M", bound=BaseModel)
YAML = re.compile(r"\.ya?ml(\.txt)?$", re.IGNORECASE)  # what was meant to be content, however it is named
# Said where a file does not fit its schema and nothing else says why: a file is never left out without an error.
_UNFIT = ("the file does not fit its schema.", "Compare it with docs/policy-language.md.")

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

    def version(self, name: str | None) -> model.Version:
        """A version by its own name. KeyError for one that is not there."""
        for version in self.policy.versions:
            if version.version == name:
                return version
        raise KeyError(name)


@dataclass(frozen=True)
class Content:
    """All content of one `cards/` folder, with its hash (`revision`)."""

    revision: str
    policies: Mapping[str, PolicyFolder]
    value_sets: Mapping[str, model.ValueSet]
    procedures: Mapping[Code, model.ProcedureCode]
    payers: Mapping[str, model.Payer]
    documents: Mapping[str, Document] = field(repr=False, default_factory=dict)
    names: frozenset[str] = field(repr=False, default=frozenset())
    lines: tuple[model.LineNames, ...] = ()


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
        digest.update(files[name].encode("utf-8", "surrogateescape"))
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


def _misplaced(name: str) -> ContentError:
    ending = YAML.search(name)
    if ending is not None and ending[0] != ".yaml":
        return ContentError(name, 1, 1, f"the name ends in {ending[0]}.", "Rename it: names end in .yaml.")
    cure = "Policies are <publisher>/<policy>/policy.yaml, card.yaml and cases.yaml; lists are value_sets/<id>.yaml."
    return ContentError(name, 1, 1, "this file has no place in a cards folder.", cure)


class _Reader:
    def __init__(self) -> None:
        self.errors: list[ContentError] = []
        self.parsed: dict[str, BaseModel] = {}
        self.documents: dict[str, Document] = {}
        self.names: set[str] = set()

    def file(self, name: str, text: str) -> None:
        kind = kind_of(name)
        self.names.add(name)
        if kind is None:
            if YAML.search(name) and not name.startswith("_"):
                self.errors.append(_misplaced(name))
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

    def _orphans(self) -> Iterator[ContentError]:
        for name, document in self.documents.items():
            folder, _, file = name.rpartition("/")
            if file in ("card.yaml", "cases.yaml") and f"{folder}/policy.yaml" not in self.names:
                yield document.error(
                    (), "there is no policy.yaml beside it.", "Add it, or move this file to its policy."
                )

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
        self.errors += self._orphans()
        procedures = self.parsed.get("procedures.yaml")
        payers = self.parsed.get("payers.yaml")
        return Content(
            revision,
            folders,
            {v.id: v for v in self.parsed.values() if isinstance(v, model.ValueSet)},
            {Code(p.system, p.code): p for p in getattr(procedures, "procedures", ())},
            {p.id: p for p in getattr(payers, "payers", ())},
            self.documents,
            frozenset(self.names),
            tuple(getattr(payers, "lines", ())),
        )


def validate(document: Document, shape: type[M]) -> tuple[M | None, list[ContentError]]:
    """Check one document against its model; every error with its place and a cure in plain words."""
    try:
        return shape.model_validate(document.data), []
    except ValidationError as error:
        faults = explain(document, shape, error)
        return None, [document.error(*fault) for fault in faults] or [document.error((), *_UNFIT)]
