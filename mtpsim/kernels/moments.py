"""A request's own rates, and the moments of a block's rows: the same bits everywhere.

A matrix product from a BLAS would be as fast, but its order of summation moves with the library,
the machine and its number of threads.
"""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.jit import bare_kernel, kernel, stack_floats

STRIP = 4  # rows added to the co-moments at once: fewer loads and stores for each product
WIDTH = 32  # columns of a loop


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
    """Two passes over ``rows`` [n, C] into ``mean`` [C] and ``comoment`` [C, C].

    Columns that don't vary have no co-moments: of a fixed number of rounds a third of all columns.
    """
    varies = np.zeros(rows.shape[1], np.bool_)
    _means(rows, mean, varies)
    columns = np.flatnonzero(varies)
    padded = -(-columns.size // WIDTH) * WIDTH
    sums = np.zeros((columns.size, padded))
    _comoments(rows, mean, columns, np.zeros((STRIP, padded)), sums, comoment)


@bare_kernel
def _means(rows, mean, varies):
    count, columns = rows.shape
    for c in range(columns):
        mean[c] = 0.0
    for i in range(count):
        for c in range(columns):
            mean[c] += rows[i, c]
    for c in range(columns):
        mean[c] /= count
    for i in range(count):
        for c in range(columns):
            varies[c] |= rows[i, c] - mean[c] != 0.0


@bare_kernel
def _comoments(rows, mean, columns, centred, sums, comoment):
    # Constant widths and arrays on the stack, so that loops vectorise without checks or remainders.
    count, used, width = rows.shape[0], np.uintp(columns.size), np.uintp(WIDTH)
    x0, x1, x2, x3 = (
        stack_floats(WIDTH),
        stack_floats(WIDTH),
        stack_floats(WIDTH),
        stack_floats(WIDTH),
    )
    for first in range(0, count, STRIP):
        for k in range(STRIP):
            for c in range(used):
                value = rows[first + k, columns[c]] - mean[columns[c]] if first + k < count else 0.0
                centred[k, c] = value
        for at in range(np.uintp(0), used, width):
            for i in range(width):
                x0[i], x1[i] = centred[0, at + i], centred[1, at + i]
                x2[i], x3[i] = centred[2, at + i], centred[3, at + i]
            for c in range(min(used, at + width)):
                f0, f1, f2, f3 = centred[0, c], centred[1, c], centred[2, c], centred[3, c]
                for i in range(width):
                    sums[c, at + i] += (f0 * x0[i] + f1 * x1[i]) + (f2 * x2[i] + f3 * x3[i])
    for c in range(comoment.shape[0]):
        for d in range(comoment.shape[0]):
            comoment[c, d] = 0.0
    for c in range(used):
        for d in range(c, used):
            one, other = columns[c], columns[d]
            comoment[one, other] = comoment[other, one] = sums[c, d]
