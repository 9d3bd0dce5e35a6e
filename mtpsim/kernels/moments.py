"""Mean and co-moments of a block's rows, summed in a fixed order: the same bits everywhere.

A matrix product from a BLAS would be as fast, but its order of summation moves with the library,
the machine and its number of threads.
"""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.jit import kernel


@kernel
def moments(rows, mean, comoment):
    """Two passes over ``rows`` [n, C] into ``mean`` [C] and ``comoment`` [C, C]."""
    count, columns = rows.shape
    mean[:] = 0.0
    for i in range(count):
        for c in range(columns):
            mean[c] += rows[i, c]
    for c in range(columns):
        mean[c] /= count
    comoment[:] = 0.0
    centred = np.empty(columns)
    for i in range(count):
        for c in range(columns):
            centred[c] = rows[i, c] - mean[c]
        for c in range(columns):
            factor = centred[c]
            for d in range(columns):
                comoment[c, d] += factor * centred[d]
