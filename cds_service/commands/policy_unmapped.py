"""Codes in hook requests that nothing maps: no procedure, no value set, no entry of the client's own table.

Beside them, codes without a code system, and how many orders are in words only: no table can map these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cds_service.commands.policy_requests import parse_file, read_bytes
from cds_service.errors import InputFileError
from cds_service.facts import codes, elements
from cds_service.facts.orders import ORDER_TYPES
from cds_service.policy.case import Code
from cds_service.policy.rulebook import Rulebook
from cds_service.policy.source import Document
from cds_service.replay.lines import Unreadable, read_document, read_lines

_LINES = (".ndjson", ".jsonl")
NO_SYSTEM, IN_WORDS = "(no system)", "(in words only)"
_CONCEPTS = ("code", "codeCodeableConcept", "medicationCodeableConcept", "serviceType")


def client_table(path: Path | None) -> dict[Code, Code]:
    """A client's own table, as `code_map` in the clients file: system URI -> local code -> `cpt:20939`."""
    if path is None:
        return {}
    document = Document(path.name, read_bytes(path).decode("utf-8", "replace"))
    rows = document.data.get("code_map", document.data) if isinstance(document.data, dict) else None
    table: dict[Code, Code] = {}
    for system, entries in rows.items() if isinstance(rows, dict) else ():
        for local, target in entries.items() if isinstance(entries, dict) else ():
            parts = str(target).split(":")
            if len(parts) != 2 or parts[0] not in (codes.CPT, codes.HCPCS):
                raise document.error((system, local), f"'{target}' is not a target.", "Write cpt:20939 or hcpcs:E0748.")
            table[codes.normalise(system, local)[0]] = Code(*parts)
    if rows is not None and not table:
        raise InputFileError(f"{path} holds no table. Write system URI, then local code, then cpt:20939.")
    return table


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Files, and those of folders that hold JSON, gzipped or not. Raises InputFileError where there is none."""
    found = [f for p in paths for f in (sorted(p.rglob("*")) if p.is_dir() else [p]) if f == p or _holds(f)]
    if not found:
        raise InputFileError("there is nothing to read: no .json, .ndjson or .jsonl file (or .gz of these).")
    return found


def _holds(path: Path) -> bool:
    return path.is_file() and path.name.removesuffix(".gz").endswith((".json", *_LINES))


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file: one, or one a line. Raises InputFileError, with the file and the line."""
    try:
        if not path.name.removesuffix(".gz").endswith(_LINES):
            yield parse_file(read_document(path), path)
            return
        for number, line in read_lines(path):
            if line is None:
                raise InputFileError(f"{path}, line {number}: is too long.")
            yield parse_file(line, f"{path}, line {number}")
    except Unreadable as error:
        raise InputFileError(f"{path} {error}.") from error


def unmapped(paths: list[Path], rulebook: Rulebook, table: Mapping[Code, Code]) -> Counter[tuple[Code, str]]:
    """How often each code that nothing maps is ordered, with the resource type it was found in."""
    found: Counter[tuple[Code, str]] = Counter()
    for path in paths:
        for resource in (order for document in _documents(path) for order in _orders(document)):
            concepts = [c for name in _CONCEPTS for c in _listed(resource.get(name))]
            read = [code for concept in concepts for code in codes.read(concept, table)[0] or _unread(concept)]
            if read and not any(known(code, rulebook) for code in read):
                found.update({(code, str(resource["resourceType"])): 1 for code in dict.fromkeys(read)})
    return found


def _unread(concept: Any) -> list[Code]:
    """What stands for a concept without a code that is read: its codes without a system, else that it is in words."""
    codings = _listed(concept.get("coding")) if isinstance(concept, dict) else []
    written = [c["code"] for c in codings if isinstance(c, dict) and elements.text(c.get("code"))]
    words = [Code(IN_WORDS, "")] if elements.first_text(concept) else []
    return [Code(NO_SYSTEM, code) for code in written] or words


def known(code: Code, rulebook: Rulebook) -> bool:
    """True when the catalogue or a value set has the code."""
    if code in rulebook.vocabulary.procedures:
        return True
    return any(rulebook.vocabulary.sets[s].find(code) for s in rulebook.vocabulary.sets)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _orders(node: Any) -> Iterator[dict[str, Any]]:
    """Request resources anywhere in a hook request or Bundle."""
    if isinstance(node, dict):
        if node.get("resourceType") in ORDER_TYPES:
            yield node
        for value in node.values():
            yield from _orders(value)
    elif isinstance(node, list):
        for value in node:
            yield from _orders(value)
