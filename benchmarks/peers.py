"""mtpsim and its peers: each simulates the same model and must give the exact result."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import loops
import numba
import numpy as np
import numpy_baseline
from models import (
    DEPTH,
    LATENCY,
    LEAVE,
    MODELS,
    ROUNDS,
    SIGMA,
    accept_of,
    chain_of,
    check,
    controlled_variance,
    estimate,
    kernel_run,
    speed,
)
from tables import Table, best

FUNCTION = {"independent": "independent", "round": "rounds_of", "token": "positions"}
NUMPY = {"independent": "independent", "round": "rounds", "token": "positions"}
CHUNK = 2048  # requests per pass of a vectorised script: more do not fit into the caches
EXACT = 1e-9  # share of a variance that is rounding
HAVE_JAX = find_spec("jax") is not None

Totals = tuple[np.ndarray, np.ndarray]


def survival_of(name: str, depth: int) -> np.ndarray:
    """Thresholds for one uniform number per round; per position under the token clock."""
    accept = accept_of(name)[:, :depth]
    return accept if name == "token" else np.cumprod(accept, axis=1)


class Program:
    """Simulates a model; its first estimate is kept and checked."""

    def __init__(
        self,
        label: str,
        name: str,
        requests: int,
        play: Callable[[], Totals],
        depth: int = DEPTH,
    ) -> None:
        self._play, self._requests = play, requests
        self.found = estimate(*self._play(), scale=speed(depth))
        check(name, self.found, label, depth)

    def __call__(self) -> float:
        """CPU seconds per round."""
        start = time.process_time()
        self._play()
        return (time.process_time() - start) / (self._requests * ROUNDS)


class Own(Program):
    """mtpsim's kernel: all depths 0..3, or depth 3 alone."""

    def __init__(self, label: str, name: str, requests: int, shallow: int = 0) -> None:
        self._run, rows, layout = kernel_run(chain_of(name), requests, shallow=shallow)
        tokens, times = rows[:, layout.tokens], rows[:, layout.time_ms]
        plain = () if shallow else (tokens[:, 0], times[:, 0])
        scale = LATENCY["target"] if shallow else 1
        self.found = estimate(tokens[:, DEPTH], times[:, DEPTH], *plain, scale=scale)
        check(name, self.found, label)

    def __call__(self) -> float:
        return self._run()


class Cpp(Program):
    """A compiled program that measures its own time, without start-up."""

    def __init__(self, name: str, requests: int, program: Path, depth: int = DEPTH) -> None:
        self._command = [str(program), name, str(requests), str(ROUNDS), str(depth)]
        super().__init__("C++", name, requests, lambda: self._lines()[1], depth)

    def _lines(self) -> tuple[float, Totals]:
        out = subprocess.run(self._command, check=True, capture_output=True, text=True).stdout
        lines = np.array(out.split(), float).reshape(-1, 2)
        return float(lines[0, 0]), (lines[1:, 0], lines[1:, 1])

    def __call__(self) -> float:
        return self._lines()[0] / (self._requests * ROUNDS)


def with_numpy(way: str, name: str, requests: int, depth: int = DEPTH) -> Program:
    function = getattr(numpy_baseline, f"{NUMPY[name]}_{way}")
    table, rng = survival_of(name, depth), np.random.default_rng(1)
    sizes = [min(CHUNK, requests - at) for at in range(0, requests, CHUNK)]

    def play() -> Totals:
        parts = [function(rng, size, ROUNDS, LEAVE, table, SIGMA) for size in sizes]
        return np.concatenate([t for t, _ in parts]), np.concatenate([s for _, s in parts])

    return Program(f"NumPy, {way}", name, requests, play, depth)


def with_numba(name: str, requests: int, depth: int = DEPTH) -> Program:
    function = numba.njit(getattr(loops, FUNCTION[name]))
    arguments = (1, requests, ROUNDS, LEAVE, accept_of(name)[:, :depth], SIGMA)
    return Program("numba loop", name, requests, lambda: function(*arguments), depth)


def with_python(name: str, requests: int, depth: int = DEPTH) -> Program:
    function = getattr(loops, FUNCTION[name])
    rates = accept_of(name)[:, :depth].tolist()
    arguments = (1, requests, ROUNDS, LEAVE.tolist(), rates, SIGMA)
    return Program("Python loop", name, requests, lambda: function(*arguments), depth)


def with_jax(name: str, requests: int, depth: int = DEPTH) -> Program:
    import jax
    import jax.numpy as jnp
    import jax_baseline

    function = getattr(jax_baseline, FUNCTION[name])
    key, leave, table = jax.random.key(1), jnp.asarray(LEAVE), jnp.asarray(survival_of(name, depth))

    def play() -> Totals:
        tokens, seconds = function(key, requests, ROUNDS, leave, table, SIGMA)
        return np.asarray(tokens, float), np.asarray(seconds, float)

    return Program("JAX, CPU", name, requests, play, depth)


def compiled_cpp(folder: Path) -> Path | None:
    if not shutil.which("g++"):
        return None
    program, source = folder / "baseline", Path(__file__).parent / "baseline.cpp"
    command = ["g++", "-O3", "-march=native", str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def peers(
    name: str, requests: int, cpp: Path | None, slow: bool, depth: int = DEPTH
) -> Iterator[tuple[str, Program]]:
    if cpp:
        yield "C++ -O3", Cpp(name, requests, cpp, depth)
    yield "numba, plain loop", with_numba(name, requests, depth)
    yield "NumPy, tuned", with_numpy("tuned", name, requests, depth)
    yield "NumPy", with_numpy("plain", name, requests, depth)
    if HAVE_JAX:
        yield "JAX on the CPU", with_jax(name, requests, depth)
    if slow:  # a thousandth of the speed: fewer requests are enough
        yield "pure Python", with_python(name, max(requests // 32, 64), depth)


def table(name: str, requests: int, turns: int, cpp: Path | None, slow: bool) -> Table:
    """One model; programs take turns, so that other load affects all of them.

    Peers have the variance of depth 3 alone, on the same requests. Under the token clock each depth
    is a run of its own.
    """
    together, alone = Own("mtpsim", name, requests), Own("mtpsim", name, requests, DEPTH)
    own = {"mtpsim, depths 0-3": together, "mtpsim, depth 3 alone": alone}
    depths = range(1, DEPTH + 1) if name == "token" else (DEPTH,)
    players: dict[tuple[str, int], Program] = {(label, DEPTH): own[label] for label in own}
    for depth in depths:
        for label, player in peers(name, requests, cpp, slow, depth):
            players[label, depth] = player
    taken = best(players, turns)
    both, single = (taken[label, DEPTH] for label in own)
    more = alone.found.variance / together.found.variance
    left = controlled_variance(name, requests) / alone.found.variance
    rows = []
    for label in (label for label, depth in players if depth == DEPTH):
        found, time = players[label, DEPTH].found, taken[label, DEPTH]
        over = sum(taken.get((label, depth), 0.0) for depth in depths) / both
        ratios = ["-", f"{time / both:.2f}", "-", "-"]
        if label not in own:
            controlled = f"{over / left:.1f}" if left > EXACT else "exact"
            ratios = [f"{time / single:.1f}", f"{over:.1f}", f"{over * more:.1f}", controlled]
        shown = f"{found.speedup:.4f} ±{found.error:.4f}"
        rows.append((label, f"{time * 1e9:.1f}", *ratios, shown))
    if not HAVE_JAX:
        rows.append(("JAX on the CPU", "not installed", "-", "-", "-", "-", "-"))
    if cpp is None:
        rows.append(("C++ -O3", "no g++", "-", "-", "-", "-", "-"))
    over = ("one depth", "all depths", "equal precision", "with controls")
    head = ("program", "ns per round", *over, "speedup found")
    return Table(f"Peers: {MODELS[name]}", head, rows)
