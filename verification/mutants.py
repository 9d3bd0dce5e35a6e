"""Mutants: every change of one sign, comparison, bound, index or constant in one function."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parents[1]
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        module: within mtpsim.
        line: of the file.
        change: ``before -> after``.
        code: of the module with the change.

    """

    module: str
    line: int
    change: str
    code: CodeType


Edit = tuple[ast.AST, Callable[[], None]]


def _sites(tree: ast.Module) -> Iterator[Edit]:
    """Places of a tree, each with a change to it, in an order that only the source decides."""
    for function in _functions(tree):
        for node in _inside(function):
            yield from _edits(node)


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node)


def _inside(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Statements and expressions of a function; no docstrings, annotations or raised errors."""
    queue: list[ast.AST] = list(function.body)
    while queue:
        node = queue.pop(0)
        if isinstance(node, ast.Raise | ast.ImportFrom | ast.Import | ast.JoinedStr):
            continue
        yield node
        skipped = [node.annotation] if isinstance(node, ast.AnnAssign) else []
        queue[:0] = [child for child in ast.iter_child_nodes(node) if child not in skipped]


def _edits(node: ast.AST) -> Iterator[Edit]:
    def put(name: str, value: object) -> Edit:
        return node, lambda: setattr(node, name, value)

    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
        yield put("op", SWAPS[type(node.op)]())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield put("ops", [SWAPS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield put("op", ast.UAdd() if isinstance(node.op, ast.USub) else _Same())
    elif isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        if type(node.value) is bool:
            yield put("value", not node.value)
        else:
            yield put("value", node.value + 1)
            yield put("value", node.value - 1)
    elif isinstance(node, ast.Slice):
        yield from _slices(node, put)
    elif isinstance(node, ast.Return) and node.value is not None:
        yield put("value", ast.Constant(None))
    elif isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(
        node.test, ast.Compare | ast.UnaryOp
    ):
        yield put("test", ast.UnaryOp(ast.Not(), node.test))


class _Same(ast.Not):
    """Marks a `not` that is to go."""


def _slices(node: ast.Slice, put: Callable[[str, object], Edit]) -> Iterator[Edit]:
    if node.lower is None and node.upper is None:
        return
    if node.lower is None:
        yield put("lower", ast.Constant(1))
    elif not isinstance(node.lower, ast.Constant):
        yield put("lower", ast.BinOp(node.lower, ast.Add(), ast.Constant(1)))
    if node.upper is None:
        yield put("upper", ast.Constant(-1))
    elif not isinstance(node.upper, ast.Constant):
        yield put("upper", ast.BinOp(node.upper, ast.Add(), ast.Constant(1)))


class _DropNot(ast.NodeTransformer):
    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return node.operand if isinstance(node.op, _Same) else node


def file_of(module: str) -> Path:
    return ROOT / "mtpsim" / (module.replace(".", "/") + ".py")


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of a module."""
    path = file_of(module)
    source = path.read_text(encoding="utf-8")
    count = sum(1 for _ in _sites(ast.parse(source)))
    for number in range(count):
        tree = ast.parse(source)
        node, edit = list(_sites(tree))[number]
        before = ast.unparse(node).splitlines()[0]
        edit()
        shown = copy.deepcopy(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, _Same):
            shown = node.operand
        after = ast.unparse(shown).splitlines()[0]
        tree = ast.fix_missing_locations(_DropNot().visit(tree))
        yield Mutant(module, node.lineno, f"{before} -> {after}", compile(tree, path, "exec"))


def unchanged(module: str) -> Mutant:
    """The control: the module as it is."""
    path = file_of(module)
    return Mutant(module, 0, "nothing", compile(path.read_text(encoding="utf-8"), path, "exec"))
