"""Renders the generated parts of docs/policy-language.md: truth tables and keys. Run it to renew the page."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from pydantic import BaseModel
from spec_tables import COMBINATORS, OPERATORS

from cds_service.policy import model

PAGE = Path(__file__).parents[2] / "docs" / "policy-language.md"
SHAPES = (
    model.Policy, model.Version, model.Effective, model.Review, model.ContentSource, model.Contact, model.Telecom,
    model.Criterion, model.Ask,
    model.OrderTest, model.CompanionTest, model.OperationTest, model.CountTest, model.ConditionTest,
    model.ProcedureTest, model.MedicationTest, model.AgeTest, model.SexTest, model.ObservationTest, model.UnitsTest,
    model.Window, model.Item, model.Rule,
    model.Otherwise, model.Alternative, model.FindingRule, model.ValueSet, model.CodedWords, model.SetCode,
    model.SetPrefix, model.ProcedureCode, model.Payer, model.PayerIdentifier, model.LineNames, model.ItemWording,
    model.Passage, model.Wording, model.Looked, model.WorkedCase, model.CaseCoverage, model.CaseOrder,
    model.CaseCondition, model.CaseProcedure, model.CaseService, model.CaseMedication, model.CaseObservation,
    model.ExpectedOrder,
)  # fmt: skip


def combinators() -> str:
    """One table per combinator."""
    parts = []
    for name, (text, rows) in COMBINATORS.items():
        split = [row.split("->") for row in rows.strip().splitlines()]
        width = len(split[0][0].split())
        heads = [f"part {n + 1}" if width > 1 else "part" for n in range(width)]
        lines = [f"### `{name}`", "", text, "", _row([*heads, "outcome"]), _row(["---"] * (width + 1))]
        lines += [_row([*parts_.split(), f"**{outcome.strip()}**"]) for parts_, outcome in split]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def operators() -> str:
    """One section per operator, with its tables."""
    parts: list[str] = []
    seen: set[str] = set()
    for table in OPERATORS:
        lines = [] if table.operator in seen else [f"### `{table.operator}`", ""]
        seen.add(table.operator)
        lines += [table.text, ""] if table.text else []
        lines += ["```yaml", table.criterion, "```", "", _row(["facts", "outcome"]), _row(["---", "---"])]
        lines += [_row([f"`{facts}`", f"**{outcome}**"]) for facts, outcome in table.pairs()]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def keys() -> str:
    """One table of keys per model."""
    return "\n\n".join(_keys(shape) for shape in SHAPES)


def _keys(shape: type[BaseModel]) -> str:
    schema = shape.model_json_schema(by_alias=True)
    lines = [f"### {shape.__name__}", "", str(schema.get("description", "")), "", _row(["key", "value", "meaning"])]
    lines.append(_row(["---", "---", "---"]))
    for name, entry in schema["properties"].items():
        needed = " (required)" if name in schema.get("required", []) else ""
        lines.append(_row([f"`{name}`{needed}", _value(entry), _meaning(entry)]))
    return "\n".join(lines)


def _meaning(entry: dict[str, Any]) -> str:
    """A key's description, and what holds where it is left out."""
    default = entry.get("default")
    told = f"default: {json.dumps(default)}" if default not in (None, "", [], {}) else ""
    return "; ".join(t for t in (str(entry.get("description", "")), told) if t)


def _value(entry: dict[str, Any]) -> str:
    """What a key takes, in a few words."""
    if "$ref" in entry:
        return entry["$ref"].rsplit("/", 1)[1]
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return ", ".join(f"`{e}`" for e in entry["enum"])
    if "anyOf" in entry:
        kinds = [_value(e) for e in entry["anyOf"] if e.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if entry.get("type") == "array":
        return f"list of {_value(entry.get('items', {}))}"
    if entry.get("type") == "object":
        named = entry.get("patternProperties", {"": entry.get("additionalProperties", {})})
        return f"mapping to {_value(next(iter(named.values())))}"
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
    return "date" if entry.get("format") == "date" else names.get(str(entry.get("type")), "text")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def rendered(page: str) -> str:
    """The page with its generated parts renewed."""
    for name, text in (("combinators", combinators()), ("operators", operators()), ("keys", keys())):
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        page = pattern.sub(lambda m, t=text: f"{m[1]}\n{t}\n\n{m[2]}", page)
    return page


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
