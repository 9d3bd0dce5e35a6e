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
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402
import tomli_w  # noqa: E402

from mtpsim import cli  # noqa: E402
from mtpsim.experiment import schema  # noqa: E402
from mtpsim.logs import FORMATS, Answers, read_logs  # noqa: E402
from mtpsim.problems import InputError  # noqa: E402
from verification import damage  # noqa: E402
from verification.check import Check  # noqa: E402

EXPERIMENTS = sorted((ROOT / "experiments").glob("*.toml"))
SAMPLES = sorted((ROOT / "experiments/logs/samples").iterdir())
CODES, KERNELS = (0, 2, 3), ("run", "fit", "plan", "sample")
CPU, WALL = 30, 300  # seconds that a command may take: its own, and in all
COMPILES = 10  # times as long where kernels may have to be compiled
NONSENSE = re.compile(r"(?<![\w\"'./])-?(?:nan|inf)(?![\w\"'/])", re.IGNORECASE)
PLACE = re.compile(r"^error: [^ ].*: .*\w")
TINY = """\
[acceptance]
model = "independent"
rates = [0.9, 0.7]
[latency]
target = 76
verify = [90, 104]
draft = [8, 14]
[simulation]
rounds = 20
requests = 100
"""
TOKENS = TINY.replace("requests = 100", "requests = 100\n[sweep]\n'latency.target' = [70, 80]")
SCHEDULE = """\
[acceptance]
model = "decay"
first = 0.75
factor = 0.97
depth = 2
[latency]
model = "linear"
base = 6
per_token = 0.02
draft = { base = 0, per_token = 2 }
[simulation]
rounds = 20
requests = 100
[sweep]
"latency.batch" = [1, 8]
"""


class HangError(BaseException):
    """A command takes too long; no `except Exception` may swallow it."""


@dataclass
class Finds:
    """Commands tried, and what was wrong with them, each kind once.

    Attributes:
        tried: number of commands.
        ends: how often each exit code was seen.
        kinds: the first complaint of each kind, with its input.

    """

    tried: int = 0
    ends: dict[int, int] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, text: str) -> None:
        self.kinds.setdefault(kind, text)


@contextlib.contextmanager
def in_time(cpu: float = CPU, wall: float = WALL) -> Iterator[None]:
    """Raise HangError in what takes longer."""

    def stop(*_: object) -> None:
        raise HangError

    before = [signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, cpu)
    signal.setitimer(signal.ITIMER_REAL, wall)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)


def where(error: BaseException) -> str:
    """Kind of an exception: its type and the last lines of mtpsim that it went through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "mtpsim" in f.filename]
    last = [f"{Path(f.filename).name}:{f.lineno}" for f in frames[-2:]]
    return f"{type(error).__name__} at {' > '.join(last)}"


def command(finds: Finds, folder: Path, *arguments: str, shown: str = "") -> int:
    """Run a command as a user would, and note what is wrong with how it ends."""
    finds.tried += 1
    out, err, code = folder / "stdout", folder / "stderr", -1
    try:
        with (
            out.open("w", encoding="utf-8") as told,
            err.open("w", encoding="utf-8", errors="backslashreplace") as complaints,
            contextlib.redirect_stdout(told),
            contextlib.redirect_stderr(complaints),
            in_time(
                *(limit * (COMPILES if arguments[0] in KERNELS else 1) for limit in (CPU, WALL))
            ),
        ):
            code = cli.main(arguments)
    except (HangError, Exception) as error:
        finds.add(where(error), f"{' '.join(arguments)}\n{error!r:.300}\n{shown}")
        return code
    finds.ends[code] = finds.ends.get(code, 0) + 1
    _judge(finds, code, arguments, out, err, shown)
    return code


def _judge(
    finds: Finds, code: int, arguments: tuple[str, ...], out: Path, err: Path, shown: str
) -> None:
    said, complaints = (path.read_text("utf-8", "replace") for path in (out, err))
    told = f"{' '.join(arguments)}\n{complaints[:500]}\n{shown}"
    if code not in CODES:
        finds.add(f"{arguments[0]} ends in {code}", told)
    if "Traceback" in complaints or "Warning:" in complaints:
        finds.add(f"{arguments[0]} prints a traceback or a warning of Python", told)
    if code == 2 and not all(
        PLACE.match(line) for line in complaints.splitlines() if line.startswith("error:")
    ):
        finds.add(f"{arguments[0]} gives no place", told)
    if code == 2 and "error: " not in complaints:
        finds.add(f"{arguments[0]} gives no reason", told)
    if code in (0, 3) and (found := NONSENSE.search(said)):
        line = said[: found.end()].count("\n")
        finds.add(f"{arguments[0]} reports {found[0]}", said.splitlines()[line] + "\n" + told)


def no_plots() -> contextlib.AbstractContextManager[object]:
    return mock.patch("mtpsim.result.Result.save_plots", return_value=[])


# Experiments


def experiment_bytes(rng: random.Random, raws: list[Any], root: Any) -> bytes:
    """A file of an experiment: from the schema, or one that works with damage to it."""
    what = rng.random()
    if what < 0.25:
        raw = damage.from_schema(rng, root, root)
        if rng.random() < 0.3:
            raw = damage.changed(rng, raw, rng.choice(raws))
    else:
        raw = rng.choice(raws)
        if what < 0.75:
            raw = damage.changed(rng, raw, rng.choice(raws))
    try:
        text = tomli_w.dumps(_without_null(raw)).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError):
        text = TINY.encode()
    if what >= 0.75:
        text = damage.bytes_changed(rng, text, rng.choice(EXPERIMENTS).read_bytes())
    return damage.encoded(rng, text)


def _without_null(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _without_null(value) for key, value in raw.items() if value is not None}
    return [_without_null(part) for part in raw if part is not None] if type(raw) is list else raw


def small(raw: Any) -> Any:
    """The same experiment for a few short requests."""
    raw = json.loads(json.dumps(raw))
    raw.pop("adaptive", None)  # each set of policies would compile kernels of its own
    given = raw.get("simulation", {})
    kept = {k: given[k] for k in ("seed", "confidence", "epsilon", "as_recorded") if k in given}
    if "tokens" in given:
        kept["tokens"] = min(given["tokens"], 40)
    elif not given.get("as_recorded"):
        kept["rounds"] = min(given.get("rounds", 20), 20)
    raw["simulation"] = kept | {"requests": 64}
    raw["sweep"] = {k: v[:2] for k, v in list(raw.get("sweep", {}).items())[:2]}
    raw["sweep"] = {k: v for k, v in raw["sweep"].items() if not k.startswith("simulation")}
    return raw if raw["sweep"] else {k: v for k, v in raw.items() if k != "sweep"}


def experiments(rng: random.Random, folder: Path, until: Callable[[int], bool]) -> Finds:
    """`check`, and of what it accepts a share of `run`, `plan` and `sample`."""
    finds, root = Finds(), schema()
    home = folder / "experiments"
    shutil.copytree(ROOT / "experiments", home, dirs_exist_ok=True)
    raws = [tomllib.loads(path.read_text()) for path in EXPERIMENTS]
    number = 0
    while until(number):
        number += 1
        text = experiment_bytes(rng, raws, root)
        path = home / rng.choice(("e.toml", "naïve 文字.toml", "a: b.toml"))
        path.write_bytes(text)
        shown = repr(text[:3000])
        if command(finds, folder, "check", str(path), shown=shown) or rng.random() < 0.5:
            continue
        try:
            path.write_text(tomli_w.dumps(small(tomllib.loads(text.decode("utf-8-sig")))))
        except (TypeError, ValueError, OverflowError):
            continue
        _play(rng, finds, folder, path)
    return finds


def _play(rng: random.Random, finds: Finds, folder: Path, path: Path) -> None:
    """Run an experiment that was accepted."""
    shown, out = repr(path.read_text()[:3000]), folder / "run"
    if command(finds, folder, "check", str(path), shown=shown):
        return
    if rng.random() < 0.2:
        form = rng.choice(("rounds", "csv", "rates", "vllm-log", "sglang-requests"))
        asked = ("--as", form, "--requests", "3")
        command(finds, folder, "sample", str(path), *asked, shown=shown)
    elif rng.random() < 0.1:
        command(finds, folder, "plan", str(path), "--quiet", shown=shown)
    else:
        code = command(finds, folder, "run", str(path), "--out", str(out), "--fresh", shown=shown)
        if code in (0, 3):
            command(finds, folder, "run", str(path), "--out", str(out), "--json", shown=shown)
            _no_constants(finds, out / "result.json", shown)


def _no_constants(finds: Finds, path: Path, shown: str) -> None:
    def refuse(name: str) -> None:
        finds.add(f"{name} in {path.name}", shown)

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


# Logs


def log_bytes(rng: random.Random) -> tuple[str, bytes]:
    path, other = rng.choice(SAMPLES), rng.choice(SAMPLES).read_bytes()
    text = path.read_bytes()
    if rng.random() < 0.5:
        text = damage.lines_changed(rng, text, other)
    if rng.random() < 0.6:
        text = damage.bytes_changed(rng, text, other)
    return path.name, damage.encoded(rng, text)


def logs(rng: random.Random, folder: Path, until: Callable[[int], bool]) -> Finds:
    """The readers; and of logs that they take, a share of `fit`, whose experiment must load."""
    finds, number, out = Finds(), 0, folder / "fitted.toml"
    while until(number):
        number += 1
        name, text = log_bytes(rng)
        path = folder / name
        path.write_bytes(text)
        shown = f"{name}: {text[:3000]!r}"
        forced = rng.choice((None, None, None, rng.choice(sorted(FORMATS))))
        skip = rng.random() < 0.3
        taken = _read(finds, path, forced, skip, shown)
        if rng.random() > (0.05 if taken else 0.02):
            continue
        asked = ["--target", "30", "--depth", "4", "--candidates", "independent", "--quiet"]
        asked += ["--format", forced] * bool(forced) + ["--skip-bad"] * skip
        if not command(finds, folder, "fit", str(path), *asked, "-o", str(out), shown=shown):
            command(finds, folder, "check", str(out), shown=shown)
    return finds


def _read(finds: Finds, path: Path, form: str | None, skip: bool, shown: str) -> bool:
    """Whether a log is taken; what it tells has to hang together."""
    finds.tried += 1
    try:
        with in_time():
            log = read_logs([path], Answers(4, None, 100), format=form, skip_bad=skip)
    except InputError as error:
        if not all(p.message and (p.file or p.key) for p in error.problems):
            finds.add("a log is refused without a place", shown)
        return False
    except (HangError, Exception) as error:
        finds.add(where(error), f"{error!r:.300}\n{shown}")
        return False
    told = (log.accept_length, log.hit, log.reached, log.rounds)
    if not all((np.isfinite(part) & (np.asarray(part) >= 0)).all() for part in told):
        finds.add("a log is taken whose numbers are none", shown)
    if (log.hit > log.reached).any():
        finds.add("a log is taken with more hits than tries", shown)
    return True


# Run directories


def runs(rng: random.Random, folder: Path, until: Callable[[int], bool]) -> Finds:
    """`show`, `merge`, `export` and a run that goes on, where files of a run are damaged."""
    finds, number, whole = Finds(), 0, []
    for name, text in (("tiny", TINY), ("tokens", TOKENS), ("schedule", SCHEDULE)):
        (folder / f"{name}.toml").write_text(text)
        command(finds, folder, "run", str(folder / f"{name}.toml"), "--out", str(folder / name))
        whole.append(folder / name)
    if finds.kinds:
        return finds
    while until(number):
        number += 1
        one = rng.choice(whole)
        broken = folder / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.rmtree(folder / "merged", ignore_errors=True)
        shutil.copytree(one, broken)
        shown = _damage_run(rng, broken)
        verb = rng.choice(
            (
                ("show", str(broken), "--json"),
                ("show", str(broken)),
                ("merge", str(broken), str(rng.choice(whole)), "-o", str(folder / "merged")),
                ("export", str(broken), "--to", rng.choice(cli.ENGINES)),
                ("run", str(folder / f"{one.name}.toml"), "--out", str(broken)),
            )
        )
        code = command(finds, folder, *verb, shown=shown)
        if verb[0] == "run" and code == 0:
            _no_constants(finds, broken / "result.json", shown)
    return finds


def _damage_run(rng: random.Random, run: Path) -> str:
    """Damage a file or two; some of its unharmed ones are taken away."""
    names, told = ("result.json", "tallies.jsonl", "experiment.toml"), []
    for name in rng.sample(names, rng.randint(1, 2)):
        path = run / name
        text = path.read_bytes()
        what = rng.random()
        if name == "result.json" and what < 0.7:
            text = json.dumps(damage.changed(rng, json.loads(text))).encode()
        elif name == "tallies.jsonl" and what < 0.5:
            text = damage.lines_changed(rng, text)
        else:
            text = damage.encoded(rng, damage.bytes_changed(rng, text))
        path.write_bytes(text)
        told.append(f"{name}: {text[:3000]!r}")
    if rng.random() < 0.4:
        (run / "result.json").unlink()
        told.append("no result.json")
    return "\n".join(told)


# Negative controls


def planted_reader(rng: random.Random, folder: Path) -> Finds:
    """A log reader that trusts what it reads."""
    from mtpsim.logs import source

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
    with mock.patch("mtpsim.experiment.tomllib", names):
        return experiments(rng, folder, lambda n: n < 20)


def planted_nan(rng: random.Random, folder: Path) -> Finds:
    """An explanation with a NaN in it."""
    with mock.patch("mtpsim.explain.explain", return_value="speedup nan"):
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
            yield Check(
                f"fuzz {name}", statement, result, not finds.kinds, None, seconds=_since(begun)
            )
        for name, plant in CONTROLS.items():
            begun = time.perf_counter()
            finds = plant(random.Random(seed), _room(home, "control"))
            yield Check(
                f"fuzz control, {name}",
                f"{name} is found",
                f"{len(finds.kinds)} kinds of faults in {finds.tried} tries",
                bool(finds.kinds),
                None,
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
