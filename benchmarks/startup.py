"""Seconds of whole commands, from a shell's point of view."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from tables import Table, best

FILE = "experiments/article.toml"


def command(arguments: list[str]) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - start

    return once


def run_of(cold: bool = False) -> Callable[[], float]:
    """The founding case into a new directory; ``cold`` compiles all kernels first."""

    def once() -> float:
        with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as empty:
            environment = os.environ | ({"NUMBA_CACHE_DIR": empty} if cold else {})
            line = [sys.executable, "-m", "mtpsim", "run", FILE, "--quiet", "--out", out]
            start = time.perf_counter()
            subprocess.run(line, check=True, capture_output=True, env=environment)
            return time.perf_counter() - start

    return once


def table(turns: int, cold: int) -> Table:
    """``cold`` is the number of first runs, which compile for many seconds; with 0, none."""
    commands = {
        'python -c "import numpy"': command(["-c", "import numpy"]),
        "import numba, scipy.stats, matplotlib.pyplot": command(
            ["-c", "import numba, scipy.stats, matplotlib.pyplot"]
        ),
        "mtpsim --help": command(["-m", "mtpsim", "--help"]),
        "mtpsim check": command(["-m", "mtpsim", "check", FILE]),
    }
    if cold:
        commands["mtpsim run, kernels compiled before"] = run_of()
        run_of()()
    taken = best(commands, turns)
    goals = {
        "mtpsim check": "0.3 s",
        "mtpsim run, kernels compiled before": "at most 2 imports of the libraries",
    }
    if cold:
        taken |= best({"mtpsim run, the very first": run_of(cold=True)}, cold)
    numpy = taken['python -c "import numpy"']
    rows = [
        (name, f"{seconds:.2f}", f"{seconds / numpy:.1f}", goals.get(name, "-"))
        for name, seconds in taken.items()
    ]
    return Table("Start-up", ("command", "seconds", "over import numpy", "goal"), rows)
