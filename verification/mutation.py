"""Mutation: would a test notice if a sign, a bound, an index or a constant were wrong?

    python verification/mutation.py                    # all of them: half an hour
    python verification/mutation.py --smoke            # a dozen that have to be killed; a control
    python verification/mutation.py exact --share 0.2  # of one module, a fifth of them

Each mutant is one change in one function. Tests are imported once; each mutant then gets a fork of
that process, where the code of the function is exchanged and the tests of its module run. Kernels
run as plain Python (NUMBA_DISABLE_JIT), against a twin that reads the same random words
(tests/kernels/test_by_word.py). Constants of modules, messages of errors and annotations stay as
they are.
A mutant that fails a test, or takes five times as long, is killed. Survivors are printed;
those that can't be told from the right code have their reason in verification/equivalent.py, which
says of how many; a reason of more or fewer is an error. A module that is run whole puts its row,
and today's reasons, on the page verification/mutation.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("mutation.md")
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from verification.check import Check, Table  # noqa: E402
from verification.equivalent import EQUIVALENT, explained, wrong  # noqa: E402
from verification.mutants import Mutant, mutants, unchanged  # noqa: E402

TALLIES, WORDS = "tests/stats/test_moments_properties.py", "tests/kernels/test_by_word.py"
PATHS, NOISE = "tests/kernels/test_acceptance.py", "tests/kernels/test_noise.py"
PROPERTIES = (
    "tests/formula/test_properties.py",
    "tests/acceptance/test_chain_properties.py",
    TALLIES,
)
REPLAY = "tests/acceptance/test_replay.py::test_replay_and_exact_are_what_a_loop_by_hand_finds"
ESTIMATE = "not (candidates or losses or sentence or verdicts or columns_of_a_depth)"  # of others
MODULES: dict[str, tuple[str, ...]] = {  # arguments for pytest
    "theory": (
        "tests/formula/test_closed_form.py",
        *PROPERTIES,
        "-k",
        "test_theory or closed or break or conversions",
    ),
    "tally": (
        *PROPERTIES,
        "tests/stats/test_estimators.py",
        "-k",
        "tallies or delta_is or spread_needs",
    ),
    "exact": (
        "tests/exact/test_chain_solver.py",
        REPLAY,
        *PROPERTIES,
        "-k",
        "not columns_of_a_depth",
    ),
    "estimate": ("tests/stats/test_estimators.py", *PROPERTIES, "-k", ESTIMATE),
    "kernels.rounds": (WORDS, "-k", "round or beyond"),
    "kernels.positions": (WORDS, "-k", "token or positions or beyond"),
    "kernels.path": (PATHS, WORDS),
    "kernels.philox": ("tests/kernels/test_kernels.py", WORDS, "-k", "philox or words or beyond"),
    "kernels.moments": (WORDS, "-k", "moments or derived"),
    "kernels.totals": (NOISE, "-k", "totals"),
    "kernels.noise": (NOISE, WORDS, "-k", "not totals and (noise or every_count)"),
}
# (module, change): each of these has to be killed by SMOKE_TESTS.
SMOKE_TESTS = {
    "theory": ("tests/formula/test_closed_form.py",),
    "tally": (f"{TALLIES}::test_tallies_of_parts_merge_to_the_whole_in_any_order",),
}
HEAD = ("module", "mutants", "killed", "explained", "left")
STATEMENT = "each mutant is killed by a test or explained; the code as it is survives"
METHOD = """\
One change in one function at a time (a sign, a comparison, a bound, an index, a constant by one, a
result dropped), and the tests of its module: how many changes does a test notice? A row is of all
mutants of a module. The kernels run as plain Python for it, held to a twin that reads the same
random words (`tests/kernels/test_by_word.py`) and to their definitions (`test_path.py`,
`test_noise_words.py`); the tests that compile them and draw many thousand requests are too slow to
run once a mutant, and are not counted. `python verification/mutation.py` makes this page; of one
module, its row."""
SMOKE: tuple[tuple[str, str], ...] = (
    ("theory", "before > 0 -> before >= 0"),
    ("theory", "1 + np.cumsum(survival(conditional)) -> 1 - np.cumsum(survival(conditional))"),
    ("theory", "rates > before -> rates >= before"),
    ("theory", "speedups[1:] / speedups[:-1] -> speedups[1:] * speedups[:-1]"),
    ("theory", "needed > 0 -> needed >= 0"),
    ("theory", "round_time[1:] / round_time[:-1] - 1 -> round_time[1:] / round_time[:-1] + 1"),
    ("theory", "return int(np.argmax(speedups)) -> return None"),
    ("tally", "other.mean - self.mean -> other.mean + self.mean"),
    ("tally", "self.count + other.count -> self.count - other.count"),
    ("tally", "other.count / count -> other.count * count"),
    ("tally", "self.count - 1 -> self.count + 1"),
    ("tally", "self.count * other.count / count -> self.count * other.count * count"),
)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield part
            yield from _codes(part)


def _known_functions(part: ModuleType | type, module: str) -> Iterator[FunctionType]:
    for value in vars(part).values():
        value = getattr(value, "fget", getattr(value, "__func__", value))
        if isinstance(value, FunctionType) and value.__module__ == module:
            yield value
        elif inspect.isclass(value) and value.__module__ == module and value is not part:
            yield from _known_functions(value, module)


def exchange(mutant: Mutant) -> None:
    """Give the functions of a module, wherever they were imported to, the mutant's code."""
    name = f"mtpsim.{mutant.module}"
    new = {code.co_qualname: code for code in _codes(mutant.code)}
    for function in _known_functions(importlib.import_module(name), name):
        if function.__code__.co_qualname in new:
            function.__code__ = new[function.__code__.co_qualname]


class Runner:
    """Tests of a module, imported once and seen to pass."""

    def __init__(self, tests: tuple[str, ...]) -> None:
        self.arguments = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
        begun = time.perf_counter()
        if self._play():
            raise SystemExit(f"{' '.join(tests)} fail before anything is changed")
        self.limit = 5 * (time.perf_counter() - begun) + 10

    def _play(self) -> int:
        import pytest

        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return int(pytest.main(self.arguments))

    def survives(self, mutant: Mutant) -> bool:
        """Whether all tests pass with the mutant."""
        child = os.fork()
        if not child:
            code = 1
            try:
                quiet = os.open(os.devnull, os.O_WRONLY)
                os.dup2(quiet, 1)
                os.dup2(quiet, 2)
                exchange(mutant)
                code = self._play()
            finally:
                os._exit(int(bool(code)))
        return _ended(child, time.perf_counter() + self.limit) == 0


def _ended(child: int, end: float) -> int:
    """Exit status of a child process; it is killed at ``end``."""
    while time.perf_counter() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def chosen(module: str, share: float) -> list[Mutant]:
    """A share of the mutants of a module, drawn by a fixed seed."""
    known = list(mutants(module))
    some = random.Random(module).sample(range(len(known)), round(share * len(known)))
    return [known[number] for number in sorted(some)]


def again(module: str, report: str) -> list[Mutant]:
    """The mutants that an earlier report calls survivors."""
    told = [line.rstrip() for line in Path(report).read_text(encoding="utf-8").splitlines()]
    return [m for m in mutants(module) if f"{module}:{m.line}: {m.change}" in told]


def run(some: list[Mutant], tests: tuple[str, ...]) -> tuple[int, list[Mutant]]:
    """How many mutants were tried, and the survivors."""
    runner, left = Runner(tests), []
    module = some[0].module
    for number, mutant in enumerate(some, 1):
        if runner.survives(mutant):
            left.append(mutant)
            print(f"{module}:{mutant.line}: {mutant.change}", flush=True)
        if number % 50 == 0:
            print(f"{module}: {number} of {len(some)}", file=sys.stderr, flush=True)
    return len(some), left


def prepare() -> None:
    """Nothing is compiled, and linear algebra makes no threads: a fork would lose them."""
    if "numba" in sys.modules or "numpy" in sys.modules:
        raise SystemExit("mutation runs in a process of its own")
    for name, value in (("NUMBA_DISABLE_JIT", "1"), ("OPENBLAS_NUM_THREADS", "1")):
        os.environ[name] = value
    os.environ.pop("PYTEST_ADDOPTS", None)  # with -n, workers would test the code as it is
    sys.path.append(str(ROOT / "tests"))


def checks(smoke: bool) -> Iterator[Check]:
    """A control that must survive and mutants that must be killed; in full, every module."""
    if smoke:
        done = _script("--smoke")
        yield Check("mutation", STATEMENT, _last(done), not done.returncode, 0.0)
        return
    for module in MODULES:
        begun = time.perf_counter()
        done = _script(module)
        seconds = time.perf_counter() - begun
        yield Check(module, STATEMENT, _last(done), not done.returncode, 0.0, seconds=seconds)


def _script(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs in a process of its own, where nothing was compiled."""
    script = [sys.executable, __file__, *arguments]
    return subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)


def _last(done: subprocess.CompletedProcess[str]) -> str:
    said = done.stdout.strip().splitlines()[-1:] or [done.stderr[-200:]]
    return said[0].partition(": ")[2] or said[0]


def kept() -> dict[str, tuple[str, ...]]:
    """Rows of the page as it is, by module."""
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    told = [tuple(line.strip("| ").split(" | ")) for line in lines if line.startswith("| ")]
    return {row[0]: row for row in told if row[0] in MODULES and len(row) == len(HEAD)}


def page(rows: dict[str, tuple[str, ...]]) -> str:
    """The method, what became of each module's mutants, and what can't be told apart."""
    found, same = Table(*HEAD), Table("module", "line", "code", "change", "mutants", "why")
    for module in MODULES:
        found.add(*rows.get(module, (module, *("not run",) * 4)))
    for entry in EQUIVALENT:
        numbers = ", ".join(str(number) for number in entry.lines)
        cells = numbers, f"`{entry.code}`", f"`{entry.change}`", str(entry.times), entry.why
        same.add(entry.module, *cells)
    head = (__doc__ or "").partition("\n\n")[0]
    parts = [head, METHOD, found.markdown(), "## What can't be told from the right code"]
    return "# Mutation\n\n" + "\n\n".join([*parts, same.markdown()]) + "\n"


def finish(module: str, tried: int, left: list[Mutant], whole: bool) -> tuple[str, bool]:
    """A sentence on a module's mutants, and whether all is well; a whole run goes on the page."""
    errors = wrong(module, left) if whole else []
    for error in errors:
        print(f"{module}: {error}", flush=True)
    known = sum(map(explained, left))
    counts = tried, tried - len(left), known, len(left) - known
    if whole:
        rows = kept() | {module: (module, *map(str, counts))}
        PAGE.write_text(page(rows), encoding="utf-8")
    told = "{} mutants, {} killed, {} explained, {} left".format(*counts)
    return told + (f", {len(errors)} wrong explanations" if errors else ""), not (
        errors or counts[-1]
    )


def smoke_run() -> int:
    """A dozen fixed mutants, and the control."""
    killed, wrong = 0, []
    for module, tests in SMOKE_TESTS.items():
        runner = Runner(tests)
        known = {mutant.change: mutant for mutant in mutants(module)}
        for change in (change for name, change in SMOKE if name == module):
            if change not in known:
                wrong.append(f"no such mutant any more: {change}")
            elif runner.survives(known[change]):
                wrong.append(f"survives: {change}")
            else:
                killed += 1
        if not runner.survives(unchanged(module)):
            wrong.append(f"{module} as it is fails")
    told = "; ".join(wrong) or "the code as it is survives"
    print(f"{killed} of {len(SMOKE)} killed; {told}")
    return int(bool(wrong))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--again", metavar="REPORT", help="only the survivors of an earlier run")
    parser.add_argument("--tests", help="arguments for pytest instead of the module's own")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    prepare()
    if options.smoke:
        return smoke_run()
    well = True
    for module in options.modules or MODULES:
        begun = time.perf_counter()
        tests = tuple(options.tests.split()) if options.tests else MODULES[module]
        some = again(module, options.again) if options.again else chosen(module, options.share)
        tried, left = run(some, tests)
        whole = options.share == 1 and not options.again and not options.tests
        told, good = finish(module, tried, left, whole)
        print(f"{module}: {told} ({time.perf_counter() - begun:.0f} s)", flush=True)
        well &= good
    return int(not well)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
