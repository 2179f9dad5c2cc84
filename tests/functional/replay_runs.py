"""Runs of `cds-service replay` and `synth` as processes, and their output as rows."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from support.paths import ROOT

from cds_service.cli import cli

Json = dict[str, Any]
STORIES = ROOT / "fhir_fixtures"


ENVIRONMENT = {"COLUMNS": "200", "NO_COLOR": "1"}


def clean() -> dict[str, str]:
    """The environment of a process: without the service's own variables, nor colours."""
    return {k: v for k, v in os.environ.items() if not k.startswith("CDS_")} | ENVIRONMENT


def command(*words: object) -> list[str]:
    return [sys.executable, "-W", "error::ResourceWarning", "-m", "cds_service.cli", *map(str, words)]


@dataclass
class Done:
    """What a command wrote."""

    stdout: str
    stderr: str


def run(*words: object, code: int = 0) -> Done:
    """One command, in this process (reading the libraries anew each time would take longer than most runs)."""
    name, *arguments = map(str, words)
    done = CliRunner(env=ENVIRONMENT).invoke(cli, [name, *arguments])
    assert done.exit_code == code, f"exit code {done.exit_code}\n{done.stdout}\n{done.stderr}\n{done.exc_info}"
    return Done(done.stdout, done.stderr)


def rows(path: Path) -> list[Json]:
    """An NDJSON file, or a folder of parts."""
    files = sorted(path.glob("part-*")) if path.is_dir() else [path]
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def told(path: Path) -> list[str]:
    """Determinations without where they came from, sorted."""
    apart = ("file", "line", "event")
    return sorted(json.dumps({k: v for k, v in r.items() if k not in apart}, sort_keys=True) for r in rows(path))


@cache
def policies(folder: Path) -> Path:
    """The bundled policies as one file: fast to read, and the same for a whole test while content is worked on."""
    path = folder / "cards.compiled"
    from cds_service.content_files import load_content
    from cds_service.policy.compiled import dump

    path.write_bytes(dump(load_content()))
    return path


def ndjson(path: Path, *values: Any) -> Path:
    """Write values, or raw lines, as NDJSON."""
    lines = [v if isinstance(v, str) else json.dumps(v) for v in values]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def story(name: str) -> Json:
    """A story's hook request."""
    body: Json = json.loads((STORIES / name / "request.json").read_text(encoding="utf-8"))
    return body


def chart(name: str) -> Json:
    """A story's chart, a collection Bundle."""
    bundle: Json = json.loads((STORIES / name / "fhir" / "chart.json").read_text(encoding="utf-8"))
    return bundle


def bundle_of(name: str) -> Json:
    """A story as one Bundle: its chart and its draft orders."""
    whole, request = chart(name), story(name)
    held = {(e["resource"]["resourceType"], e["resource"]["id"]) for e in whole["entry"]}
    orders = request["context"]["draftOrders"]["entry"]
    more = [e for e in orders if (e["resource"]["resourceType"], e["resource"]["id"]) not in held]
    return {**whole, "type": "collection", "entry": whole["entry"] + more}
