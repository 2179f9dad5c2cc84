"""Mutation testing of the engine: changes one thing in policy/ or determination/, and the tests must notice.

Works on a copy of the repository. Prints killed and survived, and writes the survivors to
benchmarks/mutation-survivors.txt. `--sample N` tries N mutants chosen by `--seed`; `--minutes M` stops in time.
Exits 1 when fewer than `--at-least` percent are killed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2  # noqa: F401 - imported before the fork, so that mutants do not pay for it
import orjson  # noqa: F401
import pydantic  # noqa: F401
import pytest
import rich.console  # noqa: F401
import yaml  # noqa: F401

ROOT = Path(__file__).parents[1]
PACKAGES = ("cds_service/policy", "cds_service/determination")
# Fast and sharp tests first: a mutant is dead at its first failure.
TESTS = (
    "tests/spec/test_truth_tables.py",
    "tests/unit/test_policy_verdict.py",
    "tests/unit/test_policy_evaluate.py",
    "tests/unit/test_determination*.py",
    "tests/unit/test_operation*.py",
    "tests/policies/test_policy_cases.py",
    "tests/policies/test_lint.py",
    "tests/policies/test_broken_files.py",
    "tests/unit/test_policy_outlines.py",
    "tests/unit/test_policy_commands.py",
    "tests/generative/test_engine_cards.py",
    "tests/generative/test_engine_agrees.py",
    "tests/policies/test_vocabulary.py",
    "tests/crd/test_outcomes.py",
)
TIME_LIMIT = 180  # seconds per mutant; a mutant that loops forever is killed

COMPARE = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
NAMES = {
    "MET": "NOT_MET", "NOT_MET": "UNKNOWN", "UNKNOWN": "NOT_MET", "any": "all", "all": "any", "min": "max",
    "max": "min",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: the module, the number of its place, and what it does there."""

    module: str
    number: int
    line: int
    text: str


def _variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What a node may be changed to, with a description."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
        other = copy.deepcopy(node)
        other.ops[0] = COMPARE[type(node.ops[0])]()
        yield f"{ast.unparse(node)} -> {ast.unparse(other)}", other
    elif isinstance(node, ast.BoolOp):
        other = copy.deepcopy(node)
        other.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{ast.unparse(node)} -> {ast.unparse(other)}", other
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"{ast.unparse(node)} -> {ast.unparse(node.operand)}", node.operand
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        other = copy.deepcopy(node)
        other.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield f"{ast.unparse(node)} -> {ast.unparse(other)}", other
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield f"{node.value} -> {node.value + 1}", ast.Constant(node.value + 1)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in NAMES:
        yield f"{node.id} -> {NAMES[node.id]}", ast.Name(NAMES[node.id], ast.Load())
    elif isinstance(node, ast.IfExp):
        other = copy.deepcopy(node)
        other.test = ast.UnaryOp(ast.Not(), node.test)
        yield f"{ast.unparse(node)} -> condition reversed", other
    elif isinstance(node, ast.Break):
        yield "break -> pass", ast.Pass()


class _Changer(ast.NodeTransformer):
    """Visits every place that can be changed; changes the one with the wanted number."""

    def __init__(self, wanted: int | None = None) -> None:
        self.wanted, self.count = wanted, 0
        self.found: list[tuple[int, str]] = []

    def visit(self, node: ast.AST) -> ast.AST:
        for text, other in _variants(node):
            number = self.count
            self.count += 1
            self.found.append((getattr(node, "lineno", 0), text))
            if number == self.wanted:
                return ast.copy_location(other, node)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        node.defaults = [self.visit(d) for d in node.defaults]
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.FunctionDef):
            node.args = self.visit_arguments(node.args)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):  # decorators (frozen, slots) are not behaviour
            node.body = [self.visit(b) for b in node.body]
            return node
        if isinstance(node, ast.keyword) and node.arg in ("repr", "compare"):
            return node
        return super().generic_visit(node)


def mutants() -> list[Mutant]:
    """Every mutant of the two packages."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).glob("*.py")):
            changer = _Changer()
            changer.visit(ast.parse(path.read_text(encoding="utf-8")))
            name = path.relative_to(ROOT).as_posix()
            found += [Mutant(name, n, line, text) for n, (line, text) in enumerate(changer.found)]
    return found


def mutated(mutant: Mutant) -> str:
    """The module's source with one change."""
    tree = _Changer(mutant.number).visit(ast.parse((ROOT / mutant.module).read_text(encoding="utf-8")))
    return ast.unparse(ast.fix_missing_locations(tree))


def copied(target: Path) -> Path:
    """A copy of what the tests need."""
    skip = shutil.ignore_patterns("__pycache__", "*.pyc", ".hypothesis")
    for name in ("cds_service", "tests", "cards", "fhir_fixtures", "docs", "benchmarks"):
        shutil.copytree(ROOT / name, target / name, ignore=skip)
    for name in ("pyproject.toml", "openapi.yaml", "README.md"):
        shutil.copy(ROOT / name, target / name)
    return target


def tests_in(folder: Path) -> list[str]:
    """The tests that exist, fast ones first."""
    found = [p.relative_to(folder).as_posix() for pattern in TESTS for p in sorted(folder.glob(pattern))]
    return list(dict.fromkeys(found))


def survives(folder: Path, tests: list[str]) -> bool:
    """True when all tests pass. Runs in a fork, so that each mutant is imported afresh."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(folder)
            sys.path.insert(0, str(folder))
            sys.dont_write_bytecode = True
            signal.alarm(TIME_LIMIT)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return status == 0


def main() -> None:
    """Try the mutants and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=0, help="How many mutants to try; 0 for all.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=0, help="Stop after this long; 0 for no limit.")
    parser.add_argument("--at-least", type=float, default=90, help="Percent that must be killed.")
    options = parser.parse_args()
    everything = mutants()
    chosen = everything
    if options.sample:
        chosen = random.Random(options.seed).sample(everything, min(options.sample, len(everything)))
    survivors: list[Mutant] = []
    tried = 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = copied(Path(scratch) / "repo")
        tests = tests_in(folder)
        if not survives(folder, tests):
            sys.exit("the tests fail without any mutant: nothing can be measured")
        for mutant in chosen:
            if options.minutes and time.monotonic() - started > options.minutes * 60:
                break
            (folder / mutant.module).write_text(mutated(mutant), encoding="utf-8")
            if survives(folder, tests):
                survivors.append(mutant)
                print(f"survived {mutant.module}:{mutant.line}: {mutant.text}", flush=True)
            shutil.copy(ROOT / mutant.module, folder / mutant.module)
            tried += 1
    killed = 100 * (tried - len(survivors)) / tried if tried else 0.0
    summary = f"{tried} of {len(everything)} mutants tried, {tried - len(survivors)} killed ({killed:.1f} %)"
    lines = [f"# {summary}"] + [f"{m.module}:{m.line}: {m.text}" for m in survivors]
    (ROOT / "benchmarks" / "mutation-survivors.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{summary}, in {time.monotonic() - started:.0f} s")
    sys.exit(0 if killed >= options.at_least else 1)


if __name__ == "__main__":
    main()
