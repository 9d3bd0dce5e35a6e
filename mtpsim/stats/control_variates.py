"""Less variance for the same rounds: what shared random numbers gain, and control variates.

The controls are totals whose means are known exactly: the time of plain steps from the latency
table, tokens and rounds at depth M from the solved chain. The closed form under test is never one
of them, and what is said of its errors never uses them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtpsim.acceptance import Source
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import solve
from mtpsim.kernels.row_layout import RowLayout
from mtpsim.latency import CompiledLatency
from mtpsim.stats import estimators
from mtpsim.stats.moments import Tally

Factors = list[float | None]
DUST = 1e-24  # relative variance that is rounding
STRANGE = 1e-6  # chance of controls further from their means, under a normal law


@dataclass(frozen=True)
class Controls:
    """Totals of a request with means that are known.

    Attributes:
        columns: ``[q]`` of a row.
        means: ``[q]``.

    """

    columns: list[int]
    means: Floats


def controls_of(
    source: Source, latency: CompiledLatency, layout: RowLayout, horizon: dict[str, int]
) -> Controls:
    """The controls of a point; ``horizon`` as :func:`mtpsim.exact.chain_solver.solve` takes it."""
    at = layout.measured_at
    plain, deep = solve(source, 0, **horizon), solve(source, at, **horizon)
    columns = [layout.time_ms.start, layout.tokens.start + at, layout.rounds.start + at]
    means = [plain.slow_rounds * latency.round_time[0], deep.tokens, deep.rounds]
    return Controls(columns, np.array(means))


@dataclass(frozen=True)
class Controlled(Tally):
    """A tally with some degrees of freedom spent on slopes."""

    spent: int = 0

    @property
    def freedom(self) -> int:
        """Degrees of freedom of its covariance."""
        return super().freedom - self.spent


def controlled(tally: Tally, controls: Controls) -> Tally:
    """The tally of what a regression on the controls leaves, at the controls' known means.

    Linear regression with estimated slopes (Lavenberg and Welch 1981): a bias of order 1/n, and a
    degree of freedom for each control. Where the controls came out further from their means than
    chance takes them, as in a sample that missed rare long rounds, the tally is returned as it is.
    """
    from scipy.special import fdtrc

    dust = DUST * tally.count * tally.mean**2
    varies = (np.diag(tally.comoment) > dust)[controls.columns]
    columns = [c for c, some in zip(controls.columns, varies, strict=True) if some]
    left = tally.count - 1 - len(columns)
    if not columns or left < 1:
        return tally
    cross = tally.comoment[columns]
    scale = np.sqrt(np.diag(cross[:, columns]))
    inverse = np.linalg.pinv(cross[:, columns] / np.outer(scale, scale), rcond=1e-10)
    slopes = (inverse / np.outer(scale, scale)) @ cross
    off = tally.mean[columns] - controls.means[varies]
    distance = float((off / scale) @ inverse @ (off / scale)) * tally.count  # T^2 / (n - 1)
    if fdtrc(len(columns), left + 1, distance * (left + 1) / len(columns)) < STRANGE:
        return tally
    mean = tally.mean - off @ slopes
    rest = (tally.comoment - cross.T @ slopes) * (tally.count - 1) / left
    return Controlled(tally.count, mean, rest * (1 + distance), len(columns))


def log_pace(means: Floats, layout: RowLayout) -> Floats:
    """Logarithm of tokens a ms by depth, ``[..., K + 1]``."""
    return np.log(means[..., layout.tokens] / means[..., layout.time_ms])


def _of_steps(covariance: Floats) -> tuple[Floats, Floats]:
    """For each step of depth: the variance of its gain, and what it were without covariance."""
    alone = np.diag(covariance)
    apart = alone[1:] + alone[:-1]
    return apart - 2 * np.diag(covariance, 1), apart


def factors(tally: Tally, controls: Controls, layout: RowLayout) -> tuple[Factors, Factors]:
    """How many times fewer rounds the gain of each step needs for the same half-width.

    Returns:
        From shared random numbers, against depths simulated apart from each other; and from the
        controls on top of that. None where nothing is left that varies.

    """
    plain = estimators.delta_method(lambda means: log_pace(means, layout), tally, 0.95).covariance
    better = controlled(tally, controls)
    rest = estimators.delta_method(lambda means: log_pace(means, layout), better, 0.95).covariance
    together, apart = _of_steps(plain)
    left, _ = _of_steps(rest)
    return _ratios(apart, together), _ratios(together, left)


def _ratios(top: Floats, bottom: Floats) -> Factors:
    nothing = 1e-9 * np.abs(top)  # rounding, not variance
    return [
        float(a / b) if b > limit else None
        for a, b, limit in zip(top, bottom, nothing, strict=True)
    ]
