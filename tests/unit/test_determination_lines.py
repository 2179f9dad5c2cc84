"""The line of business that a coverage states, in codes and in declared words."""

from __future__ import annotations

import pytest

from cds_service.determination.lines import ANY, of_code, stated
from cds_service.policy.case import Code, Coverage, CoverageClass

ADVANTAGE, MEDICARE, MEDICAID, COMMERCIAL, OTHER = (
    frozenset({name}) for name in ("medicare-advantage", "medicare", "medicaid", "commercial", "other")
)


@pytest.mark.parametrize(
    ("codes", "lines"),
    [
        ("1 19", MEDICARE | ADVANTAGE),
        ("11 111 1111 1112 112 113 119 123 141 142", ADVANTAGE),
        ("12 121 129 13", MEDICARE),
        ("14", ADVANTAGE | MEDICAID),
        ("2 21 211 212 213 219 22 23 25 26 29", MEDICAID),
        ("5 51 511 512 513 514 515 519 52 521 522 529 53 54 55 59 61 611 612 613 619 62 621 622", COMMERCIAL),
        ("3 31 311 3114 32 32121 33 36 361 37 379 38 3812 39 391 4 41", OTHER),
        ("122 191 291 299 516 517 523 524 56 561 562 614 623 629 8 81 93 94 95 951 96 97", OTHER),
        ("6 63 7 71 72 73 79 9 92 98 99 9999", ANY),
    ],
)
def test_source_of_payment_typology(codes: str, lines: frozenset[str]) -> None:
    assert {code: of_code(Code("sopt", code)) for code in codes.split()} == dict.fromkeys(codes.split(), lines)


@pytest.mark.parametrize("code", ["371", "3711", "3712", "3713", "372"])
def test_codes_of_local_government_that_are_shown_as_kinds_of_plan_alone_tell_nothing(code: str) -> None:
    """US Core's own example of a Coverage has 3712, PPO, for an employer's plan; copies of it are common."""
    assert of_code(Code("sopt", code)) == ANY


@pytest.mark.parametrize(
    ("codes", "lines"),
    [
        ("HIP HMO PPO POS MCPOL EHCPOL RETIRE unheard-of", ANY),
        ("PUBLICPOL SUBSIDIZ SUBSIDMC SUBSIDFFS", MEDICARE | ADVANTAGE | MEDICAID),
        ("WCBPOL AUTOPOL MILITARY VET IND GOVEMP DENTAL DENTPRG VISPOL DRUGPOL LTC", OTHER),
    ],
)
def test_act_codes(codes: str, lines: frozenset[str]) -> None:
    assert {code: of_code(Code("v3-actcode", code)) for code in codes.split()} == dict.fromkeys(codes.split(), lines)


def test_codes_of_other_systems_and_what_is_no_code_tell_nothing() -> None:
    assert of_code(Code("urn:ehr:coverage-type", "112")) == ANY
    assert of_code(Code("sopt", "1 (Medicare)")) == ANY
    assert of_code(Code("sopt", "112PPO")) == ANY


MEANINGS = {"managed medicare": ADVANTAGE, "medicare": MEDICARE | ADVANTAGE}
OWNERS = {"north": "north", "north advantage": "north-advantage", "medicare": "medicare"}


def plan(name: str, kind: str | None = "plan") -> CoverageClass:
    return CoverageClass(kind, name=name)


@pytest.mark.parametrize(
    ("parts", "lines", "named"),
    [
        ({}, ANY, set()),
        ({"type_codes": (Code("sopt", "1"), Code("v3-actcode", "PPO"))}, MEDICARE | ADVANTAGE, set()),
        ({"type_codes": (Code("sopt", "1"),), "type_texts": ("Managed Medicare",)}, ADVANTAGE, set()),
        ({"type_codes": (Code("sopt", "512"),), "type_texts": ("MANAGED  MEDICARE.",)}, frozenset(), set()),
        ({"type_texts": ("Managed Medicare PPO", "North Advantage Plus")}, ANY, set()),
        ({"type_texts": ("Medicare",)}, MEDICARE | ADVANTAGE, set()),
        ({"classes": (plan("North Advantage"),)}, ANY, {"north-advantage"}),
        ({"classes": (CoverageClass("group", "north advantage"),)}, ANY, {"north-advantage"}),
        ({"classes": (plan("North"), plan("North Advantage", None))}, ANY, {"north", "north-advantage"}),
        ({"classes": (plan("Managed Medicare"),)}, ADVANTAGE, set()),
        ({"classes": tuple(plan("North", k) for k in ("rxbin", "rxpcn", "rxid", "rxgroup", "sequence"))}, ANY, set()),
    ],
)
def test_what_a_coverage_states(parts: dict[str, object], lines: frozenset[str], named: set[str]) -> None:
    assert stated(Coverage("Coverage/v", **parts), MEANINGS, OWNERS) == (lines, named)  # type: ignore[arg-type]
