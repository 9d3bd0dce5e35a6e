"""Wall time of whole commands.

Modules are compiled to bytecode once, as for an installed package. PYTHONDONTWRITEBYTECODE is
removed from the environment: with it, every command would compile all of mtpsim again.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from tables import Table, best

FILE = "experiments/article.toml"
LIBRARIES = "import numba, scipy.stats, matplotlib.pyplot"


def seconds(arguments: list[str], **changes: str) -> float:
    """Wall time of one command, s, with some environment variables changed."""
    kept = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    line = [sys.executable, *arguments]
    start = time.perf_counter()
    subprocess.run(line, check=True, capture_output=True, env=kept | changes)
    return time.perf_counter() - start


def command(*arguments: str) -> Callable[[], float]:
    return lambda: seconds([*arguments])


def run_of(cold: bool = False) -> Callable[[], float]:
    """Run the founding case in a new directory; ``cold``: with an empty kernel cache."""

    def once() -> float:
        with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as empty:
            line = ["-m", "mtpsim", "run", FILE, "--quiet", "--out", out]
            return seconds(line, **({"NUMBA_CACHE_DIR": empty} if cold else {}))

    return once


def table(turns: int, cold: int) -> Table:
    """``cold`` is the number of runs that compile all kernels (many seconds each)."""
    commands = {
        'python -c "import numpy"': command("-c", "import numpy"),
        "import numpy, pydantic.main": command("-c", "import numpy, pydantic.main"),
        LIBRARIES: command("-c", LIBRARIES),
        "mtpsim --help": command("-m", "mtpsim", "--help"),
        "mtpsim check": command("-m", "mtpsim", "check", FILE),
    }
    commands["mtpsim check"]()  # compiles bytecode
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
    figures = {name: (f"{took:.2f}", f"{took / numpy:.1f}") for name, took in taken.items()}
    rows = [(name, *both, goals.get(name, "-")) for name, both in figures.items()]
    return Table("Start-up", ("command", "seconds", "over import numpy", "goal"), rows)
