"""Every cure, at every place of every seed: what is read equals the plain spelling, and nothing is lost."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from cds_service.facts import elements, validity
from cds_service.facts.intake import Reading, read
from cds_service.facts.repair import READ_EXTENSIONS
from cds_service.facts.validity import Element, Shape
from cds_service.policy.case import Harm

Json = dict[str, Any]
Place = tuple[Any, Any, Shape, Element]  # container, key, the shape that the element is of, the element
SEEDS: list[Json] = json.loads(Path(__file__).with_name("validity_seeds.json").read_text(encoding="utf-8"))
EACH = pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed['resourceType']}/{seed['id']}")
AROUND = (" {}", "{} ", "\t{}\n", "\u00a0{}\u00a0", "\ufeff{}")
TRIMMED = {"canonical", "code", "date", "dateTime", "id", "instant", "oid", "uri", "url"}


def places(value: Json, shape: Shape) -> Iterator[Place]:
    """Every element below a resource or data type, but for what it contains."""
    for name, part in value.items():
        element = shape.elements.get(name)
        if element is None or element.target == "Resource":
            continue
        yield value, name, shape, element
        for key, item in enumerate(part) if isinstance(part, list) else [(None, part)]:
            if key is not None:
                yield part, key, shape, element
            if element.target:
                yield from places(item, validity.shape(element.target))


def primitives(found: Any, shape: Shape, element: Element) -> Iterator[tuple[str, Any]]:
    """Other spellings of one primitive value."""
    kind = element.kind
    padded = kind in TRIMMED or f"{shape.name}.{element.name}" in validity.COMPARED
    if padded and not (element.name == "id" and not shape.is_resource):
        yield from (("blanks", around.format(found)) for around in AROUND)
    if kind == "code" and found.isdigit() and found[0] != "0":
        yield "digits", int(found)
    if element.codes and found.upper() not in element.codes:
        yield from (("case", found.upper()), ("case", f" {found.title()} "))
    if kind == "boolean":
        yield from (("true", str(found)), ("true", f" {str(found).lower()}"))
    if kind in ("decimal", "integer", "positiveInt", "unsignedInt"):
        yield from (("number", json.dumps(found)), ("number", f" {json.dumps(found)} "))
    if kind in ("dateTime", "instant") and "T" in found:
        yield from (("time", found.replace("T", " ")), ("time", found.replace("T", "t").replace("Z", "z")))
        if ":00Z" in found:
            yield from (("time", found.replace(":00Z", "Z")), ("time", found.replace("Z", ",0Z").replace(",0Z", " Z")))
        if re.search(r"[+-]\d\d:\d\d$", found):
            yield "time", found[:-3] + found[-2:]
    if kind == "date" and len(found) == 10:
        yield from (("midnight", f"{found}T00:00:00Z"), ("midnight", f"{found}T00:00:00.000+01:00"))


def spellings(place: Place) -> Iterator[tuple[str, Any]]:
    """Other spellings of what stands at a place, each with the name of its cure."""
    container, key, shape, element = place
    found = container[key]
    if isinstance(container, list):
        yield "list of one", [found]
        return
    if element.kind and not isinstance(found, list):
        yield from primitives(found, shape, element)
    if element.many and len(found) == 1 and f"_{key}" not in container:
        yield "single", found[0]
    if not element.many and key != "id":
        yield "list of one", [found]
    if element.target and not element.many:
        for name in ("extension", "id"):
            if name not in found:
                yield from (("empty", {**found, name: nothing}) for nothing in (None, "", " ", [], {}))
        yield "unknown", {**found, "sourceRow": {"number": 7}}
    if (
        element.target == "CodeableConcept"
        and not element.many
        and list(found) == ["coding"]
        and len(found["coding"]) == 1
    ):
        yield "coding", found["coding"][0]
    if element.many:
        yield from (("empty", [*found, nothing]) for nothing in (None, {}, [], ""))


def at(resource: Json, number: int) -> Place:
    return list(places(resource, validity.shape(resource["resourceType"])))[number]


def harmless(reading: Reading) -> bool:
    return not reading.faulty and bool(reading.faults) and all(f.harm is Harm.NONE for f in reading.faults)


@EACH
def test_what_is_cured_reads_as_its_plain_spelling(seed: Json) -> None:
    tried: Counter[str] = Counter()
    for number, place in enumerate(places(seed, validity.shape(seed["resourceType"]))):
        for name, spelling in spellings(place):
            spelt = copy.deepcopy(seed)
            container, key, _, _ = at(spelt, number)
            container[key] = spelling
            reading = read(spelt, "Thing/1")
            assert reading.resource == seed, (name, key, spelling, reading.faults)
            assert harmless(reading), (name, key, spelling, reading.faults)
            tried[name] += 1
    assert tried.keys() >= {"empty", "list of one"}


def test_every_cure_is_tried() -> None:
    every = {n for s in SEEDS for p in places(s, validity.shape(s["resourceType"])) for n, _ in spellings(p)}
    assert every == {
        "blanks", "digits", "case", "true", "number", "time", "midnight",
        "single", "list of one", "empty", "unknown", "coding",
    }  # fmt: skip


@EACH
def test_a_time_without_zone_keeps_its_day_and_is_no_instant(seed: Json) -> None:
    for number, (container, key, _, element) in enumerate(places(seed, validity.shape(seed["resourceType"]))):
        found = container[key]
        if element.kind in ("dateTime", "instant") and isinstance(found, str) and "T" in found:
            bare = re.sub(r"(?:Z|[+-]\d\d:\d\d)$", "", found)
            spelt, wanted = copy.deepcopy(seed), copy.deepcopy(seed)
            for each in (spelt, wanted):
                its, own, _, _ = at(each, number)
                its[own] = bare
            reading = read(spelt, "Thing/1")
            assert reading.resource == wanted
            assert harmless(reading)
            assert elements.moment(bare) == elements.day(found)


ODD: list[Any] = [
    "Zq7", 7, True, -1.5, [], {}, [None], ["a", "b"], {"foo": 1}, [{"foo": {"bar": 1}}, 5], {"extension": [{"url": 5}]},
    {"reference": 5}, {"coding": "x"}, {"start": "soon"}, [{"url": "http://x", "valueDateTime": "soon"}],
    "2026-02-30", {"value": "much"}, {"div": 5}, {"lastUpdated": "now"},
]  # fmt: skip


@EACH
def test_an_odd_element_costs_no_other_element(seed: Json) -> None:
    shape = validity.shape(seed["resourceType"])
    for name in set(seed) - {"resourceType", "modifierExtension"}:
        for odd in ODD:
            reading = read({**seed, name: odd}, "Thing/1")
            assert reading.resource is not None, (name, odd)
            others = {n: v for n, v in seed.items() if n.lstrip("_") != name.lstrip("_")}
            kept = {n: v for n, v in reading.resource.items() if n.lstrip("_") != name.lstrip("_")}
            assert kept == others, (name, odd)
            assert reading.faulty <= {name.lstrip("_")}, (name, odd)
    assert shape.name == seed["resourceType"]


@EACH
def test_a_broken_extension_anywhere_costs_only_itself(seed: Json) -> None:
    broken = [
        {"url": "http://example.org/ours", "valueDateTime": "soon"},
        {"url": "http://example.org/a", "valueFoo": 1},
    ]
    for number, (container, key, _, element) in enumerate(places(seed, validity.shape(seed["resourceType"]))):
        if element.target and isinstance(container[key], dict) and element.name != "extension":
            spelt = copy.deepcopy(seed)
            its, own, _, _ = at(spelt, number)
            its[own] = {**its[own], "extension": [*its[own].get("extension", []), broken[0]]}
            reading = read(spelt, "Thing/1")
            assert reading.resource == seed, (key, reading.faults)
            assert harmless(reading), (key, reading.faults)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authoredOn", "11/12/2026"),
        ("authoredOn", "20261112"),
        ("authoredOn", "2026-11-12T25:00:00"),
        ("authoredOn", 1767225600),
        ("doNotPerform", 1),
        ("doNotPerform", "no"),
        ("quantityQuantity", {"value": "2,5"}),
        ("quantityQuantity", {"value": "two"}),
        ("quantityQuantity", {"value": "0x2"}),
        ("quantityQuantity", {"value": "١"}),
        ("status", "drafted"),
        ("code", {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": 20939.0}]}),
        ("code", {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": True}]}),
        ("subject", [{"reference": "Patient/1"}, {"reference": "Patient/2"}]),
    ],
)
def test_what_could_mean_two_things_is_not_guessed(name: str, value: Any) -> None:
    order = {"resourceType": "ServiceRequest", "id": "x", "intent": "order", name: value}
    reading = read(order, "ServiceRequest/x")
    assert name not in (reading.resource or {})
    assert reading.faulty == {name}


def test_every_extension_that_is_read_begins_as_intake_knows() -> None:
    """Losing any other extension costs nothing: so no other may be read."""
    read_urls = set()
    for path in (ROOT / "cds_service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _URL.fullmatch(node.value):
                read_urls.add(node.value)
    assert len(read_urls) >= 4
    others = {url for url in read_urls if not url.startswith(READ_EXTENSIONS)}
    assert others <= WRITTEN, others


_URL = re.compile(r"http://\S+/StructureDefinition/[\w-]+")
# In questionnaires that are written here.
WRITTEN = {
    "http://hl7.org/fhir/StructureDefinition/questionnaire-itemControl",
    "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire",
}
