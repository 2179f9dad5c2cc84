"""A period is made up of years, months and days: every day of it once, and no more runs than needed."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.ledger.counts import LAST_DAY, MEASURES, first_key, last_key
from cds_service.ledger.metrics import Filters, Grain

DAYS = st.dates(date(2019, 12, 1), date(2023, 2, 1))
GRAINS: tuple[Grain, ...] = ("day", "month", "year")


def days_of(first: str, last: str) -> list[date]:
    """Every day of a run; `last` is included whole."""
    start = date.fromisoformat(f"{first}-01-01"[:10])
    end = {4: date(int(last[:4]) + 1, 1, 1)}.get(len(last)) or date.fromisoformat(f"{last}-01"[:10])
    end = (end + timedelta(days=31)).replace(day=1) if len(last) == 7 else end
    end = end + timedelta(days=1) if len(last) == 10 else end
    return [start + timedelta(days=n) for n in range((end - start).days)]


@given(DAYS, DAYS, st.sampled_from(GRAINS))
def test_every_day_is_in_one_run(one: date, two: date, grain: Grain) -> None:
    first, last = min(one, two), max(one, two)
    runs = Filters(since=first, until=last)._runs(grain)
    wanted = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    assert Counter(day for run in runs for day in days_of(*run)) == Counter(wanted)
    assert len(runs) <= 2 * GRAINS.index(grain) + 1
    assert max(len(run[0]) for run in runs) == max(len(run[1]) for run in runs)


@pytest.mark.parametrize(
    ("since", "until", "grain", "runs"),
    [
        ("2024-01-01", "2025-12-31", "year", [("2024", "2025")]),
        ("2024-01-01", "2025-12-31", "month", [("2024-01", "2025-12")]),
        ("2023-11-30", "2025-01-31", "year",
         [("2024", "2024"), ("2023-12", "2023-12"), ("2023-11-30", "2023-11-30"), ("2025-01", "2025-01")]),
        ("2024-02-01", "2024-12-31", "year", [("2024-02", "2024-12")]),
        ("2024-02-02", "2024-02-29", "year", [("2024-02-02", "2024-02-29")]),
        ("2024-01-31", "2024-01-31", "month", [("2024-01-31", "2024-01-31")]),
    ],
)  # fmt: skip
def test_runs(since: str, until: str, grain: Grain, runs: list[tuple[str, str]]) -> None:
    assert Filters(date.fromisoformat(since), date.fromisoformat(until))._runs(grain) == runs


def test_no_day_is_a_run_between_whose_ends_nothing_lies() -> None:
    ((first, last),) = Filters(date(2024, 3, 1), date(2024, 2, 1))._runs("year")
    assert first_key("answer", first) > last_key("answer", last)


def test_all_time_is_years() -> None:
    assert Filters()._runs("year") == [("1970", str(LAST_DAY.year))]


@pytest.mark.parametrize("measure", MEASURES)
def test_keys_of_a_grain_are_one_run_of_a_measure(measure: str) -> None:
    runs = [("1970-01-01", "2148-12-31"), ("1970-01", "2148-12"), ("1970", "2148")]
    edges = [key for first, last in runs for key in (first_key(measure, first), last_key(measure, last))]
    assert edges == sorted(set(edges))
    following = MEASURES.index(measure) + 1
    if following < len(MEASURES):
        assert edges[-1] < first_key(MEASURES[following], "1970-01-01")
    assert edges[-1] < 1 << 63
