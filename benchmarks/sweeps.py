"""Sweeps of many points as whole commands: time, memory, and the sizes of what they write."""

import subprocess
import sys
import tempfile
from pathlib import Path

from startup import FILE
from tables import Table

MEASURED = """
import atexit, resource, sys, time
start = time.perf_counter()
def measure():
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
    taken = time.perf_counter() - start, used.ru_utime + used.ru_stime, int(peak) / 1024
    print("measured", *taken, file=sys.stderr)
atexit.register(measure)
from mtpsim.__main__ import entry
entry()
"""  # a command, and its wall time (s), CPU time (s) and peak memory (MB)


def experiment(targets: int, rates: int) -> str:
    """The founding case at 0.5 %, at many target times and acceptance rates."""
    text = Path(FILE).read_text().replace("precision = 0.0005", "precision = 0.005")
    times = ", ".join(f"{60 + n / 2:g}" for n in range(targets))
    rows = ", ".join(f"[{0.5 + n / 100:.2f}, {0.45 + n / 100:.2f}, 0.4]" for n in range(rates))
    return f'{text}\n[sweep]\n"latency.target" = [{times}]\n"acceptance.rates" = [{rows}]\n'


def row(targets: int, rates: int) -> tuple[str, ...]:
    """One sweep, with its pictures and its page."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "sweep.toml"), Path(folder, "out")
        file.write_text(experiment(targets, rates))
        command = [sys.executable, "-c", MEASURED, "run", str(file), "--quiet", "--out", str(out)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        wall, cpu, peak = map(float, done.stderr.rpartition("measured")[2].split())
        sizes = [(out / name).stat().st_size / 1e6 for name in ("result.json", "report.html")]
    found = f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.0f}", *(f"{size:.1f}" for size in sizes)
    return f"{targets * rates:,}", *found


def table(sizes: list[tuple[int, int]]) -> Table:
    """A row per sweep, of so many target times and acceptance rates."""
    head = ("points", "wall s", "CPU s", "peak MB", "result.json MB", "report.html MB")
    return Table("Sweeps", head, [row(*size) for size in sizes])
