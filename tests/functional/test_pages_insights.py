"""Insights: from the ledger or, marked, from a sample; filters, charts with words, CSV that starts no formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from support.service import Service, running
from support.stories import SEED, story

from cds_service.config import Settings
from cds_service.content_files import load_rulebook
from cds_service.hooks.runtime import Runtime
from cds_service.ledger.insights import of_ledger
from cds_service.ledger.keys import ledger_key
from cds_service.ledger.metrics import Filters
from cds_service.ledger.store import Ledger
from cds_service.web.app import create_admin_app
from cds_service.web.pages import crd_numbers
from cds_service.web.pages.charts import Series, bar, columns, nice
from cds_service.web.pages.insights import _buckets, _cell
from cds_service.web.pages.sample import DAYS, sample
from tests.functional.deployment import declare


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own, so that its ledger holds what these tests put there."""
    with running(tmp_path_factory.mktemp("insights")) as started:
        yield started


def page(service: Service, query: str = "") -> str:
    response = service.session.get(f"{service.base}/insights{query}", headers={"Accept": "text/html"}, timeout=20)
    assert response.status_code == 200
    return response.text


def rows(service: Service, table: str, query: str = "?data=ledger") -> list[dict[str, str]]:
    response = service.session.get(f"{service.base}/insights/{table}.csv{query}", timeout=20)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(response.text)))


def test_an_empty_demo_shows_the_sample_and_says_so(own: Service) -> None:
    text = page(own)
    assert "<b>Sample data.</b>" in text
    assert {r["data"] for r in rows(own, "rules", "")} == {"sample"}
    empty = page(own, "?data=ledger")
    assert "Sample data." not in empty
    assert "Nothing has been recorded" in empty


def test_the_ledger_is_counted_and_never_mixed_with_the_sample(own: Service) -> None:
    card = own.cards(story(SEED).request)[0]
    at = datetime.now(UTC).isoformat()
    item = {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": at,
            "overrideReason": {"reason": {"code": "x", "display": '=HYPERLINK("<b>")'}}}  # fmt: skip
    assert (
        own.request("POST", "/cds-services/order-sign-advisor/feedback", json={"feedback": [item]}).status_code == 200
    )
    text = page(own)
    assert "Sample data." not in text
    assert "HYPERLINK" not in text
    assert [r["count"] for r in rows(own, "calls")] == ["1"]
    rule = next(r for r in rows(own, "rules") if r["policy"] == "aetna/bone-graft-adjuncts")
    assert (rule["data"], rule["shown"], rule["accepted"], rule["overridden"]) == ("ledger", "1", "0", "1")
    assert [(r["code"], r["display"]) for r in rows(own, "reasons")] == [("other", "")]
    per_service = rows(own, "services")
    assert [(r["service"], r["calls"], r["overridden"]) for r in per_service] == [("order-sign-advisor", "1", "1")]
    assert rows(own, "rules", "?data=ledger&payer=cigna") == []
    assert rows(own, "calls", "?data=ledger&hook=order-select") == []
    assert rows(own, "rules", "?data=ledger&policy=aetna/bone-graft-adjuncts&hook=order-sign&payer=aetna&period=365")


def metric(given: list[dict[str, str]], number: str, covered: str = "") -> tuple[str, str]:
    """Count and whole of one metric of all calls."""
    (row,) = (r for r in given if (r["by"], r["metric"], r["covered"]) == ("all", number, covered))
    return row["count"], row["of"]


def test_the_guides_metrics_are_on_the_page_and_can_be_filtered(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        service.cards(story(SEED).request)
        assert "No CRD service was called in this period." in page(service, "?data=ledger")
        answer = service.request("POST", "/cds-services/order-sign-crd", json=story(SEED).request)
        assert len(answer.json()["systemActions"]) == 1, "five orders carry it already"
        given = rows(service, "crd")
        assert (metric(given, "1"), metric(given, "6")) == (("1", "6"), ("1", "1"))
        assert metric(given, "2", "not-covered") == ("1", "6")
        (outside,) = (r for r in given if (r["by"], r["metric"]) == ("all", "7"))
        assert (outside["count"], outside["percent"]) == ("", "")
        assert outside["note"] == crd_numbers.OUTSIDE
        assert {r["by"]: r["value"] for r in given} == {
            "all": "", "payer": "aetna", "client": "demo", "hook": "order-sign"}  # fmt: skip
        assert metric(rows(service, "crd", "?data=ledger&payer=aetna&hook=order-sign&period=30"), "1") == ("1", "6")
        assert metric(rows(service, "crd", "?data=ledger&payer=cigna"), "6") == ("0", "0")
        assert metric(rows(service, "crd", "?data=ledger&hook=order-select"), "1") == ("0", "0")
        other = rows(service, "crd", "?data=ledger&policy=aetna/spinal-fusion")
        assert (metric(other, "6"), int(metric(other, "1")[1]) < 6) == (("1", "1"), True)
        text = page(service, "?data=ledger")
        assert "from 1 call of the services" in text
        assert crd_numbers.OUTSIDE.replace("'", "&#39;") in text


def test_the_metrics_on_the_page_are_those_of_the_command() -> None:
    found = sample(load_rulebook(), date(2026, 11, 24)).crd(Filters())
    shown = list(crd_numbers.lines(found))
    assert [n.number for n in shown if n.number] == ["1", "2", "3", "4", "5", "6", "7"]
    assert shown[-1].share is None, "what needs data from outside has no number"
    assert next(n for n in shown if n.number == "5").share == found["5_authorization_satisfied"]
    by_hook = dict(crd_numbers.parts(found, {}))["hook"]
    assert [p.name for p in by_hook] == ["order-sign", "order-dispatch"], "the busiest comes first"
    assert all(len(p.cells) == len(crd_numbers.HEADS) for p in by_hook)
    counted = [r for r in crd_numbers.table(found) if r["by"] == "all" and r["metric"] == 2]
    assert sum(r["count"] for r in counted) == found["orders"]


def test_what_cannot_be_asked_is_refused(own: Service) -> None:
    assert own.session.get(f"{own.base}/insights?period=7").status_code == 400
    assert own.session.get(f"{own.base}/insights/records.csv").status_code == 404


def test_charts_have_words_and_a_table(own: Service) -> None:
    text = page(own, "?data=sample&period=365")
    charts = re.findall(r"<svg class=\"chart-svg.*?</svg>", text)
    assert len(charts) == 2
    for chart in charts:
        assert re.search(r'role="img" .*aria-labelledby="(\w+)-title \1-desc"', chart)
        assert "<title" in chart
        assert "<desc" in chart
    assert text.count("<summary>Table</summary>") == 2


def test_the_sample_is_the_same_every_time_and_ends_today() -> None:
    rulebook, today = load_rulebook(), date(2026, 11, 24)
    counted, per_service = sample(rulebook, today).read(Filters())
    days = [d["day"] for d in counted["answers"]["by_day"]]
    assert days[-1] == today.isoformat()
    assert date.fromisoformat(days[0]) >= today - timedelta(days=DAYS)
    assert sum(s["calls"] for s in per_service) == counted["answers"]["total"] > 500
    assert {r["policy"] for r in counted["rules"]} <= set(rulebook.folders)
    assert all(r["accepted"] + r["overridden"] + r["ignored"] == r["shown"] for r in counted["rules"])


def test_months_and_days_count_the_same() -> None:
    counts = sample(load_rulebook(), date(2026, 11, 24))
    for since in (None, date(2026, 7, 14)):
        by_day, _ = counts.read(Filters(since=since))
        by_month, _ = counts.read(Filters(since=since), days=False)
        assert sum(d["count"] for d in by_day["answers"]["by_day"]) == by_day["answers"]["total"]
        assert by_month["answers"]["total"] == by_day["answers"]["total"]
        assert by_month["rules"] == by_day["rules"]
        assert sum(d["count"] for d in by_month["determinations_by_day"]) == sum(
            d["count"] for d in by_day["determinations_by_day"]
        )


def test_places_over_time() -> None:
    assert _buckets([]) == ({}, [])
    assert _buckets(["2026-02-01", "2026-02-03"]) == (
        {"2026-02-01": 0, "2026-02-03": 2},
        ["1 Feb", "2 Feb", "3 Feb"],
    )
    places, labels = _buckets(["2026-01-01", "2026-02-28"])
    assert labels[0] == "29 Dec"
    assert places["2026-02-28"] == len(labels) - 1
    places, labels = _buckets(["2025-12-30", "2026-01", "2026-03-02"])
    assert labels == ["Dec 2025", "Jan 2026", "Feb 2026", "Mar 2026"]
    assert places == {"2025-12-30": 0, "2026-01": 1, "2026-03-02": 3}


@pytest.mark.parametrize(("value", "top"), [(0, 4), (3, 4), (10, 10), (11, 12), (118, 120), (121, 160), (999, 1000)])
def test_the_axis_ends_at_a_round_number(value: int, top: int) -> None:
    assert nice(value) == top


def test_charts_escape_what_they_show() -> None:
    drawn = columns("x", "<b>", ["<i>"], [Series("<u>", "c1", [1])]) + bar([("c1", 1)], 0)
    assert not any(tag in drawn for tag in ("<b>", "<i>", "<u>"))


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx"])
def test_a_cell_starts_no_formula(text: str) -> None:
    assert _cell(text) == f"'{text}"
    assert _cell(5) == 5


def test_operators_pages_outside_demo_show_no_sample_and_record_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with Ledger.open(url, key=ledger_key(url, {})) as ledger:
        declare(tmp_path / "clients.yaml", "ehr")
        settings = Settings(clients=str(tmp_path / "clients.yaml"), unreviewed_policies="show")
        client = create_admin_app(Runtime.build(settings), ledger).test_client()
        page = client.get("/insights?data=sample").text
        assert "Sample data." not in page
        assert "Nothing has been recorded" in page
        bench = client.get("/").text
        assert 'data-recorded="no"' in bench
        assert ">Demo<" not in bench
        with client.get("/assets/pages.css") as sheet:
            assert sheet.status_code == 200
        body = {"service": "order-sign-advisor", "request": story(SEED).request}
        told = client.post("/workbench/trace", json=body).json
        assert told is not None
        assert [c["indicator"] for c in told["response"]["cards"]] == ["warning"]
        assert "links" not in told["response"]["cards"][0]
        assert of_ledger(ledger).choices().answers == 0
