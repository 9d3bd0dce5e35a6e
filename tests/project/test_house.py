"""Rules of the house that a reader relies on: one way of imports, small files and functions."""

import ast
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

FILES = sorted(Path("mtpsim").rglob("*.py"))
ROOMS = ("mtpsim", "tests", "verification", "benchmarks", "tools", "notebooks")
LONGEST_FILE, LONGEST_FUNCTION = 500, 60  # lines


def test_imports_go_one_way():
    """By the layers of pyproject.toml, which must name every module."""
    assert lint_imports(no_cache=True) == 0


@pytest.mark.parametrize(
    ("layer", "place"), [('"exact",', '"cli",'), ('"exact",', "")], ids=["moved", "left out"]
)
def test_the_layers_notice(layer, place, tmp_path):
    """Negative controls: exact above those who import it, exact in no layer at all."""
    text = Path("pyproject.toml").read_text()
    text = text.replace(f"    {layer}\n", "")
    if place:
        text = text.replace(f"    {place}\n", f"    {place}\n    {layer}\n")
    (tmp_path / "pyproject.toml").write_text(text)
    found = lint_imports(str(tmp_path / "pyproject.toml"), no_cache=True)
    assert found == 1


def too_long(source, name):
    """The file, if it is long, and its long functions."""
    if len(source.splitlines()) > LONGEST_FILE:
        yield name
    for node in ast.walk(ast.parse(source)):
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if function and node.end_lineno - node.lineno >= LONGEST_FUNCTION:
            yield f"{name}: {node.name}"


@pytest.mark.parametrize("room", ROOMS)
def test_files_and_functions_are_small(room):
    files = sorted(Path(room).rglob("*.py"))
    assert files
    assert [long for path in files for long in too_long(path.read_text(), str(path))] == []


@pytest.mark.parametrize(
    ("lines", "found"), [(60, []), (61, ["file: f"]), (501, ["file", "file: f"])]
)
def test_a_long_file_and_a_long_function_are_found(lines, found):
    """Negative control: of 60 lines both are small enough."""
    source = "def f():\n" + "    pass\n" * (lines - 1)
    assert list(too_long(source, "file")) == found


def undocumented(node, name):
    """Public names without a docstring: ruff's rules pass over what ``__all__`` leaves out."""
    if not ast.get_docstring(node):
        yield name
    if isinstance(node, ast.FunctionDef):
        return  # what is inside of a function is its own matter
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and not inner.name.startswith("_"):
            yield from undocumented(inner, f"{name}.{inner.name}")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_public_names_have_docstrings(path):
    assert not list(undocumented(ast.parse(path.read_text()), str(path)))


def test_a_name_without_a_docstring_is_found():
    """Negative control."""
    source = (
        '"""A file."""\n__all__ = []\nclass A:\n  "A."\n  def b(self): ...\n  def _c(self): ...\n'
    )
    assert list(undocumented(ast.parse(source), "file")) == ["file.A.b"]
