"""From a case to what each order gets: a determination per policy that speaks, one outcome, and findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from cds_service.determination.authorization import holding
from cds_service.determination.routing import PayerDirectory, Role, Route, may_lack_first, routes
from cds_service.policy.case import Authorization, Case, Order
from cds_service.policy.compile import CompiledFinding, CompiledVersion
from cds_service.policy.evaluate import Evaluator, Verdict
from cds_service.policy.logic import MET, UNKNOWN
from cds_service.policy.rulebook import ALL_PAYERS, Rulebook
from cds_service.policy.trace import Missing, Trace
from cds_service.policy.view import Facts

# Several policies of one payer on one order: the first of these that occurs.
PRECEDENCE = ("not-supported", "needs-information", "supported", "not-addressed")


class Determination(NamedTuple):
    """One policy's outcome for one order; `verdict` is None where no coverage policy speaks."""

    order: Order
    role: Role
    outcome: str
    verdict: Verdict | None = None
    payer: str | None = None

    @property
    def gap(self) -> str | None:
        """What the encoding does not know of the policy, where that leaves the outcome open."""
        return self.verdict.gap if self.verdict else None

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What would settle it."""
        return self.verdict.missing if self.verdict else ()


@dataclass(frozen=True)
class Finding:
    """A coding or safety remark about an order."""

    order: Order
    kind: str
    rule: str
    text: str
    version: CompiledVersion
    trace: Trace
    cites: tuple[str, ...]


@dataclass(eq=False, slots=True)
class OrderResult:
    """Everything found about one order, and what it comes to.

    `primary` are the determinations of the payer that decides. `covered_by_policy` is true where a coverage policy
    speaks: one that does not address the order leaves it to the guideline. `governing` gave the outcome: the
    guideline's where no coverage policy speaks. `gap` is the determination that lacks what its policy says: nobody who
    is asked could settle it, so that the order is the guideline's, as where no policy speaks. `authorization` is one
    that the order carries and that holds. `payer_open`: a coverage that did not come may decide before those that are
    known.
    """

    order: Order
    determinations: tuple[Determination, ...]
    findings: tuple[Finding, ...] = ()
    authorization: Authorization | None = None
    payer_open: bool = False
    primary: tuple[Determination, ...] = field(init=False)
    outcome: str = field(init=False)
    covered_by_policy: bool = field(init=False)
    gap: Determination | None = field(init=False)
    governing: Determination | None = field(init=False)
    flag: str | None = field(init=False)

    def __post_init__(self) -> None:
        self.primary = tuple([d for d in self.determinations if d.role == "primary"])
        self.outcome = _outcome(self.primary)
        if self.payer_open and self.outcome != "not-addressed":
            self.outcome = "needs-information"
        spoken = [d for d in self.primary if d.verdict is not None and d.outcome != "not-addressed"]
        self.gap = None if self.payer_open or self.outcome != "needs-information" else _gap(spoken)
        self.covered_by_policy = bool(spoken) and self.gap is None
        speaks = self.covered_by_policy
        self.governing = _decisive(spoken, self.outcome) if speaks else _leading(self.determinations)
        self.flag = self._flag()

    def _flag(self) -> str | None:
        """`warning` or `info` when the order deserves a card of its own, else None. Authorised orders never do."""
        if self.authorization is not None:
            return None
        if self.covered_by_policy:
            return "warning" if self.outcome == "not-supported" else None
        verdict = self.governing.verdict if self.governing else None
        return _FLAGS.get(verdict.recommendation) if verdict else None

    @property
    def settled(self) -> bool:
        """True when a policy has given a definite outcome, or a guideline has something to say."""
        return self.outcome in ("supported", "not-supported") or self.flag is not None or self.authorization is not None


_FLAGS: dict[str | None, str] = {"against": "warning", "none": "info"}
_RANK = ("against", "none", "option", "for", None)


def _outcome(primary: tuple[Determination, ...]) -> str:
    """The one outcome of the primary coverage; payers that tie for it must agree."""
    if len(primary) == 1:
        return primary[0].outcome
    by_payer: dict[str | None, list[str]] = {}
    for d in primary:
        by_payer.setdefault(d.payer, []).append(d.outcome)
    outcomes = {strongest(o) for o in by_payer.values()}
    if len(outcomes) > 1:
        return "needs-information"
    return outcomes.pop() if outcomes else "not-addressed"


def _decisive(spoken: list[Determination], outcome: str) -> Determination:
    """The first that says what came out; where payers disagree, and none says it, the first."""
    for d in spoken:
        if d.outcome == outcome:
            return d
    return spoken[0]


def _gap(spoken: list[Determination]) -> Determination | None:
    """The first determination that a gap of its encoding leaves open, where nothing else leaves the order open.

    A gap stands before what another policy of the payer supports: that one does not know what this one says.
    """
    by_payer: dict[str | None, list[str]] = {}
    for d in spoken:
        by_payer.setdefault(d.payer, []).append(d.outcome)
    open_ = [d for d in spoken if d.outcome == "needs-information"]
    agreed = {strongest(o) for o in by_payer.values()} == {"needs-information"}
    return open_[0] if agreed and all(d.gap for d in open_) else None


def _leading(determinations: tuple[Determination, ...]) -> Determination | None:
    """The guideline that objects most."""
    guidelines = [d for d in determinations if d.role == "guideline"]
    return min(guidelines, key=lambda d: _RANK.index(d.verdict.recommendation if d.verdict else None), default=None)


def strongest(outcomes: Iterable[str]) -> str:
    """The outcome that decides when several policies of one payer speak."""
    seen = set(outcomes)
    return next(o for o in PRECEDENCE if o in seen)


@dataclass(frozen=True)
class Terms:
    """What a deployment adds to the content: which versions fire, and the payer to assume without Coverage."""

    fires: Callable[[CompiledVersion], bool] | None = None  # None: all of them
    default_payer: str | None = None


class Decider:
    """Decides the orders of one case."""

    def __init__(
        self, case: Case, rulebook: Rulebook, directory: PayerDirectory, terms: Terms, before: Facts | None = None
    ) -> None:
        self.case, self.rulebook, self.directory, self.terms = case, rulebook, directory, terms
        self.evaluator = Evaluator(Facts(case, rulebook.vocabulary, before))
        self._routes: dict[tuple[date, tuple[str, ...]], tuple[Route, ...]] = {}
        self._known: dict[tuple[object, str, date], tuple[CompiledVersion, ...]] = {}

    def with_orders(self, orders: tuple[Order, ...]) -> Decider:
        """A decider of the same case with other orders: what is known of the patient stays known."""
        case = self.case.with_orders(orders)
        return Decider(case, self.rulebook, self.directory, self.terms, self.evaluator.facts)

    def authorization(self, order: Order) -> Authorization | None:
        """The authorisation of an order that holds for the payer that decides; None where it carries none."""
        if not order.authorizations:
            return None
        payers = {route.payer for route in self.routes(order) if route.role == "primary"}
        return holding(order, self.case, payers, self.directory)

    def routes(self, order: Order) -> tuple[Route, ...]:
        """Payers that decide or are shown for an order; the same for orders of one day and insurance."""
        key = (self.case.day(order), order.insurance)
        if key not in self._routes:
            self._routes[key] = routes(self.case, order, self.directory, self.terms.default_payer)
        return self._routes[key]

    def result(self, order: Order) -> OrderResult:
        """All determinations and findings for one order."""
        coverage = self._with_primary(order, list(self._coverage(order)))
        determinations = (*coverage, *self._guidelines(order))
        findings, authorization = tuple(self._findings(order)), self.authorization(order)
        return OrderResult(order, determinations, findings, authorization, may_lack_first(self.case, order))

    def bare_result(self, order: Order) -> OrderResult:
        """As `result`, with nothing but what outcome and flag rest on: a guideline speaks only where no payer does."""
        coverage = self._with_primary(order, list(self._coverage(order, "primary")))
        authorization = self.authorization(order)
        open_ = may_lack_first(self.case, order)
        bare = OrderResult(order, tuple(coverage), (), authorization, open_)
        if bare.covered_by_policy:
            return bare
        return OrderResult(order, (*coverage, *self._guidelines(order)), (), authorization, open_)

    def _with_primary(self, order: Order, found: list[Determination]) -> list[Determination]:
        if not any(d.role == "primary" for d in found):
            payer = next((r.payer for r in self.routes(order) if r.role == "primary"), None)
            found.insert(0, Determination(order, "primary", "not-addressed", None, payer))
        return found

    def _versions(self, order: Order, payer: str) -> tuple[CompiledVersion, ...]:
        """Versions of one payer (or, for ALL_PAYERS, of everyone's) that may speak to an order and that fire."""
        day = self.case.day(order)
        key = (order.ref if order.texts else order.codes, payer, day)
        known = self._known.get(key)
        if known is None:
            fires, found = self.terms.fires, self.rulebook.speaking(order, payer, day)
            known = self._known[key] = found if fires is None else tuple([v for v in found if fires(v)])
        return known

    def _coverage(self, order: Order, role: Role | None = None) -> Iterator[Determination]:
        for route in self.routes(order):
            if role is not None and route.role != role:
                continue
            for payer in self.directory.policies_of(route.payer):
                for version in self._versions(order, payer):
                    verdict = self.evaluator.verdict(version, order)
                    if verdict is not None:
                        yield Determination(order, route.role, verdict.outcome, verdict, route.payer)

    def _guidelines(self, order: Order) -> Iterator[Determination]:
        for version in self._versions(order, ALL_PAYERS):
            if version.policy.kind == "guideline":
                verdict = self.evaluator.verdict(version, order)
                if verdict is not None:
                    yield Determination(order, "guideline", verdict.outcome, verdict)

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
        return Finding(order, kind, rule.id, text, version, trace, tuple(rule.cite))


def judged_orders(case: Case, selections: tuple[str, ...] | None) -> tuple[Order, ...]:
    """The draft orders to judge: all of them, or (order-select) those selected."""
    drafts = tuple(o for o in case.orders if o.draft)
    return drafts if selections is None else tuple(o for o in drafts if o.ref in selections)


def decide(
    case: Case,
    rulebook: Rulebook,
    directory: PayerDirectory,
    terms: Terms,
    selections: tuple[str, ...] | None = None,
) -> tuple[Decider, tuple[OrderResult, ...]]:
    """Decide every judged order of a case, in the order of the request."""
    decider = Decider(case, rulebook, directory, terms)
    return decider, tuple(decider.result(o) for o in judged_orders(case, selections))
