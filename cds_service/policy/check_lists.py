"""Cross-reference checks of the lists beside the policies: payers and procedures, once each and as named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.errors import ContentError
from cds_service.policy.case import Code
from cds_service.policy.content import Content
from cds_service.policy.model.payers import Payer, plain
from cds_service.policy.source import Document, Path
from cds_service.policy.spelling import spelling
from cds_service.policy.words import unknown


def payers(content: Content) -> Iterator[ContentError]:
    """Payers once each, no identifier, name or line of two, the payers they name exist, and words state one thing."""
    document = content.documents.get("payers.yaml")
    if document is None or not content.payers:
        return
    seen: set[str] = set()
    owners: dict[tuple[str, ...], str] = {}
    lines: dict[tuple[str, str], str] = {}
    for index, row in enumerate(document.data["payers"]):
        at: Path = ("payers", index)
        if row["id"] in seen:
            yield document.error((*at, "id"), f"the payer '{row['id']}' is here twice.", "Keep one of them.")
        else:
            yield from _shared(document, at, row, owners)
            yield from _child(document, at, content.payers[row["id"]], content.payers, lines)
        seen.add(row["id"])
        for number, name in enumerate(row.get("follows", [])):
            if name not in content.payers:
                yield document.error((*at, "follows", number), *unknown("payer", name, content.payers))
    yield from _words(document)


def _child(
    document: Document, at: Path, payer: Payer, payers: Mapping[str, Payer], lines: dict[tuple[str, str], str]
) -> Iterator[ContentError]:
    """By what a coverage that names the parent would find no payer of its line, or the wrong one."""
    if payer.parent is None:
        if payer.one_of_several:
            text = "'one_of_several' needs a 'parent'."
            yield document.error((*at, "one_of_several"), text, "Name the parent, or remove it.")
        return
    parent, path = payers.get(payer.parent), (*at, "parent")
    if parent is None:
        yield document.error(path, *unknown("payer", payer.parent, payers))
    elif parent.parent is not None:
        cure = f"Name '{parent.parent}'." if parent.parent != payer.id else "Break the circle."
        yield document.error(path, f"the parent '{parent.id}' has a parent itself.", cure)
    elif parent.line_of_business == payer.line_of_business:
        text = f"it is of the same line of business as its parent '{parent.id}'."
        yield document.error(path, text, "Correct 'line_of_business', or remove 'parent'.")
    elif not payer.one_of_several:
        other = lines.setdefault((parent.id, payer.line_of_business), payer.id)
        if other != payer.id:
            text = f"'{other}' is of the same parent and line of business."
            yield document.error(path, text, "Write one_of_several: true at both.")


def _words(document: Document) -> Iterator[ContentError]:
    """Words that are given two meanings would have the last of them only."""
    seen: set[str] = set()
    for index, row in enumerate(document.data.get("lines", [])):
        for number, name in enumerate(row["names"]):
            if plain(name) in seen:
                text = f"the name '{name}' is here twice."
                yield document.error(("lines", index, "names", number), text, "Keep one; 'means' takes several lines.")
            seen.add(plain(name))


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
