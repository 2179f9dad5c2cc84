"""Which of a policy version's questions a case answers by itself, for each order that one of its items judges."""

from __future__ import annotations

from cds_service.policy.case import Case
from cds_service.policy.compile import compile_version
from cds_service.policy.evaluate import Evaluator
from cds_service.policy.logic import UNKNOWN, Outcome
from cds_service.policy.model import Policy, Version
from cds_service.policy.view import Facts
from cds_service.policy.vocabulary import Vocabulary


def answered(
    case: Case, vocabulary: Vocabulary, policy: Policy, version: Version, item: str
) -> dict[str, dict[str, Outcome]]:
    """By reference of the order: outcomes of the criteria that have a question and are settled."""
    compiled, evaluator = compile_version(policy, version, vocabulary.sets), Evaluator(Facts(case, vocabulary))
    found: dict[str, dict[str, Outcome]] = {}
    for order in case.orders:
        verdict = evaluator.verdict(compiled, order) if order.draft else None
        if verdict is not None and verdict.item.id == item:
            view = evaluator.view(compiled, order)
            outcomes = {name: test(view).outcome for name, test in compiled.tests.items() if test.criterion.ask}
            found[order.ref] = {name: outcome for name, outcome in outcomes.items() if outcome is not UNKNOWN}
    return found
