"""Kernel = naive simulator = exact, over thousands of random chains, tested together.

A comparison of two means is a z-score. Over thousands of chains correct code gives z-scores that
are normal (Kolmogorov-Smirnov test) and whose maximum is below the Bonferroni limit. A comparison
is used only if the exact solution expects some thousands of the events that it counts, so that
means are nearly normal; totals without variance must be exact. Deliberate faults must be found by
the same criteria.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mtpsim.engine.simulate import simulate_requests
from tests.support import naive
from verification.chains import FAULTS, random_case
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

SLOW_EVENTS = 100  # minimum expected events, over the naive simulator's requests


def controls(cases: int, names: list[str], table: Table) -> Iterator[Check]:
    """Faults, tested like correct chains."""
    for name in names:
        scores = kernel_against_exact(cases, FAULTS[name])
        found, p = scores.found(), min(scores.uniformity.values(), default=1.0)
        count = len(scores.drawn.get("any", []))
        table.add(name, f"{count}", f"{scores.worst:.1f}", f"{p:.1e}", f"{scores.unequal}")
        result = f"{count} chains: {found or 'not found'}"
        yield Check(f"fault: {name}", "must be found", result, found is not None, 0.0, True)


def naive_simulator(cases: int) -> Iterator[Check]:
    """The one that shares neither words nor arrays, compared with kernel and exact solution."""
    against_kernel, against_exact = Scores(), Scores()
    for seed in range(cases):
        case = random_case(20_000 + seed, noisy=False)
        rng = np.random.default_rng([8, seed])
        depth = int(rng.integers(1, case.chain.depth + 1))
        plan, exact = case.plan(seed), truth(case, depth)
        time = case.latency.round_time[depth]
        slow = naive.simulate(rng, case.chain, depth, time, SLOW, **case.limit)
        fast = columns(depth, simulate_requests(plan, 0, REQUESTS // 2), plan.layout)
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
    yield from score_checks(
        against_kernel, "kernel = naive simulator", "kernel and naive simulator"
    )
    yield from score_checks(
        against_exact, "naive simulator = exact", "naive simulator and linear algebra"
    )


def checks(smoke: bool) -> Iterator[Check]:
    """All of it; the full run writes three_ways.md."""
    scores = kernel_against_exact(40 if smoke else 3000)
    yield from score_checks(scores, "kernel = exact", "kernel and linear algebra")
    table = Table("fault", "chains", "largest abs z", "smallest KS p", "constants wrong")
    yield from controls(20 if smoke else 200, list(FAULTS)[: 2 if smoke else None], table)
    yield from naive_simulator(40 if smoke else 1000)
    yield from policies_as_solved(20 if smoke else 300)
    if not smoke:
        yield from policies_slowly(300, RULES)
        write(scores, table)


def write(scores: Scores, table: Table) -> None:
    """Write the page."""
    kinds = Table("one number per chain", "chains", "mean z", "variance of z", "KS p")
    for kind, p in scores.uniformity.items():
        zs = np.array(scores.drawn[kind])
        kinds.add(kind, f"{zs.size:,}", f"{zs.mean():+.3f}", f"{zs.var():.3f}", f"{p:.3f}")
    text = f"""# Kernel = naive simulator = exact

Random chains of 1 to 8 states, 1 to 8 drafts, both clocks; half of them depend on outcomes, half
have slowdowns, some have rates of 0 and 1; requests of up to 30 rounds or 60 tokens. The kernel
simulates {REQUESTS:,} requests of each at all depths; linear algebra solves the same chain.
{len(scores.every):,} means were compared; the largest |z| is {scores.worst:.2f} (limit
{scores.limit:.2f}). {scores.constant:,} totals are constant, of which {scores.unequal} are wrong;
{scores.rare:,} were excluded because fewer than {EVENTS:,} of the events that they count were
expected.

The numbers of a chain are correlated. So one of each kind was drawn at random per chain:

{kinds.markdown()}

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
