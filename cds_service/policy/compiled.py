"""One compiled file for a whole cards folder: an index and, behind it, each policy as JSON, built when touched.

Layout: `cds-cards 1 <sha256 of the rest>`, a line of JSON (the index), then the blobs that it points into.
The file holds validated content only and is plain data: reading one can construct nothing but policy models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from cds_service.errors import ContentError
from cds_service.policy.case import Code
from cds_service.policy.code_sets import CodeSet, compile_set, starts
from cds_service.policy.compile import CompiledVersion, compile_version
from cds_service.policy.content import Content, PolicyFolder
from cds_service.policy.model import CardFile, LineNames, Payer, Policy, ProcedureCode, ValueSet
from cds_service.policy.rulebook import (
    Audience,
    Outline,
    Rulebook,
    index_versions,
    observed_sets,
    outlines_of,
    sources_read,
)
from cds_service.policy.vocabulary import Vocabulary, compile_vocabulary

MAGIC = b"cds-cards 1 "
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
_PROCEDURES = TypeAdapter(list[ProcedureCode])
_PAYERS = TypeAdapter(list[Payer])
_LINES = TypeAdapter(tuple[LineNames, ...])


@cache
def shape() -> str:
    """Hash of the models: a file built for other models is refused, not misread."""
    schemas = [m.model_json_schema() for m in (Policy, CardFile, ValueSet, ProcedureCode, Payer, LineNames)]
    return hashlib.sha256(orjson.dumps(schemas, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _json(item: BaseModel) -> bytes:
    return item.model_dump_json(by_alias=True, exclude_unset=True).encode()


class _Blobs:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, part: bytes) -> list[int]:
        place = [self.size, len(part)]
        self.parts.append(part)
        self.size += len(part)
        return place


def dump(content: Content) -> bytes:
    """The compiled file of valid content. The same content gives the same bytes. Worked cases are left out."""
    blobs = _Blobs()
    pairs = [(f.policy, v) for _, f in sorted(content.policies.items()) for v in f.policy.versions]
    vocabulary = compile_vocabulary(content.value_sets, content.procedures)
    audiences = index_versions(pairs, vocabulary)
    index = {
        "revision": content.revision,
        "shape": shape(),
        "procedures": [p.model_dump(mode="json", exclude_unset=True) for p in content.procedures.values()],
        "payers": [p.model_dump(mode="json", exclude_unset=True) for p in content.payers.values()],
        "lines": [n.model_dump(mode="json") for n in content.lines],
        "members": _members(vocabulary),
        "sets": {i: blobs.add(_json(s)) for i, s in sorted(content.value_sets.items())},
        "policies": {
            i: [*blobs.add(_json(f.policy)), *blobs.add(_json(f.card))] for i, f in sorted(content.policies.items())
        },
        "versions": [
            [p.id, n, v.effective.from_, v.effective.to]
            for _, f in sorted(content.policies.items())
            for p in (f.policy,)
            for n, v in enumerate(p.versions)
        ],
        "reads": sorted(sources_read([v for _, v in pairs], vocabulary.sets)),
        "observed": sorted(observed_sets(v for _, v in pairs)),
        "outlines": {
            s: [[o.kind, o.status, sorted(o.reads), o.start, o.end] for o in rows]
            for s, rows in sorted(outlines_of(pairs, vocabulary.sets).items())
        },
        "audiences": {p: [a.by_code, a.by_prefix, a.by_text] for p, a in sorted(audiences.items())},
    }
    rest = orjson.dumps(index) + b"\n" + b"".join(blobs.parts)
    return MAGIC + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def _members(vocabulary: Vocabulary) -> list[dict[str, list[int]]]:
    """Numbers of the sets (in order of their ids) that hold each code, and each prefix."""
    codes: dict[str, list[int]] = {}
    prefixes: dict[str, list[int]] = {}
    for number, name in enumerate(sorted(vocabulary.sets)):
        for code in vocabulary.sets[name].codes:
            codes.setdefault(str(code), []).append(number)
        for prefix in (p for group in vocabulary.sets[name].prefixes.values() for p in group):
            prefixes.setdefault(f"{prefix.system} {prefix.prefix}", []).append(number)
    return [codes, prefixes]


class IndexedVocabulary(Vocabulary):
    """A vocabulary that finds the sets of a code in the index of a compiled file, without building the sets."""

    _names: list[str]
    _members: list[dict[str, list[int]]]
    _longest: int

    def __init__(
        self, sets: Mapping[str, CodeSet], procedures: Mapping[Code, ProcedureCode], members: list[dict[str, list[int]]]
    ) -> None:
        super().__init__(sets, procedures)
        object.__setattr__(self, "_names", list(sets))
        object.__setattr__(self, "_members", members)
        object.__setattr__(self, "_longest", max(map(len, members[1]), default=0))

    def _sets_of(self, code: Code) -> frozenset[str]:
        names, (codes, prefixes) = self._names, self._members
        numbers = {*codes.get(str(code), ()), *(n for s in starts(code, self._longest) for n in prefixes.get(s, ()))}
        return self._holding(code, [names[n] for n in numbers])


class Lazy(Mapping[str, T], Generic[T]):
    """Values by name, made when first asked for."""

    def __init__(self, places: Mapping[str, Any], make: Callable[[str], T]) -> None:
        self._places, self._make = places, make
        self._made: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            if name not in self._places:
                raise KeyError(name)
            self._made[name] = self._make(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class LazyVersions(Sequence[CompiledVersion]):
    """Compiled versions by number, compiled when first asked for."""

    def __init__(self, rows: list[list[Any]], folders: Mapping[str, PolicyFolder], sets: Mapping[str, CodeSet]) -> None:
        self._rows, self._folders, self._sets = rows, folders, sets
        self._made: dict[int, CompiledVersion] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        if number < 0 or number >= len(self):
            raise IndexError(number)
        if number not in self._made:
            policy_id, index = self._rows[number][:2]
            policy = self._folders[policy_id].policy
            self._made[number] = compile_version(policy, policy.versions[index], self._sets)
        return self._made[number]


def load(data: bytes, name: str = "compiled policies") -> Rulebook:
    """A rulebook over a compiled file; policies and value sets are built when an order touches them.

    Raises ContentError when the file is not one, is damaged, or was built for other models.
    """
    head, _, rest = data.partition(b"\n")
    if not head.startswith(MAGIC):
        raise ContentError(name, 1, 1, "not a file made by 'policy build'.", "Build it from a cards folder.")
    if hashlib.sha256(rest).hexdigest().encode() != head.removeprefix(MAGIC):
        raise ContentError(name, 1, 1, "the file is damaged: its hash does not fit.", "Build it again.")
    end = rest.index(b"\n")
    index = orjson.loads(rest[:end])
    if index["shape"] != shape():
        raise ContentError(name, 1, 1, "built by another version of this program.", "Build it again.")
    return _rulebook(index, memoryview(rest)[end + 1 :], name)


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _outline(row: list[Any]) -> Outline:
    return Outline(row[0], row[1], frozenset(row[2]), _day(row[3]), _day(row[4]))


def _rulebook(index: dict[str, Any], blobs: memoryview, name: str) -> Rulebook:
    def part(model: type[M], place: list[int]) -> M:
        start, length = place
        try:
            return model.model_validate_json(bytes(blobs[start : start + length]))
        except ValidationError as error:
            raise ContentError(name, 1, 1, "holds a policy that is not valid.", "Build it again.") from error

    def folder(policy_id: str) -> PolicyFolder:
        place = index["policies"][policy_id]
        return PolicyFolder(part(Policy, place[:2]), part(CardFile, place[2:]), None)

    folders = Lazy(index["policies"], folder)
    sets: Lazy[ValueSet] = Lazy(index["sets"], lambda i: part(ValueSet, index["sets"][i]))
    procedures = {Code(p.system, p.code): p for p in _PROCEDURES.validate_python(index["procedures"])}
    payers = {p.id: p for p in _PAYERS.validate_python(index["payers"])}
    compiled = Lazy(index["sets"], lambda i: compile_set(sets, i))
    vocabulary = IndexedVocabulary(compiled, procedures, index["members"])
    return Rulebook(
        content=Content(
            index["revision"], folders, sets, procedures, payers, lines=_LINES.validate_python(index["lines"])
        ),
        vocabulary=vocabulary,
        versions=LazyVersions(index["versions"], folders, compiled),
        folders=folders,
        audiences={payer: Audience(*parts) for payer, parts in index["audiences"].items()},
        reads=frozenset(index["reads"]),
        observed=frozenset(index["observed"]),
        periods=[(_day(row[2]), _day(row[3])) for row in index["versions"]],
        outlines={s: tuple(_outline(row) for row in rows) for s, rows in index["outlines"].items()},
    )
