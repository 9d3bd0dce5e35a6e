"""CPU time of whole commands: medians of all threads and turns.

Modules are compiled to bytecode once, as for an installed package. PYTHONDONTWRITEBYTECODE is
removed from the environment: with it, every command would compile all of mtpsim again.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tables import Table

FILE, SERVER = "experiments/article.toml", "experiments/serving.toml"
QUICK = [
    "quick",
    "--target",
    "76",
    "--verify",
    "90,104,117",
    "--draft",
    "8,14,22",
    "--rates",
    ".8,.74,.67",
]
NUMPY, NUMBA = ("-c", "import numpy"), ("-c", "import numba")
UNDRAWN = """
from mtpsim import __main__
from mtpsim.cli import main
guarded = main._run_guarded
def undrawn(options):
    from mtpsim.results.document import Result
    Result.save_report = lambda *_: []
    return guarded(options)
main._run_guarded = undrawn
__main__.entry()
"""  # a run until its answer is printed and its numbers are written
SWEEP = 200  # points


def seconds(*command: str, **changes: str) -> float:
    """CPU time of one command, s, with some environment variables changed."""
    kept = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, capture_output=True, env=kept | changes)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_of(*before: str, file: str = FILE, cold: bool = False) -> float:
    """CPU time of a run in a new directory; ``cold``: with an empty kernel cache."""
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as empty:
        changes = {"NUMBA_CACHE_DIR": empty} if cold else {}
        return seconds(*before, "run", file, "--quiet", "--out", out, **changes)


def sweep(folder: Path) -> str:
    """The founding case at 0.5 %, at many target times."""
    values = ", ".join(f"{60 + n / 10:g}" for n in range(SWEEP))
    text = Path(FILE).read_text().replace("precision = 0.0005", "precision = 0.005")
    file = folder / "sweep.toml"
    file.write_text(f'{text}\n[sweep]\n"latency.target" = [{values}]\n')
    return str(file)


def table(turns: int, cold: int) -> Table:
    """``cold`` is the number of runs that compile their kernels."""
    run, answer = ("-m", "mtpsim"), ("-c", UNDRAWN)
    with tempfile.TemporaryDirectory() as folder:
        many = sweep(Path(folder))
        commands = {
            'python -c "import numpy"': (lambda: seconds(*NUMPY), turns, "-"),
            'python -c "import numba"': (lambda: seconds(*NUMBA), turns, "-"),
            "mtpsim --help": (lambda: seconds(*run, "--help"), turns, "-"),
            "mtpsim quick": (lambda: seconds(*run, *QUICK), turns, "1.5"),
            "mtpsim fit --help": (lambda: seconds(*run, "fit", "--help"), turns, "1.5"),
            "mtpsim check": (lambda: seconds(*run, "check", FILE), turns, "1.5"),
            "mtpsim check, of a server": (lambda: seconds(*run, "check", SERVER), turns, "1.5"),
        }
        if cold:
            commands |= {
                "first run, until the answer": (lambda: run_of(*answer, cold=True), cold, "6 s"),
                "first run, with pictures": (lambda: run_of(*run, cold=True), cold, "-"),
                "run, until the answer": (lambda: run_of(*answer), turns, "1.3 numba"),
                "run, with pictures": (lambda: run_of(*run), turns, "1.3 numba"),
                f"sweep of {SWEEP} points": (lambda: run_of(*answer, file=many), cold, "6 s"),
            }
        seconds(*run, "check", FILE)  # compiles bytecode
        if cold:
            run_of(*run)  # compiles kernels
        taken = {
            name: statistics.median(once() for _ in range(count))
            for name, (once, count, _) in commands.items()
        }
    numpy, numba = (taken[f'python -c "import {name}"'] for name in ("numpy", "numba"))
    rows = [
        (name, f"{took:.2f}", f"{took / numpy:.1f}", f"{took / numba:.1f}", commands[name][2])
        for name, took in taken.items()
    ]
    head = ("command", "CPU seconds", "over import numpy", "over import numba", "at most")
    return Table("Start-up", head, rows)
