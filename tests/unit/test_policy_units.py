"""Units of results: spellings of one unit are one unit, and nothing else is."""

from __future__ import annotations

import pytest

from cds_service.policy.units import known, same


@pytest.mark.parametrize("spelt", ["ng/mL", "ng/ml", "NG/ML", "ug/L", "\u00b5g/L", "\u03bcg/L", "mcg/L"])
def test_spellings_of_one_unit(spelt: str) -> None:
    assert same(spelt, "ng/mL")
    assert same("ug/L", spelt)
    assert known(spelt)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("kg/m\u00b2", "kg/m2", True),
        ("%", "%", True),
        (None, None, True),
        ("{score}", "{score}", True),
        ("{Score}", "{score}", False),
        ("ng/L", "ng/mL", False),
        ("mg/mL", "ng/mL", False),
        ("Mg", "mg", False),
        ("%", "ng/mL", False),
        (None, "ng/mL", False),
        ("", None, False),
    ],
)
def test_other_units_are_equal_only_as_written(one: str | None, other: str | None, equal: bool) -> None:
    assert same(one, other) is same(other, one) is equal
    assert not known("furlong")
