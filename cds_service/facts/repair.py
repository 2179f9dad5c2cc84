"""Makes what can be read of a faulty resource readable: rebuilds it by its shape, leaving out what is wrong.

Private to `facts/intake.py`. Works on copies; every element left out is a fault with its path and no value.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from cds_service.facts import validity
from cds_service.facts.cures import NO_ZONE, cure, is_zoneless, trimmed
from cds_service.facts.validity import Element, Shape
from cds_service.policy.case import Fault, Harm

Json = dict[str, Any]
Path = tuple[str | int, ...]

ROUNDS = 12
DEPTH_LIMIT = 64
FAULT_LIMIT = 100  # per resource: a list of a million nulls must not become a million log lines
# Ids that FHIR forbids but that still name a resource without ambiguity: real servers use `_` and `:`.
_NAMES_IT = re.compile(validity.NAMES_IT)
_FHIR_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")
_SAYABLE = re.compile(r"_?[a-z][A-Za-z]{0,39}")
# Elements of data types that no reader takes meaning from: losing one makes nothing around it unknown.
_DECORATION = frozenset(("display", "userSelected", "id"))
_BESIDE: Mapping[str, frozenset[str]] = {
    "Annotation": frozenset(("authorReference", "authorString", "time")),
    "Coding": frozenset(("version",)),
    "Identifier": frozenset(("assigner", "period", "type", "use")),
    "Reference": frozenset(("type",)),
}
# Extensions that facts are read from begin so; losing any other makes nothing around it unknown.
READ_EXTENSIONS = ("http://hl7.org/fhir/us/davinci-", "http://hl7.org/fhir/StructureDefinition/alternate-reference")
_CODING = frozenset(("system", "version", "code", "display", "userSelected"))
# What does not look so the judge would refuse as well, in twenty times the time.
_DATED = {
    "date": re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?", re.ASCII),
    "dateTime": re.compile(r"\d{4}(?:-\d\d(?:-\d\d(?:T\S+)?)?)?", re.ASCII),
    "instant": re.compile(r"\d{4}-\d\d-\d\dT\S+", re.ASCII),
}
_UNLIMITED = frozenset(("base64Binary", "xhtml"))
_NOT_FHIR_R4 = "is not an element of FHIR R4 and was left out"
_STANDS_IN: dict[str, Any] = {
    "boolean": True, "decimal": 1, "integer": 1, "positiveInt": 1, "unsignedInt": 1, "base64Binary": "AAAA",
    "date": "2000", "dateTime": "2000", "instant": "2000-01-01T00:00:00Z", "time": "00:00:00",
    "url": "http://example.org", "oid": "urn:oid:1.2", "uuid": "c757873d-ec9a-4326-a141-556f43239520",
}  # fmt: skip


class _Faulty(Exception):
    """An element is wrong; the innermost list item or top-level element around it is left out."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        super().__init__(text)


class _Modified(_Faulty):
    """A modifier extension changes the meaning of everything up to the top-level element."""


class Repair:
    """One resource under repair. `faults` and `faulty` grow; `run` gives the readable rest."""

    def __init__(self, resource: Mapping[str, Any], ref: str) -> None:
        self.resource, self.ref = resource, ref
        self.shape = validity.shape(resource["resourceType"])
        self.faults: list[Fault] = []
        self.faulty: set[str] = set()
        self.rebuilt: set[str] = set()  # what is in none of these is as it came

    def run(self) -> Json:
        """The resource with the JSON types of FHIR R4 and only elements that fhir.resources accepts."""
        clean = self._top()
        if not validity.accepts_rest(clean):  # else the judge has nothing to say
            clean = self._judged(clean)
        self._name_missing(clean)
        return clean

    def _judged(self, clean: Json) -> Json:
        """What fhir.resources leaves of it."""
        clean = _pruned(clean)  # a copy: what is sound is the client's own
        for _ in range(ROUNDS):
            found = validity.problems(_stand_in(self.shape, clean))
            if not found:
                return clean
            targets = {_target(self.shape, clean, problem.path): problem.text for problem in found}
            if () in targets:
                break
            for target in sorted(targets, key=_last_first, reverse=True):
                self._lose(target, targets[target], beside=_is_beside(self.shape, clean, target))
                _remove(clean, target)
            clean = _pruned(clean) or {"resourceType": self.shape.name}
        return self._one_by_one(clean)

    def _one_by_one(self, clean: Json) -> Json:
        """The elements that the judge accepts each by itself, where it does not say which of them is wrong."""
        kept: Json = {"resourceType": self.shape.name}
        for name, value in clean.items():
            if name != "resourceType":
                if validity.problems(_stand_in(self.shape, {"resourceType": self.shape.name, name: value})):
                    self._lose((name,), "is not valid FHIR R4")
                else:
                    kept[name] = value
        return kept

    def fault(self, path: Path, text: str, harm: Harm = Harm.LOST) -> None:
        """Record a fault at a path below the resource."""
        self.add(Fault(self.ref, fhirpath(self.shape.name, path), text, harm=harm))

    def _passed(self, path: Path, text: str) -> None:
        """Record a deviation that costs nothing."""
        self.fault(path, text, Harm.NONE)

    def add(self, fault: Fault) -> None:
        """Keep a fault while the list is short, and say once that it was cut off."""
        if fault.fatal or len(self.faults) < FAULT_LIMIT:
            self.faults.append(fault)
        elif len(self.faults) == FAULT_LIMIT:
            self.faults.append(Fault(self.ref, self.shape.name, "has more faults than are listed"))

    def _lose(self, path: Path, text: str, *, beside: bool = False) -> None:
        self.fault(path, f"{text}; it was left out", Harm.NONE if beside else Harm.LOST)
        if not beside:
            self.faulty.add(str(path[0]).removeprefix("_"))

    # --- by shape -----------------------------------------------------------------------------------

    def _top(self) -> Json:
        """The top-level elements that are well formed."""
        out: Json = {"resourceType": self.shape.name}
        for name, value in self.resource.items():
            if name in ("resourceType", "contained"):
                continue
            if isinstance(name, str) and _is_sound(self.shape.name, name, value):
                out[name] = value
                continue
            try:
                if _is_deeper_than(value, DEPTH_LIMIT):
                    raise _Faulty((name,), f"is nested deeper than {DEPTH_LIMIT} levels")
                self._member(self.shape, out, self.resource, name, value, ())
                self.rebuilt.add(name)
            except _Faulty as wrong:
                self.faulty.add(name.removeprefix("_"))
                self.fault(wrong.path, f"{wrong.text}; {fhirpath(self.shape.name, (name,))} was left out")
        for group in self.shape.choices:
            self._leave_out_doubles(group, out)
        return out

    def _leave_out_doubles(self, group: tuple[str, ...], out: Json) -> None:
        given = [name for name in group if name in out or name in self.faulty]
        if len(given) > 1:
            for name in given:
                out.pop(name, None)
                out.pop(f"_{name}", None)
                self.faulty.add(name)
            self.fault((_stem(group),), "is given more than once, in different types; all of them were left out")

    def _member(self, shape: Shape, out: Json, owner: Mapping[str, Any], name: str, value: Any, at: Path) -> None:
        """Put one element into `out`, unless it is unknown or empty."""
        element = shape.elements.get(name) if isinstance(name, str) else None
        path = (*at, name)
        if element is None or element.target == "Resource":
            self._passed((*at, _sayable(name)), _NOT_FHIR_R4)
        elif name == "modifierExtension" and at and not _is_empty(value):
            raise _Modified(path, "is not understood by this service and may change the meaning")
        elif name == "id" and shape.is_resource:
            self._identify(out, value)
        elif _is_empty(value):
            self._passed(path, "is empty and was left out")
        else:
            if element.many:
                kept = self._list(shape, element, owner, value, path)
            else:
                kept = self._value(shape, element, value, path)
            if not _is_empty(kept):
                out[name] = kept

    def _single(self, value: Any, path: Path) -> Any:
        """What stands in a list of one, where FHIR R4 has a single item."""
        while isinstance(value, list) and len(value) == 1:
            self._passed(path, "is a list of one where FHIR R4 has a single item; it was read as that item")
            value = value[0]
        return value

    def _identify(self, out: Json, value: Any) -> None:
        if isinstance(value, str) and value != (plain := trimmed(value)):
            self._passed(("id",), "has blanks around it, which were passed over")
            value = plain
        if isinstance(value, str) and _NAMES_IT.fullmatch(value):
            out["id"] = value
            if not _FHIR_ID.fullmatch(value):
                self._passed(("id",), "is not a valid FHIR id; it is used as it is")
        else:
            self._lose(("id",), "is not a valid FHIR id")

    def _list(self, shape: Shape, element: Element, owner: Mapping[str, Any], value: Any, path: Path) -> list[Any]:
        if not isinstance(value, list):
            self._passed(path, "is a single item where FHIR R4 has a list; it was read as a list of one")
            value = [value]
        if _is_aligned(element, owner):
            return self._aligned(shape, element, value, path)
        kept: list[Any] = []
        for index, item in enumerate(value):
            here = (*path, index)
            if _is_empty(item):
                self._passed(here, "is empty and was left out")
                continue
            try:
                found = self._value(shape, element, item, here)
            except _Modified:
                raise
            except _Faulty as wrong:
                beside = element.name == "extension" and not _is_read(item)
                if not beside:
                    self.faulty.add(str(path[0]).removeprefix("_"))
                text = f"{wrong.text}; {fhirpath(self.shape.name, here)} was left out"
                self.fault(wrong.path, text, Harm.NONE if beside else Harm.LOST)
            else:
                kept += [] if _is_empty(found) else [found]
        return kept

    def _aligned(self, shape: Shape, element: Element, value: list[Any], path: Path) -> list[Any]:
        """A list whose positions match those of its `_` sibling: nulls stay, nothing can be left out alone."""
        kept = [
            None if item is None else self._value(shape, element, item, (*path, index))
            for index, item in enumerate(value)
        ]
        return [] if all(item is None for item in kept) else kept

    def _value(self, shape: Shape, element: Element, value: Any, path: Path) -> Any:
        value = self._single(value, path)
        if _is_empty(value):
            return None
        if element.kind:
            value, told = cure(shape.name, element, value)
            if told:
                self._passed(path, told)
            if is_zoneless(element.kind, value):
                self._passed(path, NO_ZONE)
            _check_primitive(shape, element, value, path)
            return value
        if not isinstance(value, dict):
            raise _Faulty(path, "is not an object")
        if element.target == "CodeableConcept" and "code" in value and "coding" not in value:
            self._passed(path, "is a Coding where FHIR R4 has a CodeableConcept; it was read as its only coding")
            rest = {name: part for name, part in value.items() if name not in _CODING}
            value = {"coding": [{name: part for name, part in value.items() if name in _CODING}], **rest}
        return self._object(validity.shape(element.target), value, path)

    def _object(self, shape: Shape, value: Json, path: Path) -> Json:
        out: Json = {}
        for name, part in value.items():
            try:
                self._member(shape, out, value, name, part, path)
            except _Modified:
                raise
            except _Faulty as wrong:
                if not _is_aside(shape.name, name):
                    raise
                self._passed(wrong.path, f"{wrong.text}; it was left out")
        for group in shape.choices:
            if sum(name in out for name in group) > 1:
                raise _Faulty((*path, _stem(group)), "is given more than once, in different types")
        return out

    # --- what is required ---------------------------------------------------------------------------

    def _name_missing(self, clean: Json) -> None:
        for path in _missing(self.shape, clean, (), self.rebuilt):
            if len(path) > 1 or not self._was_left_out(str(path[0])):
                self.fault(path, "is required by FHIR R4 and missing", Harm.MISSING)

    def _was_left_out(self, name: str) -> bool:
        stem = name.removesuffix("[x]")
        return name in self.faulty or (stem != name and any(lost.startswith(stem) for lost in self.faulty))


def fhirpath(root: str, path: Iterable[str | int]) -> str:
    """`ServiceRequest.category[0].coding` from its parts."""
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _sayable(name: object) -> str:
    """A name the client made up, if it can be told from text out of a chart; else a question mark."""
    return name if isinstance(name, str) and _SAYABLE.fullmatch(name) else "?"


def _stem(group: tuple[str, ...]) -> str:
    """`occurrence[x]` from occurrenceDateTime, occurrencePeriod, ...: the words that all names begin with."""
    words = [re.findall(r"^[a-z]+|[A-Z][a-z0-9]*", name) for name in group]
    common = next(
        (n for n, column in enumerate(zip(*words, strict=False)) if len(set(column)) > 1), min(map(len, words)) - 1
    )
    return "".join(words[0][:common]) + "[x]"


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {}) or (isinstance(value, str) and not trimmed(value))


def _is_aside(owner: str, name: str) -> bool:
    """Is it an element of a data type that no reader takes meaning from?"""
    return name in _DECORATION or name in _BESIDE.get(owner, ())


def _is_read(extension: Any) -> bool:
    """May a fact be read from this extension? From one whose URL is not told, perhaps."""
    url = extension.get("url") if isinstance(extension, dict) else None
    return not isinstance(url, str) or url.startswith(READ_EXTENSIONS)


def _is_aligned(element: Element, owner: Mapping[str, Any]) -> bool:
    sibling = element.name[1:] if element.name.startswith("_") else f"_{element.name}"
    return bool(element.kind or element.name.startswith("_")) and isinstance(owner.get(sibling), list)


def _check_primitive(shape: Shape, element: Element, value: Any, path: Path) -> None:
    """The JSON type that FHIR R4 gives a primitive, and codes that decide what a resource means."""
    kind = element.kind
    if kind == "boolean":
        wrong = "" if isinstance(value, bool) else "is not true or false"
    elif kind == "decimal":
        wrong = "" if _is_finite(value) else "is not a finite number"
    elif kind in ("integer", "positiveInt", "unsignedInt", "integer64"):
        wrong = "" if _is_finite(value) and value == int(value) else "is not a whole number"
    else:
        wrong = _wrong_text(kind, value)
    if not wrong and element.codes and (shape.is_resource or element.name == "comparator"):
        wrong = "" if value in element.codes else "is not one of the codes of FHIR R4"
    if wrong:
        raise _Faulty(path, wrong)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _wrong_text(kind: str, value: Any) -> str:
    if not isinstance(value, str):
        return "is not text"
    if len(value) > validity.STRING_LIMIT and kind not in _UNLIMITED:
        return "is longer than FHIR R4 allows"
    if len(value) > validity.SHORT.get(kind, len(value)):
        return "is longer than any that is in use"
    if kind in _DATED and not _DATED[kind].fullmatch(value):
        return "is not in the format that FHIR R4 demands"
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return "is not Unicode text"
    return ""


# --- for the judge: what is missing is filled in, so that it can look at the rest ------------------------


def _stand_in(shape: Shape, value: Json) -> Json:
    """A copy with something valid for a required element, or a zone, that is missing, and for an odd resource id."""
    out = {name: _copy(shape.elements.get(name), part) for name, part in value.items()}
    if shape.is_resource and "id" in out:
        out["id"] = "x"
    for name in _lacking(shape, value):
        element = shape.elements[name]
        part = validity.empty(element.target) if element.target else _STANDS_IN.get(element.kind, "x")
        out[name] = [part] if element.many else part
    return out


def _copy(element: Element | None, value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(element, item) for item in value]
    if isinstance(value, dict) and element is not None:
        return _stand_in(validity.shape(element.target), value)
    return f"{value}Z" if element is not None and is_zoneless(element.kind, value) else value


def _lacking(shape: Shape, value: Json) -> Iterator[str]:
    for name in shape.required:
        if name not in value:
            sibling = value.get(f"_{name}")
            if not (isinstance(sibling, dict) and sibling.get("extension")):
                yield name
    for group in shape.required_choices:
        if not any(name in value for name in group):
            yield group[0]


def _missing(shape: Shape, value: Json, at: Path, among: Container[str] | None = None) -> Iterator[Path]:
    """Paths of required elements that are not there; below the elements `among` only, where these are told."""
    choices = {group[0]: _stem(group) for group in shape.required_choices}
    for name in _lacking(shape, value):
        yield (*at, choices.get(name, name))
    for name, part in value.items():
        element = shape.elements.get(name) if among is None or name in among else None
        if element is not None and element.target and element.target != "Resource":
            items = enumerate(part) if isinstance(part, list) else [(None, part)]
            for index, item in items:
                if isinstance(item, dict):
                    here = (*at, name) if index is None else (*at, name, index)
                    yield from _missing(validity.shape(element.target), item, here)


def _is_sound(resource_type: str, name: str, value: Any) -> bool:
    """Can a top-level element stay as it is?"""
    try:
        return validity.accepts_element(resource_type, name)(value)
    except ValueError:  # text that is not Unicode
        return False


def _is_deeper_than(value: object, limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit):
        level = [part for item in level for part in _parts(item)]
        if not level:
            return False
    return True


def _parts(value: object) -> list[Any]:
    if isinstance(value, dict):
        return [part for part in value.values() if isinstance(part, dict | list)]
    return [part for part in value if isinstance(part, dict | list)] if isinstance(value, list) else []


# --- taking out what the judge refuses -------------------------------------------------------------------


def _target(shape: Shape, clean: Json, path: Path) -> Path:
    """What to leave out for an error at `path`: what nothing is read from around it, else the innermost list item.

    Else the top-level element; () where there is none of them.
    """
    best: Path = ()
    for depth, (owner, node, part) in enumerate(_steps(shape, clean, path)):
        inside = isinstance(node, list)
        if depth == 0:
            best = path[:1]
        elif inside and not _has_sibling(clean, path[:depth]):
            best = path[: depth + 1]
        elif not inside and owner is not None and _is_aside(owner.name, str(part)):
            return path[: depth + 1]
    return best


def _steps(shape: Shape, clean: Json, path: Path) -> Iterator[tuple[Shape | None, Any, str | int]]:
    """The way along `path` as far as it leads: the shape of each container (of its items, for a list), it, the step."""
    node: Any = clean
    owner: Shape | None = shape
    for part in path:
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            yield owner, node, part
        elif isinstance(node, dict) and part in node:
            yield owner, node, part
            element = owner.elements.get(str(part)) if owner else None
            owner = validity.shape(element.target) if element and element.target not in ("", "Resource") else None
        else:
            return
        node = node[part]


def _is_beside(shape: Shape, clean: Json, path: Path) -> bool:
    """Does the path lead into something that no fact is read from?"""
    for depth, (owner, node, part) in enumerate(_steps(shape, clean, path)):
        if depth and isinstance(node, dict) and owner is not None and _is_aside(owner.name, str(part)):
            return True
        if isinstance(node, list) and path[depth - 1] == "extension":
            return not _is_read(node[int(part)])
    return False


def _has_sibling(clean: Json, path: Path) -> bool:
    owner: Any = clean
    for part in path[:-1]:
        owner = owner[part]
    name = str(path[-1])
    return isinstance(owner, dict) and (name.startswith("_") or f"_{name}" in owner)


def _last_first(path: Path) -> tuple[tuple[str, int], ...]:
    return tuple(("", part) if isinstance(part, int) else (part, 0) for part in path)


def _remove(clean: Json, path: Path) -> None:
    """Take one element out; one that went with its container is gone already."""
    node: Any = clean
    for part in path[:-1]:
        if isinstance(node, dict) and part not in node:
            return
        node = node[part]
    last: Any = path[-1]
    if isinstance(node, list) or last in node:
        del node[last]


def _pruned(value: Any) -> Any:
    """Without containers that have become empty; nulls of aligned lists stay."""
    if isinstance(value, dict):
        parts = {name: _pruned(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part is not None and part not in ([], {})}
    if isinstance(value, list):
        return [part for part in map(_pruned, value) if part is None or part not in ([], {})]
    return value
