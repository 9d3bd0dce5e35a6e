"""A request's own rates, and the moments of a block's rows: the same bits everywhere.

A matrix product from a BLAS would be as fast, but its order of summation moves with the library,
the machine and its number of threads.
"""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.jit import kernel

STRIP = 4  # rows added to the co-moments at once: fewer loads and stores for each product


@kernel
def complete_rows(rows, rounds, accepted, derived, depth):
    """Fill in the columns that follow from others of the same request (kernels/arrays.py).

    Args:
        rows: [n, C], changed in place.
        rounds: column of the rounds at ``depth``.
        accepted: first column of the rounds that accept 1..j at ``depth``.
        derived: first column to fill in.
        depth: M, where rates are measured.
    """
    for i in range(rows.shape[0]):
        row = rows[i]
        count = row[rounds]
        before, total = count, 0.0
        for j in range(depth):
            reached = row[accepted + j]
            row[derived + j] = reached / count
            row[derived + depth + j] = reached / before if before > 0 else 0.0
            row[derived + 2 * depth + j] = 1.0 if before > 0 else 0.0
            before = reached
            total += reached
        squares = derived + 3 * depth
        row[squares], row[squares + 1], row[squares + 2] = total * total, total * count, count**2


def moments(rows, mean, comoment):
    """Two passes over ``rows`` [n, C] into ``mean`` [C] and ``comoment`` [C, C]."""
    _moments(rows, np.zeros((STRIP, rows.shape[1])), mean, comoment)


@kernel
def _moments(rows, centred, mean, comoment):
    count, columns = rows.shape
    mean[:] = 0.0
    for i in range(count):
        for c in range(columns):
            mean[c] += rows[i, c]
    for c in range(columns):
        mean[c] /= count
    comoment[:] = 0.0
    for first in range(0, count, STRIP):
        for k in range(STRIP):
            inside = first + k < count
            for c in range(columns):
                centred[k, c] = rows[first + k, c] - mean[c] if inside else 0.0
        x0, x1, x2, x3 = centred[0], centred[1], centred[2], centred[3]
        for c in range(columns):
            f0, f1, f2, f3 = x0[c], x1[c], x2[c], x3[c]
            for d in range(c, columns):
                comoment[c, d] += (f0 * x0[d] + f1 * x1[d]) + (f2 * x2[d] + f3 * x3[d])
    for c in range(columns):
        for d in range(c):
            comoment[c, d] = comoment[d, c]
