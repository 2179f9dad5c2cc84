"""Generated cases on the bundled policies: order is no matter, reading more never unsettles, suggestions settle."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from random import Random

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cds_service.content_files import load_rulebook
from cds_service.determination.decide import decide
from cds_service.determination.decider import Decider
from cds_service.determination.decision import Decision
from cds_service.determination.options import replacement
from cds_service.determination.routing import PayerDirectory
from cds_service.determination.terms import Terms
from cds_service.policy.case import (
    Case,
    Code,
    Condition,
    Coverage,
    Order,
    Patient,
    Period,
    Procedure,
    Source,
    SourceState,
)
from cds_service.policy.rulebook import Rulebook

DAY = date(2026, 11, 10)
SOURCES = ("orders", "active-orders", "patient", "conditions", "procedures", "observations", "answers", "coverage")
EXAMPLES = settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXTS = (
    "",
    "with InFuse",
    "rhBMP-2, off label",
    "no BMP",
    "cancellous chips",
    "DBM putty",
    "Trinity Elite",
    "i-FACTOR",
)
SITES = ("", "C4-C6", "L4-L5", "cervical", "lumbar")
COMMON = ("22551", "22552", "22612", "22614", "22633", "22845", "22853", "20930", "20931", "20936", "20939", "20939")


@cache
def book() -> Rulebook:
    return load_rulebook()


@cache
def terms() -> Terms:
    return Terms(PayerDirectory(book().content.payers))


@cache
def diagnoses() -> tuple[str, ...]:
    prefixes = (p for s in book().vocabulary.sets.values() for p in s.prefixes.get("icd-10-cm", ()))
    return tuple(sorted({p.prefix for p in prefixes}))


@cache
def catalogue() -> tuple[Code, ...]:
    return tuple(sorted(book().vocabulary.procedures, key=str))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    spine = st.sampled_from(COMMON).map(lambda c: Code("cpt", c))
    codes = draw(st.lists(st.one_of(spine, spine, spine, st.sampled_from(catalogue())), min_size=1, max_size=8))
    orders = []
    for number, code in enumerate(codes):
        text, site = draw(st.sampled_from(TEXTS)), draw(st.sampled_from(SITES))
        orders.append(
            Order(
                f"ServiceRequest/o{number}",
                (code,),
                draft=draw(st.integers(0, 6)) > 0,
                units=draw(st.sampled_from([1, 1, 1, 2, None])),
                texts=(text,) if text else (),
                body_site_texts=(site,) if site and draw(st.booleans()) else (),
                encounter=draw(st.sampled_from([None, None, None, "Encounter/e1", "Encounter/e2"])),
            )
        )
    payer = draw(st.sampled_from([*sorted(book().content.payers), ""]))
    known = book().content.payers.get(payer)
    identifiers = tuple((i.system, i.value) for i in known.identifiers) if known else ()
    problems = draw(st.lists(st.sampled_from(diagnoses()), max_size=3))
    past = draw(st.lists(st.tuples(st.sampled_from(catalogue()), st.integers(1, 800)), max_size=2))
    born = DAY - timedelta(days=365 * draw(st.sampled_from([12, 30, 52, 71])))
    return Case(
        orders=tuple(orders),
        conditions=tuple(Condition(f"Condition/c{n}", (Code("icd-10-cm", c),)) for n, c in enumerate(problems)),
        procedures=tuple(
            Procedure(f"Procedure/p{n}", (code,), Period(DAY - timedelta(days), DAY - timedelta(days)))
            for n, (code, days) in enumerate(past)
        ),
        patient=Patient("Patient/p", Period(born, born)),
        coverages=(Coverage("Coverage/v", identifiers, order=1),) if payer else (),
        sources={s: Source(SourceState.READ) for s in SOURCES},
        received=DAY,
    )


def decided(case: Case) -> Decision:
    return decide(case, book(), terms())


def summary(decision: Decision) -> dict[str, tuple[object, ...]]:
    """What became of each order: outcome, flag, each policy's outcome and rule, findings."""
    return {
        r.order.ref: (
            r.outcome,
            r.flag,
            tuple((d.role, d.outcome, d.key, d.rule) for d in r.spoken),
            tuple(sorted((f.kind, f.rule) for f in r.findings)),
        )
        for r in decision.orders
    }


@EXAMPLES
@given(cases(), st.integers(0, 2**16))
def test_reordering_never_matters(case: Case, seed: int) -> None:
    before = summary(decided(case))
    shuffled = {n: list(getattr(case, n)) for n in ("orders", "conditions", "procedures")}
    for items in shuffled.values():
        Random(seed).shuffle(items)
    after = summary(decided(replace(case, **{n: tuple(items) for n, items in shuffled.items()})))
    assert after == before


@EXAMPLES
@given(cases(), st.sampled_from(["patient", "conditions", "procedures", "observations"]))
def test_reading_more_never_changes_what_was_settled(case: Case, source: str) -> None:
    """With a source unread, an outcome that stands already is the outcome that the source, once read, confirms."""
    names = {"patient": {"patient": None}, "conditions": {"conditions": ()}, "procedures": {"procedures": ()}}
    sources = {**case.sources, source: Source(SourceState.UNAVAILABLE, "not supplied")}
    unread = replace(case, sources=sources, **names.get(source, {}))
    full = {(r.order.ref, d.key): d.outcome for r in decided(case).orders for d in r.spoken}
    for result in decided(unread).orders:
        for d in result.spoken:
            if d.outcome != "needs-information":
                assert full[result.order.ref, d.key] == d.outcome


@EXAMPLES
@given(cases())
def test_a_suggestion_applied_yields_no_new_warning(case: Case) -> None:
    decision, drafts = decided(case), {o.ref: o for o in case.orders}
    results = decision.orders
    warned = {r.order.ref for r in results if r.flag == "warning"}
    alarms = {(r.order.ref, f.rule) for r in results for f in r.findings if f.kind == "safety"}
    for group in decision.flagged:
        gone = set(group.orders)
        kept = tuple(o for o in case.orders if o.ref not in gone)
        suggestions = [kept] * group.removable
        suggestions += [(*kept, replacement(drafts[group.orders[0]], option.code)) for option in group.offered]
        event("suggestions" if suggestions else "flagged, nothing to suggest")
        for orders in suggestions:
            after = decided(case.with_orders(orders)).orders
            assert {r.order.ref for r in after if r.flag == "warning"} <= warned - gone
            assert {(r.order.ref, f.rule) for r in after for f in r.findings if f.kind == "safety"} <= alarms
            new = [r for r in after if r.order.ref not in {o.ref for o in kept}]
            assert [r.flag for r in new] == [None] * len(new)
            settled = {r.order.ref: r.outcome for r in results if r.outcome == "supported"}
            assert {r.order.ref: r.outcome for r in after if r.order.ref in settled} == {
                ref: outcome for ref, outcome in settled.items() if ref not in gone
            }


@EXAMPLES
@given(cases())
def test_no_suggestion_touches_what_is_not_a_draft_or_is_needed(case: Case) -> None:
    decision, operations = decided(case), Decider(case, book(), terms()).evaluator.facts.operations
    procedures = book().vocabulary.procedures
    for group in decision.flagged:
        twins = [o for o in case.orders if o.ref in group.orders]
        assert all(o.draft for o in twins)
        offered = [option.code for option in group.offered]
        assert len(set(offered)) == len(offered)
        here = {id(o) for twin in twins for o in operations.of(twin)}
        beside = [o for o in case.orders if here & {id(p) for p in operations.of(o)}]
        present = {c for o in beside for c in o.codes if o not in twins}
        assert present.isdisjoint(offered)
        if group.removable:
            rest = [o for o in case.orders if o not in twins]
            for code in {c for o in twins for c in o.codes}:
                leaning = [o for o in rest for c in o.codes if (e := procedures.get(c)) and code.code in e.requires]
                for other in leaning:
                    needs = {r for c in other.codes if c in procedures for r in procedures[c].requires}
                    assert any(c.code in needs for o in rest if o.ref != other.ref for c in o.codes)
