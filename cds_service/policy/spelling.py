"""How codes are spelt: as `facts/codes.py` normalises those of a chart. Spelt otherwise, a code matches nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cds_service.errors import ContentError
from cds_service.policy.source import Document, Path
from cds_service.policy.words import unknown


class _Form(NamedTuple):
    """One code system: its name, the form of a whole code and of its start, and an example."""

    name: str
    code: re.Pattern[str]
    start: re.Pattern[str]
    example: str


def _form(name: str, code: str, start: str, example: str) -> _Form:
    return _Form(name, re.compile(code), re.compile(start), example)


_FORMS: Mapping[str, _Form] = {
    "cpt": _form("CPT", r"\d{4}[\dA-Z]", r"\d{1,4}[\dA-Z]?", "62323"),
    "hcpcs": _form("HCPCS", r"[A-V]\d{4}", r"[A-V]\d{0,4}", "E0748"),
    "icd-10-cm": _form(
        "ICD-10-CM", r"[A-Z]\d[\dA-Z](\.[\dA-Z]{1,4})?", r"[A-Z](\d([\dA-Z](\.[\dA-Z]{0,4})?)?)?", "M48.06"
    ),
    "icd-10-pcs": _form("ICD-10-PCS", r"[\dA-HJ-NP-Z]{7}", r"[\dA-HJ-NP-Z]{1,7}", "0RG10A0"),
    "snomed": _form("SNOMED CT", r"\d{6,18}", r"\d{1,18}", "77176002"),
    "loinc": _form("LOINC", r"(L[AGP])?\d{1,8}-\d", r"(L[AGP])?(\d{1,8}(-\d?)?)?", "777-3"),
    "rxnorm": _form("RxNorm", r"\d{1,8}", r"\d{1,8}", "1049502"),
    "ndc": _form("NDC", r"\d{11}", r"\d{1,11}", "57894003001"),
    "cvx": _form("CVX", r"\d{2,3}", r"\d{1,3}", "187"),
    "nucc": _form("NUCC", r"[\dA-Z]{10}", r"[\dA-Z]{1,10}", "207RC0000X"),
    "pos": _form("POS", r"\d{2}", r"\d{1,2}", "22"),
}
_LIKE = "Write it as in"
_MODIFIED = re.compile(r"(\d{4}[\dA-Z]|[A-V]\d{4})[-\s:][\dA-Z]{2}")
_RANGE = re.compile(r"\w{4,5}\s*[-\u2013]\s*\w{4,5}")


def is_system(name: str) -> bool:
    """Is it a code system that content may use?"""
    return name in _FORMS


def ordered(document: Document, path: Path, system: str, code: str) -> Iterator[ContentError]:
    """As `spelling`, for a draft order of a worked case: that may have a code which its system never had."""
    yield from (error for error in spelling(document, path, system, code) if not error.cure.startswith(_LIKE))


def spelling(document: Document, path: Path, system: str, code: str, start: bool = False) -> Iterator[ContentError]:
    """A code of a system that there is, spelt as its codes are; `start`: the start of codes."""
    if system not in _FORMS:
        yield document.error((*path[:-1], "system"), *unknown("code system", system, _FORMS))
    elif wrong := misspelt(system, code, start):
        yield document.error(path, *wrong)


def misspelt(system: str, code: str, start: bool = False) -> tuple[str, str] | None:
    """Text and cure for a code (or the start of codes) of a known system that is not spelt as one."""
    form = _FORMS[system]
    wanted = form.start if start else form.code
    if wanted.fullmatch(code):
        return None
    if code.upper() != code and wanted.fullmatch(code.upper()):
        return f"'{code}' is in lower case.", f'Write "{code.upper()}".'
    if code.strip() != code and wanted.fullmatch(code.strip()):
        return f"'{code}' has a space at its end or start.", f'Write "{code.strip()}".'
    dotted = f"{code[:3]}.{code[3:]}"
    if system == "icd-10-cm" and "." not in code and wanted.fullmatch(dotted):
        return f"'{code}' lacks its dot.", f'Write "{dotted}".'
    return _other_form(system, code, form)


def _other_form(system: str, code: str, form: _Form) -> tuple[str, str]:
    """Text and cure for what is no spelling of one code of the system."""
    other = {"cpt": "hcpcs", "hcpcs": "cpt"}.get(system)
    if other and _FORMS[other].code.fullmatch(code):
        return f"'{code}' is a code of {_FORMS[other].name}.", f"Write system: {other}."
    if other and (modified := _MODIFIED.fullmatch(code)):
        return f"'{code}' holds a modifier.", f'Write "{modified[1]}".'
    if other and ("," in code or _RANGE.fullmatch(code)):
        return f"'{code}' is more than one code.", "Write each code on its own, or a prefix."
    return f"'{code}' does not look like a code of {form.name}.", f'{_LIKE} "{form.example}".'
