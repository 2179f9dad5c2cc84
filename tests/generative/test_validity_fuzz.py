"""Mutants of valid resources: what the fast schema accepts, fhir.resources accepts; and intake survives them all."""

from __future__ import annotations

import copy
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from cds_service.facts import intake, validity
from cds_service.facts.generate_schema import PRIMITIVES
from cds_service.facts.repair import Repair, _stand_in

Json = dict[str, Any]

SEEDS: list[Json] = json.loads(Path(__file__).with_name("validity_seeds.json").read_text(encoding="utf-8"))
SECRET = "Zq7patient"  # in every odd text: it must never come back in a fault
FEW, MANY = 4_000, 300_000
# In a long run one refused mutant in so many goes through intake, which costs a hundred times the schema.
SAMPLED = 4

TEXTS = [
    "", " ", "\n", "\u00a0", "\u000b", "\ufeff", "\u2028", "x", "a b", "a  b", " a", "a ", "a\n", "tab\tin", "é",
    "日本", "\U0001f600", "x\u0000y", "true", "false", "null", "0", "1", "-1", "1.0", "+5", "NaN", "{}", "[]",
    '{"reference": "Patient/1"}', '{"text": "x"}', "2026", "2026-13", "2026-00-01", "2026-02-29", "2024-02-29",
    "2026-04-31", "2026-12-31", "0000", "0001-01-01", "1900-02-29", "2000-02-29", "2100-01-31", "9999-12-31",
    "2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T23:59:60Z",
    "2026-01-01T10:00Z", "2026-01-01T10:00:00.1234567Z", "2026-01-01T10:00:00.123456+14:00",
    "2026-01-01T10:00:00+13:59", "2026-01-01T10:00:00-00:00", "2026-01-01t10:00:00z", "2026-01-01 10:00:00Z",
    "1999-12-31T23:59:59.999-13:59", "٢٠٢٦-01-01", "2026-01-01\n", "10:00:00", "10:00", "24:00:00", "23:59:60",
    "10:00:00.5", "10:00:00Z", "http://example.org", "http://", "https://example.org:80/a~b", "http://exa mple",
    "http://-a.b", "http://a..b", "http://999.999.999.999", "http://0x7f", "http://xn--a", "http://example.org:99999",
    "ftp://x", "mailto:a@b", "urn:oid:1.2", "urn:oid:3.1", "urn:oid:1.02", "urn:uuid:x", "#", "#a", "/", "Patient/1",
    "AAAA", "AAA=", "AA==", "A===", "AAAA\n", "====", "a_b", "a:b", "a" * 64, "a" * 65, "a" * 256, "draft", "foo",
    "male", "F", "<", "<~", "\ud800",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 5.0, 1.5, -0.0, 1e-7, 1e300, 1e15, 2**31, 2**31 - 1, -(2**31) - 1, 2**63, 10**30,
    float("nan"), float("inf"), [], {}, [None], [[]], [{}], {"reference": "Patient/1"}, {"coding": [{}]}, {"text": "x"},
    {"extension": [{"url": "u", "valueString": "x"}]}, {"extension": [{"url": "u"}]}, {"extension": []}, {"id": "x"},
    [{"url": "http://e", "valueBoolean": True}], [{"valueBoolean": True}], {"resourceType": "Patient"},
    {"resourceType": "Nope"}, {"value": 1}, {"start": "2026"}, {"start": "2027", "end": "2026"}, [1], ["x"],
    ["x", None],
]  # fmt: skip
NAMES = [
    "id", "extension", "modifierExtension", "implicitRules", "_implicitRules", "meta", "text", "contained", "status",
    "_status", "code", "coding", "system", "value", "unit", "reference", "identifier", "assigner", "period", "start",
    "item", "linkId", "answer", "url", "resourceType", "resource_type", "fhir_comments", "class_fhir", "class",
    "status__ext", "valueString", "valueBoolean", "valueQuantity", "valueUuid", "valueSignature", "onsetAge",
    "occurrenceDateTime", "occurrencePeriod", "deceasedDateTime", "doseRange", "_given", "__proto__", "Erika", "",
]  # fmt: skip


def model_accepts(resource: Json) -> bool:
    """The judge itself, asked without our own code in between."""
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(copy.deepcopy(resource))
    except ValidationError:
        return False
    return True


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a value."""
    if isinstance(value, dict):
        return [place for key, part in value.items() for place in ((value, key), *places(part))]
    if isinstance(value, list):
        return [place for key, part in enumerate(value) for place in ((value, key), *places(part))]
    return []


def choice_groups() -> list[tuple[str, ...]]:
    """Every value[x], onset[x], ... of the readable types and of what they are made of."""
    pending, seen = set(validity.READABLE), dict[str, validity.Shape]()
    while pending:
        shape = validity.shape(pending.pop())
        seen[shape.name] = shape
        pending |= {element.target for element in shape.elements.values() if element.target} - set(seen)
    return [group for name in sorted(seen) for group in seen[name].choices]


class Mutator:
    """Small changes to valid resources; most stay near what a client might really send."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.donors = [container[key] for seed in SEEDS for container, key in places(seed)]
        self.by_name = {key: c[key] for seed in SEEDS for c, key in places(seed) if isinstance(c, dict)}
        self.groups = {name: group for group in choice_groups() for name in group}
        self.names = NAMES + sorted({key for seed in SEEDS for c, key in places(seed) if isinstance(c, dict)})
        self.changes = [
            self.text, self.text, self.value, self.value, self.donate, self.delete, self.wrap, self.unwrap,
            self.add, self.add, self.rename, self.twin, self.edit, self.choose_twice, self.none,
        ]  # fmt: skip

    def mutant(self) -> Json:
        found = copy.deepcopy(self.random.choice(SEEDS))
        for name in self.random.sample(list(found), k=min(len(found), self.random.choice((0, 0, 3, 8)))):
            if name not in ("resourceType", "id"):
                del found[name]
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            spots = [(c, k) for c, k in places(found) if k != "resourceType" or self.random.random() < 0.02]
            if spots:
                self.random.choice(self.changes)(*self.random.choice(spots))
        if not isinstance(found.get("resourceType"), str) or found["resourceType"] not in validity.READABLE:
            found["resourceType"] = "Patient"
        return found

    def text(self, container: Any, key: Any) -> None:
        container[key] = self.random.choice(TEXTS) + (SECRET if self.random.random() < 0.1 else "")

    def value(self, container: Any, key: Any) -> None:
        container[key] = copy.deepcopy(self.random.choice(VALUES))

    def donate(self, container: Any, key: Any) -> None:
        container[key] = copy.deepcopy(self.random.choice(self.donors))

    def delete(self, container: Any, key: Any) -> None:
        del container[key]

    def wrap(self, container: Any, key: Any) -> None:
        container[key] = [container[key]]

    def unwrap(self, container: Any, key: Any) -> None:
        if isinstance(container[key], list) and container[key]:
            container[key] = container[key][0]

    def add(self, container: Any, key: Any) -> None:
        target = container[key] if isinstance(container[key], dict) else container
        if isinstance(target, dict):
            pool = self.random.choice((TEXTS, VALUES, self.donors))
            target[self.random.choice(self.names)] = copy.deepcopy(self.random.choice(pool))

    def rename(self, container: Any, key: Any) -> None:
        if isinstance(container, dict):
            container[self.random.choice(self.names)] = container.pop(key)

    def twin(self, container: Any, key: Any) -> None:
        if isinstance(container, list):
            container.append(copy.deepcopy(container[key]))

    def choose_twice(self, container: Any, key: Any) -> None:
        """A second type of a value[x], as it stands in some seed."""
        for name in list(container) if isinstance(container, dict) else []:
            others = [other for other in self.groups.get(name, ()) if other in self.by_name]
            if others:
                other = self.random.choice(others)
                container[other] = copy.deepcopy(self.by_name[other])

    def edit(self, container: Any, key: Any) -> None:
        found = container[key]
        if isinstance(found, str):
            at = self.random.randrange(len(found) + 1)
            container[key] = found[:at] + self.random.choice(" \n\t\u00a0\u000b_:/.-0Z\u0660é") + found[at + 1 :]
        elif isinstance(found, int | float):
            container[key] = found * self.random.choice((-1, 0, 0.5, 1e6, 1e12))

    def none(self, container: Any, key: Any) -> None:
        """No change: a valid resource must stay accepted."""


def fuzz(count: int, seed: int) -> None:
    mutator, outcomes = Mutator(seed), Counter[str]()
    every = 1 if count <= FEW else SAMPLED
    for number in range(count):
        mutant = mutator.mutant()
        accepted = validity.accepts(mutant)
        outcomes["accepted" if accepted else "referred"] += 1
        if accepted:
            assert model_accepts(mutant), f"the schema accepts what fhir.resources refuses: {mutant!r}"
        elif number % every == 0:
            outcomes["rest accepted"] += check_rest(mutant)
            outcomes["read" if check_reading(mutant) else "unusable"] += 1
    assert outcomes["accepted"] > count * 0.1, outcomes  # else the first assertion would prove little
    assert outcomes["read"] > outcomes["unusable"], outcomes
    assert outcomes["rest accepted"] > outcomes["read"] * 0.1, outcomes


def check_rest(mutant: Json) -> bool:
    """What is rebuilt and accepted without a word of the judge, the judge accepts once what it lacks is filled in."""
    repair = Repair(mutant, "Thing/1")
    clean = repair._top()
    if not validity.accepts_rest(clean):
        return False
    assert model_accepts(_stand_in(repair.shape, clean)), f"accepted, but fhir.resources refuses it: {mutant!r}"
    return True


def check_reading(mutant: Json) -> bool:
    """Intake on one faulty resource; True when something could be read of it."""
    before = repr(mutant)
    reading = intake.read(mutant, "Thing/1")
    assert repr(mutant) == before, "intake changed its input"
    assert not any(SECRET in fault.path + fault.text for fault in reading.faults), before
    fatal = [fault for fault in reading.faults if fault.fatal]
    assert len(fatal) == (reading.resource is None), before
    if reading.resource is None:
        return False
    assert reading.resource == mutant or reading.faults, before
    again = intake.read(reading.resource, "Thing/1")
    assert again.resource == reading.resource, before
    assert not again.faulty, before
    assert not (reading.faulty - set(validity.shape(mutant["resourceType"]).elements)), before
    return True


def test_schema_never_accepts_what_the_models_refuse() -> None:
    fuzz(int(os.environ.get("FUZZ_MUTANTS", FEW)), seed=2026)


@pytest.mark.verify
def test_schema_never_accepts_what_the_models_refuse_at_length() -> None:
    fuzz(int(os.environ.get("FUZZ_MUTANTS", MANY)), seed=7)


@pytest.mark.parametrize("kind", sorted(set(PRIMITIVES) - {"xhtml"}))  # a narrative is no extension value
def test_every_primitive_pattern_is_at_least_as_strict_as_the_model(kind: str) -> None:
    """Every odd value in an extension's value[x], so that each primitive meets each of them."""
    name = f"value{kind[0].upper()}{kind[1:]}"
    for value in (*TEXTS, *VALUES):
        resource = {"resourceType": "Medication", "extension": [{"url": "http://example.org/x", name: value}]}
        if validity.accepts(resource):
            assert model_accepts(resource), repr(value)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed['resourceType']}/{seed['id']}")
def test_realistic_resources_take_the_fast_path(seed: Json) -> None:
    assert validity.accepts(seed)
    assert model_accepts(seed)
    reading = intake.read(seed, "Thing/1")
    assert reading.resource is seed
    assert reading.faults == ()


def test_seeds_cover_every_readable_type() -> None:
    assert {seed["resourceType"] for seed in SEEDS} == validity.READABLE


def test_an_extension_with_two_values_is_never_accepted() -> None:
    (group,) = validity.shape("Extension").choices
    samples = Mutator(0).by_name
    for name in group:
        extension = {"url": "http://example.org/x", "valueString": "x", name: samples.get(name, "x")}
        accepted = validity.accepts({"resourceType": "Medication", "extension": [extension]})
        assert accepted == (name == "valueString"), name
