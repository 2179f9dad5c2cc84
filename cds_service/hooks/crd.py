"""The one path of a Da Vinci CRD call: orders, Coverage and payer, determination, assertions, cards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

from cds_service.determination.crd_outcome import Authority, thing
from cds_service.determination.decide import decide
from cds_service.determination.decision import JudgedOrder, OrderDecision
from cds_service.errors import outcome
from cds_service.facts import elements
from cds_service.facts.builder import CaseBuilder
from cds_service.facts.codes import URI
from cds_service.facts.orders import ORDER_TYPES
from cds_service.facts.references import Json
from cds_service.hooks import crd_orders, gather
from cds_service.hooks.answer import Answer, Timing
from cds_service.hooks.crd_assert import Speaker
from cds_service.hooks.crd_billing import ways
from cds_service.hooks.crd_check import (
    check_coverage,
    check_orders,
    check_prefetch,
    is_modifier,
    shortcomings,
    warnings,
)
from cds_service.hooks.crd_gather import CrdData
from cds_service.hooks.crd_members import MemberQuery, MemberState
from cds_service.hooks.crd_orders import Scope
from cds_service.hooks.crd_services import PRIMARY
from cds_service.hooks.crd_settings import Preferences, preferences
from cds_service.hooks.request import HookRequest
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.hooks.selections import selected
from cds_service.hooks.services import Service
from cds_service.policy.case import Case, Order, Source, SourceState
from cds_service.policy.not_looked_at import UNCODED
from cds_service.render import crd
from cds_service.render.about import OrderNames
from cds_service.render.cards import drawn
from cds_service.render.crd import Reason
from cds_service.render.crd_cards import CrdCards
from cds_service.render.explanation import explain
from cds_service.render.parts import Context, RenderedCard


def answer_crd(
    request: HookRequest,
    service: Service,
    runtime: Runtime,
    caller: Caller,
    *,
    as_of: date | None,
    live: bool,
    timing: Timing,
) -> Answer:
    """Answer a validated CRD call. Raises RequestError (400), MissingData (412) or NotCrd (422)."""
    wishes = preferences(request.extension, caller.crd_version)
    if "systemActions" in caller.dialect.omit:
        wishes = replace(wishes, coverage_info=False)
    call = _Call(request, service, runtime, caller, wishes, as_of, live, timing)
    with timing.stage("gather"):
        call.read()
    with timing.stage("evaluate"):
        call.decide()
    with timing.stage("render"):
        return call.answer()


class _Call:
    """One call from start to end; its parts are in the order they run."""

    def __init__(
        self,
        request: HookRequest,
        service: Service,
        runtime: Runtime,
        caller: Caller,
        wishes: Preferences,
        as_of: date | None,
        live: bool,
        timing: Timing,
    ) -> None:
        self.request, self.service, self.runtime, self.wishes = request, service, runtime, wishes
        self.book, self.now, self.timing = runtime.book, runtime.now(), timing
        self.directory = self.book.identifiers
        # `fhirServer` may be a door made for the payer, other than what resources refer to (the guide's example 1).
        self.builder = CaseBuilder(
            request.patient_id,
            self.now.date(),
            as_of,
            caller.local_codes,
            self.now if live else None,
            prefetch=request.prefetch,
        )
        self.data = CrdData(request, self.builder, runtime, caller)

    # --- what there is ------------------------------------------------------------------------------

    def read(self) -> None:
        """Orders, Coverage with its payer, and what the payer's policies read; refuses what must be refused."""
        self.unread = check_prefetch(self.request.prefetch)
        self.scope: Scope = crd_orders.collect(self.request, self.data)
        self.selected = selected(self.request, self.builder)
        source = self.data.coverage()
        self.lacking = check_orders(self.builder, self.scope.orders, self.selected or self.scope.orders)
        self.paying = check_coverage(self.data, source, self.directory)
        self.coverage, self.payer = self.paying.coverage, self.paying.payer
        self.data.sources(self._needed())
        self.member = self._member()

    def _needed(self) -> set[str]:
        """Sources that the payer's policies and the guidelines read for the orders in question."""
        drafts = self.builder.draft()
        gather.name_uncoded(drafts, self.builder, self.runtime)
        unread = {f.ref: "not-read" for f in self.builder.faults if f.why in UNCODED}
        self.scope.uncoded = {**unread, **self.scope.uncoded}
        orders = [o for o in drafts if self.selected is None or o.ref in self.selected]
        return gather.sources_needed(gather.concerning(orders, self.builder, self.runtime), orders)

    def _member(self) -> MemberState:
        if self.runtime.members is None or self.payer is None:
            return "found"
        resource = self.builder.index.resolve(self.coverage.ref) or {}
        query = MemberQuery(self.payer, tuple(_identifiers(resource)), self._born(), self.now.date())
        return self.runtime.members.find(query)

    def _born(self) -> str | None:
        patient = self.builder.index.resolve(self.builder.patient_ref) or {}
        return elements.text(patient.get("birthDate"))

    # --- what it means ------------------------------------------------------------------------------

    def decide(self) -> None:
        """Determinations under the one coverage."""
        case = self.builder.build()
        # Nothing counts but the one coverage, which is known whole: no authorisation under another one does either.
        sources = {**case.sources, "coverage": Source(SourceState.READ)}
        self.case: Case = replace(case, coverages=(self.coverage,), sources=sources)
        read = {ref: reading.resource for ref, reading in self.builder.drafts}
        self.plain = {ref: read.get(ref) or resource for ref, resource in self.scope.orders.items()}
        terms = self.runtime.terms_of_payer(self.selected, ways(self.plain))
        self.decision = decide(self.case, self.book.rulebook, terms)

    # --- what is said -------------------------------------------------------------------------------

    def answer(self) -> Answer:
        """The response, with what the ledger keeps of how it came about."""
        done = Answer(
            {}, self.request, self.service, self.case, self.book.policies, self.decision,
            fetched=self.data.log, timing=self.timing, revision=self.book.rulebook.revision,
            record_id=self.runtime.new_id(),
        )  # fmt: skip
        actions = self._actions(done)
        self._cards(done)
        done.response = {"cards": [r.card for r in done.rendered]}
        if actions or self.request.hook in PRIMARY:  # CDS Hooks leaves it free; clients look for it at these hooks
            done.response["systemActions"] = actions
        if said := warnings(self.builder, self.scope.orders.keys(), self.coverage.ref, self.unread):
            done.response["extension"] = {WARNINGS: outcome(said)}
        return done

    def _actions(self, done: Answer) -> list[Json]:
        """An update of each order in scope about which something is new."""
        written = crd_orders.as_written(self.request, self.scope)
        speaker = self._speaker(done.record_id)
        found = []
        for order, decided in self._in_scope():
            plain = self.plain[order.ref]
            made = speaker.assertions(order, plain, decided)
            if short := tuple(map(Reason, shortcomings(self.builder, order.ref))):
                made = [replace(a, reasons=(*a.reasons, *short)) for a in made]
            said = [crd.extension(a, self.wishes.version) for a in made]
            before = crd.own(plain, self.coverage.ref)
            same = crd.says_the_same(before, said) or _already_authorised(decided, before)
            done.assertions[order.ref] = [_told(e, sent=self.wishes.coverage_info and not same) for e in said]
            if self.wishes.coverage_info and not same:
                resource = crd.annotated(written[order.ref], self.coverage.ref, said)
                description = _DESCRIPTION.format(thing=thing(order))
                found.append({"type": "update", "description": description, "resource": resource})
        return found

    def _in_scope(self) -> list[tuple[JudgedOrder, OrderDecision | None]]:
        """Orders to speak about, in the order of the request; no decision where a modifier forbids to read one."""
        decided = {d.order.ref: d for d in self.decision.orders}
        found: list[tuple[JudgedOrder, OrderDecision | None]] = []
        for ref in self.scope.orders:
            if ref in decided:
                found.append((decided[ref].order, decided[ref]))
            elif self._is_told(ref):
                found.append((JudgedOrder(ref, (), self.builder.day(Order(ref))), None))
        return found

    def _is_told(self, ref: str) -> bool:
        """Is it an order that cannot be judged, and can be told so?"""
        told = ref in self.lacking and ref.split("/", 1)[0] in ORDER_TYPES and not ref.startswith("entry[")
        return told or (ref in self._modified() and (self.selected is None or ref in self.selected))

    def _modified(self) -> frozenset[str]:
        return frozenset(f.ref for f in self.builder.faults if f.fatal and is_modifier(f))

    def _speaker(self, record_id: str) -> Speaker:
        settings = self.runtime.settings
        declared = settings.demo or self.payer in settings.listed("payers")
        binding = (lambda _d: True) if settings.demo else (lambda d: d.review == "approved")
        return Speaker(
            self.decision,
            self.book.policies,
            self.coverage,
            Authority(declared, binding),
            self.member,
            self.wishes.version,
            settings.base_url,
            record_id,
            self.now.date(),
            self.request.hook in PRIMARY,
            self._modified(),
            {**self.lacking, **self.scope.uncoded},
            self.builder.index,
            self.directory.payers[self.payer].contact if self.payer else None,
            self.paying.unread,
        )

    def _cards(self, done: Answer) -> None:
        context = self._context()
        maker = CrdCards(
            self._insurer(),
            self.wishes.version,
            f"{self.runtime.settings.base_url}/CodeSystem/card-types",
            self.wishes.switched_off,
            self.wishes.max_cards,
            context,
            OrderNames(self.decision, self.book.policies),
            self.request.hook not in PRIMARY,
        )
        done.rendered = maker.of(drawn(self.decision, context), tuple(self.scope.unreadable))
        for rendered in done.rendered:
            address = context.link(rendered.card["uuid"])
            if any(link["url"] == address for link in rendered.card.get("links", ())):
                done.explanations[rendered.card["uuid"]] = self._explained(rendered, context)

    def _insurer(self) -> str:
        """The payer's name; where nobody knows it, as the Coverage calls its payor."""
        if self.payer:
            return self.directory.label(self.payer)
        return next(iter(self.coverage.payor_names), "The insurer")

    def _explained(self, rendered: RenderedCard, context: Context) -> Json:
        return explain(rendered, context, self.now)

    def _context(self) -> Context:
        base = self.runtime.settings.base_url
        return Context(
            policies=self.book.policies,
            patient_ref=self.builder.patient_ref,
            drafts={ref: r.resource for ref, r in self.builder.drafts if r.resource is not None},
            uri_of=lambda code: URI.get(code.system, code.system),
            new_id=self.runtime.new_id,
            link=lambda uuid: f"{base}/explanations/{uuid}",
            payer_label=self.directory.label,
            asserts=self._speaker("").asserts,
        )


# Under this name a response has an OperationOutcome: what the client wrote otherwise than FHIR R4, or not at all.
WARNINGS = "cds-service.warnings"
_DESCRIPTION = "Add the payer's coverage information to the {thing}"


def _already_authorised(decided: OrderDecision | None, before: list[Json]) -> bool:
    """True when the authorisation, with its number, was read from the order itself: there is nothing to add."""
    known = decided.authorization.number if decided and decided.authorization else None
    return known is not None and any(
        crd.part(e, "pa-needed") == "satisfied" and crd.part(e, "satisfied-pa-id") == known for e in before
    )


def _told(extension: Json, *, sent: bool) -> Json:
    """An assertion as the ledger tells of it: codes and ids only."""
    names = ("covered", "pa-needed", "doc-needed", "info-needed", "coverage-assertion-id")
    told: dict[str, Any] = {n: v for n in names if (v := crd.part(extension, n)) is not None}
    asked = [e["valueCanonical"] for e in extension["extension"] if e["url"] == "questionnaire"]
    return {**told, **({"questionnaire": asked} if asked else {}), "sent": sent}


def _identifiers(coverage: Json) -> Iterable[tuple[str, str]]:
    for identifier in elements.listed(coverage.get("identifier")):
        if isinstance(identifier, dict) and (value := elements.text(identifier.get("value"))):
            yield str(identifier.get("system") or ""), value
    if subscriber := elements.text(coverage.get("subscriberId")):
        yield "subscriberId", subscriber
