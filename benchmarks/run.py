"""Speed, as ratios measured in one run on one machine.

    python benchmarks/run.py            # some minutes; writes results.md and docs/performance.png
    python benchmarks/run.py --quick    # half a minute; prints only

All programs simulate the same models (depth 3, lognormal round times of cv 0.1, 200 rounds per
request; two states have a mean stay of 20 rounds or tokens) and must agree with the exact speedup
within 5 standard errors, else the benchmark stops. mtpsim's kernel computes all depths 0..3 in one
pass. Ratios to it: of one depth, 3, over mtpsim's depth 3 alone; of all depths, where a peer runs
depths 1, 2 and 3 one after the other under the token clock, and depth 3 serves all under the round
clock; times the ratio of variances (equal precision); the same with `control_variates = true`
("exact": no variance is left). Programs take turns, of four million rounds for mtpsim's kernels, so
that caches are warm for most of a turn; each figure is the minimum of several turns. Times are CPU
times of all threads, except for whole commands and for two threads (wall time). Goals at equal
precision, with two states under both clocks: 25 times plain NumPy, 10 times C++, 20 times
the numba loop, 15 times JAX.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import peers
import policies
import reading
import scaling
import serving
import startup
import step_costs
import sweeps
from models import MODELS, ROUNDS, chain_of, plan
from rich.console import Console
from tables import Table, best

from mtpsim.engine.simulate import tally_block

HERE = Path(__file__).parent

MEMORY = """
import sys, mtpsim
mtpsim.run(mtpsim.load("experiments/article.toml", ["simulation.requests=" + sys.argv[1]]))
status = open("/proc/self/status").read()  # ru_maxrss would start at the parent's
print(status.split("VmHWM:")[1].split()[0])
"""


def peak_memory(rounds: int) -> float:
    """Peak memory of a run of the founding case, MB."""
    command = [sys.executable, "-c", MEMORY, str(rounds // ROUNDS)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout) / 1024


def threads(seconds: float) -> float:
    """Blocks per second with two threads, divided by those with one."""
    compiled = plan(chain_of("round"))
    tally_block(compiled, 0, compiled.chunk)
    start = time.perf_counter()
    tally_block(compiled, 0, compiled.chunk)
    blocks = max(int(seconds / (time.perf_counter() - start)), 8)

    def taken_by(workers: int) -> float:
        with ThreadPoolExecutor(workers) as pool:
            start = time.perf_counter()
            firsts = range(0, blocks * compiled.chunk, compiled.chunk)
            list(pool.map(lambda first: tally_block(compiled, first, compiled.chunk), firsts))
            return time.perf_counter() - start

    taken = best({"1": lambda: taken_by(1), "2": lambda: taken_by(2)}, 5)
    return taken["1"] / taken["2"]


def whole_runs(quick: bool) -> Table:
    rows = [("two threads over one", f"{threads(0.2 if quick else 1):.2f}", "1.85")]
    if not quick:
        sizes = (10**7, 10**8, 10**9)
        peaks = [peak_memory(size) for size in sizes]
        text = ", ".join(f"{peak:.0f} MB" for peak in peaks)
        growth = f"{peaks[-1] / peaks[0]:.3f} ({text})"
        rows.append((f"peak memory: {sizes[-1]:.0e} rounds over 1e7", growth, "at most 1.1"))
    return Table("Whole runs", ("what", "measured", "goal"), rows)


def measure(quick: bool) -> Iterator[Table]:
    requests, turns = (512, 2) if quick else (4096, 7)
    with tempfile.TemporaryDirectory() as folder:
        program = peers.compiled_cpp(Path(folder))
        for name in MODELS:
            yield peers.table(name, requests, turns, program, slow=not quick)
    yield scaling.floor(requests, 3 * turns)
    found = scaling.costs(requests // 2, turns, ends=quick)
    yield scaling.table(found)
    if not quick:
        scaling.draw(found, "docs/performance.png", machine())
        yield policies.table(policies.POLICIES, requests, turns)
    yield step_costs.table(20_000 if quick else 1_000_000, turns)
    yield serving.table(8 if quick else 24, min(turns, 3))
    yield whole_runs(quick)
    yield reading.table(*((4_000_000, 2) if quick else (32_000_000, 4)))
    yield startup.table(*((1, 0) if quick else (5, 3)))
    yield sweeps.table([(6, 10)] if quick else [(10, 10), (40, 25), (100, 30)])


def machine() -> str:
    name = Path("/proc/cpuinfo").read_text().partition("model name")[2].splitlines()[0]
    return (
        f"{name.partition(': ')[2]}, {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, numba {numba.__version__}, numpy {np.__version__}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed, as ratios measured in one run.")
    parser.add_argument("--quick", action="store_true", help="smaller; writes nothing")
    quick = parser.parse_args().quick
    os.chdir(HERE.parent)
    shown = Console() if sys.stdout.isatty() else Console(width=110)
    found = []
    for table in measure(quick):
        shown.print(table.rich())
        found.append(table.markdown())
    if not quick:
        measured = f"Measured {time.strftime('%Y-%m-%d')} on {machine()}\n"
        head = ["# Speed\n", __doc__.split("\n\n", 2)[2].strip() + "\n", measured]
        (HERE / "results.md").write_text("\n".join([*head, *found]))


if __name__ == "__main__":
    main()
