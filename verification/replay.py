"""Posterior replays of logs of made-up engines, against the truth at every depth.

The engines of tests/support/token_worlds.py know what every text position accepts. Their logs are
at depth 3 (or half of the requests at depth 1); the replay predicts depths 1 to 7, of which 4 to 7
are extrapolated. None but one is a hidden chain: lengths have a Pareto tail tied to difficulty,
difficulty drifts, requests end in loops, stays are not geometric, and drafters are trained (later
drafts are worse on the same token) or look text up (they are as good).

Controls are fits that forget that these requests were seen, or have a wrong form: the same chain
from its stationary law, rates that are free by state and position, and a state that moves by round.
They must break the bound of the error that replays keep. False alarm rates take the coverage as
0.98 for these requests, which is about what the intervals have, and as 0.95 for workloads.

Workloads have heavy tails, so that a few requests may decide. This is tried at the recorded depth,
where a replay adds nothing, on many samples of requests; intervals that take rounds as independent
are the control. Token chains from counts without the order of rounds are tried on the same engines,
with the closed form as the control.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.aggregated_chain import MAX_ROUNDS, DepthCounts, fit_aggregated
from mtpsim.fit.by_depth import chain_lengths
from mtpsim.fit.candidates import candidates
from mtpsim.fit.labelled_tokens import label_tokens
from mtpsim.fit.likelihood import RoundSequence, position_counts
from mtpsim.fit.mle import fit_mle
from mtpsim.fit.posterior_replay import posterior_replay, sampling_half_width
from mtpsim.formula.closed_form import accept_length as closed_form
from mtpsim.kernels.labelled_tokens import play_positions
from mtpsim.logs import Rounds
from tests.support.token_worlds import WORLDS, accept_length, log_at, text_of
from verification.check import Check, Table, verdict

RECORDED, DEEPEST = 3, 7
MOST_ERROR = 0.01
SOME = 10  # logs, below which coverage is pooled over depths
CASES = [(name, False) for name in WORLDS] + [("trained", True)]
FORMS = {"regime2-token": "rates free by state and position", "regime2-round": "round clock"}


@dataclass(frozen=True)
class Outcome:
    """Relative errors and coverage ``[7]`` by depth of one log; errors of controls by name."""

    errors: Floats
    covered: Floats
    workload: Floats
    controls: dict[str, Floats]


def truth_of(name: str, requests: int) -> Floats:
    """Accept lengths ``[7]`` of an engine's whole workload."""
    text = text_of(WORLDS[name], requests, np.random.default_rng(99))
    return np.array([accept_length(text, k) for k in range(1, DEEPEST + 1)])


def outcome(job: tuple[int, int, int, Floats, bool]) -> Outcome:
    """Replay one log of a case, and the controls if they are asked for."""
    number, seed, requests, workload, controls = job
    name, two = CASES[number]
    text = text_of(WORLDS[name], requests, np.random.default_rng([7, number, seed]))
    depths = np.where(np.arange(requests) % 2, 1, RECORDED) if two else RECORDED
    rounds, text = log_at(text, depths)
    truth = np.array([accept_length(text, k) for k in range(1, DEEPEST + 1)])
    replay = posterior_replay(label_tokens(rounds), seed=seed)
    found = [replay.predict(k) for k in range(1, DEEPEST + 1)]
    errors = np.array([one.requests.mean for one in found]) / truth - 1
    ends, wide = (
        np.array([[getattr(one, which).low, getattr(one, which).high] for one in found]).T
        for which in ("requests", "workload")
    )
    inside = (ends[0] <= truth + 1e-12) & (truth <= ends[1] + 1e-12)
    others: dict[str, Floats] = {}
    if controls:
        tokens = int(text.lengths.mean())
        chain = replay.fits[0].chain.chain(DEEPEST)
        others["stationary simulation"] = chain_lengths(chain, tokens) / truth - 1
        for form, label in FORMS.items():
            others[label] = _fitted(form, rounds, tokens) / truth[:RECORDED] - 1
    return Outcome(errors, inside, (wide[0] <= workload) & (workload <= wide[1]), others)


def _fitted(form: str, rounds: Rounds, tokens: int) -> Floats:
    """Accept lengths ``[3]`` of a candidate of ``mtpsim fit``."""
    model = next(one for one in candidates(RECORDED) if one.name == form)
    counts = position_counts(rounds, RECORDED)
    rates = counts.hit.sum(0) / counts.reached.sum(0)
    chain = fit_mle(model, RoundSequence(rounds, RECORDED), model.initial(rates)).chain
    depths = range(1, RECORDED + 1)
    return np.array([solve(chain, k, tokens=tokens).accept_length for k in depths])


def checks(smoke: bool) -> Iterator[Check]:
    """Every case, or two of them with few requests; the full run writes replay.md."""
    logs, requests = (2, 100) if smoke else (5, 300)
    numbers = (1, 3) if smoke else range(len(CASES))
    table = Table("drafter and text", *(f"depth {k}" for k in range(1, DEEPEST + 1)))
    found: dict[int, list[Outcome]] = {}
    with ProcessPoolExecutor() as pool:
        for number in numbers:
            workload = truth_of(CASES[number][0], 500 if smoke else 6000)
            jobs = [
                (number, s, requests, workload, s == 0 and number in (1, 3)) for s in range(logs)
            ]
            found[number] = list(pool.map(outcome, jobs))
    for number, outcomes in found.items():
        errors = 100 * np.array([one.errors for one in outcomes])
        share = np.mean([one.covered for one in outcomes], 0)
        cells = [
            f"{abs(error):.2f} ({mean:+.2f}); {covered:.2f}"
            for error, mean, covered in zip(abs(errors).mean(0), errors.mean(0), share, strict=True)
        ]
        name, two = CASES[number]
        table.add(name + ", half at depth 1" * two, *cells)
    yield from _of_replays(found, smoke)
    more = [
        *_of_samples(*((3_000, 100) if smoke else (20_000, 400))),
        *_of_counts(*((1, 100) if smoke else (4, 300))),
    ]
    yield from more
    yield from _of_controls([one for each in found.values() for one in each if one.controls])
    if not smoke:
        _write(table, more, logs, requests)


def _of_replays(found: dict[int, list[Outcome]], smoke: bool) -> Iterator[Check]:
    most = 0.03 if smoke else MOST_ERROR
    mean = np.array([np.mean([abs(one.errors) for one in each], 0) for each in found.values()])
    statement = f"the mean absolute error is below {100 * most:g} % at depths 1 to {DEEPEST}"
    result = f"at most {100 * mean.max():.2f} %"
    yield Check("error by depth", statement, result, bool(mean.max() < most), 1e-3)
    single = [one for n, each in found.items() if not CASES[n][1] for one in each]
    exact = max(abs(one.errors[RECORDED - 1]) for one in single)
    statement = "every draw has the rounds of the log at the recorded depth"
    yield Check("recorded depth", statement, f"off by {exact:.1g}", bool(exact < 1e-12))
    covered = np.delete([one.covered for one in single], RECORDED - 1, 1)
    workload = np.array([one.workload for one in single])
    yield _coverage("these requests", covered, *((0.7, 0.95) if smoke else (0.84, 0.98)))
    yield _coverage("the workload", workload, *((0.3, 0.9) if smoke else (0.8, 0.95)))


def _coverage(whose: str, inside: npt.NDArray[np.bool_], least: float, expected: float) -> Check:
    """Coverage at the worst depth; with few logs its bound is low."""
    logs, depths = inside.shape
    share = inside.mean(0).min() if logs > SOME else inside.mean()
    alarm = float(binom.cdf(np.ceil(least * logs) - 1, logs, expected)) * depths
    statement = f"95 % intervals for {whose} hold the truth in {least:g} of logs at every depth"
    result = f"{inside.mean():.3f}, least at a depth {inside.mean(0).min():.3f}"
    return Check(f"coverage, {whose}", statement, result, bool(share >= least), min(alarm, 1.0))


def _of_samples(pool: int, samples: int) -> Iterator[Check]:
    """Intervals of the accept length of 300 requests at the recorded depth, in each world."""
    rng, worst, alone = np.random.default_rng(3), {}, {}
    for number, (name, world) in enumerate(WORLDS.items()):
        text = text_of(world, pool, np.random.default_rng([55, number]))
        totals = np.empty((2, pool), np.int64)
        play_positions(text.accepted, text.offsets, RECORDED, *totals)
        truth, hits = totals[1].sum() / totals[0].sum(), []
        for _ in range(samples):
            rounds, accepted = totals[:, rng.integers(0, pool, 300)].astype(float)
            mean = accepted.sum() / rounds.sum()
            half = sampling_half_width(accepted - mean * rounds, rounds, 0.95)
            plain = 1.96 * (RECORDED**2 / 4 / rounds.sum()) ** 0.5  # no count varies more
            hits.append([abs(mean - truth) <= width for width in (half, plain)])
        worst[name], alone[name] = np.mean(hits, 0)
    least = 0.84 if samples < 200 else 0.9
    share, name = min((value, key) for key, value in worst.items())
    alarm = len(worst) * float(binom.cdf(np.ceil(least * samples) - 1, samples, 0.95))
    statement = f"95 % intervals of 300 requests hold the workload in {least:g} of samples"
    result = f"least {share:.3f} ({name}); " + ", ".join(f"{v:.3f}" for v in worst.values())
    yield Check("coverage, samples of requests", statement, result, bool(share >= least), alarm)
    share = min(alone.values())
    statement = f"intervals of independent rounds hold it in less than {least:g}"
    yield Check(
        "rounds taken as independent", statement, f"{share:.3f}", share < least, control=True
    )


def _of_counts(logs: int, requests: int) -> Iterator[Check]:
    """Token chains from counts at depths 3, 7, and 1 and 7."""
    errors: dict[tuple[int, ...], list[Floats]] = {}
    inside, closed = [], []
    for number, world in enumerate(WORLDS.values()):
        for seed in range(logs):
            text = text_of(world, requests, np.random.default_rng([8, number, seed]))
            truth = np.array([accept_length(text, k) for k in range(1, DEEPEST + 1)])
            counts = {k: _counts(log_at(text, k)[0], k) for k in (1, 3, 7)}
            for depths in ((3,), (7,), (1, 7)):
                fit = fit_aggregated([counts[k] for k in depths])
                found = [fit.predict(k) for k in range(1, DEEPEST + 1)]
                errors.setdefault(depths, []).append([one.mean for one in found] / truth - 1)
                inside.append(
                    [one.low <= t <= one.high for one, t in zip(found, truth, strict=True)]
                )
            survival = 1 - np.cumsum(counts[7].accepted)[:-1]
            rates = survival / np.append(1.0, survival[:-1])
            closed.append(abs(closed_form(rates)[1:] / truth - 1).max())
    for depths, found in errors.items():
        worst = abs(np.array(found)).mean(0)[: depths[-1]].max()
        names = " and ".join(map(str, depths))
        statement = f"from counts at depth {names}: mean error below 1.5 % up to depth {depths[-1]}"
        yield Check(
            f"counts, {names}", statement, f"{100 * worst:.2f} %", bool(worst < 0.015), 1e-3
        )
    share = float(np.mean(inside))
    statement = "95 % intervals from counts hold the truth in 0.9 of cases"
    yield Check("coverage, counts", statement, f"{share:.3f}", share >= 0.9, 1e-3)
    worst = float(np.mean(closed))
    statement = "the closed form of depth 7 is off by more than 2 % at some depth"
    yield Check("closed form", statement, f"{100 * worst:.1f} %", worst > 0.02, control=True)


def _counts(rounds: Rounds, depth: int) -> DepthCounts:
    """What a histogram by request tells: its requests are worth fewer independent rounds."""
    lengths = np.diff(rounds.offsets)
    accepted = np.add.reduceat(rounds.accepted.astype(float), rounds.offsets[:-1])
    survival = [float((rounds.accepted >= j).mean()) for j in range(1, depth + 1)]
    mean = float(accepted.sum() / lengths.sum())
    off = accepted - mean * lengths
    moment = np.array(survival) @ (2 * np.arange(1, depth + 1) - 1) - mean**2
    return DepthCounts.of_survival(
        survival, float(min(MAX_ROUNDS, moment * lengths.sum() ** 2 / (off @ off)))
    )


def _of_controls(outcomes: list[Outcome]) -> Iterator[Check]:
    for name in outcomes[0].controls if outcomes else ():
        worst = max(float(abs(one.controls[name]).max()) for one in outcomes)
        statement = f"{name}: an error above {100 * MOST_ERROR:g} % at some depth"
        yield Check(name, statement, f"{100 * worst:.1f} %", worst > MOST_ERROR, control=True)


def _write(table: Table, more: list[Check], logs: int, requests: int) -> None:
    others = Table("statement", "found", "verdict")
    for check in more:
        others.add(check.statement, check.result, verdict(check))
    text = f"""# Posterior replay at other depths

{logs} logs per row of {requests} requests at depth {RECORDED}. Each cell: mean absolute error, %
(mean error); coverage of the 95 % interval for these requests. `python verification/run.py replay`
writes this page.

{table.markdown()}

Samples of requests, and token chains from counts without the order of rounds, on the same engines:

{others.markdown()}
"""
    Path(__file__).with_name("replay.md").write_text(text)
