"""YAML as content is read: what is a number, where each part stands, and mistakes in an author's words."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cds_service.errors import ContentError
from cds_service.policy.content import kind_of, revision_of
from cds_service.policy.source import Document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("yes", "yes"),
        ("on", "on"),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("7", 7),
        ("07", "07"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("1.", "1."),
        (".5", ".5"),
        ("1e3", "1e3"),
        ("2026-11-01", "2026-11-01"),
        ("'7'", "7"),
        ("[1, a]", [1, "a"]),
        ("{b: 1}", {"b": 1}),
    ],
)
def test_only_json_values_are_not_text(text: str, value: Any) -> None:
    found = Document("f", f"a: {text}\n").data["a"]
    assert found == value
    assert type(found) is type(value)


TEXT = """\
a: 1
b:
  - x
  - c: 2
    d: [3, 4]
7: e
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), (1, 1)),
        (("a",), (1, 1)),
        (("b",), (2, 1)),
        (("b", 0), (3, 5)),
        (("b", 1), (4, 5)),
        (("b", 1, "c"), (4, 5)),
        (("b", 1, "d"), (5, 5)),
        (("b", 1, "d", 1), (5, 12)),
        (("b", 1, "gone"), (4, 5)),
        (("b", 1, "gone", "further"), (4, 5)),
        (("b", 2), (2, 1)),
        (("gone",), (1, 1)),
        (("7",), (6, 1)),
    ],
)
def test_the_place_of_a_part_or_of_what_is_around_it(path: Any, place: tuple[int, int]) -> None:
    assert Document("f", TEXT).position(path) == place
    error = Document("f", TEXT).error(path, "t", "c")
    assert (error.file, error.line, error.column, error.text, error.cure) == ("f", *place, "t", "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c\n", "1:5: a ': ' where a text goes on. Quote the text, or correct the indentation."),
        ("a: 1\nb\nc: 2\n", "3:1: a key without ': '. Write key: value."),
        ("a: [1, 2\nb: 3\n", "2:2: a bracket is not closed. Close it, and separate the parts by commas."),
        (
            "a:\n  b: 1\n c: 2\n",
            "3:2: the indentation does not fit the lines above. Align keys of one level by spaces.",
        ),
        ('a: "b\n', "2:1: a quote is not closed. Close it."),
        ("a: *b\n", "1:4: an alias (*name) without its anchor (&name). Define the anchor before it is used."),
        ("a: !b c\n", "1:4: a YAML tag (!name). Remove it."),
        ("a:\n\t- b\n", "2:1: a tab in the indentation. Use spaces."),
        ("\ta: b\n", "1:1: a tab in the indentation. Use spaces."),
        ("a: @b\n", "1:4: a character that must be quoted to start a text. Quote the text."),
        ("a:\tb\nc: @d\n", "2:4: a character that must be quoted to start a text. Quote the text."),
        ("a: `\tb\n", "1:4: a tab in the indentation. Use spaces."),
        ("a: %b\nc:\td\n", "1:4: a character that must be quoted to start a text. Quote the text."),
        ("a: 1\na: 2\n", "2:1: the key 'a' is here twice. Keep one of them."),
        ("a:\n  b: {c: 1, c: 2}\n", "2:13: the key 'c' is here twice. Keep one of them."),
        ("a: &x [*x]\n", "1:4: an alias (*name) stands inside its own anchor. Write it out."),
        ("a: \x01\n", "1:4: a character that no text has. Remove it, or save the file as UTF-8."),
        ("# nothing\n", "1:1: the file is empty. Fill it in or remove it."),
        ("a: 1\n---\nb: 2\n", "2:1: not valid YAML: but found another document. Correct it."),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(ContentError) as caught:
        Document("f", text)
    assert str(caught.value) == f"f:{message}"


def deep(form: str, levels: int) -> str:
    """A text with a value below so many levels of one form."""
    if form == "keys":
        return "".join(f"{' ' * n}a:\n" for n in range(levels)) + " " * levels + "b"
    opening, closing = {"brackets": ("[", "]"), "braces": ("{a: ", "}"), "dashes": ("- ", ""), "marks": ("? ", "")}[
        form
    ]
    return opening * levels + "b" + closing * levels


FORMS = {"brackets": "1:64", "braces": "1:253", "dashes": "1:127", "keys": "64:64"}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_nested_too_deeply_is_refused_at_the_last_level_permitted(form: str) -> None:
    Document("f", deep(form, 63))
    with pytest.raises(ContentError) as caught:
        Document("f", deep(form, 64))
    assert str(caught.value) == f"f:{FORMS[form]}: nested more than 64 levels deep. Write it with fewer levels."


@pytest.mark.parametrize("form", ["brackets", "braces", "dashes", "marks"])
@pytest.mark.parametrize("command", ["lint", "unmapped"])
def test_what_would_overrun_the_stack_ends_no_process(command: str, form: str, tmp_path: Path) -> None:
    """In a process of its own: libyaml took it down."""
    (tmp_path / "cards").mkdir()
    (tmp_path / "table.yaml").write_text(deep(form, 200_000))
    shutil.copy(tmp_path / "table.yaml", tmp_path / "cards" / "payers.yaml")
    (tmp_path / "request.json").write_text("{}")
    arguments = {"lint": ["cards"], "unmapped": ["request.json", "--client-table", "table.yaml"]}
    done = subprocess.run(
        [sys.executable, "-m", "cds_service.cli", "policy", command, *arguments[command]],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "nested more than 64 levels deep. Write it with" in done.stdout + done.stderr) == (
        10,
        True,
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("value_sets/a.yaml", "value-set"),
        ("value_sets/a/b.yaml", "value-set"),
        ("value_sets/a.yml", None),
        ("procedures.yaml", "procedures"),
        ("payers.yaml", "payers"),
        ("other.yaml", None),
        ("a/b/policy.yaml", "policy"),
        ("a/b/card.yaml", "card"),
        ("a/b/cases.yaml", "cases"),
        ("a/b/notes.yaml", None),
        ("a/policy.yaml", None),
        ("a/b/c/policy.yaml", None),
        ("_default/b/card.yaml", None),
        ("_schema/x.json", None),
        ("a/b/policy.json", None),
    ],
)
def test_what_a_file_is_by_its_name(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_the_revision_tells_names_texts_and_their_bounds() -> None:
    texts = [{"a": "1"}, {"b": "1"}, {"a": "2"}, {"a": "1", "b": ""}, {"a": "", "b": "1"}, {}]
    assert len({revision_of(t) for t in texts}) == len(texts)
    assert revision_of({"a": "1", "b": "2"}) == revision_of({"b": "2", "a": "1"})
