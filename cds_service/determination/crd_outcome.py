"""From a determination to what coverage-information says: one table, from which docs/crd-outcomes.md is made.

Source: Da Vinci CRD, coverage-information (tags 2.0.1, 2.1.0, 2.2.1). `indeterminate` came with 2.2; before it,
the same is said as `conditional` with info-needed OTH and a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from cds_service.determination.decision import Cause, Decision, Determination, JudgedOrder, OrderDecision, Waiting
from cds_service.determination.routing import in_force
from cds_service.policy.case import Coverage
from cds_service.policy.trace import Missing

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
    Row("not-addressed", "No policy of the payer speaks to the order.", "indeterminate", "indeterminate",
        reason="Coverage: no policy known to this service speaks to this {thing}."),
)  # fmt: skip
TABLE = {row.id: row for row in _ROWS}

_AUTHORIZATION = {"required": "auth-needed", "not-required": "no-auth"}
UNKNOWN_AUTHORIZATION = "Prior authorization: the policy does not say whether it is needed."
OPEN_AUTHORIZATION = "Prior authorization: whether it is needed depends on what the chart does not tell."
THINGS = {"Appointment": "appointment", "Encounter": "encounter"}  # all else is an order
NOTHING_ASKED = "Nothing is asked for: what is open cannot be settled by information about the {thing}."


def thing(order: JudgedOrder) -> str:
    """What an order is called in a sentence."""
    return THINGS.get(order.resource_type, "order")


def later(aspect: str, order: JudgedOrder) -> str:
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
    binding: Callable[[Determination], bool]


def standing(coverage: Coverage, order: JudgedOrder, today: date, member: str) -> str | None:
    """Row for a coverage that gives no benefit for this order; None where it does. `member`: look-up's state."""
    by_member = {
        "not-found": "member-not-found",
        "several": "coverage-not-found",
        "not-active": "no-active-coverage",
        "unavailable": "member-unavailable",
    }
    if member in by_member:
        return by_member[member]
    if in_force(coverage, order.day):
        return None
    return "contract-window" if _ends_before(coverage, order.day, today) else "no-active-coverage"


def _ends_before(coverage: Coverage, day: date, today: date) -> bool:
    end = coverage.period.end if coverage.period else None
    return end is not None and end < day and in_force(coverage, today)


def situation(decided: OrderDecision, authority: Authority) -> str:
    """Row id for an order under a coverage in force: the first of the table that holds."""
    authorised = decided.authorization is not None and bool(decided.authorization.number)
    if not authorised and not decided.covered_by_policy:
        return "not-addressed"
    if not authority.payer_declared:
        return "not-declared"
    if authorised:
        return "authorised"
    if decided.outcome == "needs-information" and unread(decided):
        return "technical"
    return decided.outcome if all(map(authority.binding, behind(decided))) else "not-approved"


def behind(decided: OrderDecision) -> tuple[Determination, ...]:
    """What the payer's policies said that gave the outcome."""
    return tuple([d for d in decided.primary if d.policy is not None and d.outcome == decided.outcome])


def unread(decided: OrderDecision) -> tuple[str, ...]:
    """Sources that keep an order open because they could not be read; none where what is missing can be asked for.

    What failed may hold all that is missing, so that nothing is asked for meanwhile. What nobody supplied will not
    come either: only where it is all that is missing, there is nobody to ask.
    """
    waits = {w for d in decided.primary if not d.settled for w in waiting(d)}
    failed = {w.source for w in waits if w.cause is Cause.FAILED}
    if failed:
        return tuple(sorted(failed))
    asked = any(w.source == "answers" for w in waits) or any(d.settled and d.missing for d in decided.primary)
    if asked or any(w.cause is not Cause.NOT_SUPPLIED for w in waits):
        return ()
    return tuple(sorted({w.source for w in waits}))


def waiting(determination: Determination) -> set[Waiting]:
    """What the open criteria of a determination wait for."""
    return {w for criterion in determination.open_criteria for w in criterion.waits_for}


def sound_questions(determination: Determination, decision: Decision) -> tuple[tuple[Missing, ...], tuple[str, ...]]:
    """What a determination lacks, without what presupposes a fact that nobody read; and the sources not read.

    A rule about a tumour asks for its level: where the problem list did not come, nobody knows of a tumour.
    """
    sound: set[Missing] = set()
    doubtful: dict[Missing, None] = {}
    for rule in determination.open:
        missing = [m for criterion in rule.criteria for m in criterion.missing]
        if any(_is_unread(m, decision) for m in missing):
            doubtful.update(dict.fromkeys(missing))
        else:
            sound.update(missing)
    kept = tuple([m for m in determination.missing if m in sound or m not in doubtful])
    return kept, tuple(sorted({m.source for m in doubtful if _is_unread(m, decision)}))


def _is_unread(missing: Missing, decision: Decision) -> bool:
    """Was the chart not read where it would be? Answers are the clinician's, and orders come with the call."""
    return missing.source not in ("answers", "orders") and not decision.source(missing.source).complete


def authorization_hangs_on(determination: Determination) -> set[Waiting] | None:
    """What the prior authorization of a settled determination rests on; None where the policy leaves it unknown."""
    return waiting(determination) if determination.authorization_open else None
