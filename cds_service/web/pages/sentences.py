"""Criteria and rules as sentences, made from the policy's data: what is looked for, where, and what absence means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from cds_service.policy.model import All, AnyOf, AtLeast, Criterion, Expression, Not, Version, Window
from cds_service.render.markdown import joined


class Part(NamedTuple):
    """A piece of a sentence: plain text, or the value set that it names."""

    text: str
    value_set: str = ""


Sentence = list[Part]
CONFIDENCE = {
    "seen": "read at its source",
    "seen-2nd": "read in a summary by others",
    "recalled": "from memory, not read",
}
"""How sure a source is, in words."""


def how(criterion: Criterion) -> Sentence:
    """How a criterion is checked, from its operator and arguments."""
    name, arguments = criterion.operator
    return list(_HOW[name](arguments))


def absence(criterion: Criterion) -> str:
    """What it means when nothing is recorded."""
    name, _ = criterion.operator
    if name in ("order", "companion", "repeated", "lacks_primary"):
        return ""
    if criterion.when_absent == "not-met":
        return "If the chart was read and holds nothing: not met."
    return "If nothing is recorded: unknown, never a refusal."


def _span(window: Window | None, lead: str) -> str:
    if window is None:
        return ""
    counted = ", counted from the month" if window.counted else ""
    return f", {lead} {_length(window)}{counted}"


def _length(window: Window) -> str:
    counts = [(name, getattr(window, name)) for name in ("months", "weeks", "days")]
    return joined([f"{n} {name if n != 1 else name[:-1]}" for name, n in counts if n])


def _between(low: float | None, high: float | None, least: str = "at least", most: str = "at most") -> str:
    bounds = [f"{word} {value:g}" for word, value in ((least, low), (most, high)) if value is not None]
    return " and ".join(bounds)


def _order(a: Any) -> Iterator[Part]:
    yield Part("The order's code, or its own text, is in ")
    yield Part("", a.value_set)
    yield Part(".")


def _companion(a: Any) -> Iterator[Part]:
    where = "of the same operation" if a.scope == "operation" else "among all orders"
    yield Part("An order " if a.at_least == 1 else f"{a.at_least} orders or more ")
    yield Part(f"{where} in ")
    yield Part("", a.value_set)
    yield Part(", which this policy supports." if a.outcome else ".")


def _operation(a: Any) -> Iterator[Part]:
    kinds = {"region": a.region, "approach": a.approach, "kind": a.role}
    found = [f"{name} {joined(list(values), 'or')}" for name, values in kinds.items() if values]
    yield Part(f"The operation that the order belongs to: {', '.join(found)}.")


def _count(what: str) -> Callable[[Any], Iterator[Part]]:
    def sentence(a: Any) -> Iterator[Part]:
        where = {"history": "in the history", "operation-or-history": "in the operation or the history"}
        yield Part(f"{what}: {_between(a.at_least, a.at_most)}, {where.get(a.of, 'in the operation')}.")

    return sentence


def _diagnosis(where: str) -> Callable[[Any], Iterator[Part]]:
    def sentence(a: Any) -> Iterator[Part]:
        yield Part(f"{where}: {'an active' if a.status == 'active' else 'any'} diagnosis in ")
        yield Part("", a.value_set)
        at = ", at the region of the operation" if a.region else ""
        yield Part(f"{at}{_span(a.onset_within, 'begun within the last')}.")

    return sentence


def _procedure(a: Any) -> Iterator[Part]:
    days = "on one day, " if a.at_least == 1 else f"on {a.at_least} days or more, "
    number = "one in " if a.at_least == 1 else f"{a.at_least} or more in "
    yield Part("Procedures done: " + (f"{days}in " if a.count == "days" else number))
    yield Part("", a.value_set)
    at = ", at the region of the operation" if a.region else ""
    at += f", in the {a.in_.replace('-', ' ')} of the order" if a.in_ else ""
    late = f"{_span(a.within, 'within the last')}{_span(a.after, 'less than this long ago:')}"
    yield Part(f"{at}{late}{_span(a.before, 'at least this long ago:')}.")


def _medication(a: Any) -> Iterator[Part]:
    yield Part("In use: a drug of " if a.status == "in-use" else "In use or used before: a drug of ")
    yield Part("", a.value_set)
    spans = f"{_span(a.within, 'within the last')}{_span(a.for_at_least, 'for at least')}"
    if a.stopped_because:
        yield Part(f"{spans}, stopped because of ")
        yield Part("", a.stopped_because)
        spans = ""
    yield Part(f"{spans}.")


def _age(a: Any) -> Iterator[Part]:
    yield Part(f"Age on the day of the order: {_between(a.at_least, a.under, most='under')} {a.in_}.")


def _sex(a: Any) -> Iterator[Part]:
    yield Part(f"The administrative sex is {a.is_}.")


def _results(a: Any) -> str:
    if a.at_least_times > 1:
        apart = f", at least {_length(a.apart)} apart," if a.apart else ""
        return f"At least {a.at_least_times} final results{apart} in "
    return f"{'Any' if a.which == 'any' else f'The {a.which}'} final result in "


def _observation(a: Any) -> Iterator[Part]:
    yield Part(_results(a))
    yield Part("", a.value_set)
    verb = "is" if a.at_least_times == 1 else "are"
    numbers = [_between(a.at_least, a.at_most), _between(a.above, a.below, "above", "below")]
    bounds = " and ".join(n for n in numbers if n)
    if bounds:
        yield Part(f" {verb} {bounds}{f' {a.unit}' if a.unit else ''}")
    if a.equals:
        yield Part(f" {verb} one of ")
        yield Part("", a.equals)
    if a.present is not None:
        yield Part(f" {verb} {'present' if a.present else 'absent'}")
    yield Part(f"{_span(a.within, 'within the last')}.")


def _units(a: Any) -> Iterator[Part]:
    # With a comparison the operator looks at no bounds.
    bounds = "not as many as its interspaces" if a.compared_with else _between(a.at_least, a.at_most)
    yield Part(f"Units ordered of this code in the operation: {bounds}.")


def _plain(text: str) -> Callable[[Any], Iterator[Part]]:
    return lambda _: iter((Part(text),))


_HOW: Mapping[str, Callable[[Any], Iterator[Part]]] = {
    "order": _order,
    "companion": _companion,
    "operation": _operation,
    "interspaces": _count("Interspaces fused"),
    "vertebrae": _count("Vertebrae fused"),
    "condition": _diagnosis("Problem list"),
    "indication": _diagnosis("The order's own reasons first, then the problem list"),
    "procedure": _procedure,
    "medication": _medication,
    "age": _age,
    "sex": _sex,
    "observation": _observation,
    "units": _units,
    "repeated": _plain("The same code is ordered twice in the operation."),
    "lacks_primary": _plain("The order is an add-on, and nothing it can be added to is ordered."),
    "asked": _plain("No code carries this: it is asked."),
}


class Clause(NamedTuple):
    """An expression to read: a criterion's own sentence, or how its parts join."""

    text: str
    criterion: str = ""
    parts: tuple[Clause, ...] = ()


def clause(expression: Expression, version: Version) -> Clause:
    """An expression as nested sentences."""
    match expression:
        case str():
            if expression == "always":
                return Clause("Always.")
            return Clause(version.criteria[expression].text, expression)
        case All(all=parts):
            return Clause("All of these:", parts=tuple(clause(p, version) for p in parts))
        case AnyOf(any=parts):
            return Clause("Any of these:", parts=tuple(clause(p, version) for p in parts))
        case AtLeast(at_least=count, of=parts):
            return Clause(f"At least {count} of these:", parts=tuple(clause(p, version) for p in parts))
        case Not():
            return Clause("Not the case:", parts=(clause(expression.not_, version),))
