"""Value sets as they are looked up: codes, prefixes, words and their denials, and sets that include sets."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest

from cds_service.content_files import load_rulebook
from cds_service.policy.case import Code, Order
from cds_service.policy.code_sets import compile_set
from cds_service.policy.mentions import READ
from cds_service.policy.model import ProcedureCode, ValueSet
from cds_service.policy.vocabulary import Vocabulary, compile_vocabulary


def value_set(own: str, **parts: Any) -> ValueSet:
    source = {"title": "S", "confidence": "seen"}
    return ValueSet.model_validate({"format": 1, "id": own, "title": own, "source": source, **parts})


def named(own: str, texts: list[str], codes: tuple[Code, ...] = ()) -> str | None:
    """The term that the texts name for certain."""
    mention = VOCABULARY.sets[own].mention_in(texts, codes)
    return mention.term if mention is not None and mention.sure else None


def code(value: str, system: str = "cpt", **parts: Any) -> dict[str, Any]:
    return {"system": system, "code": value, "label": f"label {value}", **parts}


def prefix(value: str, label: str) -> dict[str, Any]:
    return {"system": "icd-10-cm", "prefix": value, "label": label}


SETS = {
    s.id: s
    for s in (
        value_set("one", codes=[code("1"), code("2", "hcpcs")], prefixes=[prefix("M48", "wide")]),
        value_set("two", includes=["one"], codes=[code("1", region=["lumbar"])], prefixes=[prefix("M48.02", "own")]),
        value_set("three", includes=["two", "four"], terms=["outer"]),
        value_set("four", includes=["three"], codes=[code("4")], terms=["in.ner", "two words"], patterns=["rx[0-9]+"]),
        value_set("beside", with_code={"value_set": "one", "terms": ["M"], "patterns": ["k[ls]"]}),
        value_set("above", includes=["beside"]),
    )
}  # fmt: skip
ENTRY = ProcedureCode.model_validate({**code("1"), "role": "graft"})
VOCABULARY = compile_vocabulary(SETS, {Code("cpt", "1"): ENTRY})


@pytest.mark.parametrize(
    ("own", "system", "value", "label"),
    [
        ("one", "cpt", "1", "label 1"),
        ("one", "hcpcs", "2", "label 2"),
        ("one", "cpt", "2", None),
        ("one", "icd-10-cm", "M48", "wide"),
        ("one", "icd-10-cm", "M48.06", "wide"),
        ("one", "icd-10-cm", "M47", None),
        ("one", "icd-10-pcs", "M48", None),
        ("two", "cpt", "1", "label 1"),
        ("two", "hcpcs", "2", "label 2"),
        ("two", "icd-10-cm", "M48.02", "own"),
        ("two", "icd-10-cm", "M48.03", "wide"),
        ("three", "cpt", "4", "label 4"),
        ("three", "cpt", "1", "label 1"),
        ("four", "cpt", "1", "label 1"),
        ("beside", "cpt", "1", None),
    ],
)
def test_members(own: str, system: str, value: str, label: str | None) -> None:
    found = VOCABULARY.sets[own].find(Code(system, value))
    assert (found.label if found else None) == label
    assert (own in VOCABULARY.sets_of(Code(system, value))) is (label is not None)


def test_a_set_has_the_last_word_on_its_own_codes() -> None:
    found = VOCABULARY.sets["two"].find(Code("cpt", "1"))
    assert found is not None
    assert found.region == ["lumbar"]
    assert VOCABULARY.sets["two"].title == "two"


def test_the_first_code_that_is_a_member() -> None:
    codes = (Code("cpt", "9"), Code("hcpcs", "2"), Code("cpt", "1"))
    found = VOCABULARY.sets["one"].first(codes)
    assert found is not None
    assert found[0] == Code("hcpcs", "2")
    assert VOCABULARY.sets["one"].first(codes[:1]) is None


@pytest.mark.parametrize(
    ("own", "systems", "reads"),
    [
        ("one", {"cpt", "hcpcs", "icd-10-cm"}, False),
        ("four", {"cpt", "hcpcs", "icd-10-cm"}, True),
        ("beside", set(), True),
        ("above", set(), True),
    ],
)
def test_systems_and_words(own: str, systems: set[str], reads: bool) -> None:
    assert (VOCABULARY.sets[own].systems, VOCABULARY.sets[own].reads_text) == (systems, reads)


@pytest.mark.parametrize(
    ("own", "text", "term"),
    [
        ("four", "with in.ner bone", "in.ner"),
        ("four", "with inxner bone", None),
        ("four", "with In.Ner, please", "In.Ner"),
        ("four", "dinner, in.ners", None),
        ("four", "two words", "two words"),
        ("four", "two  words", None),
        ("four", "rx12", "rx12"),
        ("four", "no rx12 but rx13", "rx13"),
        ("three", "outer", "outer"),
        ("three", "two words", "two words"),
        ("one", "outer", None),
        ("four", "no two words", None),
        ("four", "no graft of two words", None),
        ("four", "no a b c d e two words", None),
        ("four", "no infection. two words", "two words"),
        ("four", "no infection, two words", "two words"),
        ("four", "no 1.5 cc two words", None),
        ("four", "two words not used", None),
        ("four", "two words will not be used", None),
        ("four", "two words is contraindicated", None),
        ("four", "two words. not used", "two words"),
        ("four", "two words, declined before", None),
        ("four", "instead of two words", None),
        ("four", "declining two words", None),
    ],
)
def test_words_of_a_text(own: str, text: str, term: str | None) -> None:
    assert named(own, [text]) == term
    assert named(own, ["nothing", text]) == term


@pytest.mark.parametrize("own", ["beside", "above"])
@pytest.mark.parametrize(
    ("text", "codes", "term"),
    [
        ("size M", (Code("cpt", "9"), Code("cpt", "1")), "M"),
        ("ks", (Code("cpt", "1"),), "ks"),
        ("size M", (Code("cpt", "9"),), None),
        ("size M", (), None),
        ("size L", (Code("cpt", "1"),), None),
        ("no M", (Code("cpt", "1"),), None),
    ],
)
def test_words_that_count_beside_a_code(own: str, text: str, codes: tuple[Code, ...], term: str | None) -> None:
    assert named(own, [text], codes) == term


@pytest.mark.parametrize(
    ("codes", "texts", "own", "how"),
    [
        ((Code("cpt", "9"), Code("cpt", "1")), (), "one", "cpt 1"),
        ((Code("cpt", "1"),), ("two words",), "four", "cpt 1"),
        ((Code("cpt", "9"),), ("two words",), "four", "text: two words"),
        ((Code("cpt", "9"),), ("other",), "four", None),
        ((Code("cpt", "9"),), (), "four", None),
        ((), (), "one", None),
        ((Code("cpt", "1"),), ("M",), "beside", "text: M"),
    ],
)
def test_how_an_order_belongs_to_a_set(codes: Any, texts: tuple[str, ...], own: str, how: str | None) -> None:
    assert VOCABULARY.matches(Order("ServiceRequest/o", codes, texts=texts), own) == how


def test_the_catalogue_by_the_first_known_code() -> None:
    codes = (Code("cpt", "9"), Code("cpt", "1"))
    assert VOCABULARY.procedure(codes) is ENTRY
    assert VOCABULARY.procedure(codes[:1]) is None
    assert (VOCABULARY.label(codes[1]), VOCABULARY.label(codes[0])) == ("label 1", "")


def test_a_set_that_is_not_there_is_left_out() -> None:
    lonely = {"a": value_set("a", includes=["gone"], codes=[code("1")])}
    assert set(compile_set(lonely, "a").codes) == {Code("cpt", "1")}


def test_what_is_remembered_of_codes_stays_within_bounds() -> None:
    vocabulary = Vocabulary(VOCABULARY.sets, {})
    for number in range(5000):
        assert vocabulary.sets_of(Code("cpt", f"x{number}")) == frozenset()
    assert vocabulary.sets_of(Code("cpt", "4")) == {"three", "four"}
    assert vocabulary.sets_of(Code("cpt", "4")) == {"three", "four"}


CLINICAL, OTHER = Code("snomed", "305351004"), Code("snomed", "7")


@pytest.mark.parametrize(
    ("mine", "theirs", "same"),
    [
        ((Code("cpt", "1"), CLINICAL), (Code("cpt", "1"),), True),
        ((Code("cpt", "1"), CLINICAL), (Code("cpt", "2"), CLINICAL), False),
        ((Code("cpt", "1"), CLINICAL), (CLINICAL,), False),
        ((Code("hcpcs", "A1"), CLINICAL), (CLINICAL, Code("hcpcs", "A1")), True),
        ((Code("hcpcs", "A1"), CLINICAL), (CLINICAL, Code("hcpcs", "A2")), False),
        ((Code("cpt", "1"), Code("hcpcs", "A1")), (Code("cpt", "2"), Code("hcpcs", "A1")), False),
        ((CLINICAL, OTHER), (OTHER, CLINICAL), True),
        ((CLINICAL, OTHER), (CLINICAL,), False),
        ((), (), False),
    ],
)
def test_orders_of_one_service(mine: tuple[Code, ...], theirs: tuple[Code, ...], same: bool) -> None:
    assert VOCABULARY.same_service(mine, theirs) is same
    assert VOCABULARY.same_service(theirs, mine) is same


@pytest.mark.parametrize("text", ["no rx12 " * 125_000, "no " * 333_000, "." * 1_000_000, " rx12 not used" * 70_000])
def test_a_text_of_a_megabyte_takes_no_time(text: str) -> None:
    started = process_time()
    for names in ("three", "four"):
        assert named(names, [text]) is None
    assert process_time() - started < 0.1


def test_texts_are_read_up_to_a_length_in_all() -> None:
    assert named("four", ["x" * (READ - 6), " rx12"]) == "rx12"
    assert named("four", ["x" * READ, " rx12"]) is None


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("no " + "-" * 300 + " rx12", "rx12"),
        ("kim" + "o" * 300 + " no rx12", None),
        ("rx12 " + "-" * 300 + "not used", "rx12"),
    ],
)
def test_a_denial_reaches_a_few_words(text: str, term: str | None) -> None:
    assert named("four", [text]) == term


def test_later_care_and_sequelae_can_be_left_out_of_a_set() -> None:
    """By the seventh character of complete codes, also of those in sets that it includes."""
    vocabulary = load_rulebook().vocabulary
    for number, fresh in {"S12.500A": True, "S12.500S": False, "S12.500D": False, "S12.5": True}.items():
        sets = vocabulary.sets_of(Code("icd-10-cm", number))
        assert {"fresh-spine-trauma", "fracture-or-trauma"} & sets == (
            {"fresh-spine-trauma", "fracture-or-trauma"} if fresh else {"fracture-or-trauma"}
        ), number
