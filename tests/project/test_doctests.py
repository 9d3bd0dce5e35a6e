"""Docstrings: all examples run; the documented API has one of each, and every argument's type."""

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path
from pydoc import locate

import pytest

import mtpsim
from mtpsim.formula import closed_form

PAGE = Path("docs/reference/api.md").read_text()
DOCUMENTED = {
    name: locate(name)
    for name in re.findall(r"\.\. auto(?:function|class|exception):: (\S+)", PAGE)
}
FORMULAS = {name: one for name, one in vars(closed_form).items() if inspect.isfunction(one)}
DOCUMENTED |= {
    f"closed_form.{name}": one
    for name, one in FORMULAS.items()
    if one.__module__ == closed_form.__name__ and not name.startswith("_")
}
SECTIONS = "mtpsim.report.document."  # parts of a result, without examples of their own
MODULES = [p for p in sorted(Path("mtpsim").rglob("*.py")) if ">>> " in p.read_text()]


def callables():
    """Documented functions, and the public methods of documented classes, by name."""
    for name, one in DOCUMENTED.items():
        if not inspect.isclass(one):
            yield name, one
            continue
        for method, found in vars(one).items():
            function = getattr(found, "__func__", found)
            own = inspect.isfunction(function) and function.__module__ == one.__module__
            if own and not method.startswith(("_", "model_")):
                yield f"{name}.{method}", function


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_examples_run(path):
    module = import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    failed, attempted = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert attempted
    assert not failed


def test_every_public_name_is_documented_and_has_an_example():
    public = {getattr(mtpsim, name) for name in mtpsim.__all__ if name != "__version__"}
    assert not public - set(DOCUMENTED.values())
    lacking = [n for n, one in DOCUMENTED.items() if ">>>" not in inspect.getdoc(one)]
    assert [name for name in lacking if not name.startswith(SECTIONS)] == []


def test_every_argument_has_a_type_and_every_result_a_meaning():
    lacking = []
    for name, function in callables():
        text = inspect.getdoc(function) or ""
        given = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
        lacking += [f"{name}: {p}" for p in given if not re.search(rf"^ +{p} \(.+\): ", text, re.M)]
        returns = inspect.signature(function).return_annotation != "None"
        if given and returns and "Returns:" not in text:
            lacking.append(f"{name}: Returns")
    assert lacking == []
