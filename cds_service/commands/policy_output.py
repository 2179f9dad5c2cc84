"""How the policy commands print: colour on a terminal, plain text elsewhere, faults with place and cure."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.text import Text

from cds_service.errors import CdsServiceError, ContentError
from cds_service.policy.content import Faults
from cds_service.policy.lint import GAP, Notice

P = ParamSpec("P")
R = TypeVar("R")
PLAIN_WIDTH = 10_000  # lines of a file or pipe are never wrapped


def console(stderr: bool = False) -> Console:
    """A console on the present stdout or stderr; without a terminal, plain and unwrapped."""
    file = sys.stderr if stderr else sys.stdout
    width = None if file.isatty() else PLAIN_WIDTH
    return Console(file=file, highlight=False, width=width)


def say_json(data: Any) -> None:
    """Print plain data as JSON."""
    click.echo(json.dumps(data, indent=2))


@dataclass(frozen=True)
class Remark:
    """A fault or a warning, as `lint` prints it."""

    severity: str
    file: str
    line: int
    column: int
    text: str
    cure: str
    kind: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return dict(vars(self))


def of_error(error: ContentError) -> Remark:
    """A content error as a remark."""
    return Remark("error", error.file, error.line, error.column, error.text, error.cure, "content")


def of_notice(found: Notice) -> Remark:
    """A lint notice as a remark: a gap that the encoding states is none of its faults."""
    severity = "notice" if found.kind == GAP else "warning"
    return Remark(severity, found.file, found.line, found.column, found.text, found.cure, found.kind)


def show_remarks(remarks: Sequence[Remark], out: Console) -> None:
    """One line per remark: `file:line:column: error: text cure`."""
    styles = {"error": "bold red", "warning": "yellow", "notice": "cyan"}
    for remark in remarks:
        out.print(
            Text.assemble(
                (f"{remark.file}:{remark.line}:{remark.column}: ", "dim"),
                (f"{remark.severity}: ", styles[remark.severity]),
                remark.text,
                (f" {remark.cure}" if remark.cure else "", "green"),
            )
        )


def counted(number: int, what: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Faults of content, files and settings end a command with a message and their exit code, not a traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except Faults as faults:
            show_remarks([of_error(e) for e in faults.errors], console(stderr=True))
            sys.exit(ContentError.exit_code)
        except CdsServiceError as error:
            console(stderr=True).print(Text.assemble(("error: ", "bold red"), str(error)))
            sys.exit(error.exit_code)

    return wrapped
