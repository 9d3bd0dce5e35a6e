"""One point of a run of a server: its replications, and when they are precise enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from mtpsim.config.experiment import Experiment, Point
from mtpsim.config.serving import LEAST_REPLICATIONS, Serving
from mtpsim.engine.executors import WorkerPool
from mtpsim.engine.scheduler import relative
from mtpsim.engine.server import compile_server, timelines_of
from mtpsim.engine.server_data import ServerData, ServerLayout, Timeline, quantity
from mtpsim.kernels.server_layout import SHARES, Metric
from mtpsim.results.serving import quantiles_of
from mtpsim.runs.block_run import BlockRun
from mtpsim.runs.capacity import capacity_of
from mtpsim.runs.directory import BlockStore
from mtpsim.stats.estimators import Tally, delta_method
from mtpsim.stats.root_search import Root

if TYPE_CHECKING:
    from mtpsim.engine.compiled import Compiled


class ServerRun(BlockRun):
    """One point of a run of a server; arguments as of :class:`BlockRun`.

    Its precision is that of one quantity of every arm, relative.

    Attributes:
        with_capacity (bool): Whether to search the capacity of every arm after the point.
    """

    with_capacity = False
    units = "replication"

    def _compile(self, experiment: Experiment) -> tuple[Compiled, int, float | None]:
        serving = experiment.serving
        assert serving is not None  # the caller has asked
        self.serving: Serving = serving
        self._capacity: tuple[Root, ...] = ()
        self.compiled = compile_server(experiment)
        return self.compiled, serving.most_replications, serving.precision

    def run(self, pool: WorkerPool, store: BlockStore) -> None:
        """Simulate the point, then search the capacity of each arm."""
        super().run(pool, store)
        whole = self.tally.count == self.most or self.precision is not None
        if not (self.with_capacity and whole):  # a part has too few replications
            return
        arms, found = self.compiled.plan.arms, []

        def simulate(point: Point) -> ServerData:
            run = ServerRun(0, 1, point, lambda _: None)
            run.run(pool, BlockStore())
            return run._data()

        for number, arm in enumerate(arms):
            label = f"{self.label} capacity of {arm.arm.name}".strip()
            self._report_step(label, number / len(arms))
            found.append(capacity_of(self._data(), arm.arm, simulate))
        self._capacity = tuple(found)

    def half_width(self, tally: Tally) -> float:
        """Greatest relative half-width over all arms; infinite for too few replications."""
        if tally.count < LEAST_REPLICATIONS:
            return float(np.inf)
        layout: ServerLayout = self.compiled.plan.layout
        name, _, percent = self.serving.precision_of.partition("_p")
        if percent:
            return self._quantile_width(tally, cast("Metric", name), int(percent) / 100)
        return relative(
            delta_method(
                lambda means: quantity(means, layout, name), tally, self.simulation.confidence
            )
        )

    def _quantile_width(self, tally: Tally, metric: Metric, share: float) -> float:
        """Half of the widest interval of a pooled quantile, relative; infinite without an end."""
        found = quantiles_of(replace(self._data(), tally=tally), metric)
        place = SHARES.index(share)
        widths = (found.high - found.low)[:, place] / 2 / found.values[:, place]
        return float(np.nan_to_num(widths, nan=np.inf).max())

    def data(self, interrupted: bool) -> ServerData:
        """Everything that the result document needs of the point."""
        timelines = timelines_of(self.compiled.plan, self._first_request)
        return self._data(interrupted, timelines)

    def _data(self, interrupted: bool = False, timelines: tuple[Timeline, ...] = ()) -> ServerData:
        plan = self.compiled.plan
        return ServerData(
            point=self.point,
            arms=tuple(arm.arm for arm in plan.arms),
            layout=plan.layout,
            tally=self.tally,
            timelines=timelines,
            precision_reached=self.reached if self.precision else None,
            interrupted=interrupted,
            failure=self.failure,
            capacity=self._capacity,
        )
