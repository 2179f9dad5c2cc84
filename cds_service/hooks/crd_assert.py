"""From results to assertions: one per order, or one per group of billing codes where these split the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any

from cds_service.determination.crd_outcome import (
    TABLE,
    UNKNOWN_AUTHORIZATION,
    Authority,
    Row,
    Version,
    in_version,
    prior_authorization,
    situation,
    standing,
)
from cds_service.determination.decide import Decider, OrderResult
from cds_service.facts import codes, elements
from cds_service.facts.orders import BILLING_OPTIONS
from cds_service.facts.references import Json
from cds_service.policy.case import Authorization, Code, Coverage, Order
from cds_service.policy.evaluate import Verdict
from cds_service.render import crd, questionnaire
from cds_service.render.crd import NO_DOCUMENTS, Assertion, Documents, PolicyLink, Reason

BILLING = (codes.CPT, codes.HCPCS)
_MAX_POLICY_CODES = 20
_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.\d{1,4}"
_CODED_BY = {"MedicationRequest": "medication", "DeviceRequest": "device"}
_ASSERTION_ID = re.compile(rf"({_ID})(?:~({_ID}))?")
_BILLED_ELEMENTS = ("code", "codeCodeableConcept", "medicationCodeableConcept", "serviceType")


def family_of(assertion_id: str) -> str | None:
    """The first assertion of a family, from any of its ids; None for ids that this service did not make."""
    match = _ASSERTION_ID.fullmatch(assertion_id)
    return (match[2] or match[1]) if match else None


def record_of(assertion_id: str) -> str | None:
    """The ledger record that an assertion id leads back to."""
    match = _ASSERTION_ID.fullmatch(assertion_id)
    return match[1].split(".", 1)[0] if match else None


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

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers given to orders, so that ids stay apart."""
        return {}

    def assertions(self, order: Order, resource: Json, result: OrderResult | None) -> list[Assertion]:
        """All that is said of one order; `result` is None where the order could not be read."""
        made: list[tuple[tuple[Any, ...], Assertion]] = []
        for billed, judged in self._variants(order, resource, result):
            said = replace(self._assertion(order, resource, judged), billing_codes=())
            codes_ = billed or self._billing(order, judged)
            same = next((i for i, (_, other) in enumerate(made) if other == said), None)
            if same is None:
                made.append((codes_, said))
            else:
                made[same] = (tuple(dict.fromkeys((*made[same][0], *codes_))), said)
        return [replace(said, billing_codes=tuple(map(_uri, codes_))) for codes_, said in made]

    def asserts(self, result: OrderResult) -> bool:
        """Whether what an authorisation or a policy says of the order is asserted, as covered or not covered."""
        return self._situation(result.order, result) in ("authorised", "supported", "not-supported")

    # --- billing codes ------------------------------------------------------------------------------

    def _variants(
        self, order: Order, resource: Json, result: OrderResult | None
    ) -> Iterator[tuple[tuple[Code, ...], OrderResult | None]]:
        """The order as billed in each of the ways that billing-options name; once, as it is, without them."""
        options = list(dict.fromkeys(billing_options(resource)))
        if result is None or not options:
            yield (), result
            return
        every = {c for option in options for c in option}
        own = tuple(c for c in order.codes if c.system in BILLING and c not in every)
        clinical = tuple(c for c in order.codes if c.system not in BILLING)
        for billed in (*([own] if own else []), *options):
            yield billed, self._judged_as(replace(order, codes=(*clinical, *billed)))

    def _judged_as(self, variant: Order) -> OrderResult:
        case = self.decider.case
        others = case.with_orders(tuple(variant if o.ref == variant.ref else o for o in case.orders))
        return Decider(others, self.decider.rulebook, self.decider.directory, self.decider.terms).result(variant)

    def _billing(self, order: Order, result: OrderResult | None) -> tuple[Code, ...]:
        """The order's own billing codes; else those of the policy's list that the order fell under."""
        own = tuple(c for c in order.codes if c.system in BILLING)
        verdict = _verdict(result)
        if own or verdict is None:
            return own
        listed = self.decider.rulebook.vocabulary.sets[verdict.item.item.value_set].codes
        billed = sorted((c for c in listed if c.system in BILLING), key=str)
        return tuple(billed) if len(billed) <= _MAX_POLICY_CODES else ()

    # --- one assertion ------------------------------------------------------------------------------

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
            yield Reason(UNKNOWN_AUTHORIZATION)

    def _unread(self, result: OrderResult | None) -> str:
        if result and result.order.ref in self.uncoded and not result.covered_by_policy:
            return f"Coverage: the {_CODED_BY[result.order.resource_type]} of the order could not be read."
        names = sorted({m.source for d in result.primary for m in d.missing}) if result else ["the order"]
        return f"Coverage: data that the policy needs could not be read: {', '.join(names)}."

    def _expires(self, row: Row, granted: Authorization | None, verdicts: tuple[Verdict, ...]) -> date | None:
        """The day after which the assertion no longer holds, as far as it is known."""
        if row.id in ("no-active-coverage", "member-not-found", "coverage-not-found"):
            return None
        ends = [self.coverage.period.end if self.coverage.period else None]
        ends += [v.version.version.effective.to for v in verdicts]
        ends += [granted.expires] if granted else []
        return min((e for e in ends if e is not None and e >= self.today), default=None)

    def _id(self, order: Order, resource: Json) -> str:
        """`<record>.<order>`, and after `~` the first assertion of the family when the order carries one of ours."""
        number = self.numbers.setdefault(order.ref, len(self.numbers) + 1)
        mine = f"{self.record_id}.{number}"
        for carried in crd.own(resource, self.coverage.ref):
            before = crd.part(carried, "coverage-assertion-id")
            family = family_of(before) if isinstance(before, str) else None
            if family:
                return f"{mine}~{family}"
        return mine


def billing_options(resource: Json) -> Iterator[tuple[Code, ...]]:
    """Codes of each billing-options extension, wherever the guide allows one on an order."""
    concepts = [c for name in _BILLED_ELEMENTS for c in elements.concepts(resource.get(name))]
    for lens in elements.listed(resource.get("lensSpecification")):
        concepts += elements.concepts(lens.get("product")) if isinstance(lens, dict) else []
    for holder in (resource, *concepts):
        for option in elements.extensions(holder, BILLING_OPTIONS) if isinstance(holder, dict) else ():
            found = codes.read(option.get("valueCodeableConcept"))[0]
            if found:
                yield found


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
