"""Terms in an order's own text: what is read of it, and which mentions count, for a denied one is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

# A term is not a mention when its own clause denies it: "no BMP", "without rhBMP-2", "BMP not used".
_DENIED_BEFORE = re.compile(
    r"\b(?:no|not|non|without|never|avoid(?:ing)?|instead of|rather than|declin\w+|refus\w+|excluding|contraindicat\w+"
    r"|allerg\w+ to|do not use|free of)\b(?:\W+\w+){0,4}\W*$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\W*(?:(?:is|was|are|were|will be|to be|will|shall|should|must)\W+)?"
    r"(?:not|never|contraindicated|declined|refused|avoided|omitted)\b",
    re.IGNORECASE,
)
# A denial reaches a few words, and an order's text is short: more is not looked at, so that no text takes long.
_REACH = 120
_MENTIONS = 100
READ = 10_000
# Where a denial ends: it reaches neither over a comma nor into the next sentence.
_BOUNDARY = re.compile(r"[;:\n]|[.,](?!\d)|\b(?:but|however|and use|so|therefore|thus|hence)\b", re.IGNORECASE)


def legible(texts: Sequence[str]) -> Sequence[str]:
    """Texts as far as they are read: their first 10,000 characters in all."""
    if sum(map(len, texts)) <= READ:
        return texts
    left, found = READ, []
    for text in texts:
        found.append(text[:left])
        left -= len(found[-1])
    return found


def _denied(text: str, start: int, end: int) -> bool:
    first, last = max(0, start - _REACH), end + _REACH
    for boundary in _BOUNDARY.finditer(text, first, start):
        first = boundary.end()
    if boundary_after := _BOUNDARY.search(text, end, last):
        last = boundary_after.start()
    return bool(_DENIED_BEFORE.search(text, first, start) or _DENIED_AFTER.match(text, end, last))


def mentioned(expression: re.Pattern[str], texts: Sequence[str]) -> str | None:
    """The first match of an expression in texts that its own clause does not deny."""
    for text in legible(texts):
        for match in islice(expression.finditer(text), _MENTIONS):
            if not _denied(text, match.start(), match.end()):
                return match.group(0)
    return None
