"""From results to assertions: one per order, or one per group of billing codes where these split the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any

from cds_service.determination.crd_outcome import (
    OPEN_AUTHORIZATION,
    TABLE,
    UNKNOWN_AUTHORIZATION,
    Authority,
    Row,
    Version,
    authorization_hangs_on,
    behind,
    in_version,
    prior_authorization,
    situation,
    standing,
    unread,
)
from cds_service.determination.decision import Cause, Decision, Determination, JudgedOrder, OrderDecision
from cds_service.facts import codes
from cds_service.facts.references import Index, Json
from cds_service.hooks.crd_billing import as_written, billing_codes, variants
from cds_service.hooks.crd_ids import id_of
from cds_service.policy.case import Authorization, Code, Coverage
from cds_service.render import crd, questionnaire
from cds_service.render.crd import NO_DOCUMENTS, Assertion, Documents, PolicyLink, Reason
from cds_service.render.markdown import joined
from cds_service.render.policies import Policies

_CODED_BY = {"MedicationRequest": "medication", "DeviceRequest": "device"}


@dataclass(frozen=True)
class Speaker:
    """Who asserts what to whom: everything that is the same for all orders of a call."""

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

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers given to orders, so that ids stay apart."""
        return {}

    def assertions(self, order: JudgedOrder, resource: Json, decided: OrderDecision | None) -> list[Assertion]:
        """All that is said of one order; `decided` is None where the order could not be read."""
        made: list[tuple[tuple[Any, ...], Assertion]] = []
        for billed, judged in variants(decided):
            said = replace(self._assertion(order, resource, judged), billing_codes=())
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
        return Assertion(
            id=self._id(order, resource),
            coverage=self.coverage.ref,
            covered=spoken.covered,
            made_on=self.today,
            pa_needed=spoken.pa_needed,
            info_needed=spoken.info_needed,
            reasons=tuple(self._reasons(row, decided)),
            link=self._link(governing) if governing else None,
            dependencies=governing.given if governing else (),
            satisfied_pa_id=authorization.number if authorization else None,
            expires=self._expires(row, authorization, said),
            documents=self._documents(row, forms),
        )

    def _situation(self, order: JudgedOrder, decided: OrderDecision | None) -> str:
        found = standing(self.coverage, order, self.today, self.member)
        if found is not None:
            return found
        if decided is None:
            return "unreadable" if order.ref in self.modifiers else "technical"
        found = situation(decided, self.authority)
        return self.uncoded.get(order.ref, found) if found == "not-addressed" else found

    def _forms(self, said: tuple[Determination, ...]) -> tuple[str, ...]:
        forms = (f for d in said for f in questionnaire.open_forms(d, self.policies.folders))
        return tuple(dict.fromkeys(f.canonical(self.base_url) for f in forms))

    def _documents(self, row: Row, forms: tuple[str, ...]) -> Documents:
        """Documentation is asked for on primary hooks only: on others it is too early (CRD 2.2, hook-19)."""
        if not row.documentation or not self.asks_for_documents:
            return NO_DOCUMENTS
        if not forms:
            return Documents(("conditional",))
        purpose = "withpa" if row.pa_needed == "auth-needed" else "retain-doc"
        return Documents(("clinical",), (purpose,), forms)

    def _reasons(self, row: Row, decided: OrderDecision | None) -> Iterator[Reason]:
        if row.reason:
            yield Reason(row.reason, row.reason_code)
        governing = _governing(decided)
        if row.id == "not-supported" and governing:
            yield Reason(f"Coverage: {governing.because}")
        if row.id == "needs-information" and decided:
            wanted = dict.fromkeys(m.text for d in decided.primary for m in d.missing)
            yield Reason(" ".join(["Coverage: more information is needed.", *_open(wanted)]))
        if row.id in ("technical", "no-code"):
            yield Reason(self._unread(decided), row.reason_code)
        if row.id == "supported" and row.pa_needed == "indeterminate":
            yield self._authorization_open(behind(decided) if decided else ())

    def _unread(self, decided: OrderDecision | None) -> str:
        if decided and decided.order.ref in self.uncoded and not decided.covered_by_policy:
            return f"Coverage: the {_CODED_BY[decided.order.resource_type]} of the order could not be read."
        sources = _by_cause(unread(decided), self.decision) if decided else "the order"
        return f"Coverage: data that the policy needs could not be read: {sources}."

    def _authorization_open(self, said: tuple[Determination, ...]) -> Reason:
        """Why a supported order is not told whether it needs prior authorization."""
        hangs_on = [waits for d in said if (waits := authorization_hangs_on(d)) is not None]
        if not hangs_on:
            return Reason(UNKNOWN_AUTHORIZATION)
        failed = sorted({w.source for w in set().union(*hangs_on) if w.cause is Cause.FAILED})
        if not failed:
            return Reason(OPEN_AUTHORIZATION)
        text = f"Prior authorization: data that the policy needs could not be read: {_by_cause(failed, self.decision)}."
        return Reason(text, "technical")

    def _link(self, said: Determination) -> PolicyLink | None:
        spoken = self.policies.spoken(said)
        policy, version = spoken
        url = policy.url or next((s.url for s in version.sources.values() if s.url), None)
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


def _open(texts: Iterable[str]) -> Iterator[str]:
    """Questions as they are; statements are said to be unknown, for alone they would read as facts of the chart."""
    stated = []
    for text in texts:
        if text.endswith("?"):
            yield text
        else:
            stated.append(text.rstrip("."))
    if stated:
        yield f"Not known whether this holds: {'; '.join(stated)}."


def _uri(code: Code) -> tuple[str, str]:
    return codes.URI.get(code.system, code.system), code.code


def _governing(decided: OrderDecision | None) -> Determination | None:
    return decided.governing if decided and decided.covered_by_policy else None


def _strictest(said: tuple[Determination, ...]) -> str:
    found = {d.prior_authorization for d in said}
    return next((s for s in ("required", "unknown", "not-required") if s in found), "unknown")
