"""mtpsim and its peers: each simulates the same model at depth 3 and must give the exact result."""

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
    LEAVE,
    MODELS,
    ROUNDS,
    SIGMA,
    accept_of,
    chain_of,
    check,
    estimate,
    kernel_run,
)
from tables import Table, best

FUNCTION = {"independent": "independent", "round": "rounds_of", "token": "positions"}
NUMPY = {"independent": "independent", "round": "rounds", "token": "positions"}
CHUNK = 2048  # requests per pass of a vectorised script: more do not fit into the caches
HAVE_JAX = find_spec("jax") is not None

Totals = tuple[np.ndarray, np.ndarray]


def survival_of(name: str) -> np.ndarray:
    """Thresholds for one uniform number per round; per position under the token clock."""
    return accept_of(name) if name == "token" else np.cumprod(accept_of(name), axis=1)


class Program:
    """Simulates a model; its first estimate is kept and checked."""

    def __init__(self, label: str, name: str, requests: int, play: Callable[[], Totals]) -> None:
        self._play, self._requests = play, requests
        self.found = estimate(*self._play())
        check(name, self.found, label)

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
        scale = 76 if shallow else 1
        self.found = estimate(tokens[:, DEPTH], times[:, DEPTH], *plain, scale=scale)
        check(name, self.found, label)

    def __call__(self) -> float:
        return self._run()


class Cpp(Program):
    """A compiled program that measures its own time, without start-up."""

    def __init__(self, name: str, requests: int, program: Path) -> None:
        self._command = [str(program), name, str(requests), str(ROUNDS)]
        super().__init__("C++", name, requests, lambda: self._lines()[1])

    def _lines(self) -> tuple[float, Totals]:
        out = subprocess.run(self._command, check=True, capture_output=True, text=True).stdout
        lines = np.array(out.split(), float).reshape(-1, 2)
        return float(lines[0, 0]), (lines[1:, 0], lines[1:, 1])

    def __call__(self) -> float:
        return self._lines()[0] / (self._requests * ROUNDS)


def with_numpy(way: str, name: str, requests: int) -> Program:
    function = getattr(numpy_baseline, f"{NUMPY[name]}_{way}")
    table, rng = survival_of(name), np.random.default_rng(1)
    sizes = [min(CHUNK, requests - at) for at in range(0, requests, CHUNK)]

    def play() -> Totals:
        parts = [function(rng, size, ROUNDS, LEAVE, table, SIGMA) for size in sizes]
        return np.concatenate([t for t, _ in parts]), np.concatenate([s for _, s in parts])

    return Program(f"NumPy, {way}", name, requests, play)


def with_numba(name: str, requests: int) -> Program:
    function = numba.njit(getattr(loops, FUNCTION[name]))
    arguments = (1, requests, ROUNDS, LEAVE, accept_of(name), SIGMA)
    return Program("numba loop", name, requests, lambda: function(*arguments))


def with_python(name: str, requests: int) -> Program:
    function = getattr(loops, FUNCTION[name])
    arguments = (1, requests, ROUNDS, LEAVE.tolist(), accept_of(name).tolist(), SIGMA)
    return Program("Python loop", name, requests, lambda: function(*arguments))


def with_jax(name: str, requests: int) -> Program:
    import jax
    import jax.numpy as jnp
    import jax_baseline

    function = getattr(jax_baseline, FUNCTION[name])
    key, leave, table = jax.random.key(1), jnp.asarray(LEAVE), jnp.asarray(survival_of(name))

    def play() -> Totals:
        tokens, seconds = function(key, requests, ROUNDS, leave, table, SIGMA)
        return np.asarray(tokens, float), np.asarray(seconds, float)

    return Program("JAX, CPU", name, requests, play)


def compiled_cpp(folder: Path) -> Path | None:
    if not shutil.which("g++"):
        return None
    program, source = folder / "baseline", Path(__file__).parent / "baseline.cpp"
    command = ["g++", "-O3", "-march=native", str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def programs(
    name: str, requests: int, cpp: Path | None, slow: bool
) -> Iterator[tuple[str, Program]]:
    yield "mtpsim, depths 0-3", Own("mtpsim", name, requests)
    yield "mtpsim, depth 3 alone", Own("mtpsim", name, requests, DEPTH)
    if cpp:
        yield "C++ -O3", Cpp(name, requests, cpp)
    yield "numba, plain loop", with_numba(name, requests)
    yield "NumPy, tuned", with_numpy("tuned", name, requests)
    yield "NumPy", with_numpy("plain", name, requests)
    if HAVE_JAX:
        yield "JAX on the CPU", with_jax(name, requests)
    if slow:  # a thousandth of the speed: fewer requests are enough
        yield "pure Python", with_python(name, max(requests // 32, 64))


def table(name: str, requests: int, turns: int, cpp: Path | None, slow: bool) -> Table:
    """One model; programs take turns, so that other load affects all of them."""
    players = dict(programs(name, requests, cpp, slow))
    taken = best(players, turns)
    both, alone = list(players)[:2]
    # Peers estimate the same as depth 3 alone: its variance, on the same requests.
    more = players[alone].found.variance / players[both].found.variance
    rows = []
    for label, player in players.items():
        ratio = taken[label] / taken[both]
        ratios = ratio, taken[label] / taken[alone], ratio if label == both else ratio * more
        figures = (f"{figure:.1f}" for figure in (taken[label] * 1e9, *ratios))
        rows.append((label, *figures, f"{player.found.speedup:.4f} ±{player.found.error:.4f}"))
    if not HAVE_JAX:
        rows.append(("JAX on the CPU", "not installed", "-", "-", "-", "-"))
    if cpp is None:
        rows.append(("C++ -O3", "no g++", "-", "-", "-", "-"))
    over = ("over depths 0-3", "over depth 3 alone", "equal precision")
    head = ("program", "ns per round", *over, "speedup found")
    return Table(f"Peers: {MODELS[name]}", head, rows)
