"""YAML with positions: plain data plus the line and column of every key and value.

Only true, false, null and numbers are read implicitly, so `on`, `no` and dates stay text (YAML 1.1 would
turn them into other things), and a duplicate key is an error instead of the last one winning.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from cds_service.errors import ContentError

Path = tuple[str | int, ...]

MAX_LEVELS = 64
MAX_NODES = 250_000
MAX_BYTES = 16 * 1024 * 1024
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TooDeep(yaml.MarkedYAMLError):
    """Something stands below more levels than any file needs; the mark is of the last level that is permitted."""


class TooMany(yaml.MarkedYAMLError):
    """More values than any file needs, with each alias (*name) written out; the mark is where they are too many."""


class Bounded:
    """For a loader: refuses what is nested too deeply, and what holds too many values, before anything is made of it.

    A loader calls itself for every level. Python counts its own calls, but not libyaml's: a hundred thousand of them
    overrun the stack, and that ends the process. Values are counted as they would be with every alias written out,
    for so they are gone through later: nine aliases of nine aliases, nine levels deep, are 400 million.
    """

    most = MAX_NODES
    _level = _nodes = 0

    def descend_resolver(self, parent: Any, _index: Any) -> None:
        """A value is begun (PyYAML's hook for tags that go by place, which no file here has)."""
        self._level += 1
        self._nodes += 1
        if self._level > MAX_LEVELS:
            raise TooDeep(problem=f"more than {MAX_LEVELS} levels", problem_mark=parent.start_mark)
        if self._nodes > self.most:
            raise TooMany(problem=f"more than {self.most} values", problem_mark=parent and parent.start_mark)

    def ascend_resolver(self) -> None:
        """The value is complete."""
        self._level -= 1

    def get_single_node(self) -> Any:
        """The root, once it is known how much there is with every alias written out."""
        root = super().get_single_node()  # type: ignore[misc]
        if root is not None:
            _written_out(root, self.most, {})
        return root


def _written_out(node: Any, most: int, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Values at and below a node, and levels, with every alias written out: each node is looked at once."""
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise yaml.composer.ComposerError(None, None, "an alias inside its own anchor", node.start_mark)
        return found
    known[id(node)] = None
    parts = node.value if isinstance(node.value, list) else ()
    below = [
        _written_out(child, most, known) for part in parts for child in (part if isinstance(part, tuple) else (part,))
    ]
    values, levels = 1 + sum(n for n, _ in below), 1 + max((n for _, n in below), default=0)
    if levels > MAX_LEVELS + 1:
        raise TooDeep(problem=f"more than {MAX_LEVELS} levels", problem_mark=node.start_mark)
    if values > most:
        raise TooMany(problem=f"more than {most} values", problem_mark=node.start_mark)
    known[id(node)] = values, levels
    return values, levels


class _Loader(Bounded, _Base):  # type: ignore[misc]
    """libyaml's loader where it exists, with JSON's implicit types only."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|false)$", "tf"),
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("int", r"^-?(?:0|[1-9][0-9]*)$", "-0123456789"),
    ("float", r"^-?(?:0|[1-9][0-9]*)\.[0-9]+$", "-0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


# Bytes that are not UTF-8, as `content_files` passes them on, and control characters.
_NO_TEXT = re.compile("[\udc80-\udcff]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")


def _refuse_what_is_no_text(file: str, text: str) -> None:
    """Raises ContentError at the first character that no text file has."""
    found = _NO_TEXT.search(text)
    if found is None:
        return
    lines = text[: found.start()].split("\n")
    place = (len(lines), len(lines[-1]) + 1)
    if found[0] >= "\udc80":
        raise ContentError(file, *place, "the file is not UTF-8 text.", "Save it in the encoding UTF-8.")
    raise ContentError(file, *place, "a character that no text has.", "Remove it, or save the file as UTF-8.")


_SYNTAX = (
    (f"more than {MAX_NODES}", f"more than {MAX_NODES} values, aliases (*name) written out.", "Write a smaller file."),
    ("inside its own anchor", "an alias (*name) stands inside its own anchor.", "Write it out."),
    ("more than", f"nested more than {MAX_LEVELS} levels deep.", "Write it with fewer levels."),
    ("mapping values are not allowed", "a ': ' where a text goes on.", "Quote the text, or correct the indentation."),
    ("could not find expected ':'", "a key without ': '.", "Write key: value."),
    ("did not find expected ','", "a bracket is not closed.", "Close it, and separate the parts by commas."),
    ("did not find expected", "the indentation does not fit the lines above.", "Align keys of one level by spaces."),
    ("found unexpected end of stream", "a quote is not closed.", "Close it."),
    ("found undefined alias", "an alias (*name) without its anchor (&name).", "Define the anchor before it is used."),
    ("could not determine a constructor", "a YAML tag (!name).", "Remove it."),
)


def _syntax(error: yaml.MarkedYAMLError, text: str, line: int) -> tuple[str, str]:
    """What libyaml says, in words an author knows, and the cure."""
    problem = error.problem or error.context or ""
    lines = text.splitlines()
    if "tab character" in problem or ("cannot start" in problem and "\t" in "".join(lines[line - 1 : line])):
        return "a tab in the indentation.", "Use spaces."
    if "cannot start any token" in problem:
        return "a character that must be quoted to start a text.", "Quote the text."
    for start, words, cure in _SYNTAX:
        if start in problem:
            return words, cure
    return f"not valid YAML: {problem}.", "Correct it."


class Document:
    """One parsed file: `data`, and where each part of it stands."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._marks: dict[Path, tuple[int, int]] = {}
        self._keys: dict[Path, tuple[int, int]] = {}
        if len(text) > MAX_BYTES:
            raise ContentError(file, 1, 1, f"the file is larger than {MAX_BYTES} bytes.", "Split it up.")
        _refuse_what_is_no_text(file, text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            self.data: Any = None if node is None else self._build(node, (), loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise ContentError(file, line, column, *_syntax(error, text, line)) from error
        except yaml.YAMLError as error:
            raise ContentError(file, 1, 1, "not valid YAML: a character that YAML forbids.", "Remove it.") from error
        finally:
            loader.dispose()
        if node is None:
            raise ContentError(file, 1, 1, "the file is empty.", "Fill it in or remove it.")

    def _build(self, node: Any, path: Path, loader: Any) -> Any:
        self._marks[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, loader)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(child, (*path, i), loader) for i, child in enumerate(node.value)]
        return self._scalar(node, path, loader)

    def _scalar(self, node: Any, path: Path, loader: Any) -> Any:
        try:
            return loader.construct_object(node)
        except yaml.YAMLError:
            raise
        except Exception as error:
            # PyYAML lets through whatever the type of a tag such as !!int or !!timestamp raises.
            cure = "Remove the tag (!!name), or put the text in quotes."
            raise ContentError(
                self.file, *self._marks[path], "a value that does not fit its YAML tag.", cure
            ) from error

    def _mapping(self, node: Any, path: Path, loader: Any) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ContentError(self.file, *where, "a list or mapping where a key goes.", "Write a word.")
            key = str(key_node.value)
            if key in result:
                raise ContentError(self.file, *where, f"the key '{key}' is here twice.", "Keep one of them.")
            self._keys[(*path, key)] = where
            result[key] = self._build(value_node, (*path, key), loader)
        return result

    def position(self, path: Path) -> tuple[int, int]:
        """Line and column of the part at `path`, or of the nearest part around it."""
        probe = tuple(path)
        while probe and probe not in self._marks:
            probe = probe[:-1]
        return self._keys.get(probe) or self._marks.get(probe, (1, 1))

    def error(self, path: Path, text: str, cure: str = "") -> ContentError:
        """A ContentError at `path`."""
        return ContentError(self.file, *self.position(path), text, cure)
