"""The clinical context of an explanation: which risk factors were looked for, and what the chart says of each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from cds_service.determination.decide import Decider
from cds_service.policy import dates
from cds_service.policy.criteria import Found, Test
from cds_service.policy.evaluate import Verdict
from cds_service.policy.logic import MET, NOT_MET, UNKNOWN
from cds_service.policy.model import Looked

NOT_DOCUMENTED = "What is not documented is not taken as absent."
NONE_RECORDED = "None recorded: the chart was read and holds no such entry."
_FOUND = {MET: "found", NOT_MET: "absent", UNKNOWN: "not documented"}
_NONE = "none recorded"


def clinical_context(looked: Iterable[Looked], verdict: Verdict, decider: Decider) -> dict[str, list[str]]:
    """Lines for each reader: the patient's age, then each fact as found, absent, none recorded or not documented."""
    view = decider.evaluator.view(verdict.version, verdict.order)
    ages = _age(decider, view.day)
    tests, notes = verdict.version.tests, {NOT_DOCUMENTED: None}
    clinician, patient = [*ages], [*ages]
    for item in looked:
        test = tests.get(item.criterion)
        if test is not None:
            state = _state(test, test(view))
            clinician.append(f"{item.label}: {state}.")
            patient.append(f"{item.patient_label or item.label}: {state}.")
            notes |= {NONE_RECORDED: None} if state == _NONE else {}
    return {"clinician": [*clinician, *notes], "patient": [*patient, *notes]}


def _age(decider: Decider, day: date) -> list[str]:
    years = dates.age_range(decider.case.patient.birth if decider.case.patient else None, day)
    if not years:
        return []
    return [f"Age: {years[0] if years[0] == years[1] else f'{years[0]} to {years[1]}'} years."]


def _state(test: Test, found: Found) -> str:
    """As it came out; where nothing speaks against it, only that the chart holds no such entry."""
    by_absence = found.outcome is NOT_MET and not found.evidence and test.criterion.when_absent == "not-met"
    return _NONE if by_absence else _FOUND[found.outcome]
