"""The language reference shows the truth tables and keys as they are."""

from __future__ import annotations

from pydantic import BaseModel
from spec_render import PAGE, SHAPES, combinators, keys, operators, rendered

from cds_service.policy import model


def test_the_page_is_in_step() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page) == page, "run: python tests/spec/spec_render.py"


def test_the_page_holds_every_part() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(part in page for part in (combinators(), operators(), keys()))


def test_every_shape_an_author_writes_is_on_the_page() -> None:
    written = {m for m in vars(model).values() if isinstance(m, type) and issubclass(m, BaseModel)}
    shown_otherwise = {
        model.Model, model.Flag, model.All, model.AnyOf, model.Not, model.AtLeast,
        model.Procedures, model.Payers, model.CardFile, model.CasesFile,
    }  # fmt: skip
    assert written - shown_otherwise == set(SHAPES)
