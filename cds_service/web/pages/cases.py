"""Worked cases, run on the content in force: pass or fail, and which rules they reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cds_service.determination.worked import CaseReport
from cds_service.determination.worked_rules import run_cases
from cds_service.policy.content import PolicyFolder
from cds_service.policy.model import CaseOrder, ExpectedOrder, WorkedCase
from cds_service.policy.rulebook import Rulebook
from cds_service.web.pages.remembered import per_revision


class CaseView(NamedTuple):
    """One worked case as it is shown."""

    id: str
    title: str
    scenario: str
    orders: tuple[str, ...]
    expected: tuple[tuple[str, str], ...]
    failures: tuple[str, ...]


class Results(NamedTuple):
    """The cases of one policy; `reached` of `rules` were met by some case."""

    cases: tuple[CaseView, ...]
    passed: int
    reached: int
    rules: int

    @property
    def clean(self) -> bool:
        """True when every case passes."""
        return self.passed == len(self.cases)


@per_revision
def all_results(rulebook: Rulebook) -> Mapping[str, Results]:
    """Results of every policy's cases, by policy id."""
    return {name: _results(folder, rulebook) for name, folder in rulebook.folders.items()}


def _results(folder: PolicyFolder, rulebook: Rulebook) -> Results:
    run = run_cases(folder, rulebook)
    views, rules = tuple(_view(r) for r in run.reports), set(run.rules)
    return Results(views, sum(not v.failures for v in views), len(run.met & rules), len(rules))


def _view(report: CaseReport) -> CaseView:
    case = report.case
    return CaseView(
        case.id,
        case.title,
        case.scenario or "",
        tuple(_order(o) for o in case.orders),
        tuple(_expected(case)),
        report.failures,
    )


def _order(order: str | CaseOrder) -> str:
    if isinstance(order, str):
        return order
    name = order.code or order.text or "no code"
    return f"{name} ×{order.units}" if order.units not in (None, 1) else name


def _expected(case: WorkedCase) -> Iterator[tuple[str, str]]:
    for name, want in case.expect.items():
        yield name, want.outcome if isinstance(want, ExpectedOrder) else want
    for name, rules in (case.findings or {}).items():
        yield name, f"remark: {', '.join(rules)}" if rules else "no remark"
