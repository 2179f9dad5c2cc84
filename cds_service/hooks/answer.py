"""The one path from a hook request to an answer, shared by HTTP, `evaluate` and `replay`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from time import monotonic, perf_counter
from typing import Any

from cds_service.determination.decide import decide
from cds_service.determination.decision import Decision, Determination, JudgedOrder, OrderDecision
from cds_service.errors import Issue, MissingData, RequestError
from cds_service.facts.builder import CaseBuilder
from cds_service.facts.codes import URI
from cds_service.hooks import gather
from cds_service.hooks.in_dialect import in_dialect
from cds_service.hooks.request import HookRequest
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.hooks.selections import selected
from cds_service.hooks.services import Service
from cds_service.policy.case import Case, Fault, Order, SourceState
from cds_service.policy.not_looked_at import Unseen
from cds_service.policy.trace import Trace
from cds_service.render import unseen
from cds_service.render.cards import render
from cds_service.render.explanation import explain
from cds_service.render.parts import Context, RenderedCard
from cds_service.render.policies import Policies

Json = dict[str, Any]


@dataclass(slots=True)
class Timing:
    """Milliseconds per stage of one call."""

    stages: dict[str, float] = field(default_factory=dict)

    def stage(self, name: str) -> Stage:
        """Time a stage: what a `with` block takes."""
        return Stage(self.stages, name)


class Stage:
    """Adds the time of a block to its stage; a class, because it is entered ten times a call."""

    __slots__ = ("_name", "_stages", "_started")

    def __init__(self, stages: dict[str, float], name: str) -> None:
        self._stages, self._name = stages, name

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        spent = (perf_counter() - self._started) * 1000
        self._stages[self._name] = self._stages.get(self._name, 0.0) + spent


@dataclass
class Answer:
    """The response, and everything the ledger and the CLI tell about how it came about."""

    response: Json
    request: HookRequest
    service: Service
    case: Case
    policies: Policies
    decision: Decision = field(default_factory=Decision)
    rendered: list[RenderedCard] = field(default_factory=list)
    explanations: dict[str, Json] = field(default_factory=dict)
    fetched: list[Json] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)
    revision: str = ""
    record_id: str = ""
    assertions: dict[str, list[Json]] = field(default_factory=dict)


def answer(
    request: HookRequest,
    service: Service,
    runtime: Runtime,
    caller: Caller,
    *,
    as_of: date | None = None,
    live: bool = False,
    timing: Timing | None = None,
) -> Answer:
    """Answer a validated hook request. Raises RequestError (bad orders) or MissingData (412).

    `live`: somebody is about to sign, so a draft is judged by the day of receipt even if it was written before.
    Without it, the same request gets the same answer on any day.
    """
    clock = timing or Timing()
    if service.group == "crd":
        from cds_service.hooks.crd import answer_crd  # crd builds on this module: imported late to break the circle

        done = answer_crd(request, service, runtime, caller, as_of=as_of, live=live, timing=clock)
    else:
        done = _advise(request, service, runtime, caller, as_of=as_of, live=live, clock=clock)
    topics = f"{runtime.settings.base_url}/CodeSystem/card-topics"
    with clock.stage("render"):
        done.rendered = in_dialect(done.rendered, caller.dialect, topics, runtime.new_id)
        done.response["cards"] = [r.card for r in done.rendered]
    return done


def _advise(
    request: HookRequest,
    service: Service,
    runtime: Runtime,
    caller: Caller,
    *,
    as_of: date | None,
    live: bool,
    clock: Timing,
) -> Answer:
    """Cards for the orders of an advisor's call."""
    book, now = runtime.book, runtime.now()
    builder = CaseBuilder(
        request.patient_id,
        now.date(),
        as_of,
        caller.local_codes,
        now if live else None,
        base=request.base,
        prefetch=request.prefetch,
    )
    fetched: list[Json] = []
    deadline = monotonic() + runtime.settings.fetch_deadline
    if service.orders_in_chart:
        with clock.stage("gather"):
            fetched += gather.planned_orders(request, builder, runtime, caller, deadline)
    with clock.stage("extract"):
        if not service.orders_in_chart:
            builder.draft_orders(request.context["draftOrders"], "context.draftOrders")
        chosen = selected(request, builder)
    with clock.stage("gather"):
        fetched += gather.products(request, builder, runtime, caller, deadline)
    with clock.stage("extract"):
        judged = _judged(builder, chosen, runtime)
        outlines = gather.concerning(judged, builder, runtime)
    _refuse_if_unreadable(builder)
    if outlines or builder.orders_unusable:
        needed = gather.sources_needed(outlines, judged)
        with clock.stage("gather"):
            fetched += gather.gather(request, needed, builder, runtime, caller, deadline)
    case = builder.build()
    payer_wanted = any(outline.kind == "coverage" for outline in outlines)
    with clock.stage("evaluate"):
        decision = decide(case, book.rulebook, runtime.terms(chosen, payer_wanted=payer_wanted))
    if outlines:
        _refuse_if_unobtainable(decision)
    done = Answer(
        {}, request, service, case, book.policies, decision,
        fetched=fetched, timing=clock, revision=book.rulebook.revision,
    )  # fmt: skip
    with clock.stage("render"):
        _render(done, builder, runtime)
    return done


def _judged(builder: CaseBuilder, chosen: tuple[str, ...] | None, runtime: Runtime) -> list[Order]:
    """Draft orders to judge, before the chart is read: enough to see which policies speak."""
    drafts = list(builder.draft())
    gather.name_uncoded(drafts, builder, runtime)
    return drafts if chosen is None else [o for o in drafts if o.ref in chosen]


def _refuse_if_unreadable(builder: CaseBuilder) -> None:
    """400 when there were orders and none of them can be named: nothing is left to answer about."""
    if builder.drafts or builder.settled or not builder.orders_unusable:
        return
    unnamed = [f for f in builder.faults if f.fatal and f.why in (Unseen.NO_RESOURCE, Unseen.NO_ID)]
    if unnamed and len(unnamed) == len(builder.orders_unusable):
        raise RequestError(*(Issue(f.text, f.path, "required") for f in unnamed))


def _refuse_if_unobtainable(decision: Decision) -> None:
    """412 when no order's outcome can be settled and unobtainable data is the sole cause."""
    open_ = [d for d in decision.orders if d.determinations and (d.covered_by_policy or _coverage_unknown(d, decision))]
    if not open_ or any(d.settled or d.findings for d in decision.orders):
        return
    causes = [_unobtainable(d, decision) for d in open_]
    if all(causes):
        sources = sorted({s for cause in causes for s in cause or ()})
        details = {s: decision.source(s).detail or "not supplied" for s in sources}
        raise MissingData(
            *(
                Issue(f"is needed and could not be obtained: {d}", f"prefetch.{s}", "incomplete")
                for s, d in details.items()
            )
        )


def _coverage_unknown(decided: OrderDecision, decision: Decision) -> bool:
    return not decided.covered_by_policy and decision.source("coverage").state is SourceState.UNAVAILABLE


def _unobtainable(decided: OrderDecision, decision: Decision) -> set[str] | None:
    """The unavailable sources, when they alone keep an order open; else None."""
    if _coverage_unknown(decided, decision):
        return {"coverage"}
    sources = {m.source for d in decided.primary for m in d.missing}
    unavailable = {s for s in sources if decision.source(s).state is SourceState.UNAVAILABLE}
    return sources if sources and sources == unavailable else None


def _render(done: Answer, builder: CaseBuilder, runtime: Runtime) -> None:
    base = runtime.settings.base_url
    context = Context(
        policies=done.policies,
        patient_ref=builder.patient_ref,
        drafts={ref: reading.resource for ref, reading in builder.drafts if reading.resource is not None},
        changeable=not done.service.orders_in_chart,
        uri_of=lambda code: URI.get(code.system, code.system),
        new_id=runtime.new_id,
        link=lambda uuid: f"{base}/explanations/{uuid}",
        payer_label=runtime.book.directory.label,
    )
    done.rendered = render(done.decision, context)
    foreign = bool(done.decision.source("orders").foreign)
    done.rendered += unseen.card(done.decision.not_looked_at, context, read=foreign)
    now = runtime.now()
    for rendered in done.rendered:
        if rendered.about is not None:
            done.explanations[rendered.card["uuid"]] = explain(rendered, context, now)
    done.response = {"cards": [r.card for r in done.rendered]}


# --- what `evaluate --json`, replay and the ledger tell ---------------------------------------------


def determinations(done: Answer) -> list[Json]:
    """One entry per order and policy that speaks to it; a `primary` one without policy where none does."""
    known: dict[int, Json] = {}
    return entries(done, lambda trace, said: {**(trace.to_json(known=known) if trace else {}), **said})


def entries(done: Answer, write: Callable[[Trace | None, Json], Any]) -> list[Json]:
    """`determinations`, with traces as `write` makes them of one and of what is said beside its criteria."""
    unread = _by_order(done)
    found: list[Json] = []
    for decided in done.decision.orders:
        ref, code = decided.order.ref, _code(decided.order)
        beside = _beside(decided, unread.get(ref, ()))
        asserted = done.assertions.get(ref)
        for d in decided.determinations:
            entry = {"order": ref, "code": code, **_entry(d, beside, write)}
            if asserted and d.role == "primary":
                entry["coverage_information"] = asserted
            found.append(entry)
    return found


MOST_FAULTS = 20  # of one order; whoever reads more of them learns no more


def _by_order(done: Answer) -> dict[str, list[Fault]]:
    """What could not be used of each order. All faults beside each order would grow with the square of their number."""
    found: dict[str, list[Fault]] = {}
    for fault in done.case.faults:
        known = found.setdefault(fault.ref, [])
        if len(known) < MOST_FAULTS:
            known.append(fault)
    return found


def _beside(decided: OrderDecision, unread: Sequence[Fault]) -> Json:
    """What is said of an order beside the criteria of any policy."""
    said: Json = {}
    if decided.authorization is not None:
        said["authorised_by"] = {"number": decided.authorization.number, "ref": decided.authorization.ref}
    if unread:
        said["not_used"] = [_fault(f) for f in unread]
    return said


def _entry(d: Determination, beside: Json, write: Callable[[Trace | None, Json], Any]) -> Json:
    return {
        "policy": d.policy,
        "version": d.version,
        "role": d.role,
        "outcome": d.outcome,
        "prior_authorization": d.prior_authorization,
        "missing": [m._asdict() for m in d.missing],
        "trace": write(d.trace, {**_said(d), **beside}),
    }


def _said(d: Determination) -> Json:
    """What stands beside the criteria at the root of a trace."""
    said: Json = {}
    if d.rule:
        said["decided_by"] = d.rule
    if d.given:
        said["given"] = list(d.given)
    if d.recommendation:
        said["recommendation"] = d.recommendation
    return said


def _code(order: JudgedOrder) -> str | None:
    """The order's billing code where it has one, else its first code."""
    for system, code in order.codes:
        if system in ("cpt", "hcpcs"):
            return code
    return order.codes[0].code if order.codes else None


def _fault(fault: Fault) -> Json:
    return {"ref": fault.ref, "path": fault.path, "text": fault.text, "unusable": fault.fatal}


MOST_NOT_USED = 1000


def not_used(done: Answer) -> list[Json]:
    """What could not be used of the whole request, by reference; the first thousand of it."""
    return [_fault(f) for f in done.case.faults[:MOST_NOT_USED]]


def findings(done: Answer) -> list[Json]:
    """Coding and safety remarks."""
    return [{"order": f.order, "kind": f.kind, "text": f.text} for d in done.decision.orders for f in d.findings]
