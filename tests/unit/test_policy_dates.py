"""Windows, partial dates and ages, at their edges."""

from __future__ import annotations

from datetime import date

import pytest

from cds_service.policy.case import Period
from cds_service.policy.dates import age_range, back, by, since
from cds_service.policy.model import Window

DAY = date.fromisoformat


def period(text: str) -> Period | None:
    """`2026-01-01..2026-01-31`, either end open; one day; or `none`."""
    if text == "none":
        return None
    start, dots, end = text.partition("..")
    return Period(DAY(start) if start else None, DAY(end or start) if end or not dots else None)


@pytest.mark.parametrize(
    ("day", "window", "expected"),
    [
        ("2026-03-31", {"days": 1}, "2026-03-30"),
        ("2026-03-31", {"weeks": 2}, "2026-03-17"),
        ("2026-03-31", {"months": 1}, "2026-02-28"),
        ("2024-03-31", {"months": 1}, "2024-02-29"),
        ("2026-03-15", {"months": 3}, "2025-12-15"),
        ("2026-01-15", {"months": 1}, "2025-12-15"),
        ("2026-12-15", {"months": 12}, "2025-12-15"),
        ("2026-12-31", {"months": 6}, "2026-06-30"),
        ("2026-03-31", {"months": 1, "weeks": 1, "days": 1}, "2026-02-20"),
        ("0001-03-01", {"months": 2}, "0001-01-01"),
        ("0001-03-01", {"months": 3}, "0001-01-01"),
        ("0001-03-01", {"days": 59}, "0001-01-01"),
        ("0001-03-01", {"days": 60}, "0001-01-01"),
        ("0050-03-31", {"months": 1200}, "0001-01-01"),
        ("0050-03-31", {"weeks": 5218}, "0001-01-01"),
    ],
)
def test_back(day: str, window: dict[str, int], expected: str) -> None:
    assert back(DAY(day), Window(**window)) == DAY(expected)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-01-10", True),
        ("2026-01-20", True),
        ("2026-01-09", False),
        ("2026-01-21", False),
        ("2026-01-10..2026-01-20", True),
        ("2026-01-09..2026-01-20", None),
        ("2026-01-10..2026-01-21", None),
        ("2026-01-01..2026-01-10", None),
        ("2026-01-20..2026-01-31", None),
        ("2026-01-01..2026-01-09", False),
        ("2026-01-21..2026-01-31", False),
        ("..2026-01-15", None),
        ("2026-01-15..", None),
        ("..2026-01-09", False),
        ("2026-01-21..", False),
        ("none", None),
    ],
)
def test_since_takes_both_days(when: str, expected: bool | None) -> None:
    assert since(period(when), DAY("2026-01-10"), DAY("2026-01-20")) is expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-01-10", True),
        ("2026-01-11", False),
        ("2026-01-10..2026-01-11", None),
        ("..2026-01-10", True),
        ("..2026-01-11", None),
        ("2026-01-10..", None),
        ("2026-01-11..", False),
        ("none", None),
    ],
)
def test_by_takes_the_day(when: str, expected: bool | None) -> None:
    assert by(period(when), DAY("2026-01-10")) is expected


@pytest.mark.parametrize(
    ("birth", "expected"),
    [
        ("1960-06-01", (66, 66)),
        ("1960-06-02", (65, 65)),
        ("1960-05-31", (66, 66)),
        ("1960-01-01..1960-12-31", (65, 66)),
        ("2026-06-01", (0, 0)),
        ("2026-06-02", None),
        ("2026-01-01..2026-12-31", (0, 0)),
        ("2025-01-01..2025-06-02", (0, 1)),
        ("1960-01-01..", None),
        ("..1960-01-01", None),
        ("none", None),
    ],
)
def test_age_in_completed_years(birth: str, expected: tuple[int, int] | None) -> None:
    assert age_range(period(birth), DAY("2026-06-01")) == expected
