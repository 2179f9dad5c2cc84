"""Runs worked cases and says what they leave untested: rules never met, outcomes of criteria never seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from cds_service.commands.policy_output import console, counted
from cds_service.determination.worked import CaseReport, determination_of
from cds_service.determination.worked_rules import run_cases
from cds_service.policy.content import PolicyFolder
from cds_service.policy.criteria_used import used_criteria
from cds_service.policy.diff import STRUCTURE
from cds_service.policy.logic import Outcome
from cds_service.policy.model import Policy, Version
from cds_service.policy.rulebook import Rulebook
from cds_service.policy.trace import Trace


@dataclass(frozen=True)
class PolicyReport:
    """What the worked cases of one policy gave and what they leave untested."""

    policy: str
    cases: tuple[CaseReport, ...]
    unmet_rules: list[str]
    unseen: dict[str, list[str]]

    @property
    def failed(self) -> bool:
        """True when there are no cases, one fails, or a rule is never met."""
        return not self.cases or bool(self.unmet_rules) or any(c.failures for c in self.cases)


def run_policy(folder: PolicyFolder, rulebook: Rulebook) -> PolicyReport:
    """Run all cases beside one policy."""
    run = run_cases(folder, rulebook)
    unmet = [f"{item}/{rule} (version {version})" for version, item, rule in run.unmet]
    return PolicyReport(folder.policy.id, run.reports, unmet, dict(_unseen(folder.policy, run.reports)))


def _unseen(policy: Policy, reports: Iterable[CaseReport]) -> Iterator[tuple[str, list[str]]]:
    """Criteria with the outcomes that they could have, but have in no case."""
    seen: dict[tuple[str, str], set[Outcome]] = {}
    for name, trace in (found for report in reports for found in _traces(report)):
        for node in trace.walk():
            if node.op not in STRUCTURE:
                seen.setdefault((name, node.id), set()).add(node.outcome)
    for version in policy.versions:
        for criterion in sorted(used_criteria(version)):
            there = seen.get((version.version, criterion), set())
            unseen = [o.value for o in Outcome if o not in there and possible(version, criterion, o)]
            if unseen:
                yield f"{criterion} (version {version.version})", unseen


def _traces(report: CaseReport) -> Iterator[tuple[str, Trace]]:
    """How the policy came to its verdicts and findings, each with the version."""
    for decided in report.decision.orders:
        said = determination_of(report.policy, decided)
        if said is not None and said.version is not None:
            yield from ((said.version, rule) for rule in said.rules)
        yield from ((f.version, f.trace) for f in decided.findings if f.policy == report.policy)


def possible(version: Version, criterion_id: str, outcome: Outcome) -> bool:
    """False for outcomes that an operator never gives: some tests of the order itself are never unknown."""
    name, _ = version.criteria[criterion_id].operator
    return outcome is not Outcome.UNKNOWN or name not in ("order", "repeated")


def report_json(report: PolicyReport) -> dict[str, Any]:
    """A report as plain data."""
    return {
        "policy": report.policy,
        "passed": not report.failed,
        "cases": [{"id": c.case.id, "failures": list(c.failures)} for c in report.cases],
        "rules_never_met": report.unmet_rules,
        "outcomes_never_seen": report.unseen,
    }


def show_report(report: PolicyReport) -> None:
    """Print a report: failures of cases, then what no case reaches."""
    out = console()
    colour = "red" if report.failed else "green"
    out.print(
        Text.assemble(
            ("✗ " if report.failed else "✓ ", colour),
            (report.policy, "bold"),
            f"  {counted(len(report.cases), 'case')}",
        )
    )
    if not report.cases:
        out.print(Text("    no worked cases: add cases.yaml beside policy.yaml", "red"))
    for case in report.cases:
        for failure in case.failures:
            out.print(Text.assemble((f"    case {case.case.id}: ", "red"), failure))
    for rule in report.unmet_rules:
        out.print(Text(f"    no case meets the rule {rule}", "red"))
    for criterion, outcomes in report.unseen.items():
        out.print(Text(f"    never seen: {criterion} {', '.join(outcomes)}", "dim"))
