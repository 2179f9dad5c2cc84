"""How a term stands in an order's text: named, denied, or neither for certain."""

from __future__ import annotations

import re
from time import process_time

import pytest

from cds_service.policy.mentions import Mention, mention

BMP = re.compile(r"\b(?:rhBMP-2|BMP|Infuse)\b", re.IGNORECASE)

NAMED = """
rhBMP-2 small kit
con rhBMP-2
Non-union revision with rhBMP-2
Revision for nonunion using rhBMP-2
non-smoker - rhBMP-2 in cage
never smoker - use rhBMP-2
no cancer - OK for rhBMP-2
No allergies / rhBMP-2 XS kit
no infection, rhBMP-2 in the cage
No iliac crest, use rhBMP-2
rhBMP-2, no allograft
rhBMP-2 without a cage
rhBMP-2 instead of iliac crest
rhBMP-2 to avoid iliac crest harvest
rhBMP-2 prior to closure
rhBMP-2, prior authorization obtained
rhBMP-2 not to exceed 4.2 mg
rhBMP-2 not more than one small kit
Do not forget rhBMP-2
Not only chips but rhBMP-2
use rhBMP-2; no allograft
use rhBMP-2 but no allograft
No plate. rhBMP-2 in the cage
rhBMP-2 kit for May 12
BMP: yes
BMP = Yes
Smoker: no, BMP: yes
[x] rhBMP-2 [ ] DBM chips
[ ] DBM chips [X] rhBMP-2 small kit
☐ DBM ☒ rhBMP-2
"""
DENIED = """
no BMP
No: rhBMP-2
without: rhBMP-2
w/o rhBMP-2
no need for rhBMP-2
not using any form of recombinant human rhBMP-2
don't use rhBMP-2
don’t use rhBMP-2
cannot use rhBMP-2 (cancer)
no DBM or BMP
neither BMP nor DBM
neither DBM nor BMP
non-BMP graft
BMP-free graft
in lieu of rhBMP-2
in place of rhBMP-2, local bone
patient declines rhBMP-2
avoid rhBMP-2
sin rhBMP-2
nunca rhBMP-2
evitar rhBMP-2
no usar rhBMP-2
no se usará rhBMP-2
BMP not used
rhBMP-2, not used
rhBMP-2 (not used)
rhBMP-2 - not used
rhBMP-2 kit not needed
rhBMP-2 isn't used
rhBMP-2 won't be used
rhBMP-2 wasn't used
rhBMP-2 cannot be used
rhBMP-2 will never be used
rhBMP-2 has not been requested
rhBMP-2 does not apply
rhBMP-2 declined
rhBMP-2 is contraindicated
rhBMP-2 considered and rejected
rhBMP-2 considered but not used
BMP: no
rhBMP-2: None
rhBMP-2 = N
BMP - none
rhBMP-2 N/A
rhBMP-2 no
rhBMP-2? no.
Will rhBMP-2 be used? No
rhBMP-2 used: NO, DBM used: yes
[ ] rhBMP-2 [x] DBM chips
"""
OPEN = """
No allograft, rhBMP-2 or other growth factor
no DBM, BMP or ceramic
No DBM, no cages, BMP
No local bone available - rhBMP-2
no iliac crest graft (rhBMP-2 instead)
no contraindication to rhBMP-2
not without rhBMP-2
not for use with rhBMP-2
allergy to rhBMP-2
hold rhBMP-2
rhBMP-2 unavailable
rhBMP-2 must not be refrozen
rhBMP-2 was denied by insurance, using chips only
rhBMP-2 no longer planned
do not use rhBMP-2 unless non-union is found
rhBMP-2 if not enough local bone
if rhBMP-2 is needed will submit separately
rhBMP-2 may be used
consider rhBMP-2
Use rhBMP-2?
BMP: yes if needed
BMP en jaula: no
Prior fusion L5-S1 2014 with rhBMP-2
s/p fusion with Infuse bone graft 2014
history of reaction to rhBMP-2
Graft: rhBMP-2 [ ] DBM [x]
rhBMP-2 [x] DBM [ ]
"""


def lines(block: str) -> list[str]:
    return block.strip().splitlines()


@pytest.mark.parametrize("text", lines(NAMED))
def test_named(text: str) -> None:
    found = mention(BMP, [text])
    assert found is not None
    assert found.sure


@pytest.mark.parametrize("text", [*lines(DENIED), "no\nrhBMP-2", "rhBMP-2 used?\nNo"])
def test_denied(text: str) -> None:
    assert mention(BMP, [text]) is None


@pytest.mark.parametrize("text", lines(OPEN))
def test_open(text: str) -> None:
    found = mention(BMP, [text])
    assert found is not None
    assert not found.sure


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["consider BMP", "Infuse kit"], Mention("Infuse", sure=True)),
        (["no BMP", "Infuse kit"], Mention("Infuse", sure=True)),
        (["no BMP", "consider Infuse"], Mention("Infuse", sure=False)),
        (["BMP kit", "bmp: no"], Mention("BMP", sure=False)),
        (["no BMP", "BMP: no"], None),
        (["chips"], None),
        ([], None),
    ],
)
def test_a_certain_mention_counts_first_and_one_that_is_denied_as_well_is_open(
    texts: list[str], found: Mention | None
) -> None:
    assert mention(BMP, texts) == found


def test_mentions_beyond_the_hundredth_of_a_text_are_open() -> None:
    assert mention(BMP, ["no BMP; " * 100]) is None
    assert mention(BMP, ["no BMP; " * 101]) == Mention("BMP", sure=False)


@pytest.mark.parametrize("filler", ["no ", "no-", "[ ] ", "\n", "to be ", "not ", "is ", "a, ", "((((", "x" * 50])
def test_a_long_text_takes_no_time(filler: str) -> None:
    text = (filler * 10_000)[:5000] + " BMP " + (filler * 10_000)[:5000]
    started = process_time()
    mention(BMP, [text, *[f"{filler * 40} BMP {filler * 40}"] * 20])
    assert process_time() - started < 0.1
