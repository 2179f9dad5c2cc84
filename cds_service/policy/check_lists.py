"""Cross-reference checks of the lists beside the policies: payers and procedures, once each and as named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cds_service.errors import ContentError
from cds_service.policy.case import Code
from cds_service.policy.content import Content
from cds_service.policy.model.payers import plain
from cds_service.policy.source import Document, Path
from cds_service.policy.spelling import spelling
from cds_service.policy.words import unknown


def payers(content: Content) -> Iterator[ContentError]:
    """Payers once each, no identifier or name of two payers, and the payers they follow exist."""
    document = content.documents.get("payers.yaml")
    if document is None or not content.payers:
        return
    seen: set[str] = set()
    owners: dict[tuple[str, ...], str] = {}
    for index, row in enumerate(document.data["payers"]):
        at: Path = ("payers", index)
        if row["id"] in seen:
            yield document.error((*at, "id"), f"the payer '{row['id']}' is here twice.", "Keep one of them.")
        else:
            yield from _shared(document, at, row, owners)
        seen.add(row["id"])
        for number, name in enumerate(row.get("follows", [])):
            if name not in content.payers:
                yield document.error((*at, "follows", number), *unknown("payer", name, content.payers))


def _shared(
    document: Document, at: Path, row: dict[str, Any], owners: dict[tuple[str, ...], str]
) -> Iterator[ContentError]:
    """By what a coverage would find two payers: it would get the policies of the last of them only."""
    marks: list[tuple[Path, tuple[str, ...], str]] = [
        ((*at, "identifiers", n), (i["system"], i["value"]), f"identifier '{i['value']}'")
        for n, i in enumerate(row.get("identifiers", []))
    ]
    marks.append(((*at, "label"), (plain(row["label"]),), f"name '{row['label']}'"))
    marks += [((*at, "names", n), (plain(name),), f"name '{name}'") for n, name in enumerate(row.get("names", []))]
    for path, mark, words in marks:
        owner = owners.setdefault(mark, row["id"])
        if owner != row["id"]:
            yield document.error(path, f"the {words} is that of the payer '{owner}' too.", "Leave it with one of them.")


def procedures(content: Content) -> Iterator[ContentError]:
    """Procedures once each, spelt as codes are, added to codes that exist, and spanning no fewer than the fewest."""
    document = content.documents.get("procedures.yaml")
    if document is None or not content.procedures:
        return
    seen: set[Code] = set()
    for index, row in enumerate(document.data["procedures"]):
        at: Path = ("procedures", index)
        code = Code(row["system"], row["code"])
        if code in seen:
            yield document.error((*at, "code"), f"the code {code.code} is here twice.", "Keep one of them.")
        seen.add(code)
        yield from spelling(document, (*at, "code"), code.system, code.code)
        for number, primary in enumerate(row.get("requires", [])):
            if Code(code.system, primary) not in content.procedures:
                known = [c.code for c in content.procedures if c.system == code.system]
                yield document.error((*at, "requires", number), *unknown("procedure", primary, known))
        fewest, most = row.get("segments") or (0, 0)
        if fewest > most:
            yield document.error((*at, "segments"), f"{fewest} is more than {most}.", "Write the fewest first.")
