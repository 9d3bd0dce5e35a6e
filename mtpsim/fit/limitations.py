"""What a log can't show, and what is assumed instead."""

import numpy as np

from mtpsim.common.text import counted
from mtpsim.fit.by_depth import has_several_depths
from mtpsim.fit.draft_lengths import has_random_lengths
from mtpsim.fit.mle import MIN_ROWS
from mtpsim.fit.round_times import usable_rows
from mtpsim.logs import Log

SHORT = 0.95  # mean drafts over depth below which they are no effect of the ends of requests
# A drafter whose position 1 works, and one of whose positions accepts next to nothing, is broken.
MANY, WORKS, NEXT_TO_NOTHING = 30, 0.2, 0.02


def limitations(log: Log) -> list[str]:
    """Return what a log of this kind can't show."""
    found = []
    left_out = int(np.isfinite(log.times.by_row).sum() - usable_rows(log).sum())
    if left_out:
        found.append(
            f"{counted(left_out, 'window', 'are')} left out of the round time: the first of a "
            "server, or far from the others, as one that counts time without requests"
        )
    if log.unit == "window":
        found.append(
            "log windows aggregate requests: between-request variance and round correlation "
            "cannot be estimated"
        )
    elif 2 <= log.count < MIN_ROWS:
        found.append(
            f"{log.count} {log.unit}s are too few to estimate between-{log.unit} variance: no "
            "model is selected"
        )
    elif log.count == 1:
        found.append(
            "one entry has no between-request variance: the intervals treat rounds as independent "
            "(in published logs such intervals are too narrow by a factor of 1.4 to 26); log by "
            "request, or give --design-effect"
        )
    if log.unit == "request" and log.level != "rounds":
        found.append(
            f"no rounds in order (granularity: {log.level}): round correlation cannot be "
            "estimated; regime and difficulty models were not fitted"
        )
    if log.level == "totals" and not has_several_depths(log):
        found.append("granularity totals: one rate is used for all positions")
    unknown = log.level in ("histogram", "positions", "totals")
    if has_random_lengths(log):
        found.append(_random_drafts(log))
    elif log.has_short_drafts and (log.undrafted or unknown):
        found.append(_short_drafts(log))
    elif log.has_short_drafts:
        found.append(
            "draft lengths differ: the rate of a position counts rounds that drafted it, which is "
            f"unbiased unless the draft stops where it expects a rejection{_no_lengths(log)}"
        )
    return found + _diagnoses(log)


def _diagnoses(log: Log) -> list[str]:
    """Return the first position that accepts next to nothing, and what that usually means."""
    if log.level == "totals":
        return []
    hit, reached = log.hit.sum(0), log.reached.sum(0)
    rates = hit / np.maximum(reached, 1)
    for position in np.flatnonzero((reached >= MANY) & (rates < NEXT_TO_NOTHING)):
        what = f"position {position + 1} accepts {hit[position]:,} of {reached[position]:,} drafts"
        if not position:
            return [f"{what}: the drafter does not fit the target (weights, tokenizer, template)"]
        if rates[0] > WORKS:
            return [
                f"{what}, position 1 accepts {100 * rates[0]:.0f} %: the drafter is broken beyond "
                f"position {position} (hidden state not passed on, or trained for "
                f"{position}); check it before you choose a depth"
            ]
    return []


def depth_problem(log: Log, given: int) -> str:
    """Return how accepted drafts contradict a depth that only the user states; empty if not.

    Args:
        log: log that was read with the depth.
        given: drafts per round.
    """
    hit = log.hit.sum(0)
    deepest = int(np.flatnonzero(hit).max(initial=-1)) + 1
    logged = bool(np.isfinite(log.drafted).any())
    if logged or not 0 < deepest < given or hit[deepest - 1] < MANY:
        return ""
    return (
        f"{given} is given, but none of {hit[deepest - 1]:,} rounds that accept "
        f"{counted(deepest, 'draft')} accepts more: give the depth that was run; deeper ones are "
        "predicted from rounds in order"
    )


def _short_drafts(log: Log) -> str:
    """Return how rounds are counted that draft fewer tokens than the depth."""
    share = 100 * log.undrafted / log.rounds.sum()
    which = f"{share:.0f} % of rounds draft nothing" if log.undrafted else ""
    if not which:
        which = f"rounds draft {log.mean_drafts:.2f} of {log.depth} tokens on average"
    text = (
        f"{which}: a position that is not drafted counts as not accepted, so the fit has the log's "
        "accept length at its setting; the rates are those of this drafter, not of a longer draft"
    )
    return text + _no_lengths(log)


def _no_lengths(log: Log) -> str:
    """Return why there is no law of the number of drafts, where it varies; empty if it may not."""
    if log.level == "rounds" or log.mean_drafts > SHORT * log.depth:
        return ""
    return ". [draft] lengths, how many each round proposes, needs drafts per round"


def _random_drafts(log: Log) -> str:
    """Return what the rates are of a log whose rounds propose random numbers of drafts."""
    share = 100 * log.undrafted / log.rounds.sum()
    which = f"{share:.0f} % of rounds draft nothing" if log.undrafted else "draft lengths differ"
    counts = "; in the table of rates an undrafted position counts as not accepted"
    return (
        f"{which}: [draft] lengths of the file has how many are drafted, [acceptance] the rates of "
        f"drafted positions{counts * bool(log.undrafted)}"
    )
