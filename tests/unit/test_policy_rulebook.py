"""Which policies speak to an order: by payer, day, code, prefix and words, from a folder and from a compiled file."""

from __future__ import annotations

import json
from datetime import date
from functools import cache
from hashlib import sha256
from time import process_time
from typing import Any

import pytest
from support.small import DAY, Json, book, files, item, order, policy, rule

from cds_service.determination.decision import Determination
from cds_service.errors import ContentError
from cds_service.policy.case import Code, Order
from cds_service.policy.compiled import dump, load
from cds_service.policy.content import read
from cds_service.policy.criteria_used import used_criteria
from cds_service.policy.rulebook import ALL_PAYERS, Rulebook, compile_content, within
from cds_service.render.policies import Policies

CRITERIA = {
    "ill": {"text": "Ill.", "condition": {"value_set": "illness"}},
    "asked": {"text": "Asked.", "age": {"at_least": 1}, "ask": {"question": "?"}},
    "high": {"text": "High.", "observation": {"value_set": "fusion", "present": True}},
    "spare": {"text": "Spare.", "procedure": {"value_set": "fusion"}},
    "beside": {"text": "Beside.", "companion": {"value_set": "fusion"}},
}


def dated(start: str | None, end: str | None, number: str) -> Json:
    return {"effective": {"from": start, "to": end}, "version": number}


def bone(own: str, when: Any = "ill", kind: str = "coverage", payer: str = "acme", **version: Any) -> Json:
    orders = {"bone": item("bone", rule("r", when, "supported"))}
    return policy(own, kind, (payer,), criteria=CRITERIA, orders=orders, **version)


POLICIES = (
    bone("a/one", **dated("2026-01-01", "2026-06-30", "1")),
    bone("a/two", "asked", **dated("2026-07-01", None, "1")),
    bone("b/one", "high", payer="beta", **dated(None, "2025-12-31", "1")),
    bone("g/one", "always", "guideline"),
    policy("g/two", "guideline", orders={"marrow": item("marrow", otherwise="supported")}),
    policy(
        "r/one",
        "safety",
        criteria=CRITERIA,
        findings=[{"id": "f", "about": "bone", "when": "beside", "text": "t", "cite": ["s"]}],
    ),
)


@cache
def books() -> dict[str, Rulebook]:
    return {"folder": book(*POLICIES), "file": load(dump(read(files(*POLICIES))))}


def test_a_compiled_file_keeps_the_words_for_lines_of_business() -> None:
    texts = files(*POLICIES)
    lines = [{"means": ["medicare", "medicare-advantage"], "names": ["Medicare"]}]
    registry = json.loads(texts["payers.yaml"]) | {"lines": lines}
    found = load(dump(read({**texts, "payers.yaml": json.dumps(registry)}))).content.lines
    assert [n.model_dump() for n in found] == lines
    assert books()["file"].content.lines == ()


BOTH = pytest.mark.parametrize("form", ["folder", "file"])


@BOTH
@pytest.mark.parametrize(
    ("code", "payer", "day", "ids"),
    [
        ("20930", "acme", "2026-06-01", ["a/one"]),
        ("20930", "acme", "2026-06-30", ["a/one"]),
        ("20930", "acme", "2026-01-01", ["a/one"]),
        ("20930", "acme", "2025-12-31", []),
        ("20930", "acme", "2026-07-01", ["a/two"]),
        ("20930", "beta", "2025-12-31", ["b/one"]),
        ("20930", "beta", "2026-01-01", []),
        ("20930", "state", "2026-06-01", []),
        ("20930", ALL_PAYERS, "2026-06-01", ["g/one", "r/one"]),
        ("20939", ALL_PAYERS, "2026-06-01", ["g/two"]),
        ("99999", "acme", "2026-06-01", []),
    ],
)
def test_who_speaks(form: str, code: str, payer: str, day: str, ids: list[str]) -> None:
    rulebook = books()[form]
    for _ in range(2):
        found = rulebook.speaking(order(code), payer, date.fromisoformat(day))
        assert [v.policy.id for v in found] == ids


@BOTH
def test_words_of_an_order_count_beside_its_codes(form: str) -> None:
    rulebook = books()[form]
    told = order("20930", texts=("with aspirate",))
    assert [v.policy.id for v in rulebook.speaking(told, ALL_PAYERS, DAY)] == ["g/one", "g/two", "r/one"]
    assert [v.policy.id for v in rulebook.speaking(order("20930"), ALL_PAYERS, DAY)] == ["g/one", "r/one"]
    twice = Order("ServiceRequest/o", (Code("cpt", "20930"), Code("cpt", "20930"), Code("cpt", "20939")))
    assert [v.policy.id for v in rulebook.speaking(twice, ALL_PAYERS, DAY)] == ["g/one", "g/two", "r/one"]


@BOTH
@pytest.mark.parametrize(
    ("code", "texts", "day", "reads"),
    [
        ("20930", (), "2026-06-01", {"conditions", "orders", "active-orders", ""}),
        ("20930", (), "2026-07-01", {"patient", "answers", "orders", "active-orders", ""}),
        ("20930", (), "2025-12-31", {"observations", "orders", "active-orders", ""}),
        ("20939", (), "2026-06-01", {""}),
        ("99999", ("aspirate",), "2026-06-01", {""}),
        ("99999", ("no aspirate",), "2026-06-01", set()),
        ("99999", (), "2026-06-01", set()),
    ],
)
def test_what_concerns_an_order_is_known_without_building_a_policy(
    form: str, code: str, texts: tuple[str, ...], day: str, reads: set[str]
) -> None:
    rulebook = books()[form]
    for _ in range(2):
        found = rulebook.concerning(order(code, texts=texts), date.fromisoformat(day))
        assert {s for o in found for s in (o.reads or {""})} == reads


@BOTH
def test_an_outline_spans_the_versions_that_read_the_same(form: str) -> None:
    (found,) = [o for o in books()[form].outlines["bone"] if o.reads == {"conditions"}]
    assert (found.kind, found.status, found.start, found.end) == (
        "coverage", "submitted", date(2026, 1, 1), date(2026, 6, 30),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spans", "start", "end"),
    [
        ((("2026-01-01", "2026-02-01"), ("2026-03-01", "2026-04-01")), "2026-01-01", "2026-04-01"),
        ((("2026-03-01", "2026-04-01"), ("2026-01-01", "2026-02-01")), "2026-01-01", "2026-04-01"),
        (((None, "2026-02-01"), ("2026-03-01", "2026-04-01")), None, "2026-04-01"),
        ((("2026-01-01", "2026-02-01"), ("2026-03-01", None)), "2026-01-01", None),
        ((("2026-03-01", None), ("2026-01-01", "2026-02-01")), "2026-01-01", None),
    ],
)
def test_outlines_of_several_spans(spans: Any, start: str | None, end: str | None) -> None:
    body = bone("a/one")
    (version,) = body["versions"]
    rows = [{**version, **dated(*span, str(n))} for n, span in enumerate(spans)]
    (found,) = book({**body, "versions": rows}).outlines["bone"]
    assert (str(found.start or ""), str(found.end or "")) == (start or "", end or "")


@BOTH
def test_what_the_whole_content_reads(form: str) -> None:
    rulebook = books()[form]
    assert rulebook.reads == {
        "conditions", "patient", "answers", "observations", "procedures", "orders", "active-orders",
    }  # fmt: skip
    assert rulebook.observed == {"fusion"}
    assert len(rulebook.revision) == 64


@BOTH
def test_criteria_that_something_uses(form: str) -> None:
    versions = {v.policy.id: v for v in books()[form].versions}
    assert used_criteria(versions["a/one"].version) == {"ill"}
    assert used_criteria(versions["r/one"].version) == {"beside"}
    assert used_criteria(versions["g/one"].version) == set()


@BOTH
def test_a_version_tells_its_sources_and_its_name(form: str) -> None:
    rulebook = books()[form]
    assert rulebook.versions[0].key == "a/one@1"
    said = Determination("primary", "supported", policy="a/one", version="1")
    references = Policies(rulebook.folders, rulebook.vocabulary).references(said)
    assert references == [{"id": "s", "title": "S", "confidence": "recalled"}]


@pytest.mark.parametrize(
    ("start", "end", "inside"),
    [(None, None, True), (DAY, DAY, True), (None, DAY, True), (DAY, None, True),
     (date(2026, 6, 2), None, False), (None, date(2026, 5, 31), False)],
)  # fmt: skip
def test_days_within_effective_dates(start: date | None, end: date | None, inside: bool) -> None:
    assert within((start, end), DAY) is inside


@pytest.mark.parametrize(
    ("prefix", "code", "speaks"),
    [("2", "2", True), ("2", "29", True), ("20", "2", False), ("20", "209", True), ("20", "21", False)],
)
def test_an_order_is_found_by_the_prefix_of_its_code(prefix: str, code: str, speaks: bool) -> None:
    texts = files(bone("a/one"))
    prefixes = f'"prefixes": [{{"system": "cpt", "prefix": "{prefix}", "label": "p"}}], "codes":'
    wide = texts["value_sets/bone.yaml"].replace('"codes":', prefixes)
    for rulebook in (compile_content(content := read({**texts, "value_sets/bone.yaml": wide})), load(dump(content))):
        assert [v.policy.id for v in rulebook.speaking(order(code), "acme", DAY)] == (["a/one"] if speaks else [])
        assert bool(rulebook.concerning(order(code), DAY)) is speaks


def test_a_folder_without_policies_speaks_to_nothing() -> None:
    for told in (order("20930"), order("20930", texts=("aspirate",))):
        assert list(book().speaking(told, ALL_PAYERS, DAY)) == []
        assert book().concerning(told, DAY) == ()


# --- the compiled file as a mapping and a sequence --------------------------------------------------


def test_the_file_holds_what_the_folder_holds() -> None:
    folder, file = books()["folder"], books()["file"]
    assert list(file.folders) == list(folder.folders)
    assert len(file.folders) == 6
    assert "a/one" in file.folders
    assert "a/none" not in file.folders
    with pytest.raises(KeyError):
        file.folders["a/none"]
    assert file.folders["a/one"].policy == folder.folders["a/one"].policy
    assert file.folders["a/one"] is file.folders["a/one"]
    assert file.content.payers == folder.content.payers
    assert file.content.procedures == folder.content.procedures
    assert dict(file.content.value_sets) == dict(folder.content.value_sets)
    assert file.revision == folder.revision


def test_versions_by_number() -> None:
    versions = books()["file"].versions
    assert len(versions) == 6
    assert [v.policy.id for v in versions[1:3]] == ["a/two", "b/one"]
    assert versions[5].policy.id == "r/one"
    for number in (6, -1):
        with pytest.raises(IndexError):
            versions[number]


def test_sets_of_codes_and_of_prefixes() -> None:
    body = bone("a/one")
    texts = files(body)
    illness = texts["value_sets/illness.yaml"].replace('"codes":', '"prefixes": [{"system": "icd-10-cm", '
                                                       '"prefix": "M4", "label": "p"}], "codes":')  # fmt: skip
    found = load(dump(read({**texts, "value_sets/illness.yaml": illness}))).vocabulary
    for value, sets in (
        ("M48.02", {"illness"}),
        ("M4", {"illness"}),
        ("M47", {"illness"}),
        ("M", set()),
        ("M5", set()),
    ):
        assert found.sets_of(Code("icd-10-cm", value)) == sets
    one = illness.replace('"M4"', '"M"')
    short = load(dump(read({**texts, "value_sets/illness.yaml": one}))).vocabulary
    assert short.sets_of(Code("icd-10-cm", "M")) == short.sets_of(Code("icd-10-cm", "M1")) == {"illness"}
    assert found.sets_of(Code("cpt", "M4")) == frozenset()
    assert found.sets_of(Code("cpt", "20930")) == {"bone"}


def test_a_file_that_is_damaged_or_of_another_kind() -> None:
    data = dump(read(files(bone("a/one"))))
    for broken, text in (
        (data[1:], "f:1:1: not a file made by 'policy build'. Build it from a cards folder."),
        (data + b" ", "f:1:1: the file is damaged: its hash does not fit. Build it again."),
        (data.partition(b"\n")[0], "f:1:1: the file is damaged: its hash does not fit. Build it again."),
    ):
        with pytest.raises(ContentError) as caught:
            load(broken, "f")
        assert str(caught.value) == text


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b'"kind":"coverage"', b'"kind":"coverags"', "holds a policy that is not valid. Build it again."),
        (b'"shape":"', b'"shape":"-', "built by another version of this program. Build it again."),
    ],
)
def test_a_file_that_is_whole_and_cannot_be_used(old: bytes, new: bytes, text: str) -> None:
    head, _, rest = dump(read(files(bone("a/one")))).partition(b"\n")
    rest = rest.replace(old, new)
    magic = head[: -len(sha256(b"").hexdigest())]
    with pytest.raises(ContentError) as caught:
        list(load(magic + sha256(rest).hexdigest().encode() + b"\n" + rest, "f").versions)
    assert str(caught.value) == f"f:1:1: {text}"


@BOTH
def test_a_code_of_any_length_is_looked_up_at_once(form: str) -> None:
    rulebook = books()[form]
    endless = Order("ServiceRequest/o", (Code("cpt", "9" * 500_000),))
    started = process_time()
    assert rulebook.vocabulary.sets_of(endless.codes[0]) == frozenset()
    assert rulebook.speaking(endless, "acme", DAY) == ()
    assert process_time() - started < 0.1
