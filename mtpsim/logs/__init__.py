"""Read engine logs of any supported format, and reduce them to arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from mtpsim.common.errors import InputError, Problem
from mtpsim.common.renamed import PROGRESS, renamed_keyword
from mtpsim.common.text import counted
from mtpsim.logs import aiperf, console, llamacpp, local, neutral, sglang, tables, trtllm, vllm
from mtpsim.logs.entry import Entry, EntryError, IncompleteError, MissingInformationError
from mtpsim.logs.files import Batch, batches, copied_pipes
from mtpsim.logs.format import Answers, Format, Place, UnmatchedError
from mtpsim.logs.json_text import documents_in
from mtpsim.logs.reducer import MAX_KEPT_REQUESTS, Log, LogFile, Reducer
from mtpsim.logs.rounds import Rounds
from mtpsim.logs.text_lines import line_starts, marked_lines

__all__ = ["FORMATS", "Answers", "Entry", "Log", "Rounds", "detect", "read_logs"]

# A file is of the first format that claims it: specific formats come before general ones.
FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in [
        aiperf.SUMMARY,
        aiperf.RECORDS,
        sglang.STEPS,
        sglang.REQUESTS,
        sglang.SWEEP,
        sglang.SPECFORGE,
        trtllm.REQUESTS,
        trtllm.STATS,
        vllm.REQUESTS,
        vllm.BENCH,
        llamacpp.TIMINGS,
        local.LMSTUDIO,
        neutral.ROUNDS,
        neutral.BARE,
        neutral.COUNTS,
        neutral.HISTOGRAM,
        sglang.BENCH,
        neutral.ONE_NUMBER,
        vllm.LOG,
        sglang.LOG,
        llamacpp.LOG,
        local.ATOM,
        local.OMLX,
        sglang.FINISHED,
        vllm.METRICS,
        llamacpp.METRICS,
        console.VLLM_BENCH,
        console.VLLM_OFFLINE,
        console.SGLANG_BENCH,
        console.EXAMPLE,
        console.MTP_BENCH,
        console.SPEC_BENCH,
        neutral.CSV,
        tables.TABLE,
    ]
}
# Text of logs without speculative decoding: the engine, its option, and the text with it.
WITHOUT_DRAFTS = {
    "Avg generation throughput": ("vLLM", "--speculative-config", "SpecDecoding metrics"),
    "vllm:": ("vLLM", "--speculative-config", "vllm:spec_decode_num_drafts"),
    "Decode batch": ("SGLang", "--speculative-algorithm", "accept len"),
    "llamacpp:": ("llama.cpp", "--spec-type", "llamacpp:spec_decode_num_drafts"),
    "print_timing": ("llama.cpp", "--spec-type", "draft acceptance"),
}
MAX_PROBLEMS = 10  # after which reading stops
MAX_SHOWN = 3  # entries set aside that are shown
MANY = 100  # lines with marks, after which no hint is looked for
ProgressCallback = Callable[[str, float, int], None]
"""Called with a label, the share that is done, and the number of entries."""


HINTS = (*WITHOUT_DRAFTS, "# HELP ", "# TYPE ")  # of engines without speculative decoding


@dataclass
class _Survey:
    """What a file holds, found in one pass.

    Attributes:
        document: format of its first JSON entry; None if it has none.
        marked: number of lines with a mark, by name of the format of text.
        hint: format of JSON that it resembles, or the engine that it is of.
        empty: whether it has no text.
    """

    document: Format | None = None
    marked: Counter[str] = field(default_factory=Counter)
    hint: str = ""
    empty: bool = True

    def text_format(self) -> Format | None:
        """Return the format of text with the most lines; the first one of several."""
        found = [FORMATS[name] for name in FORMATS if self.marked[name]]
        return max(found, key=lambda one: self.marked[one.name], default=None)

    def others(self, chosen: Format) -> str:
        """Return a note on lines of other engines, or an empty string."""
        found = [
            f"{counted(n, 'line')} of {FORMATS[name].engine} ({name})"
            for name, n in self.marked.items()
            if FORMATS[name].engine != chosen.engine
        ]
        if not found:
            return ""
        return f"{' and '.join(found)} not read: --format NAME selects another engine of this log"


def _survey(path: Path) -> _Survey:
    """Return what a file holds; reading ends at the first JSON entry."""
    found = _Survey()
    texts = [(one.name, one.marks) for one in FORMATS.values() if one.marks]
    documents = [one for one in FORMATS.values() if one.matches]

    def marked() -> Iterator[Batch]:
        for number, text in batches(path):
            found.empty = found.empty and not text.strip()
            for name, marks in texts:
                if starts := line_starts(text, marks):
                    found.marked[name] += len(starts)
            if not found.marked:  # a terminal may have cut the marks
                joined = text.replace("\n", "")
                found.marked.update(n for n, marks in texts if any(m in joined for m in marks))
            if not found.hint and found.marked.total() < MANY:
                hints = (line for _, line in marked_lines([(number, text)], HINTS))
                found.hint = next(filter(None, map(_without_drafts, hints)), "")
            yield number, text

    for _, document in documents_in(marked()):
        if isinstance(document, EntryError):
            found.hint = found.hint or f": its JSON {document}"
            continue
        for one in documents:
            if one.has_entry(document):
                found.document = one
                return found
        found.hint = found.hint or neutral.similar(document)
    return found


def _detect(path: Path) -> tuple[Format, str]:
    """Return the format of a file, and a note on lines of other engines in it."""
    with copied_pipes([path]):
        found = _survey(path)
        if found.empty:
            raise InputError.of("is empty", file=path)
        if found.document:
            return found.document, ""
        text = found.text_format()
        if text:
            return text, found.others(text)
        if neutral.is_csv(path):
            return neutral.CSV, ""
        if tables.is_table(path):
            return tables.TABLE, ""
        hint = neutral.csv_hint(path) or found.hint
    raise InputError.of(
        f"unknown log format{hint}; --format NAME selects one of {len(FORMATS)} (docs/logs.md). "
        f"The numbers of any engine can be given as a line of JSON: {neutral.COPY}",
        file=path,
    )


def detect(path: Path) -> Format:
    """Return the format of a file, detected from its content.

    Args:
        path (Path): file, plain or compressed; ``-`` is stdin.

    Raises:
        InputError: the file can't be read, or its format is unknown.
    """
    return _detect(path)[0]


def _without_drafts(line: str) -> str:
    """Return a hint if a line is of an engine without speculative decoding."""
    for mark, (engine, option, text) in WITHOUT_DRAFTS.items():
        if mark in line and text not in line:
            return (
                f": it looks like a {engine} log without speculative decoding; {engine} writes "
                f"`{text}` if it runs with {option}"
            )
    if line.startswith(("# HELP ", "# TYPE ")):
        name = line.split()[2:3] or ["?"]
        return f": Prometheus text, first metric {name[0]}, without counters of drafts"
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
    paths: Path | str | Sequence[Path | str],
    answers: Answers | None = None,
    *,
    format: str | None = None,
    skip_bad: bool = False,
    keep: int = MAX_KEPT_REQUESTS,
    on_progress: ProgressCallback = lambda label, share, entries: None,
) -> Log:
    """Read log files of one engine.

    Args:
        paths (Path | str | Sequence[Path | str]): one log file or several, plain or compressed
            (gzip, zstandard); ``-`` is stdin.
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
        >>> import mtpsim
        >>> log = mtpsim.read_logs("experiments/logs/samples/vllm-requests.jsonl")
        >>> log.engine, log.count, log.depth
        ('vLLM', 6, 4)
        >>> round(log.accept_length, 3)
        2.829
    """
    facts = answers or Answers()
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    with copied_pipes(files):
        return _read(
            files, facts, format, _Reading(facts, Reducer(facts.depth, keep), skip_bad, on_progress)
        )


def _read(paths: list[Path], facts: Answers, format: str | None, reading: _Reading) -> Log:
    notes = dict.fromkeys(paths, "")
    formats = {}
    for path in paths:
        formats[path], notes[path] = (format_named(format), "") if format else _detect(path)
    engines = {kind.engine: path for path, kind in formats.items() if kind is not sglang.STEPS}
    if len(engines) > 1:
        listed = ", ".join(f"{path} is of {engine}" for engine, path in engines.items())
        message = f"logs of several engines can't be fitted together: {listed}"
        raise InputError.of(message, key="LOG")
    files: list[LogFile] = []
    for kind, group in groupby(paths, key=formats.__getitem__):
        files += reading.read(kind, list(group))
    if reading.problems:
        raise InputError(reading.problems)
    reading.reducer.notes.update(
        {f"{path}: {note}": None for path, note in notes.items() if note} | reading.set_aside()
    )
    try:
        found = {kind.engine for kind in formats.values()}
        return reading.reducer.finish(" and ".join(sorted(found)), files)
    except MissingInformationError as error:
        raise _missing(error, paths[0]) from None
    except EntryError as error:
        why = f" ({reading.shown[0]})" if reading.shown else _survey(paths[0]).hint
        raise InputError.of(f"{error}{why}", file=paths[0]) from None


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
    shown: list[str] = field(default_factory=list)
    incomplete: int = 0

    def set_aside(self) -> dict[str, None]:
        """Return a note on the entries that had nothing to count."""
        if not self.incomplete:
            return {}
        entries = counted(self.incomplete, "entry", "were")
        return {f"{entries} set aside: {'; '.join(self.shown)}": None}

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
                    self._set_aside(place, error)
        except MissingInformationError as error:
            where = place.path if place.line else paths[0]
            raise _missing(error, where, place.line) from None
        return [LogFile(str(path), kind.name, good[path], bad[path]) for path in paths]

    def _set_aside(self, place: Place, error: EntryError) -> None:
        """Note an entry that has nothing to count; report one that is inconsistent."""
        other = error.document if isinstance(error, UnmatchedError) else None
        engine = next((one.engine for one in FORMATS.values() if one.has_entry(other)), "")
        if engine:
            self._add_problem(place, f"{error}: it is of {engine}")
        elif isinstance(error, IncompleteError) or self.skip_bad:
            self.incomplete += 1
            if len(self.shown) < MAX_SHOWN:
                line = "" if place.line is None else f", line {place.line}"
                self.shown.append(f"{place.path.name}{line}: {error}")
        else:
            self._add_problem(place, str(error))

    def _add_problem(self, place: Place, message: str) -> None:
        if len(self.problems) == MAX_PROBLEMS - 1:
            message += "; these are the first problems, --skip-bad skips such entries"
        self.problems.append(Problem(message, file=str(place.path), line=place.line))
        if len(self.problems) == MAX_PROBLEMS:
            raise InputError(self.problems)
