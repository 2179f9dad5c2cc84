"""From what the engine found to plain data: determinations, what is open and why, what was looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cds_service.determination.decision import (
    Cause,
    Determination,
    Looked,
    LookedFor,
    OpenCriterion,
    OpenRule,
    Operation,
    Waiting,
)
from cds_service.determination.routing import Role
from cds_service.policy import operation as surgery
from cds_service.policy.case import Authorization, Case, Order, Source, SourceState
from cds_service.policy.compile import CompiledVersion
from cds_service.policy.criteria import Found, Test
from cds_service.policy.evaluate import Verdict
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN
from cds_service.policy.model import Looked as Reported
from cds_service.policy.trace import Missing
from cds_service.policy.view import ACTIVE_UNREAD, View

_LOOKED = {MET: Looked.FOUND, NOT_MET: Looked.ABSENT, UNKNOWN: Looked.NOT_DOCUMENTED}


def bare(role: Role, payer: str | None, verdict: Verdict) -> Determination:
    """A determination with nothing but what the outcome of its order rests on."""
    policy, version = verdict.version.policy.id, verdict.version.version.version
    return Determination(
        role, verdict.outcome, payer, policy, version, verdict.item.id, recommendation=verdict.recommendation
    )


def causes(case: Case) -> dict[str, Cause]:
    """Why each source of a case may leave a criterion open. One of which nothing is known was not supplied."""
    return {name: _cause(source) for name, source in case.sources.items()}


def _cause(source: Source) -> Cause:
    if source.state is not SourceState.UNAVAILABLE:
        return Cause.NOT_TOLD
    return Cause.FAILED if source.failed else Cause.NOT_SUPPLIED


def determination(role: Role, payer: str | None, verdict: Verdict, why: Mapping[str, Cause]) -> Determination:
    """A determination with all that is told of it; `why` are the `causes` of its case."""
    version, ruling = verdict.version, verdict.decision.ruling
    open_ = tuple(_open(verdict, why))
    return Determination(
        role,
        verdict.outcome,
        payer,
        version.policy.id,
        version.version.version,
        verdict.item.id,
        verdict.rule,
        verdict.because,
        verdict.because_patient,
        verdict.prior_authorization,
        verdict.recommendation,
        version.version.review.status,
        ruling.settled,
        bool(open_) and _authorization_open(verdict),
        verdict.missing,
        open_,
        verdict.given,
        verdict.cites,
        verdict.trace,
    )


def _open(verdict: Verdict, why: Mapping[str, Cause]) -> Iterable[OpenRule]:
    for rule, ruled, found in verdict.decision.looked:
        if ruled.open:
            asking = verdict.version.version.criteria
            criteria = [_criterion(found[n], asking[found[n].id].ask is not None, why) for n in ruled.open]
            yield OpenRule(rule.rule.id, tuple(criteria))


def _criterion(found: Found, has_question: bool, why: Mapping[str, Cause]) -> OpenCriterion:
    """What a criterion waits for. An answer that could not be read may settle any that has a question."""
    sources = [_source(missing, why) for missing in found.missing]
    if has_question and why.get("answers") is Cause.FAILED:
        sources.append("answers")
    waits = [Waiting(name, why.get(name, Cause.NOT_SUPPLIED)) for name in dict.fromkeys(sources)]
    return OpenCriterion(found.id, found.missing, tuple(waits))


def _source(missing: Missing, why: Mapping[str, Cause]) -> str:
    failed = why.get("active-orders") is Cause.FAILED
    return "active-orders" if failed and missing.state == ACTIVE_UNREAD else missing.source


def _authorization_open(verdict: Verdict) -> bool:
    """Whether prior authorization hangs on what is open, and is not left unknown by the policy itself."""
    ruling, looked = verdict.decision.ruling, verdict.decision.looked
    said = [ruling.speaker, *(rule.rule for rule, ruled, _ in looked if ruled.open)]
    return ruling.prior_authorization == "unknown" and any(s.prior_authorization != "unknown" for s in said)


def authorization(found: Authorization | None) -> Authorization | None:
    """An authorisation that holds, without whose it is: that has been looked at."""
    return None if found is None else replace(found, coverage=None, insurer=None)


def operation(order: Order, operations: tuple[surgery.Operation, ...]) -> Operation:
    """How a card names the operation: `cervical fusion`, `lumbar operation`; `case` where nothing is operated on."""
    regions = {r for o in operations for r in o.regions}
    if not any(o.primaries for o in operations):
        return Operation("case", tuple(sorted(regions)))
    kind = "fusion" if all("fusion" in o.roles for o in operations) else "operation"
    phrase = f"{next(iter(regions))} {kind}" if len(regions) == 1 else kind
    own = any(p.order.ref == order.ref for o in operations for p in o.primaries)
    return Operation(phrase, tuple(sorted(regions)), own)


def looked_for(reported: Iterable[Reported], version: CompiledVersion, view: View) -> tuple[LookedFor, ...]:
    """What the chart says of each criterion that a policy's wording reports."""
    tests = [version.tests[item.criterion] for item in reported if item.criterion in version.tests]
    return tuple([LookedFor(test.id, _looked(test, test(view))) for test in tests])


def _looked(test: Test, found: Found) -> Looked:
    """As it came out; where nothing speaks against it, only that the chart holds no such entry."""
    by_absence = found.outcome is NOT_MET and not found.evidence and test.criterion.when_absent == "not-met"
    return Looked.NONE_RECORDED if by_absence else _LOOKED[found.outcome]
