"""Verdicts on steps of depth, and the sentence of the advice."""

import numpy as np
import pytest

from mtpsim.results.advice import Steps, advise, step_verdict
from mtpsim.stats.comparisons import choose, log_of
from tests.support.strategies import estimates


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.2, 1.3, "essential"),
        (1.05, 1.2, "worthwhile"),
        (0.99, 1.01, "marginal"),
        (0.9, 0.95, "harmful"),
    ],
)
def test_step_verdicts(low, high, expected):
    assert step_verdict(low, high) == expected


def advice(speedups, marginals, error=1e-4, rates=(0.8, 0.74, 0.67), indifference=0.0):
    speedup = estimates(speedups, error)
    steps = Steps(estimates(marginals, error), np.array([0.29, 0.46, 0.719]), np.array(rates))
    return advise(
        speedup=speedup,
        steps=steps,
        choice=choose(log_of(speedup), 0.95),
        confidence=0.95,
        indifference=indifference,
    )


def test_sentence_of_the_founding_case():
    found = advice([1, 1.395918, 1.540610, 1.524724], [1.3959, 1.1037, 0.9897])
    assert found.sentence == (
        "Run depth 2: 1.5406x [1.5404, 1.5408]. Depth 3 is 1.03 % [1.01, 1.05] slower than depth "
        "2; break-even p3 = 0.719 (yours: 0.67)."
    )
    assert found.verdicts == ["essential", "essential", "harmful"]
    assert (found.depth, found.candidates, found.confidence) == (2, [2], 1.0)


def test_sentences_of_other_outcomes():
    off = advice([1, 0.9, 0.85, 0.8], [0.9, 0.94, 0.94], rates=(0.2, 0.2, 0.2))
    assert off.sentence.startswith("Turn MTP off: no depth is faster. Depth 1 is 10.00 %")
    sure = advice([1, 1.5, 1.4, 1.3], [1.5, 0.9333, 0.92857], error=1e-9).sentence
    assert sure.startswith("Run depth 1: 1.5000x. Depth 2 is 6.6700 % slower than depth 1;")
    deep = advice([1, 1.2, 1.3, 1.4], [1.2, 1.08, 1.08])
    assert deep.sentence.endswith("No deeper draft was simulated; one may be faster.")
    tie = advice([1, 1.2, 1.3, 1.3001], [1.2, 1.08, 1.0001], error=0.01)
    assert "Depths 2 and 3 cannot be distinguished" in tie.sentence
    assert tie.candidates == [2, 3]
    flat = advice([1, 1.2, 1.3, 1.295], [1.2, 1.08, 0.996], indifference=0.01)
    assert "Depth 3 is within 1 % of it." in flat.sentence
    rough = advice([1, 1.2, 1.3, 1.283], [1.2, 1.08, 0.987], error=0.003, indifference=0.01)
    assert "Depth 3 may be within 1 % of it." in rough.sentence
    assert (flat.candidates, flat.within) == ([2], [2, 3])
