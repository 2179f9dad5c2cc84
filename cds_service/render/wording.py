"""Card lines: Jinja2 templates of the policies, with defaults; the first that is under 140 characters is used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cds_service.policy.content import PolicyFolder

SUMMARY_LIMIT = 140  # CDS Hooks: "<140-character summary"

DEFAULTS: dict[str, tuple[str, ...]] = {
    "not-supported": (
        "{{ name }} is not supported in this {{ operation }}"
        "{% if ordered %}; {{ ordered }} is already ordered{% endif %}",
        "{{ name }} is not supported in this {{ operation }}",
        "{{ name }} is not supported by this policy",
        "An order is not supported by this policy",
    ),
    "against": (
        "{{ name }}: the guideline advises against it in this {{ operation }}"
        "{% if ordered %}; {{ ordered }} is already ordered{% endif %}",
        "{{ name }}: the guideline advises against it in this {{ operation }}",
        "{{ name }}: the guideline advises against it",
        "The guideline advises against an order",
    ),
    "none": (
        "{{ name }}: the guideline makes no recommendation for it in this {{ operation }}"
        "{% if ordered %}; {{ ordered }} is already ordered{% endif %}",
        "{{ name }}: the guideline makes no recommendation for it in this {{ operation }}",
        "{{ name }}: no guideline recommendation",
        "The guideline makes no recommendation for an order",
    ),
}

# No autoescape: summaries are plain text, and every value from a chart is escaped before it gets here.
_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


@lru_cache(maxsize=4096)
def _template(text: str) -> Template:
    return _ENVIRONMENT.from_string(text)


def fill(text: str, values: Mapping[str, Any]) -> str:
    """One template filled in."""
    return " ".join(_template(text).render(values).split()) if "{" in text else text


@lru_cache(maxsize=4096)
def first_fitting(templates: tuple[str, ...], **values: str) -> str:
    """The first line that is under 140 characters. Lines are never cut: that would change what they say.

    Remembered: `values` are labels of the policy and codes, nothing of a patient.
    """
    for text in templates:
        line = fill(text, values)
        if len(line) < SUMMARY_LIMIT:
            return line
    raise ValueError("no summary is short enough; the defaults end with one that always is")


def summary_templates(folder: PolicyFolder | None, item: str, kind: str) -> tuple[str, ...]:
    """An item's own lines for this kind of finding first, then the defaults."""
    own = folder.card.orders.get(item) if folder else None
    lines = {"not-supported": own.summary, "none": own.summary_none, "against": own.summary_against} if own else {}
    return (*lines.get(kind, ()), *DEFAULTS[kind])
