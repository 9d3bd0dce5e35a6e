"""Engine logs in: any of the formats, known by its content, reduced to the richest it tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from mtpsim.common.errors import InputError, Problem, nearest
from mtpsim.logs import aiperf, llamacpp, neutral, sglang, trtllm, vllm
from mtpsim.logs.entry import Entry, EntryError, QuestionError
from mtpsim.logs.files import Start
from mtpsim.logs.format import Answers, Format, Place
from mtpsim.logs.reducer import KEPT, Log, Reducer, Rounds, Source

__all__ = ["FORMATS", "Answers", "Entry", "Log", "Rounds", "detect", "read_logs"]

# In this order they are asked whether a file is theirs: the particular before the general.
FORMATS: dict[str, Format] = {
    found.name: found
    for found in (
        *(aiperf.SUMMARY, aiperf.RECORDS, sglang.STEPS, sglang.REQUESTS, trtllm.REQUESTS),
        *(vllm.REQUESTS, vllm.BENCH, llamacpp.TIMINGS, neutral.ROUNDS, neutral.BARE),
        *(vllm.LOG, sglang.LOG, llamacpp.LOG, vllm.METRICS, neutral.CSV),
    )
}
# What engines print without drafts: whose it is, the option that lets them draft, what tells of it.
SILENT = {
    "Avg generation throughput": ("vLLM", "--speculative-config", "SpecDecoding metrics"),
    "vllm:": ("vLLM", "--speculative-config", "vllm:spec_decode_num_drafts"),
    "Decode batch": ("SGLang", "--speculative-algorithm", "accept len"),
}
STOP = 10  # problems told before reading is given up
Told = Callable[[str, float, int], None]


def detect(path: Path) -> Format:
    """The format of a file, by its content.

    Raises:
        InputError: it is none of them.

    """
    start = Start(path)
    for found in FORMATS.values():
        if found.claims(start):
            return found
    known = ", ".join(sorted(FORMATS))
    hint = neutral.hint(start) or _without_drafts(start)
    message = f"is of no known format{hint}; known are {known} (force one with --format)"
    raise InputError.of(message, file=path)


def _without_drafts(start: Start) -> str:
    """Say of a log of an engine that nothing at its beginning is about drafts; else nothing."""
    for mark, (engine, option, told) in SILENT.items():
        if mark in start.text and told not in start.text:
            return (
                f": it looks like {engine}'s, but nothing at its beginning tells of drafts; "
                f"{engine} writes `{told}` where it runs with {option}"
            )
    return ""


def forced(name: str) -> Format:
    """The format of a name.

    Raises:
        InputError: there is none.

    """
    if name not in FORMATS:
        message = f"{name!r} is none of {', '.join(sorted(FORMATS))}{nearest(name, FORMATS)}"
        raise InputError.of(message, key="--format")
    return FORMATS[name]


def read_logs(
    paths: Sequence[Path],
    answers: Answers | None = None,
    *,
    format: str | None = None,
    skip_bad: bool = False,
    keep: int = KEPT,
    told: Told = lambda label, share, entries: None,
) -> Log:
    """Read logs of one engine, and reduce them.

    Args:
        paths: files, plain or compressed (gzip, zstandard).
        answers: what the user said that the logs leave open.
        format: of all files; by default each one's own, by its content.
        skip_bad: go on after a broken entry, and count it.
        keep: most requests kept round by round.
        told: of progress: file, share of it that is read, entries.

    Raises:
        InputError: what is wrong, with file and line; or what has to be said first.

    """
    given = answers or Answers()
    formats = {path: forced(format) if format else detect(path) for path in paths}
    _check_engines(formats)
    reducer, sources = Reducer(given.depth, keep), []
    problems: list[Problem] = []
    for kind, group in groupby(paths, key=formats.__getitem__):
        sources += _read(kind, list(group), given, reducer, skip_bad, problems, told)
    if problems:
        raise InputError(problems)
    try:
        found = {kind.engine for kind in formats.values()}
        return reducer.finish(" and ".join(sorted(found)), sources)
    except QuestionError as question:
        raise InputError.of(str(question), file=paths[0]) from None
    except EntryError as nothing:
        message = f"{nothing}{_without_drafts(Start(paths[0]))}"
        raise InputError.of(message, file=paths[0]) from None


def _check_engines(formats: dict[Path, Format]) -> None:
    engines = {kind.engine: path for path, kind in formats.items() if kind is not sglang.STEPS}
    if len(engines) > 1:
        told = ", ".join(f"{path} is of {engine}" for engine, path in engines.items())
        message = f"logs of several engines can't be fitted together: {told}"
        raise InputError.of(message, key="LOG")


def _read(
    kind: Format,
    paths: list[Path],
    answers: Answers,
    reducer: Reducer,
    skip_bad: bool,
    problems: list[Problem],
    told: Told,
) -> list[Source]:
    """Read files of a format into ``reducer``, and what is wrong with them into ``problems``."""
    good, bad = dict.fromkeys(paths, 0), dict.fromkeys(paths, 0)
    place = Place(paths[0], None)

    def heard(path: Path, share: float) -> None:
        told(f"reading {path.name}", share, sum(good.values()))

    try:
        for place, entry in kind.read(paths, answers, heard):
            try:
                if isinstance(entry, EntryError):
                    raise entry
                reducer.add(entry)
                good[place.path] += 1
            except EntryError as broken:
                bad[place.path] += 1
                if not skip_bad:
                    problems.append(Problem(str(broken), file=str(place.path), line=place.line))
                if len(problems) == STOP:
                    more = "; these are the first problems, --skip-bad goes on without such entries"
                    problems[-1] = Problem(
                        str(broken) + more, file=str(place.path), line=place.line
                    )
                    raise InputError(problems) from None
    except QuestionError as question:
        where = place.path if place.line else paths[0]
        raise InputError.of(str(question), file=where, line=place.line) from None
    return [Source(path, kind.name, good[path], bad[path]) for path in paths]
