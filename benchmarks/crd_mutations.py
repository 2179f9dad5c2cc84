"""Breaks each SHALL of Da Vinci CRD that is said to be met, and sees that the test named for it fails.

python benchmarks/crd_mutations.py [STATEMENT ...]

What is broken, and by what, is in tests/crd/mutations.yaml. Works on a copy of the checkout, so that nothing here
changes; writes benchmarks/results/crd-mutations.json, which `python tests/crd/make_docs.py` lists. Exit code 1 where a
test passes in spite of a change, or fails without one.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MUTATIONS = ROOT / "tests" / "crd" / "mutations.yaml"
RESULTS = ROOT / "benchmarks" / "results" / "crd-mutations.json"
COPIED = ("cds_service", "cards", "fhir_fixtures", "tests", "benchmarks", "docs")
FILES = ("pyproject.toml", "openapi.yaml", "README.md", "CHANGELOG.md")
Mutation = dict[str, str]


def mutations() -> list[Mutation]:
    """The table: statement, what it breaks, test, file, find, put."""
    loaded: list[Mutation] = yaml.safe_load(MUTATIONS.read_text(encoding="utf-8"))
    return loaded


def mark(mutation: Mutation) -> str:
    """Of a mutation and its test: a result is one of this very change."""
    return hashlib.sha256(json.dumps(mutation, sort_keys=True).encode()).hexdigest()[:16]


def warm() -> None:
    """Import what the service and its tests import of others, once: each try is a fork of this process."""
    listed = "import sys; sys.path[:0] = ['tests', 'tests/crd']; import cds_service.web.app, cds_service.hooks.answer, "
    listed += "cds_service.facts.intake, crd_support; print(*[m for m in sys.modules if m[0] != '_'])"
    found = subprocess.run([sys.executable, "-c", listed], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in found.split():
        if not name.startswith(("cds_service", "crd_support", "support", "hypothesis", "schemathesis", "xdist")):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def passes(home: Path, *tests: str) -> bool:
    """Whether tests pass in a copy; a run that collects nothing is an error here, not an answer."""
    child = os.fork()
    if child == 0:
        os.chdir(home)
        os.environ |= {"PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.path.insert(0, str(home))
        sys.dont_write_bytecode = True
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *(str(home / t) for t in tests)]))
        if code not in (0, 1):
            sys.stderr.write(told.getvalue()[-3000:])
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, 1):
        raise SystemExit(f"{' '.join(tests)}: pytest ended with {code}")
    return code == 0


def noticed(home: Path, mutation: Mutation) -> bool:
    """Whether the test fails while the change is in place."""
    target = home / mutation["file"]
    text = target.read_text(encoding="utf-8")
    if text.count(mutation["find"]) != 1:
        raise SystemExit(
            f"{mutation['statement']}: 'find' stands {text.count(mutation['find'])} times in {target.name}"
        )
    target.write_text(text.replace(mutation["find"], mutation["put"]), encoding="utf-8")
    try:
        return not passes(home, mutation["test"])
    finally:
        target.write_text(text, encoding="utf-8")


def main(wanted: list[str]) -> int:
    """Try all mutations, or those of the statements that are named."""
    warm()
    table = [m for m in mutations() if not wanted or m["statement"] in wanted]
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in COPIED:
            shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copy(ROOT / name, home / name)
        if not passes(home, *dict.fromkeys(m["test"] for m in table)):
            print("The tests fail as they are.")
            return 1
        print("Unchanged, all tests pass.", flush=True)
        for mutation in table:
            known[mutation["statement"]] = {"mark": mark(mutation), "noticed": noticed(home, mutation)}
            told = "noticed" if known[mutation["statement"]]["noticed"] else "NOT NOTICED"
            print(f"{mutation['statement']}: {told} ({mutation['breaks']})", flush=True)
    current = {m["statement"] for m in mutations()}
    kept = {name: result for name, result in sorted(known.items()) if name in current}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return 0 if all(known[m["statement"]]["noticed"] for m in table) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
