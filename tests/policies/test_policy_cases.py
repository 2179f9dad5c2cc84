"""Every policy's worked cases hold, one test per case."""

from __future__ import annotations

import pytest

from cds_service.content_files import load_content
from cds_service.determination.worked import run_case
from cds_service.policy.content import PolicyFolder
from cds_service.policy.model import WorkedCase
from cds_service.policy.rulebook import compile_content

CONTENT = load_content()
RULEBOOK = compile_content(CONTENT)
CASES = [(f, w) for f in CONTENT.policies.values() for w in (f.cases.cases if f.cases else ())]


def test_every_policy_has_cases() -> None:
    assert [p for p, f in CONTENT.policies.items() if not (f.cases and f.cases.cases)] == []


@pytest.mark.parametrize(("folder", "worked"), CASES, ids=[f"{f.policy.id}:{w.id}" for f, w in CASES])
def test_worked_case(folder: PolicyFolder, worked: WorkedCase) -> None:
    assert run_case(folder, worked, RULEBOOK).failures == ()
