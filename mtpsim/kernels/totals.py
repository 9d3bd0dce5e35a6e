"""The row of totals that each request leaves (kernels/arrays.py names the columns)."""

from __future__ import annotations

from mtpsim.kernels.arrays import accepted_column, window_column
from mtpsim.kernels.jit import bare

column_of_accepted = bare(accepted_column)
column_of_windows = bare(window_column)


@bare
def write_depths(task, shallow, deep, tokens, rounds, accepted, verify, draft, out):
    """Rows of ``out`` from per-depth totals."""
    depths = task.times.shape[1]
    for lane in range(out.shape[0]):
        for k in range(shallow, deep + 1):
            out[lane, k] = tokens[k, lane]
            out[lane, depths + k] = (
                task.times[0, k] * verify[k, lane] + task.times[1, k] * draft[k, lane]
            )
            out[lane, 2 * depths + k] = rounds[k, lane]
            if task.every or k == depths - 1:
                column = column_of_accepted(depths - 1, k, task.every)
                for j in range(k):
                    out[lane, column + j] = accepted[k, j, lane]


@bare
def write_windows(task, windows, out):
    """Counts ``windows`` [1 + M, lanes] of positions tried as starts."""
    column = column_of_windows(task.times.shape[1] - 1, task.every)
    for lane in range(out.shape[0]):
        for j in range(windows.shape[0]):
            out[lane, column + j] = windows[j, lane]
