"""The keys that the schema allows at a place of a document."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from cds_service.policy.source import Path


def keys_at(shape: type[BaseModel], path: Path) -> list[str]:
    """Keys of the mapping at `path` of a document of this shape, in the schema's order; none where keys are free."""
    shapes: list[Any] = [shape]
    for step in path:
        shapes = [inner for outer in shapes for inner in _within(outer, step)]
    return list(dict.fromkeys(f.alias or name for s in _models(shapes) for name, f in s.model_fields.items()))


def _models(shapes: list[Any]) -> Iterator[type[BaseModel]]:
    return (s for s in shapes if isinstance(s, type) and issubclass(s, BaseModel))


def _within(shape: Any, step: str | int) -> Iterator[Any]:
    """What may stand at one step inside a shape: a model's key, any key of a mapping, any number of a list."""
    origin, parts = get_origin(shape), get_args(shape)
    if isinstance(step, int) and origin is list:
        yield from _flat(parts[0])
    elif origin is dict:
        yield from _flat(parts[1])
    else:
        for model in _models([shape]):
            for name, found in model.model_fields.items():
                if step == (found.alias or name):
                    yield from _flat(found.annotation)


def _flat(annotation: Any) -> Iterator[Any]:
    """The shapes of an annotation, without what is wrapped around them."""
    if get_origin(annotation) is Annotated:
        yield from _flat(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _flat(part)
    else:
        yield annotation
