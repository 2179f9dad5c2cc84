"""Card lines: Jinja2 templates of the policies, with defaults; the first that is under 140 characters is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cds_service.errors import ContentError
from cds_service.policy.content import PolicyFolder
from cds_service.policy.model import ItemWording

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

VALUES = ("name", "label", "code", "operation", "ordered")
"""What a template may use."""
_LINES = {"not-supported": "summary", "none": "summary_none", "against": "summary_against"}

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
    """The first line that says something in under 140 characters. Lines are never cut: that would change what they say.

    Remembered: `values` are labels of the policy and codes, nothing of a patient.
    """
    for text in templates:
        line = fill(text, values)
        if line and len(line) < SUMMARY_LIMIT:
            return line
    raise ValueError("no summary is short enough; the defaults end with one that always is")


def summary_templates(own: ItemWording, kind: str) -> tuple[str, ...]:
    """An item's own lines for this kind of finding first, then the defaults."""
    return (*getattr(own, _LINES[kind]), *DEFAULTS[kind])


# What only inserts and chooses: a loop, a call or "x" * 10**9 could hold up the service, and no line needs one.
_PLAIN = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.CondExpr, nodes.Name, nodes.Const,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Add,
)  # fmt: skip


def faults(folder: PolicyFolder) -> Iterator[ContentError]:
    """A policy's templates that cannot be filled in."""
    document = next((d for n, d in folder.documents.items() if n.endswith("/card.yaml")), None)
    if document is None:
        return
    cure = f"It may use {', '.join(VALUES)}."
    for item, words in folder.card.orders.items():
        for name in _LINES.values():
            for number, text in enumerate(getattr(words, name)):
                if what := _fault(text):
                    told = f"the template cannot be filled in: {what.rstrip('.')}."
                    yield document.error(("orders", item, name, number), told, cure)


def _fault(text: str) -> str:
    """Why a template cannot be filled in, with something ordered or nothing; empty if it can."""
    try:
        if node := next((n for n in _ENVIRONMENT.parse(text).find_all(nodes.Node) if type(n) not in _PLAIN), None):
            return f"{type(node).__name__} on line {node.lineno} is not offered; insert values, and choose by if"
        for ordered in ("x", ""):
            fill(text, {**dict.fromkeys(VALUES, "x"), "ordered": ordered})
    except Exception as error:  # noqa: BLE001 - a template is the author's code, and may raise anything
        return str(error) or type(error).__name__
    return ""
