"""Expressions over criteria."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from cds_service.policy.model.terms import Model


class All(Model):
    """Every part is met."""

    all: Annotated[list[Expression], Field(min_length=1)]


class AnyOf(Model):
    """At least one part is met."""

    any: Annotated[list[Expression], Field(min_length=1)]


class Not(Model):
    """The part is not met."""

    not_: Expression = Field(alias="not")


class AtLeast(Model):
    """At least `at_least` of the parts are met."""

    at_least: Annotated[int, Field(ge=1)]
    of: Annotated[list[Expression], Field(min_length=1)]


Expression = str | All | AnyOf | Not | AtLeast

for _model in (All, AnyOf, Not, AtLeast):  # they name `Expression`, which names them
    _model.model_rebuild()


def criterion_ids(expression: Expression) -> Iterator[str]:
    """Ids of the criteria an expression reads, `always` left out."""
    match expression:
        case str():
            if expression != "always":
                yield expression
        case All(all=parts) | AnyOf(any=parts) | AtLeast(of=parts):
            for part in parts:
                yield from criterion_ids(part)
        case Not():
            yield from criterion_ids(expression.not_)
