"""The generated schema: in step with fhir.resources, stricter than it, and quick to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cds_service.facts import generate_schema, validity

Json = dict[str, Any]

ORDER: Json = {
    "resourceType": "ServiceRequest",
    "id": "sr-1",
    "status": "draft",
    "intent": "order",
    "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "20939"}]},
    "subject": {"reference": "Patient/1"},
}


def in_new_process(code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_committed_schema_equals_what_the_installed_models_generate() -> None:
    command = [sys.executable, "-W", "error", "-m", "cds_service.facts.generate_schema", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_check_notices_a_changed_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / validity.SCHEMA_FILE
    changed.write_text(generate_schema.TARGET.read_text(encoding="utf-8").replace("entered-in-error", "", 1))
    monkeypatch.setattr(generate_schema, "TARGET", changed)
    assert generate_schema.main(["--check"]) == 1
    assert "generate it again" in capsys.readouterr().err
    assert generate_schema.main([]) == 0
    assert generate_schema.main(["--check"]) == 0


def test_fhir_resources_is_not_imported_for_a_valid_resource() -> None:
    code = f"""
import sys
from cds_service.facts import intake
valid = intake.read({ORDER!r}, "ServiceRequest/sr-1").resource is not None
early = sorted(name for name in sys.modules if name.startswith(("fhir", "pydantic")))
intake.read({ORDER | {"status": None}!r}, "ServiceRequest/sr-1")
print(valid, early, "fhir.resources.R4B.servicerequest" in sys.modules)
"""
    assert in_new_process(code) == "True [] True"


@pytest.mark.parametrize(
    "change",
    [
        {"status": "foo"},
        {"status": None},
        {"intent": "ORDER"},
        {"doNotPerform": "true"},
        {"code": {}},
        {"code": {"coding": []}},
        {"code": {"coding": [{}]}},
        {"category": {"text": "x"}},
        {"subject": '{"reference": "Patient/1"}'},
        {"id": "a" * 65},
        {"id": "a_b"},
        {"quantityQuantity": {"value": float("nan")}},
        {"quantityQuantity": {"value": "1"}},
        {"quantityQuantity": {"value": 1, "comparator": "about"}},
        {"occurrenceDateTime": "2026", "occurrencePeriod": {"start": "2026"}},
        {"occurrenceDateTime": "2026-02-30"},
        {"occurrenceDateTime": 20260101},
        {"authoredOn": "2026-01-01T00:00:00"},
        {"modifierExtension": [{"url": "http://example.org/m", "valueBoolean": True}]},
        {"implicitRules": "http://example.org/rules"},
        {"note": [{"text": "\ud800"}]},
        {"note": [{"text": "x" * (validity.STRING_LIMIT + 1)}]},
        {"contained": [{"resourceType": "Nope"}]},
        {"contained": [{"resourceType": "Patient", "gender": "F"}]},
        {"contained": [{"resourceType": "Patient", "contained": [{"resourceType": "Patient", "id": "x"}]}]},
        {"contained": [{"id": "x"}]},
        {"unknownElement": 1},
        {"code_": 1},
        {"resource_type": "ServiceRequest"},
    ],
    ids=lambda change: ",".join(change),
)
def test_schema_leaves_to_the_judge(change: Json) -> None:
    assert validity.accepts(ORDER)
    assert not validity.accepts(ORDER | change)


def test_many_of_a_type_are_accepted_together_only_if_each_is() -> None:
    patient = {"resourceType": "Patient", "id": "p"}
    both = {"ServiceRequest", "Patient"}
    assert set(validity.accepted_types([ORDER, patient, ORDER, None, 7, {"resourceType": "Nope", "id": 1}])) == both
    for wrong in (
        ORDER | {"status": "foo"},
        ORDER | {"contained": [{"resourceType": "Nope"}]},
        patient | {"id": "a_b"},
    ):
        assert set(validity.accepted_types([ORDER, patient, wrong, ORDER, patient])) == both - {wrong["resourceType"]}
    assert validity.accepted_types([ORDER, ORDER | {"note": [{"text": "\ud800"}]}]) == []


def test_nesting_cannot_exhaust_the_stack() -> None:
    value: Json = {"reference": "x"}
    for _ in range(50_000):
        value = {"identifier": {"assigner": value}, "extension": [{"url": "u", "extension": [value]}]}
    assert not validity.accepts(ORDER | {"subject": value})
    while value:  # freed level by level: the interpreter's own clean-up recurses
        value = value.pop("identifier", {}).get("assigner", {})


@pytest.mark.parametrize("where", ["Encounter", "Observation", "Task", "EncounterStatusHistory", "QuestionnaireItem"])
def test_code_lists_that_fhir_resources_cuts_off_are_complete(where: str) -> None:
    for kind in validity.READABLE:
        validity.shape(kind)
    name = "type" if where == "QuestionnaireItem" else "status"
    codes = validity.shape(where).elements[name].codes
    assert codes >= ({"choice", "quantity"} if name == "type" else {"entered-in-error"})
    assert "+" not in codes


def test_no_code_list_holds_a_mark_of_having_been_cut_off() -> None:
    pending, seen = set(validity.READABLE), set[str]()
    while pending:
        described = validity.shape(pending.pop())
        seen.add(described.name)
        pending |= {e.target for e in described.elements.values() if e.target} - seen
        for element in described.elements.values():
            assert not {"+", "etc.", "...", ""} & element.codes, f"{described.name}.{element.name}"
    assert len(seen) > 100


def test_problems_name_place_and_reason_but_no_value() -> None:
    secret = "Zq7patient"
    found = validity.problems(ORDER | {"authoredOn": secret, "note": [{"time": secret, "text": "x"}], secret: 1})
    assert {problem.path for problem in found} == {("authoredOn",), ("note", 0, "time"), (secret,)}
    assert not [problem for problem in found if secret in problem.text]
    assert validity.problems(ORDER) == []
