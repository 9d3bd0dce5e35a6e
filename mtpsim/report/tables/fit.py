"""What a fit found, on a terminal: rates, candidates, what was foretold, and what can't be told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.report.formatting import MISSING, fixed
from mtpsim.report.tables.terminal import console_on, new_table, plain, say, show_table

if TYPE_CHECKING:
    from rich.console import Console

KINDS = {
    "accept length": "length",
    "spread over requests": "spread",
    "rounds that accept": "counts",
    "correlation": "correlation",
}
"""What a check is about, in a word."""


def print_fit(found: JsonDict, to_stdout: bool = True) -> None:
    """Print the report of a fit."""
    console = console_on(sys.stdout if to_stdout else sys.stderr)
    for text in log_sentences(found):
        say(console, text)
    console.print()
    _print_rates(found, console)
    if found["candidates"]:
        console.print()
        _print_candidates(found, console)
        console.print()
        if found["held_out"]:
            say(console, "Behind: in log likelihood of a held-out request, ± standard error.")
        say(console, chosen_sentence(found), "bold")
        if text := twins_sentence(found):
            say(console, text)
    if found["held_out"]:
        console.print()
        _print_held_out(found, console)
    for text in [*times_sentences(found), *found["notes"]]:
        console.print()
        say(console, text[0].upper() + text[1:])


def log_sentences(found: JsonDict) -> list[str]:
    """What was read."""
    log, length = found["log"], found["accept_length"]
    skipped = sum(file["skipped"] for file in log["files"])
    names = ", ".join(sorted({file["format"] for file in log["files"]}))
    told = (
        f"{log['engine']} ({names}): {counted(log['entries'], log['unit'])}, "
        f"{counted(log['rounds'], 'round')} of up to {counted(log['depth'], 'draft')}, told by "
        f"{log['level']}"
    )
    if skipped:
        told += f"; {counted(skipped, 'broken entry', 'were')} skipped"
    interval = f" [{length['low']:.4f}, {length['high']:.4f}]"
    return [told + f". Accept length {length['mean']:.4f}{interval * found['rates']['clustered']}."]


def _print_rates(found: JsonDict, console: Console) -> None:
    rates = found["rates"]
    table = new_table()
    for name in ("draft", "P(accepted | reached)", "interval", "rounds that reached it"):
        table.add_column(name, justify="right", no_wrap=True)
    for j, mean in enumerate(rates["mean"]):
        table.add_row(
            str(j + 1),
            f"{mean:.4f}" if rates["tried"][j] else MISSING,
            f"[{rates['low'][j]:.4f}, {rates['high'][j]:.4f}]",
            f"{rates['tried'][j]:,.0f}",
        )
    show_table(console, table)


def _print_candidates(found: JsonDict, console: Console) -> None:
    table = new_table()
    judged = found["candidates"][0]["held_out"] is not None
    deepest = found["log"]["depth"]
    for name in ("", "candidate"):
        table.add_column(name, no_wrap=True)
    score = "behind\nthe best" if judged else "BIC"
    for name in ("size", score, f"length at\ndepth {deepest}"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("does not show", no_wrap=True)
    for entry in found["candidates"]:
        mark = "▸" if entry["chosen"] else "=" if entry["as_good"] else ""
        behind = f"{fixed(entry['behind'], 2)} ±{fixed(entry['error'], 2)}"
        table.add_row(
            *(plain(mark, console), entry["name"], str(entry["parameters"])),
            plain(behind, console) if judged else fixed(entry["bic"], 1),
            f"{entry['accept_length'][-1]:.3f}",
            _misfits(entry),
            style="bold green" if entry["chosen"] else None,
        )
    show_table(console, table)


def _misfits(entry: JsonDict) -> str:
    """What of the log its replicas do not show."""
    wrong = [check["name"] for check in entry["checks"] if not check["fits"]]
    return ", ".join(
        word for start, word in KINDS.items() if any(name.startswith(start) for name in wrong)
    )


def chosen_sentence(found: JsonDict) -> str:
    """``regime 2 by round, the simplest of those that foretell held-out requests best.``."""
    entry = next(e for e in found["candidates"] if e["chosen"])
    how = (
        "the simplest of those that foretell held-out requests best"
        if entry["held_out"] is not None
        else "by BIC alone: there are too few requests to hold some of them out"
    )
    fits = "" if not _misfits(entry) else f" It does not show: {_misfits(entry)}."
    return f"Chosen: {entry['name']}, {how}.{fits}"


def twins_sentence(found: JsonDict) -> str:
    """Which candidates the log can't tell apart, and how far they differ at other depths."""
    indistinguishable = [e for e in found["candidates"] if e["as_good"]]
    if not indistinguishable:
        return ""
    chosen = next(e for e in found["candidates"] if e["chosen"])
    apart = [
        max(e["accept_length"][k] for e in [chosen, *indistinguishable])
        - min(e["accept_length"][k] for e in [chosen, *indistinguishable])
        for k in range(found["log"]["depth"])
    ]
    worst = max(range(len(apart)), key=apart.__getitem__)
    names = ", ".join(e["name"] for e in indistinguishable)
    most = apart[worst] / chosen["accept_length"][worst]
    return f"The log can't tell it from {names} (marked =): " + (
        "at every depth their accept lengths agree to 0.1 %."
        if most < 1e-3
        else f"at depth {worst + 1} their accept lengths lie {100 * most:.1f} % apart."
    )


def _print_held_out(found: JsonDict, console: Console) -> None:
    say(console, "Foretold for the held-out requests, errors of the accept length in %:")
    table = new_table()
    closed = {
        "conditional": "closed\nform",
        "survival": "survival as\nconditional",
        "pooled": "pooled\nA / D",
        "first": "p1\nalone",
    }
    for name in ("depth", "seen", "error of\nthis model", *closed.values()):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found["held_out"]:
        seen = row["accept_length"]
        half = (seen["high"] - seen["low"]) / 2
        table.add_row(
            str(row["depth"]),
            plain(f"{seen['mean']:.3f} ±{half:.3f}", console),
            f"{100 * row['model_error']:+.2f}",
            *(f"{100 * row['closed_form_error'][name]:+.2f}" for name in closed),
        )
    show_table(console, table)
    say(
        console,
        "Depths below the recorded one are its rounds with their drafts cut short; at equal times "
        "the speedup is off by as much.",
    )


def times_sentences(found: JsonDict) -> list[str]:
    """What is known of round times."""
    times = found["times"]
    if not times["by_depth"]:
        return []
    means = ", ".join(f"{mean:.2f} ms at depth {k}" for k, mean in times["by_depth"].items())
    text = f"A round takes {means}."
    if times["laws"]:
        best = times["laws"][0]
        noise = dict(best["noise"])
        name = noise.pop("distribution")
        shape = ", ".join(f"{key} {value:.3f}" for key, value in noise.items())
        text += (
            f" Its noise is {name} ({shape}), within {100 * best['distance']:.1f} points of the "
            f"distribution of {times['samples']:,} samples."
        )
    return [text]
