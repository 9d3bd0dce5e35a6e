"""Examples in the docstrings of the public API run and print what they say."""

import doctest

import pytest

import mtpsim
from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.errors import Problem

PUBLIC = [getattr(mtpsim, name) for name in mtpsim.__all__ if name != "__version__"]
OBJECTS = [mtpsim, *PUBLIC, AcceptanceChain, Problem]


@pytest.mark.parametrize("named", OBJECTS, ids=lambda one: one.__name__)
def test_examples_run(named):
    (test,) = doctest.DocTestFinder(recurse=False).find(named, named.__name__)
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert results.failed == 0
