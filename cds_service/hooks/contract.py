"""`openapi.yaml` as the contract: validates request envelopes and responses, and words the faults.

jsonschema-rs says yes quickly; what it rejects, jsonschema explains. Messages name the field and the rule that
is broken, never the value: values are a patient's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from cds_service.content_files import bundled
from cds_service.errors import Issue
from cds_service.policy.safe_names import safe_step
from cds_service.policy.source import Document

MOST_FAULTS = 100


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The parsed contract."""
    loaded: dict[str, Any] = Document("openapi.yaml", text()).data
    return loaded


@lru_cache(maxsize=1)
def text() -> str:
    """The contract as it is served."""
    return bundled("openapi.yaml").read_text(encoding="utf-8")


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """As ECMA-262 reads a pattern: its `$` is the very end, Python's may be before a last line break."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError("does not fit the pattern")


_Judge: Any = validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}


@lru_cache(maxsize=32)
def _quick(name: str) -> Any:
    return jsonschema_rs.Draft202012Validator(_schema(name))


@lru_cache(maxsize=32)
def _judge(name: str) -> Any:
    resource = DRAFT202012.create_resource(_schema(name))
    return _Judge(_schema(name), registry=Registry().with_resource("", resource))


def faults(name: str, value: Any, base: str = "") -> tuple[Issue, ...]:
    """The first issues of a value against a component schema; `base` is the path of the value in the request."""
    if _quick(name).is_valid(value):
        return ()
    # One by one: a faulty list of a million has as many faults, and whoever sent it needs no more than the first.
    errors = sorted(islice(_judge(name).iter_errors(value), MOST_FAULTS), key=_depth)
    # Should the two ever differ, what one of them refuses is refused.
    return tuple(_issues(errors, base)) or (Issue("does not fit the contract", base or "$", "structure"),)


def _depth(error: ValidationError) -> int:
    """What is wrong with the whole comes before what is wrong within it; else in the order of the request."""
    return len(error.absolute_path)


def _issues(errors: Iterable[ValidationError], base: str) -> Iterable[Issue]:
    for error in errors:
        path = _path(base, error.absolute_path)
        if error.validator == "required":
            required: Any = error.validator_value
            present = error.instance if isinstance(error.instance, dict) else {}
            for missing in (name for name in required if name not in present):
                yield Issue("is missing", f"{path}.{missing}".lstrip("."), "required")
        else:
            yield Issue(_words(error), path or "$", "structure")


def _path(base: str, steps: Iterable[str | int]) -> str:
    path = base
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{safe_step(step)}"
    return path.lstrip(".")


def _words(error: ValidationError) -> str:
    rule: str = str(error.validator)
    value: Any = error.validator_value
    if rule == "type":
        kinds = [value] if isinstance(value, str) else value
        return f"must be {' or '.join(_article(k) for k in kinds)}"
    if rule in ("minLength", "minItems"):
        return "must not be empty"
    if rule in ("maxLength", "maxItems"):
        return f"is longer than {value}"
    if rule == "pattern":  # ids are all that has one
        return "is not a FHIR id"
    if rule == "const":
        return f"must be '{value}'"
    if rule == "enum":
        return f"must be one of {', '.join(map(str, value))}"
    if rule == "anyOf" and all(option.keys() == {"required"} for option in value):
        return f"must have {' or '.join(' and '.join(option['required']) for option in value)}"
    return f"does not satisfy '{rule}' of the contract"


def _article(kind: str) -> str:
    return "null" if kind == "null" else f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
