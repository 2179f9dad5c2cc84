"""What all advisor cards are made of: context, identity of a finding, source, policy line, reasons to override."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cds_service.determination.decision import Determination, Finding, Flagged, OrderDecision
from cds_service.policy.case import Code
from cds_service.policy.trace import Evidence
from cds_service.render.crd import topic
from cds_service.render.markdown import escape
from cds_service.render.policies import Policies, Spoken
from cds_service.render.public import is_public

Json = dict[str, Any]
DISCLAIMER = "Decision support, not a coverage decision."
REASON_SYSTEM = "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"
OVERRIDE_REASONS = (
    ("patient-ineligible", "Patient does not meet eligibility for recommended action"),
    ("patient-contraindication", "Patient has contraindication to recommended action"),
    ("does-not-align-latest-evidence", "Recommended action does not align with the latest evidence"),
    ("risk-benefit-ratio", "Recipient assessment of risk/benefit ratio"),
    (
        "need-more-info",
        "Could not address recommended action due to need for more information/pending results/pending consult",
    ),
    ("prefers-alternative", "Patient prefers an alternative approach or treatment"),
)  # fmt: skip - codes and displays of HL7's non-adherence reason codes


@dataclass(frozen=True)
class Context:
    """What rendering needs beside the decision: the policies' words, the orders as they came, ids and links."""

    policies: Policies
    patient_ref: str
    drafts: Mapping[str, Json]
    uri_of: Callable[[Code], str]
    new_id: Callable[[], str]
    link: Callable[[str], str]
    payer_label: Callable[[str], str] = str
    # CRD: whether coverage is asserted for an order from what its policy says. Advisors assert nothing.
    asserts: Callable[[OrderDecision], bool] = lambda _decided: True
    changeable: bool = True  # False: the orders are not drafts of this event, so nothing may be suggested


class Covered(NamedTuple):
    """An order and what covers it. The number of the authorisation (if any) is for the card, not for the page."""

    text: str
    number: str = ""
    note: str = ""
    heading: str = ""


@dataclass(frozen=True)
class RenderedCard:
    """A card with what the ledger and the explanation need to know of it.

    `about` is the order that an explanation can be given for, `waiting` those that the card says wait for information.
    """

    card: Json
    kind: str
    finding: str
    orders: tuple[str, ...]
    about: OrderDecision | None = None
    flagged: Flagged | None = None
    findings: tuple[Finding, ...] = ()
    policy: str | None = None
    version: str | None = None
    rule: str | None = None
    covered: tuple[Covered, ...] = ()
    waiting: tuple[OrderDecision, ...] = ()
    names: dict[str, str] = field(default_factory=dict)


def named(label: str, code: str) -> str:
    """A procedure by the policy's label and code."""
    return f"{label} ({code})" if code else label


def governing(decided: OrderDecision) -> Determination:
    """What gave the outcome of an order that has a card."""
    assert decided.governs is not None
    return decided.determinations[decided.governs]


def code_of(decided: OrderDecision, policies: Policies) -> str:
    """The order's code that the policy governs; where its own text was matched, the first code that may be shown."""
    codes = policies.code(governing(decided), decided.order.codes)
    return next((escape(c.code) for c in codes if is_public(c, policies.vocabulary)), "")


def evidence_line(fact: Evidence, words: str | None, orders: Collection[str]) -> str:
    """A fact as a card shows it: what it is, code, the chart's own words (escaped), and where it was read.

    Not of one of the `orders` of the case: cards name those by label and code.
    """
    told = [escape(t) for t in (fact.code, words) if t]
    where = "" if fact.ref in orders else f" ({escape(fact.ref)})"
    return f"- {escape(fact.text)}{': ' if told else ''}{' '.join(told)}{where}"


def finding_key(*parts: str) -> str:
    """A stable key of a finding: the same when a card re-fires, with no identifier in clear."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def card_of(context: Context, summary: str, detail: str, indicator: str, source: Json) -> Json:
    """A card with an id of its own (CDS Hooks, Card Attributes)."""
    return {
        "uuid": context.new_id(),
        "summary": summary,
        "detail": detail,
        "indicator": indicator,
        "source": source,
    }


def source_of(spoken: Spoken, type_: str) -> Json:
    """Label and URL of the policy behind a card, and the type of the card."""
    policy = spoken.policy
    urls = (s.url for s in spoken.version.sources.values() if s.url)
    url = policy.url or next(urls, None)
    label = f"{policy.short_title} ({policy.notice})"
    source: Json = {"label": label, "topic": topic(type_)}
    if url:
        source["url"] = url
    return source


_REASONS: tuple[Json, ...] = tuple({"code": c, "system": REASON_SYSTEM, "display": d} for c, d in OVERRIDE_REASONS)


def override_reasons() -> list[Json]:
    """The reasons that a card offers for not following it."""
    return list(_REASONS)


def review_note(spoken: Spoken) -> str:
    """What a card says of a policy that is not approved."""
    return "" if spoken.approved else "pending review"


def policy_line(spoken: Spoken) -> str:
    """Policy, version and review status, in one line."""
    note = "" if spoken.approved else "; pending review"
    return f"Policy: {spoken.policy.short_title}, version {spoken.version.version} ({spoken.policy.notice}{note})."
