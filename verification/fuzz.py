"""Damaged files: no traceback, no hang, no NaN in a report, and a sentence that names the place.

    python verification/fuzz.py                  # about 15 minutes
    python verification/fuzz.py --smoke          # under half a minute
    python verification/fuzz.py --seed 7 --for 3600
    python verification/fuzz.py --guided 600     # by coverage, with atheris (pip install atheris)

Experiments are made from the JSON schema or are shipped ones that were damaged; logs and run
directories likewise. All go through the command's own entry point, in this process. A command may
end in 0, 2 or 3; where it ends in 2 it has to say `error: PLACE: SENTENCE`. What is accepted is
run too, at a small size. Negative controls: a reader and a check with a bug put into them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from verification.check import Check  # noqa: E402
from verification.commands import Finds  # noqa: E402
from verification.damaged_experiments import experiments  # noqa: E402
from verification.damaged_logs import logs  # noqa: E402
from verification.damaged_runs import runs  # noqa: E402


def no_plots() -> contextlib.AbstractContextManager[object]:
    return mock.patch("mtpsim.results.document.Result.save_plots", return_value=[])


def planted_reader(rng: random.Random, folder: Path) -> Finds:
    """A log reader that trusts what it reads."""
    from mtpsim.logs import files as source

    def trusting(text: str) -> Any:
        return json.loads(text)

    with mock.patch.object(source, "_parsed", trusting):
        return logs(rng, folder, lambda n: n < 40)


def planted_check(rng: random.Random, folder: Path) -> Finds:
    """A check that takes for granted that there is a target time."""

    def careless(text: str) -> Any:
        raw = tomllib.loads(text)
        return raw | {"latency": raw["latency"] | {"target": raw["latency"]["target"]}}

    names = SimpleNamespace(loads=careless, TOMLDecodeError=tomllib.TOMLDecodeError)
    with mock.patch("mtpsim.config.experiment.tomllib", names):
        return experiments(rng, folder, lambda n: n < 20)


def planted_nan(rng: random.Random, folder: Path) -> Finds:
    """An explanation with a NaN in it."""
    with mock.patch("mtpsim.report.experiment_text.explain", return_value="speedup nan"):
        return experiments(rng, folder, lambda n: n < 30)


AREAS: dict[str, tuple[Callable[..., Finds], str, int, float]] = {
    "experiments": (experiments, "damaged and generated experiments", 110, 0.5),
    "logs": (logs, "damaged logs of all fifteen formats", 150, 0.3),
    "runs": (runs, "damaged run directories", 15, 0.2),
}
CONTROLS = {
    "a reader that trusts": planted_reader,
    "a check that takes a key for granted": planted_check,
    "a report with a NaN": planted_nan,
}


def checks(smoke: bool, seed: int = 1, seconds: float = 900) -> Iterator[Check]:
    """Each area, then the controls; a full run goes on for ``seconds``."""
    with tempfile.TemporaryDirectory(prefix="mtpsim-fuzz-") as home, no_plots():
        for name, (area, what, few, share) in AREAS.items():
            begun = time.perf_counter()
            end = begun + seconds * share
            until = (
                (lambda n, f=few: n < f) if smoke else (lambda n, e=end: time.perf_counter() < e)
            )
            finds = area(random.Random(f"{name} {seed}"), _room(home, name), until)
            ends = ", ".join(f"{n} end in {code}" for code, n in sorted(finds.ends.items()))
            result = f"{finds.tried} tries ({ends}), {len(finds.kinds)} kinds of faults"
            for kind, text in finds.kinds.items():
                print(f"--- {kind}\n{text}\n", file=sys.stderr)
            statement = f"{what}: no traceback, no hang, no NaN, and a place in every refusal"
            yield Check(f"fuzz {name}", statement, result, not finds.kinds, seconds=_since(begun))
        for name, plant in CONTROLS.items():
            begun = time.perf_counter()
            finds = plant(random.Random(seed), _room(home, "control"))
            yield Check(
                f"fuzz control, {name}",
                f"{name} is found",
                f"{len(finds.kinds)} kinds of faults in {finds.tried} tries",
                bool(finds.kinds),
                control=True,
                seconds=_since(begun),
            )


def _room(home: str, name: str) -> Path:
    folder = Path(home, name)
    folder.mkdir(exist_ok=True)
    return folder


def _since(begun: float) -> float:
    return time.perf_counter() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--for", dest="seconds", type=float, default=900, metavar="SECONDS")
    parser.add_argument("--guided", type=int, metavar="SECONDS")
    options = parser.parse_args()
    if options.guided:
        script = Path(__file__).with_name("guided.py")
        return subprocess.call([sys.executable, str(script), str(options.guided)])
    failed = False
    for check in checks(options.smoke, options.seed, options.seconds):
        mark = "ok  " if check.ok else "FAIL"
        print(f"{mark} {check.name}: {check.result} ({check.seconds:.0f} s)", flush=True)
        failed |= not check.ok
    return int(failed)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
