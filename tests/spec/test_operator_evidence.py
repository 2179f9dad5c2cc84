"""What each operator shows for its outcome: every fact it used, and what it misses; one row of a table each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from spec_facts import found

from cds_service.policy.criteria import Found


def rows() -> Iterator[tuple[str, str, str]]:
    """(criterion, facts, found) of `operator_evidence.txt`."""
    criterion = facts = ""
    for line in (Path(__file__).parent / "operator_evidence.txt").read_text(encoding="utf-8").splitlines()[3:]:
        if line.startswith("# "):
            criterion = line[2:]
        elif not line.startswith(" "):
            facts = line
        else:
            yield criterion, facts, line.strip()


def told(what: Found) -> str:
    """An outcome with its evidence and what is missing, in one line."""
    shown = [f"{e.ref.split('/')[1]}: {e.text}" + (f" [{e.code}]" if e.code else "") for e in what.evidence]
    return "; ".join([what.outcome.value, *shown, *(f"? {m.source}: {m.state}" for m in what.missing)])


@pytest.mark.parametrize(("criterion", "facts", "shown"), list(rows()))
def test_what_is_shown(criterion: str, facts: str, shown: str) -> None:
    assert told(found(criterion, facts, "20939")) == shown
