"""Text that came in from a chart shows as text, whatever it holds."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cds_service.render.markdown import escape, joined, lower_first

CLIENT = MarkdownIt("gfm-like", {"html": True, "linkify": False})


def shown(markdown: str) -> tuple[set[str], str]:
    """Elements and text of what a liberal client makes of Markdown."""
    made = CLIENT.render(markdown)
    return set(re.findall(r"<(/?[a-zA-Z][^ >/]*)", made)), html.unescape(re.sub(r"<[^>]*>", "", made))


@given(st.text(max_size=200))
@example("-")
@example("- - x")
def test_any_text_is_one_line_of_plain_text(text: str) -> None:
    tags, read = shown(f"- {escape(text)} end")
    assert tags == {"ul", "/ul", "li", "/li"}
    flat = " ".join(re.sub(r"[\x00-\x1f\x7f]+", " ", text).split())
    assert " ".join(read.split()) == " ".join(f"{flat} end".split())


SIGNS = [
    "*", "_", "`", "[", "](", ")", "<", ">", "&", "#", "|", "~~", "\\", "!", "{{", "}}", "\n", "- ", "1. ", "a", " ",
    "https://x.y", "=", "---", ":",
]  # fmt: skip
MARKUP = st.lists(st.sampled_from(SIGNS), max_size=30).map("".join)


@given(MARKUP)
def test_markup_above_all(text: str) -> None:
    for before, after in (("", " end"), ("word ", ""), ("(", ")"), ("**label** ", " **x**")):
        tags, _ = shown(f"start {before}{escape(text)}{after}")
        assert tags <= {"p", "/p", "strong", "/strong"}
    assert not re.search(r"[<>*`\[\]{}|~\\#!:_]", re.sub(r"&#\d+;", "", escape(text)))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("C4-C6 stenosis", "C4-C6 stenosis"),
        ("-2 - x", "&#45;2 - x"),
        ("<b>", "&#60;b&#62;"),
        ("&lt;", "&#38;lt&#59;"),
        ("a_b", "a&#95;b"),
        ("one\r\ntwo\x00three\t four", "one two three four"),
        ("Größe μ 漢字", "Größe μ 漢字"),
        ("", ""),
    ],
)
def test_escapes(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@pytest.mark.parametrize(
    ("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists_in_a_sentence(items: list[str], text: str) -> None:
    assert joined(items) == text


@pytest.mark.parametrize(
    ("label", "inside"),
    [("Bone marrow", "bone marrow"), ("CT of the spine", "CT of the spine"), ("X", "x"), ("", ""), ("rhBMP", "rhBMP")],
)
def test_a_label_inside_a_sentence(label: str, inside: str) -> None:
    assert lower_first(label) == inside
