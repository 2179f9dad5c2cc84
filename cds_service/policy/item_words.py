"""The words of governed items: whether a text names one of the things that policies speak to, by the label it has here.

Not how an order is judged (terms of value sets do that), only how it is noticed that one may have to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Words = frozenset[str]
Labels = Sequence[tuple[Words, str]]

_WORD = re.compile(r"[a-z0-9]+")
_SMALL = frozenset(
    {
        "a", "an", "and", "any", "at", "by", "for", "from", "in", "of", "on", "or", "other", "per", "the", "to", "with",
        "without",
    }
)  # fmt: skip
_STEM = 7  # aspirate and aspiration, stimulator and stimulation, morselized and morselised
_HEAD = re.compile(r"[,;(]| for | at ")
_MOST = 1000


def words_of(text: str) -> Words:
    """The words of a text that tell something, each by how it begins; `fusions` as `fusion`."""
    found = (w for w in _WORD.findall(text[:_MOST].lower()) if w not in _SMALL)
    return frozenset(w[:_STEM].removesuffix("s") if len(w) > 3 else w for w in found)


def labels_of(labels: Iterable[str]) -> Labels:
    """Labels with their words, the longest first, for it says most; without the details that they add."""
    made = {words_of(_HEAD.split(label, maxsplit=1)[0]): label for label in sorted(labels, reverse=True)}
    return tuple(sorted(made.items(), key=lambda item: (-len(item[0]), item[1])) if made else ())


def named_in(texts: Iterable[str], labels: Labels) -> str:
    """The label whose words one of the texts has, all of them (a label of one word: and no others); else empty."""
    for text in texts:
        own = words_of(text)
        for words, label in labels:
            if words and (words <= own if len(words) > 1 else words == own):
                return label
    return ""
