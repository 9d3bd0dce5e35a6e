"""Are decisions as right as they say, in random settings of 2 to 30 requests?

A setting is a random model, random times of which the last are drawn so that depths are close, and
noise; the exact speedups are known. Its first m requests are analysed as a run of m requests. What
is stated is compared with what is true: candidate sets, bounds of the loss, probabilities,
expected regret, `as good` depths, verdicts on steps, and quantiles of requests. Other settings have
uncertain rates: the truth is drawn, a benchmark of it is drawn, and the decision over the posterior
is judged, simulated exactly or in few requests of each draw.

Below LEAST_REQUESTS no verdict is given. The control is P(fastest) as a statement on the advised
depth, which no report makes: among depths near each other it says too much, and the same criterion
must find that. It is right where true differences are large, which shows the reason.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain as joined
from pathlib import Path
from typing import Any

import numpy as np

from mtpsim.acceptance import AcceptanceModel, Beta, Independent, Regime
from mtpsim.benchmark.power import Planner, RequestTotals
from mtpsim.benchmark.sizes import log_gain
from mtpsim.common.arrays import Floats
from mtpsim.config.simulation import Decision
from mtpsim.engine.simulate import KernelPlan, compile_plan, simulate_requests, tails
from mtpsim.exact.chain_solver import speedups
from mtpsim.formula import closed_form
from mtpsim.latency import Latency
from mtpsim.report.document import Interval
from mtpsim.results.advice import judge
from mtpsim.results.point_data import LEAST_REQUESTS
from mtpsim.results.uncertainty import intervals_of, joint_draws
from mtpsim.stats import estimators
from mtpsim.stats.comparisons import Choice, choose, choose_among, log_of
from mtpsim.stats.estimators import Estimates, Tally
from mtpsim.stats.quantiles import SHARES
from verification.check import Check, Table, coverage_slack
from verification.published_fact import experiment

SIZES = (2, 3, 5, 10, 20, 30)
CONFIDENCE, ROUNDS, TARGET = 0.95, 50, 76.0
LONG = 4000  # requests whose quantiles are taken as true
DECISION = Decision.model_validate({})
BOUNDARY = 1e-9  # of a verdict that is exactly on a threshold


def random_model(rng: np.random.Generator) -> AcceptanceModel:
    """A chain of depth 2 to 4: independent drafts, hidden states, or requests that differ."""
    depth, kind = int(rng.integers(2, 5)), int(rng.integers(3))
    if kind == 0:
        return Independent(model="independent", rates=rng.uniform(0.3, 0.95, depth).tolist())
    if kind == 1:
        rows = [rng.uniform(low, high, depth).tolist() for low, high in ((0.6, 0.97), (0.2, 0.6))]
        clock, stay = rng.choice(["round", "token"]), rng.uniform(3, 30, 2).tolist()
        return Regime(model="regime", clock=clock, rates=rows, sojourn=stay)
    mean, concentration = rng.uniform(0.5, 0.85), rng.uniform(3, 30)
    return Beta(model="beta", mean=mean, concentration=concentration, depth=depth)


def random_times(rng: np.random.Generator, lengths: np.ndarray) -> Latency:
    """Round times that give each depth a speedup of 0.9 to 1.6, mostly near that of the others."""
    level, spread = rng.uniform(0.9, 1.6), rng.choice([0.0005, 0.002, 0.01, 0.05])
    speed = level * np.exp(spread * rng.standard_normal(len(lengths) - 1))
    times = TARGET * lengths[1:] / lengths[0] / speed
    noise = {"distribution": "lognormal", "cv": float(rng.uniform(0.05, 0.4))}
    parts = {"verify": (0.9 * times).tolist(), "draft": (0.1 * times).tolist()}
    return Latency.model_validate({"target": TARGET, **parts, "noise": noise})


@dataclass
class Score:
    """What was stated and what was true, over settings of one kind."""

    settings: int = 0
    covered: int = 0  # candidate sets with a true best depth
    size: int = 0  # depths in them
    bounded: int = 0  # losses of the advised depth within their bound
    regret: list[tuple[float, float]] = field(default_factory=list)  # stated, true
    best: list[tuple[float, bool]] = field(default_factory=list)  # P(best), is best: every depth
    lead: list[tuple[float, bool]] = field(default_factory=list)  # the same, advised depth
    near: list[tuple[float, bool]] = field(default_factory=list)  # confidence, is within
    claims: dict[str, list[bool]] = field(default_factory=dict)  # whether each is right
    words: dict[str, int] = field(default_factory=dict)  # verdicts on steps
    ranges: dict[str, list[bool]] = field(default_factory=dict)  # intervals of requests

    def add(self, choice: Choice, gains: list[Interval], truth: np.ndarray) -> None:
        """Compare a decision with the exact speedups ``[K + 1]``."""
        loss = 1 - truth / truth.max()
        self.settings += 1
        self.covered += bool((loss[choice.candidates] < BOUNDARY).any())
        self.size += len(choice.candidates)
        self.bounded += bool(-np.log1p(-loss[choice.best]) <= choice.high[choice.best] + BOUNDARY)
        self.regret.append((float(choice.regret[choice.best]), float(loss[choice.best])))
        found = list(zip(choice.probability.tolist(), (loss < BOUNDARY).tolist(), strict=True))
        self.best += found
        self.lead.append(found[choice.best])
        within = truth.max() / truth - 1 <= DECISION.indifference + BOUNDARY
        self.near.append((float(choice.near_best[choice.best]), bool(within[choice.best])))
        said = [choice.verdict(k, DECISION.indifference) for k in range(len(truth))]
        for name, right in (("as good", within), ("worse", ~within)):
            found = [bool(right[k]) for k, word in enumerate(said) if word == name]
            self.claims.setdefault(name, []).append(all(found))
        for gain, true in zip(gains, truth[1:] / truth[:-1] - 1, strict=True):
            word = judge(gain, DECISION).verdict
            self.claims.setdefault("steps", []).append(_holds(word, float(true)))
            self.words[word] = self.words.get(word, 0) + 1


def _holds(word: str, gain: float) -> bool:
    limits = {
        "essential": gain >= DECISION.essential - BOUNDARY,
        "optional": gain > -BOUNDARY,
        "negligible": abs(gain) <= DECISION.negligible + BOUNDARY,
        "harmful": gain < BOUNDARY,
    }
    return limits.get(word, True)


def decide(tally: Tally, plan: KernelPlan) -> tuple[Choice, list[Interval]]:
    """The decision of a run, and the intervals of its gains."""
    layout = plan.layout

    def found(function: Callable[..., Any]) -> Estimates:
        return estimators.delta_method(lambda means: function(means, layout), tally, CONFIDENCE)

    gains = found(estimators.marginal)
    ends = zip(*(v.tolist() for v in (gains.values, gains.low, gains.high)), strict=True)
    choice = choose(log_of(found(estimators.speedup)), CONFIDENCE, DECISION.indifference)
    return choice, [Interval(mean=mean, low=low, high=high) for mean, low, high in ends]


def run_setting(seed: int, scores: dict[int, Score]) -> None:
    """Simulate a random setting, and judge the decisions of its first m requests."""
    rng = np.random.default_rng((2026, seed))
    chain = random_model(rng).chain()
    flat = speedups(chain, np.ones(chain.depth + 1), rounds=ROUNDS)
    latency = random_times(rng, flat).compile(chain.depth)
    plan = compile_plan(chain, latency, seed=seed, rounds=ROUNDS)
    truth = speedups(chain, latency.round_time, rounds=ROUNDS)
    rows = simulate_requests(plan, 0, LONG)
    long_run = np.quantile(rows[SIZES[-1] :, plan.layout.time_ms], SHARES, axis=0).T
    for m, score in scores.items():
        tally = Tally.of(rows[:m])
        score.add(*decide(tally, plan), truth)
        for depth, cells in enumerate(tails(rows[:m], plan, CONFIDENCE)[0]):
            for share, (_, low, high), true in zip(SHARES, cells, long_run[depth], strict=True):
                if np.isfinite(low + high):
                    name = f"p{100 * share:g}"
                    score.ranges.setdefault(name, []).append(bool(low <= true <= high))


def uncertain_setting(seed: int, score: Score, draws: int = 200) -> None:
    """Draw true rates, measure them, and judge the decision over their posterior."""
    rng = np.random.default_rng((77, seed))
    depth = int(rng.integers(2, 5))
    rates, trials = rng.beta(0.5, 0.5, depth), rng.integers(20, 2000, depth)
    lengths = closed_form.accept_length(rates)
    speed = rng.uniform(0.9, 1.6) * np.exp(0.03 * rng.standard_normal(depth))
    times = TARGET * np.append(1.0, lengths[1:] / speed)
    seen = rng.binomial(trials, rates)
    drawn = rng.beta(seen + 0.5, trials - seen + 0.5, (draws, depth))
    logs = np.log([closed_form.speedup(row, TARGET, times) for row in drawn])
    low, high = np.exp(np.quantile(np.diff(logs, axis=1), [0.025, 0.975], axis=0))
    gains = [Interval(mean=a, low=a, high=b) for a, b in zip(low, high, strict=True)]
    choice = choose_among(logs, CONFIDENCE, DECISION.indifference)
    score.add(choice, gains, closed_form.speedup(rates, TARGET, times))


def few_and_uncertain_setting(seed: int, scores: dict[int, Score], draws: int = 40) -> None:
    """Draw true rates and measure them; simulate m requests of each draw of their posterior."""
    rng = np.random.default_rng((99, seed))
    rates = rng.uniform(0.3, 0.95, int(rng.integers(2, 5)))
    trials = int(10 ** rng.uniform(2.5, 5))
    latency = random_times(rng, closed_form.accept_length(rates)).compile(len(rates))
    truth = closed_form.speedup(rates, TARGET, latency.round_time)
    seen = rng.binomial(trials, rates)
    rows = []
    for row in rng.beta(seen + 0.5, trials - seen + 0.5, (draws, len(rates))).tolist():
        chain = Independent(model="independent", rates=row).chain()
        plan = compile_plan(chain, latency, seed=seed, rounds=ROUNDS)
        rows.append(simulate_requests(plan, 0, SIZES[-1]))
    for m, score in scores.items():
        found = [
            estimators.delta_method(
                lambda means: estimators.speedup(means, plan.layout), Tally.of(some[:m]), CONFIDENCE
            )
            for some in rows
        ]
        logs = joint_draws(found)
        choice = choose_among(logs, CONFIDENCE, DECISION.indifference)
        with np.errstate(over="ignore"):  # two requests have draws from a Cauchy law
            gains = intervals_of(np.diff(logs, axis=1), CONFIDENCE)
        score.add(choice, gains, truth)


def prior_setting(rng: np.random.Generator, width: float) -> tuple[float, bool]:
    """P(fastest) of the better of two estimates, and whether it is; errors have a sd of 1.

    Args:
        rng: random numbers.
        width: true differences are normal with this standard deviation.
    """
    true = rng.standard_normal(2) * width / np.sqrt(2)
    found = Estimates(true + rng.standard_normal(2) / np.sqrt(2), np.eye(2) / 2, 1.96, np.inf)
    choice = choose(found, CONFIDENCE)
    return float(choice.probability[choice.best]), bool(true[choice.best] == true.max())


def plan_setting(seed: int, benchmarks: int) -> tuple[float, float]:
    """Plan a benchmark of depths 1 and 2 that differ by exactly 3 %, and run it many times.

    Returns:
        Power that the plan states, and share of simulated benchmarks that decide correctly.
    """
    rng = np.random.default_rng((5, seed))
    model, effect = random_model(rng), 0.03
    lengths = speedups(model.chain(), np.ones(model.chain().depth + 1), rounds=ROUNDS)
    times = TARGET * lengths[1:] / lengths[0] / 1.2
    times[1] /= 1 + effect
    noise = {"distribution": "lognormal", "cv": float(rng.uniform(0.05, 0.4))}
    latency = {"target": TARGET, "verify": times.tolist(), "draft": 0.0, "noise": noise}
    simulation = {"rounds": ROUNDS, "requests": 100, "seed": seed + 1}
    given = experiment(model.model_dump(exclude_none=True), latency, simulation=simulation)
    design = Planner(given, effect, 0.9).compare((1, 2)).designs[0]
    totals = RequestTotals(given, design.requests * benchmarks, 2 * 30_000)
    rows = totals.compared((1, 2), paired=False)
    right = 0
    for one in np.split(rows, benchmarks):
        gain = estimators.delta_method(log_gain, Tally.of(one), CONFIDENCE)
        right += bool(gain.low[0] > 0)
    return design.power, right / benchmarks


def reliability(stated: list[tuple[float, bool]]) -> tuple[float, float, float]:
    """Mean probability stated, share that came true, and its standard error."""
    said, true = np.array(stated, float).T
    return (
        float(said.mean()),
        float(true.mean()),
        float(np.sqrt((said * (1 - said)).sum())) / len(said),
    )


def judged(name: str, statement: str, shares: dict[str, tuple[float, float]]) -> Check:
    """A check that each share is at least its limit."""
    wrong = [f"{key}: {share:.3f}" for key, (share, least) in shares.items() if share < least]
    ends = [share for share, _ in shares.values()]
    text = f"{len(ends)} shares, {min(ends):.3f} to {max(ends):.3f}"
    return Check(name, statement, "; ".join([text, *wrong]), not wrong, 3e-5 * len(ends))


def checks(smoke: bool) -> Iterator[Check]:
    """All settings; the full run writes calibration.md and .png."""
    runs = 40 if smoke else 500
    scores, over = {m: Score() for m in SIZES}, Score()
    both = {m: Score() for m in SIZES}
    for seed in range(runs):
        run_setting(seed, scores)
        uncertain_setting(seed, over)
        if seed % 2 == 0:
            few_and_uncertain_setting(seed, both)
    plans = [plan_setting(seed, 100 if smoke else 200) for seed in range(1 if smoke else 10)]
    enough = {f"m = {m}": s for m, s in scores.items() if m >= LEAST_REQUESTS}
    enough |= {f"m = {m}, inputs": s for m, s in both.items() if m >= LEAST_REQUESTS}
    every = {**enough, "uncertain inputs": over}
    least = CONFIDENCE - coverage_slack(CONFIDENCE, runs // 2, 0.01)
    yield judged(
        "candidates",
        f"from {LEAST_REQUESTS} requests on the set contains a best depth in 95 %",
        {name: (score.covered / score.settings, least) for name, score in every.items()},
    )
    yield judged(
        "bounds",
        "the advised depth loses no more than the upper bound in 95 %",
        {name: (score.bounded / score.settings, least) for name, score in every.items()},
    )
    for word in ("as good", "worse", "steps"):
        yield judged(
            f"claims: {word}",
            "at most 5 % are wrong, of all settings or steps",
            {name: (float(np.mean(s.claims[word])), least) for name, s in every.items()},
        )
    quantiles = {
        f"{share}, m = {m}": (float(np.mean(hits)), CONFIDENCE - coverage_slack(0.95, runs, 0.01))
        for m, score in scores.items()
        for share, hits in score.ranges.items()
    }
    yield judged("request quantiles", "their intervals cover in 95 %", quantiles)
    for name, which in (("confidence", "near"), ("P(fastest)", "lead")):
        found = {key: reliability(getattr(score, which)) for key, score in every.items()}
        far = any(said - true > 4 * e + 0.01 for said, true, e in found.values())
        text = ", ".join(f"{k}: {said:.3f} / {true:.3f}" for k, (said, true, _) in found.items())
        if which == "near":
            yield Check(name, "not overstated: mean / share that came true", text, not far, 2e-4)
        elif not smoke:  # a few settings can't show it
            yield Check(name, "is overstated among near ties", text, far, control=True)
    yield from _reason(600 if smoke else 1000)
    regrets = {key: np.mean(score.regret, axis=0) for key, score in every.items()}
    text = ", ".join(f"{k}: {100 * a:.2f} / {100 * b:.2f} %" for k, (a, b) in regrets.items())
    good = not any(_understated(np.array(score.regret)) for score in every.values())
    yield Check("regret", "not understated: expected / true loss", text, good, 1e-3)
    stated, true = np.mean(plans, axis=0)
    text = f"{len(plans)} plans: {stated:.3f} / {true:.3f}"
    slack = 4 * np.sqrt(0.09 / (len(plans) * (100 if smoke else 200))) + 0.02
    reached = bool(abs(true - 0.9) < slack)
    yield Check("power", "asked 0.9: stated / reached", text, reached, 1e-3)
    if not smoke:
        write(scores, both, over, plans)


def _understated(regret: Floats) -> bool:
    """Whether expected losses are below 0.8 of the true ones, beyond the error of the means.

    Args:
        regret (Floats): ``[n, 2]`` expected and true loss by setting.
    """
    gap = 0.8 * regret[:, 1] - regret[:, 0]
    return bool(gap.mean() > 4 * gap.std() / np.sqrt(len(gap)))


def _reason(runs: int) -> Iterator[Check]:
    """P(fastest) is right where true differences are far larger than their errors, else not."""
    rng = np.random.default_rng(11)
    for width, control in ((10.0, False), (1 / 3, True)):
        said, true, error = reliability([prior_setting(rng, width) for _ in range(runs)])
        far = bool(said - true > 4 * error + 0.01)
        yield Check(
            f"P(fastest), sd of true differences {width:.2g} standard errors",
            "is overstated" if control else "not overstated: mean / share that came true",
            f"{said:.3f} / {true:.3f}",
            far if control else not far,
            0.0 if control else 3e-5,
            control,
        )


def write(scores: dict[int, Score], both: dict[int, Score], over: Score, plans: list[Any]) -> None:
    """Write the page and its picture."""
    head = "requests", "best in set", "depths in it", "loss in bound", "P(fastest)", "confidence"
    head += "regret, %", "as good", "worse", "steps", "undecided", "p50"
    table = Table(*head)
    rows = {
        f"{m}{name}{' (no verdict)' * (m < LEAST_REQUESTS)}": score
        for name, kind in (("", scores), (", inputs uncertain", both))
        for m, score in kind.items()
    }
    for name, score in {**rows, "uncertain inputs": over}.items():
        pairs = [reliability(stated)[:2] for stated in (score.lead, score.near)]
        loss = 100 * np.mean(score.regret, axis=0)
        steps = len(score.claims["steps"])
        table.add(
            name,
            f"{score.covered / score.settings:.3f}",
            f"{score.size / score.settings:.2f}",
            f"{score.bounded / score.settings:.3f}",
            *(f"{said:.3f} / {true:.3f}" for said, true in pairs),
            f"{loss[0]:.2f} / {loss[1]:.2f}",
            *(f"{np.mean(score.claims[word]):.3f}" for word in ("as good", "worse", "steps")),
            f"{score.words.get('undecided', 0) / steps:.2f}",
            f"{np.mean(score.ranges['p50']):.3f}" if "p50" in score.ranges else "-",
        )
    stated, true = np.mean(plans, axis=0)
    ends = np.quantile([one for _, one in plans], [0, 1])
    text = f"""# Calibration of decisions

{over.settings:,} random settings: models of depth 2 to 4, times that put depths near each other,
noise of 5 to 40 %, requests of {ROUNDS} rounds. The first m requests of each are analysed as a run
of m requests and compared with the exact speedups. Pairs are the mean stated / what came true:
P(fastest) and confidence of the advised depth, and its expected loss. Among depths near each other
P(fastest) is overstated, because the advised depth is also the luckiest, and no report states it;
confidence (within 1 % of the fastest) and expected loss are on the safe side, and the advised depth
loses no more than the bound that reports state. `as good`,
`worse` and `steps` are shares of settings, or of steps, without a wrong claim. Below
{LEAST_REQUESTS} requests a run states none of this. Uncertain inputs: rates drawn, measured on 20
to 2,000 trials, and decided over 200 draws of their posterior, whose speedups are exact; in rows
with a number of requests ({both[10].settings} settings, 300 to 100,000 trials, depths near each
other) each of 40 draws is simulated in so many requests.
`python verification/run.py calibration` writes this page.

![Stated probabilities and what came true](calibration.png)

{table.markdown()}

Benchmark plans for a power of 0.90 in {len(plans)} random settings: {stated:.3f} stated,
{true:.3f} reached in 200 simulated benchmarks each ({ends[0]:.3f} to {ends[1]:.3f}).
"""
    Path(__file__).with_name("calibration.md").write_text(text)
    draw(scores, both, over)


def draw(scores: dict[int, Score], both: dict[int, Score], over: Score) -> None:
    """Reliability of both probabilities of the advised depth, and coverage by requests."""
    from mtpsim.report.figures.style import BLUE, ORANGE, SKY, VERMILION, Frame, panel_title

    frame = Frame(
        "What is stated, and what came true",
        f"{over.settings:,} random settings; dots: eighths of the stated probabilities",
        panels=3,
        size=(10.2, 4.2),
    )
    shown = {
        "2 to 5 requests": [scores[m] for m in SIZES[:3]],
        "10 to 30 requests": [scores[m] for m in SIZES[3:]],
        "2 to 5, inputs uncertain": [both[m] for m in SIZES[:3]],
        "10 to 30, inputs uncertain": [both[m] for m in SIZES[3:]],
    }
    colors = (SKY, BLUE, ORANGE, VERMILION)
    left, middle, right = frame.axes
    for axes, name, which in (
        (left, "P(advised depth is fastest)", "lead"),
        (middle, "P(it is within 1 %)", "near"),
    ):
        axes.plot([0, 1], [0, 1], color="0.6", lw=0.8)
        for (label, some), color in zip(shown.items(), colors, strict=True):
            said, true = np.array(sorted(joined(*(getattr(s, which) for s in some))), float).T
            parts = [np.split(v, len(v) * np.arange(1, 8) // 8) for v in (said, true)]
            axes.plot(
                *([part.mean() for part in v] for v in parts), "o-", color=color, ms=4, label=label
            )
        panel_title(axes, name)
        axes.set_xlabel("stated")
        axes.set_ylabel("came true")
    frame.legend(left.get_legend_handles_labels()[0])
    for kind, color in ((scores, BLUE), (both, VERMILION)):
        right.plot(SIZES, [s.covered / s.settings for s in kind.values()], "o-", color=color)
        right.plot(SIZES, [s.bounded / s.settings for s in kind.values()], "s--", color=color)
    right.axhline(CONFIDENCE, color="0.6", lw=0.8)
    right.axvspan(SIZES[0], LEAST_REQUESTS, color="0.93")
    right.set_xscale("log")
    right.set_xticks(SIZES, [str(size) for size in SIZES])
    right.minorticks_off()
    right.set_ylim(0.9, 1.003)
    panel_title(right, "best in set; dashed: loss in bound")
    right.set_xlabel("requests; grey: nothing is stated")
    frame.figure.savefig(Path(__file__).with_name("calibration.png"), dpi=120)
