"""Number of requests that a benchmark needs to compare two depths, or to measure a speedup.

A benchmark runs one engine at two depths and compares tokens per second. Its unit is the request.
In the *independent* design each run has requests of its own. In the *paired* design both runs
answer the same prompts greedily, so the text is the same and the timing noise is not. Each plan is
then verified: benchmarks of the planned size are simulated many times, and the share of right
decisions is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mtpsim.acceptance import Recording
from mtpsim.benchmark.sizes import (
    excess_kurtosis,
    gain_variance,
    log_gain,
    recorded_gain,
    requests_to_detect,
    requests_to_measure,
)
from mtpsim.common.arrays import Floats
from mtpsim.common.renamed import PROGRESS, renamed_keyword
from mtpsim.config.experiment import Experiment
from mtpsim.engine.round_traces import sample_rounds
from mtpsim.engine.simulate import compile_point, simulate_requests
from mtpsim.stats.estimators import Tally, delta_method

DEFAULT_EFFECT = 0.01  # relative difference to detect
POOL = 30_000  # requests that the variance is estimated from; a second pool verifies the plan
TRIALS, LEAST_TRIALS = 2_000, 300  # simulated benchmarks
DRAWN_REQUESTS = 20_000_000  # of all simulated benchmarks together
DRAWN_AT_ONCE = 1 << 15  # of them: in the cache of a core
LENGTH_FACTORS = (0.25, 1.0, 4.0)  # lengths of a request that are compared
MAX_RAISES = 4  # of a size that decides correctly too seldom
ProgressCallback = Callable[[str, float], None]


@dataclass(frozen=True)
class Design:
    """A benchmark of a given size, and how often it decides correctly.

    Attributes:
        paired (bool): Whether both runs answer the same prompts.
        requests (int): Requests per run.
        power (float): Share of simulated benchmarks that decide correctly: the faster depth is
            found, or the interval of a speedup is as narrow as requested.
        false (float): Share of simulated benchmarks whose interval misses the true value.
        tries (int): Number of simulated benchmarks.
        raised_from (Design | None): The design of the size that follows from the variance, if it
            decides correctly too seldom; None if it is this one.
    """

    paired: bool
    requests: int
    power: float
    false: float
    tries: int
    raised_from: Design | None = None

    def falls_short(self, power: float) -> bool:
        """Return whether it decides correctly less often than wanted, by more than chance."""
        return self.power < power - 2 * float(np.sqrt(power * (1 - power) / self.tries))

    def requests_for(self, power: float, confidence: float) -> int:
        """Return about how many requests decide correctly as often as wanted.

        The width of an interval falls with the root of the requests.
        """
        from mtpsim.common.special import ndtri

        share = np.clip([power, self.power], 0.5 / self.tries, 1 - 0.5 / self.tries)
        wanted, found = ndtri((1 + confidence) / 2) + ndtri(share)
        return int(np.ceil(self.requests * max((wanted / max(found, wanted / 3)) ** 2, 1.0)))


@dataclass(frozen=True)
class Comparison:
    """Two depths to compare; with depth 0 as one of them, a speedup to measure.

    Attributes:
        depths (tuple[int, int]): The depths.
        effect (tuple[float, float]): Relative difference of their speed in the model, and the
            half-width of its 95 % interval: of the simulation; for recorded requests, of their
            sample and of what the log does not show.
        designs (list[Design]): The independent design, then the paired one.
        if_rounds (Design | None): The independent design planned as if rounds were independent;
            None for a speedup.
    """

    depths: tuple[int, int]
    effect: tuple[float, float]
    designs: list[Design]
    if_rounds: Design | None

    @property
    def name(self) -> str:
        """``depth 3 vs 2``, or ``speedup at depth 2``."""
        one, two = self.depths
        return f"depth {two} vs {one}" if one else f"speedup at depth {two}"


@dataclass(frozen=True)
class RequestLength:
    """Requests of another length, and how many of them a comparison needs.

    Attributes:
        unit (str): ``tokens`` or ``rounds``.
        length (int): Length of a request in that unit.
        tokens (float): Mean tokens per request.
        independent (int): Requests per run in the independent design.
        paired (int): Requests per run in the paired design.
    """

    unit: str
    length: int
    tokens: float
    independent: int
    paired: int


@dataclass(frozen=True)
class BenchmarkPlan:
    """Sizes of benchmarks, verified by simulation.

    Attributes:
        effect (float): Relative difference to detect, and half-width of a speedup.
        power (float): Wanted probability of a right decision.
        confidence (float): Confidence of the benchmark's intervals.
        horizon (dict[str, int]): Length of a request, such as ``{"tokens": 512}``; empty for
            recorded requests.
        tokens (float): Mean tokens per request.
        questions (list[Comparison]): Comparisons of depths, then the speedup of each depth.
        by_length (list[RequestLength]): Sizes for the first comparison with shorter and longer
            requests.
        rates_vary (bool): Whether acceptance rates vary between requests or rounds in the model.
        recorded (int): Number of recorded requests that are resampled; 0 for a model.
    """

    effect: float
    power: float
    confidence: float
    horizon: dict[str, int]
    tokens: float
    questions: list[Comparison]
    by_length: list[RequestLength]
    rates_vary: bool = True
    recorded: int = 0

    def shortfalls(self) -> list[str]:
        """Return the designs whose size had to be raised or is still too small, a sentence each."""
        return [
            f"{comparison.name.capitalize()}, {'paired' if design.paired else 'independent'}: with "
            + self._shortfall(design)
            for comparison in self.questions
            for design in comparison.designs
            if design.raised_from or design.falls_short(self.power)
        ]

    def _shortfall(self, design: Design) -> str:
        first = design.raised_from or design
        text = (
            f"{first.requests:,} requests {100 * first.power:.1f} % of simulated benchmarks "
            f"decide correctly, not {100 * self.power:g} %; "
        )
        if design.falls_short(self.power):
            return f"{text}plan about {design.requests_for(self.power, self.confidence):,}."
        return f"{text}raised to {design.requests:,}, with which {100 * design.power:.1f} % do."


class RequestTotals:
    """Totals of requests at every depth, in each of two runs.

    Attributes:
        tokens (Floats): ``[2, n, K + 1]`` tokens by run, request and depth.
        times (Floats): ``[2, n, K + 1]`` times in ms.
        rounds (Floats): ``[2, n, K + 1]`` numbers of rounds.
    """

    def __init__(self, experiment: Experiment, count: int, first: int = 0) -> None:
        """Simulate requests; the two runs have the same text and different timing noise.

        Args:
            experiment (Experiment): One point.
            count (int): Number of requests n.
            first (int): Number of the first request.
        """
        plan = compile_point(experiment).plan
        layout = plan.layout
        runs = []
        for arm in (0, 1):
            noisy = replace(plan, noise=plan.noise._replace(arm=arm), policy_set=None)
            parts = [
                simulate_requests(noisy, first + at, min(plan.chunk, count - at))[
                    :, : layout.rounds.stop
                ]
                for at in range(0, count, plan.chunk)
            ]
            runs.append(np.concatenate(parts))
        rows = np.stack(runs)
        self.tokens, self.times = rows[:, :, layout.tokens], rows[:, :, layout.time_ms]
        self.rounds = rows[:, :, layout.rounds]

    def compared(self, depths: tuple[int, int], paired: bool) -> Floats:
        """Totals of two depths: ``[n, 4]`` tokens and ms in the first run, then in the second.

        If not paired, requests of the second run are shifted by half of their number.
        """
        one, two = depths
        first = np.stack([self.tokens[0, :, one], self.times[0, :, one]], axis=1)
        second = np.stack([self.tokens[1, :, two], self.times[1, :, two]], axis=1)
        if not paired:
            second = np.roll(second, len(second) // 2, axis=0)
        return np.concatenate([first, second], axis=1)


def _simulated(rows: Floats, requests: int, effect: float, confidence: float) -> Floats:
    """Simulated benchmarks: ``[trials, 2]`` log gains and half-widths, with a true ``effect``.

    Each draws its requests from the pool with replacement. The pool's own gain is replaced by the
    effect, which is the same as scaling the times.
    """
    from mtpsim.common.special import stdtrit

    rng = np.random.default_rng(0)
    truth = float(log_gain(rows.mean(0))[0])
    quantile = float(stdtrit(requests - 1, (1 + confidence) / 2))
    trials = int(np.clip(DRAWN_REQUESTS // requests, LEAST_TRIALS, TRIALS))
    found, at_once = np.empty((trials, 2)), max(DRAWN_AT_ONCE // requests, 1)
    for first in range(0, trials, at_once):
        size = min(at_once, trials - first), requests
        drawn = rows.take(rng.integers(len(rows), size=size), axis=0)  # [trials, requests, 4]
        means = drawn.mean(1)
        drawn /= means[:, None]
        influence = (drawn[..., 2] - drawn[..., 3]) - (drawn[..., 0] - drawn[..., 1])
        variance = np.square(influence).sum(1) / (requests * (requests - 1))
        rows_found = found[first : first + at_once]
        rows_found[:, 0] = log_gain(means)[:, 0] - truth + effect
        rows_found[:, 1] = quantile * np.sqrt(variance)
    return found


class Planner:
    """Plans benchmarks of an experiment, and verifies the plans."""

    def __init__(self, experiment: Experiment, effect: float, power: float) -> None:
        """Simulate one pool of requests to plan with, and another one to verify with.

        Args:
            experiment (Experiment): One point: acceptance model, latency and request length.
            effect (float): Relative difference to detect, or half-width of a speedup.
            power (float): Wanted probability of a right decision.
        """
        self.effect, self.power = effect, power
        self.confidence = experiment.simulation.confidence
        source = experiment.acceptance.chain()
        self.once: RequestTotals | None = None
        self.draws, self.recorded, self.widening = 0, 0, 1.0
        if isinstance(source, Recording):
            self.draws, self.recorded = source.draws, source.requests // source.draws
            self.widening = source.widening
            in_order = experiment.changed({"acceptance.order": "recorded"})
            self.once = RequestTotals(in_order, source.requests)
            experiment = experiment.changed({"acceptance.order": "resampled"})
        self.experiment = experiment
        self.pool = RequestTotals(experiment, POOL)
        self.fresh = RequestTotals(experiment, POOL, POOL)

    def compare(self, depths: tuple[int, int]) -> Comparison:
        """Plan a benchmark of two depths."""
        if self.once is None:
            rows = self.pool.compared(depths, paired=True)
            gain = delta_method(log_gain, Tally.of(rows), 0.95)
            effect, half = float(gain.values[0]), float(gain.half_width[0])
        else:
            rows = self.once.compared(depths, paired=True)
            effect, half = recorded_gain(rows.reshape(self.draws, -1, 4), 0.95, self.widening)
            half *= float(np.exp(effect))
        return Comparison(
            depths,
            (float(np.expm1(effect)), half),
            [self._design(depths, paired) for paired in (False, True)],
            None if 0 in depths else self._design_by_rounds(depths),
        )

    def _design(self, depths: tuple[int, int], paired: bool) -> Design:
        rows = self.pool.compared(depths, paired)
        variance = gain_variance(rows, paired)
        if 0 not in depths:
            return self._verify(depths, paired, self._to_detect(variance))
        size = requests_to_measure(
            variance,
            self.effect,
            self.power,
            self.confidence,
            excess=excess_kurtosis(rows),
            pool=len(rows),
        )
        return self._verify(depths, paired, size)

    def _to_detect(self, variance: float) -> int:
        return requests_to_detect(variance, self.effect, self.power, self.confidence)

    def _verify(self, depths: tuple[int, int], paired: bool, size: int) -> Design:
        """Check a size by simulated benchmarks, and raise it until it decides correctly enough."""
        first = design = self._checked(depths, paired, size)
        for _ in range(MAX_RAISES):
            if not design.falls_short(self.power):
                break
            larger = design.requests_for(self.power, self.confidence)
            design = self._checked(depths, paired, max(larger, design.requests + 1))
        return design if design is first else replace(design, raised_from=first)

    def _checked(self, depths: tuple[int, int], paired: bool, size: int) -> Design:
        effect = float(np.log1p(self.effect))
        trials = _simulated(self.fresh.compared(depths, paired), size, effect, self.confidence)
        missed = abs(trials[:, 0] - effect) > trials[:, 1]
        right = trials[:, 1] <= effect if 0 in depths else trials[:, 0] > trials[:, 1]
        return Design(paired, size, float(right.mean()), float(missed.mean()), len(trials))

    def _design_by_rounds(self, depths: tuple[int, int]) -> Design:
        """The independent design planned as if rounds were independent."""
        point = compile_point(self.experiment)
        variance = 0.0
        for run, depth in enumerate(depths):
            accepted, times = sample_rounds(point.source, point.plan, depth)
            tokens = accepted + 1.0
            influence = tokens / tokens.mean() - times / times.mean()
            variance += float(influence.var() / self.pool.rounds[run, :, depth].mean())
        return self._checked(depths, False, self._to_detect(variance))

    @property
    def horizon(self) -> dict[str, int]:
        """Length of a request; empty if each has one of its own."""
        chain = self.experiment.source.hidden_chain
        if chain is not None and chain.lengths_of(1) is not None:
            return {}
        return {unit: n for unit, n in self.experiment.simulation.horizon.items() if n}

    def by_length(self, depths: tuple[int, int]) -> list[RequestLength]:
        """Requests needed to compare two depths, with shorter and longer requests."""
        found = []
        for unit, planned in self.horizon.items():
            for length in sorted({max(1, round(planned * factor)) for factor in LENGTH_FACTORS}):
                pool = self.pool  # of the planned length
                if length != planned:
                    changed = self.experiment.changed({f"simulation.{unit}": length})
                    pool = RequestTotals(changed, POOL // 3)
                independent, paired = (
                    self._to_detect(gain_variance(pool.compared(depths, paired), paired))
                    for paired in (False, True)
                )
                tokens = float(pool.tokens[0, :, depths[1]].mean())
                found.append(RequestLength(unit, length, tokens, independent, paired))
        return found


@renamed_keyword(PROGRESS, "on_progress")
def plan_benchmark(
    experiment: Experiment,
    *,
    effect: float,
    power: float,
    pairs: list[tuple[int, int]],
    pinned: list[int],
    on_progress: ProgressCallback = lambda label, share: None,
) -> BenchmarkPlan:
    """Plan benchmarks that compare depths and measure speedups, and verify them by simulation.

    Args:
        experiment (Experiment): One point: acceptance model, latency and request length.
        effect (float): Smallest relative difference to detect, and half-width of a speedup.
        power (float): Wanted probability of a right decision, such as 0.9.
        pairs (list[tuple[int, int]]): Pairs of depths to compare.
        pinned (list[int]): Depths whose speedup over plain decoding is to be measured.
        on_progress (Callable[[str, float], None]): Called with a label and the completed share of
            the work.

    Returns:
        BenchmarkPlan: Requests per run for each comparison and speedup, with the share of right
        decisions among simulated benchmarks.

    Raises:
        InputError: A distribution of the latency can't be tabulated.

    Examples:
        >>> import mtpsim
        >>> experiment = mtpsim.load("experiments/article.toml")
        >>> plan = mtpsim.plan_benchmark(
        ...     experiment, effect=0.02, power=0.9, pairs=[(1, 2)], pinned=[]
        ... )
        >>> independent, paired = plan.questions[0].designs
        >>> independent.requests > paired.requests >= 10
        True
    """
    on_progress("simulating requests", 0.0)
    chain = experiment.source.hidden_chain
    planner = Planner(experiment, effect, power)
    compared = pairs + [(0, depth) for depth in pinned]
    questions = []
    for number, depths in enumerate(compared):
        label = f"simulating benchmarks of depths {depths[0]} and {depths[1]}"
        on_progress(label, number / len(compared))
        questions.append(planner.compare(depths))
    return BenchmarkPlan(
        effect=effect,
        power=power,
        confidence=planner.confidence,
        horizon=planner.horizon,
        tokens=float(planner.pool.tokens[0, :, compared[0][1]].mean()),
        questions=questions,
        by_length=planner.by_length(pairs[0]) if pairs else [],
        rates_vary=chain is None or chain.states > 1,
        recorded=planner.recorded,
    )
