"""Interrupted runs: each ends soon and quietly, and the same command completes it bit for bit.

Runs in processes of their own get SIGINT (as the whole process group does by Ctrl-C), SIGTERM, or
SIGINT twice at a random moment of their life: while modules load, in the simulation, while figures
are drawn, at the end. Control: a run that never looks whether it was interrupted.
"""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import NamedTuple

from mtpsim.cli.main import main as cli
from verification.check import Check
from verification.fuzz import few_pictures

LIMIT = 5.0  # s from a signal to the end of the process, on a machine that is not busy
EXPERIMENT = """\
[acceptance]
model = "regime"
rates = [[0.9, 0.8], [0.5, 0.4]]
sojourn = [20, 10]
[latency]
target = 76
verify = [90, 104]
draft = [8, 14]
noise = { distribution = "lognormal", cv = 0.3 }
[simulation]
rounds = 200
requests = 150000
[sweep]
"latency.target" = [70, 76]
"""
ENDLESS = ["--set", "simulation.precision=1e-9", "--set", "simulation.max_requests=10000000000"]
KINDS = {"threads": (2, 60), "processes:2": (1, 40), "dask:2": (0, 15)}  # of a small, a full run
SMOKE = 4.0  # times the limit in a small run, which shares its cores with other jobs
HOW = ("SIGINT", "SIGTERM", "SIGINT twice")
NOISE = ("Traceback", "Exception ignored", "Error", "Warning", "CANCELLED")
BLIND = """
import sys
from mtpsim.engine import interrupts
interrupts.command_interruptible.__wrapped__.__defaults__ = (1e9,)  # of `grace`
interrupts._Interrupts.check = lambda self: None
from mtpsim.__main__ import entry
entry()
"""


@dataclass
class Found:
    """What happened to the interrupted runs, and what is wrong with some of them."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def text(self) -> str:
        """In words."""
        counted = ", ".join(f"{n} {what}" for what, n in sorted(self.counts.items()))
        first = "".join(f"; {fault}" for fault in self.faults[:3])
        return f"{counted}; slowest {self.slowest:.1f} s; {len(self.faults)} faults{first}"


class Ended(NamedTuple):
    """How a run ended: exit code, time since the signal in s, what it printed, what hangs."""

    code: int
    seconds: float
    printed: str
    hangs: str

    def fault(self) -> str:
        """What is wrong; an early or a late run may end by the signal itself."""
        if self.hangs:
            return f"{self.hangs} for {self.seconds:.1f} s"
        if any(word in self.printed for word in NOISE):
            return f"prints {self.printed[-500:]!r}"
        ended = self.code in (130, 0, -signal.SIGINT, -signal.SIGTERM)
        return "" if ended else f"exits with {self.code}: {self.printed[-500:]!r}"


def limit() -> float:
    """Time that a run may take to end now, s: longer if this process has to wait for a core."""
    begun, used = time.monotonic(), getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import mtpsim.runs.run"], check=True)
    now = getrusage(RUSAGE_CHILDREN)
    seconds = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return LIMIT * max(1.0, (time.monotonic() - begun) / seconds)


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start Python in a process group of its own."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, text=True, start_new_session=True, **pipes)


def phase(out: Path) -> str:
    """How far a run is, by its files."""
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    ends = {"report.html": "at the end", "result.json": "drawing", "tallies.jsonl": "simulating"}
    ends |= {"experiment.toml": "loading kernels"}
    return next((text for name, text in ends.items() if name in names), "loading modules")


def interrupt(process: subprocess.Popen[str], how: str, rng: random.Random) -> None:
    """Send a signal, or two."""
    with suppress(ProcessLookupError):
        if how == "SIGTERM":
            process.terminate()
            return
        os.killpg(process.pid, signal.SIGINT)
        if how == "SIGINT twice":
            time.sleep(rng.uniform(0, 1))
            os.killpg(process.pid, signal.SIGINT)


def end(process: subprocess.Popen[str], limit: float) -> Ended:
    """Wait until the process and its workers have ended, or are killed as they do not end."""
    begun, printed, hangs = time.monotonic(), "", ""
    try:
        printed = process.communicate(timeout=limit)[1]
        while _alive(process.pid) and not hangs:
            time.sleep(0.05)
            hangs = "its workers hang" * (time.monotonic() - begun > limit)
    except subprocess.TimeoutExpired:
        hangs = "its workers hang" if process.poll() is not None else "hangs"
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return Ended(process.returncode, time.monotonic() - begun, printed, hangs)


def _alive(group: int) -> bool:
    """Whether a process of a group runs; one that has ended may wait for its parent to notice."""
    every = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True)
    rows = [line.split() for line in every.stdout.splitlines()]
    return any(int(number) == group and state[0] != "Z" for number, state in rows)


def completed(out: Path) -> str:
    """The points that the command gives, from the start or from what is saved."""
    arguments = ["run", str(out.parent / "e.toml"), "--out", str(out), "--quiet", "--json"]
    printed = io.StringIO()
    with few_pictures(0), redirect_stdout(printed):
        code = cli(arguments)
    return json.dumps(json.loads(printed.getvalue())["points"]) if code == 0 else f"exit {code}"


def search(home: Path, executor: str, runs: int, seed: int, slack: float) -> Found:
    """Interrupt so many runs of an experiment; complete each and compare it."""
    found, rng, out, whole = Found(), random.Random(seed), home / "out", completed(home / "whole")
    command = ("-m", "mtpsim", "run", str(home / "e.toml"), "--executor", executor, "--out")
    for number in range(runs):
        if number % 25 == 0:
            longest = slack * limit()
            uninterrupted = end(start(*command, str(home / "complete"), "--fresh"), 100 * longest)
            assert uninterrupted.code == 0, uninterrupted
        shutil.rmtree(out, ignore_errors=True)
        how, moment = HOW[number % 3], rng.uniform(0.05, uninterrupted.seconds)
        process = start(*command, str(out))
        with suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        where = "ended before" if process.poll() is not None else phase(out)
        interrupt(process, how, rng)
        ended = end(process, longest)
        fault = ended.fault()
        if ended.code == 0 and phase(out) != "at the end":
            fault = "exits with 0, but is not complete"
        if not fault and completed(out) != whole:
            fault = "the same command gives other numbers"
        if fault:
            found.faults.append(f"{how} after {moment:.2f} s, {where}: {fault}")
        found.slowest = max(found.slowest, ended.seconds)
        found.counts.update([how, where, f"exit {ended.code}"])
    return found


def hangs(home: Path) -> bool:
    """Whether a run that never looks for an interrupt is found."""
    out, longest = home / "blind", limit()
    process = start("-c", BLIND, "run", str(home / "e.toml"), "--out", str(out), *ENDLESS)
    while process.poll() is None and phase(out) != "simulating":
        time.sleep(0.1)
    interrupt(process, "SIGINT", random.Random(1))
    return end(process, longest).hangs == "hangs"


def checks(smoke: bool) -> Iterator[Check]:
    """Each executor, then the control."""
    with tempfile.TemporaryDirectory(prefix="mtpsim-interrupts-") as name:
        home = Path(name)
        (home / "e.toml").write_text(EXPERIMENT)
        for seed, (executor, runs) in enumerate(KINDS.items(), start=3):
            if not runs[not smoke]:
                continue
            slack = SMOKE if smoke else 1.0
            found = search(home, executor, runs[not smoke], seed, slack)
            statement = (
                "SIGINT, SIGTERM or two SIGINT at a random moment: no hang beyond "
                f"{LIMIT * slack:g} s (more if the machine is busy), no traceback, no process left "
                "and resumed bit for bit"
            )
            yield Check(f"interrupts, {executor}", statement, found.text(), not found.faults)
        statement = "a run that does not look for interrupts is found"
        result = "it hangs" if (ok := hangs(home)) else "not found"
        yield Check("interrupts control", statement, result, ok, control=True)
