"""From a determination to what coverage-information says: one table, from which docs/crd-outcomes.md is made.

Source: Da Vinci CRD, coverage-information (tags 2.0.1, 2.1.0, 2.2.1). `indeterminate` came with 2.2; before it,
the same is said as `conditional` with info-needed OTH and a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from cds_service.determination.decide import OrderResult
from cds_service.determination.routing import in_force
from cds_service.policy.case import Case, Coverage, Order, SourceState
from cds_service.policy.criteria import Found
from cds_service.policy.evaluate import Verdict
from cds_service.policy.trace import Missing
from cds_service.policy.view import ACTIVE_UNREAD

Version = Literal["2.0", "2.1", "2.2"]
VERSIONS: tuple[Version, ...] = ("2.0", "2.1", "2.2")
BY_RULE = "by the rule"


@dataclass(frozen=True, slots=True)
class Row:
    """One situation and what is asserted in it. `BY_RULE`: as the rule's prior authorisation says.

    `reason` names what it is about by `{thing}`: an order, an appointment or an encounter.
    """

    id: str
    when: str
    covered: str
    pa_needed: str | None = None
    info_needed: tuple[str, ...] = ()
    documentation: bool = False
    reason_code: str | None = None
    reason: str | None = None


_ROWS = (
    Row("member-not-found", "The payer's directory of members does not know the member.", "not-covered",
        reason_code="no-member-found", reason="Coverage: the payer found no member with these details."),
    Row("coverage-not-found", "The directory finds several coverages for the member.", "not-covered",
        reason_code="coverage-not-found", reason="Coverage: the payer could not settle on one coverage of the member."),
    Row("no-active-coverage", "The patient's own coverage is not active on the day of the order.", "not-covered",
        reason_code="no-active-coverage", reason="Coverage: the coverage is not in force on the day of the {thing}."),
    Row("contract-window", "Coverage is active today and ends before the day of the order.",
        "conditional", "conditional", ("contract-window",),
        reason="Coverage: the {thing} is for a day after the end of the current coverage."),
    Row("member-unavailable", "The directory of members could not be asked.", "indeterminate", "indeterminate",
        reason_code="technical", reason="Coverage: the payer's directory of members could not be reached."),
    Row("payer-unread", "The payor of the Coverage could not be read (an error, no access, too late), so that nobody "
        "can tell whose policies apply.", "indeterminate", "indeterminate", reason_code="technical"),
    Row("unreadable", "The order has a modifier that this service does not understand.",
        "indeterminate", "indeterminate",
        reason="Coverage: the {thing} carries a modifier extension that this service does not understand."),
    Row("not-declared", "The order carries an authorization, or a policy speaks to it, and the payer is not one whose "
        "coverage this deployment may assert (`CDS_PAYERS`).", "indeterminate", "indeterminate",
        reason="Coverage: this service does not assert coverage for this payer; its policy is read for guidance only."),
    Row("authorised", "The order carries an authorization with its number.", "covered", "satisfied"),
    Row("technical", "What the policy leaves open rests on data that could not be read (an error, no access, too late; "
        "or nothing but data that nobody supplied), or the medication or device that is the order's code could not. "
        "Nothing is asked for: what else is needed is known once the data can be read.",
        "indeterminate", "indeterminate", reason_code="technical"),
    Row("no-code", "There is no such medication or device as the order names, so it has no code.",
        "indeterminate", "indeterminate"),
    Row("not-read", "What the order asks for is in no code that is read here, and may be what a policy speaks to.",
        "indeterminate", "indeterminate",
        reason="Coverage: what is ordered is in no code that is read here, so that no policy was checked."),
    Row("not-approved", "The policy behind the outcome is not approved yet.", "indeterminate", "indeterminate",
        reason="Coverage: the encoding of the policy is still under review; nothing is asserted from it."),
    Row("supported", "The policy supports the order; prior authorization is as the rule says.", "covered", BY_RULE),
    Row("not-supported", "The policy does not support the order.", "not-covered"),
    Row("needs-information", "The policy needs information that the chart, as far as it was supplied, does not hold.",
        "conditional", BY_RULE, ("OTH",), documentation=True),
    Row("gap", "The policy speaks to the order, and this encoding of it does not know what it says. Nobody is asked: "
        "the chart cannot settle it.", "indeterminate", "indeterminate"),
    Row("not-addressed", "No policy of the payer speaks to the order.", "indeterminate", "indeterminate",
        reason="Coverage: no policy known to this service speaks to this {thing}."),
)  # fmt: skip
TABLE = {row.id: row for row in _ROWS}

_AUTHORIZATION = {"required": "auth-needed", "not-required": "no-auth"}
UNKNOWN_AUTHORIZATION = "Prior authorization: the policy does not say whether it is needed."
OPEN_AUTHORIZATION = "Prior authorization: whether it is needed depends on what the chart does not tell."
THINGS = {"Appointment": "appointment", "Encounter": "encounter"}  # all else is an order
NOTHING_ASKED = "Nothing is asked for: what is open cannot be settled by information about the {thing}."


def thing(order: Order) -> str:
    """What an order is called in a sentence."""
    return THINGS.get(order.resource_type, "order")


def later(aspect: str, order: Order) -> str:
    """What is said at secondary hooks in the place of what is missing: nothing is asked for there (hook-19)."""
    when = "the order is signed" if order.resource_type not in THINGS else "its orders are signed"
    return f"{aspect}: decided when {when}."


def prior_authorization(row: Row, rule: str) -> Row:
    """The row with `BY_RULE` replaced by what the rule says: required, not-required or unknown."""
    if row.pa_needed != BY_RULE:
        return row
    open_ = "conditional" if row.covered == "conditional" else "indeterminate"
    return replace(row, pa_needed=_AUTHORIZATION.get(rule, open_))


def in_version(row: Row, version: Version) -> Row:
    """The row in the codes of one version of the guide."""
    if version == "2.2" or "indeterminate" not in (row.covered, row.pa_needed):
        return row
    return replace(
        row,
        covered=_older(row.covered),
        pa_needed=_older(row.pa_needed) if row.pa_needed else None,
        info_needed=row.info_needed or ("OTH",),
    )


def _older(code: str) -> str:
    return "conditional" if code == "indeterminate" else code


# --- which situation an order is in -----------------------------------------------------------------


@dataclass(frozen=True)
class Authority:
    """Whether this deployment may assert a payer's coverage, and from which policies (docs/crd.md)."""

    payer_declared: bool
    binding: Callable[[Verdict], bool]


def standing(coverage: Coverage, order: Order, case: Case, member: str) -> str | None:
    """Row for a coverage that gives no benefit for this order; None where it does. `member`: look-up's state."""
    by_member = {
        "not-found": "member-not-found",
        "several": "coverage-not-found",
        "not-active": "no-active-coverage",
        "unavailable": "member-unavailable",
    }
    if member in by_member:
        return by_member[member]
    day = case.day(order)
    if in_force(coverage, day):
        return None
    return "contract-window" if _ends_before(coverage, day, case.received) else "no-active-coverage"


def _ends_before(coverage: Coverage, day: date, today: date) -> bool:
    end = coverage.period.end if coverage.period else None
    return end is not None and end < day and in_force(coverage, today)


def situation(result: OrderResult, case: Case, authority: Authority) -> str:
    """Row id for an order under a coverage in force: the first of the table that holds."""
    authorised = result.authorization is not None and bool(result.authorization.number)
    if not authorised and not result.covered_by_policy and result.gap is None:
        return "not-addressed"
    if not authority.payer_declared:
        return "not-declared"
    if authorised:
        return "authorised"
    if result.gap is not None:
        return "gap"
    if result.outcome == "needs-information" and unread(result, case):
        return "technical"
    verdicts = [d.verdict for d in result.primary if d.verdict and d.outcome == result.outcome]
    return result.outcome if all(map(authority.binding, verdicts)) else "not-approved"


def unread(result: OrderResult, case: Case) -> tuple[str, ...]:
    """Sources that keep an order open because they could not be read; none where what is missing can be asked for.

    What failed may hold all that is missing, so that nothing is asked for meanwhile. What nobody supplied will not
    come either: only where it is all that is missing, there is nobody to ask.
    """
    verdicts = [d.verdict for d in result.primary if d.verdict]
    sources = {s for v in verdicts if not v.decision.ruling.settled for s in _sources(v, case)}
    failed = {s for s in sources if case.source(s).failed}
    if failed:
        return tuple(sorted(failed))
    asked = "answers" in sources or any(v.decision.ruling.settled and v.missing for v in verdicts)
    if asked or any(case.source(s).state is not SourceState.UNAVAILABLE for s in sources):
        return ()
    return tuple(sorted(sources))


def sound_questions(verdict: Verdict, case: Case) -> tuple[tuple[Missing, ...], tuple[str, ...]]:
    """What a verdict lacks, without what presupposes a fact that nobody read; and the sources that were not read.

    A rule about a tumour asks for its level: where the problem list did not come, nobody knows of a tumour.
    """
    sound: set[Missing] = set()
    doubtful: dict[Missing, None] = {}
    for _, ruled, found in verdict.decision.looked:
        missing = [m for place in ruled.open for m in found[place].missing]
        if any(_is_unread(m, case) for m in missing):
            doubtful.update(dict.fromkeys(missing))
        else:
            sound.update(missing)
    kept = tuple([m for m in verdict.missing if m in sound or m not in doubtful])
    return kept, tuple(sorted({m.source for m in doubtful if _is_unread(m, case)}))


def _is_unread(missing: Missing, case: Case) -> bool:
    """Was the chart not read where it would be? Answers are the clinician's, and orders come with the call."""
    return missing.source not in ("answers", "orders") and not case.source(missing.source).complete


def authorization_hangs_on(verdict: Verdict, case: Case) -> set[str] | None:
    """Sources that the prior authorization of a settled verdict rests on; None where the policy leaves it unknown."""
    ruling, looked = verdict.decision.ruling, verdict.decision.looked
    said = [ruling.speaker, *(rule.rule for rule, ruled, _ in looked if ruled.open)]
    if ruling.prior_authorization != "unknown" or all(s.prior_authorization == "unknown" for s in said):
        return None
    return set(_sources(verdict, case))


def _sources(verdict: Verdict, case: Case) -> Iterator[str]:
    """Sources that the open criteria of a verdict rest on. An answer that could not be read may settle any it asks."""
    criteria = verdict.version.version.criteria
    orders_failed, answers_failed = case.source("active-orders").failed, case.source("answers").failed
    for found in _open(verdict):
        for missing in found.missing:
            yield "active-orders" if orders_failed and missing.state == ACTIVE_UNREAD else missing.source
        if answers_failed and criteria[found.id].ask:
            yield "answers"


def _open(verdict: Verdict) -> Iterator[Found]:
    return (found[place] for _, ruled, found in verdict.decision.looked for place in ruled.open)
