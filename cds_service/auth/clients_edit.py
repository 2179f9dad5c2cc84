"""Add one client to the clients file as text, so that every other entry and comment stays as it is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cds_service.auth.clients import FORMAT, Clients, parse_clients
from cds_service.auth.clients_file import read_text, read_yaml
from cds_service.errors import ConfigurationError

_INDENT = 2


class _IndentedDumper(yaml.SafeDumper):
    """Dumps lists indented below their key, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
        super().increase_indent(flow, False)


def add_client(path: Path, entry: Mapping[str, Any]) -> Clients:
    """Append `entry` to the `clients` list of the file at `path`, which is made if it is not there.

    The result is checked before the file is replaced, in one step. Returns all clients;
    ConfigurationError leaves the file as it was.
    """
    old = read_text(path) if path.exists() else ""
    if read_yaml(path, old) is None:
        new = f"{_line_ended(old)}format: {FORMAT}\nclients:\n{_as_text(entry, _INDENT)}"
    else:
        parse_clients(path, old)
        new = _inserted(path, old, entry)
    clients = parse_clients(path, new)
    try:
        _replace(path, new)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}. Check the folder.") from error
    return clients


def _inserted(path: Path, old: str, entry: Mapping[str, Any]) -> str:
    clients = _clients_node(old)
    if clients is None:
        return f"{_line_ended(old)}clients:\n{_as_text(entry, _INDENT)}"
    if clients.value and clients.flow_style:
        raise ConfigurationError(f"{path}: clients: is written in brackets. Write one client per dash, then add.")
    if not clients.value:
        before, after = old[: clients.start_mark.index].rstrip(" "), old[clients.end_mark.index :]
        return f"{before}\n{_as_text(entry, _INDENT)}{after.lstrip(' ').removeprefix(chr(10))}"
    end = clients.end_mark.index
    return f"{_line_ended(old[:end])}{_as_text(entry, clients.start_mark.column)}{old[end:]}"


def _clients_node(text: str) -> yaml.SequenceNode | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((value for key, value in pairs if key.value == "clients"), None)


def _line_ended(text: str) -> str:
    return text if text.endswith("\n") or not text else f"{text}\n"


def _as_text(entry: Mapping[str, Any], column: int) -> str:
    text = yaml.dump([dict(entry)], Dumper=_IndentedDumper, sort_keys=False, allow_unicode=True, width=4096)
    # The top-level list is dumped with the indent of a nested one; start from the margin.
    lines = text.splitlines(keepends=True)
    margin = len(lines[0]) - len(lines[0].lstrip(" "))
    return "".join(" " * column + line[margin:] for line in lines)


def _replace(path: Path, text: str) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
