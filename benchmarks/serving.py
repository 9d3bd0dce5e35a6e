"""A server at depth 3: mtpsim's kernel, a Python loop over a heap of events, and SimPy."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
import serving_loops
from serving_loops import Load, Server
from tables import Table, best

from mtpsim.config.experiment import parse
from mtpsim.engine.server import ServerPlan, compile_server, tally_server
from mtpsim.engine.server_data import ServerLayout
from mtpsim.stats.estimators import Tally

LOAD = Load(per_second=70.0, per_token=0.01)
REQUESTS, ERRORS = 3000, 5.0
CLIENTS = 64  # of a step that shares a budget of drafts
HAVE_SIMPY = find_spec("simpy") is not None
EXPERIMENT = """
[acceptance]
model = "independent"
rates = {rates}
[latency]
model = "linear"
base = {base}
per_token = {per_token}
per_cached = {per_cached}
cached = 0
draft = {{ base = 0, per_token = {per_draft} }}
[serving]
arrivals = {{ rate = {per_second} }}
prompt = {{ mean = {prompt}, distribution = "geometric" }}
output = {{ mean = {output}, distribution = "geometric" }}
max_requests = {max_requests}
max_tokens = {max_tokens}
kv_tokens = {kv_tokens}
requests = {requests}
warm_up = 0
depths = [{depth}]
"""


def plan(requests: int = 0) -> ServerPlan:
    """The same server for mtpsim."""
    given = {**LOAD._asdict(), "rates": list(LOAD.rates), "requests": requests or REQUESTS}
    return compile_server(parse(EXPERIMENT.format(**given))).plan


@dataclass
class Found:
    """Means of replications with their standard errors, and the time per request-step."""

    means: dict[str, float]
    errors: dict[str, float]
    seconds: float

    @classmethod
    def of(cls, rows: list[dict[str, float]], seconds: float, request_steps: float) -> "Found":
        values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        return cls(
            {name: float(v.mean()) for name, v in values.items()},
            {name: float(v.std(ddof=1) / np.sqrt(len(v))) for name, v in values.items()},
            seconds / request_steps,
        )


def own(replications: int, first: int = 0) -> Found:
    """mtpsim's kernel; ``running`` has no part in the check."""
    compiled = plan()
    tally_server(compiled, first, 1)  # compiles
    begun = time.process_time()
    tallies = [tally_server(compiled, first + n, 1) for n in range(replications)]
    seconds = time.process_time() - begun
    rows = [_row(compiled, tally) for tally in tallies]
    steps = sum(float(t.mean[compiled.layout.of("rounds")][0]) for t in tallies)
    return Found.of(rows, seconds, steps)


def _row(compiled: ServerPlan, tally: Tally) -> dict[str, float]:
    total = {
        name: float(tally.mean[compiled.layout.of(name)][0])  # type: ignore[arg-type]
        for name in ("ttft_ms", "tpot_ms", "tpot_requests", "e2e_ms", "requests")
    }
    return {
        "ttft": total["ttft_ms"] / total["requests"],
        "tpot": total["tpot_ms"] / total["tpot_requests"],
        "e2e": total["e2e_ms"] / total["requests"],
    }


def baseline(program: Callable[[Load, int, int], Server], replications: int) -> Found:
    """A Python program; its requests are those that arrive first, as mtpsim's."""
    rows, steps, begun = [], 0.0, time.process_time()
    for seed in range(replications):
        server = program(LOAD, REQUESTS, seed)
        found = serving_loops.summary(server, REQUESTS)
        steps += found.pop("rounds")
        rows.append(found)
    return Found.of(rows, time.process_time() - begun, steps)


def check(label: str, found: Found, reference: Found) -> None:
    """Stop where a mean differs by more than its error allows."""
    for name, mean in found.means.items():
        error = np.hypot(found.errors[name], reference.errors[name])
        if abs(mean - reference.means[name]) > ERRORS * error:
            raise SystemExit(f"{label}: {name} is {mean:.2f}, not {reference.means[name]:.2f}")


def threads(blocks: int) -> float:
    """Blocks per second with two threads, divided by those with one."""
    compiled = plan()

    def simulate(block: int) -> int:  # keeps no tally: new memory is shared by threads
        return tally_server(compiled, block, 1).count

    def taken_by(workers: int) -> float:
        with ThreadPoolExecutor(workers) as pool:
            start = time.perf_counter()
            list(pool.map(simulate, range(blocks)))
            return time.perf_counter() - start

    taken = best({"1": lambda: taken_by(1), "2": lambda: taken_by(2)}, 5)
    return taken["1"] / taken["2"]


def budget(turns: int) -> float:
    """Time per request-step of a shared budget of drafts over that of a fixed depth."""
    text = (
        EXPERIMENT.replace("rate = {per_second}", f"closed = {CLIENTS}") + 'policies = ["budget"]'
    )
    given = {**LOAD._asdict(), "rates": list(LOAD.rates), "requests": REQUESTS // 2}
    both = compile_server(parse(text.format(**given))).plan
    plans = [replace(both, arms=(arm,), layout=ServerLayout(1)) for arm in both.arms]

    def taken_by(plan: ServerPlan) -> float:
        begun = time.process_time()
        tally = tally_server(plan, 0, 1)
        steps = float(tally.mean[plan.layout.of("request_steps")][0])
        return (time.process_time() - begun) / steps

    for plan in plans:
        taken_by(plan)  # compiles
    taken = best({str(n): lambda p=p: taken_by(p) for n, p in enumerate(plans)}, turns)
    return taken["1"] / taken["0"]


def memory(requests: int) -> float:
    """Peak memory of a process that simulates one replication of so many requests, MB."""
    code = (
        "import sys; sys.path.insert(0, 'benchmarks'); import serving; "
        "from mtpsim.engine.server import tally_server; "
        f"tally_server(serving.plan({requests}), 0, 1); "
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    return (
        int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
        / 1024
    )


def table(replications: int, turns: int) -> Table:
    """Time per request-step; programs take turns."""
    programs: dict[str, Callable[[], Found]] = {"mtpsim": lambda: own(replications)}
    programs["Python, heapq"] = lambda: baseline(serving_loops.with_heap, replications // 4)
    if HAVE_SIMPY:
        programs["SimPy"] = lambda: baseline(serving_loops.with_simpy, replications // 4)
    found = {label: run() for label, run in programs.items()}
    for label, one in found.items():
        check(label, one, found["mtpsim"])
    taken = best({label: lambda run=run: run().seconds for label, run in programs.items()}, turns)
    rows = [
        (label, f"{1e9 * seconds:.1f}", f"{seconds / taken['mtpsim']:.1f}", _means(found[label]))
        for label, seconds in taken.items()
    ]
    if not HAVE_SIMPY:
        rows.append(("SimPy", "not installed", "-", "-"))
    rows.append(("two threads over one", f"{threads(replications):.2f}", "-", "-"))
    rows.append((f"budget of {CLIENTS} requests over a depth", f"{budget(turns):.1f}", "-", "-"))
    few, many = memory(3_000), memory(300_000)
    text = f"{many / few:.3f} ({few:.0f} MB, {many:.0f} MB)"
    rows.append(("peak memory: 300,000 requests over 3,000", text, "-", "-"))
    head = ("program", "ns per request-step", "over mtpsim", "TTFT, TPOT, E2E in ms")
    return Table("A server at depth 3, about 130 running requests", head, rows)


def _means(found: Found) -> str:
    return ", ".join(
        f"{found.means[n]:.2f} ±{found.errors[n]:.2f}" for n in ("ttft", "tpot", "e2e")
    )
