"""Read engine logs of any supported format, and reduce them to arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from mtpsim.common.errors import InputError, Problem
from mtpsim.common.renamed import PROGRESS, renamed_keyword
from mtpsim.logs import aiperf, llamacpp, neutral, sglang, trtllm, vllm
from mtpsim.logs.entry import Entry, EntryError, MissingInformationError
from mtpsim.logs.files import Start
from mtpsim.logs.format import Answers, Format, Place
from mtpsim.logs.reducer import MAX_KEPT_REQUESTS, Log, LogFile, Reducer, Rounds

__all__ = ["FORMATS", "Answers", "Entry", "Log", "Rounds", "detect", "read_logs"]

# A file is of the first format that claims it: specific formats come before general ones.
FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in [
        aiperf.SUMMARY,
        aiperf.RECORDS,
        sglang.STEPS,
        sglang.REQUESTS,
        trtllm.REQUESTS,
        vllm.REQUESTS,
        vllm.BENCH,
        llamacpp.TIMINGS,
        neutral.ROUNDS,
        neutral.BARE,
        vllm.LOG,
        sglang.LOG,
        llamacpp.LOG,
        vllm.METRICS,
        neutral.CSV,
    ]
}
# Text of logs without speculative decoding: the engine, its option, and the text with it.
WITHOUT_DRAFTS = {
    "Avg generation throughput": ("vLLM", "--speculative-config", "SpecDecoding metrics"),
    "vllm:": ("vLLM", "--speculative-config", "vllm:spec_decode_num_drafts"),
    "Decode batch": ("SGLang", "--speculative-algorithm", "accept len"),
}
MAX_PROBLEMS = 10  # after which reading stops
ProgressCallback = Callable[[str, float, int], None]
"""Called with a label, the share that is done, and the number of entries."""


def detect(path: Path) -> Format:
    """Return the format of a file, detected from its content.

    Args:
        path (Path): file, plain or compressed.

    Raises:
        InputError: the file can't be read, or its format is unknown.
    """
    start = Start(path)
    for found in FORMATS.values():
        if found.claims(start):
            return found
    hint = neutral.hint(start) or _without_drafts(start)
    message = f"unknown log format{hint}; --format selects one"
    raise InputError.of(message, file=path, allowed=sorted(FORMATS))


def _without_drafts(start: Start) -> str:
    """Return a hint if the log looks like that of an engine without speculative decoding."""
    for mark, (engine, option, text) in WITHOUT_DRAFTS.items():
        if mark in start.text and text not in start.text:
            return (
                f": it looks like a {engine} log without speculative decoding; {engine} writes "
                f"`{text}` if it runs with {option}"
            )
    return ""


def format_named(name: str) -> Format:
    """Return the format of a name.

    Args:
        name: value of ``--format``.

    Raises:
        InputError: the name is unknown.
    """
    if name not in FORMATS:
        message = f"unknown format {name!r}"
        raise InputError.of(message, key="--format", given=name, allowed=sorted(FORMATS))
    return FORMATS[name]


@renamed_keyword(PROGRESS, "on_progress")
def read_logs(
    paths: Sequence[Path],
    answers: Answers | None = None,
    *,
    format: str | None = None,
    skip_bad: bool = False,
    keep: int = MAX_KEPT_REQUESTS,
    on_progress: ProgressCallback = lambda label, share, entries: None,
) -> Log:
    """Read log files of one engine.

    Args:
        paths (Sequence[Path]): log files, plain or compressed (gzip, zstandard).
        answers (Answers | None): facts that the logs may not state, such as the depth; None: none
            are given.
        format (str | None): name of the format of all files; None: each file's format is detected.
        skip_bad (bool): whether to skip malformed entries, and count them, instead of raising.
        keep (int): largest number of requests whose rounds are kept in order.
        on_progress (ProgressCallback): called with a label, the share of the file that is read (0
            to 1) and the number of entries so far.

    Returns:
        Counts and times, a row per request, log window or run total.

    Raises:
        InputError: a file can't be read, an entry is malformed (with file and line), the files are
            of several engines, or information is missing that ``answers`` can give.

    Examples:
        >>> from pathlib import Path
        >>> import mtpsim
        >>> log = mtpsim.read_logs([Path("experiments/logs/samples/vllm-requests.jsonl")])
        >>> log.engine, log.count, log.depth
        ('vLLM', 6, 4)
        >>> round(log.accept_length, 3)
        2.829
    """
    facts = answers or Answers()
    formats = {path: format_named(format) if format else detect(path) for path in paths}
    engines = {kind.engine: path for path, kind in formats.items() if kind is not sglang.STEPS}
    if len(engines) > 1:
        listed = ", ".join(f"{path} is of {engine}" for engine, path in engines.items())
        message = f"logs of several engines can't be fitted together: {listed}"
        raise InputError.of(message, key="LOG")
    reading = _Reading(facts, Reducer(facts.depth, keep), skip_bad, on_progress)
    files: list[LogFile] = []
    for kind, group in groupby(paths, key=formats.__getitem__):
        files += reading.read(kind, list(group))
    if reading.problems:
        raise InputError(reading.problems)
    try:
        found = {kind.engine for kind in formats.values()}
        return reading.reducer.finish(" and ".join(sorted(found)), files)
    except MissingInformationError as error:
        raise _missing(error, paths[0]) from None
    except EntryError as error:
        message = f"{error}{_without_drafts(Start(paths[0]))}"
        raise InputError.of(message, file=paths[0]) from None


def _missing(error: MissingInformationError, path: Path, line: int | None = None) -> InputError:
    problem = Problem(str(error), file=str(path), key=error.option, line=line, kind="missing")
    return InputError([problem])


@dataclass
class _Reading:
    """Reads files into a reducer, and collects problems."""

    answers: Answers
    reducer: Reducer
    skip_bad: bool
    on_progress: ProgressCallback
    problems: list[Problem] = field(default_factory=list)

    def read(self, kind: Format, paths: list[Path]) -> list[LogFile]:
        """Read files of one format.

        Raises:
            InputError: information is missing, or there are ``MAX_PROBLEMS`` malformed entries.
        """
        good, bad = dict.fromkeys(paths, 0), dict.fromkeys(paths, 0)
        place = Place(paths[0], None)

        def report(path: Path, share: float) -> None:
            self.on_progress(f"reading {path.name}", share, sum(good.values()))

        try:
            for place, entry in kind.read(paths, self.answers, report):
                try:
                    if isinstance(entry, EntryError):
                        raise entry
                    self.reducer.add(entry)
                    good[place.path] += 1
                except EntryError as error:
                    bad[place.path] += 1
                    if not self.skip_bad:
                        self._add_problem(place, str(error))
        except MissingInformationError as error:
            where = place.path if place.line else paths[0]
            raise _missing(error, where, place.line) from None
        return [LogFile(str(path), kind.name, good[path], bad[path]) for path in paths]

    def _add_problem(self, place: Place, message: str) -> None:
        if len(self.problems) == MAX_PROBLEMS - 1:
            message += "; these are the first problems, --skip-bad skips such entries"
        self.problems.append(Problem(message, file=str(place.path), line=place.line))
        if len(self.problems) == MAX_PROBLEMS:
            raise InputError(self.problems)
