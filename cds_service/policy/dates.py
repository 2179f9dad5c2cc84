"""Three-valued comparison of partial dates, ages and windows."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime, timedelta

from cds_service.policy.case import Period
from cds_service.policy.model import Window


def back(day: date, window: Window) -> date:
    """The day that lies a window before `day`; months keep the day of the month where it exists.

    Before the first day that a date can name lies that first day: chart dates may be anything, and this never raises.
    """
    if window.counted == "calendar":
        day = day.replace(day=1)
    month_index = day.year * 12 + day.month - 1 - (window.months or 0)
    year, month = divmod(month_index, 12)
    if year < date.min.year:
        return date.min
    moved = date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
    days = (window.days or 0) + 7 * (window.weeks or 0)
    return moved - timedelta(days=days) if days <= moved.toordinal() - 1 else date.min


def since(period: Period | None, start: date, day: date) -> bool | None:
    """Did it happen in [start, day]? None when the period leaves both possible or is unknown."""
    if period is None:
        return None
    earliest, latest = period.start or date.min, period.end or date.max
    if start <= earliest and latest <= day:
        return True
    if latest < start or earliest > day:
        return False
    return None


def by(period: Period | None, limit: date) -> bool | None:
    """Did it happen on or before `limit`?"""
    if period is None:
        return None
    if (period.end or date.max) <= limit:
        return True
    return False if (period.start or date.min) > limit else None


def before(one: date | None, other: date | None) -> bool:
    """Was one surely before the other? Instants are compared whatever their zones; else the days as written."""
    if one is None or other is None:
        return False
    if isinstance(one, datetime) and isinstance(other, datetime):
        return one < other
    return _day(one) < _day(other)


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _months(born: date, day: date) -> int:
    return (day.year - born.year) * 12 + day.month - born.month - (day.day < born.day)


def age_range(birth: Period | None, day: date, *, months: bool = False) -> tuple[int, int] | None:
    """Fewest and most completed years (or months) on `day`; None when the birth date is unknown or after `day`."""
    if birth is None or birth.start is None or birth.end is None or birth.start > day:
        return None
    fewest, most = max(_months(min(birth.end, day), day), 0), _months(birth.start, day)
    return (fewest, most) if months else (fewest // 12, most // 12)
