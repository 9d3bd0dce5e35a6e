"""The page `From one depth to another`: a made-up engine, its log, and what fits of it predict."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pictures

import mtpsim
from mtpsim.cli.sample import sample_requests
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.labelled_tokens import label_tokens
from mtpsim.fit.posterior_replay import DepthPrediction, posterior_replay
from mtpsim.formula.closed_form import accept_length, plug_in
from mtpsim.logs import Rounds

ENGINE = """\
# Text that changes every few tokens; on one token a later draft is worse than the first.
[acceptance]
model = "regime"
clock = "token"
sojourn = [5, 3, 3]
rates = [
    [0.931, 0.905, 0.891, 0.891, 0.891, 0.891, 0.891],
    [0.599, 0.512, 0.475, 0.475, 0.475, 0.475, 0.475],
    [0.119, 0.087, 0.076, 0.076, 0.076, 0.076, 0.076],
]

[latency]
target = 20
verify = 22
draft = 1

[simulation]
tokens = 300
"""
MEASURED, REQUESTS = 3, 300


def log_of(experiment: mtpsim.Experiment) -> Rounds:
    """The rounds that the engine logs at the measured depth."""
    requests = [r.accepted for r in sample_requests(experiment, [MEASURED], REQUESTS)]
    accepted = np.array([count for one in requests for count in one], np.uint8)
    offsets = np.cumsum([0, *map(len, requests)])
    return Rounds(accepted, np.full(accepted.size, MEASURED, np.uint8), offsets)


def predictions() -> tuple[Floats, list[DepthPrediction], dict[str, Floats]]:
    """True accept lengths by depth, those of the replay, and of the closed form by definition."""
    experiment = mtpsim.parse(ENGINE)
    chain, rounds = experiment.acceptance.chain(), log_of(experiment)
    solved = [solve(chain, k, tokens=experiment.simulation.tokens) for k in range(chain.depth + 1)]
    truth = np.array([1 + one.accepted @ np.arange(one.accepted.size) for one in solved])
    replay = posterior_replay(label_tokens(rounds), deeper=chain.depth - MEASURED)
    survival = np.array([(rounds.accepted >= j).mean() for j in range(1, MEASURED + 1)])
    conditional = survival / np.append(1.0, survival[:-1])
    closed = {
        name: accept_length(plug_in(name, survival, conditional, chain.depth))
        for name in ("conditional", "survival", "first")
    }
    return truth, [replay.predict(k) for k in range(1, chain.depth + 1)], closed


def depths() -> str:
    """The page, from a process that compiles kernels: in plain Python a fit takes minutes."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    changed = {"NUMBA_DISABLE_JIT": "0", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment = {**os.environ, **changed}
    command = [sys.executable, __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def page() -> str:
    """The engine as TOML, the picture, and the errors of each prediction."""
    truth, found, closed = predictions()
    names = {"conditional": "closed form", "survival": "survival as conditional", "first": "p1"}
    heads = ["depth", "truth", "replay", "95 % interval", "replay, error", *names.values()]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for one in found:
        k, mean = one.depth, one.workload.mean
        ends = f"[{one.workload.low:.3f}, {one.workload.high:.3f}]"
        numbers = [mean, *(closed[name][k] for name in names)]
        errors = [f"{100 * (value / truth[k] - 1):+.1f} %" for value in numbers]
        cells = [str(k), f"{truth[k]:.3f}", f"{mean:.3f}", ends, *errors]
        lines.append("| " + " | ".join(cells) + " |")
    svg = pictures.depths_picture(truth, found, closed, MEASURED)
    picture = pictures.inline("Accept length by depth: truth, replay and closed form", svg)
    return f"```toml\n{ENGINE}```\n\n{picture}\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
