"""Text that came in from a chart, made safe for card Markdown: it shows as text, never as markup."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"[^\w \-]", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def escape(text: str) -> str:
    """HTML character references for everything that Markdown, HTML or a template could read; one line."""
    flat = " ".join(_CONTROL.sub(" ", text).split())
    return _SPECIAL.sub(lambda m: f"&#{ord(m[0])};" if ord(m[0]) < 128 else m[0], flat).replace("_", "&#95;")


def joined(items: list[str], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def lower_first(text: str) -> str:
    """A label inside a sentence: first letter small unless the first word is an abbreviation."""
    first = text.split(" ", 1)[0]
    return text if len(first) > 1 and first[1:] != first[1:].lower() else text[:1].lower() + text[1:]
