"""Mutation: would a test notice if a sign, a bound, an index or a constant were wrong?

    python verification/mutation.py                    # all of them: half an hour
    python verification/mutation.py --smoke            # a dozen that have to be killed; a control
    python verification/mutation.py exact --share 0.2  # of one module, a fifth of them

Each mutant is one change in one function. Tests are imported once; each mutant then gets a fork of
that process, where the code of the function is exchanged and the tests of its module run. Kernels
run as plain Python (NUMBA_DISABLE_JIT), against a twin that reads the same random words
(tests/test_by_word.py). Constants of modules, messages of errors and annotations stay as they are.
A mutant that fails a test, or takes five times as long, is killed. Survivors are printed;
those that can't be told from the right code have their reason in EQUIVALENT; a reason of what no
longer survives is an error. The page of the last full run is verification/mutation.md.
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
from verification.mutants import Mutant, file_of, mutants, unchanged  # noqa: E402

TALLIES, WORDS = "tests/test_tally_properties.py", "tests/test_by_word.py"
PATHS, NOISE = "tests/test_path.py", "tests/test_noise_words.py"
PROPERTIES = ("tests/test_formula_properties.py", "tests/test_chain_properties.py", TALLIES)
REPLAY = "tests/test_replay.py::test_replay_and_exact_are_what_a_loop_by_hand_finds"
ESTIMATE = "not (candidates or losses or sentence or verdicts or columns_of_a_depth)"  # of others
MODULES: dict[str, tuple[str, ...]] = {  # arguments for pytest
    "theory": (
        "tests/test_theory.py",
        *PROPERTIES,
        "-k",
        "test_theory or closed or break or conversions",
    ),
    "tally": (
        *PROPERTIES,
        "tests/test_estimate.py",
        "-k",
        "tallies or delta_is or spread_needs",
    ),
    "exact": ("tests/test_exact.py", REPLAY, *PROPERTIES, "-k", "not columns_of_a_depth"),
    "estimate": ("tests/test_estimate.py", *PROPERTIES, "-k", ESTIMATE),
    "kernels.rounds": (WORDS, "-k", "round or beyond"),
    "kernels.positions": (WORDS, "-k", "token or positions or beyond"),
    "kernels.path": (PATHS, WORDS),
    "kernels.philox": ("tests/test_kernels.py", WORDS, "-k", "philox or words or beyond"),
    "kernels.moments": (WORDS, "-k", "moments or derived"),
    "kernels.totals": (NOISE, "-k", "totals"),
    "kernels.noise": (NOISE, WORDS, "-k", "not totals and (noise or every_count)"),
}
LARGER = "scratch with more room than is read"
BEGINS = "a request begins with the pair 0: the old state is never 1"
# What can't be told from the right code: module, a part of `line | change`, why.
EQUIVALENT: tuple[tuple[str, str, str], ...] = (
    ("tally", "rows - mean -> rows + mean", "deviations add up to 0, so the other factor is free"),
    ("exact", "reshape(states, -1) | 1 -> 2", "NumPy takes any negative size for the unknown one"),
    ("estimate", "0 * edge -> 0 / edge", "edge is 1 everywhere"),
    (
        "kernels.rounds",
        "+ LANES -> at:at + LANES + 1",
        "the request after is written again, the same",
    ),
    ("kernels.rounds", "| 1 -> 2", LARGER),
    ("kernels.rounds", "np.zeros((2, n)) | 2 -> 3", LARGER),
    ("kernels.positions", "np.zeros((deep + 1, n), np.int32), | 1 -> 2", LARGER),
    ("kernels.positions", "np.zeros((deep + 1, deep, n), np.int32), | 1 -> 2", LARGER),
    ("kernels.positions", "np.zeros((deep + 1, n)), | 1 -> 2", LARGER),
    ("kernels.positions", "np.zeros((deep + 1, 2, n)) |", LARGER),
    (
        "kernels.positions",
        "+ LANES -> at:at + LANES + 1",
        "the request after is written again, the same",
    ),
    (
        "kernels.positions",
        "persistence != 0  # then",
        "noise of each depth's own comes out the same",
    ),
    ("kernels.positions", "upto.shape[1] + 1  # by outcomes", "outcomes double the rows"),
    (
        "kernels.positions",
        "if inside else np.int32(0)",
        "no lane has so many, or so few, rounds by then",
    ),
    ("kernels.positions", "range(last, 0, -1): | 0 -> -1", "the first is set anew right after"),
    ("kernels.positions", "tick == 0", "noise that does not last has no first tile"),
    ("kernels.positions", "memory[0], s) | 0 -> 1", "noise that does not last has no first tile"),
    (
        "kernels.path",
        "deep > 0: | 0 -> 1",
        "one draft alone goes the general way, to the same counts",
    ),
    ("kernels.path", "= upto[2, 0], upto[2, 0] |", BEGINS),
    ("kernels.path", "= cut[2, 0, draft], cut[2, 1, draft], cut[2", BEGINS),
    ("kernels.path", "row_0, row_1 = (2, 2) if first else (0, 1) | 2 -> 1", BEGINS),
    ("kernels.path", "into_0 = c10 if pair[lane] > 1", "into_0 is read where the new state is 0"),
    ("kernels.path", "into_1 = c11 if pair[lane] > 1", "into_1 is read where the new state is 1"),
    (
        "kernels.path",
        "word >> 23)]) | 23 -> 24",
        "a search that begins earlier ends at the same state",
    ),
    (
        "kernels.path",
        "(upto.shape[0] - 1) // states | 1 -> 0",
        "the rows are outcomes x states + 1",
    ),
    ("kernels.noise", "4294967296.0 | 4294967296.0 ->", "a word less: within the table's rounding"),
    ("kernels.noise", "2147483647.0", "the middle of the law: one word more or less"),
    ("kernels.noise", "z > 0 -> z >= 0", "the middle of the law: one word more or less"),
)
# (module, change): each of these has to be killed by SMOKE_TESTS.
SMOKE_TESTS = {
    "theory": ("tests/test_theory.py",),
    "tally": (f"{TALLIES}::test_tallies_of_parts_merge_to_the_whole_in_any_order",),
}
STATEMENT = "each mutant is killed by a test or explained; the code as it is survives"
METHOD = """\
One change in one function at a time (a sign, a comparison, a bound, an index, a constant by one, a
result dropped), and the tests of its module: how many changes does a test notice? Every mutant of
every module was tried. The kernels run as plain Python for it, held to a twin that reads the same
random words (`tests/test_by_word.py`); the tests that compile them and draw many thousand requests
are too slow to run once a mutant, and are not counted. `python verification/run.py mutation` makes
this page."""
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


def told(mutant: Mutant) -> str:
    """A mutant's line and its change."""
    line = file_of(mutant.module).read_text(encoding="utf-8").splitlines()[mutant.line - 1]
    return f"{line.strip()} | {mutant.change}"


def reason(mutant: Mutant) -> str:
    """Why a mutant can't be told from the right code, where that is known."""
    return next((why for part, why in _explained(mutant.module) if part in told(mutant)), "")


def _explained(module: str) -> list[tuple[str, str]]:
    return [(part, why) for name, part, why in EQUIVALENT if name == module]


def stale(module: str, left: list[Mutant]) -> list[str]:
    """Explanations of what no longer survives."""
    lines = [told(mutant) for mutant in left]
    return [part for part, _ in _explained(module) if not any(part in line for line in lines)]


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
    rows = []
    for module in MODULES:
        begun = time.perf_counter()
        done = _script(module)
        seconds = time.perf_counter() - begun
        rows.append(_last(done))
        yield Check(module, STATEMENT, rows[-1], not done.returncode, 0.0, seconds=seconds)
    PAGE.write_text(page(rows), encoding="utf-8")


def _script(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs in a process of its own, where nothing was compiled."""
    script = [sys.executable, __file__, *arguments]
    return subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)


def _last(done: subprocess.CompletedProcess[str]) -> str:
    said = done.stdout.strip().splitlines()[-1:] or [done.stderr[-200:]]
    return said[0].partition(": ")[2] or said[0]


def page(rows: list[str]) -> str:
    """The method, what became of each module's mutants, and what can't be told apart."""
    found = Table("module", "mutants", "killed", "explained", "left")
    for module, row in zip(MODULES, rows, strict=True):
        found.add(module, *(word for word in row.split() if word.isdecimal()))
    same = Table("module", "line and change", "why")
    for module, part, why in EQUIVALENT:
        same.add(module, f"`{part.replace('|', chr(92) + '|')}`", why)
    head = (__doc__ or "").partition("\n\n")
    parts = [head[0], METHOD, found.markdown(), "## What can't be told from the right code"]
    return "# Mutation\n\n" + "\n\n".join([*parts, same.markdown()]) + "\n"


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
    unexplained = 0
    for module in options.modules or MODULES:
        begun = time.perf_counter()
        tests = tuple(options.tests.split()) if options.tests else MODULES[module]
        some = again(module, options.again) if options.again else chosen(module, options.share)
        tried, left = run(some, tests)
        whole = options.share == 1 and not options.again
        for part in stale(module, left) if whole else []:
            print(f"{module}: explained, but killed or gone: {part}", flush=True)
            unexplained += 1
        explained = sum(bool(reason(mutant)) for mutant in left)
        took = time.perf_counter() - begun
        print(
            f"{module}: {tried} mutants, {tried - len(left)} killed, {explained} explained, "
            f"{len(left) - explained} left ({took:.0f} s)",
            flush=True,
        )
        unexplained += len(left) - explained
    return int(bool(unexplained))


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
