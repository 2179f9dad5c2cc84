"""The part of a client's declaration that says how it speaks: a named dialect, and traits in its place."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cds_service.hooks.dialects import DIALECTS, Dialect, Omittable, SiteCode, dialect_of
from cds_service.policy.case import Code

TARGET = re.compile(r"cpt:[0-9]{4}[0-9AFMTU]|hcpcs:[A-V][0-9]{4}", re.ASCII)
Text = Annotated[str, Field(min_length=1, max_length=256)]


class Strict(BaseModel):
    """A model of the clients file: nothing unknown, nothing converted, nothing changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SiteCoding(Strict):
    """A code of the site, where its system is another than `create_system`."""

    system: Text
    code: Text


class Traits(Strict):
    """`dialect` names a row of `hooks.dialects.DIALECTS`; every other key takes the place of its trait."""

    dialect: Literal["default", "epic"] = "default"
    token_lifetime: Annotated[int, Field(ge=1, le=3600)] | None = None
    clock_skew: Annotated[int, Field(ge=1, le=120)] | None = None
    selection_behavior: Literal["at-most-one", "any"] | None = None
    single_action: bool | None = None
    create_system: Annotated[str, Field(max_length=256)] | None = None
    order_codes: dict[Text, Text | SiteCoding] = {}
    topic_code: Literal["type", "alphanumeric"] | None = None
    omit: list[Omittable] | None = None

    @field_validator("order_codes")
    @classmethod
    def _ordered(cls, order_codes: dict[str, Any]) -> dict[str, Any]:
        for code in order_codes:
            if not TARGET.fullmatch(code):
                raise ValueError("has a bad key: write cpt:20936 or hcpcs:E0748, and after it the code of the site")
        return order_codes

    @model_validator(mode="after")
    def _system_of_orders(self) -> Traits:
        if self.order_codes and not self.spoken.create_system:
            raise ValueError("has order_codes and no create_system: say which code system of the site they are of")
        return self

    @cached_property
    def spoken(self) -> Dialect:
        """The named dialect with the traits that are given in their place."""
        names = ("token_lifetime", "clock_skew", "selection_behavior", "single_action", "create_system", "topic_code")
        traits: dict[str, Any] = {n: value for n in names if (value := getattr(self, n)) is not None}
        if self.omit is not None:
            traits["omit"] = frozenset(self.omit)
        system = traits.get("create_system", DIALECTS[self.dialect].create_system)
        traits["order_codes"] = {Code(*code.split(":")): _site(said, system) for code, said in self.order_codes.items()}
        return dialect_of(self.dialect, traits)


def _site(said: str | SiteCoding, system: str) -> SiteCode:
    return SiteCode(system, said) if isinstance(said, str) else SiteCode(said.system, said.code)
