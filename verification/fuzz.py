"""Damaged input: every command ends with a result or with an error that names the place.

Hypothesis draws experiments (from the JSON schema, and shipped ones with damage), logs of every
engine and run directories, and shrinks what fails. All go through the command line's entry point,
in this process. A command may exit with 0, 2, 3 (130 if it reads an incomplete run), without a
traceback or a warning, within limits of time and memory. With 2 it prints `error: PLACE: SENTENCE`,
else a report without NaN. Accepted experiments are also run, at a small size. Controls: a reader, a
check and a report with a fault.
"""

import contextlib
import json
import re
import shutil
import signal
import tempfile
import time
import tomllib
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import tomli_w
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.constants_ast import Constants

from mtpsim.cli.main import main as cli
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment, schema
from mtpsim.logs import FORMATS, Answers, read_logs
from mtpsim.results.document import Result
from mtpsim.runs.export import FORMATS as EXPORTS
from verification.check import Check
from verification.strategies import (
    damaged_bytes,
    damaged_documents,
    damaged_lines,
    experiment_files,
    from_schema,
    log_files,
    whole_experiments,
)

ROOT = Path(__file__).resolve().parents[1]
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
SWEEP = TINY + "[sweep]\n'latency.target' = [70, 80]\n"
SCHEDULE = """\
acceptance = { model = "decay", first = 0.75, factor = 0.97, depth = 2 }
latency = { model = "linear", base = 6, per_token = 0.02, draft = { base = 0, per_token = 2 } }
simulation = { rounds = 20, requests = 100 }
sweep = { "latency.batch" = [1, 8] }
"""
RUNS = {"tiny": TINY, "sweep": SWEEP, "schedule": SCHEDULE}
COMPILING = ("run", "fit", "plan", "sample")  # verbs that may have to compile kernels
BATCH = 200  # examples of one seed of a long search
READING = ("show", "merge", "export", "compare")  # verbs that exit with 130 on an incomplete run
NONSENSE = re.compile(r"(?<![\w\"'./])-?(?:nan|inf)(?![\w\"'/])", re.IGNORECASE)
PLACE = re.compile(r"error: [^ ].*: .*\w")


MOST_MEMORY = 2048.0  # MB of a process
FRESH = 200.0  # MB of a process that has loaded everything and read nothing


class HangError(BaseException):
    """A command takes too long; no `except Exception` may swallow it."""


@contextlib.contextmanager
def limited_time(seconds: int) -> Iterator[None]:
    """Fail after so many seconds of this process's CPU time."""

    def stop(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except HangError as error:
        raise AssertionError(f"takes longer than {seconds} s") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


class Memory:
    """The greatest memory of an example, in MB; Linux alone can measure it for one."""

    def __init__(self) -> None:
        self.peak = 0.0

    @contextlib.contextmanager
    def limited(self, most: float = MOST_MEMORY) -> Iterator[None]:
        """Fail where the process takes more than ``most`` MB, without what it had before."""
        before = self._reset()
        yield
        peak = self._now("VmHWM") - max(before - FRESH, 0)
        self.peak = max(self.peak, peak)
        assert peak <= most, f"takes {peak:,.0f} MB of memory"

    @classmethod
    def _reset(cls) -> float:
        """Forget the peak; returns the memory in use."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        return cls._now("VmRSS")

    @staticmethod
    def _now(name: str) -> float:
        try:
            found = re.search(rf"{name}:\s*(\d+)", Path("/proc/self/status").read_text())
        except OSError:  # another system
            found = None
        return int(found[1]) / 1024 if found else 0.0


def command(folder: Path, *arguments: str) -> int:
    """Exit code of a command, whose output must be as the head of this file says."""
    outputs = [folder / "stdout", folder / "stderr"]
    with contextlib.ExitStack() as stack:
        for path, redirect in zip(
            outputs, (contextlib.redirect_stdout, contextlib.redirect_stderr), strict=True
        ):
            file = path.open("w", encoding="utf-8", errors="backslashreplace")
            stack.enter_context(redirect(stack.enter_context(file)))
        stack.enter_context(limited_time(300 if arguments[0] in COMPILING else 30))
        code = cli(arguments)
    out, err = (path.read_text("utf-8") for path in outputs)
    message = f"{' '.join(arguments)} exits with {code}: {err[:500]}"
    incomplete = arguments[0] in READING and code == 130
    assert code in (0, 2, 3) or incomplete, message
    assert "Traceback" not in err, message
    assert "Warning:" not in err, message
    if code == 2:
        errors = [line for line in err.splitlines() if line.startswith("error:")]
        assert errors, f"no reason: {message}"
        assert all(map(PLACE.match, errors)), f"no place: {message}"
    else:
        found = NONSENSE.search(out)
        assert not found, f"reports {found and found[0]}: {message}"
    return code


def finite(path: Path) -> None:
    """A document has no NaN and no infinity, which JSON does not know."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {path.name}")

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def small(raw: Any, policies: bool = False) -> Any:
    """The same experiment for a few short requests."""
    raw = json.loads(json.dumps(raw))
    if not policies:
        raw.pop("adaptive", None)  # each set of policies would compile kernels of its own
    given = raw.get("simulation", {})
    kept = {k: given[k] for k in ("seed", "confidence", "epsilon", "as_recorded") if k in given}
    if "tokens" in given:
        kept["tokens"] = min(given["tokens"], 40)
    elif not given.get("as_recorded"):
        kept["rounds"] = min(given.get("rounds", 20), 20)
    raw["simulation"] = kept | {"requests": 64}
    sweep = {k: v[:2] for k, v in list(raw.pop("sweep", {}).items())[:2]}
    sweep = {k: v for k, v in sweep.items() if not k.startswith("simulation")}
    return raw | ({"sweep": sweep} if sweep else {})


def experiments(folder: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], None]]:
    """Damaged experiments: `check`, then `run`, `plan` or `sample` what it accepts."""
    home = folder / "experiments"
    shutil.copytree(ROOT / "experiments", home, dirs_exist_ok=True)
    shipped = {path.stem: tomllib.loads(path.read_text()) for path in sorted(home.glob("*.toml"))}
    names = st.sampled_from(["e.toml", "naïve 文字.toml", "a: b.toml"])
    verbs = st.sampled_from([None, None, "run", "run", "run", "plan", *sorted(FORMATS)[:5]])

    def check(example: tuple[bytes, str, str | None]) -> None:
        text, name, verb = example
        path, out = home / name, folder / "run"
        path.write_bytes(text)
        if command(folder, "check", str(path)) or verb is None:
            return
        try:
            path.write_text(tomli_w.dumps(small(tomllib.loads(text.decode("utf-8-sig")))))
        except (TypeError, ValueError, OverflowError):
            return
        if command(folder, "check", str(path)):
            return
        if verb == "plan":
            command(folder, "plan", str(path), "--quiet")
        elif verb != "run":
            command(folder, "sample", str(path), "--as", verb, "--requests", "3")
        elif command(folder, "run", str(path), "--out", str(out), "--fresh") in (0, 3):
            command(folder, "run", str(path), "--out", str(out), "--json")
            finite(out / "result.json")

    return st.tuples(experiment_files(from_schema(schema()), shipped), names, verbs), check


def sections(folder: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], None]]:
    """Experiments with every section: `check`, then `run` of what it accepts."""
    examples = tomllib.loads((ROOT / "tools/site/examples.toml").read_text(encoding="utf-8"))
    path, out = folder / "e.toml", folder / "run"
    for kind, key in (("noise", "samples"), ("acceptance", "trace")):
        del examples[kind][key]  # damaged files are tried in other areas

    def check(text: bytes) -> None:
        path.write_bytes(text)
        if command(folder, "check", str(path)):
            return
        path.write_text(tomli_w.dumps(small(tomllib.loads(text.decode()), policies=True)))
        if command(folder, "run", str(path), "--out", str(out), "--fresh") in (0, 3):
            finite(out / "result.json")

    return whole_experiments(schema(), examples), check


def logs(folder: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], None]]:
    """Damaged logs: the readers; then `fit` of some, and `check` of the experiment it writes."""
    out = folder / "fitted.toml"
    samples = (ROOT / "experiments/logs/samples").iterdir()
    texts = {path.name: path.read_bytes() for path in samples}
    forms = st.none() | st.none() | st.sampled_from(sorted(FORMATS))
    fitted = st.integers(0, 24).map(lambda n: n == 0)

    def check(example: tuple[tuple[str, bytes], str | None, bool, bool]) -> None:
        (name, text), form, skip, fit = example
        path = folder / name
        path.write_bytes(text)
        read(path, form, skip)
        if fit:
            asked = ["--target", "30", "--depth", "4", "--candidates", "independent", "--quiet"]
            asked += ["--format", form] * bool(form) + ["--skip-bad"] * skip
            if command(folder, "fit", str(path), *asked, "-o", str(out)) == 0:
                assert command(folder, "check", str(out)) == 0

    return st.tuples(log_files(texts), forms, st.booleans(), fitted), check


def read(path: Path, form: str | None, skip: bool) -> None:
    """A log is refused with a place, or its numbers are possible ones."""
    try:
        with limited_time(30):
            log = read_logs([path], Answers(depth=4, rounds=100), format=form, skip_bad=skip)
    except InputError as error:
        placed = all(p.message and (p.file or p.key) for p in error.problems)
        if not placed:
            raise AssertionError("a log is refused without a place") from error
        return
    for numbers in (log.accept_length, log.hit, log.reached, log.rounds):
        assert (np.isfinite(numbers) & (np.asarray(numbers) >= 0)).all()
    assert (log.hit <= log.reached).all()


@st.composite
def damaged_runs(draw: Any, folder: Path) -> tuple[str, dict[str, bytes], bool]:
    """A run's name, one or two of its files with damage, whether its result.json is removed."""
    run = draw(st.sampled_from(sorted(RUNS)))
    names = ["result.json", "tallies.jsonl", "experiment.toml"]
    files = {}
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        text = (folder / run / name).read_bytes()
        if name == "result.json" and draw(st.integers(0, 3)):
            files[name] = json.dumps(draw(damaged_documents(json.loads(text)))).encode()
        else:
            damaged = damaged_lines if name == "tallies.jsonl" else damaged_bytes
            files[name] = draw(damaged(text))
    return run, files, draw(st.integers(0, 2)) == 0


def runs(folder: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], None]]:
    """Damaged run directories: `show`, `merge`, `export`, `compare`, a run that continues."""
    for name, text in RUNS.items():
        (folder / f"{name}.toml").write_text(text)
        arguments = ("run", str(folder / f"{name}.toml"), "--out", str(folder / name))
        assert command(folder, *arguments) == 0
    broken, merged = str(folder / "broken"), folder / "merged"
    verbs = st.sampled_from(
        [
            ("show", broken, "--json"),
            ("show", broken),
            ("run", "{run}.toml", "--out", broken),
            *(("merge", broken, str(folder / name), "-o", str(merged)) for name in RUNS),
            *(("export", broken, "--to", engine) for engine in EXPORTS),
            ("compare", broken, str(folder / "sweep")),
            ("compare", str(folder / "tiny"), broken),
        ]
    )

    def check(example: tuple[tuple[str, dict[str, bytes], bool], tuple[str, ...]]) -> None:
        (run, files, removed), verb = example
        for path in (Path(broken), merged):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(folder / run, broken)
        for name, text in files.items():
            Path(broken, name).write_bytes(text)
        if removed:
            Path(broken, "result.json").unlink()
        code = command(folder, *(part.replace("{run}", str(folder / run)) for part in verb))
        if verb[0] == "run" and code == 0:
            finite(Path(broken, "result.json"))

    return st.tuples(damaged_runs(folder), verbs), check


def trusting_reader() -> Any:
    """A log reader that takes every document as it is."""
    return mock.patch("mtpsim.logs.json_text._objects", lambda text: ([json.loads(text)], ""))


def careless_check() -> Any:
    """A reader of experiments that takes for granted that there is a target time."""

    def loads(text: str) -> Any:
        raw = tomllib.loads(text)
        return raw | {"latency": raw["latency"] | {"target": raw["latency"]["target"]}}

    names = mock.Mock(loads=loads, TOMLDecodeError=tomllib.TOMLDecodeError)
    return mock.patch("mtpsim.config.experiment.tomllib", names)


def nan_report() -> Any:
    """An explanation with a NaN in it."""
    return mock.patch("mtpsim.report.experiment_text.explain", return_value="speedup nan")


Area = Callable[[Path], tuple[st.SearchStrategy[Any], Callable[[Any], None]]]
AREAS: dict[str, tuple[Area, int, int]] = {  # examples of a small and of a full search
    "experiments": (experiments, 40, 1500),
    "sections": (sections, 0, 2000),  # policies compile kernels: in a full search only
    "logs": (logs, 100, 10_000),
    "runs": (runs, 10, 300),
}
CONTROLS: dict[str, tuple[Area, Callable[[], Any]]] = {
    "a reader that trusts its input": (logs, trusting_reader),
    "a check that takes a key for granted": (experiments, careless_check),
    "a report with a NaN": (experiments, nan_report),
}


class Search(NamedTuple):
    """Examples tried, the greatest memory (MB), and the smallest example of a fault, or ``""``."""

    tried: int
    peak: float
    fault: str


def search(area: Area, examples: int, number: int = 1, shrink: bool = True) -> Search:
    """Search for a fault; ``number`` is the seed."""
    tried, memory = 0, Memory()
    with tempfile.TemporaryDirectory(prefix="mtpsim-fuzz-") as home, few_pictures(), no_constants():
        strategy, check = area(Path(home))

        @seed(number)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, *[Phase.shrink] * shrink],
            report_multiple_bugs=False,
        )
        @given(strategy)
        def run(example: Any) -> None:
            nonlocal tried
            tried += 1
            with memory.limited():
                check(example)

        try:
            run()
        except Exception as error:
            return Search(tried, memory.peak, "".join(traceback.format_exception(error)))
    return Search(tried, memory.peak, "")


def no_constants() -> contextlib.AbstractContextManager[object]:
    """Hypothesis draws no constants of our modules: examples would change with any edit of them."""
    target = "hypothesis.internal.conjecture.providers._get_local_constants"
    return mock.patch(target, return_value=Constants())


def few_pictures(one_in: int = 10) -> contextlib.AbstractContextManager[object]:
    """One run in so many draws its report, which takes most of the time; 0: none."""
    drawn = Result.save_report

    def save_report(result: Result, experiment: Experiment, folder: Path) -> list[Path]:
        if one_in and zlib.crc32(repr(experiment.raw()).encode()) % one_in == 0:
            return drawn(result, experiment, folder)
        (folder / "report.html").touch()
        return [folder / "report.html"]

    return mock.patch.object(Result, "save_report", save_report)


def checks(smoke: bool) -> Iterator[Check]:
    """Each area, then the controls."""
    for name, (area, few, many) in AREAS.items():
        if few or not smoke:
            yield _check(name, [search(area, few if smoke else many)])
    for name, (area, plant) in CONTROLS.items():
        with plant():
            found = search(area, 100, shrink=False)
        result = "a fault" if found.fault else "no fault"
        yield Check(
            f"fuzz control, {name}",
            f"{name} is found",
            result,
            bool(found.fault),
            control=True,
            examples=found.tried,
        )


def search_on(seconds: float, number: int) -> Iterator[Check]:
    """All areas for ``seconds`` together, in batches with seeds that no other ``number`` has."""
    for name, (area, _, _) in AREAS.items():
        begun, found = time.monotonic(), []
        while not found or not found[-1].fault:
            found.append(search(area, BATCH, number * 10_000 + len(found)))
            if time.monotonic() - begun > seconds / len(AREAS):
                break
        yield _check(name, found)


def _check(name: str, found: list[Search]) -> Check:
    fault = next((one.fault for one in found if one.fault), "")
    return Check(
        f"fuzz {name}",
        f"{(AREAS[name][0].__doc__ or '').partition(':')[0].lower()}: no traceback, no hang, "
        f"less than {MOST_MEMORY / 1024:g} GB, no NaN, and a place in every refusal",
        fault[-2000:] or "no fault",
        not fault,
        examples=sum(one.tried for one in found),
        peak=max(one.peak for one in found),
    )
