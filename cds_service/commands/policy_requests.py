"""Reads what the policy commands are run on: worked cases files and hook requests, decided by a rulebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from cds_service.config import Settings
from cds_service.determination.decision import Decision
from cds_service.determination.worked import run_case
from cds_service.errors import InputFileError, NotFound, RequestError
from cds_service.hooks.answer import answer
from cds_service.hooks.request import parse, validate
from cds_service.hooks.runtime import Book, Caller, Runtime
from cds_service.hooks.services import ADVISORS, Service
from cds_service.policy.content import Faults, PolicyFolder
from cds_service.policy.content import validate as validate_document
from cds_service.policy.model import CasesFile, WorkedCase
from cds_service.policy.rulebook import Rulebook
from cds_service.policy.source import Document


@dataclass(frozen=True)
class Worked:
    """One worked case, and the policy it stands beside."""

    name: str
    folder: PolicyFolder
    case: WorkedCase

    def decision(self, rulebook: Rulebook) -> Decision:
        """What a rulebook decides."""
        return run_case(self.folder, self.case, rulebook).decision


@dataclass(frozen=True)
class Requested:
    """One hook request from a file, answered from its prefetch alone: no FHIR server is asked."""

    name: str
    body: bytes
    service: Service
    as_of: date | None = None

    def decision(self, rulebook: Rulebook) -> Decision:
        """What a rulebook decides."""
        settings = Settings(demo=True)
        runtime = Runtime(settings, Book(rulebook), services={s.id: s for s in ADVISORS})
        request = validate(parse(self.body), self.service)
        return answer(request, self.service, runtime, Caller(), as_of=self.as_of).decision


def read_bytes(path: Path) -> bytes:
    """A file's bytes, or InputFileError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputFileError(f"{path} cannot be read: {error.strerror}.") from error


def parse_file(body: bytes, place: Path | str) -> dict[str, Any]:
    """The JSON object in a file's bytes. Raises InputFileError, which names the place it was read from."""
    try:
        return parse(body)
    except RequestError as error:
        raise InputFileError(f"{place}: {'; '.join(i.text for i in error.issues)}") from error


def request_of(path: Path, service: str | None = None, as_of: date | None = None) -> Requested:
    """A hook request from a file; the service is the advisor of its hook unless one is named."""
    body = read_bytes(path)
    hook = parse_file(body, path).get("hook")
    found = next((s for s in ADVISORS if s.id == service or (service is None and s.hook == hook)), None)
    if found is None:
        raise NotFound(f"no advisor service for the hook of {path.name}. Name one with --service.")
    return Requested(str(path), body, found, as_of)


def cases_of(path: Path, folders: Mapping[str, PolicyFolder], as_of: date | None = None) -> Iterator[Worked]:
    """The worked cases of a cases file; the policy is the one whose folder (publisher/policy) it stands in."""
    name = "/".join(path.resolve().parts[-3:-1])
    folder = folders.get(name)
    if folder is None:
        raise InputFileError(f"{path} does not stand beside a policy of either folder: '{name}' is in neither.")
    document = Document(str(path), read_bytes(path).decode("utf-8", "replace"))
    parsed, errors = validate_document(document, CasesFile)
    if parsed is None:
        raise Faults(errors)
    for case in parsed.cases:
        yield Worked(f"{name}:{case.id}", folder, case.model_copy(update={"on": as_of}) if as_of else case)


def inputs(
    paths: tuple[Path, ...], folders: Mapping[str, PolicyFolder], as_of: date | None = None
) -> tuple[list[Worked | Requested], list[str]]:
    """Worked cases (.yaml) and hook requests (.json) of files and, recursively, of folders; judged as of a day, if any.

    Second: what was found in a folder and passed over, because no advisor answers its hook.
    """
    found: list[Worked | Requested] = []
    passed: list[str] = []
    for path in paths:
        listed = [p for pattern in ("cases.yaml", "request*.json") for p in sorted(path.rglob(pattern))]
        for file in listed if path.is_dir() else [path]:
            try:
                json_ = file.suffix == ".json"
                found += [request_of(file, as_of=as_of)] if json_ else cases_of(file, folders, as_of)
            except NotFound:
                if file == path:
                    raise
                passed.append(str(file))
    return found, passed
