"""Structure and style of the code: import layers, layout of packages and tests, sizes, words."""

import ast
import re
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

FILES = sorted(Path("mtpsim").rglob("*.py"))
FOLDERS = ("mtpsim", "tests", "verification", "benchmarks", "tools", "notebooks")
PACKAGES = {path.parent.name for path in Path("mtpsim").glob("*/__init__.py")}
LONGEST_FILE, LONGEST_FUNCTION = 500, 60  # lines
DIALECT = {"told", "foretell", "foretold", "nobody", "whoever", "befalls", "alike", "parted"}
DIALECT |= {"hereby", "foretells", "somebody"}


def test_imports_follow_the_layers():
    """The layers of pyproject.toml, which must name every package."""
    assert lint_imports(no_cache=True) == 0


@pytest.mark.parametrize(
    ("layer", "place"), [('"exact",', '"cli",'), ('"exact",', "")], ids=["moved", "left out"]
)
def test_violated_layers_are_found(layer, place, tmp_path):
    """Negative controls: exact above packages that import it, exact in no layer."""
    text = Path("pyproject.toml").read_text()
    text = text.replace(f"    {layer}\n", "")
    if place:
        text = text.replace(f"    {place}\n", f"    {place}\n    {layer}\n")
    (tmp_path / "pyproject.toml").write_text(text)
    found = lint_imports(str(tmp_path / "pyproject.toml"), no_cache=True)
    assert found == 1


def too_long(source, name):
    """The file, if it is too long, and its functions that are, without their docstrings."""
    if len(source.splitlines()) > LONGEST_FILE:
        yield name
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = len((ast.get_docstring(node) or "").splitlines())
            if node.end_lineno - node.lineno - documented >= LONGEST_FUNCTION:
                yield f"{name}: {node.name}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_and_functions_are_small(folder):
    files = sorted(Path(folder).rglob("*.py"))
    assert files
    assert [long for path in files for long in too_long(path.read_text(), str(path))] == []


@pytest.mark.parametrize(
    ("lines", "found"), [(60, []), (61, ["file: f"]), (501, ["file", "file: f"])]
)
def test_long_files_and_functions_are_found(lines, found):
    """Negative control: with 60 lines both are small enough."""
    source = "def f():\n" + "    pass\n" * (lines - 1)
    assert list(too_long(source, "file")) == found


def undocumented(node, name):
    """Public names without a docstring: ruff ignores names that are not in ``__all__``."""
    if not ast.get_docstring(node):
        yield name
    if isinstance(node, ast.FunctionDef):
        return  # names inside of a function are private
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and not inner.name.startswith("_"):
            yield from undocumented(inner, f"{name}.{inner.name}")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_public_names_have_docstrings(path):
    assert not list(undocumented(ast.parse(path.read_text()), str(path)))


def test_missing_docstrings_are_found():
    """Negative control."""
    source = '"A."\n__all__ = []\nclass A:\n  "A."\n  def b(self): ...\n  def _c(self): ...\n'
    assert list(undocumented(ast.parse(source), "file")) == ["file.A.b"]


def test_only_packages_stand_in_mtpsim():
    files = {path.name for path in Path("mtpsim").glob("*.py")}
    assert files == {"__init__.py", "__main__.py"}


def test_tests_mirror_the_packages():
    folders = {path.name for path in Path("tests").iterdir() if list(path.glob("*.py"))}
    assert not folders - PACKAGES - {"support", "project"}
    assert list(Path("tests").glob("*.py")) == [Path("tests/conftest.py")]


def test_no_test_imports_a_test():
    pattern = re.compile(r"^\s*(?:from|import) tests\.(?!support\b)", re.M)
    assert [str(p) for p in Path("tests").rglob("*.py") if pattern.search(p.read_text())] == []


def positional_packs(source):
    """Lines of calls with arguments such as ``*(a, b)``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and any(
            isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Tuple | ast.List)
            for argument in node.args
        ):
            yield node.lineno


def test_no_positional_packs():
    found = [f"{path}:{line}" for path in FILES for line in positional_packs(path.read_text())]
    assert found == []


def dialect(source):
    """Words of DIALECT in identifiers and strings, each with its line."""
    for node in ast.walk(ast.parse(source)):
        for field in ("name", "id", "attr", "arg", "value"):
            text = getattr(node, field, None)
            if isinstance(text, str):
                words = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z]+", " ", text).lower().split()
                yield from (f"{node.lineno}: {word}" for word in words if word in DIALECT)


def test_no_dialect():
    files = [path for path in FILES if path.name != "renamed.py"]  # it keeps former names
    found = [f"{path}:{word}" for path in files for word in dialect(path.read_text())]
    assert found == []


def test_packs_and_dialect_are_found():
    """Negative control."""
    source = 'def toldBy(*a):\n  "Foretold."\n  return f(*(1, 2), *a), g(*a)\n'
    assert list(positional_packs(source)) == [3]
    assert sorted(dialect(source)) == ["1: told", "2: foretold"]
