"""Terms in an order's own text: what is read of it, and how a term stands there: named, denied, or open.

Certain only where the grammar is plain. A sentence without any word that denies, makes conditional or tells of the past
names the term. A denial that directly governs it ("no BMP", "BMP will not be used") and an order-entry answer ("BMP:
no") deny it. Whatever else stands near such a word is open: not yes, and not no.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

# A denial reaches a few words, and an order's text is short: more is not looked at, so that no text takes long.
_REACH = 120
_MOST = 100
READ = 10_000


class Mention(NamedTuple):
    """A term as a text has it; `sure` where the text leaves no doubt that it is meant."""

    term: str
    sure: bool

    @property
    def told(self) -> str:
        """As evidence has it."""
        return f"text: {self.term}"


def legible(texts: Sequence[str]) -> Sequence[str]:
    """Texts as far as they are read: their first 10,000 characters in all."""
    if sum(map(len, texts)) <= READ:
        return texts
    left, found = READ, []
    for text in texts:
        found.append(text[:left])
        left -= len(found[-1])
    return found


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.VERBOSE)


# Words that may stand between a denial and what it denies: "no use of any recombinant human BMP".
_BETWEEN = r"""(?:\s+(?:an?|the|any|use[ds]?|using|usage|to|of|for|with|need(?:ed)?|plan(?:s|ned)?|open|order|forms?
    |kinds?|types?|recombinant|human|small|medium|large|kits?|grafts?(?=\s+of\b)|cc|ml|mg|\d+(?:\.\d+)?)(?!\w)){0,6}"""
_DENIED_BEFORE = _compiled(rf"""
    (?: (?<!\w)(?<!not\ )(?:no|without|w/o|never|sin|nunca|evitar|avoid(?:ing)?|neither|instead\s+of|rather\s+than
            |in\s+lieu\s+of|in\s+place\s+of|free\s+of|excluding|declin(?:e[sd]?|ing)|refus(?:e[sd]?|ing)):?{_BETWEEN}
    |   (?:\bnot|\bcannot|n['’]t) (?!\s+for\b){_BETWEEN}
    |   \bno(?:\s+se)?\s+us\w+
    |   (?<!\w)(?:no|neither|without)\s+[\w-]+(?:\s+[\w-]+)?\s+n?or
    )\s+\Z
    | \bnon-\Z
""")
_HELPER = r"(?:is|was|are|were|will|to|shall|should|must|can|could|would|has|have|had|do|does|did)"
_UNDONE = r"""(?:\s+(?:be|been|being|to|going))*\s+(?:use[ds]?|need(?:ed)?|required?|requested|planned|indicated|ordered
    |wanted|desired|opened|implanted|placed|given|appl(?:y|icable)|necessary|included)\b"""
_NO = r"(?:no|none|nil|n/?a|not\s+applicable|false)"
_ENDS = r"\s*(?=[.,;|)\]\n/]|\Z)"
_ASKED = r"(?:\s+(?:be|is|to|use[ds]?|planned|needed|requested|required|kit))*\s*"
_DENIED_AFTER = _compiled(rf"""
    (?:\s+kits?)? [\s,(–-]*
    (?: (?:(?:{_HELPER}\s+(?:be\s+)?)?(?:not|never)|(?:{_HELPER}|wo|ca)n['’]t|cannot){_UNDONE}
    |   (?:{_HELPER}\s+(?:been?\s+)?)?(?:declined|refused|rejected|avoided|omitted|withheld|contraindicated)\b
    |   (?:{_HELPER}\s+(?:been?\s+)?)?(?:considered|discussed|offered),?\s+(?:and|but)\s+(?:{_HELPER}\s+)?
            (?:not|never|declined|refused|rejected)\b
    )
    | -free\b
    | {_ASKED}(?:[:?=(–-]\s*)*{_NO}{_ENDS} | \s*[:=]\s*n{_ENDS}
""")
_BOX = _compiled(r"\[[\sx]*\] | [☐☒☑]")
_TICKED = frozenset("xX☒☑")
_AFFIRMED_AFTER = _compiled(rf"{_ASKED}(?:[:?=(–-]\s*)+(?:yes|true|s[ií]|y){_ENDS}")

# Where a sentence, or what a denial in it can be about, begins and ends.
_STARTS = _compiled(r"""
    [;!?] | (?<!\bno)(?<!\bnot)(?<!:)\n | \.(?!\d) | \b(?:but|however|so|therefore|thus|hence|and\s+use)\b
    | [,(–-]\s*(?:(?:and|then|will|we|please)\s+)*us(?:e|ing)\b
""")
_ENDS_AT = _compiled(r"""[;!?\n] | \.(?!\d) | \bbut\s+(?:no|without|use)\b | \b(?:however|therefore|thus|hence)\b""")

# Passed over: words that look like a denial, or tell of the past, and do neither.
_HARMLESS = r"""never[\s-]smok\w+ | (?:no|not)\s+(?:to\s+exceed|exceeding|more\s+than|less\s+than|only|limited\s+to)\b
    | (?:do\s+not|don['’]t)\s+forget\b | prior\s+(?:auth\w*|to\b)
    | (?:no|without)\s+(?:(?:known|active|current)\s+)?(?:infection|cancer|malignanc|tumou?r|allerg|pregnan|fever|smok
        |tobacco|diabet|complication|deficit|metal|drug\s+allerg)\w*(?=\s*[,/()]|\s+[–-]\s)"""
_EITHER = r"""no|not|\w+n['’]t|cannot|nor|neither|none|never|nunca|ni|tampoco|evit\w+|declin\w+|refus\w+|reject\w+
    |exclud\w+|contraindicat\w+|allerg\w+|den(?:y|ies|ied)|hold|held|omit\w*|withh[eo]ld\w*|unavailable|cancel\w*|n/a
    |other\s+than|prior|previous\w*|history|h/o|hx|s/p|status\s+post|earlier|ago|consider\w*"""
_DOUBT = r"(?P<doubt>if|unless|until|except|in\s+case|pending|may(?!\s*\d)|might|possibl[ey]|versus|vs)"
_CUE_BEFORE = _compiled(rf"""
    (?<!\w)(?: {_HARMLESS} | (?: {_DOUBT} | (?P<cue>{_EITHER}|without|w/o|sin|avoid\w*|instead|rather\s+than
        |in\s+lieu|in\s+place\s+of|free\s+of) )(?!\w) ) | (?P<box>\[\s*\]|☐)
""")
# What governs only what follows it says nothing of a term before it: "rhBMP-2 without a cage", "to avoid the crest".
_CUE_AFTER = _compiled(rf"""
    \A\s*(?P<box>\[[\sx]*\]|[☐☒☑]) | (?<!\w)(?: {_HARMLESS}
        | no\s+(?:\w+\s+)?(?:iliac|crest|icbg|allograft|autograft|chips|cage|drain|dbm)\b
        | (?: {_DOUBT} | (?P<cue>{_EITHER}|(?<!to\ )avoid\w*) )(?!\w) )
""")


def mention(expression: re.Pattern[str], texts: Sequence[str]) -> Mention | None:
    """The mention that counts: one that is certain, else one that is open; None where all are denied.

    A term that the same texts name and deny is open.
    """
    sure: dict[str, str] = {}
    denied: set[str] = set()
    open_: str | None = None
    for term, standing in _mentions(expression, legible(texts)):
        if standing is None:
            open_ = open_ or term
        elif standing:
            sure.setdefault(term.casefold(), term)
        else:
            denied.add(term.casefold())
    for key, term in sure.items():
        if key not in denied:
            return Mention(term, sure=True)
    open_ = open_ or next(iter(sure.values()), None)
    return None if open_ is None else Mention(open_, sure=False)


def _mentions(expression: re.Pattern[str], texts: Sequence[str]) -> Iterator[tuple[str, bool | None]]:
    """Each mention with how it stands; of too many in one text, the rest is open."""
    for text in texts:
        for number, match in enumerate(islice(expression.finditer(text), _MOST + 1)):
            yield match.group(0), _standing(text, *match.span()) if number < _MOST else None


def _standing(text: str, start: int, end: int) -> bool | None:
    """True: named. False: denied. None: open."""
    before, after = text[max(0, start - _REACH) : start], text[end : end + _REACH]
    ticked = _ticked(before)
    denied = ticked is False or bool(_DENIED_BEFORE.search(before) or _DENIED_AFTER.match(after))
    if ticked or _AFFIRMED_AFTER.match(after):
        return None if denied else True
    cues = _cues(before, after)
    if denied:
        return None if "doubt" in cues else False
    return None if cues else True


def _ticked(before: str) -> bool | None:
    """Is the box right before a term ticked? None where there is no box, or where boxes follow their terms."""
    boxes = list(_BOX.finditer(before, before.rfind("\n") + 1))
    if not boxes or before[boxes[-1].end() :].strip():
        return None
    leading = not before[: boxes[0].start()].rstrip(" ")[-1:].isalnum()
    return not _TICKED.isdisjoint(boxes[-1].group()) if leading else None


def _cues(before: str, after: str) -> set[str]:
    """Kinds of words in the sentence that deny, doubt or tell of the past."""
    begins = max([boundary.end() for boundary in _STARTS.finditer(before)], default=0)
    ends = _ENDS_AT.search(after)
    found = {m.lastgroup for m in _CUE_BEFORE.finditer(before, begins)}
    found |= {m.lastgroup for m in _CUE_AFTER.finditer(after, 0, ends.start() if ends else len(after))}
    if ends and ends.group() == "?":
        found.add("question")
    return {kind for kind in found if kind is not None}
