"""One point of a run of single requests, and what its document needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtpsim.acceptance import Recording
from mtpsim.acceptance.recording import play
from mtpsim.common.arrays import Floats
from mtpsim.config.experiment import Experiment
from mtpsim.engine.round_traces import record_requests
from mtpsim.engine.scheduler import half_width
from mtpsim.engine.simulate import (
    KernelPlan,
    compile_point,
    play_policies,
    policy_tails,
    sample_policies,
    sample_rows,
    tails,
)
from mtpsim.results.point_data import PointData, theory_of
from mtpsim.runs.block_run import BlockRun
from mtpsim.stats.autocorrelation import Dependence, dependence, sample_size
from mtpsim.stats.control_variates import controlled, controls_of
from mtpsim.stats.estimators import Estimates, RepeatedTally, Tally
from mtpsim.stats.quantiles import Tails, quantile_speedups

if TYPE_CHECKING:
    from mtpsim.engine.compiled import Compiled
    from mtpsim.engine.policy_player import Log

CONTROLLED = ("speedup", "marginal", "difference")  # quantities that control variates may narrow
LOGGED, LOGGED_ROUNDS = 512, 400  # requests and rounds in the log of the policies
MOST_TEXTS = 10_000  # of which the dependence is remembered


class PointRun(BlockRun):
    """One point of a run of single requests; arguments as of :class:`BlockRun`."""

    def _compile(self, experiment: Experiment) -> tuple[Compiled, int, float | None]:
        simulation, self.compiled = experiment.simulation, compile_point(experiment)
        self.plan, self.scale = self.compiled.plan, simulation.scale
        self._theory = theory_of(experiment, self.compiled.latency)
        self._controls = None
        if simulation.control_variates and simulation.precision_of in CONTROLLED:
            self._controls = controls_of(
                self.compiled.source, self.compiled.latency, self.plan.layout, simulation.horizon
            )
        return self.compiled, simulation.requests or simulation.max_requests, simulation.precision

    def half_width(self, tally: Tally) -> float:
        """Greatest half-width over all depths of the quantity of the stopping rule."""
        if self._controls is not None:
            tally = controlled(tally, self._controls)
        return half_width(self.simulation, self._theory, self.plan.layout, tally)

    def data(self, interrupted: bool) -> PointData:
        """Everything that the result document needs of the point."""
        confidence = self.simulation.confidence
        rows = sample_rows(self.plan, self.tally.count, self._first_request)
        return PointData(
            point=self.point,
            plan=self.plan,
            source=self.compiled.source,
            latency=self.compiled.latency,
            tally=RepeatedTally(**vars(self.tally)),
            precision_reached=self.reached if self.simulation.precision else None,
            interrupted=interrupted,
            dependence=self._dependence(),
            tails=tails(rows, self.plan, confidence),
            objective=self._objective(rows),
            outcomes=self.outcomes,
            log=self._policy_log(),
            policy_tails=self._policy_tails(rows),
            failure=self.failure,
        )

    def _objective(self, rows: Floats) -> Estimates | None:
        """Speedups at the quantile that the depths are chosen by; None: they are by the mean."""
        share = self.point.experiment.decision.quantile
        if share is None:
            return None
        times = rows[:, self.plan.layout.time_ms].T
        return quantile_speedups(times, share, self.simulation.confidence)

    def _policy_tails(self, rows: Floats) -> Tails | None:
        """Quantiles of requests under every policy."""
        if self.plan.policy_set is None:
            return None
        totals = sample_policies(self.plan, self.tally.count, self._first_request)
        return policy_tails(totals, rows, self.plan, self.simulation.confidence)

    def _policy_log(self) -> Log | None:
        """A sample of requests under every policy, round by round."""
        if self.plan.policy_set is None:
            return None
        longest = self.plan.task.rounds or self.plan.task.tokens or LOGGED_ROUNDS
        count, rounds = min(self.tally.count, LOGGED), min(longest, LOGGED_ROUNDS)
        return play_policies(self.plan, self._first_request, count, rounds)[1]

    def _dependence(self) -> Dependence | None:
        """Dependence in a sample of requests; recorded ones as they were recorded."""
        source, horizon = self.compiled.source, self.simulation.horizon
        if isinstance(source, Recording):
            longest = max(horizon.values()) or int(source.lengths.max())
            most, _ = sample_size(source.requests, longest)
            counts = play(source, slice(0, most), self.plan.layout.measured_at, **horizon)
            return dependence(counts, self.simulation.confidence)
        count, rounds = sample_size(self.tally.count, max(horizon.values()))
        traced = TracedRequests(
            self.plan.text,
            count,
            rounds,
            self._first_request,
            self.simulation.confidence,
        )
        return _dependence_of(traced, self.plan)


@dataclass(frozen=True)
class TracedRequests:
    """Requests whose rounds are recorded: the same at all points of a sweep over their times."""

    text: bytes
    count: int
    rounds: int
    first: int
    confidence: float


_dependences: dict[TracedRequests, Dependence | None] = {}


def _dependence_of(traced: TracedRequests, plan: KernelPlan) -> Dependence | None:
    """Their dependence, computed once; a plan would keep a megabyte of tables in a cache."""
    if traced not in _dependences:
        if len(_dependences) >= MOST_TEXTS:
            _dependences.clear()
        counts = record_requests(plan, traced.count, traced.rounds, traced.first)
        _dependences[traced] = dependence(counts, traced.confidence)
    return _dependences[traced]
