"""A live call is signed on the day it comes: a draft is not judged by the day it was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from crd_support import coverage, one, order, said, sign, texts
from support.service import Service

from cds_service.cli import cli
from cds_service.hooks.answer import Answer
from cds_service.hooks.runtime import Runtime

Json = dict[str, Any]
REF = "ServiceRequest/o-20930"
TODAY = datetime.now(UTC).date()


def days_ago(days: int) -> str:
    return (TODAY - timedelta(days)).isoformat()


def orders(authored: str, **elements: Any) -> tuple[Json, ...]:
    return tuple(order(code, authoredOn=authored, **elements) for code in ("22551", "20930"))


ENDED, BEGAN = {"start": "2018-01-01", "end": days_ago(3)}, {"start": days_ago(3)}


@pytest.mark.parametrize(
    ("period", "authored", "covered", "offline"),
    [
        (ENDED, days_ago(7), "not-covered", "covered"),
        (BEGAN, days_ago(7), "covered", "not-covered"),
        (ENDED, "2019-05-06", "not-covered", "covered"),
        (BEGAN, "2019-05-06", "covered", "not-covered"),
        ({"end": days_ago(-3)}, days_ago(7), "covered", "covered"),
    ],
    ids=["ended since", "began since", "ended since 2019", "began since 2019", "still in force"],
)
def test_a_draft_written_earlier_is_signed_today(
    service: Service, tmp_path: Path, period: Json, authored: str, covered: str, offline: str
) -> None:
    body = sign(*orders(authored), cover=coverage(period=period))
    info = said(service.answer(body, "order-sign-crd"), REF)
    assert one(info, "covered") == covered
    assert ("not in force on the day of the order" in texts(info)) is (covered == "not-covered")
    file = tmp_path / "request.json"
    file.write_text(json.dumps(body), encoding="utf-8")
    told = CliRunner().invoke(cli, ["evaluate", str(file), "--service", "order-sign-crd", "--json"])
    assert one(said(json.loads(told.output)["response"], REF), "covered") == offline


def test_the_occurrence_of_an_order_is_its_day(service: Service) -> None:
    body = sign(*orders(days_ago(7), occurrenceDateTime=days_ago(5)), cover=coverage(period=ENDED))
    assert one(said(service.answer(body, "order-sign-crd"), REF), "covered") == "covered"


def test_a_form_is_needed_as_the_hook_says(service: Service) -> None:
    def needed(period: Json) -> list[str]:
        given = [order(code, authoredOn=days_ago(7)) for code in ("22612", "20937", "20939")]
        parameters = [{"name": "order", "resource": o} for o in given]
        parameters.append({"name": "coverage", "resource": coverage("cigna", period=period)})
        body = {"resourceType": "Parameters", "parameter": parameters}
        return [p["name"] for p in service.request("POST", PACKAGE, json=body).json()["parameter"]]

    assert "PackageBundle" in needed(BEGAN)
    assert "PackageBundle" not in needed(ENDED)


PACKAGE = "/Questionnaire/$questionnaire-package"


@pytest.mark.parametrize(
    ("authored", "covered"),
    [("2026-12-20T09:00:00-05:00", "covered"), ("2026-12-20T09:00:00Z", "not-covered"), ("2026-12-20", "not-covered")],
    ids=["still New Year's Eve there", "New Year", "taken as UTC"],
)
def test_the_day_of_receipt_is_that_of_the_place_where_the_order_was_written(
    ask: Callable[..., Answer], demo: Runtime, authored: str, covered: str
) -> None:
    there = replace(demo, now=lambda: datetime(2027, 1, 1, 1, 30, tzinfo=UTC))
    body = sign(*orders(authored), cover=coverage(period={"end": "2026-12-31"}))
    assert one(said(ask(body, there, live=True).response, REF), "covered") == covered


@pytest.mark.parametrize(
    ("covers", "elements", "covered"),
    [
        ([{"end": "2026-12-31"}, {"start": "2027-01-01"}], {}, ("covered", "Coverage/old")),
        ([{"end": "2026-12-31"}], {"occurrenceDateTime": "2027-02-01"}, ("conditional", "Coverage/old")),
    ],
    ids=["the coverage of that day is the one", "its end is still to come"],
)
def test_the_same_day_decides_which_coverage_is_in_force(
    ask: Callable[..., Answer], demo: Runtime, covers: list[Json], elements: Json, covered: tuple[str, str]
) -> None:
    there = replace(demo, now=lambda: datetime(2027, 1, 1, 1, 30, tzinfo=UTC))
    given = [coverage(own=own, period=period) for own, period in zip(("old", "new"), covers, strict=False)]
    body = sign(*orders("2026-12-31T09:00:00-05:00", **elements), cover=given)
    info = said(ask(body, there, live=True).response, REF)
    assert (one(info, "covered"), one(info, "coverage")["reference"]) == covered
