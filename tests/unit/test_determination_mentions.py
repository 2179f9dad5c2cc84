"""What an order gets whose text mentions a product and leaves open whether it is used; on the bundled policies."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from cds_service.content_files import load_content
from cds_service.determination.decision import Determination, OrderDecision
from cds_service.determination.worked import run_case
from cds_service.policy.model import WorkedCase
from cds_service.policy.rulebook import Rulebook, compile_content

OPEN = "rhBMP-2 if local bone is short"


@cache
def rulebook() -> Rulebook:
    return compile_content(load_content())


def result(*orders: Any, code: str = "20930") -> OrderDecision:
    folder = rulebook().folders["aetna/bone-graft-adjuncts"]
    done = run_case(folder, WorkedCase(id="t", title="t", payer="aetna", orders=list(orders)), rulebook())
    return next(r for r in done.decision.orders if r.order.codes[0].code == code)


def told(determination: Determination) -> tuple[str, str | None, str | None]:
    return determination.outcome, determination.rule, determination.recommendation


def chips(note: str) -> dict[str, Any]:
    return {"code": "20930", "note": note}


@pytest.mark.parametrize(
    ("note", "outcome"), [("rhBMP-2", "not-supported"), ("rhBMP-2: no", "supported"), (OPEN, "needs-information")]
)
def test_a_mention_that_is_open_neither_refuses_nor_supports(note: str, outcome: str) -> None:
    found = result("22551", chips(note))
    assert {d.outcome for d in found.determinations} == {outcome}
    assert found.outcome == outcome
    assert (found.flag is None) is (outcome != "not-supported")


def test_what_a_text_leaves_open_is_asked_and_told() -> None:
    for determination in result("22551", chips(OPEN)).determinations:
        assert told(determination) == ("needs-information", None, None)
        asked, trace = determination.missing[0], determination.trace
        assert asked.text.endswith(": is it ordered?")
        assert (asked.source, asked.state) == ("orders", "the order's text leaves it open")
        assert trace is not None
        assert trace.outcome == "unknown"
        mentioned = trace.children[-1]
        assert (mentioned.id, mentioned.outcome) == ("mentioned", "unknown")
        assert [e.code for e in mentioned.evidence] == ["text: rhBMP-2"]


def test_where_the_outcome_is_the_same_either_way_it_stands() -> None:
    """Marrow in the neck is not supported, with or without the protein."""
    plain, mentioned = (result("22551", {"code": "20939", "note": note}, code="20939") for note in ("", OPEN))
    assert mentioned.outcome == plain.outcome == "not-supported"


def test_an_order_that_nothing_but_the_mention_is_judged_by() -> None:
    image = {"code": "72156", "note": OPEN}
    assert result("22551", image, code="72156").outcome == "needs-information"
    assert result("22551", {"code": "72156", "note": "no rhBMP-2"}, code="72156").outcome == "not-addressed"


@pytest.mark.parametrize(
    ("note", "kinds"), [("rhBMP-2", ["safety"]), ("BMP: no", []), (OPEN, ["coding"]), ("Prior rhBMP-2?", ["coding"])]
)
def test_a_warning_about_an_open_mention_is_a_question(note: str, kinds: list[str]) -> None:
    found = result("22551", chips(note)).findings
    assert [f.kind for f in found] == kinds
    if kinds == ["coding"]:
        assert found[0].text.startswith("Bone morphogenetic protein: is it ordered? The order's text leaves it open.")


def test_no_question_where_there_would_be_no_warning() -> None:
    assert result("22558", chips(OPEN)).findings == ()
    stimulator = {"code": "E0748", "system": "hcpcs", "note": OPEN}
    assert result("22551", stimulator, code="E0748").findings == ()


def test_a_question_between_two_operations_is_asked_of_an_open_mention_too() -> None:
    found = result("22551", "22558", chips(OPEN)).findings
    assert [f.kind for f in found] == ["coding"]
    assert found[0].text.startswith("Bone morphogenetic protein: is it ordered?")
