"""A second evaluator, written without looking at the first: answers by trying every way the unknowns may turn out."""

from __future__ import annotations

from itertools import product
from typing import Any

Tree = (
    Any  # a criterion's name, "always", or {"all": [...]}, {"any": [...]}, {"not": ...}, {"at_least": n, "of": [...]}
)


def holds(tree: Tree, world: dict[str, bool]) -> bool:
    """Two-valued truth in one world."""
    if tree == "always":
        return True
    if isinstance(tree, str):
        return world[tree]
    if "all" in tree:
        return all(holds(t, world) for t in tree["all"])
    if "any" in tree:
        return any(holds(t, world) for t in tree["any"])
    if "not" in tree:
        return not holds(tree["not"], world)
    return sum(holds(t, world) for t in tree["of"]) >= tree["at_least"]


def worlds(facts: dict[str, str]) -> list[dict[str, bool]]:
    """Every world that the facts allow: unknown ones may be true or false."""
    names = list(facts)
    choices = [(True, False) if facts[n] == "unknown" else (facts[n] == "met",) for n in names]
    return [dict(zip(names, values, strict=True)) for values in product(*choices)]


def kleene(tree: Tree, facts: dict[str, str]) -> str:
    """Three-valued truth by the tables of the language reference, with numbers: 0 not met, 1 unknown, 2 met."""
    return ("not-met", "unknown", "met")[_value(tree, facts)]


def _value(tree: Tree, facts: dict[str, str]) -> int:
    if isinstance(tree, str):
        return 2 if tree == "always" else {"not-met": 0, "unknown": 1, "met": 2}[facts[tree]]
    if "not" in tree:
        return 2 - _value(tree["not"], facts)
    parts = tree.get("all") or tree.get("any") or tree["of"]
    needed = len(parts) if "all" in tree else 1 if "any" in tree else tree["at_least"]
    # The n-th best part decides whether n parts are met: strong Kleene on a count.
    best = sorted((_value(t, facts) for t in parts), reverse=True)
    return best[needed - 1] if needed <= len(best) else 0


def decide(rules: list[tuple[Tree, str]], otherwise: str, facts: dict[str, str]) -> str:
    """The outcome of a rule list, from its definition in the design, rule by rule."""
    pending: set[str] = set()
    outcome = otherwise
    for when, result in rules:
        value = kleene(when, facts)
        if value == "met":
            outcome = result
            break
        if value == "unknown":
            pending.add(result)
    return outcome if pending <= {outcome} else "needs-information"


def recommendation(
    rules: list[tuple[Tree, str, str | None]], otherwise: str | None, facts: dict[str, str]
) -> str | None:
    """The recommendation of a rule list whose outcome stands: none where a rule that is open says another.

    That nothing is recommended is what `otherwise` may note beside open rules.
    """
    reached, pending, last = otherwise, [], True
    for when, _, recommended in rules:
        value = kleene(when, facts)
        if value == "met":
            reached, last = recommended, False
            break
        if value == "unknown":
            pending.append(recommended)
    return reached if (last and reached == "none") or all(p == reached for p in pending) else None


def first_met(rules: list[tuple[Tree, str]], otherwise: str, world: dict[str, bool]) -> str:
    """The outcome in a world where nothing is unknown."""
    return next((result for when, result in rules if holds(when, world)), otherwise)
