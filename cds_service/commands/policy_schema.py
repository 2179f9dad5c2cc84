"""JSON Schemas of all content files, from the same models that the loader uses."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from cds_service.policy.content import SCHEMAS
from cds_service.policy.model import OPERATORS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(name: str, shape: type[BaseModel]) -> dict[str, Any]:
    """One schema, as an editor reads it through the modeline of a file."""
    schema = shape.model_json_schema(by_alias=True)
    if "Criterion" in schema.get("$defs", {}):
        schema["$defs"]["Criterion"]["oneOf"] = [{"required": [operator]} for operator in OPERATORS]
    return {"$schema": DIALECT, "$id": f"{name}.schema.json", **schema}


def schemas() -> dict[str, str]:
    """File name -> text of every schema."""
    return {
        f"{name}.schema.json": json.dumps(schema_of(name, shape), indent=2, ensure_ascii=False) + "\n"
        for name, shape in SCHEMAS.items()
    }
