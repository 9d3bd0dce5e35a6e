"""What the simulation of a server leaves at a point: totals, histograms and timelines by arm.

An arm is a fixed depth or a policy. A replication is one run of the server under every arm, on the
same arrivals, lengths, text and noise; it is the unit of the tally.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.kernels.server_layout import BINS, COLUMNS, METRICS, SHARES, Column, Metric, bin_edges
from mtpsim.stats.estimators import Tally

if TYPE_CHECKING:
    from mtpsim.config.experiment import Experiment, Point
    from mtpsim.stats.root_search import Root

Counts = npt.NDArray[np.int64]
RATIOS: dict[str, tuple[tuple[Column, ...], tuple[Column, ...]]] = {  # products of totals
    "throughput": (("tokens",), ("window_ms",)),
    "goodput": (("tokens", "good"), ("output_tokens", "window_ms")),
    "good": (("good",), ("requests",)),
    "ttft": (("ttft_ms",), ("requests",)),
    "tpot": (("tpot_ms",), ("tpot_requests",)),
    "itl": (("itl_ms",), ("itl_bursts",)),
    "e2e": (("e2e_ms",), ("requests",)),
    "itl_token": (("itl_ms",), ("itl_tokens",)),
    "drafts": (("drafted",), ("request_steps",)),
    "accepted": (("accepted",), ("request_steps",)),
    "step_time": (("step_ms",), ("steps",)),
    "running": (("running_ms",), ("window_ms",)),
    "waiting": (("waiting_ms",), ("window_ms",)),
    "kv": (("kv_ms",), ("window_ms",)),
    "preemptions": (("preemptions",), ("requests",)),
}


@dataclass(frozen=True)
class Arm:
    """What decides the depth of each step.

    Attributes:
        name (str): Label in the report: ``"depth 3"``, ``"off"`` (depth 0), or that of a policy.
        depth (int | None): The fixed depth; None for a policy.
        policy (str | None): The policy and its parameters as text; None for a fixed depth.
        bound (bool): Whether it knows what no engine can know: an upper bound, not a choice.
        drafted (int | None): Drafts that are made of a request and step, of which requests verify
            what their budget allows; None where a depth is chosen.
    """

    name: str
    depth: int | None = None
    policy: str | None = None
    bound: bool = False
    drafted: int | None = None

    @property
    def shares_budget(self) -> bool:
        """Whether its requests share a budget of drafts."""
        return self.drafted is not None


@dataclass(frozen=True)
class ServerLayout:
    """Columns of the row of a replication: those of the first arm, then of the next.

    Attributes:
        arms (int): Number A of arms.

    Examples:
        >>> layout = ServerLayout(arms=2)
        >>> row = np.arange(layout.columns)
        >>> row[layout.of("tokens")].tolist()  # of each arm
        [3, 55]
        >>> row[layout.arm(1)][layout.index("tokens")].item()
        55
    """

    arms: int

    @property
    def columns(self) -> int:
        """Length of a row."""
        return self.arms * len(COLUMNS)

    @staticmethod
    def index(column: Column) -> int:
        """Place of a total among those of an arm."""
        return COLUMNS.index(column)

    def of(self, column: Column) -> slice:
        """A total of every arm, ``[A]``; see :data:`~mtpsim.kernels.server_layout.COLUMNS`."""
        return slice(self.index(column), None, len(COLUMNS))

    def arm(self, number: int) -> slice:
        """All totals of an arm."""
        return slice(number * len(COLUMNS), (number + 1) * len(COLUMNS))

    def quantile(self, metric: Metric, share: float) -> slice:
        """The replication's own quantile of a metric by arm, ``[A]`` ms.

        Args:
            metric: Name of the metric.
            share: 0.5, 0.95 or 0.99.
        """
        first = self.index("ttft_p50") + len(SHARES) * METRICS.index(metric)
        return slice(first + SHARES.index(share), None, len(COLUMNS))


def quantity(means: Floats, layout: ServerLayout, name: str) -> Floats:
    """A quantity of every arm, ``[..., A]``.

    Args:
        means: ``[..., columns]`` mean totals of a replication.
        layout: their columns.
        name: of :data:`RATIOS`.
    """
    top, bottom = RATIOS[name]
    value = np.ones_like(means[..., layout.of("requests")])
    for column in top:
        value = value * means[..., layout.of(column)]
    for column in bottom:
        value = value / means[..., layout.of(column)]
    return np.asarray(value)


@dataclass(frozen=True)
class Timeline:
    """One arm of the first replication, at up to a few hundred steps.

    Attributes:
        time_ms (Floats): ``[T]`` begin of each step.
        running (Floats): ``[T]`` running requests.
        waiting (Floats): ``[T]`` requests that have arrived and do not run.
        kv (Floats): ``[T]`` tokens of the KV cache in use, reserved drafts included.
        depth (Floats): ``[T]`` greatest depth of the step; of requests that share a budget, their
            mean verified drafts.
        used (Counts | None): ``[M + 1, K + 1]`` request-steps of the replication by the number of
            decoding requests and the drafts that were verified of them.
    """

    time_ms: Floats
    running: Floats
    waiting: Floats
    kv: Floats
    depth: Floats
    used: Counts | None = None


@dataclass(frozen=True, kw_only=True)
class ServerData:
    """A simulated point of a server.

    Attributes:
        point (Point): The point.
        arms (tuple[Arm, ...]): The A arms, fixed depths first.
        layout (ServerLayout): Columns of the tally.
        tally (Tally): Moments of the rows of all replications; its ``histograms`` are the sums
            ``[3, A, METRICS, BINS]`` of :func:`~mtpsim.stats.pooled_quantiles.cluster_counts`.
        timelines (tuple[Timeline, ...]): The first replication, by arm.
        precision_reached (bool | None): Whether the precision was reached; None without one.
        interrupted (bool): Whether the run was interrupted.
        capacity (tuple[Root, ...]): The greatest rate that meets the goals, by arm; empty where it
            was not searched.
        failure (str | None): Why the point is incomplete.
    """

    point: Point
    arms: tuple[Arm, ...]
    layout: ServerLayout
    tally: Tally
    timelines: tuple[Timeline, ...]
    precision_reached: bool | None
    interrupted: bool
    failure: str | None = None
    capacity: tuple[Root, ...] = ()

    @property
    def experiment(self) -> Experiment:
        """The point's own experiment."""
        return self.point.experiment

    @property
    def cluster_counts(self) -> Counts:
        """``[3, A, METRICS, BINS]`` sums over replications, from which quantiles follow."""
        counts = self.tally.histograms
        if counts is None:
            return np.zeros((3, len(self.arms), len(METRICS), BINS), np.int64)
        return counts

    @property
    def histograms(self) -> Counts:
        """``[A, METRICS, BINS]`` kept requests (ITL: gaps between bursts) of all replications."""
        return np.asarray(self.cluster_counts[0])

    @property
    def edges(self) -> Floats:
        """``[BINS + 1]`` edges of the histograms in ms."""
        return bin_edges()
