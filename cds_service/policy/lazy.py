"""Attributes computed on first use; `functools.cached_property` takes a lock for each one before Python 3.12."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801 - reads as a decorator
    """A method as an attribute: called once, then kept in the instance. Two threads may both compute it."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute, self._name = compute, ""
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        """The class tells under which name the value is kept."""
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        """The value, computed now: the next look-up finds it in the instance."""
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
