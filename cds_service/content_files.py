"""Reads `cards/` (and other bundled data) from disk: the only place that knows where content lives."""

from __future__ import annotations

import json
from pathlib import Path

from cds_service.errors import ConfigurationError
from cds_service.files import as_text, read_regular
from cds_service.policy.compiled import load
from cds_service.policy.content import YAML, Content, Faults, read
from cds_service.policy.rulebook import Rulebook, compile_content
from cds_service.policy.source import MAX_BYTES
from cds_service.render import wording

MOST_BYTES = 256 * 1024 * 1024
"""The largest compiled file, and the most of all files of a folder together."""
_PACKAGE = Path(__file__).resolve().parent

# Policies as they are on disk: the texts of a folder by their paths below it, or the one file that `policy build` made.
Source = dict[str, str] | bytes


def bundled(name: str) -> Path:
    """A file or folder shipped with the package: beside the package in a checkout, inside it in a wheel."""
    inside = _PACKAGE / "_data" / name
    return inside if inside.exists() else _PACKAGE.parent / name


def read_files(folder: Path) -> dict[str, str]:
    """All YAML files below a `cards/` folder: path below it -> text. Raises ConfigurationError.

    Files that are misnamed are among them, and bytes that are not UTF-8 stand as surrogates: content says where.
    """
    if folder.is_file():
        raise ConfigurationError(f"{folder} is a file. Name the cards folder that it was built from.")
    if not folder.is_dir():
        raise ConfigurationError(f"the cards folder {folder} does not exist. Set CDS_CARDS or --cards to a folder.")
    files, left = {}, MOST_BYTES
    for path in sorted(p for p in folder.rglob("*") if YAML.search(p.name)):
        try:
            data = read_regular(path, min(left, MAX_BYTES))
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
        files[path.relative_to(folder).as_posix()] = as_text(data, "surrogateescape")
        left -= len(data)
    return files


def load_content(folder: Path | None = None) -> Content:
    """Content of a folder (default: the bundled cards). Raises Faults or ConfigurationError."""
    return _content_of(read_files(folder or bundled("cards")))


def _content_of(files: dict[str, str]) -> Content:
    content = read(files)
    faults = [fault for policy in content.policies.values() for fault in wording.faults(policy)]
    if faults:
        raise Faults(faults)
    return content


def load_rulebook(path: Path | None = None) -> Rulebook:
    """Policies ready to evaluate: from a cards folder, or from the one file that `policy build` made.

    Raises Faults or ContentError where the content is faulty, ConfigurationError where it cannot be read.
    """
    path = path or bundled("cards")
    return rulebook_of(read_source(path), path.name)


def read_source(path: Path) -> Source:
    """What `load_rulebook` would read there, unchecked. Raises ConfigurationError."""
    try:
        return read_files(path) if path.is_dir() or not path.exists() else read_regular(path, MOST_BYTES)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}. Set CDS_CARDS or --cards.") from error


def packed(source: Source) -> bytes:
    """The policies as one piece, to be handed to another process."""
    return source if isinstance(source, bytes) else json.dumps(source).encode()


def unpacked(data: bytes) -> Source:
    """What `packed` made one piece of."""
    if not data.startswith(b"{"):
        return data
    texts: dict[str, str] = json.loads(data)
    return texts


def rulebook_of(source: Source, name: str) -> Rulebook:
    """Policies ready to evaluate; `name` is only for messages. Raises Faults or ContentError."""
    return load(source, name) if isinstance(source, bytes) else compile_content(_content_of(source))
