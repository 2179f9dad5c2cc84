"""The line of business that a coverage states: which lines it leaves open, and which payers' names it uses.

Source: Source of Payment Typology (NAHDO; versions 5 to 9.2), which US Core demands of Coverage.type; HL7 v3 ActCode,
coverage types. Both say more, and less, than a line: a code that does not settle one states several lines or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from cds_service.policy.case import Code, Coverage
from cds_service.policy.model.payers import LineOfBusiness, plain

Lines = frozenset[str]

ANY: Lines = frozenset(get_args(LineOfBusiness))
_COMMERCIAL: Lines = frozenset({"commercial"})
_MEDICARE: Lines = frozenset({"medicare"})
_ADVANTAGE: Lines = frozenset({"medicare-advantage"})
_MEDICAID: Lines = frozenset({"medicaid"})
_OTHER: Lines = frozenset({"other"})
_PUBLIC = _MEDICARE | _ADVANTAGE | _MEDICAID

# By the longest start of a code that is here: the typology is a tree, and its digits are the way down.
_TYPOLOGY: Mapping[str, Lines] = {
    "1": _MEDICARE | _ADVANTAGE,  # Medicare, managed or not
    "11": _ADVANTAGE,
    "12": _MEDICARE,
    "122": _OTHER,  # drugs alone
    "123": _ADVANTAGE,  # a medical savings account is a Medicare Advantage plan by law, 42 CFR 422.4
    "13": _MEDICARE,  # hospice is paid by Original Medicare, also for members of a plan
    "14": _ADVANTAGE | _MEDICAID,
    "141": _ADVANTAGE,
    "142": _ADVANTAGE,
    "191": _OTHER,  # a pharmacy benefit manager
    "2": _MEDICAID,
    "291": _OTHER,
    "299": _OTHER,  # dental
    "3": _OTHER,  # other government: military, veterans, Indian Health Service, states, employees
    # Local government by their place, but shown as HMO, PPO, POS or FFS alone: US Core's own example has 3712 for an
    # employer's PPO, and has been copied. They tell no line.
    "371": ANY,
    "372": ANY,
    "4": _OTHER,  # corrections
    "5": _COMMERCIAL,
    "516": _OTHER,
    "517": _OTHER,
    "523": _OTHER,  # a supplement to Medicare
    "524": _OTHER,
    "56": _OTHER,  # dental or vision alone
    "61": _COMMERCIAL,  # 6 itself tells a brand that has all lines
    "614": _OTHER,
    "62": _COMMERCIAL,
    "623": _OTHER,
    "629": _OTHER,
    "8": _OTHER,  # nobody pays, or the patient
    "93": _OTHER,  # disability, long-term care, work, motor vehicles, liability
    "94": _OTHER,
    "95": _OTHER,
    "96": _OTHER,
    "97": _OTHER,
}
# HMO, PPO, POS, MCPOL, HIP and EHCPOL tell how a plan works, which every line may: they are not here.
_ACT_CODES: Mapping[str, Lines] = {
    **dict.fromkeys(("PUBLICPOL", "SUBSIDIZ", "SUBSIDMC", "SUBSIDFFS"), _PUBLIC),
    **dict.fromkeys(("AUTOPOL", "WCBPOL", "MILITARY", "VET", "IND", "GOVEMP"), _OTHER),
    **dict.fromkeys(("DENTAL", "DENTPRG", "VISPOL", "DRUGPOL", "LTC"), _OTHER),
}
_LONGEST = max(map(len, _TYPOLOGY))
# Classes of the pharmacy benefit, and of order among coverages, name no plan.
_NO_PLANS = frozenset({"rxbin", "rxpcn", "rxid", "rxgroup", "sequence"})


def of_code(code: Code) -> Lines:
    """Lines that a code of Coverage.type leaves open."""
    if code.system == "sopt" and code.code.isdecimal():
        starts = (code.code[:length] for length in range(_LONGEST, 0, -1))
        return next((_TYPOLOGY[start] for start in starts if start in _TYPOLOGY), ANY)
    return _ACT_CODES.get(code.code, ANY) if code.system == "v3-actcode" else ANY


def stated(coverage: Coverage, meanings: Mapping[str, Lines], owners: Mapping[str, str]) -> tuple[Lines, set[str]]:
    """Lines that everything stated leaves open, none where it contradicts itself; and payers that are named.

    `meanings` are lines by plain words, `owners` payers by plain name. Other words state nothing.
    """
    lines, named = ANY, set[str]()
    for code in coverage.type_codes:
        lines &= of_code(code)
    for words in map(plain, _texts(coverage)):
        if words in meanings:
            lines &= meanings[words]
        elif words in owners:
            named.add(owners[words])
    return lines, named


def _texts(coverage: Coverage) -> Iterator[str]:
    yield from coverage.type_texts
    for kind, value, name in coverage.classes:
        if kind not in _NO_PLANS:
            yield from filter(None, (value, name))
