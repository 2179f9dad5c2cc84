"""The policy version in force on the day of the order decides, and the card names it."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from cds_service.config import from_environment
from cds_service.hooks.answer import Answer, answer, determinations
from cds_service.hooks.request import validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.policy.source import Document

ROOT = Path(__file__).parents[2]
BOUNDARY = date(2026, 7, 1)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """The bundled policies, CPB 0411 with an earlier version that only asks about marrow aspirate."""
    cards = tmp_path_factory.mktemp("as-of") / "cards"
    shutil.copytree(ROOT / "cards", cards)
    path = cards / "aetna" / "bone-graft-adjuncts" / "policy.yaml"
    policy = Document(path.name, path.read_text(encoding="utf-8")).data
    later = policy["versions"][0]
    later["effective"] = {"from": BOUNDARY.isoformat(), "to": None}
    earlier = copy.deepcopy(later)
    earlier["version"], earlier["effective"] = "2026-01", {"from": None, "to": "2026-06-30"}
    marrow = earlier["orders"]["marrow-aspirate"]
    marrow["rules"] = []
    marrow["otherwise"] = {"outcome": "needs-information", "because": "Under review.", "asks": "Why is marrow needed?"}
    policy["versions"] = [earlier, later]
    path.write_text(json.dumps(policy), encoding="utf-8")  # JSON is YAML
    return Runtime.build(from_environment({}, demo=True, cards=str(cards)))


def ask(runtime: Runtime, authored: str, as_of: date | None = None, live: bool = False) -> Answer:
    story = ROOT / "fhir_fixtures" / "cervical-fusion-authorised" / "request.json"
    body = json.loads(story.read_text(encoding="utf-8"))
    for entry in body["context"]["draftOrders"]["entry"]:
        entry["resource"]["authoredOn"] = authored
    service = runtime.services["order-sign-advisor"]
    return answer(validate(body, service), service, runtime, Caller("t"), as_of=as_of, live=live)


def marrow(done: Answer) -> tuple[str, str]:
    entry = next(d for d in determinations(done) if d["code"] == "20939" and d["policy"] == "aetna/bone-graft-adjuncts")
    return entry["version"], entry["outcome"]


@pytest.mark.parametrize(
    ("authored", "version", "outcome"),
    [
        ("2026-06-30", "2026-01", "needs-information"),
        ("2026-06-30T23:59:59-05:00", "2026-01", "needs-information"),
        ("2026-07-01", "2026-11", "not-supported"),
        ("2026-07-01T00:00:00+14:00", "2026-11", "not-supported"),
    ],
)
def test_each_side_of_the_boundary_gets_its_version(
    runtime: Runtime, authored: str, version: str, outcome: str
) -> None:
    done = ask(runtime, authored)
    assert marrow(done) == (version, outcome)
    assert f"version {version} " in done.response["cards"][0]["detail"]


def test_as_of_wins_over_the_orders_own_day(runtime: Runtime) -> None:
    assert marrow(ask(runtime, "2026-11-20", as_of=date(2026, 6, 30))) == ("2026-01", "needs-information")
    assert marrow(ask(runtime, "2026-01-05", as_of=BOUNDARY)) == ("2026-11", "not-supported")


@pytest.mark.parametrize(
    ("received", "authored", "version"),
    [
        ("2026-07-01", "2026-06-20", "2026-11"),
        ("2026-06-30", "2026-06-20", "2026-01"),
        ("2026-07-01", "2019-01-01", "2026-11"),
        ("2026-06-20", "2026-07-01", "2026-11"),
    ],
    ids=["signed after the change", "signed before it", "an old draft", "written later than received"],
)
def test_a_live_call_judges_a_draft_by_the_day_it_is_signed(
    runtime: Runtime, received: str, authored: str, version: str
) -> None:
    now = datetime.fromisoformat(received).replace(hour=12, tzinfo=UTC)
    there = replace(runtime, now=lambda: now)
    assert marrow(ask(there, authored, live=True))[0] == version
    assert marrow(ask(there, authored))[0] == ("2026-11" if authored >= "2026-07-01" else "2026-01")
    assert marrow(ask(there, authored, live=True, as_of=BOUNDARY))[0] == "2026-11"
