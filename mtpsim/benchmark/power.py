"""How long a benchmark must be to tell two depths apart, or to pin a speedup.

A benchmark runs one engine at two depths and compares tokens a second. Its unit is the request. In
the *independent* design each run has requests of its own; in the *paired* one both runs answer the
same prompts, greedily, so that the text is the same, and the noise of the engine is not. What is
planned is then tried: benchmarks of that size are simulated many times, and it is counted how often
they decide right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.config.experiment import Experiment
from mtpsim.engine.simulate import compile_point, simulate_requests
from mtpsim.exact.chain_solver import solve
from mtpsim.stats.estimators import Estimates, delta_method
from mtpsim.stats.moments import Tally

EFFECT = 0.01  # relative difference to tell where none is asked for
POOL = 30_000  # requests that the spread is taken from; another pool tries the plan
TRIES, LEAST_TRIES = 2_000, 300  # simulated benchmarks
PICKS = 20_000_000  # requests of all of them together
LEAST = 10  # requests, below which no interval is to be trusted
STRETCH = (0.25, 1.0, 4.0)  # lengths of a request that are compared
Told = Callable[[str, float], None]


@dataclass(frozen=True)
class Design:
    """A benchmark of some size, and how often it decides right.

    Attributes:
        paired: both runs answer the same prompts.
        requests: of each run.
        power: share of simulated benchmarks that decide right (to pin a speedup: whose interval is
            as narrow as was asked for).
        false: share whose interval misses the truth; without a difference they would see one.
        tries: simulated benchmarks.

    """

    paired: bool
    requests: int
    power: float
    false: float
    tries: int


@dataclass(frozen=True)
class Question:
    """Two depths to tell apart; with depth 0 as one of them, a speedup to pin.

    Attributes:
        depths: that are compared.
        effect: relative difference of their speed in the model, and its simulation error.
        designs: independent, then paired.
        if_rounds: what one would plan, without pairs, who takes rounds for independent.

    """

    depths: tuple[int, int]
    effect: tuple[float, float]
    designs: list[Design]
    if_rounds: Design | None


@dataclass(frozen=True)
class Length:
    """Requests of another length: how many of them tell two depths apart.

    Attributes:
        unit: ``tokens`` or ``rounds``.
        length: of a request.
        tokens: of a request, on average.
        independent: requests of each run, and
        paired: with pairs.

    """

    unit: str
    length: int
    tokens: float
    independent: int
    paired: int


@dataclass(frozen=True)
class Planned:
    """A plan.

    Attributes:
        effect: relative difference to tell, or half-width to reach.
        power: wanted.
        confidence: of the intervals of the benchmark.
        horizon: length of a request, as ``{"tokens": 512}``; empty for recorded requests.
        tokens: mean tokens of a request.
        questions: differences between depths, then the speedup of each.
        by_length: of the first question, shorter and longer requests.

    """

    effect: float
    power: float
    confidence: float
    horizon: dict[str, int]
    tokens: float
    questions: list[Question]
    by_length: list[Length]


class Totals:
    """Totals of requests run at every depth, once in each of two runs.

    Attributes:
        tokens: ``[2, n, K + 1]`` by run, request and depth.
        times: ``[2, n, K + 1]`` ms.
        rounds: ``[2, n, K + 1]``.

    """

    def __init__(self, experiment: Experiment, count: int, first: int = 0) -> None:
        """Simulate requests ``first`` and on; the runs share their text and nothing else."""
        plan = compile_point(experiment).plan
        layout = plan.layout
        runs = []
        for arm in (0, 1):
            noisy = replace(plan, noise=plan.noise._replace(arm=arm), policy_set=None)
            parts = [
                simulate_requests(noisy, first + at, min(plan.unit, count - at))[
                    :, : layout.rounds.stop
                ]
                for at in range(0, count, plan.unit)
            ]
            runs.append(np.concatenate(parts))
        rows = np.stack(runs)
        self.tokens, self.times = rows[:, :, layout.tokens], rows[:, :, layout.time_ms]
        self.rounds = rows[:, :, layout.rounds]

    def compared(self, depths: tuple[int, int], paired: bool) -> Floats:
        """``[n, 4]`` tokens and ms of the first depth's run, then of the second's.

        Without pairs the second run has other requests: the same ones, shifted by half of them.
        """
        one, two = depths
        second = np.stack([self.tokens[1, :, two], self.times[1, :, two]], axis=1)
        if not paired:
            second = np.roll(second, len(second) // 2, axis=0)
        first = np.stack([self.tokens[0, :, one], self.times[0, :, one]], axis=1)
        return np.concatenate([first, second], axis=1)


def _log_gain(means: Floats) -> Floats:
    """Log of the second run's speed over the first's, ``[..., 1]``."""
    first, second = means[..., 0] / means[..., 1], means[..., 2] / means[..., 3]
    return np.asarray(np.log(second / first))[..., None]


def _influence(rows: Floats) -> Floats:
    """``[n, 2]`` what each request adds to the log speed of each run."""
    share = rows / rows.mean(0)
    return np.stack([share[:, 0] - share[:, 1], share[:, 2] - share[:, 3]], axis=1)


def _variance(rows: Floats, paired: bool) -> float:
    """Of the log gain, for one request a run."""
    influence = _influence(rows)
    if paired:
        return float((influence[:, 1] - influence[:, 0]).var(ddof=1))
    return float(influence.var(axis=0, ddof=1).sum())


def _spread(rows: Floats) -> float:
    """Of what a request adds to the log gain: kurtosis less 1; 2 where there is none.

    Cut at the largest one in a thousand: rarer ones are in few benchmarks, which they make so wide
    that no plan would help, and leave the rest narrower.
    """
    influence = _influence(rows)
    squares = (influence[:, 1] - influence[:, 0]) ** 2
    squares = np.minimum(squares, np.quantile(squares, 0.999))
    return float(squares.var() / squares.mean() ** 2) if squares.any() else 2.0


def requests_to_tell(variance: float, delta: float, power: float, confidence: float) -> int:
    """Requests of each run so that a difference ``delta`` is found with probability ``power``.

    Args:
        variance: of the log gain for one request a run.
        delta: relative difference.
        power: wanted.
        confidence: of the two-sided interval that must leave out no difference.

    """
    return _least(variance, np.log1p(delta), lambda m: _t((1 + confidence) / 2, m) + _t(power, m))


def requests_to_pin(
    variance: float,
    delta: float,
    power: float,
    confidence: float,
    spread: float = 2.0,
    pool: float = np.inf,
) -> int:
    """Requests so that the half-width is ``delta`` or less with probability ``power``.

    The variance that a benchmark will find is taken as chi-squared, with the degrees of freedom
    that its own spread, and the doubt about ``variance``, leave it (Satterthwaite 1946).

    Args:
        variance: of the log gain for one request a run.
        delta: half-width to reach.
        power: wanted.
        confidence: of the two-sided interval.
        spread: kurtosis less 1 of what a request adds: 2 where it is normal, more with long tails.
        pool: requests that ``variance`` is known from.

    """
    from scipy.special import chdtri

    def quantile(m: int) -> float:
        degrees = 2 / (spread * (1 / (m - 1) + 1 / pool))
        return _t((1 + confidence) / 2, m) * float(np.sqrt(chdtri(degrees, 1 - power) / degrees))

    return _least(variance, np.log1p(delta), quantile)


def _t(share: float, requests: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(requests - 1, share))


def _least(variance: float, width: float, quantile: Callable[[int], float]) -> int:
    """The least number m of requests with quantile(m) x sqrt(variance / m) <= width."""

    def narrow(m: int) -> bool:
        return variance * (quantile(m) / width) ** 2 <= m

    few, many = LEAST - 1, LEAST
    while not narrow(many):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if narrow(middle) else (middle, many)
    return many


def _tried(rows: Floats, requests: int, effect: float, confidence: float) -> Floats:
    """Simulated benchmarks: ``[n, 2]`` log gains and half-widths, with ``effect`` made true.

    Each draws its requests from the pool with replacement, and the pool's own gain is replaced by
    the effect: scaled times would do just that.
    """
    rng = np.random.default_rng(0)
    truth = float(_log_gain(rows.mean(0))[0])
    found = np.empty((int(np.clip(PICKS // requests, LEAST_TRIES, TRIES)), 2))
    for n in range(len(found)):
        tally = Tally.of(rows[rng.integers(len(rows), size=requests)])
        gain: Estimates = delta_method(_log_gain, tally, confidence)
        found[n] = gain.values[0] - truth + effect, gain.half_width[0]
    return found


class Planner:
    """Plans benchmarks of an experiment, and tries them."""

    def __init__(self, experiment: Experiment, effect: float, power: float) -> None:
        """Simulate a pool of requests to plan with, and another one to try on.

        Args:
            experiment: one point: the model, the times and the length of a request.
            effect: relative difference to tell, or half-width of a speedup to reach.
            power: probability to decide right.

        """
        self.experiment, self.effect, self.power = experiment, effect, power
        self.confidence = experiment.simulation.confidence
        self.pool, self.fresh = Totals(experiment, POOL), Totals(experiment, POOL, POOL)

    def question(self, depths: tuple[int, int]) -> Question:
        """Plan for two depths."""
        rows = self.pool.compared(depths, paired=True)
        gain = delta_method(_log_gain, Tally.of(rows), 0.95)
        return Question(
            depths,
            (float(np.expm1(gain.values[0])), float(gain.half_width[0])),
            [self._design(depths, paired) for paired in (False, True)],
            None if 0 in depths else self._if_rounds(depths),
        )

    def _design(self, depths: tuple[int, int], paired: bool) -> Design:
        rows = self.pool.compared(depths, paired)
        variance = _variance(rows, paired)
        if 0 not in depths:
            return self._try(depths, paired, self._to_tell(variance))
        asked = self.effect, self.power, self.confidence
        size = requests_to_pin(variance, *asked, _spread(rows), len(rows))
        return self._try(depths, paired, size)

    def _to_tell(self, variance: float) -> int:
        return requests_to_tell(variance, self.effect, self.power, self.confidence)

    def _try(self, depths: tuple[int, int], paired: bool, size: int) -> Design:
        effect = float(np.log1p(self.effect))
        tried = _tried(self.fresh.compared(depths, paired), size, effect, self.confidence)
        missed = abs(tried[:, 0] - effect) > tried[:, 1]
        right = tried[:, 1] <= effect if 0 in depths else tried[:, 0] > tried[:, 1]
        return Design(paired, size, float(right.mean()), float(missed.mean()), len(tried))

    def _if_rounds(self, depths: tuple[int, int]) -> Design:
        """What one would ask for, without pairs, who takes rounds for independent."""
        source = self.experiment.acceptance.chain()
        latency = self.experiment.latency.compile(source.depth)
        variance = 0.0
        for arm, depth in enumerate(depths):
            law = solve(source, depth, **self.horizon).accepted
            made = np.arange(1, depth + 2)
            mean = law @ made
            times = latency.sample_round_times(depth, 20_000, 0)
            of_round = (law @ made**2 - mean**2) / mean**2 + times.var() / times.mean() ** 2
            variance += float(of_round / self.pool.rounds[arm, :, depth].mean())
        return self._try(depths, False, self._to_tell(variance))

    @property
    def horizon(self) -> dict[str, int]:
        """Length of a request; empty where each is as long as it was recorded."""
        simulation = self.experiment.simulation
        lengths = {"rounds": simulation.rounds, "tokens": simulation.tokens}
        return {name: length for name, length in lengths.items() if length}

    def by_length(self, depths: tuple[int, int]) -> list[Length]:
        """Requests that tell two depths apart, shorter and longer ones than planned with."""
        found = []
        for name, length in self.horizon.items():
            for stretched in sorted({max(1, round(length * s)) for s in STRETCH}):
                pool = self.pool  # of the length itself: the very requests of the plan
                if stretched != length:
                    changed = self.experiment.changed({f"simulation.{name}": stretched})
                    pool = Totals(changed, POOL // 3)
                alone, paired = (
                    self._to_tell(_variance(pool.compared(depths, p), p)) for p in (False, True)
                )
                made = float(pool.tokens[0, :, depths[1]].mean())
                found.append(Length(name, stretched, made, alone, paired))
        return found


def plan_benchmark(
    experiment: Experiment,
    *,
    effect: float,
    power: float,
    pairs: list[tuple[int, int]],
    pinned: list[int],
    told: Told = lambda label, share: None,
) -> Planned:
    """Plan benchmarks that tell depths apart and pin speedups, and try them.

    Args:
        experiment: see :class:`Planner`, as
        effect: and
        power: are.
        pairs: depths to tell apart.
        pinned: depths whose speedup is to be pinned.
        told: of progress.

    """
    told("simulating requests", 0.0)
    planner = Planner(experiment, effect, power)
    asked = [*pairs, *((0, k) for k in pinned)]
    questions = []
    for number, depths in enumerate(asked):
        told(f"trying benchmarks of depths {depths[0]} and {depths[1]}", number / len(asked))
        questions.append(planner.question(depths))
    tokens = float(planner.pool.tokens[0, :, asked[0][1]].mean())
    lengths = planner.by_length(pairs[0]) if pairs else []
    return Planned(
        *(effect, power, planner.confidence, planner.horizon, tokens, questions, lengths)
    )
