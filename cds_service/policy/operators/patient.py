"""Operators on the patient: diagnoses, age, sex, and what only a person can tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cds_service.policy import dates, logic
from cds_service.policy.case import Code, Condition, Order
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN, Outcome
from cds_service.policy.model import AgeTest, ConditionTest, Criterion, Flag, SexTest
from cds_service.policy.operators.shared import Operator, absence, bounds, in_words, open_, same_region, wanted
from cds_service.policy.trace import Evidence
from cds_service.policy.view import Result, View

_NO_REFS: frozenset[str] = frozenset()
_UNCLEAR = "recorded, but status, date or site is not clear"


def condition(criterion: Criterion, test: ConditionTest) -> Operator:
    """A diagnosis in the problem list."""
    search = _Diagnosis(criterion, test)
    return lambda view: search.find(view, (), _NO_REFS)


def indication(criterion: Criterion, test: ConditionTest) -> Operator:
    """A diagnosis in the order's own reasons, in its operation's reasons, or in the problem list, in that order."""
    search, text = _Diagnosis(criterion, test), wanted(criterion)

    def find(view: View) -> Result:
        reasons = view.reasons
        result = search.find(view, reasons.coded, reasons.refs)
        if reasons.unread and result[0] is NOT_MET:
            return open_(text, "orders", f"reason of {reasons.unread} is in words or could not be read")
        return result

    return find


class _Diagnosis:
    """The search for a diagnosis that a criterion asks for."""

    def __init__(self, criterion: Criterion, test: ConditionTest) -> None:
        self.criterion, self.test, self.value_set = criterion, test, test.value_set
        self.absent = absence(criterion, "conditions")
        self.settled_by_absence = criterion.when_absent == "not-met"
        self.active = test.status == "active"

    def find(self, view: View, coded: Sequence[tuple[Code, Order, str]], refs: frozenset[str]) -> Result:
        """Met by the first diagnosis that fits; open where one may fit."""
        listed = view.facts.conditions.get(self.value_set)
        if listed or coded:
            candidates = self._from_reasons(view, coded) if coded else []
            if listed:
                candidates += self._from_problems(view, listed, refs)
            for outcome, evidence in candidates:
                if outcome is MET:
                    return (MET, (evidence,), ())
            if candidates:
                return open_(self.criterion.text, "conditions", _UNCLEAR, tuple([e for _, e in candidates]))
        if self.settled_by_absence and (illegible := view.facts.illegible(self.value_set, past=not self.active)):
            return open_(wanted(self.criterion), "conditions", in_words(illegible))
        return self.absent(view)

    def _from_reasons(self, view: View, coded: Sequence[tuple[Code, Order, str]]) -> list[tuple[Outcome, Evidence]]:
        """Coded reasons in the set: without an onset, they leave a criterion open that asks for one."""
        found = []
        for code, source, where in coded:
            if self.value_set in view.facts.vocabulary.sets_of(code):
                outcome = logic.all_of([self._same_region(view, code), UNKNOWN if self.test.onset_within else MET])
                if outcome is not NOT_MET:
                    found.append((outcome, Evidence(source.ref, where, str(code))))
        return found

    def _from_problems(
        self, view: View, listed: list[tuple[Condition, Code]], refs: frozenset[str]
    ) -> list[tuple[Outcome, Evidence]]:
        """Problems in the set that are not ruled out; those that the order names as its reason come first."""
        if refs and len(listed) > 1:
            listed = sorted(listed, key=lambda pair: pair[0].ref not in refs)
        found = []
        for problem, code in listed:
            outcome = self._holds(view, problem, code)
            if outcome is not NOT_MET:
                where = "reason of the order" if problem.ref in refs else "problem list"
                found.append((outcome, Evidence(problem.ref, where, str(code))))
        return found

    def _holds(self, view: View, found: Condition, code: Code) -> Outcome:
        within, begun = self.test.onset_within, found.onset.start if found.onset else None
        if begun is not None and begun > view.day:
            in_time = None  # the date or the day of the order is wrong, or it is a plan: it tells nothing of that day
        else:
            in_time = dates.since(found.onset, dates.back(view.day, within), view.day) if within else True
        holds = logic.true(found.confirmed, found.active if self.active else True, in_time)
        return holds if self.test.region is None else logic.all_of([holds, self._same_region(view, code)])

    def _same_region(self, view: View, code: Code) -> Outcome:
        if self.test.region is None:
            return MET
        member = view.facts.vocabulary.sets[self.value_set].find(code)
        return same_region(member.region if member else None, view)


def age(criterion: Criterion, test: AgeTest) -> Operator:
    """Completed years or months on the day of the order."""
    text, most, months = criterion.text, None if test.under is None else test.under - 1, test.in_ == "months"

    def find(view: View) -> Result:
        patient = view.case.patient
        years = dates.age_range(patient.birth, view.day, months=months) if patient else None
        if patient is None or years is None:
            return open_(text, "patient", "birth date not clear" if patient else "could not be read")
        told = f"age {years[0]}" if years[0] == years[1] else f"age {years[0]} to {years[1]}"
        told += " months" if months else ""
        evidence = (Evidence(patient.ref, told),)
        outcome = logic.all_of(bounds(years[0], years[1], test.at_least, most))
        return (
            open_(text, "patient", "birth date not clear", evidence) if outcome is UNKNOWN else (outcome, evidence, ())
        )

    return find


def sex(criterion: Criterion, test: SexTest) -> Operator:
    """The administrative sex; `other` and `unknown` leave it open."""
    text = wanted(criterion)

    def find(view: View) -> Result:
        patient = view.case.patient
        if patient is None:
            return open_(text, "patient", "could not be read")
        if patient.sex not in ("female", "male"):
            return open_(text, "patient", "not documented")
        return (logic.of(patient.sex == test.is_), (Evidence(patient.ref, f"recorded as {patient.sex}"),), ())

    return find


def asked(criterion: Criterion, _test: Flag) -> Operator:
    """No code carries it: unknown until someone answers."""
    result: Any = open_(wanted(criterion), "answers", "not documented in coded form")
    return lambda _view: result
