"""Truth tables of expressions as bit masks: one bit per way of answering all criteria with yes or no.

Three-valued outcomes need no table of their own: Kleene's logic is monotone, so an expression that no full
answer meets is met by no partial answer either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cds_service.policy.model import All, AnyOf, AtLeast, Criterion, Expression, Not, criterion_ids

LIMIT = 14  # 2^14 bits per mask: beyond this many criteria nothing is proved


def same_test(criterion_id: str, criterion: Criterion) -> str:
    """A name that two criteria share when they test the same thing in the same way."""
    name, arguments = criterion.operator
    if criterion.ask is not None or name == "asked":
        return criterion_id  # answers are given by id, so each question stands for itself
    return f"{name} {arguments.model_dump_json()} {criterion.when_absent}"


class Table:
    """Masks of expressions over a fixed list of criteria."""

    def __init__(self, names: Mapping[str, str]) -> None:
        tests = sorted(set(names.values()))
        size = 1 << len(tests)
        self.full = (1 << size) - 1
        masks = {}
        for number, test in enumerate(tests):
            half = 1 << number
            block = ((1 << half) - 1) << half
            masks[test] = block * (self.full // ((1 << (2 * half)) - 1))
        self._masks = {criterion: masks[test] for criterion, test in names.items()}

    def mask(self, expression: Expression) -> int:
        """The answers that meet an expression."""
        match expression:
            case "always":
                return self.full
            case str():
                return self._masks[expression]
            case All(all=parts):
                return self._reach(len(parts), parts)
            case AnyOf(any=parts):
                return self._reach(1, parts)
            case AtLeast(at_least=count, of=parts):
                return self._reach(count, parts)
            case Not():
                return self.full & ~self.mask(expression.not_)

    def _reach(self, count: int, parts: Iterable[Expression]) -> int:
        reached = [self.full, *([0] * count)]  # reached[n]: the answers that meet at least n parts so far
        for part in parts:
            met = self.mask(part)
            for number in range(count, 0, -1):
                reached[number] |= reached[number - 1] & met
        return reached[count]


def table(expressions: Iterable[Expression], criteria: Mapping[str, Criterion]) -> Table | None:
    """The table for some expressions; None when they read more criteria than can be tried."""
    names = {c: same_test(c, criteria[c]) for e in expressions for c in criterion_ids(e)}
    return Table(names) if len(set(names.values())) <= LIMIT else None
