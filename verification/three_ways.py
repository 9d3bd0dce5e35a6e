"""Kernel = slow twins = exact, over thousands of random chains, tested together.

A comparison of two means is a z-score. Over thousands of chains correct code gives z-scores that
are normal (Kolmogorov-Smirnov test) and whose maximum is below the Bonferroni limit. A comparison
is used only if the exact solution expects some thousands of the events that it counts, so that
means are nearly normal; totals without variance must be exact. Deliberate faults must be found by
the same criteria.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import stats

from mtpsim.engine.round_traces import record_requests
from mtpsim.engine.simulate import simulate_requests
from tests.support import naive
from tests.support.scalar_reference import SEED, expected
from verification.chain_faults import FAULTS
from verification.chains import random_case
from verification.check import Check, Table
from verification.kernel_totals import (
    EVENTS,
    REQUESTS,
    columns,
    events,
    kernel_against_exact,
    truth,
)
from verification.policies import LONG, RULES, policies_as_solved, policies_slowly
from verification.scores import SLOW, Scores, as_normal, difference, score, score_checks

SLOW_EVENTS = 100  # minimum expected events, over a slow twin's requests


def controls(cases: int, names: list[str], table: Table) -> Iterator[Check]:
    """Faults, tested like correct chains."""
    for name in names:
        scores = kernel_against_exact(cases, FAULTS[name])
        found, p = scores.found(), min(scores.uniformity.values(), default=1.0)
        count = len(scores.drawn.get("any", []))
        table.add(name, f"{count}", f"{scores.worst:.1f}", f"{p:.1e}", f"{scores.unequal}")
        result = f"{count} chains: {found or 'not found'}"
        yield Check(f"fault: {name}", "must be found", result, found is not None, 0.0, True)


def same_words(cases: int, requests: int) -> Iterator[Check]:
    """Kernels compared with a scalar twin that reads the same words, and with recorded rounds."""
    wrong = numbers = recorded = words = 0
    for number in range(cases):
        case = random_case(10_000 + number, noisy=False)
        plan, depth = case.plan(SEED), case.chain.depth
        rows, layout = simulate_requests(plan, 0, 40 * requests), plan.layout
        for k in {depth, int(np.random.default_rng(number).integers(depth + 1))}:
            ours = columns(case, k, rows[:requests], layout)
            for request in range(requests):
                twin = expected(case.chain, case.latency, request, k, **case.limit)
                for kind, value in zip(("tokens", "time", "rounds", "accepted"), twin, strict=True):
                    if kind in ours:
                        wrong += int((~np.isclose(ours[kind][request], value, 1e-12, 0)).sum())
                        numbers += np.size(value)
                words += twin[2] * (1 if case.chain.clock == "round" else k + 1)
        counts = record_requests(plan, len(rows), case.rounds or case.tokens)
        reached = np.stack([(counts > j).sum(1) for j in range(depth)], axis=1)
        recorded += int((reached != columns(case, depth, rows, layout)["accepted"]).sum())
    statement = f"{cases} chains: kernel and scalar twin agree on the same words"
    chance = words * 16 / 2**32  # thresholds of the twin are rounded separately
    result = f"{wrong} of {numbers:,} numbers differ"
    yield Check("same words, draft by draft", statement, result, wrong == 0, chance)
    statement = f"{cases} chains: recorded rounds are those of the kernel"
    yield Check("same words, recorded", statement, f"{recorded} numbers differ", recorded == 0)


def slow_twin(cases: int) -> Iterator[Check]:
    """The twin that shares neither words nor arrays, compared with kernel and exact solution."""
    against_kernel, against_exact = Scores(), Scores()
    for seed in range(cases):
        case = random_case(20_000 + seed, noisy=False)
        rng = np.random.default_rng([8, seed])
        depth = int(rng.integers(1, case.chain.depth + 1))
        plan, exact = case.plan(seed), truth(case, depth)
        pair = case.latency.verify[depth], case.latency.draft[depth]
        slow = naive.simulate(rng, case.chain, depth, lambda _, t=pair: t, SLOW, **case.limit)
        fast = columns(case, depth, simulate_requests(plan, 0, REQUESTS // 2), plan.layout)
        parts = {"tokens": slow[:, :1], "time": slow[:, 1:2], "rounds": slow[:, 2:3]}
        parts["accepted"] = slow[:, 3:]
        one: dict[str, list[float]] = {kind: [] for kind in parts}
        two: dict[str, list[float]] = {kind: [] for kind in parts}
        for kind, totals in parts.items():
            z, constant = score(totals, exact[kind])
            use = (SLOW * events(exact, kind) >= SLOW_EVENTS) & ~constant
            two[kind] += as_normal(z)[use].tolist()
            if kind in fast:
                one[kind] += difference(totals, fast[kind])[use].tolist()
        against_kernel.add(one, rng)
        against_exact.add(two, rng)
    yield from score_checks(against_kernel, "kernel = slow twin", "kernel and slow twin")
    yield from score_checks(against_exact, "slow twin = exact", "slow twin and linear algebra")


def checks(smoke: bool) -> Iterator[Check]:
    """All of it; the full run writes three_ways.md and .png."""
    scores = kernel_against_exact(40 if smoke else 3000)
    yield from score_checks(scores, "kernel = exact", "kernel and linear algebra")
    table = Table("fault", "chains", "largest abs z", "smallest KS p", "constants wrong")
    names = (
        ["all rates 0.2 % too low", "one rate of one chain off by 0.02"] if smoke else list(FAULTS)
    )
    yield from controls(20 if smoke else 200, names, table)
    yield from same_words(20 if smoke else 200, 4 if smoke else 10)
    yield from slow_twin(40 if smoke else 1000)
    yield from policies_as_solved(20 if smoke else 300)
    if not smoke:
        yield from policies_slowly(300, RULES)
        write(scores, table)


def write(scores: Scores, table: Table) -> None:
    """The page and its picture."""
    kinds = Table("one number per chain", "chains", "mean z", "variance of z", "KS p")
    for kind, p in scores.uniformity.items():
        zs = np.array(scores.drawn[kind])
        kinds.add(kind, f"{zs.size:,}", f"{zs.mean():+.3f}", f"{zs.var():.3f}", f"{p:.3f}")
    text = f"""# Kernel = slow twins = exact

Random chains of 1 to 8 states, 1 to 8 drafts, both clocks; half of them depend on outcomes, half
have slowdowns, some have rates of 0 and 1; requests of up to 30 rounds or 60 tokens. The kernel
simulates {REQUESTS:,} requests of each at all depths; linear algebra solves the same chain.
{len(scores.every):,} means were compared; the largest |z| is {scores.worst:.2f} (limit
{scores.limit:.2f}). {scores.constant:,} totals are constant, of which {scores.unequal} are wrong;
{scores.rare:,} were excluded because fewer than {EVENTS:,} of the events that they count were
expected.

The numbers of a chain are correlated. So one of each kind was drawn at random per chain:

{kinds.markdown()}

![z-scores against the normal distribution](three_ways.png)

## Deliberate faults

The kernel plays a chain with a fault; the criteria are the same:

{table.markdown()}

## A limit of the oracle

The oracle's table of depths is optimal far from the end of a request. In requests of a few rounds
another table may be better, by up to 1.8 % in a request of 6 tokens: 8 of 1,698 tables were, in
requests of up to 30 rounds or 60 tokens; over {LONG} none is.

`python verification/run.py three_ways` writes this page.
"""
    Path(__file__).with_name("three_ways.md").write_text(text)
    picture(scores)


def picture(scores: Scores) -> None:
    """Quantiles of z-scores against those of the normal distribution, with a faulty chain's."""
    import matplotlib.pyplot as plt

    faulty = kernel_against_exact(200, FAULTS["all rates 0.2 % too low"])
    figure, axes = plt.subplots(figsize=(7.5, 6), layout="constrained")
    axes.axline((0, 0), slope=1, color="0.6", linewidth=1)
    for number, (kind, zs) in enumerate(scores.drawn.items()):
        label = f"{kind}: {len(zs):,} chains"
        axes.plot(*stats.probplot(zs)[0], ".", markersize=3, color=f"C{number}", label=label)
    label = "control: all rates 0.2 % too low"
    axes.plot(*stats.probplot(faulty.drawn["any"])[0], "x", markersize=4, color="0.2", label=label)
    axes.set(ylim=(-7, 7), xlabel="quantile of the normal distribution", ylabel="z-score, sorted")
    axes.set_title("Kernel compared with linear algebra over random chains:\nz-scores are normal")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(Path(__file__).with_name("three_ways.png"), dpi=110)
    plt.close(figure)
