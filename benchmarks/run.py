"""How fast, as ratios measured in one run on one machine.

    python benchmarks/run.py            # some minutes; writes benchmarks/results.md
    python benchmarks/run.py --quick    # under a minute; prints only

Every contender simulates the same model (two hidden states, mean stay 20, depth 3, lognormal round
times with cv 0.1, 200 rounds a request) and must agree with the exact accept length within five
standard errors, else the benchmark stops. mtpsim's kernel gives all depths 0..3 in the same pass;
the others give depth 3. Contenders take turns, and each figure is the median of its turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
from numpy_baseline import positions_plain, positions_tuned, rounds_plain, rounds_tuned

from mtpsim.acceptance import Regime
from mtpsim.adaptive import Adaptive
from mtpsim.compile import plan_of
from mtpsim.contest import contest_of
from mtpsim.exact import solve
from mtpsim.kernels.philox import LANES, PATH, TILE, VERIFY, words_at
from mtpsim.kernels.positions import simulate_positions
from mtpsim.kernels.rounds import simulate_rounds
from mtpsim.latency import Latency
from mtpsim.policy import RULES
from mtpsim.simulate import play_policies, tally_block

HERE = Path(__file__).parent
ACCEPT = np.array([[0.90, 0.85, 0.80], [0.50, 0.40, 0.30]])
LEAVE, ROUNDS, DEPTH, CV = np.array([0.05, 0.05]), 200, 3, 0.1
LATENCY = {
    "target": 76,
    "verify": [90, 104, 117],
    "draft": [8, 14, 22],
    "noise": {"distribution": "lognormal", "cv": CV},
}


def model(clock: str):
    return Regime(model="regime", clock=clock, rates=ACCEPT.tolist(), sojourn=[20, 20]).chain()


def plan(clock: str):
    latency = Latency.model_validate(LATENCY).compile(DEPTH)
    return plan_of(model(clock), latency, seed=1, rounds=ROUNDS)


def check(clock: str, lengths: np.ndarray, who: str) -> None:
    """A fast wrong answer is no contender."""
    truth = solve(model(clock), DEPTH, rounds=ROUNDS).accept_length
    error = lengths.std(ddof=1) / np.sqrt(len(lengths))
    if abs(lengths.mean() - truth) > 5 * error:
        sys.exit(f"{who}, {clock} clock: accept length {lengths.mean()}, exactly {truth}")


def with_mtpsim(clock: str, requests: int, shallow: int = 0):
    kernel = simulate_rounds if clock == "round" else simulate_positions
    compiled = plan(clock)
    rows = np.zeros((requests, compiled.layout.columns))

    def run() -> float:
        start = time.perf_counter()
        arguments = (compiled.source, compiled.noise, compiled.task, shallow, DEPTH, rows)
        kernel(np.uint64(compiled.key), 0, *arguments)
        return (time.perf_counter() - start) / (requests * ROUNDS)

    run()
    check(clock, rows[:, compiled.layout.tokens][:, DEPTH] / ROUNDS, "mtpsim")
    return run


def with_numpy(function, clock: str, requests: int, chunk: int):
    table = np.cumprod(ACCEPT, axis=1) if clock == "round" else ACCEPT
    sigma = np.sqrt(np.log1p(CV**2))

    def run() -> float:
        rng = np.random.default_rng(1)
        start = time.perf_counter()
        parts = [
            function(rng, chunk, ROUNDS, LEAVE, table, sigma) for _ in range(requests // chunk)
        ]
        taken = time.perf_counter() - start
        check(clock, np.concatenate([tokens for tokens, _ in parts]) / ROUNDS, function.__name__)
        return taken / (requests // chunk * chunk * ROUNDS)

    return run


def with_cpp(requests: int, folder: Path):
    if not shutil.which("g++"):
        return None
    program = folder / "baseline"
    command = ["g++", "-O3", "-march=native", str(HERE / "baseline.cpp"), "-o", str(program)]
    subprocess.run(command, check=True)
    truth = solve(model("round"), DEPTH, rounds=ROUNDS).accept_length

    def run() -> float:
        out = subprocess.run(
            [program, str(requests), str(ROUNDS)], check=True, capture_output=True, text=True
        )
        taken, length, _ = map(float, out.stdout.split())
        if abs(length - truth) > 5 * 3 / np.sqrt(requests * 10):  # a generous error of the mean
            sys.exit(f"C++: accept length {length}, exactly {truth}")
        return taken / (requests * ROUNDS)

    return run


@numba.njit(nogil=True)
def _words(key, requests, rounds, words):
    for first in range(0, requests, LANES):
        for tick in range(0, rounds, TILE):
            words_at(key, first, tick, PATH, words)
            words_at(key, first, tick, VERIFY, words)


def with_words_alone(requests: int):
    words, key = np.empty((TILE, LANES), np.int32), np.uint64(1)
    requests = max(requests // LANES, 1) * LANES

    def run() -> float:
        start = time.perf_counter()
        _words(key, requests, ROUNDS, words)
        return (time.perf_counter() - start) / (requests * ROUNDS)

    run()
    return run


POLICIES = [
    {"rule": "fixed", "depth": DEPTH},
    {"rule": "heuristic"},
    {"rule": "ema"},
    {"rule": "goodput"},
    {"rule": "adaptive_k"},
    {"rule": "gate"},
    {"rule": "bandit"},
    {"rule": "bandit", "method": "thompson"},
    {"rule": "threshold"},
    {"rule": "specdecpp"},
    {"rule": "controller"},
]


def with_policy(policy: dict, requests: int, copies: int):
    """One policy so many times on one tape: what a further one costs is a difference of these."""
    entries = [{**policy, "name": str(copy)} for copy in range(copies)]
    adaptive = Adaptive.model_validate({"policies": entries})
    latency, horizon = Latency.model_validate(LATENCY).compile(DEPTH), {"tokens": 0}
    contest = contest_of(adaptive, model("round"), latency, rounds=ROUNDS, batch=None, **horizon)
    contest = replace(contest, players=contest.players[:copies])  # without the oracle
    compiled = plan_of(model("round"), latency, seed=1, rounds=ROUNDS, contest=contest)

    def run() -> float:
        start = time.perf_counter()
        play_policies(compiled, 0, requests)
        return (time.perf_counter() - start) / (requests * ROUNDS)

    run()
    return run


def policies(measured: list[dict], requests: int, turns: int) -> list[tuple[str, str, str]]:
    """A round of each policy over a round of a fixed depth; and the tape that all of them share."""
    contenders = {"fixed": with_mtpsim("round", requests, DEPTH)}
    for policy in measured:
        label = RULES[policy["rule"]].model_validate(policy).label
        for copies in (1, 3):
            contenders[f"{label} {copies}"] = with_policy(policy, requests, copies)
    taken = medians(contenders, turns)
    fixed, labels = taken.pop("fixed"), [name[:-2] for name in taken if name.endswith("1")]
    cost = {label: (taken[f"{label} 3"] - taken[f"{label} 1"]) / 2 for label in labels}
    first = labels[0]
    tape = taken[f"{first} 1"] - cost[first]
    found = [("tape of a round, shared by all policies", tape, "-")]
    found += [(f"policy {label}", cost[label], "3") for label in labels]
    return [
        (
            f"{what} over a fixed depth",
            f"{ns / fixed:.1f} ({ns * 1e9:.1f} / {fixed * 1e9:.2f} ns)",
            goal,
        )
        for what, ns, goal in found
    ]


def medians(contenders: dict, turns: int) -> dict[str, float]:
    """Median seconds a round; contenders take turns, so that a busy moment meets them all."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, run in contenders.items():
            taken[name].append(run())
    return {name: statistics.median(times) for name, times in taken.items()}


def threads(seconds: float) -> float:
    """Blocks a second of two threads over those of one."""
    compiled = plan("round")
    tally_block(compiled, 0, compiled.unit)
    start = time.perf_counter()
    tally_block(compiled, 0, compiled.unit)
    blocks = max(int(seconds / (time.perf_counter() - start)), 8)

    def rate(workers: int) -> float:
        with ThreadPoolExecutor(workers) as pool:
            start = time.perf_counter()
            list(pool.map(lambda b: tally_block(compiled, b * compiled.unit, compiled.unit),
                          range(blocks)))  # fmt: skip
            return blocks / (time.perf_counter() - start)

    return statistics.median(rate(2) / rate(1) for _ in range(3))


MEMORY = """
import resource, sys, mtpsim
text = open("experiments/article.toml").read()
text = text.replace("precision = 0.001", "requests = " + sys.argv[1])
mtpsim.run(mtpsim.parse(text))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(rounds: int) -> float:
    """Peak of a run of the founding case, in MB."""
    command = [sys.executable, "-c", MEMORY, str(rounds // ROUNDS)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout) / 1024


def start_up(turns: int) -> dict[str, float]:
    """Seconds of whole commands, kernels compiled before."""
    with tempfile.TemporaryDirectory() as out:
        run = [
            "-m",
            "mtpsim",
            "run",
            "experiments/article.toml",
            "--fresh",
            "--out",
            out,
            "--quiet",
        ]
        commands = {
            "run": run,
            "imports": ["-c", "import numba, scipy.stats, matplotlib.pyplot"],
            "check": ["-m", "mtpsim", "check", "experiments/article.toml"],
            "help": ["-m", "mtpsim", "--help"],
        }

        def timed(arguments: list[str]):
            def once() -> float:
                start = time.perf_counter()
                subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
                return time.perf_counter() - start

            return once

        timed(run)()
        return medians({name: timed(command) for name, command in commands.items()}, turns)


def measure(quick: bool) -> list[tuple[str, str, str]]:
    requests, turns = (2048, 3) if quick else (20480, 7)
    rows: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        contenders = {
            "mtpsim": with_mtpsim("round", requests),
            "NumPy": with_numpy(rounds_plain, "round", requests, 2048),
            "NumPy, tuned": with_numpy(rounds_tuned, "round", requests, 2048),
            "words": with_words_alone(requests),
        }
        if cpp := with_cpp(requests, Path(folder)):
            contenders["C++"] = cpp
        taken = medians(contenders, turns)
    own = taken.pop("mtpsim")
    for name, goal in (("NumPy", "25"), ("NumPy, tuned", "-"), ("C++", "10")):
        if name in taken:
            text = f"{taken[name] / own:.1f} ({taken[name] * 1e9:.1f} / {own * 1e9:.2f} ns)"
            rows.append((f"round clock: {name} over mtpsim", text, goal))
    rows.append(
        ("round clock: mtpsim over its random words", f"{own / taken['words']:.2f}", "at most 2.5")
    )
    taken = medians(
        {
            "mtpsim": with_mtpsim("token", requests),
            "depth 3 alone": with_mtpsim("token", requests, DEPTH),
            "NumPy": with_numpy(positions_plain, "token", requests, 2048),
            "NumPy, tuned": with_numpy(positions_tuned, "token", requests, 2048),
        },
        turns,
    )
    for name in ("NumPy", "NumPy, tuned"):
        for own_name, what in (("mtpsim", "all depths"), ("depth 3 alone", "depth 3 alone")):
            own = taken[own_name]
            text = f"{taken[name] / own:.1f} ({taken[name] * 1e9:.1f} / {own * 1e9:.1f} ns)"
            goal = "15" if name == "NumPy" else "-"
            rows.append((f"token clock: {name} over mtpsim, {what}", text, goal))
    rows += policies(POLICIES[:2] if quick else POLICIES, requests, turns)
    rows.append(("two threads over one", f"{threads(0.5 if quick else 3):.2f}", "1.85"))
    sizes = (10**7, 10**8) if quick else (10**7, 10**8, 10**9)
    peaks = [peak_memory(size) for size in sizes]
    text = ", ".join(f"{peak:.0f} MB" for peak in peaks)
    growth = f"{peaks[-1] / peaks[0]:.3f} ({text})"
    rows.append((f"peak memory: {sizes[-1]:.0e} rounds over 1e7", growth, "at most 1.1"))
    start = start_up(3 if quick else 7)
    ratio = start["run"] / start["imports"]
    text = f"{ratio:.2f} ({start['run']:.2f} / {start['imports']:.2f} s)"
    rows.append(("second run of the founding case over its imports", text, "at most 2"))
    rows.append(("seconds of `check`", f"{start['check']:.2f}", "0.3"))
    rows.append(("seconds of `--help`", f"{start['help']:.2f}", "-"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast, as ratios measured in one run.")
    parser.add_argument("--quick", action="store_true", help="smaller, and writes nothing")
    quick = parser.parse_args().quick
    os.chdir(HERE.parent)
    lines = ["| what | measured | goal |", "|---|---|---|"]
    lines += [f"| {what} | {found} | {goal} |" for what, found, goal in measure(quick)]
    print("\n".join(lines))
    if not quick:
        head = ["# Speed", "", __doc__.split("\n\n", 2)[2].strip(), "", machine(), ""]
        (HERE / "results.md").write_text("\n".join([*head, *lines]) + "\n")


def machine() -> str:
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return (
        f"Measured on {names[0].split(': ')[1]}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, numba {numba.__version__}, numpy {np.__version__}, "
        f"{time.strftime('%Y-%m-%d')}."
    )


if __name__ == "__main__":
    main()
