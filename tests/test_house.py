"""Rules of the house that a reader relies on: one way of imports, small files and functions."""

import ast
from pathlib import Path

import pytest

FILES = sorted(Path("mtpsim").rglob("*.py"))
# Each room may import from rooms above it in this list, and from its own.
ORDER = [
    (
        "problems",
        "spec",
        "options",
        "toml_lines",
        "theory",
        "measure",
        "sweep",
        "decision",
        "spread",
        "simulation",
    ),
    ("policy",),
    ("adaptive",),
    ("kernels",),
    ("tally", "logs"),
    ("acceptance", "latency"),
    ("complaints", "replay", "layout"),
    ("exact",),
    ("belief", "optimal"),
    ("contest",),
    ("compile", "blocks"),
    ("experiment",),
    ("explain", "identity"),
    ("simulate", "record"),
    ("work", "round_times"),
    ("crew",),
    ("in_order",),
    ("estimate", "verdicts"),
    ("choice", "dependence", "learning", "variants", "fit", "plan", "aim", "control", "tails"),
    ("advise",),
    ("measured",),
    ("on_trial", "by_batch", "by_policy", "uncertain"),
    ("report",),
    ("result",),
    ("point",),
    ("job",),
    ("store",),
    ("merge",),
    ("run_verb", "export", "fit_verb", "fit_steps_verb", "sample_verb", "plan_verb"),
    ("merge_verb",),
    ("cli",),
    ("__main__",),
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}


def room_of(module):
    return module.split(".")[1] if "." in module else ""


def imports(path):
    """Modules that a file imports at run time (type-checking blocks aside)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mtpsim"):
            if node.module == "mtpsim":
                yield from (f"mtpsim.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_one_way(path):
    room = path.parts[1].removesuffix(".py")
    if room == "__init__":
        return
    for module in imports(path):
        if room_of(module) in RANK:
            assert RANK[room_of(module)] <= RANK[room], f"{path} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_are_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"
