"""Inputs of tests of statistics: strategies for properties (the same in every run), estimates."""

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st

from mtpsim.stats.estimators import Estimates

settings.register_profile(
    "fixed",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    phases=[Phase.generate],  # most inputs are seeds, which need no shrinking
)
fixed = settings(settings.get_profile("fixed"))
few = settings(settings.get_profile("fixed"), max_examples=12)

unit = st.floats(0, 1, allow_subnormal=False)
inner = st.floats(0.01, 0.99)
rate_lists = st.lists(unit, min_size=1, max_size=6).map(np.array)
factors = st.floats(1e-3, 1e3)
seeds = st.integers(0, 2**32)


def times_of(depth, seed=0):
    return np.random.default_rng(seed).uniform(5, 50, depth + 1)


def estimates(values, error, correlation=0.0):
    """Estimates of options with equal standard errors."""
    values = np.asarray(values, float)
    covariance = error**2 * ((1 - correlation) * np.eye(len(values)) + correlation)
    return Estimates(values, covariance, 1.96)
