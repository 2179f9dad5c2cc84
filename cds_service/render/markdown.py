"""Text that came in from a chart, made safe for card Markdown: it shows as text, never as markup."""

from __future__ import annotations

import string

_PLAIN = f"{string.ascii_letters}{string.digits} -"
# Every character of ASCII as it shows: translating one that is not in the table would cost an error.
_SHOWN = {n: chr(n) if chr(n) in _PLAIN else f"&#{n};" if chr(n).isprintable() else " " for n in range(128)}


def escape(text: str) -> str:
    """HTML character references for everything that Markdown, HTML or a template could read; one line."""
    shown = " ".join(text.translate(_SHOWN).split())
    return f"&#45;{shown[1:]}" if shown.startswith("-") else shown  # after "- ", a dash would begin a list in the list


def joined(items: list[str], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def lower_first(text: str) -> str:
    """A label inside a sentence: first letter small unless the first word is an abbreviation."""
    first = text.split(" ", 1)[0]
    return text if len(first) > 1 and first[1:] != first[1:].lower() else text[:1].lower() + text[1:]
