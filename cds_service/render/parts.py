"""What all advisor cards are made of: context, identity of a finding, source, policy line, reasons to override."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cds_service.determination.decide import Decider, Finding, OrderResult
from cds_service.determination.options import Flagged
from cds_service.policy.case import Code, Order
from cds_service.policy.compile import CompiledVersion
from cds_service.policy.evaluate import Verdict
from cds_service.policy.trace import Evidence
from cds_service.render.crd import topic
from cds_service.render.markdown import escape
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
    """What rendering needs beside the determinations."""

    patient_ref: str
    drafts: Mapping[str, Json]
    uri_of: Callable[[Code], str]
    new_id: Callable[[], str]
    link: Callable[[str], str]
    shown: Callable[[CompiledVersion], str] = lambda _version: ""
    payer_label: Callable[[str], str] = str
    # CRD: whether coverage is asserted for an order from what its policy says. Advisors assert nothing.
    asserts: Callable[[OrderResult], bool] = lambda _result: True
    asks: bool = True  # False: this deployment shows no card on what a payer will ask for
    changeable: bool = True  # False: the orders are not drafts of this event, so nothing may be suggested


class Covered(NamedTuple):
    """An order and what covers it. The number of the authorisation (if any) is for the card, not for the page."""

    text: str
    number: str = ""
    note: str = ""
    heading: str = ""


@dataclass(frozen=True)
class RenderedCard:
    """A card with what the ledger and the explanation need to know of it."""

    card: Json
    kind: str
    finding: str
    orders: tuple[str, ...]
    verdict: Verdict | None = None
    flagged: Flagged | None = None
    findings: tuple[Finding, ...] = ()
    policy: str | None = None
    version: str | None = None
    rule: str | None = None
    covered: tuple[Covered, ...] = ()
    extra: Json = field(default_factory=dict)


def named(label: str, code: str) -> str:
    """A procedure by the policy's label and code."""
    return f"{label} ({code})" if code else label


def code_of(order: Order, decider: Decider, value_set: str) -> str:
    """The order's code that the policy governs; where its own text was matched, the first code that may be shown."""
    vocabulary = decider.rulebook.vocabulary
    hit = vocabulary.sets[value_set].first(order.codes)
    codes = (hit[0],) if hit else order.codes
    return next((escape(c.code) for c in codes if is_public(c, vocabulary)), "")


def evidence_line(fact: Evidence, words: str | None) -> str:
    """A fact as a card shows it, in words: what it is, code, the chart's own words (escaped). Never a resource id."""
    told = [escape(t) for t in (fact.code, words) if t]
    return f"- {': '.join(filter(None, (escape(fact.text), ' '.join(told)))) or 'An entry of the chart'}"


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


def source_of(version: CompiledVersion, type_: str) -> Json:
    """Label and URL of the policy behind a card, and the type of the card."""
    policy = version.policy
    urls = (s.url for s in version.version.sources.values() if s.url)
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


def policy_line(version: CompiledVersion, context: Context) -> str:
    """Policy, version and review status, in one line."""
    note = context.shown(version)
    return (
        f"Policy: {version.policy.short_title}, version {version.version.version} "
        f"({version.policy.notice}{f'; {note}' if note else ''})."
    )
