"""Decides one order at a time: a determination per policy that speaks, one outcome, findings. Holds the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from functools import cached_property

from cds_service.determination import closing
from cds_service.determination.authorization import holding
from cds_service.determination.decision import (
    Billed,
    Cause,
    Determination,
    Finding,
    JudgedOrder,
    OrderDecision,
    order_decision,
)
from cds_service.determination.routing import Role, Route, may_lack_first, routes
from cds_service.determination.terms import Terms
from cds_service.policy import dates
from cds_service.policy.case import Authorization, Case, Order
from cds_service.policy.compile import CompiledFinding, CompiledVersion
from cds_service.policy.evaluate import Evaluator, Verdict
from cds_service.policy.logic import MET, UNKNOWN
from cds_service.policy.rulebook import ALL_PAYERS, Rulebook
from cds_service.policy.trace import Trace
from cds_service.policy.view import Facts

BILLING = ("cpt", "hcpcs")


class Decider:
    """Decides the orders of one case. What leaves it is plain data."""

    def __init__(self, case: Case, rulebook: Rulebook, terms: Terms, before: Facts | None = None) -> None:
        self.case, self.rulebook, self.terms, self.directory = case, rulebook, terms, terms.directory
        self.evaluator = Evaluator(Facts(case, rulebook.vocabulary, before))
        self._routes: dict[tuple[date, tuple[str, ...]], tuple[Route, ...]] = {}
        self._known: dict[tuple[object, str, date], tuple[CompiledVersion, ...]] = {}
        self._verdicts: dict[tuple[str, str], Verdict] = {}
        self._days: dict[str, date] = {}

    def with_orders(self, orders: tuple[Order, ...]) -> Decider:
        """A decider of the same case with other orders: what is known of the patient stays known."""
        return Decider(self.case.with_orders(orders), self.rulebook, self.terms, self.evaluator.facts)

    def order(self, ref: str) -> Order:
        """An order of the case, by reference."""
        return next(o for o in self.case.orders if o.ref == ref)

    def verdict(self, ref: str, determination: Determination) -> Verdict:
        """The verdict that a determination of an order was made of."""
        return self._verdicts[ref, determination.key]

    def authorization(self, order: Order) -> Authorization | None:
        """The authorisation of an order that holds for the payer that decides; None where it carries none."""
        if not order.authorizations:
            return None
        payers = {route.payer for route in self.routes(order) if route.role == "primary"}
        return holding(order, self.case, payers, self.directory)

    def routes(self, order: Order) -> tuple[Route, ...]:
        """Payers that decide or are shown for an order; the same for orders of one day and insurance."""
        key = (self._day(order), order.insurance)
        if key not in self._routes:
            self._routes[key] = routes(self.case, order, self.directory, self.terms.default_payer)
        return self._routes[key]

    @cached_property
    def _causes(self) -> dict[str, Cause]:
        return closing.causes(self.case)

    def _day(self, order: Order) -> date:
        """The day that an order is judged by."""
        day = self._days.get(order.ref)
        if day is None:
            day = self._days[order.ref] = self.case.day(order)
        return day

    def result(self, order: Order) -> OrderDecision:
        """All that is found about one order."""
        coverage = self._with_primary(order, list(self._coverage(order)))
        patient, day = self.case.patient, self._day(order)
        found = order_decision(
            JudgedOrder(order.ref, order.codes, day),
            (*coverage, *self._guidelines(order)),
            closing.authorization(self.authorization(order)),
            may_lack_first(self.case, order),
            findings=tuple(self._findings(order)),
            operation=closing.operation(order, self.evaluator.facts.operations.of(order)),
            age=dates.age_range(patient.birth, day) if patient else None,
            billed=tuple(self._billed(order)),
        )
        return self._with_looked_for(order, found) if found.flag or found.waits else found

    def _with_looked_for(self, order: Order, found: OrderDecision) -> OrderDecision:
        """With what the wording of the policy that governs reports of the chart."""
        governing = found.governing
        if governing is None or governing.policy is None or governing.item is None:
            return found
        folder = self.rulebook.folders.get(governing.policy)
        words = folder.card.orders.get(governing.item) if folder else None
        if words is None or not words.context:
            return found
        version = self.verdict(order.ref, governing).version
        view = self.evaluator.view(version, order)
        return replace(found, looked_for=closing.looked_for(words.context, version, view))

    def _billed(self, order: Order) -> Iterator[Billed]:
        """The order as billed in each of the ways that it names; nothing where it names none."""
        options = self.terms.billing.get(order.ref, ())
        every = {c for option in options for c in option}
        own = tuple(c for c in order.codes if c.system in BILLING and c not in every)
        clinical = tuple(c for c in order.codes if c.system not in BILLING)
        for billed in (*([own] if own and options else []), *options):
            variant = replace(order, codes=(*clinical, *billed))
            case = self.case.with_orders(tuple(variant if o.ref == order.ref else o for o in self.case.orders))
            yield Billed(billed, Decider(case, self.rulebook, replace(self.terms, billing={})).result(variant))

    def bare_result(self, order: Order) -> OrderDecision:
        """As `result`, with nothing but what outcome and flag rest on: a guideline speaks only where no payer does."""
        judged = JudgedOrder(order.ref, order.codes, self._day(order))
        coverage = tuple(self._with_primary(order, list(self._coverage(order, "primary", bare=True))))
        authorization, open_ = self.authorization(order), may_lack_first(self.case, order)
        bare = order_decision(judged, coverage, authorization, open_)
        if bare.covered_by_policy:
            return bare
        return order_decision(judged, (*coverage, *self._guidelines(order, bare=True)), authorization, open_)

    def _with_primary(self, order: Order, found: list[Determination]) -> list[Determination]:
        if not any(d.role == "primary" for d in found):
            payer = next((r.payer for r in self.routes(order) if r.role == "primary"), None)
            found.insert(0, Determination("primary", "not-addressed", payer))
        return found

    def _versions(self, order: Order, payer: str) -> tuple[CompiledVersion, ...]:
        """Versions of one payer (or, for ALL_PAYERS, of everyone's) that may speak to an order and that fire."""
        day = self._day(order)
        key = (order.ref if order.texts else order.codes, payer, day)
        known = self._known.get(key)
        if known is None:
            fires, found = self.terms.fires, self.rulebook.speaking(order, payer, day)
            if fires is not None:
                found = tuple([v for v in found if fires(v.policy.id, v.version.review.status)])
            known = self._known[key] = found
        return known

    def _coverage(self, order: Order, role: Role | None = None, *, bare: bool = False) -> Iterator[Determination]:
        for route in self.routes(order):
            if role is not None and route.role != role:
                continue
            for payer in self.directory.policies_of(route.payer):
                for version in self._versions(order, payer):
                    verdict = self.evaluator.verdict(version, order)
                    if verdict is not None:
                        yield self._determination(order, route.role, route.payer, verdict, bare)

    def _guidelines(self, order: Order, *, bare: bool = False) -> Iterator[Determination]:
        for version in self._versions(order, ALL_PAYERS):
            if version.policy.kind == "guideline":
                verdict = self.evaluator.verdict(version, order)
                if verdict is not None:
                    yield self._determination(order, "guideline", None, verdict, bare)

    def _determination(
        self, order: Order, role: Role, payer: str | None, verdict: Verdict, bare: bool
    ) -> Determination:
        self._verdicts[order.ref, verdict.version.key] = verdict
        return closing.bare(role, payer, verdict) if bare else closing.determination(role, payer, verdict, self._causes)

    def _findings(self, order: Order) -> Iterator[Finding]:
        for version in self._versions(order, ALL_PAYERS):
            if order.texts and version.policy.kind == "safety":
                yield from self._safety_questions(order, version)
            remarks = version.findings_for(order, self.rulebook.vocabulary)
            if not remarks:
                continue
            view, kind = self.evaluator.view(version, order), version.policy.kind
            for compiled in remarks:
                if compiled.check.met(view):
                    yield self._finding(order, version, compiled, compiled.check(view), kind, compiled.rule.text)
                elif compiled.rule.asks and len(view.operations) > 1:
                    trace = compiled.check(view)
                    if trace.outcome is UNKNOWN:  # the rule may hold for one of the operations the order fits
                        yield self._finding(order, version, compiled, trace, "coding", compiled.rule.asks)

    def _safety_questions(self, order: Order, version: CompiledVersion) -> Iterator[Finding]:
        """Asked, not warned of: what the order's text mentions and leaves open, where there would be a warning."""
        for compiled in version.findings_in_doubt(order, self.rulebook.vocabulary):
            view = self.evaluator.view(version, order)
            trace = compiled.check(view)
            asked = compiled.rule.asks and len(view.operations) > 1
            if trace.outcome is MET or (asked and trace.outcome is UNKNOWN):
                title = self.rulebook.vocabulary.sets[compiled.rule.about].title
                text = f"{title}: is it ordered? The order's text leaves it open. If it is: {compiled.rule.text}"
                yield self._finding(order, version, compiled, trace, "coding", text)

    def _finding(
        self, order: Order, version: CompiledVersion, compiled: CompiledFinding, trace: Trace, kind: str, text: str
    ) -> Finding:
        rule = compiled.rule
        code = next((c.code for c in order.codes if c in self.rulebook.vocabulary.procedures), "")
        label = next((name for c in order.codes if (name := self.rulebook.vocabulary.label(c))), "This order")
        text = text.replace("{code}", code).replace("{label}", label)
        policy, number = version.policy.id, version.version.version
        return Finding(order.ref, kind, rule.id, text, policy, number, trace, tuple(rule.cite))
