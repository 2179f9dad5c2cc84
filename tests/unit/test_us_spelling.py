"""Everything that people read is spelt as in the United States: authored texts, pages, and the words of cards."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from support.paths import ROOT

from cds_service.content_files import load_content

BRITISH = re.compile(
    r"\b\w*(?:authoris|unauthoris|tumour|anaemi|haemo|haemat|paediatr|orthopaed|oedema|oesoph|leukaem|gynaec|ischaem|"
    r"behaviour|favour|colour|neighbour|labour|organis|recognis|normalis|minimis|summaris|stabilis|immobilis|mineralis|"
    r"utilis|prioritis|judgement|centre\b|fibre|metre\b|programme|defence|licence|labell|cancelled|modell|travell|"
    r"analyse\b|analysed|analysing|whilst|ageing|spelt|learnt)\w*",
    re.IGNORECASE,
)
# Identifiers, and words that are looked for in a chart as others write them.
_NO_TEXT = {
    "id",
    "value_set",
    "order",
    "about",
    "terms",
    "patterns",
    "codes",
    "cite",
    "url",
    "scenario",
    "system",
    "code",
}
_PAGES = sorted((ROOT / "cds_service/web/pages/templates").glob("*.html"))
_MODULES = sorted((ROOT / "cds_service/render").glob("*.py"))


def texts(found: Any) -> Iterator[str]:
    """Every text of a model, without identifiers."""
    if isinstance(found, str):
        if " " in found:
            yield found
    elif isinstance(found, BaseModel):
        for name in type(found).model_fields:
            if name not in _NO_TEXT:
                yield from texts(getattr(found, name))
    elif isinstance(found, dict):
        for value in found.values():
            yield from texts(value)
    elif isinstance(found, list | tuple):
        for value in found:
            yield from texts(value)


def test_authored_texts() -> None:
    content = load_content()
    read = [t for f in content.policies.values() for m in (f.policy, f.card) for t in texts(m)]
    read += [t for s in content.value_sets.values() for t in (s.title, *(c.label for c in s.codes))]
    read += [p.label for p in content.procedures.values()]
    assert len(read) > 1000
    assert [t for t in read if BRITISH.search(t)] == []


@pytest.mark.parametrize("page", _PAGES, ids=lambda p: p.name)
def test_pages(page: Any) -> None:
    shown = re.sub(r"\{[{%].*?[%}]\}|<[^>]*>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert BRITISH.findall(shown) == []


@pytest.mark.parametrize("module", _MODULES, ids=lambda p: p.name)
def test_words_of_cards(module: Any) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    documented = {ast.get_docstring(n, clean=False) for n in ast.walk(tree) if isinstance(
        n, ast.Module | ast.FunctionDef | ast.ClassDef)}  # fmt: skip
    said = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert [t for t in said if t not in documented and " " in t and BRITISH.search(t)] == []


def test_it_would_notice() -> None:
    assert all(map(BRITISH.search, ("the tumour", "severe anaemia", "Already authorised", "orthopaedic use")))
    assert not any(map(BRITISH.search, ("a tumor", "anemia", "authorized", "analyses", "hemoglobin")))
