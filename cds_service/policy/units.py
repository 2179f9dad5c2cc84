"""Spellings of the units that policies compare results in. Each line is one unit: the numbers stay what they are."""

from __future__ import annotations

_SPELT = {
    "ng/mL": ("ng/ml", "ug/l", "\N{MICRO SIGN}g/l", "\N{GREEK SMALL LETTER MU}g/l", "mcg/l"),
    "kg/m2": ("kg/m2", "kg/m^2", "kg/m\N{SUPERSCRIPT TWO}"),
    "%": ("%",),
}
# Case tells UCUM's units apart (mg, Mg), but in none of these spellings.
_UNITS = {spelt: unit for unit, every in _SPELT.items() for spelt in every}


def known(unit: str) -> bool:
    """True for a spelling of a unit that is known here."""
    return unit.lower() in _UNITS


def same(one: str | None, other: str | None) -> bool:
    """Do two spellings mean one unit? Those that are not known here must be equal."""
    if one == other:
        return True
    unit = _UNITS.get((one or "").lower())
    return unit is not None and unit == _UNITS.get((other or "").lower())
