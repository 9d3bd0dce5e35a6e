"""Variance reduction: control variates, and the gain from common random numbers.

The controls are totals whose means are known exactly: the time of plain steps from the latency
table, tokens and rounds at depth M from the solved chain. The closed form under test is not one of
them, and estimates of its errors do not use them.
"""

from dataclasses import dataclass, field

import numpy as np

from mtpsim.acceptance import Source
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import solve
from mtpsim.kernels.arrays import RowLayout
from mtpsim.latency import CompiledLatency
from mtpsim.stats import estimators
from mtpsim.stats.estimators import Tally

Factors = list[float | None]
ROUNDING = 1e-24  # relative variance that is rounding
IMPLAUSIBLE = 1e-6  # p-value of controls too far from their means, under a normal distribution


@dataclass(frozen=True)
class Controls:
    """Totals of a request with known means.

    Attributes:
        columns (list[int]): ``[q]`` columns of the row of a request.
        means (Floats): ``[q]`` exact means of these columns (ms, tokens, rounds).
        positive (slice): Columns of tokens, times and rounds, whose means stay positive.
    """

    columns: list[int]
    means: Floats
    positive: slice = field(default_factory=lambda: slice(0))


def controls_of(
    source: Source, latency: CompiledLatency, layout: RowLayout, horizon: dict[str, int]
) -> Controls:
    """The controls of a point.

    Args:
        source (Source): The acceptance model.
        latency (CompiledLatency): The compiled latency.
        layout (RowLayout): Columns of the row of a request.
        horizon (dict[str, int]): ``rounds`` and ``tokens`` per request, as for
            :func:`mtpsim.exact.chain_solver.solve`.

    Returns:
        Controls: Columns and their exact means.
    """
    at = layout.measured_at
    plain, deep = solve(source, 0, **horizon), solve(source, at, **horizon)
    columns = [layout.time_ms.start, layout.tokens.start + at, layout.rounds.start + at]
    means = [plain.slow_rounds * latency.round_time[0], deep.tokens, deep.rounds]
    return Controls(columns, np.array(means), slice(layout.rounds.stop))


@dataclass(frozen=True)
class ControlledTally(Tally):
    """A tally after regression on controls.

    Attributes:
        spent (int): Degrees of freedom used by the slopes.
    """

    spent: int = 0

    @property
    def freedom(self) -> int:
        """Degrees of freedom of ``covariance_of_mean``."""
        return super().freedom - self.spent


def controlled(tally: Tally, controls: Controls) -> Tally:
    """Apply control variates: the tally of the regression residuals, at the known means.

    Linear regression with estimated slopes (Lavenberg and Welch 1981): a bias of order 1/n, and one
    degree of freedom per control.

    Args:
        tally (Tally): Totals of requests.
        controls (Controls): Columns with known means.

    Returns:
        Tally: With less variance; ``tally`` itself if no control varies, if there are too few
        requests, or if the controls are implausibly far from their means (as in a sample that
        misses rare long rounds), or so far that a mean of tokens or ms would not be positive.
    """
    from mtpsim.common.special import fdtrc

    rounding = ROUNDING * tally.count * tally.mean**2
    varies = (np.diag(tally.comoment) > rounding)[controls.columns]
    columns = [c for c, some in zip(controls.columns, varies, strict=True) if some]
    freedom = tally.count - 1 - len(columns)
    if not columns or freedom < 1:
        return tally
    cross = tally.comoment[columns]
    scale = np.sqrt(np.diag(cross[:, columns]))
    inverse = np.linalg.pinv(cross[:, columns] / np.outer(scale, scale), rcond=1e-10)
    slopes = (inverse / np.outer(scale, scale)) @ cross
    off = tally.mean[columns] - controls.means[varies]
    distance = float((off / scale) @ inverse @ (off / scale)) * tally.count  # T^2 / (n - 1)
    if fdtrc(len(columns), freedom + 1, distance * (freedom + 1) / len(columns)) < IMPLAUSIBLE:
        return tally
    mean = tally.mean - off @ slopes
    if (mean[controls.positive] <= 0).any():
        return tally
    rest = (tally.comoment - cross.T @ slopes) * (tally.count - 1) / freedom
    return ControlledTally(tally.count, mean, rest * (1 + distance), spent=len(columns))


def log_pace(means: Floats, layout: RowLayout) -> Floats:
    """Log of tokens per ms by depth, ``[..., K + 1]``."""
    return np.log(means[..., layout.tokens] / means[..., layout.time_ms])


def _step_variances(covariance: Floats) -> tuple[Floats, Floats]:
    """Variance of the gain of each step of depth: paired, and with independent depths."""
    alone = np.diag(covariance)
    independent = alone[1:] + alone[:-1]
    return independent - 2 * np.diag(covariance, 1), independent


def variance_reductions(
    tally: Tally, controls: Controls, layout: RowLayout
) -> tuple[Factors, Factors]:
    """Factors by which the variance of the gain of each step of depth is reduced.

    Args:
        tally (Tally): Totals of requests.
        controls (Controls): Columns with known means.
        layout (RowLayout): Columns of the row of a request.

    Returns:
        tuple[Factors, Factors]: ``[K]`` from common random numbers, relative to independent runs
        per depth, and ``[K]`` from the controls in addition; None if no variance is left.
    """
    plain = estimators.delta_method(lambda means: log_pace(means, layout), tally, 0.95).covariance
    better = controlled(tally, controls)
    rest = estimators.delta_method(lambda means: log_pace(means, layout), better, 0.95).covariance
    paired, independent = _step_variances(plain)
    left, _ = _step_variances(rest)
    return _ratios(independent, paired), _ratios(paired, left)


def _ratios(top: Floats, bottom: Floats) -> Factors:
    nothing = 1e-9 * np.abs(top)  # rounding, not variance
    return [
        float(a / b) if b > limit else None
        for a, b, limit in zip(top, bottom, nothing, strict=True)
    ]
