"""Examples in docstrings run and print what they say: public API, formulas, solvers, estimators."""

import doctest
import inspect

import pytest

import mtpsim
from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.errors import Problem
from mtpsim.exact import chain_solver
from mtpsim.formula import closed_form
from mtpsim.stats import estimators

PUBLIC = [getattr(mtpsim, name) for name in mtpsim.__all__ if name != "__version__"]
FORMULAS = [one for _, one in inspect.getmembers(closed_form, inspect.isfunction)]
FORMULAS = [one for one in FORMULAS if one.__module__ == closed_form.__name__]


@pytest.mark.parametrize(
    "named",
    [mtpsim, *PUBLIC, mtpsim.ExecutorChoice.parse, AcceptanceChain, Problem],
    ids=lambda one: one.__name__,
)
def test_examples_of_the_public_api(named):
    (test,) = doctest.DocTestFinder(recurse=False).find(named, named.__name__)
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert results.failed == 0


@pytest.mark.parametrize("module", [closed_form, chain_solver, estimators])
def test_examples_of_modules(module):
    failed, attempted = doctest.testmod(module)
    assert attempted
    assert not failed


def test_every_public_formula_has_an_example():
    public = [one for one in FORMULAS if not one.__name__.startswith("_")]
    functions = [*public, chain_solver.solve, chain_solver.speedups]
    assert not [function for function in functions if ">>>" not in inspect.getdoc(function)]
