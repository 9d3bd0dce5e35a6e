"""Do intervals of fitted models hold the truth as often as they say?

    python verification/fit.py            # about ten minutes; writes verification/fit.md
    python verification/fit.py --smoke    # seconds, for CI

Each cell makes many logs of a known chain, fits its model to each, and counts how often 95 %
intervals hold the truth: of every fitted number, and of the accept length that the model foretells
at depth 1. The negative control takes rounds for independent (binomial intervals of the rates by
position): where rounds depend on each other it must fail.

A cell is an alarm when its coverage, averaged over the numbers, is further from 95 % than 4
standard errors (taken as if the numbers of a log were one) plus an allowance of 0.02 for the size
of the logs: a right cell alarms about once in 15,000. A control that does not fail is one too.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtpsim.acceptance import MODELS
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.candidates import candidates
from mtpsim.fit.likelihood import Sequence, counts_of
from mtpsim.fit.mle import draws, maximise, spread
from mtpsim.fit.replicas import replica
from mtpsim.logs import Rounds

ROUNDS, DRAWS, TAILS = 60, 400, [0.025, 0.975]


@dataclass(frozen=True)
class Case:
    """A chain, the requests of a log, and the drafts of its rounds in turn."""

    name: str
    keys: dict[str, Any]
    requests: int
    drafted: tuple[int, ...] = (3,)
    depends: bool = True


INDEPENDENT = {"model": "independent", "rates": [0.8, 0.7, 0.75]}
BETA = {"model": "beta", "mean": [0.8, 0.65, 0.7], "concentration": 10.0}
REGIME = {"model": "regime", "rates": [[0.9, 0.85, 0.8], [0.5, 0.4, 0.3]]}
DRIFT = {"model": "difficulty", "rates": [0.8, 0.7, 0.65], "sd": 0.8, "length": 15.0, "states": 9}
BY_ROUND = {**REGIME, "clock": "round", "sojourn": [20.0, 12.0]}
BY_TOKEN = {**REGIME, "clock": "token", "sojourn": [60.0, 30.0]}
CASES = [
    Case("independent", INDEPENDENT, 30, depends=False),
    Case("independent", INDEPENDENT, 30, (1, 3, 2), depends=False),
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
    return replica(chain, shape, np.random.default_rng(seed))


def held(job: tuple[int, int]) -> tuple[list[bool], bool, list[bool]]:
    """Whether intervals of a log hold: fitted numbers, the foretold accept length, the control."""
    case, seed = CASES[job[0]], job[1]
    log = log_of(case, seed)
    counts = counts_of(log, 3)
    reached, hit = counts.reached.sum(0), counts.hit.sum(0)
    candidate = next(c for c in candidates(3) if c.name == case.name)
    evidence = Sequence(log, 3)
    found = maximise(candidate, evidence, candidate.starts(hit / reached))
    drawn = [
        candidate.keys(numbers) for numbers in draws(found, spread(found, evidence), DRAWS, seed)
    ]
    numbers = []
    for key in candidate.keys_that_vary():
        low, high = np.quantile([np.ravel(keys[key]) for keys in drawn], TAILS, axis=0)
        truth = np.ravel(case.keys[key])
        numbers += ((low <= truth) & (truth <= high)).tolist()
    return numbers, _length_held(case, drawn), _control_held(case, reached, hit)


def _length(keys: dict[str, Any]) -> float:
    chain = MODELS[keys["model"]].model_validate(keys).chain()
    return solve(chain, 1, rounds=ROUNDS).accept_length


def _length_held(case: Case, drawn: list[dict[str, Any]]) -> bool:
    low, high = np.quantile([_length(keys) for keys in drawn[:100]], TAILS)
    return bool(low <= _length(case.keys) <= high)


def _control_held(case: Case, reached: np.ndarray, hit: np.ndarray) -> list[bool]:
    """Binomial intervals of the rates by position."""
    chain = MODELS[case.keys["model"]].model_validate(case.keys).chain()
    truth = solve(chain, 3, rounds=ROUNDS).conditional
    rates = hit / reached
    half = 1.96 * np.sqrt(rates * (1 - rates) / reached)
    return (abs(rates - truth) <= half).tolist()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true")
    repeats = 12 if parser.parse_args().smoke else 200
    rows, alarms = [], 0
    with ProcessPoolExecutor() as pool:
        for number, case in enumerate(CASES):
            if repeats < 100 and number not in (1, 4):
                continue
            results = list(pool.map(held, [(number, seed) for seed in range(repeats)], chunksize=4))
            numbers, length, control = (
                np.array(part, float) for part in zip(*results, strict=True)
            )
            uneven = case.depends and len(case.drafted) > 1  # the control's truth is another
            off = abs(numbers.mean() - 0.95) > 4 * np.sqrt(0.95 * 0.05 / repeats) + 0.02
            weak = case.depends and not uneven and control.mean() > 0.9 and repeats >= 100
            alarms += bool(off or weak)
            drafts = ", ".join(map(str, case.drafted))
            shown = "-" if uneven else f"{control.mean():.3f}"
            rows.append(
                f"| {case.name} | {case.requests} | {drafts} | {numbers.mean():.3f} | "
                f"{numbers.mean(0).min():.3f} | {length.mean():.3f} | "
                f"{shown} | {'ALARM' if off or weak else 'ok'} |"
            )
            print(rows[-1], flush=True)
    if repeats >= 100:
        head = (
            "# Coverage of fitted models\n\nMade by `python verification/fit.py`: "
            f"{repeats} logs a row of {ROUNDS} rounds a request, nominal 95 %.\n\n"
            "| model | requests | drafts a round | all numbers | worst number | accept length at "
            "depth 1 | rates, rounds taken for independent | |\n|---|---|---|---|---|---|---|---|\n"
        )
        Path("verification/fit.md").write_text(head + "\n".join(rows) + "\n")
    return int(alarms > 0)


if __name__ == "__main__":
    sys.exit(main())
