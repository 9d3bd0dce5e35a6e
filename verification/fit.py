"""Coverage of the intervals of fitted models.

Each cell samples many logs of a known chain, fits its model to each, and counts how often 95 %
intervals cover the truth: of every fitted parameter, and of the accept length predicted at depth 1.
The negative control treats rounds as independent (binomial intervals of the rates by position): it
must fail where rounds are correlated.

A cell is an alarm when its coverage, averaged over the parameters, differs from 95 % by more than
4 standard errors (as if the parameters of a log were one) plus an allowance of 0.02 for the size of
the logs: the false alarm rate is about 1 in 15,000 per cell. A control that passes is an alarm too.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtpsim.acceptance import MODELS
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.candidates import candidates
from mtpsim.fit.likelihood import RoundSequence, position_counts
from mtpsim.fit.mle import draw_parameters, fit_mle, parameter_covariance
from mtpsim.fit.replicas import simulate_replica
from mtpsim.logs import Rounds
from verification.check import Check, Table, coverage_slack

ROUNDS, DRAWS, TAILS = 60, 400, [0.025, 0.975]


@dataclass(frozen=True)
class Case:
    """A chain, requests per log, drafts of its rounds in turn, and whether rounds correlate."""

    name: str
    keys: dict[str, Any]
    requests: int
    drafted: tuple[int, ...] = (3,)
    correlated: bool = True


INDEPENDENT = {"model": "independent", "rates": [0.8, 0.7, 0.75]}
BETA = {"model": "beta", "mean": [0.8, 0.65, 0.7], "concentration": 10.0}
REGIME = {"model": "regime", "rates": [[0.9, 0.85, 0.8], [0.5, 0.4, 0.3]]}
DRIFT = {"model": "difficulty", "rates": [0.8, 0.7, 0.65], "sd": 0.8, "length": 15.0, "states": 9}
BY_ROUND = {**REGIME, "clock": "round", "sojourn": [20.0, 12.0]}
BY_TOKEN = {**REGIME, "clock": "token", "sojourn": [60.0, 30.0]}
CASES = [
    Case("independent", INDEPENDENT, 30, correlated=False),
    Case("independent", INDEPENDENT, 30, (1, 3, 2), correlated=False),
    Case("beta-position", BETA, 60),
    Case("beta-position", BETA, 300),
    Case("regime2-round", BY_ROUND, 60),
    Case("regime2-round", BY_ROUND, 60, (1, 3, 2)),
    Case("regime2-token", BY_TOKEN, 60),
    Case("regime2-token", BY_TOKEN, 300),
    Case("difficulty-round", {**DRIFT, "clock": "round"}, 100),
    Case("difficulty-token", {**DRIFT, "clock": "token"}, 100),
]


def log_of(case: Case, seed: int) -> Rounds:
    """A log of the case."""
    count = case.requests * ROUNDS
    shape = Rounds(
        np.zeros(count, np.uint8),
        np.resize(np.array(case.drafted, np.uint8), count),
        np.arange(case.requests + 1) * ROUNDS,
    )
    chain = MODELS[case.keys["model"]].model_validate(case.keys).chain()
    return simulate_replica(chain, shape, np.random.default_rng(seed))


def covered(job: tuple[int, int]) -> tuple[list[bool], bool, list[bool]]:
    """Whether intervals of a log cover: parameters, predicted accept length, the control."""
    case, seed = CASES[job[0]], job[1]
    log = log_of(case, seed)
    counts = position_counts(log, 3)
    reached, hit = counts.reached.sum(0), counts.hit.sum(0)
    candidate = next(c for c in candidates(3) if c.name == case.name)
    data = RoundSequence(log, 3)
    found = fit_mle(candidate, data, candidate.initial(hit / reached))
    covariance = parameter_covariance(found, data)
    drawn = [candidate.section(x) for x in draw_parameters(found, covariance, DRAWS, seed)]
    parameters = []
    for key in candidate.fitted_keys:
        low, high = np.quantile([np.ravel(keys[key]) for keys in drawn], TAILS, axis=0)
        truth = np.ravel(case.keys[key])
        parameters += ((low <= truth) & (truth <= high)).tolist()
    return parameters, _length_covered(case, drawn), _control_covered(case, reached, hit)


def _length(keys: dict[str, Any]) -> float:
    chain = MODELS[keys["model"]].model_validate(keys).chain()
    return solve(chain, 1, rounds=ROUNDS).accept_length


def _length_covered(case: Case, drawn: list[dict[str, Any]]) -> bool:
    low, high = np.quantile([_length(keys) for keys in drawn[:100]], TAILS)
    return bool(low <= _length(case.keys) <= high)


def _control_covered(case: Case, reached: np.ndarray, hit: np.ndarray) -> list[bool]:
    """Binomial intervals of the rates by position."""
    chain = MODELS[case.keys["model"]].model_validate(case.keys).chain()
    truth = solve(chain, 3, rounds=ROUNDS).conditional
    rates = hit / reached
    half = 1.96 * np.sqrt(rates * (1 - rates) / reached)
    return (abs(rates - truth) <= half).tolist()


def checks(smoke: bool) -> Iterator[Check]:
    """Every case, or two of them; the full run writes fit.md."""
    logs, alarms = (12 if smoke else 200), []
    drafts = ("model", "requests", "drafts per round")
    lengths = ("accept length at depth 1", "rates, rounds as independent")
    table = Table(*drafts, "all parameters", "worst parameter", *lengths, "")
    with ProcessPoolExecutor() as pool:
        for number in (1, 4) if smoke else range(len(CASES)):
            case = CASES[number]
            results = list(pool.map(covered, [(number, seed) for seed in range(logs)], chunksize=4))
            parameters, length, control = map(np.array, zip(*results, strict=True))
            uneven = case.correlated and len(case.drafted) > 1  # the control's truth differs
            off = abs(parameters.mean() - 0.95) > coverage_slack(0.95, logs, 0.02)
            weak = case.correlated and not uneven and control.mean() > 0.9 and not smoke
            if off or weak:
                alarms.append(f"{case.name}: {parameters.mean():.3f}, control {control.mean():.3f}")
            shares = [parameters.mean(), parameters.mean(0).min(), length.mean(), control.mean()]
            cells = [f"{share:.3f}" for share in shares]
            cells[3] = "-" if uneven else cells[3]
            drafted = ", ".join(map(str, case.drafted))
            word = "ALARM" if off or weak else "ok"
            table.add(case.name, str(case.requests), drafted, *cells, word)
    result = "; ".join(alarms) or f"{len(table.rows)} rows without an alarm"
    statement = "95% intervals of fitted models have nominal coverage"
    yield Check("fit", statement, result, not alarms, 7e-4)
    if not smoke:
        text = f"""# Coverage of fitted models

{logs} logs per row, {ROUNDS} rounds per request, nominal 95 %. `python verification/run.py fit`
writes this page.

{table.markdown()}
"""
        Path(__file__).with_name("fit.md").write_text(text)
