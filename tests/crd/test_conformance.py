"""The conformance page: every statement has a verdict, every SHALL a test, and the pages are up to date."""

from __future__ import annotations

import make_docs
import pytest


def test_every_statement_of_the_guide_has_one_verdict() -> None:
    found = make_docs.statements()
    assert len({s["id"] for s in found}) == len(found) == 144
    for statement in found:
        assert statement["verdict"] in make_docs.VERDICTS
        assert statement["about"]
        assert statement["verdict"] == "met" or statement["reason"], statement["id"]


def test_every_shall_is_met_or_does_not_bind() -> None:
    broken = [
        s["id"] for s in make_docs.statements() if make_docs.STRICT & set(s["level"]) and s["verdict"] == "not-met"
    ]
    assert broken == []


def test_the_one_deviation_is_stated() -> None:
    assert [s["id"] for s in make_docs.statements() if s["verdict"] == "deviates"] == ["hook-13"]


def test_everything_said_to_be_met_has_a_test() -> None:
    assert make_docs.unproven() == []


def test_every_shall_that_is_met_is_broken_once_and_its_test_notices() -> None:
    binding = {
        s["id"] for s in make_docs.statements() if make_docs.STRICT & set(s["level"]) and s["verdict"] in make_docs.MET
    }
    broken, proofs = make_docs.mutations(), make_docs.tests_by_statement()
    assert set(broken) == binding
    for statement, mutation in broken.items():
        assert mutation["test"] in proofs[statement]
        assert (make_docs.ROOT / mutation["file"]).read_text(encoding="utf-8").count(mutation["find"]) == 1, statement
        assert mutation["put"] != mutation["find"]
        assert make_docs.noticed(mutation) is True, f"run: python benchmarks/crd_mutations.py {statement}"


def test_no_test_proves_many_statements() -> None:
    """What asserts everything proves nothing in particular."""
    proofs = make_docs.tests_by_statement()
    counts = {t: [s for s, tests in proofs.items() if t in tests] for tests in proofs.values() for t in tests}
    assert {t: s for t, s in counts.items() if len(s) > 3} == {}


def test_nine_of_ten_shoulds_are_met() -> None:
    assert make_docs.advised_met() >= 0.9


def test_markers_name_statements_of_the_guide() -> None:
    known = {s["id"]: s["verdict"] for s in make_docs.statements()}
    marked = make_docs.tests_by_statement()
    assert set(marked) <= set(known)
    assert [m for m in marked if known[m] not in make_docs.MET] == []


@pytest.mark.parametrize("page", ["conformance", "outcomes"])
def test_the_pages_are_up_to_date(page: str) -> None:
    path = {"conformance": make_docs.CONFORMANCE, "outcomes": make_docs.OUTCOMES}[page]
    made = {"conformance": make_docs.conformance, "outcomes": make_docs.outcomes}[page]()
    assert path.read_text(encoding="utf-8") == made, "run: python tests/crd/make_docs.py"
