"""Commands run as a user would, in this process, and what is wrong with how they end."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mtpsim.cli.main import main as cli

CODES, KERNELS = (0, 2, 3), ("run", "fit", "plan", "sample")
CPU, WALL = 30, 300  # seconds that a command may take: its own, and in all
COMPILES = 10  # times as long where kernels may have to be compiled
NONSENSE = re.compile(r"(?<![\w\"'./])-?(?:nan|inf)(?![\w\"'/])", re.IGNORECASE)
PLACE = re.compile(r"^error: [^ ].*: .*\w")


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


def no_constants(finds: Finds, path: Path, shown: str) -> None:
    """A document has no NaN and no infinity, which JSON does not know."""

    def refuse(name: str) -> None:
        finds.add(f"{name} in {path.name}", shown)

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
