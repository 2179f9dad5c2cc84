"""Traces: walking them, what they leave open, and how they are told; and how many facts a node names."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.policy.logic import MET, NOT_MET, UNKNOWN
from cds_service.policy.trace import Evidence, Missing, Trace, few

A, B, C = (Missing(n, "conditions", "not documented") for n in "abc")
OPEN = Trace(
    "r",
    "all",
    UNKNOWN,
    missing=(A,),
    children=(
        Trace("one", "x", UNKNOWN, missing=(B, A), children=(Trace("deep", "x", UNKNOWN, missing=(C,)),)),
        Trace("two", "x", MET, missing=(Missing("d", "", ""),), children=(Trace("under", "x", UNKNOWN, missing=(C,)),)),
        Trace("three", "x", NOT_MET, missing=(Missing("e", "", ""),)),
    ),
)


def test_walk_is_depth_first_from_the_left() -> None:
    assert [t.id for t in OPEN.walk()] == ["r", "one", "deep", "two", "under", "three"]


@pytest.mark.parametrize(
    ("count", "shown", "last"),
    [(0, 0, None), (20, 20, "fact"), (21, 20, "fact, and 1 more"), (45, 20, "fact, and 25 more")],
)
def test_few(count: int, shown: int, last: str | None) -> None:
    found = few(tuple(Evidence(f"Condition/{n}", "fact") for n in range(count)))
    assert len(found) == shown
    assert [e.ref for e in found] == [f"Condition/{n}" for n in range(shown)]
    assert [e.text for e in found] == (["fact"] * (shown - 1) + [last] if last else [])


def test_few_without_words() -> None:
    assert few((Evidence("Condition/c"),) * 22)[-1].text == "and 2 more"


FULL = Trace(
    "i", "op", MET, "text", (Evidence("Condition/c", "t", "cpt 1"), Evidence("", "", "x")), (A,), ("s",), (OPEN,)
)
TOLD: dict[str, Any] = {
    "id": "i",
    "op": "op",
    "outcome": "met",
    "text": "text",
    "evidence": [{"ref": "Condition/c", "text": "t", "code": "cpt 1"}, {"code": "x"}],
    "missing": [{"text": "a", "source": "conditions", "state": "not documented"}],
    "cites": ["s"],
}


def test_plain_data() -> None:
    told = FULL.to_json()
    assert {k: v for k, v in told.items() if k != "children"} == TOLD
    assert [c["id"] for c in told["children"][0]["children"]] == ["one", "two", "three"]
    assert Trace("i", "op", UNKNOWN).to_json() == {"id": "i", "op": "op", "outcome": "unknown"}


def test_what_several_traces_share_is_made_once() -> None:
    known: dict[int, Any] = {}
    one = Trace("a", "all", MET, children=(OPEN,)).to_json(known=known)
    two = Trace("b", "all", MET, children=(OPEN,)).to_json(known=known)
    assert one["children"][0] is two["children"][0]
    assert one["children"][0]["children"][0] is two["children"][0]["children"][0]
    assert one["children"] == Trace("b", "all", MET, children=(OPEN,)).to_json()["children"]
