"""The spine in words and codes: which regions and levels a body site or a text names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from cds_service.policy.case import Order
from cds_service.policy.mentions import legible

_REGION_LETTERS = {"c": "cervical", "t": "thoracic", "l": "lumbar", "s": "sacral"}
_REGION_SIZE = {"c": 7, "t": 12, "l": 5, "s": 1}
_REGIONS_OF_WORD = {
    "cervical": ("cervical",),
    "neck": ("cervical",),
    "cervicothoracic": ("cervical", "thoracic"),
    "thoracic": ("thoracic",),
    "thoracolumbar": ("thoracic", "lumbar"),
    "lumbar": ("lumbar",),
    "low back": ("lumbar",),
    "lower back": ("lumbar",),
    "lumbosacral": ("lumbar", "sacral"),
    "sacral": ("sacral",),
}
_REGION_WORDS = re.compile(
    rf"(?<!femoral )(?<!surgical )\b({'|'.join(_REGIONS_OF_WORD)})\b(?! of)", re.IGNORECASE
)  # bones have necks too
# A span (C4-C6, C4-6) or a chain of the same sign (C4-C5-C6, C4-5-6); a number alone after a spaced sign ends a chain.
_LEVELS = re.compile(
    r"\b([CTLS])\s?(\d{1,2})\s?(-|/|\u2013|to|through|thru)\s?"
    r"([CTLS]?\s?\d{1,2}(?:(?:\3|\s?\3\s?(?=[CTLS]))[CTLS]?\s?\d{1,2})*)\b",
    re.IGNORECASE,
)
_LEVEL = re.compile(r"([CTLS])?\s?(\d{1,2})", re.IGNORECASE)
_BODY_REGIONS = {
    "122494005": "cervical",
    "122495006": "thoracic",
    "122496007": "lumbar",
    "54735007": "sacral",
}  # fmt: skip - SNOMED CT structures of the four spine regions


class Levels(NamedTuple):
    """A named span of levels such as C4-C6, as positions from C1 = 1 down."""

    top: int
    bottom: int

    @property
    def interspaces(self) -> int:
        """Disc spaces between the two levels."""
        return self.bottom - self.top


def _position(letter: str, number: int) -> int | None:
    offset = {"c": 0, "t": 7, "l": 19, "s": 24}[letter]
    return offset + number if 1 <= number <= _REGION_SIZE[letter] else None


SCATTERED = Levels(0, 0)  # spans that do not touch: they tell no number of disc spaces that codes could agree with


def named_levels(texts: Iterable[str]) -> Levels | None:
    """The span of levels that texts name (the widest, when several overlap or touch); None when none is named."""
    spans = []
    for text in legible(tuple(texts)):
        for letter, top, _, rest in _LEVELS.findall(text):
            start = _position(letter.lower(), int(top))
            region = letter
            for named, number in _LEVEL.findall(rest):
                region = named or region
                end = _position(region.lower(), int(number))
                if start is not None and end is not None and end > start:
                    spans.append(Levels(start, end))
                start = end
    return _joined(sorted(set(spans))) if spans else None


def _joined(spans: list[Levels]) -> Levels:
    top, bottom = spans[0]
    for span in spans:
        if span.top > bottom:
            return SCATTERED
        bottom = max(bottom, span.bottom)
    return Levels(top, bottom)


def named_regions(order: Order) -> frozenset[str]:
    """Regions from the body site (code, words or levels) of an order."""
    found = {_BODY_REGIONS[c.code] for c in order.body_sites if c.code in _BODY_REGIONS}
    for text in legible(order.body_site_texts):
        for word in _REGION_WORDS.findall(text):
            found.update(_REGIONS_OF_WORD[word.lower()])
        found.update(_REGION_LETTERS[m[0].lower()] for m in _LEVELS.findall(text))
    return frozenset(found)
