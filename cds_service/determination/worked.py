"""Worked cases: the facts an author writes beside a policy, as a case, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from cds_service.determination.decide import decide
from cds_service.determination.decision import Decision, Determination, OrderDecision
from cds_service.determination.routing import PayerDirectory
from cds_service.determination.terms import Terms
from cds_service.policy.case import (
    Answer,
    Authorization,
    Case,
    Code,
    Condition,
    Coverage,
    CoverageClass,
    Medication,
    Observation,
    Order,
    Patient,
    Period,
    Procedure,
    Source,
    SourceState,
)
from cds_service.policy.content import PolicyFolder
from cds_service.policy.model import (
    CaseCondition,
    CaseCoverage,
    CaseMedication,
    CaseObservation,
    CaseOrder,
    CaseProcedure,
    CaseService,
    ExpectedOrder,
    WorkedCase,
)
from cds_service.policy.operators.reads import SOURCES
from cds_service.policy.rulebook import Rulebook, within


@dataclass(frozen=True)
class CaseReport:
    """What a worked case gave: failures in plain words, and the decision for whoever wants to look."""

    policy: str
    case: WorkedCase
    failures: tuple[str, ...]
    decision: Decision


def _order(number: int, item: str | CaseOrder) -> Order:
    spec = CaseOrder(code=item) if isinstance(item, str) else item
    texts = tuple(t for t in (spec.text, spec.note) if t)
    return Order(
        ref=f"{spec.type}/{spec.id or f'o{number}'}",
        codes=(Code(spec.system, spec.code),) if spec.code else (),
        draft=not spec.active,
        units=spec.units,
        modifiers=tuple(spec.modifiers),
        texts=texts,
        reason_codes=tuple(Code("icd-10-cm", c) for c in spec.reason),
        body_site_texts=(spec.body_site,) if spec.body_site else (),
        encounter=spec.encounter,
        requisition=spec.requisition,
        occurrence=spec.occurrence,
        authorizations=(Authorization(spec.authorization, f"ServiceRequest/o{number}"),) if spec.authorization else (),
    )


def _day(value: date | None) -> Period | None:
    return Period(value, value) if value else None


def _condition(number: int, item: str | CaseCondition) -> Condition:
    spec = CaseCondition(code=item) if isinstance(item, str) else item
    codes = (Code(spec.system, spec.code),) if spec.code else ()
    return Condition(f"Condition/c{number}", codes, spec.active, spec.confirmed, _day(spec.onset), spec.text)


def _procedure(number: int, item: CaseProcedure) -> Procedure:
    texts = (item.text,) if item.text else ()
    return Procedure(f"Procedure/p{number}", (Code(item.system, item.code),), _day(item.on), texts=texts)


def _service(number: int, item: CaseService) -> Procedure:
    return Procedure(f"{item.type}/s{number}", (Code(item.system, item.code),), _day(item.on))


def _medication(number: int, item: CaseMedication) -> Medication:
    reasons = (Code(item.stopped_system, item.stopped_because),) if item.stopped_because else ()
    taken = Period(item.from_, item.to) if item.from_ or item.to else None
    return Medication(f"MedicationRequest/m{number}", (Code(item.system, item.code),), item.active, taken, reasons)


def _observation(number: int, item: CaseObservation, day: date) -> Observation:
    when = item.on or day
    return Observation(
        f"Observation/b{number}",
        (Code(item.system, item.code),),
        _day(when),
        quantity=item.value if isinstance(item.value, float) else None,
        unit=item.unit,
        flag=item.value if isinstance(item.value, bool) else None,
        coded=(Code(item.coded_system, item.coded),) if item.coded else (),
        at=datetime.combine(when, time.fromisoformat(item.at), UTC) if item.at else None,
    )


def _coverage(payer: str, said: CaseCoverage | None) -> Coverage:
    said = said or CaseCoverage()
    return Coverage(
        "Coverage/v1",
        (("urn:payer", payer),),
        type_codes=(Code("sopt", said.type),) if said.type else (),
        type_texts=(said.text,) if said.text else (),
        classes=(CoverageClass("plan", name=said.plan),) if said.plan else (),
    )


def to_case(worked: WorkedCase, policy: str, payer: str | None) -> Case:
    """The facts of a worked case. Sources not named in `unavailable` were read (or empty)."""
    observations = tuple(_observation(n, o, worked.on) for n, o in enumerate(worked.observations, 1))
    answers = tuple(
        Answer("QuestionnaireResponse/q1", f"/{policy}/", link, value, worked.on)
        for link, value in worked.answers.items()
    )
    birth = worked.born or (date(worked.on.year - worked.age, 1, 1) if worked.age is not None else None)
    filled = {"conditions": worked.conditions, "procedures": worked.procedures, "observations": observations}
    sources = {
        name: Source(SourceState.UNAVAILABLE, "not supplied")
        if name in worked.unavailable
        else Source(SourceState.READ if filled.get(name, True) else SourceState.EMPTY)
        for name in SOURCES
    }
    return Case(
        orders=tuple(_order(n, o) for n, o in enumerate(worked.orders, 1)),
        conditions=tuple(_condition(n, c) for n, c in enumerate(worked.conditions, 1)),
        procedures=tuple(_procedure(n, p) for n, p in enumerate(worked.procedures, 1)),
        services=tuple(_service(n, s) for n, s in enumerate(worked.services, 1)),
        medications=tuple(_medication(n, m) for n, m in enumerate(worked.medications, 1)),
        observations=observations,
        answers=answers,
        patient=None if "patient" in worked.unavailable else Patient("Patient/worked", _day(birth), worked.sex),
        coverages=(_coverage(payer, worked.coverage),) if payer else (),
        sources=sources,
        received=worked.on,
        as_of=worked.on,
    )


class _WorkedDirectory(PayerDirectory):
    """Worked cases name the payer by its id."""

    def by_identifier(self, coverage: Coverage) -> str | None:
        return coverage.payor_identifiers[0][1] if coverage.payor_identifiers else None


def run_case(folder: PolicyFolder, worked: WorkedCase, rulebook: Rulebook) -> CaseReport:
    """Decide a worked case as a hook call would, and compare what this policy says with what is expected."""
    policy = folder.policy
    payer = worked.payer or (policy.payers[0] if policy.payers else None)
    case = to_case(worked, policy.id, payer)
    directory = _WorkedDirectory.of(rulebook.content)
    decision = decide(case, rulebook, Terms(directory))
    failures = [f for code, want in worked.expect.items() for f in _compare(policy.id, code, want, decision.orders)]
    if failures and not any(within((v.effective.from_, v.effective.to), worked.on) for v in policy.versions):
        failures.append(f"no version of the policy is in force on {worked.on}: correct 'on' of the case")
    if worked.findings is not None:
        failures += _compare_findings(policy.id, worked.findings, decision.orders)
    return CaseReport(policy.id, worked, tuple(failures), decision)


def _named(orders: Iterable[OrderDecision], name: str) -> list[OrderDecision]:
    """Decisions on the orders that an author means: by code, or by the id given in the case."""
    return [r for r in orders if any(c.code == name for c in r.order.codes) or r.order.ref.endswith(f"/{name}")]


def determination_of(policy: str, decided: OrderDecision) -> Determination | None:
    """What one policy said of an order."""
    return next((d for d in decided.determinations if d.policy == policy), None)


def _compare(policy: str, name: str, want: str | ExpectedOrder, orders: Iterable[OrderDecision]) -> list[str]:
    expected = ExpectedOrder(outcome=want) if isinstance(want, str) else want
    found = _named(orders, name)
    if not found:
        return [f"{name}: no such draft order in the case"]
    failures = []
    for decided in found:
        said = determination_of(policy, decided)
        failures += [f"{name}: {text}" for text in _differences(said, expected)]
    return failures


def _differences(said: Determination | None, expected: ExpectedOrder) -> Iterator[str]:
    """What is not as expected; where the policy does not speak, nothing but `not-addressed` can be."""
    outcome = said.outcome if said else "not-addressed"
    where = "" if said else " (this policy does not speak)"
    if outcome != expected.outcome:
        yield f"{outcome}, expected {expected.outcome}"
    for wanted, got, words in (
        (expected.rule, said and said.rule, "by rule"),
        (expected.prior_authorization, said and said.prior_authorization, "prior authorization"),
        (expected.recommendation, said and said.recommendation, "recommendation"),
    ):
        if wanted is not None and wanted != got:
            yield f"{words} {got or 'none'}{where}, expected {wanted}"
    if expected.missing is not None:
        asked = asked_criteria(said) if said else set()
        if not set(expected.missing) <= asked or (asked and not expected.missing):
            yield f"open criteria {sorted(asked)}, expected {expected.missing}"


def asked_criteria(said: Determination) -> set[str]:
    """The criteria whose answers would settle a determination; none where it is settled."""
    return set() if said.settled else {c.criterion for c in said.open_criteria if c.missing}


def _compare_findings(policy: str, wanted: Mapping[str, list[str]], orders: tuple[OrderDecision, ...]) -> list[str]:
    failures = []
    names = {c.code for r in orders for c in r.order.codes} | set(wanted)
    for name in sorted(names):
        found = {f.rule for r in _named(orders, name) for f in r.findings if f.policy == policy}
        if found != set(wanted.get(name, [])):
            failures.append(f"{name}: findings {sorted(found)}, expected {sorted(wanted.get(name, []))}")
    return failures
