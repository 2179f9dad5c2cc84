"""A small, clean cards folder in memory, to change and to read."""

from __future__ import annotations

from functools import cache

from cds_service.content_files import read_files
from cds_service.policy.content import Content, Faults, read
from support.paths import ROOT

POLICY = "acme/imaging/policy.yaml"
CARD = "acme/imaging/card.yaml"
CASES = "acme/imaging/cases.yaml"
ORDERS = "value_sets/imaging-orders.yaml"
FLAGS = "value_sets/imaging-red-flags.yaml"
PAYERS = "payers.yaml"

Edit = tuple[str, str, str]  # file, old text (once; empty: at the end), new text


@cache
def _base() -> dict[str, str]:
    return read_files(ROOT / "tests" / "policies" / "broken" / "_base")


def edited(*edits: Edit) -> dict[str, str]:
    """The clean folder's files with some texts replaced; a file that is not there is added."""
    files = dict(_base())
    for file, old, new in edits:
        text = files.get(file, "")
        assert old in text, f"{file} does not hold {old!r}"
        files[file] = text.replace(old, new, 1) if old else text + new
    return files


def content(*edits: Edit) -> Content:
    """Valid content."""
    return read(edited(*edits))


def faults(*edits: Edit) -> list[str]:
    """What the reader says of faulty content, one line for each fault."""
    try:
        read(edited(*edits))
    except Faults as found:
        return [str(error) for error in found.errors]
    return []
