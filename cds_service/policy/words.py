"""Plain words for what the schema refuses: one message per mistake, at the place of the mistake, with its cure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from cds_service.policy.keys import keys_at
from cds_service.policy.source import Document, Path

_COMBINATORS = frozenset({"All", "AnyOf", "Not", "AtLeast"})
_EXPRESSION = "Use a criterion's name, 'always', or one of all, any, not, at_least with of."
_FEW = 8  # keys that a message can name
_KEY = "[key]"  # how pydantic ends the place of a complaint about a mapping's key
_EXPECTED = re.compile(r"'([^']*)'|(\d+)")
_FORMS = {
    "^https?://": ("must be a web address.", "Start it with https://."),
    "^[1-9][0-9]{0,4}$": ("must be a code of the Source of Payment Typology.", 'Write its digits: "112".'),
    "^[a-z0-9-]+/[a-z0-9-]+$": ("must be a folder of two parts.", "Write publisher/policy in lower case."),
}


class Fault(NamedTuple):
    """One mistake: where, what and cure."""

    path: Path
    text: str
    cure: str


class _Located(NamedTuple):
    path: Path
    branches: tuple[tuple[Path, str], ...]  # union branches passed on the way, which are not in the file
    detail: Any

    @property
    def around(self) -> Path:
        """The part of the file that the complaint is about: the first union it is a branch of, or its own place."""
        return self.branches[0][0] if self.branches else self.path


def explain(document: Document, shape: type[BaseModel], error: ValidationError) -> list[Fault]:
    """Every mistake of one document, once each, in file order of the schema's complaints; never none."""
    located = [_locate(document.data, detail) for detail in error.errors()]
    expressions = {path for item in located for path, tag in item.branches if tag in _COMBINATORS}
    faults: dict[Path, Fault] = {}
    for item in located:
        outer = next((p for p, _ in item.branches if p in expressions), None)
        if outer is not None:
            fault = next(expression_faults(_at(document.data, outer), outer), None)
        else:
            fault = _plain(item, shape) if _chosen(document.data, item) else None
        if fault is not None:
            faults.setdefault(fault.path, fault)
    for item in located:  # no part that the schema refuses goes without a message, whatever was left out above
        if not any(path[: len(item.around)] == item.around for path in faults):
            faults[item.around] = _plain(item._replace(path=item.around), shape)
    return _without_misspelt(list(faults.values()))


def _locate(data: Any, detail: Any) -> _Located:
    path: list[str | int] = []
    branches: list[tuple[Path, str]] = []
    steps = detail["loc"]
    if steps[-1:] == (_KEY,) and detail["type"] != "extra_forbidden":
        steps = steps[:-1]  # the complaint is about the key itself, which is in the file
    for index, step in enumerate(steps):
        inside = (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        )
        if inside:
            data = data[step]
            path.append(step)
        elif index == len(steps) - 1 and detail["type"] == "missing":
            path.append(step)
        else:
            branches.append((tuple(path), str(step)))
    return _Located(tuple(path), tuple(branches), detail)


def _at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _chosen(data: Any, item: _Located) -> bool:
    """False for complaints of a union's branch that the author did not mean: a mapping means the model."""
    return all(isinstance(_at(data, path), dict) == tag[:1].isupper() for path, tag in item.branches)


def _without_misspelt(faults: list[Fault]) -> list[Fault]:
    """A misspelt key is both 'not a key' and 'missing': say it once."""
    extra = {f.path for f in faults if f.text.endswith("is not a key here.")}
    hidden = set()
    for path in extra:
        siblings = {f.path for f in faults if f.text.endswith("is missing.") and f.path[:-1] == path[:-1]}
        near = get_close_matches(str(path[-1]), [str(p[-1]) for p in siblings], 1)
        hidden |= {(*path[:-1], n) for n in near}
    return [f for f in faults if f.path not in hidden]


def expression_faults(value: Any, path: Path) -> Iterator[Fault]:
    """What is wrong with the shape of an expression (names are checked against the criteria elsewhere)."""
    if isinstance(value, str):
        return
    if value is None:
        yield Fault(path, f"'{path[-1]}' is empty.", _EXPRESSION)
    elif isinstance(value, list):
        yield Fault(path, "a list does not say how its parts combine.", "Write all: [...] or any: [...].")
    elif not isinstance(value, dict):
        yield Fault(path, f"'{value}' is not an expression.", _EXPRESSION)
    elif set(value) in ({"all"}, {"any"}):
        yield from _parts(value, path, next(iter(value)))
    elif set(value) == {"not"}:
        yield from expression_faults(value["not"], (*path, "not"))
    elif set(value) == {"at_least", "of"}:
        count = value["at_least"]
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            yield Fault((*path, "at_least"), "'at_least' must be a whole number from 1.", "Write at_least: 2.")
        yield from _parts(value, path, "of")
    else:
        yield _combination(value, path)


def _parts(value: dict[str, Any], path: Path, key: str) -> Iterator[Fault]:
    parts = value[key]
    if not isinstance(parts, list) or not parts:
        yield Fault((*path, key), f"'{key}' needs a list of one or more parts.", f"Write {key}: [first, second].")
        return
    for index, part in enumerate(parts):
        yield from expression_faults(part, (*path, key, index))


def _combination(value: dict[str, Any], path: Path) -> Fault:
    words = {"all", "any", "not", "at_least", "of"}
    strange = next((k for k in value if k not in words), None)
    if strange is not None:
        return Fault((*path, strange), f"'{strange}' does not combine criteria.", _EXPRESSION)
    if set(value) <= {"at_least", "of"}:
        return Fault(path, "'at_least' and 'of' belong together.", "Write at_least: 2 and of: [first, second].")
    listed = " and ".join(f"'{k}'" for k in value) or "nothing"
    return Fault(path, f"{listed} cannot stand side by side.", "Put one inside the other.")


def _plain(item: _Located, shape: type[BaseModel]) -> Fault:
    name = str(item.path[-1]) if item.path else "the file"
    if isinstance(item.path[-1] if item.path else "", int):
        name = f"{item.path[-2]}[{item.path[-1]}]" if len(item.path) > 1 else f"[{name}]"
    if item.detail["type"] == "extra_forbidden":
        return Fault(item.path, f"'{name}' is not a key here.", _other_key(name, keys_at(shape, item.path[:-1])))
    return Fault(item.path, *words_for(name, item.detail))


def _other_key(name: str, keys: list[str]) -> str:
    """The cure for a key that has no place: the key of this place that was meant, or those that there are."""
    near = get_close_matches(name, keys, 1, 0.75)
    if near:
        return f"Did you mean '{near[0]}'?"
    if 0 < len(keys) <= _FEW:
        return f"Use one of: {', '.join(keys)}."
    return "Remove it; docs/policy-language.md lists the keys."


def words_for(name: str, detail: Any) -> tuple[str, str]:
    """What is wrong with the value called `name`, and the cure."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return f"'{name}' is missing.", "Add it."
    if kind == "literal_error":
        return _literal(name, value, context["expected"])
    if kind == "string_pattern_mismatch":
        text, cure = _FORMS.get(
            context["pattern"], ("must be lower-case words joined by hyphens.", "Use a to z, 0 to 9, hyphen and dot.")
        )
        return f"'{name}' {text}", cure
    if kind.startswith("date"):
        return f"'{name}' is not a date.", "Write it as YYYY-MM-DD."
    return _typed(name, kind, value, detail["msg"])


def _literal(name: str, value: Any, expected: str) -> tuple[str, str]:
    words = [a or b for a, b in _EXPECTED.findall(expected)]
    if value is None:
        return f"'{name}' is empty.", f"Use one of: {', '.join(words)}."
    near = get_close_matches(str(value), words, 1)
    if len(words) == 1:
        return f"'{name}' must be {words[0]}.", f"Write {name}: {words[0]}."
    cure = f"Did you mean '{near[0]}'?" if near else f"Use one of: {', '.join(words)}."
    return f"'{name}' is '{value}', which is not one of its words.", cure


def _typed(name: str, kind: str, value: Any, message: str) -> tuple[str, str]:
    if value is None or value in ("", [], {}) or kind in ("too_short", "string_too_short"):
        return f"'{name}' is empty.", "Fill it in."
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"'{name}' is the number {value}.", f'Quote it: "{value}".'
    if kind == "string_type":
        return f"'{name}' must be a text.", "Write one text, in quotes if it holds ': ' or '#'."
    if kind.startswith(("int", "float")):
        return f"'{name}' must be a number.", "Write digits without quotes."
    if kind.startswith("bool"):
        return f"'{name}' must be true or false.", "Write true or false without quotes."
    if kind == "list_type":
        return f"'{name}' must be a list.", f"Write {name}: [...] or one '- ' line per part."
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return f"'{name}' must be a mapping.", "Write 'key: value' lines below it."
    return f"'{name}': {message[0].lower()}{message[1:]}.", "Correct the value."


def unknown(what: str, name: str, known: Collection[str]) -> tuple[str, str]:
    """Text and cure for a name that nothing has."""
    near = get_close_matches(name, list(known), 1, 0.7)
    cure = f"Did you mean '{near[0]}'?" if near else f"Add it or name an existing {what}."
    return f"there is no {what} '{name}'.", cure
