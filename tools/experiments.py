"""Check and run every file of experiments/ at reduced size, two at a time: ``OUT`` gets results."""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from mtpsim.cli import main

AT_ONCE = 2


def failed(out: Path, file: Path) -> list[str]:
    """Which of the two commands fail on an experiment."""
    few = "\nrequests = " in file.read_text()
    reduced = "simulation.requests=500" if few else "simulation.precision=0.02"
    run = ["run", str(file), "--out", str(out / file.stem), "--set", reduced]
    return [f"{file}: {c[0]} failed" for c in (["check", str(file)], run) if main(c) != 0]


if __name__ == "__main__":
    files = sorted(Path("experiments").glob("*.toml"))
    with ProcessPoolExecutor(AT_ONCE) as pool:
        each = pool.map(partial(failed, Path(sys.argv[1])), files)
        wrong = [line for lines in each for line in lines]
    if wrong:
        sys.exit("\n".join(wrong))
