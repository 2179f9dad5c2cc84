"""What is read for a call, and in which order it is taken up."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

from cds_service.facts.builder import CaseBuilder
from cds_service.facts.client import Fetched, Query
from cds_service.hooks import gather
from cds_service.policy.case import SourceState

MRN = {"system": "urn:mrn", "value": "1"}
CONDITION = {
    "resourceType": "Condition",
    "id": "c1",
    "code": {"text": "x"},
    "subject": {"identifier": MRN},
}


def test_the_patient_is_taken_up_first_for_others_may_name_it_by_identifier() -> None:
    patient = {"resourceType": "Patient", "id": "p", "identifier": [MRN]}

    def fetch(_base: str, _token: str, queries: list[Query], **_limits: Any) -> dict[str, Fetched]:
        return {q.name: Fetched(q.name, SourceState.READ, [patient]) for q in queries}

    request: Any = SimpleNamespace(
        patient_id="p",
        prefetch={"conditions": CONDITION},
        fhir=SimpleNamespace(base="https://ehr.example/fhir", token=None),
    )
    runtime: Any = SimpleNamespace(fhir=SimpleNamespace(fetch=fetch))
    caller: Any = SimpleNamespace(allowed=lambda _url: True)
    builder = CaseBuilder("p", date(2026, 11, 23), None, {}, base=request.fhir.base, prefetch=request.prefetch)
    gather.gather(request, {"conditions", "patient"}, builder, runtime, caller)
    assert [c.ref for c in builder.build().conditions] == ["Condition/c1"]
