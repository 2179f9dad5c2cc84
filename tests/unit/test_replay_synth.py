"""Synthetic charts: the same for the same seed, messy, and valid where it matters."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cds_service.facts.codes import read
from cds_service.facts.intake import read as intake
from cds_service.policy.case import Code
from cds_service.replay.charts import charts_of, events
from cds_service.replay.synth import PLANS, chart, charts
from cds_service.replay.synth_coding import LOCAL
from cds_service.replay.synth_files import FORMATS, bundle, write

Json = dict[str, Any]
MANY = [chart(11, number) for number in range(1, 401)]


def of(kind: str) -> list[Json]:
    return [r for made in MANY for r in made if r["resourceType"] == kind]


def test_a_seed_gives_the_same_charts_and_a_larger_set_begins_with_the_smaller() -> None:
    assert list(charts(30, 5)) == list(charts(50, 5))[:30]
    assert list(charts(30, 5)) != list(charts(30, 6))


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_seed_writes_the_same_files(form: str, tmp_path: Path) -> None:
    def written(folder: Path) -> dict[str, bytes]:
        assert write(25, 4, folder, form) == 25
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    first = written(tmp_path / "a")
    assert first == written(tmp_path / "b")
    assert all(first.values())


def test_everyone_has_an_order_that_becomes_an_event() -> None:
    for made in MANY:
        (one,), lacking = charts_of(bundle(made))
        assert lacking == []
        found = list(events(one))
        assert found
        drafts = sum(len(e.body["context"]["draftOrders"]["entry"]) for e in found)
        assert drafts == sum(r["resourceType"] == "ServiceRequest" for r in made)


def test_resources_are_valid_but_for_the_missing_status_of_orders() -> None:
    faults = Counter((r["resourceType"], f.path) for made in MANY for r in made for f in intake(r, "x").faults)
    assert {kind for kind, _ in faults} <= {"ServiceRequest"}
    missing = sum("status" not in r for r in of("ServiceRequest"))
    assert sum(faults.values()) == missing


def test_every_plan_comes_up() -> None:
    ordered = {c for r in of("ServiceRequest") for c in read(r["code"])[0]}
    for plan in PLANS:
        code = plan.orders[0][0]
        assert Code("hcpcs" if code[0].isalpha() else "cpt", code) in ordered, plan.name
    assert Code("cpt", "20939") in ordered


def test_the_coding_is_as_messy_as_promised() -> None:
    codings = [c for r in of("ServiceRequest") for c in r["code"]["coding"]]
    cpt = {c["system"] for c in codings if "cpt" in c["system"].lower() or c["system"].endswith("6.12")}
    assert len(cpt) >= 4
    assert any(re.fullmatch(r"\d{5}[- :]\w\w", c["code"]) for c in codings)
    assert any(all(c["system"] == LOCAL for c in r["code"]["coding"]) for r in of("ServiceRequest"))
    diagnoses = [r["code"]["coding"][0] for r in of("Condition")]
    assert any("." not in d["code"] for d in diagnoses)
    assert any("." in d["code"] for d in diagnoses)
    assert len({d["system"] for d in diagnoses}) >= 3
    assert {len(r["onsetDateTime"]) for r in of("Condition") if "onsetDateTime" in r} == {4, 7, 10}
    assert any("clinicalStatus" not in r for r in of("Condition"))
    assert any("status" not in r for r in of("ServiceRequest"))
    counts = Counter(sum(r["resourceType"] == "Coverage" for r in made) for made in MANY)
    assert set(counts) >= {0, 1, 2}
