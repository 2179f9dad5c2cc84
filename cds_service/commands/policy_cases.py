"""Runs worked cases and says what they leave untested: rules never met, outcomes of criteria never seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from cds_service.commands.policy_output import console, counted
from cds_service.determination.worked import CaseReport, run_case, verdict_of
from cds_service.policy.compile import used_criteria
from cds_service.policy.content import PolicyFolder
from cds_service.policy.diff import STRUCTURE
from cds_service.policy.logic import MET, Outcome
from cds_service.policy.model import Version
from cds_service.policy.rulebook import Rulebook
from cds_service.policy.trace import Trace


@dataclass
class PolicyReport:
    """What the worked cases of one policy gave and what they reached."""

    policy: str
    cases: list[CaseReport] = field(default_factory=list)
    unmet_rules: list[str] = field(default_factory=list)
    unseen: dict[str, list[str]] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """True when there are no cases, one fails, or a rule is never met."""
        return not self.cases or bool(self.unmet_rules) or any(c.failures for c in self.cases)


@dataclass
class _Reached:
    """What was seen, by version: rules met, and outcomes per criterion."""

    rules: set[tuple[str, str, str]] = field(default_factory=set)
    outcomes: dict[tuple[str, str], set[Outcome]] = field(default_factory=dict)

    def see(self, version: str, trace: Trace) -> None:
        for node in trace.walk():
            if node.op not in STRUCTURE:
                self.outcomes.setdefault((version, node.id), set()).add(node.outcome)

    def add(self, report: CaseReport) -> None:
        for result in report.results:
            verdict = verdict_of(report.policy, result)
            if verdict is not None:
                version = verdict.version.version.version
                self.see(version, verdict.trace)
                met = (t.id for t in verdict.trace.children if t.op == "rule" and t.outcome is MET)
                self.rules.update((version, verdict.item.id, rule) for rule in met)
            for finding in result.findings:
                if finding.version.policy.id == report.policy:
                    self.see(finding.version.version.version, finding.trace)
                    self.rules.add((finding.version.version.version, "findings", finding.rule))


def run_policy(folder: PolicyFolder, rulebook: Rulebook) -> PolicyReport:
    """Run all cases beside one policy."""
    report, reached = PolicyReport(folder.policy.id), _Reached()
    for worked in folder.cases.cases if folder.cases else ():
        done = run_case(folder, worked, rulebook)
        report.cases.append(done)
        reached.add(done)
    for version in folder.policy.versions:
        name = version.version
        missed = [(item, rule) for item, rule in _rules(version) if (name, item, rule) not in reached.rules]
        report.unmet_rules += [f"{item}/{rule} (version {name})" for item, rule in missed]
        for criterion in sorted(used_criteria(version)):
            seen = reached.outcomes.get((name, criterion), set())
            unseen = [o.value for o in Outcome if o not in seen and possible(version, criterion, o)]
            if unseen:
                report.unseen[f"{criterion} (version {name})"] = unseen
    return report


def _rules(version: Version) -> Iterator[tuple[str, str]]:
    for item_id, item in version.orders.items():
        yield from ((item_id, rule.id) for rule in item.rules)
    yield from (("findings", finding.id) for finding in version.findings)


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
