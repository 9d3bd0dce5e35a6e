"""Estimates of options with equal standard errors."""

import numpy as np

from mtpsim.stats.estimators import Estimates


def estimates(values, error, correlation=0.0):
    values = np.asarray(values, float)
    covariance = error**2 * ((1 - correlation) * np.eye(len(values)) + correlation)
    return Estimates(values, covariance, 1.96)
