"""Examples in the docstrings of formulas, exact solvers and estimators."""

import doctest
import inspect

import pytest

from mtpsim.exact import chain_solver
from mtpsim.formula import closed_form
from mtpsim.stats import estimators


@pytest.mark.parametrize("module", [closed_form, chain_solver, estimators])
def test_examples_give_the_stated_output(module):
    failed, attempted = doctest.testmod(module)
    assert attempted
    assert not failed


def test_every_public_formula_has_an_example():
    functions = inspect.getmembers(closed_form, inspect.isfunction)
    functions = [(name, one) for name, one in functions if one.__module__ == closed_form.__name__]
    functions += [(name, getattr(chain_solver, name)) for name in ("solve", "speedups")]
    assert not [name for name, function in functions if ">>>" not in inspect.getdoc(function)]
