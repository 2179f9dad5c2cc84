"""The clinical context of an explanation: which risk factors were looked for, and what the chart says of each."""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.determination.decision import Looked, OrderDecision
from cds_service.policy.model import Looked as Reported

NOT_DOCUMENTED = "What is not documented is not taken as absent."
NONE_RECORDED = "None recorded: the chart was read and holds no such entry."
_IN_WORDS = {
    Looked.FOUND: "found",
    Looked.ABSENT: "absent",
    Looked.NONE_RECORDED: "none recorded",
    Looked.NOT_DOCUMENTED: "not documented",
}


def clinical_context(reported: Iterable[Reported], decided: OrderDecision) -> dict[str, list[str]]:
    """Lines for each reader: the patient's age, then each fact as found, absent, none recorded or not documented."""
    ages, notes = _age(decided.age), {NOT_DOCUMENTED: None}
    clinician, patient, found = [*ages], [*ages], dict(decided.looked_for)
    for item in reported:
        state = found.get(item.criterion)
        if state is not None:
            clinician.append(f"{item.label}: {_IN_WORDS[state]}.")
            patient.append(f"{item.patient_label or item.label}: {_IN_WORDS[state]}.")
            notes |= {NONE_RECORDED: None} if state is Looked.NONE_RECORDED else {}
    return {"clinician": [*clinician, *notes], "patient": [*patient, *notes]}


def _age(years: tuple[int, int] | None) -> list[str]:
    if years is None:
        return []
    return [f"Age: {years[0] if years[0] == years[1] else f'{years[0]} to {years[1]}'} years."]
