"""Measured step times as a table, where no law of the cost models describes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mtpsim.common.arrays import Floats, JsonDict

if TYPE_CHECKING:
    from mtpsim.fit.step_times import StepTimes

JUMP = 1.5  # growth of the time over that of the tokens at which passes leave the graphs
FEW = 3  # measured counts of a row, so that one can be left out


@dataclass(frozen=True)
class MeasuredTable:
    """A table of measured steps.

    Attributes:
        section (JsonDict): Keys of the section ``[latency]``, without drafting.
        left_out_error (float): Root mean square of the relative errors at steps that are left out
            and interpolated from their neighbours; infinite if none can be.
    """

    section: JsonDict
    left_out_error: float


def measured_table(steps: StepTimes) -> MeasuredTable | None:
    """The measured steps as a table; None if they fill none, or differ in context.

    Tokens without requests make one row of ``steps``; a full grid of tokens and requests several.
    A full grid of batches and depths 0 to K makes the model ``table``.
    """
    if np.ptp(steps.cached):
        return None
    if steps.by_tokens:
        return _by_tokens(steps)
    grid = _grid(steps.batch, steps.depth, steps.verify)
    if grid is None or grid[1].tolist() != list(range(grid[1].size)) or grid[0].size < 2:
        return None
    batches, _, times = grid
    section = {"model": "table", "batch": batches[0], "batches": batches.tolist()}
    return MeasuredTable(
        {**section, "verify": times.tolist()}, _left_out(batches, times.T, limit=None)
    )


def _by_tokens(steps: StepTimes) -> MeasuredTable | None:
    grid = _grid(steps.batch, steps.tokens, steps.verify)
    if grid is None or grid[1].size < 2:
        return None
    requests, tokens, times = grid
    verify: JsonDict = {"tokens": [int(count) for count in tokens]}
    if requests.size > 1:
        verify |= {"requests": [int(count) for count in requests], "ms": times.tolist()}
    else:
        verify["ms"] = times[0].tolist()
    limit = graph_limit(tokens, times)
    if limit is not None:
        verify["limit"] = limit
    return MeasuredTable({"model": "steps", "verify": verify}, _left_out(tokens, times, limit))


def graph_limit(tokens: Floats, times: Floats) -> int | None:
    """Tokens after which the time jumps, as it does where an engine's graphs end.

    Args:
        tokens (Floats): ``[n]`` measured tokens, ascending.
        times (Floats): ``[rows, n]`` ms.

    Returns:
        int | None: Tokens before the jump; None if the time never grows 1.5 times as much as the
        tokens.
    """
    growth = (times[:, 1:] / times[:, :-1]).min(axis=0) / (tokens[1:] / tokens[:-1])
    at = int(np.argmax(growth))
    return int(tokens[at]) if growth[at] > JUMP else None


def _grid(rows: Floats, columns: Floats, times: Floats) -> tuple[Floats, Floats, Floats] | None:
    """Distinct rows and columns, and the mean time of each pair; None if a pair is missing."""
    names, row = np.unique(rows, return_inverse=True)
    counts, column = np.unique(columns, return_inverse=True)
    number, total = np.zeros((2, names.size, counts.size))
    np.add.at(number, (row, column), 1)
    np.add.at(total, (row, column), times)
    return (names, counts, total / number) if number.all() else None


def _left_out(counts: Floats, times: Floats, limit: int | None) -> float:
    """Root mean square relative error of each inner time ``[rows, n]`` between its neighbours."""
    errors = []
    parts = [counts <= limit, counts > limit] if limit else [np.ones(counts.size, bool)]
    for part in [part for part in parts if part.sum() >= FEW]:
        at, measured = counts[part], times[:, part]
        share = (at[1:-1] - at[:-2]) / (at[2:] - at[:-2])
        between = measured[:, :-2] + share * (measured[:, 2:] - measured[:, :-2])
        errors.append((between / measured[:, 1:-1] - 1).ravel())
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2))) if errors else math.inf
