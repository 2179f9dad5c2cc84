"""Checks of one criterion by itself: it has one operator, and arguments that it can compare with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cds_service.policy import units
from cds_service.policy.model import OPERATORS, Criterion
from cds_service.policy.source import Path

Fault = tuple[Path, str, str]  # where below the criterion, text, cure


def operators(criterion: Criterion) -> list[str]:
    """The operators that a criterion has; one, where it is right."""
    return [name for name in OPERATORS if getattr(criterion, name) is not None]


def faults(criterion_id: str, criterion: Criterion) -> Iterator[Fault]:
    """What is wrong with a criterion whatever else the content holds."""
    if criterion_id == "always":
        yield (), "'always' is a reserved word.", "Rename the criterion."
    there = operators(criterion)
    if len(there) != 1:
        found = " and ".join(f"'{o}'" for o in there) or "none"
        text = f"'{criterion_id}' needs exactly one operator, but has {found}."
        yield (), text, f"One of: {', '.join(OPERATORS)}."
        return
    name, arguments = criterion.operator
    if name == "asked" and criterion.ask is None:
        yield (), f"'{criterion_id}' is asked, but has no question.", "Add 'ask: {question: ...}'."
    if name == "asked" and "when_absent" in criterion.model_fields_set:
        yield ("when_absent",), "'when_absent' has no effect here: what is asked is in no source.", "Remove it."
    unit = getattr(arguments, "unit", None)
    if unit is not None and not units.known(unit):
        yield (name, "unit"), f"'{unit}' is no unit that results can be compared in.", "Write it as UCUM does: mm[Hg]."
    yield from _compared(name, arguments)
    for key in ("within", "after", "before", "onset_within"):
        window = getattr(arguments, key, None)
        if window is not None and not (window.days or window.weeks or window.months):
            yield (name, key), f"'{key}' has no length.", "Add days, weeks or months."


def _compared(name: str, arguments: Any) -> Iterator[Fault]:
    """Operators that compare with nothing."""
    bounds = [k for k in type(arguments).model_fields if k in ("at_least", "at_most", "above", "below", "under")]
    optional = name in ("companion", "procedure", "observation", "units")
    if bounds and not optional and all(getattr(arguments, b) is None for b in bounds):
        yield (name,), f"'{name}' compares with nothing.", f"Add one of: {', '.join(bounds)}."
    if name == "operation" and not any((arguments.region, arguments.approach, arguments.role)):
        yield (name,), "'operation' compares with nothing.", "Add region, approach or role."
    if name == "observation" and all(
        getattr(arguments, k) is None for k in ("at_least", "at_most", "above", "below", "equals", "present")
    ):
        yield (name,), "'observation' compares with nothing.", "Add a bound, 'equals' or 'present'."
