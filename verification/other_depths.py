"""Published accept lengths at other depths than those that a token chain is fitted to.

The prior of the chain (memory, shifts of drafters) comes from EAGLE heads on four tasks and was
checked on made-up engines; no number here went into it. Counts are taken as 2,000 rounds.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from mtpsim.exact.chain_solver import solve
from mtpsim.fit.aggregated_chain import AggregatedFit, DepthCounts, fit_aggregated
from mtpsim.formula.closed_form import accept_length
from verification.published_fact import Fact
from verification.published_values import (
    CURVES,
    DSPARK,
    GEMMA_LENGTHS,
    GEMMA_ROUND_MS,
    GEMMA_SURVIVAL,
    LLAMA_8B,
    VLLM_8,
    XLLM,
)

ROUNDS = 2000


def _of_lengths(lengths: Mapping[int, float]) -> AggregatedFit:
    return fit_aggregated([DepthCounts(k, ROUNDS, length) for k, length in lengths.items()])


def _of_survival(survival: Mapping[int, list[float]]) -> AggregatedFit:
    return fit_aggregated([DepthCounts.of_survival(rates, ROUNDS) for rates in survival.values()])


def _closed(survival: list[float]) -> np.ndarray:
    rates = np.array(survival) / np.append(1.0, survival[:-1])
    return accept_length(rates)


def gemma(smoke: bool) -> Iterator[Fact]:
    """Gemma-4-31B on an H100: other depths from depth 7 alone, and from depths 1 and 7."""
    means = {k: float(np.mean(runs)) for k, runs in GEMMA_LENGTHS.items()}
    spread = np.mean([np.var(runs, ddof=1) / np.mean(runs) ** 2 for runs in GEMMA_LENGTHS.values()])
    error = float(spread / 3) ** 0.5  # of the mean of three runs
    deep = GEMMA_SURVIVAL[7]
    for known, bound, missed in (([7], 0.03, ()), ([1, 7], 0.02, (3, 5))):
        found = _of_survival({k: GEMMA_SURVIVAL[k] for k in known})
        source = f"from depth{'s 1 and' * (len(known) > 1)} 7"
        for k in (1, 2, 3, 5):
            why = f"{100 * bound:g} %, and {100 * error:.1f} % standard error of three runs"
            why = f"the goal of {why} is missed" if k in missed else why
            slack = (bound + error) * means[k]
            name = f"accept length at {k}, {source}"
            yield Fact(name, means[k], found.predict(k).mean, slack, why, k in missed)
        best = min(means, key=lambda k: GEMMA_ROUND_MS[k] / found.predict(k).mean)
        yield Fact(f"best depth, {source}", 3, best, 0, "an integer")
    closed = _closed(deep)
    best = min(means, key=lambda k: GEMMA_ROUND_MS[k] / closed[k])
    why = "the closed form takes rates at depth 7 for those at other depths"
    yield Fact("best depth, closed form of depth 7", 3, best, 0, why, True)
    for k in (1, 2, 3, 5):
        slack = (0.03 + error) * means[k]
        yield Fact(f"accept length at {k}, closed form", means[k], closed[k], slack, why, True)


def vllm_deep(smoke: bool) -> Iterator[Fact]:
    """vLLM: accept length at depth 1 from the survival rates at depth 8."""
    found = _of_survival({8: VLLM_8})
    yield Fact("chain", 1.8359, found.predict(1).mean, 0.01 * 1.8359, "1 %")
    why = "p1 falls from 0.836 to 0.757 with the depth"
    yield Fact("closed form", 1.8359, float(_closed(VLLM_8)[1]), 0.01 * 1.8359, why, True)


def between(smoke: bool) -> Iterator[Fact]:
    """Accept lengths of five drafters at all depths, from those at the first and the last."""
    first = {name: (1, lengths) for name, lengths in CURVES.items()}
    second = {f"Llama-3.1-8B {name}": (2, lengths) for name, (lengths, _) in LLAMA_8B.items()}
    for name, (start, lengths) in {**first, **second}.items():
        known = dict(enumerate(lengths, start))
        ends = {k: known[k] for k in (start, start + len(lengths) - 1)}
        found = _of_lengths(ends)
        for k, length in known.items():
            if k not in ends:
                yield Fact(
                    f"{name}, depth {k}", length, found.predict(k).mean, 0.02 * length, "2 %"
                )


def dspark(smoke: bool) -> Iterator[Fact]:
    """DSpark: rates that rise with the position, by states of the text and shifts that fall."""
    found = _of_survival({7: list(np.cumprod(DSPARK))})
    chains = [found.chain(n) for n in range(0, len(found.level), 20)]
    law = np.mean([solve(chain.chain(7), 7).accepted for chain in chains], axis=0)
    survived = np.append(1.0, 1 - np.cumsum(law)[:-1])
    for j, (rate, ours) in enumerate(zip(DSPARK, survived[1:] / survived[:-1], strict=True), 1):
        yield Fact(f"rate at position {j}", rate, float(ours), 0.01, "0.01")
    yield Fact("largest rise of a shift", 0, float(np.diff(found.shift).max()), 0, "none rises")


def xllm(smoke: bool) -> Iterator[Fact]:
    """xLLM, answers of 25 tokens: depth 5 has the best TPOT and depth 4 the best answer."""
    lengths = {k: 1 + k * share for k, share in enumerate(XLLM, 1)}
    found = _of_lengths(lengths)
    for k, length in lengths.items():
        yield Fact(f"accept length at {k}", length, found.predict(k).mean, 0.01 * length, "1 %")
    chain = found.chain(found.typical_draw())
    rounds = [solve(chain.chain(k), k, tokens=25).rounds for k in (4, 5)]
    steady = lengths[5] / lengths[4]
    window = float(rounds[0] / rounds[1]) < steady
    why = (
        f"a round of depth 5 that takes {rounds[0] / rounds[1]:.3f} to {steady:.3f} times as long "
        "as one of depth 4, since the last round is cut"
    )
    yield Fact("both are possible", 1, float(window), 0, why)
