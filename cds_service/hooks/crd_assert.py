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
    in_version,
    prior_authorization,
    situation,
    standing,
    unread,
)
from cds_service.determination.decide import Decider, OrderResult
from cds_service.facts import codes
from cds_service.facts.references import Index, Json
from cds_service.hooks.crd_billing import as_written, billing_codes, variants
from cds_service.hooks.crd_ids import id_of
from cds_service.policy.case import Authorization, Case, Code, Coverage, Order
from cds_service.policy.evaluate import Verdict
from cds_service.render import crd, questionnaire
from cds_service.render.crd import NO_DOCUMENTS, Assertion, Documents, PolicyLink, Reason
from cds_service.render.markdown import joined

_CODED_BY = {"MedicationRequest": "medication", "DeviceRequest": "device"}


@dataclass(frozen=True)
class Speaker:
    """Who asserts what to whom: everything that is the same for all orders of a call."""

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

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers given to orders, so that ids stay apart."""
        return {}

    def assertions(self, order: Order, resource: Json, result: OrderResult | None) -> list[Assertion]:
        """All that is said of one order; `result` is None where the order could not be read."""
        made: list[tuple[tuple[Any, ...], Assertion]] = []
        for billed, judged in variants(order, resource, result, self.decider):
            said = replace(self._assertion(order, resource, judged), billing_codes=())
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
        said_by_policy = row.id in ("supported", "not-supported", "needs-information", "technical", "not-approved")
        verdict = _verdict(result) if said_by_policy else None
        return Assertion(
            id=self._id(order, resource),
            coverage=self.coverage.ref,
            covered=spoken.covered,
            made_on=self.today,
            pa_needed=spoken.pa_needed,
            info_needed=spoken.info_needed,
            reasons=tuple(self._reasons(row, result)),
            link=_link(verdict) if verdict else None,
            dependencies=verdict.given if verdict else (),
            satisfied_pa_id=authorization.number if authorization else None,
            expires=self._expires(row, authorization, verdicts),
            documents=self._documents(row, forms),
        )

    def _situation(self, order: Order, result: OrderResult | None) -> str:
        found = standing(self.coverage, order, self.decider.case, self.member)
        if found is not None:
            return found
        if result is None:
            return "unreadable" if order.ref in self.modifiers else "technical"
        found = situation(result, self.decider.case, self.authority)
        return self.uncoded.get(order.ref, found) if found == "not-addressed" else found

    def _forms(self, verdicts: tuple[Verdict, ...]) -> tuple[str, ...]:
        canonicals = (f.canonical(self.base_url) for v in verdicts for f in questionnaire.open_forms(v))
        return tuple(dict.fromkeys(canonicals))

    def _documents(self, row: Row, forms: tuple[str, ...]) -> Documents:
        """Documentation is asked for on primary hooks only: on others it is too early (CRD 2.2, hook-19)."""
        if not row.documentation or not self.asks_for_documents:
            return NO_DOCUMENTS
        if not forms:
            return Documents(("conditional",))
        purpose = "withpa" if row.pa_needed == "auth-needed" else "retain-doc"
        return Documents(("clinical",), (purpose,), forms)

    def _reasons(self, row: Row, result: OrderResult | None) -> Iterator[Reason]:
        if row.reason:
            yield Reason(row.reason, row.reason_code)
        verdict = _verdict(result)
        if row.id == "not-supported" and verdict:
            yield Reason(f"Coverage: {verdict.because}")
        if row.id == "needs-information" and result:
            wanted = dict.fromkeys(m.text for d in result.primary for m in d.missing)
            yield Reason(" ".join(["Coverage: more information is needed.", *_open(wanted)]))
        if row.id in ("technical", "no-code"):
            yield Reason(self._unread(result), row.reason_code)
        if row.id == "supported" and row.pa_needed == "indeterminate":
            yield self._authorization_open(_verdicts(result))

    def _unread(self, result: OrderResult | None) -> str:
        if result and result.order.ref in self.uncoded and not result.covered_by_policy:
            return f"Coverage: the {_CODED_BY.get(result.order.resource_type, 'code')} of the order could not be read."
        sources = _by_cause(unread(result, self.decider.case), self.decider.case) if result else "the order"
        return f"Coverage: data that the policy needs could not be read: {sources}."

    def _authorization_open(self, verdicts: tuple[Verdict, ...]) -> Reason:
        """Why a supported order is not told whether it needs prior authorization."""
        case = self.decider.case
        hangs_on = [s for v in verdicts if (s := authorization_hangs_on(v, case)) is not None]
        if not hangs_on:
            return Reason(UNKNOWN_AUTHORIZATION)
        failed = sorted(s for s in set().union(*hangs_on) if case.source(s).failed)
        if not failed:
            return Reason(OPEN_AUTHORIZATION)
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


def _verdict(result: OrderResult | None) -> Verdict | None:
    governing = result.governing if result and result.covered_by_policy else None
    return governing.verdict if governing else None


def _verdicts(result: OrderResult | None) -> tuple[Verdict, ...]:
    """Verdicts of the payer's policies that gave the outcome."""
    found = (d for d in result.primary if d.verdict and d.outcome == result.outcome) if result else ()
    return tuple(d.verdict for d in found if d.verdict)


def _strictest(verdicts: tuple[Verdict, ...]) -> str:
    said = {v.prior_authorization for v in verdicts}
    return next((s for s in ("required", "unknown", "not-required") if s in said), "unknown")


def _link(verdict: Verdict) -> PolicyLink | None:
    policy, version = verdict.version.policy, verdict.version.version
    url = policy.url or next((s.url for s in version.sources.values() if s.url), None)
    if url is None:
        return None
    note = "" if version.review.status == "approved" else "; pending review"
    return PolicyLink(url, f"{policy.short_title}, version {version.version} ({policy.notice}{note})")
