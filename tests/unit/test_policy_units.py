"""Units of results: converted where UCUM says they are of one kind, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.policy.units import convert, known

# From UCUM's own table and the definitions of the pound, the inch and the millimeter of mercury.
CONVERTED = [
    (8, "ng/mL", "ug/L", 8), (8, "\u00b5g/L", "ng/mL", 8), (8, "\u03bcg/L", "ng/mL", 8), (8, "mcg/L", "ng/mL", 8),
    (8, "NG/ML", "ng/mL", 8), (28, "kg/m\u00b2", "kg/m2", 28), (28, "kg/m^2", "kg/m2", 28), (8, "ng/L", "ng/mL", 0.008),
    (320, "lb", "kg", 145.1495584), (320, "[lb_av]", "kg", 145.1495584), (70, "in", "cm", 177.8),
    (22, "{events}/h", "/h", 22), (22, "/h", "1/h", 22), (22, "events/hour", "/h", 22),
    (60, "mmHg", "mm[Hg]", 60), (8, "kPa", "mm[Hg]", 60.0049260677), (0.92, "1", "%", 92), (0.45, "L/L", "%", 45),
    (150, "10*3/uL", "10*9/L", 150), (98.6, "[degF]", "Cel", 37), (30, "{pack-years}", "1", 30),
    (5, "mg/dL", "mg/L", 50), (5, "mmol/L", "umol/mL", 5), (53, "mmol/mol", "mmol/mol", 53),
    (2, "mo", "a", 2 / 12), (4, "L/min", "mL/min", 4000), (1, "m[IU]/L", "[IU]/L", 0.001),
]  # fmt: skip


@pytest.mark.parametrize(("value", "unit", "wanted", "found"), CONVERTED)
def test_one_unit_in_another(value: float, unit: str, wanted: str, found: float) -> None:
    assert convert(value, unit, wanted) == pytest.approx(found, rel=1e-11)
    assert convert(found, wanted, unit) == pytest.approx(value, rel=1e-11)
    assert known(unit)


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("mmol/L", "mg/dL"), ("mmol/mol", "%"), ("Mg", "mg"), ("%", "ng/mL"), (None, "ng/mL"),
        ("", "kg"), ("bananas", "kg"), ("kg", "m"),
                ("kg//m2", "kg/m2"), ("kg/", "kg"), ("m" * 100, "m"), ("Cel/h", "/h"), ("10*99999/L", "/L"),
    ],
)  # fmt: skip
def test_what_is_of_another_kind_is_not_compared(unit: str | None, wanted: str) -> None:
    assert convert(1, unit, wanted) is None


def test_a_unit_nobody_knows_is_compared_as_written() -> None:
    assert convert(3, "furlong", "furlong") == 3
    assert not known("furlong")


@given(st.text(max_size=80), st.floats(-1e9, 1e9))
def test_any_text_is_a_unit_or_none(unit: str, value: float) -> None:
    found = convert(value, unit, "kg")
    assert found is None or known(unit)
