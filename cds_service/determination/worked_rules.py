"""The worked cases beside a policy, run together: what each gave, and which rules of the policy they reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cds_service.determination.worked import CaseReport, determination_of, run_case
from cds_service.policy.content import PolicyFolder
from cds_service.policy.logic import MET
from cds_service.policy.model import Policy
from cds_service.policy.rulebook import Rulebook

RulePlace = tuple[str, str, str]  # version, item ("findings" for those), rule


@dataclass(frozen=True)
class PolicyRun:
    """What the cases of one policy gave, every rule of its versions, and those that some case met."""

    reports: tuple[CaseReport, ...]
    rules: tuple[RulePlace, ...]
    met: frozenset[RulePlace]

    @property
    def unmet(self) -> tuple[RulePlace, ...]:
        """Rules that no case meets, as they stand in the policy."""
        return tuple(r for r in self.rules if r not in self.met)


def run_cases(folder: PolicyFolder, rulebook: Rulebook) -> PolicyRun:
    """Run all cases beside one policy."""
    worked = folder.cases.cases if folder.cases else ()
    reports = tuple(run_case(folder, case, rulebook) for case in worked)
    met = frozenset(rule for report in reports for rule in _met(report))
    return PolicyRun(reports, tuple(_rules(folder.policy)), met)


def _rules(policy: Policy) -> Iterator[RulePlace]:
    for version in policy.versions:
        for item_id, item in version.orders.items():
            yield from ((version.version, item_id, rule.id) for rule in item.rules)
        yield from ((version.version, "findings", finding.id) for finding in version.findings)


def _met(report: CaseReport) -> Iterator[RulePlace]:
    for decided in report.decision.orders:
        said = determination_of(report.policy, decided)
        if said is not None and said.version and said.item:
            met = (t.id for t in said.rules if t.op == "rule" and t.outcome is MET)
            yield from ((said.version, said.item, rule) for rule in met)
        own = (f for f in decided.findings if f.policy == report.policy)
        yield from ((f.version, "findings", f.rule) for f in own)
