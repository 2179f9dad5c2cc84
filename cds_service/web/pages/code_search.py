"""Finds procedure and device codes by number or words, in the catalogue and in the value sets' codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cds_service.facts.codes import URI
from cds_service.policy.content import Content
from cds_service.policy.rulebook import Rulebook
from cds_service.web.pages.remembered import per_revision

BILLING = ("cpt", "hcpcs")
MOST = 12


class Entry(NamedTuple):
    """One code with what can be searched."""

    system: str
    code: str
    label: str
    kind: str
    text: str


@per_revision
def entries(rulebook: Rulebook) -> list[Entry]:
    """All billing codes, each once; the catalogue's own label wins."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in _entries(rulebook.content):
        found.setdefault((entry.system, entry.code), entry)
    return sorted(found.values(), key=lambda e: (e.system, e.code))


def _entries(content: Content) -> Iterator[Entry]:
    for code, procedure in content.procedures.items():
        words = f"{code.code} {procedure.label} {procedure.role} {' '.join(procedure.region)}".lower()
        yield Entry(code.system, code.code, procedure.label, procedure.role, words)
    for value_set in content.value_sets.values():
        for member in value_set.codes:
            if member.system in BILLING:
                words = f"{member.code} {member.label} {value_set.title}".lower()
                yield Entry(member.system, member.code, member.label, "", words)


def search(rulebook: Rulebook, query: str) -> list[dict[str, str]]:
    """Up to 12 codes that hold every word; those that start with the first word come first."""
    words = query.lower().split()
    if not words:
        return []
    found = [e for e in entries(rulebook) if all(w in e.text for w in words)]
    found.sort(key=lambda e: not e.code.lower().startswith(words[0]))
    return [_shown(e) for e in found[:MOST]]


def by_code(rulebook: Rulebook, code: str) -> dict[str, str] | None:
    """The one entry with this code, or None."""
    return next((_shown(e) for e in entries(rulebook) if e.code == code), None)


def _shown(entry: Entry) -> dict[str, str]:
    return {"system": URI.get(entry.system, entry.system), "code": entry.code, "label": entry.label, "kind": entry.kind}
