"""Reading a YAML file strictly, and saying what is wrong with it: file, field, cure, never a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from cds_service.errors import ConfigurationError
from cds_service.files import as_text, read_regular
from cds_service.policy.source import MAX_BYTES, MAX_LEVELS, Bounded, TooDeep, TooMany

M = TypeVar("M", bound=BaseModel)

MAX_VALUES = 50_000  # of more than a thousand clients; a switch must not wait long for a file to be read
_CURES = {
    "extra_forbidden": "is not a known key. Correct its spelling or remove it.",
    "missing": "is missing. Add it.",
    "string_type": "is not text. Put it in quotes.",
    "bool_type": "is not true or false. Write one of the two, without quotes.",
    "list_type": "is not a list. Write each item on a line of its own, after a dash.",
    "model_type": "is not a mapping. Write key: value lines.",
    "dict_type": "is not a mapping. Write key: value lines.",
    "string_pattern_mismatch": "has a wrong form. Use 1 to 64 of a-z, 0-9, dot, dash, underscore.",
}


class _UniqueKeyLoader(Bounded, yaml.SafeLoader):
    """SafeLoader that refuses deep nesting, and a key given twice, which YAML forbids and PyYAML lets pass.

    `begun` is where the value stands that was looked at last.
    """

    most = MAX_VALUES
    begun: yaml.Mark | None = None

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        self.begun = node.start_mark
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, "this key is given twice; keep one", key_node.start_mark
                )
            if isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def read_text(path: Path) -> str:
    """The text of a file. ConfigurationError if it cannot be read or is not UTF-8."""
    try:
        return as_text(read_regular(path, MAX_BYTES))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8. Save it as UTF-8.") from error


def read_yaml(path: Path, text: str | None = None) -> Any:
    """The document of a YAML file (or of `text`); None if it is empty. ConfigurationError if unreadable."""
    text = read_text(path) if text is None else text
    loader: Any = None
    try:
        loader = _UniqueKeyLoader(text)  # a subclass of SafeLoader: builds plain values only
        return loader.get_single_data()
    except TooMany as error:
        told = f"holds more than {MAX_VALUES} values, aliases (*name) written out. Write a smaller file."
        raise ConfigurationError(f"{path}{_position(error.problem_mark)}: {told}") from None
    except TooDeep as error:
        told = f"is nested more than {MAX_LEVELS} levels deep. Write it with fewer levels."
        raise ConfigurationError(f"{path}{_position(error.problem_mark)}: {told}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigurationError(f"{path}{_position(mark)}: is not valid YAML: {_problem(error)}.") from None
    except Exception:  # noqa: BLE001 - PyYAML fails in many ways at a value that is not what it looks like
        place, told = _position(loader and loader.begun), "looks like a number, a date or the like and is none"
        raise ConfigurationError(f"{path}{place}: {told}. Put it in quotes.") from None


def _position(mark: yaml.Mark | None) -> str:
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    # Only the parser's own words: its full message would quote the file.
    return getattr(error, "problem", None) or "correct the syntax"


def check_model(path: Path, model: type[M], document: Any) -> M:
    """`document` as `model`; ConfigurationError with one line per faulty field."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        lines = [f"{path}: {_field(fault['loc'])}: {_fault_text(fault)}" for fault in faults]
        raise ConfigurationError("\n".join(dict.fromkeys(lines))) from None


def _field(location: Sequence[int | str]) -> str:
    text = ""
    for part in location:
        if part == "[key]":  # pydantic's mark for "the key itself, not its value"
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "(whole file)"


def _fault_text(fault: Mapping[str, Any]) -> str:
    cure = _CURES.get(fault["type"])
    message: str = fault["msg"].removeprefix("Value error, ")
    return cure or f"{message[:1].lower()}{message[1:]}."
