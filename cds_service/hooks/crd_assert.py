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
    behind,
    in_version,
    later,
    prior_authorization,
    situation,
    sound_questions,
    standing,
    thing,
    unread,
)
from cds_service.determination.decision import Cause, Decision, Determination, JudgedOrder, OrderDecision
from cds_service.facts import codes
from cds_service.facts.references import Index, Json
from cds_service.hooks.crd_billing import as_written, billing_codes, variants
from cds_service.hooks.crd_ids import id_of
from cds_service.policy.case import Authorization, Code, Coverage
from cds_service.policy.model import Contact
from cds_service.render import crd, questionnaire
from cds_service.render.crd import NO_DOCUMENTS, Assertion, Documents, Needed, PolicyLink, Reason, in_time
from cds_service.render.markdown import joined
from cds_service.render.policies import Policies

_CODED_BY = {"MedicationRequest": "medication", "DeviceRequest": "device"}


@dataclass(frozen=True)
class Speaker:
    """Who asserts what to whom: everything that is the same for all orders of a call.

    `asks_for_documents` at primary hooks; at the others nothing is asked for. `payer_unread` tells why the payor could
    not be read; then `contact`, the payer's, is None.
    """

    decision: Decision
    policies: Policies
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

    def assertions(self, order: JudgedOrder, resource: Json, decided: OrderDecision | None) -> list[Assertion]:
        """All that is said of one order; `decided` is None where the order could not be read."""
        made: list[tuple[tuple[Any, ...], Assertion]] = []
        for billed, judged in variants(decided):
            said = self._assertion(order, resource, judged)
            said = said if self.asks_for_documents else in_time(said)
            codes_ = billed or billing_codes(order.codes, _governing(judged), self.policies)
            same = next((i for i, (_, other) in enumerate(made) if other == said), None)
            if same is None:
                made.append((codes_, said))
            else:
                made[same] = (tuple(dict.fromkeys((*made[same][0], *codes_))), said)
        written = as_written(resource, self.index)
        return [replace(said, billing_codes=tuple(written.get(c) or _uri(c) for c in codes_)) for codes_, said in made]

    def asserts(self, decided: OrderDecision) -> bool:
        """Whether what an authorisation or a policy says of the order is asserted, as covered or not covered."""
        return self._situation(decided.order, decided) in ("authorised", "supported", "not-supported")

    def _assertion(self, order: JudgedOrder, resource: Json, decided: OrderDecision | None) -> Assertion:
        row = TABLE[self._situation(order, decided)]
        said = behind(decided) if decided else ()
        row = prior_authorization(row, _strictest(said))
        forms = self._forms(said) if row.documentation else ()
        spoken = in_version(row, self.version)
        authorization = decided.authorization if decided and row.id == "authorised" else None
        said_by_policy = row.id in ("supported", "not-supported", "needs-information", "technical", "not-approved")
        governing = _governing(decided) if said_by_policy else None
        reasons = tuple(self._reasons(row, order, decided))
        return Assertion(
            id=self._id(order, resource),
            coverage=self.coverage.ref,
            covered=spoken.covered,
            made_on=self.today,
            pa_needed=spoken.pa_needed,
            info_needed=spoken.info_needed,
            reasons=reasons,
            needed=_needed(order, reasons[-1]) if "OTH" in spoken.info_needed else None,
            link=self._link(governing) if governing else None,
            contact=self._contact(governing),
            dependencies=governing.given if governing else (),
            satisfied_pa_id=authorization.number if authorization else None,
            expires=self._expires(row, authorization, said),
            documents=self._documents(row, forms),
        )

    def _situation(self, order: JudgedOrder, decided: OrderDecision | None) -> str:
        found = standing(self.coverage, order, self.decision.received or self.today, self.member)
        if found is not None:
            return found
        if self.payer_unread:
            return "payer-unread"
        if decided is None:
            return "unreadable" if order.ref in self.modifiers else "technical"
        found = situation(decided, self.authority)
        return self.uncoded.get(order.ref, found) if found == "not-addressed" else found

    def _forms(self, said: tuple[Determination, ...]) -> tuple[str, ...]:
        forms = (f for d in said for f in questionnaire.open_forms(d, self.policies.folders))
        return tuple(dict.fromkeys(f.canonical(self.base_url) for f in forms))

    def _contact(self, said: Determination | None) -> Json | None:
        """Whom to ask about the assertion: the policy's own line, else the payer's, as a FHIR ContactDetail."""
        contact = (self.policies.spoken(said).policy.contact if said else None) or self.contact
        return contact.model_dump(exclude_defaults=True) if contact else None

    def _documents(self, row: Row, forms: tuple[str, ...]) -> Documents:
        if not row.documentation:
            return NO_DOCUMENTS
        if not forms:
            return Documents(("conditional",))
        purpose = "withpa" if row.pa_needed == "auth-needed" else "retain-doc"
        return Documents(("clinical",), (purpose,), forms)

    def _reasons(self, row: Row, order: JudgedOrder, decided: OrderDecision | None) -> Iterator[Reason]:
        """At least one wherever something is open; the last says what is."""
        if row.reason:
            yield Reason(row.reason.format(thing=thing(order)), row.reason_code)
        governing = _governing(decided)
        if row.id == "not-supported" and governing:
            yield Reason(f"Coverage: {governing.because}")
        if row.id == "needs-information" and decided:
            yield Reason(f"{_WANTED} {self._wanted(decided)}", later=later("Coverage", order))
        if row.id == "payer-unread":
            text = f"Coverage: the payor of the coverage could not be read: {self.payer_unread}."
            yield Reason(text, row.reason_code)
        if row.id in ("technical", "no-code"):
            yield Reason(self._unread(decided), row.reason_code)
        if row.id == "supported" and row.pa_needed == "indeterminate":
            yield self._authorization_open(order, behind(decided) if decided else ())

    def _wanted(self, decided: OrderDecision) -> str:
        """What is missing, shortly; the questionnaires ask all of it. Nothing presupposes what was not read.

        Where nothing is named that would settle it, the sentence of the rule that is open.
        """
        asked, sources = dict[str, None](), set[str]()
        for said in (d for d in decided.primary if d.policy is not None):
            missing, unread_sources = sound_questions(said, self.decision)
            asked |= dict.fromkeys(m.text for m in missing)
            sources |= set(unread_sources)
        told = [*_open(asked)]
        if sources:
            told.append(f"Not read: {joined([_IN_WORDS.get(s, s) for s in sorted(sources)])}.")
        open_ = _governing(decided)
        return " ".join(told) or (open_.because if open_ else "")

    def _unread(self, decided: OrderDecision | None) -> str:
        if decided and decided.order.ref in self.uncoded and not decided.covered_by_policy:
            return f"Coverage: the {_CODED_BY.get(decided.order.resource_type, 'code')} of the order could not be read."
        sources = _by_cause(unread(decided), self.decision) if decided else "the order"
        return f"Coverage: data that the policy needs could not be read: {sources}."

    def _authorization_open(self, order: JudgedOrder, said: tuple[Determination, ...]) -> Reason:
        """Why a supported order is not told whether it needs prior authorization."""
        hangs_on = [waits for d in said if (waits := authorization_hangs_on(d)) is not None]
        if not hangs_on:
            return Reason(UNKNOWN_AUTHORIZATION)
        failed = sorted({w.source for w in set().union(*hangs_on) if w.cause is Cause.FAILED})
        if not failed:
            return Reason(OPEN_AUTHORIZATION, later=later("Prior authorization", order))
        text = f"Prior authorization: data that the policy needs could not be read: {_by_cause(failed, self.decision)}."
        return Reason(text, "technical")

    def _link(self, said: Determination) -> PolicyLink | None:
        """The policy, or the first source of what it says here that has an address."""
        spoken = self.policies.spoken(said)
        policy, version = spoken
        cited = (version.sources[name].url for name in said.cites if name in version.sources)
        url = policy.url or next((url for url in cited if url), None)
        if url is None:
            return None
        note = "" if spoken.approved else "; pending review"
        return PolicyLink(url, f"{policy.short_title}, version {version.version} ({policy.notice}{note})")

    def _expires(self, row: Row, granted: Authorization | None, said: tuple[Determination, ...]) -> date | None:
        """The day after which the assertion no longer holds, as far as it is known."""
        if row.id in ("no-active-coverage", "member-not-found", "coverage-not-found"):
            return None
        ends = [self.coverage.period.end if self.coverage.period else None]
        ends += [self.policies.spoken(d).version.effective.to for d in said]
        ends += [granted.expires] if granted else []
        return min((e for e in ends if e is not None and e >= self.today), default=None)

    def _id(self, order: JudgedOrder, resource: Json) -> str:
        number = self.numbers.setdefault(order.ref, len(self.numbers) + 1)
        return id_of(self.record_id, number, crd.own(resource, self.coverage.ref))


_IN_WORDS = {
    "active-orders": "active orders",
    "answers": "completed questionnaires",
    "orders": "the orders",
    "patient": "the patient",
}


def _by_cause(sources: Iterable[str], decision: Decision) -> str:
    """Sources in plain words, those that failed for the same reason together."""
    causes: dict[str, list[str]] = {}
    for source in sources:
        causes.setdefault(decision.source(source).detail, []).append(_IN_WORDS.get(source, source))
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


def _needed(order: JudgedOrder, reason: Reason) -> Needed:
    """The nature of what is needed, or that nothing is: `reason` is what leaves the order open."""
    if reason.later:
        return Needed(reason.text.removeprefix(f"{_WANTED} "), reason.later)
    return Needed(NOTHING_ASKED.format(thing=thing(order)))


def _uri(code: Code) -> tuple[str, str]:
    return codes.URI.get(code.system, code.system), code.code


def _governing(decided: OrderDecision | None) -> Determination | None:
    if decided is None or decided.governs is None or not decided.covered_by_policy:
        return None
    return decided.determinations[decided.governs]


def _strictest(said: tuple[Determination, ...]) -> str:
    found = {d.prior_authorization for d in said}
    return next((s for s in ("required", "unknown", "not-required") if s in found), "unknown")
