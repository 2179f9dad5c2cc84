"""From results to assertions: one per order, or one per group of billing codes where these split the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any

from cds_service.determination.crd_outcome import (
    NOTHING_ASKED,
    OPEN_AUTHORIZATION,
    TABLE,
    UNKNOWN_AUTHORIZATION,
    Authority,
    Row,
    Version,
    authorization_hangs_on,
    in_version,
    later,
    prior_authorization,
    situation,
    sound_questions,
    standing,
    thing,
    unread,
)
from cds_service.determination.decide import Decider, OrderResult
from cds_service.facts import codes
from cds_service.facts.references import Index, Json
from cds_service.hooks.crd_billing import as_written, billing_codes, variants
from cds_service.hooks.crd_ids import id_of
from cds_service.policy.case import Authorization, Case, Code, Coverage, Order
from cds_service.policy.evaluate import Verdict
from cds_service.policy.model import Contact
from cds_service.render import crd, questionnaire
from cds_service.render.crd import NO_DOCUMENTS, Assertion, Documents, Needed, PolicyLink, Reason, in_time
from cds_service.render.markdown import joined

_SAID_BY_POLICY = ("supported", "not-supported", "needs-information", "technical", "not-approved", "gap")
_CODED_BY = {"MedicationRequest": "medication", "DeviceRequest": "device"}


@dataclass(frozen=True)
class Speaker:
    """Who asserts what to whom: everything that is the same for all orders of a call.

    `asks_for_documents` at primary hooks; at the others nothing is asked for. `payer_unread` tells why the payor could
    not be read; then `contact`, the payer's, is None.
    """

    decider: Decider
    coverage: Coverage
    authority: Authority
    member: str
    version: Version
    base_url: str
    record_id: str
    today: date
    asks_for_documents: bool
    modifiers: frozenset[str] = frozenset()
    uncoded: Mapping[str, str] = field(default_factory=dict)
    index: Index = field(default_factory=Index)
    contact: Contact | None = None
    payer_unread: str = ""

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers given to orders, so that ids stay apart."""
        return {}

    def assertions(self, order: Order, resource: Json, result: OrderResult | None) -> list[Assertion]:
        """All that is said of one order; `result` is None where the order could not be read."""
        made: list[tuple[tuple[Any, ...], Assertion]] = []
        for billed, judged in variants(order, resource, result, self.decider):
            said = self._assertion(order, resource, judged)
            said = said if self.asks_for_documents else in_time(said)
            codes_ = billed or billing_codes(order, _verdict(judged), self.decider.rulebook.vocabulary)
            same = next((i for i, (_, other) in enumerate(made) if other == said), None)
            if same is None:
                made.append((codes_, said))
            else:
                made[same] = (tuple(dict.fromkeys((*made[same][0], *codes_))), said)
        written = as_written(resource, self.index)
        return [replace(said, billing_codes=tuple(written.get(c) or _uri(c) for c in codes_)) for codes_, said in made]

    def asserts(self, result: OrderResult) -> bool:
        """Whether what an authorisation or a policy says of the order is asserted, as covered or not covered."""
        return self._situation(result.order, result) in ("authorised", "supported", "not-supported")

    def _assertion(self, order: Order, resource: Json, result: OrderResult | None) -> Assertion:
        row = TABLE[self._situation(order, result)]
        verdicts = _verdicts(result)
        row = prior_authorization(row, _strictest(verdicts))
        forms = self._forms(verdicts) if row.documentation else ()
        spoken = in_version(row, self.version)
        authorization = result.authorization if result and row.id == "authorised" else None
        verdict = _verdict(result) if row.id in _SAID_BY_POLICY else None
        reasons = tuple(self._reasons(row, order, result))
        return Assertion(
            id=self._id(order, resource),
            coverage=self.coverage.ref,
            covered=spoken.covered,
            made_on=self.today,
            pa_needed=spoken.pa_needed,
            info_needed=spoken.info_needed,
            reasons=reasons,
            needed=_needed(order, reasons[-1]) if "OTH" in spoken.info_needed else None,
            link=_link(verdict) if verdict else None,
            contact=self._contact(verdict),
            dependencies=verdict.given if verdict else (),
            satisfied_pa_id=authorization.number if authorization else None,
            expires=self._expires(row, authorization, verdicts),
            documents=self._documents(row, forms),
        )

    def _situation(self, order: Order, result: OrderResult | None) -> str:
        found = standing(self.coverage, order, self.decider.case, self.member)
        if found is not None:
            return found
        if self.payer_unread:
            return "payer-unread"
        if result is None:
            return "unreadable" if order.ref in self.modifiers else "technical"
        found = situation(result, self.decider.case, self.authority)
        return self.uncoded.get(order.ref, found) if found == "not-addressed" else found

    def _forms(self, verdicts: tuple[Verdict, ...]) -> tuple[str, ...]:
        canonicals = (f.canonical(self.base_url) for v in verdicts for f in questionnaire.open_forms(v))
        return tuple(dict.fromkeys(canonicals))

    def _contact(self, verdict: Verdict | None) -> Json | None:
        """Whom to ask about the assertion: the policy's own line, else the payer's, as a FHIR ContactDetail."""
        contact = (verdict.version.policy.contact if verdict else None) or self.contact
        return contact.model_dump(exclude_defaults=True) if contact else None

    def _documents(self, row: Row, forms: tuple[str, ...]) -> Documents:
        if not row.documentation:
            return NO_DOCUMENTS
        if not forms:
            return Documents(("conditional",))
        purpose = "withpa" if row.pa_needed == "auth-needed" else "retain-doc"
        return Documents(("clinical",), (purpose,), forms)

    def _reasons(self, row: Row, order: Order, result: OrderResult | None) -> Iterator[Reason]:
        """At least one wherever something is open; the last says what is."""
        if row.reason:
            yield Reason(row.reason.format(thing=thing(order)), row.reason_code)
        verdict = _verdict(result)
        if row.id == "not-supported" and verdict:
            yield Reason(f"Coverage: {verdict.because}")
        if row.id == "needs-information" and result:
            yield Reason(f"{_WANTED} {self._wanted(result)}", later=later("Coverage", order))
        if row.id == "gap" and verdict:
            yield Reason(f"Coverage: {verdict.gap}; ask the plan.")
        if row.id == "payer-unread":
            text = f"Coverage: the payor of the coverage could not be read: {self.payer_unread}."
            yield Reason(text, row.reason_code)
        if row.id in ("technical", "no-code"):
            yield Reason(self._unread(result), row.reason_code)
        if row.id == "supported" and row.pa_needed == "indeterminate":
            yield self._authorization_open(order, _verdicts(result))

    def _wanted(self, result: OrderResult) -> str:
        """What is missing, shortly; the questionnaires ask all of it. Nothing presupposes what was not read.

        Where nothing is named that would settle it, the sentence of the rule that is open.
        """
        case, asked, sources = self.decider.case, dict[str, None](), set[str]()
        for verdict in (d.verdict for d in result.primary if d.verdict):
            missing, unread_sources = sound_questions(verdict, case)
            asked |= dict.fromkeys(m.text for m in missing)
            sources |= set(unread_sources)
        told = [*_open(asked)]
        if sources:
            told.append(f"Not read: {joined([_IN_WORDS.get(s, s) for s in sorted(sources)])}.")
        open_ = _verdict(result)
        return " ".join(told) or (open_.because if open_ else "")

    def _unread(self, result: OrderResult | None) -> str:
        if result and result.order.ref in self.uncoded and not result.covered_by_policy:
            return f"Coverage: the {_CODED_BY.get(result.order.resource_type, 'code')} of the order could not be read."
        sources = _by_cause(unread(result, self.decider.case), self.decider.case) if result else "the order"
        return f"Coverage: data that the policy needs could not be read: {sources}."

    def _authorization_open(self, order: Order, verdicts: tuple[Verdict, ...]) -> Reason:
        """Why a supported order is not told whether it needs prior authorization."""
        case = self.decider.case
        hangs_on = [s for v in verdicts if (s := authorization_hangs_on(v, case)) is not None]
        if not hangs_on:
            return Reason(UNKNOWN_AUTHORIZATION)
        failed = sorted(s for s in set().union(*hangs_on) if case.source(s).failed)
        if not failed:
            return Reason(OPEN_AUTHORIZATION, later=later("Prior authorization", order))
        text = f"Prior authorization: data that the policy needs could not be read: {_by_cause(failed, case)}."
        return Reason(text, "technical")

    def _expires(self, row: Row, granted: Authorization | None, verdicts: tuple[Verdict, ...]) -> date | None:
        """The day after which the assertion no longer holds, as far as it is known."""
        if row.id in ("no-active-coverage", "member-not-found", "coverage-not-found"):
            return None
        ends = [self.coverage.period.end if self.coverage.period else None]
        ends += [v.version.version.effective.to for v in verdicts]
        ends += [granted.expires] if granted else []
        return min((e for e in ends if e is not None and e >= self.today), default=None)

    def _id(self, order: Order, resource: Json) -> str:
        number = self.numbers.setdefault(order.ref, len(self.numbers) + 1)
        return id_of(self.record_id, number, crd.own(resource, self.coverage.ref))


_IN_WORDS = {
    "active-orders": "active orders",
    "answers": "completed questionnaires",
    "orders": "the orders",
    "patient": "the patient",
}


def _by_cause(sources: Iterable[str], case: Case) -> str:
    """Sources in plain words, those that failed for the same reason together."""
    causes: dict[str, list[str]] = {}
    for source in sources:
        causes.setdefault(case.source(source).detail, []).append(_IN_WORDS.get(source, source))
    return "; ".join(f"{joined(names)} ({detail})" for detail, names in causes.items())


_WANTED = "Coverage: more information is needed."
MOST_QUESTIONS, MOST_STATEMENTS = 2, 1  # of a reason: a line to read, not a form


def _open(texts: Iterable[str]) -> Iterator[str]:
    """Questions as they are; statements are said to be unknown, for alone they would read as facts of the chart."""
    questions: list[str] = []
    stated: list[str] = []
    for text in texts:
        (questions if text.endswith("?") else stated).append(text)
    yield from questions[:MOST_QUESTIONS]
    if stated:
        yield f"Not known whether this holds: {'; '.join(s.rstrip('.') for s in stated[:MOST_STATEMENTS])}."
    more = len(questions[MOST_QUESTIONS:]) + len(stated[MOST_STATEMENTS:])
    if more:
        yield f"{more} more {'points are' if more > 1 else 'point is'} open."


def _needed(order: Order, reason: Reason) -> Needed:
    """The nature of what is needed, or that nothing is: `reason` is what leaves the order open."""
    if reason.later:
        return Needed(reason.text.removeprefix(f"{_WANTED} "), reason.later)
    return Needed(NOTHING_ASKED.format(thing=thing(order)))


def _uri(code: Code) -> tuple[str, str]:
    return codes.URI.get(code.system, code.system), code.code


def _verdict(result: OrderResult | None) -> Verdict | None:
    """What the policies of the payer say of the order, or the one that does not know what its policy says."""
    if result is None:
        return None
    governing = result.governing if result.covered_by_policy else result.gap
    return governing.verdict if governing else None


def _verdicts(result: OrderResult | None) -> tuple[Verdict, ...]:
    """Verdicts of the payer's policies that gave the outcome."""
    found = (d for d in result.primary if d.verdict and d.outcome == result.outcome) if result else ()
    return tuple(d.verdict for d in found if d.verdict)


def _strictest(verdicts: tuple[Verdict, ...]) -> str:
    said = {v.prior_authorization for v in verdicts}
    return next((s for s in ("required", "unknown", "not-required") if s in said), "unknown")


def _link(verdict: Verdict) -> PolicyLink | None:
    """The policy, or the first source of what it says here that has an address."""
    policy, version = verdict.version.policy, verdict.version.version
    cited = (version.sources[name].url for name in verdict.cites if name in version.sources)
    url = policy.url or next((url for url in cited if url), None)
    if url is None:
        return None
    note = "" if version.review.status == "approved" else "; pending review"
    return PolicyLink(url, f"{policy.short_title}, version {version.version} ({policy.notice}{note})")
