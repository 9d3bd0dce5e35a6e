"""Print the report of a fit on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mtpsim.common.text import as_sentence, counted
from mtpsim.fit.by_depth import AtDepth
from mtpsim.fit.chain_report import ChainReport
from mtpsim.fit.document import CandidateReport, FitReport
from mtpsim.fit.rates import Interval
from mtpsim.fit.replay_report import ReplayReport
from mtpsim.report.formatting import MISSING, fixed
from mtpsim.report.tables.terminal import (
    MARK,
    Column,
    Row,
    TextTable,
    console_on,
    print_table,
    print_warnings,
    say,
)

if TYPE_CHECKING:
    from rich.console import Console

GRANULARITY = {"rounds": "per round", "positions": "per position"}
CLOSED_FORM_COLUMNS = {
    "conditional": "closed\nform",
    "survival": "survival as\nconditional",
    "pooled": "pooled\nA / D",
    "first": "p1\nonly",
}
ROUNDING = 1e-9  # relative, of means over draws
SAME_LENGTH = 1e-3  # relative difference of accept lengths that is not worth a mention


def print_fit(report: FitReport, to_stdout: bool = True) -> None:
    """Print the report of a fit to stdout, or else to stderr."""
    console = console_on(sys.stdout if to_stdout else sys.stderr)
    print_warnings(console, report.warnings)
    if report.speed is not None and not report.speed.agrees:
        say(console, report.speed.sentence(), "bold")
        console.print()
    say(console, log_sentence(report))
    console.print()
    if report.replay:
        _print_replay(report.replay, console)
        console.print()
    if report.lengths:
        _print_caps(report, console)
        console.print()
    _print_rates(report, console)
    if report.candidates:
        console.print()
        _print_candidates(report, console)
        console.print()
        if report.held_out:
            say(console, "behind: log-likelihood per held-out request, ± standard error")
        say(
            console,
            f"length: expected in requests of {counted(report.tokens, 'token')}, which cut off "
            "their last round; the log's accept length counts rounds in full",
        )
        say(console, selection_sentence(report), "bold")
        if text := indistinguishable_sentence(report):
            say(console, text)
    if report.lengths:
        say(console, report.lengths.sentence(), "bold")
    for text in clock_sentences(report):
        say(console, text)
    if report.held_out:
        console.print()
        _print_held_out(report, console)
    if report.by_depth and not report.lengths:
        console.print()
        _print_depths(report.by_depth, console)
    if report.other_depths:
        console.print()
        _print_chain(report.other_depths, console)
    for text in [*times_sentences(report), *report.notes]:
        console.print()
        say(console, as_sentence(text))


def log_sentence(report: FitReport) -> str:
    """Return what was read."""
    log, length = report.log, report.accept_length
    skipped = sum(file.skipped for file in log.files)
    names = ", ".join(sorted({file.format for file in log.files}))
    text = (
        f"{log.engine} ({names}): {counted(log.entries, log.unit)}, "
        f"{counted(log.rounds, 'round')} of up to {counted(log.depth, 'draft')}; granularity: "
        f"{GRANULARITY.get(log.level, log.level)}"
    )
    if skipped:
        text += f"; {counted(skipped, 'entry', 'were')} set aside"
    if report.by_depth and not report.lengths:
        return f"{text}."
    return f"{text}. Accept length {length.mean:.4f} [{length.low:.4f}, {length.high:.4f}]."


def _print_rates(report: FitReport, console: Console) -> None:
    rates, names = report.rates, ("draft", "P(accepted | reached)", "interval")
    each = zip(rates.mean, rates.low, rates.high, rates.tried, strict=True)
    rows = [
        [str(j), f"{mean:.4f}" if n else MISSING, f"[{low:.4f}, {high:.4f}]", f"{n:,.0f}"]
        for j, (mean, low, high, n) in enumerate(each, 1)
    ]
    print_table(console, TextTable.of([*names, "rounds that reached it"], rows))
    if rates.one_rate and len(rows) > 1:
        say(console, "Granularity totals: one rate was measured, and is used for every draft.")


def _print_candidates(report: FitReport, console: Console) -> None:
    scored = report.candidates[0].held_out is not None
    numbers = "parameters", "behind\nthe best" if scored else "BIC"
    columns = [Column("", left=True), Column("candidate", left=True), *map(Column, numbers)]
    columns += [Column(f"length at\ndepth {report.log.depth}"), Column("misfit", left=True)]
    rows = []
    for entry in report.candidates:
        behind = f"{fixed(entry.behind, 2)} ±{fixed(entry.error, 2)}"
        cells = [
            MARK if entry.chosen else "=" if entry.as_good else "",
            entry.name,
            str(entry.parameters),
            behind if scored else fixed(entry.bic, 1),
            f"{entry.accept_length[-1]:.3f}",
            ", ".join(entry.failed_kinds),
        ]
        rows.append(Row(cells, "best" if entry.chosen else ""))
    print_table(console, TextTable(columns, rows))


def _chosen(report: FitReport) -> CandidateReport:
    found = report.chosen_candidate
    assert found is not None
    return found


def selection_sentence(report: FitReport) -> str:
    """Return which model is selected, why, and what of the log it does not reproduce."""
    chosen = _chosen(report)
    why = (
        "simplest model within 2 SE of the best held-out log-likelihood"
        if chosen.held_out is not None
        else "least BIC; too few requests to hold some out"
    )
    misfit = ", ".join(chosen.failed_kinds)
    text = f"Selected: {chosen.name} ({why})."
    return f"{text} It does not reproduce: {misfit}." if misfit else text


def indistinguishable_sentence(report: FitReport) -> str:
    """Return which candidates the log does not distinguish, and how far they differ at a depth."""
    others = [entry for entry in report.candidates if entry.as_good]
    if not others:
        return ""
    chosen = _chosen(report)
    lengths = list(zip(*(entry.accept_length for entry in [chosen, *others]), strict=True))
    ranges = [max(at_depth) - min(at_depth) for at_depth in lengths]
    worst = max(range(len(ranges)), key=ranges.__getitem__)
    difference = ranges[worst] / chosen.accept_length[worst]
    names = ", ".join(entry.name for entry in others)
    if difference < SAME_LENGTH:
        effect = "their accept lengths agree to 0.1 % at every depth"
    else:
        effect = f"their accept lengths differ by {100 * difference:.1f} % at depth {worst + 1}"
    return f"Not distinguishable from it (marked =): {names}; {effect}."


def clock_sentences(report: FitReport) -> list[str]:
    """Return whether a state that moves by round is refuted, and what follows."""
    found = [test.sentence() for test in report.clock_tests]
    rejected = any(test.rejected for test in report.clock_tests)
    if rejected and report.replay and (report.chosen or "").endswith("round"):
        found.append(f"{report.chosen} has such a state: take other depths from the replay")
    return [as_sentence(text) for text in found]


def _print_held_out(report: FitReport, console: Console) -> None:
    say(console, "Held-out accept length: prediction error, %")
    names = "depth", "observed", "standard\nerror", "selected\nmodel", *CLOSED_FORM_COLUMNS.values()
    rows = []
    for row in report.held_out:
        observed = row.accept_length
        half = (observed.high - observed.low) / 2
        errors = [row.model_error, *(row.closed_form_error[name] for name in CLOSED_FORM_COLUMNS)]
        noise = f"±{100 * row.standard_error:.2f}"
        cells = [str(row.depth), f"{observed.mean:.3f} ±{half:.3f}", noise]
        rows.append([*cells, *(f"{100 * error:+.2f}" for error in errors)])
    print_table(console, TextTable.of(names, rows))
    say(
        console,
        "Errors within two standard errors are noise of the requests. Below the recorded depth, "
        "recorded rounds are cut short: no engine ran there. At equal round times the error of the "
        "speedup is the same.",
    )


def _print_depths(depths: list[AtDepth], console: Console) -> None:
    say(console, "Accept length by depth, and time per round")
    names = "depth", "rounds", "measured", "of the fit", "ms per round"
    rows = [
        [
            str(entry.depth),
            f"{entry.rounds:,}" if entry.rounds else MISSING,
            _interval(entry.measured, 3),
            _interval(entry.predicted, 3),
            _interval(entry.round_ms, 2),
        ]
        for entry in depths
    ]
    print_table(console, TextTable.of(names, rows))
    wrong = [str(entry.depth) for entry in depths if not entry.agrees]
    if wrong:
        say(
            console,
            f"The fit does not reproduce the accept length at depth {', '.join(wrong)}: runs that "
            "differ in more than the depth (prompts, sampling) do not have one model.",
        )


def _print_caps(report: FitReport, console: Console) -> None:
    title = f"Accept length predicted at each depth: {report.chosen} with [draft] lengths"
    say(console, title, "bold")
    rows = [
        [str(entry.depth), _interval(entry.measured, 3), _interval(entry.predicted, 3)]
        for entry in report.by_depth
    ]
    print_table(console, TextTable.of(("depth", "measured", "of the fit"), rows))
    say(console, "A depth is the most drafts that a round proposes. Intervals: errors of the fit.")


def _print_replay(replay: ReplayReport, console: Console) -> None:
    say(
        console,
        f"Accept length predicted at each depth: posterior replay of "
        f"{counted(replay.requests, 'request')}, {counted(replay.draws, 'draw')}",
        "bold",
    )
    names = "depth", "measured", "replay,\nworkload", "replay, these\nrequests"
    rows = [
        [
            f"{entry.depth}{'*' * entry.extrapolated}",
            _interval(entry.measured, 3),
            _interval(entry.predicted, 3),
            _half_width(entry.these_requests),
            *(f"{entry.closed_form[name]:.3f}" for name in CLOSED_FORM_COLUMNS),
        ]
        for entry in replay.depths
    ]
    print_table(console, TextTable.of([*names, *CLOSED_FORM_COLUMNS.values()], rows))
    for text in replay_sentences(replay):
        say(console, as_sentence(text))


def replay_sentences(replay: ReplayReport) -> list[str]:
    """Return what is exact in a replay, what is extrapolated, and what was assumed."""
    found = [
        "* deeper than recorded: extrapolated; the four columns on the right are the closed form "
        "by definition of its rate"
    ]
    if replay.reproduces_log:
        found.insert(
            0,
            f"at the recorded depth {replay.recorded_depth} every draw has exactly the log's "
            f"accept length, {replay.accept_length:.4f}",
        )
    return [*found, *replay.notes]


def _half_width(found: Interval) -> str:
    half = (found.high - found.low) / 2
    return f"±{half:.3f}" if half > ROUNDING * found.mean else "exact"


def _print_chain(chain: ChainReport, console: Console) -> None:
    say(console, "Accept length by depth: token chain, given counts without the order of rounds")
    rows = [
        [
            f"{entry.depth}{'*' * entry.extrapolated}",
            _interval(entry.measured, 3),
            _interval(entry.predicted, 3),
            f"{entry.closed_form:.3f}",
        ]
        for entry in chain.depths
    ]
    print_table(console, TextTable.of(("depth", "measured", "token\nchain", "closed\nform"), rows))
    say(console, "* deeper than recorded: extrapolated.")
    for text in chain.notes:
        say(console, as_sentence(text))


def _interval(found: Interval | None, digits: int) -> str:
    if found is None:
        return MISSING
    text = f"{found.mean:.{digits}f}"
    return text + f" [{found.low:.{digits}f}, {found.high:.{digits}f}]" * (found.high > found.low)


def times_sentences(report: FitReport) -> list[str]:
    """Return what is known of round times."""
    times = report.times
    if not times.by_depth:
        return []
    means = ", ".join(f"{mean:.2f} ms at depth {k}" for k, mean in times.by_depth.items())
    text = f"Mean round time: {means}."
    if times.distributions:
        best = times.distributions[0]
        shape = ", ".join(
            f"{key} {value:.3f}" for key, value in best.noise.items() if key != "distribution"
        )
        text += (
            f" Noise: {best.noise['distribution']} ({shape}), Kolmogorov-Smirnov distance "
            f"{best.distance:.3f} over {times.samples:,} samples."
        )
    return [text]
