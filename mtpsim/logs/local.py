"""Engines with few numbers: LM Studio, ATOM, oMLX."""

import re
from collections.abc import Iterator

from mtpsim.common.arrays import JsonDict
from mtpsim.logs.entry import (
    Entry,
    EntryError,
    IncompleteError,
    optional_count,
    optional_number,
    required_count,
    whole_depth,
)
from mtpsim.logs.files import Batch
from mtpsim.logs.format import Answers, LineEntries, attempt, json_format, line_format
from mtpsim.logs.rates import counts_from_rates
from mtpsim.logs.text_lines import marked_lines, whole_lines

_ACCEPTED = ("accepted_draft_tokens_count", "acceptedDraftTokensCount")
_DRAFTED = ("total_draft_tokens_count", "totalDraftTokensCount")
_TOKENS = ("predicted_tokens_count", "predictedTokensCount", "completion_tokens")
_SPEED = ("tokens_per_second", "tokensPerSecond")


def _lmstudio(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return the entry of a response: each round emits one token besides its accepted drafts."""
    accepted = required_count(table, *_ACCEPTED)
    usage = document.get("usage")
    tokens = optional_count(table, *_TOKENS)
    if tokens is None and isinstance(usage, dict):
        tokens = optional_count(usage, *_TOKENS)
    if tokens is None:
        raise IncompleteError("no number of generated tokens")
    if accepted > tokens:
        raise EntryError(f"{accepted} drafts are accepted, but {tokens} tokens were generated")
    speed = optional_number(table, *_SPEED)
    return Entry(
        unit="request",
        rounds=tokens - accepted,
        accepted=accepted,
        drafted=optional_count(table, *_DRAFTED),
        depth=answers.depth,
        tokens=tokens,
        time=1000.0 * tokens / speed if speed else None,
    )


LMSTUDIO = json_format(
    "lmstudio",
    "LM Studio",
    "stats with accepted draft tokens",
    lambda table: any(table.get(name) is not None for name in _ACCEPTED),
    _lmstudio,
)

_STATS = re.compile(
    r"\[MTPStats(Interval)?[^\]]{0,40}\].{0,200}?Accepted/TotalDrafttokens:(\d+)/(\d+)"
)
_SHARES = re.compile(r"distribution:\{([^}]*)\}")
_SHARE = re.compile(r"(\d{1,2}):'?([\d.]+)%")
_SHORT = re.compile(r"\[MTPStats.{0,80}?dist[\d/]{1,99}:([\d./]{1,400})%")
ROUNDS_PER_LINE = 1000  # between two lines that state only shares
SHARES = f"lines state shares, no counts: each is weighted as {ROUNDS_PER_LINE:,} rounds"
_PER_FORWARD = re.compile(r"toks/fwd:([\d.]+)")


def _atom(batches: Iterator[Batch], answers: Answers) -> LineEntries:
    """Yield the last line of totals since the start; lines of intervals repeat parts of it."""
    last: tuple[int, str] | None = None
    for number, _, text in whole_lines(batches, ("[MTP Stats",), _is_whole):
        found = _STATS.search(text)
        if short := _SHORT.search(text):
            yield number, attempt(_window, short[1])
        elif not found:
            yield number, IncompleteError("truncated line or unknown layout")
        elif not found[1] and "Interval" not in text:
            last = number, text
    if last:
        yield last[0], attempt(_since_start, last[1], answers)


def _is_whole(text: str) -> bool:
    return bool(_STATS.search(text) or _SHORT.search(text))


def _window(text: str) -> Entry:
    """Return the window of a line that states the shares of rounds by accepted drafts."""
    shares = [float(share) / 100 for share in text.split("/")]
    rates = [min(sum(shares[j:]), 1.0) for j in range(1, len(shares))]
    accepted = round(ROUNDS_PER_LINE * sum(rates))
    return Entry(
        unit="window",
        rounds=ROUNDS_PER_LINE,
        accepted=accepted,
        depth=len(rates),
        survived=counts_from_rates(rates, ROUNDS_PER_LINE, accepted),
        notes=(SHARES,),
    )


def _since_start(text: str, answers: Answers) -> Entry:
    found, per_forward = _STATS.search(text), _PER_FORWARD.search(text)
    assert found is not None
    accepted, drafted = int(found[2]), int(found[3])
    distribution = _SHARES.search(text)
    shares = _SHARE.findall(distribution[1]) if distribution else []
    by_accepted = [float(share) / 100 for _, share in shares]
    rates = [min(sum(by_accepted[j:]), 1.0) for j in range(1, len(by_accepted))]
    depth = len(rates) or answers.depth
    if depth and drafted % depth == 0:
        rounds = drafted // depth
    elif per_forward and float(per_forward[1]) > 1:
        rounds = round(accepted / (float(per_forward[1]) - 1))
    else:
        raise IncompleteError("neither a distribution nor tokens per forward: no rounds are known")
    return Entry(
        unit="total",
        rounds=rounds,
        accepted=accepted,
        drafted=drafted,
        depth=depth,
        survived=counts_from_rates(rates, rounds, accepted),
    )


ATOM = line_format("atom-log", "ATOM", ("[MTP Stats",), _atom)

_CYCLES = re.compile(
    r"(?:MTP\[\d{1,9}\].{0,80}?cycles|vlm_mtp stats:.{0,120}?rounds)=(\d{1,12}).{0,40}?"
    r"accept(?:ed)?=(\d{1,12})/(\d{1,12})"
)
_DEPTHS = re.compile(r"\bd[1-9]\d?=(\d{1,12})/\d")
_TIMES = re.compile(r"\b(backbone|mtp|sample|cache)=([\d.]{1,16})ms")


def _omlx(batches: Iterator[Batch], answers: Answers) -> LineEntries:
    """Yield the requests of oMLX; a cycle without drafts is a round that accepts none."""
    for number, line in marked_lines(batches, ("MTP[", "vlm_mtp stats:")):
        found = _CYCLES.search(line)
        if not found:
            yield number, IncompleteError("truncated line or unknown layout")
            continue
        rounds, accepted, drafted = (int(found[n]) for n in (1, 2, 3))
        survived = [int(hits) for hits in _DEPTHS.findall(line)]
        times = {name: float(ms.rstrip(".") or 0) for name, ms in _TIMES.findall(line)}
        yield (
            number,
            Entry(
                unit="request",
                rounds=rounds,
                accepted=accepted,
                drafted=drafted,
                depth=len(survived) or whole_depth(drafted, rounds) or answers.depth,
                survived=survived,
                time=sum(times.values()) or None,
                draft_time=times.get("mtp"),
            ),
        )


OMLX = line_format("omlx-log", "oMLX", ("tok/cycle=", "MTP[", "vlm_mtp stats:"), _omlx)
