"""Units of measure: what a unit of a result is in the unit a policy names.

Units are read by the grammar of UCUM (https://ucum.org/ucum, sections 2.1 to 2.4: terms with `.` and `/`, exponents,
annotations in braces that mean nothing), over the part of its table that results of care use, and the spellings of
these that charts use in their place. What is not in the table is in no unit that can be compared.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# Dimensions: length, mass, time, substance, enzyme activity, international units, temperature, and substance below the
# line: mmol/mol is kept apart from %, since the two are scales of their own where both are in use (HbA1c).
_L, _M, _T, _N, _U, _IU, _K, _PER_N = range(8)
_NONE = (0,) * 8


class Unit(NamedTuple):
    """A factor and an offset to the base units of its dimensions; two units of one dimension can be compared."""

    factor: float
    dimension: tuple[int, ...]
    offset: float = 0.0


def _of(factor: float, **powers: int) -> Unit:
    names = {"length": _L, "mass": _M, "time": _T, "substance": _N, "enzyme": _U, "international": _IU, "kelvin": _K}
    dimension = [0] * 8
    for name, power in powers.items():
        dimension[names[name]] = power
    return Unit(factor, tuple(dimension))


_PRESSURE = {"length": -1, "mass": 1, "time": -2}  # in g, m and s: 1 Pa is 1000
# Atoms that take a metric prefix.
_METRIC = {
    "m": _of(1, length=1),
    "g": _of(1, mass=1),
    "s": _of(1, time=1),
    "L": _of(1e-3, length=3),
    "l": _of(1e-3, length=3),
    "mol": _of(1, substance=1),
    "eq": _of(1, substance=1),
    "U": _of(1, enzyme=1),
    "[IU]": _of(1, international=1),
    "[iU]": _of(1, international=1),
    "Pa": _of(1e3, **_PRESSURE),
    "m[Hg]": _of(133.322387415e6, **_PRESSURE),
    "m[H2O]": _of(9806.65e3, **_PRESSURE),
}
_PREFIXES = {"k": 1e3, "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
_OTHER = {
    "%": Unit(1e-2, _NONE),
    "[ppth]": Unit(1e-3, _NONE),
    "[ppm]": Unit(1e-6, _NONE),
    "min": _of(60, time=1),
    "h": _of(3600, time=1),
    "d": _of(86400, time=1),
    "wk": _of(7 * 86400, time=1),
    "mo": _of(30.4375 * 86400, time=1),
    "a": _of(365.25 * 86400, time=1),
    "[lb_av]": _of(453.59237, mass=1),
    "[oz_av]": _of(28.349523125, mass=1),
    "[in_i]": _of(0.0254, length=1),
    "[ft_i]": _of(0.3048, length=1),
    "Cel": Unit(1, _of(1, kelvin=1).dimension, 273.15),
    "[degF]": Unit(5 / 9, _of(1, kelvin=1).dimension, 459.67 * 5 / 9),
    "K": _of(1, kelvin=1),
}
# Whole units as charts write them, in UCUM. Case does not matter here; it does in UCUM.
_SPELT = {
    "mmhg": "mm[Hg]", "mm hg": "mm[Hg]", "torr": "mm[Hg]", "cmh2o": "cm[H2O]",
    "lb": "[lb_av]", "lbs": "[lb_av]", "pound": "[lb_av]", "pounds": "[lb_av]", "oz": "[oz_av]",
    "in": "[in_i]", "inch": "[in_i]", "inches": "[in_i]", "ft": "[ft_i]", "feet": "[ft_i]",
    "kgs": "kg", "kilogram": "kg", "kilograms": "kg", "gm": "g", "gram": "g", "grams": "g",
    "percent": "%", "pct": "%", "cc": "mL", "sec": "s", "hr": "h", "hour": "h", "hours": "h",
    "day": "d", "days": "d", "week": "wk", "weeks": "wk", "month": "mo", "months": "mo", "year": "a", "years": "a",
    "yr": "a", "yrs": "a", "y": "a", "f": "[degF]", "degf": "[degF]", "deg f": "[degF]", "°f": "[degF]",
    "c": "Cel", "degc": "Cel", "deg c": "Cel", "°c": "Cel", "events/hour": "/h", "events/h": "/h", "events/hr": "/h",
    "/hr": "/h", "1/hr": "/h", "per hour": "/h", "kg/m^2": "kg/m2", "iu/l": "[IU]/L", "miu/l": "m[IU]/L",
    "ng/ml": "ng/mL", "mg/dl": "mg/dL", "g/dl": "g/dL", "mmol/l": "mmol/L", "ug/l": "ug/L", "mcg/l": "ug/L",
    "mcg": "ug", "kg/m²": "kg/m2", "pack-years": "1", "pack years": "1", "packyears": "1", "pack-year": "1",
}  # fmt: skip
_ANNOTATION = re.compile(r"\{[^{}]*\}")
_COMPONENT = re.compile(r"(10\*|10\^|[A-Za-z%]*(?:\[[A-Za-z0-9_]+\])?[A-Za-z]*)\^?([+-]?[0-9]{0,3})")
_LONGEST = 60


def known(unit: str) -> bool:
    """True for a unit that results can be compared in."""
    return _read(unit) is not None


def convert(value: float, unit: str | None, wanted: str) -> float | None:
    """A value of one unit in another; None where they cannot be compared."""
    if unit == wanted:
        return value
    here, there = _read(unit or ""), _read(wanted)
    if here is None or there is None or here.dimension != there.dimension:
        return None
    found = (value * here.factor + here.offset - there.offset) / there.factor
    # Twelve digits are more than any result has, and take away what binary fractions add.
    return float(f"{found:.12g}")


@lru_cache(maxsize=512)  # units of results, which say nothing of a patient
def _read(unit: str) -> Unit | None:
    text = unit.strip()
    if not text or len(text) > _LONGEST:
        return None
    text = text.replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")
    text = _SPELT.get(" ".join(text.lower().split()), text)
    bare = _ANNOTATION.sub("", text)
    if bare == "" or bare == "1":
        return Unit(1.0, _NONE)  # an annotation by itself is the unit 1
    return _term(bare)


def _term(text: str) -> Unit | None:
    """Components joined by `.` and `/`, read from the left."""
    factor, dimension, whole = 1.0, list(_NONE), re.search(r"[./]", text) is None
    for sign, component in re.findall(r"(^|[./])([^./]*)", text):
        if not component:
            if sign == "":  # a term may begin with /
                continue
            return None
        found = _component(component)
        if found is None or (found.offset and not whole):
            return None
        if whole:
            return found
        power = -1 if sign == "/" else 1
        factor *= found.factor**power
        for place, exponent in enumerate(found.dimension):
            at = _PER_N if place == _N and exponent * power < 0 else place
            dimension[at] += power * exponent
    return Unit(factor, tuple(dimension))


def _component(text: str) -> Unit | None:
    if text.isascii() and text.isdigit():
        return Unit(float(text), _NONE) if 0 < int(text) <= 10**9 else None
    match = _COMPONENT.fullmatch(text)
    if match is None:
        return None
    atom, exponent = match[1], int(match[2]) if match[2] not in ("", "+", "-") else 1
    if atom in ("10*", "10^"):
        return Unit(10.0**exponent, _NONE)
    unit = _atom(atom)
    if unit is None or exponent == 1:
        return unit
    return None if unit.offset else Unit(unit.factor**exponent, tuple(e * exponent for e in unit.dimension))


def _atom(text: str) -> Unit | None:
    if text in _OTHER:
        return _OTHER[text]
    if text in _METRIC:
        return _METRIC[text]
    prefix, atom = _PREFIXES.get(text[:1]), _METRIC.get(text[1:])
    return Unit(prefix * atom.factor, atom.dimension) if prefix is not None and atom is not None else None
