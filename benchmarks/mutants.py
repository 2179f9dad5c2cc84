"""What mutation testing may change: one place in one module of policy/ or determination/ at a time."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PACKAGES = ("cds_service/policy", "cds_service/determination")
MARKS = ROOT / "benchmarks" / "mutation-equivalent.yaml"

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
    """One change: its module, the number of its place there, the lines of its statement, and what it does."""

    module: str
    number: int
    line: int
    lines: range
    source: str
    change: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.change}"


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


def _lines(node: ast.stmt) -> range:
    """The lines of a statement; of one that holds others, those of its head."""
    inside = getattr(node, "body", None) or getattr(node, "cases", None)
    if inside is None:
        return range(node.lineno, (node.end_lineno or node.lineno) + 1)
    first = inside[0].pattern if isinstance(inside[0], ast.match_case) else inside[0]
    return range(node.lineno, max(first.lineno, node.lineno + 1))


class _Changer(ast.NodeTransformer):
    """Visits every place that can be changed; changes the one with the wanted number."""

    def __init__(self, wanted: int | None = None) -> None:
        self.wanted, self.lines = wanted, range(0)
        self.found: list[tuple[int, range, str]] = []

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.stmt):
            self.lines = _lines(node)
        elif isinstance(node, ast.match_case):
            self.lines = range(node.pattern.lineno, max(node.body[0].lineno, node.pattern.lineno + 1))
        for text, other in _variants(node):
            self.found.append((node.lineno, self.lines, text))  # type: ignore[attr-defined]
            if len(self.found) - 1 == self.wanted:
                return ast.copy_location(other, node)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        node.defaults = [self.visit(d) for d in node.defaults]
        node.kw_defaults = [d and self.visit(d) for d in node.kw_defaults]
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.AnnAssign):  # annotations are not behaviour
            return self.visit_AnnAssign(node)
        if isinstance(node, ast.FunctionDef):
            node.args = self.visit_arguments(node.args)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):  # decorators (frozen, slots) are not behaviour
            node.body = [self.visit(b) for b in node.body]
            return node
        if isinstance(node, ast.keyword) and node.arg in ("repr", "compare"):
            return node
        return super().generic_visit(node)


@cache
def source(module: str) -> str:
    """A module's text as it was when first read: edits during a run change nothing."""
    return (ROOT / module).read_text(encoding="utf-8")


def mutants() -> list[Mutant]:
    """Every mutant of the two packages."""
    found = []
    for path in sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py")):
        module = path.relative_to(ROOT).as_posix()
        text, changer = source(module).splitlines(), _Changer()
        changer.visit(ast.parse(source(module)))
        for number, (line, lines, change) in enumerate(changer.found):
            found.append(Mutant(module, number, line, lines, text[line - 1].strip(), change))
    return found


def tree(module: str, number: int | None = None) -> ast.Module:
    """A module's syntax tree, with one change or with none; lines stay where they are."""
    changed = _Changer(number).visit(ast.parse(source(module)))
    assert isinstance(changed, ast.Module)
    return ast.fix_missing_locations(changed)


@dataclass(frozen=True)
class Mark:
    """A change that no test can notice, by the text of its line, and why."""

    module: str
    source: str
    change: str
    why: str

    def fits(self, mutant: Mutant) -> bool:
        return (self.module, self.source, self.change) == (mutant.module, mutant.source, mutant.change)


def marks() -> list[Mark]:
    """The equivalent mutants that somebody has looked at: module -> line -> change -> why."""
    listed = yaml.safe_load(MARKS.read_text(encoding="utf-8")) if MARKS.exists() else None
    return [
        Mark(module, line, change, why)
        for module, lines in (listed or {}).items()
        for line, changes in lines.items()
        for change, why in changes.items()
    ]
