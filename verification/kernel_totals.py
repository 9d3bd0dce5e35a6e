"""Totals of requests simulated by the kernel, compared with the exact solution of the chain."""

import numpy as np

from mtpsim.engine.simulate import simulate_requests
from mtpsim.exact.chain_solver import count_moments, solve
from verification.chains import Case, Fault, Floats, random_case
from verification.scores import Scores, score

REQUESTS, EVENTS = 10_000, 2_000  # by the kernel; minimum expected events and non-events
KINDS = ("any", "tokens", "time", "rounds", "accepted", "variance")


def columns(depth: int, rows: Floats, layout) -> dict[str, Floats]:  # type: ignore[no-untyped-def]
    """Totals of requests at a depth, by kind, ``[n, c]``."""
    parts = {"tokens": layout.tokens, "time": layout.time_ms, "rounds": layout.rounds}
    found = {kind: rows[:, part][:, depth : depth + 1] for kind, part in parts.items()}
    if layout.every or depth == layout.depth:
        found["accepted"] = rows[:, layout.accepted(depth)]
    return found


def truth(case: Case, depth: int) -> dict[str, Floats]:
    """Exact means of :func:`columns`, by kind, ``[c]``."""
    solved = solve(case.chain, depth, **case.horizon)
    reached = np.cumsum(solved.accepted[::-1])[::-1][1:] * solved.rounds
    return {
        "tokens": np.array([solved.tokens]),
        "time": np.array([solved.slow_rounds * case.latency.round_time[depth]]),
        "rounds": np.array([solved.rounds]),
        "accepted": reached,
    }


def events(exact: dict[str, Floats], kind: str) -> Floats:
    """Expected rounds per request in which a count goes one way, or the other if that is rarer.

    For tokens, times and rounds: the sum over positions, since acceptance causes their variance.
    """
    rounds, reached = exact["rounds"][0], exact["accepted"]
    rarer = np.minimum(reached, rounds - reached)
    return rarer if kind == "accepted" else rarer.sum(keepdims=True)


def variance_score(case: Case, accepted: Floats) -> list[float]:
    """z-score of the variance of accepted drafts over requests, which depends on correlation."""
    depth = accepted.shape[1]
    total = accepted.sum(1)
    exact = count_moments(case.chain, depth, case.rounds).covariance.sum()
    centred = (total - total.mean()) ** 2
    error = centred.std() / np.sqrt(len(total))
    return [float((centred.mean() - exact) / error)] if error > 1e-9 else []


def fixed(case: Case, depth: int, kind: str) -> bool:
    """Whether a number is the same for all requests by definition."""
    ends_it = "rounds" if case.rounds else "tokens"
    return kind == ends_it or (depth == 0 and kind in ("tokens", "rounds"))


def by_kernel(case: Case, played: Case, seed: int, scores: Scores) -> None:
    """Score a chain: ``played`` by the kernel, ``case`` solved exactly."""
    plan = played.plan(seed)
    rows, rng = simulate_requests(plan, 0, REQUESTS), np.random.default_rng([7, seed])
    kinds: dict[str, list[float]] = {kind: [] for kind in KINDS[1:]}
    for depth in range(case.chain.depth + 1):
        exact = truth(case, depth)
        for kind, totals in columns(depth, rows, plan.layout).items():
            z, constant = score(totals, exact[kind])
            expected = REQUESTS * events(exact, kind)
            # At depth 0 nothing is accepted, and times vary with noise and slowdown only.
            use = (expected >= EVENTS) | (depth == 0)
            # What never happens, and what always happens if the number of rounds is fixed.
            certain = (exact[kind] <= 1e-9) | (expected <= 1e-6) & (case.rounds > 0)
            by_definition = fixed(case, depth, kind) | certain & (kind == "accepted")
            must_equal = (constant & use) | by_definition
            off = np.abs(totals.mean(0) - exact[kind]) > 1e-9 * np.maximum(exact[kind], 1)
            scores.unequal += int((off & must_equal).sum())
            scores.constant += int((constant | must_equal).sum())
            scores.rare += int((~use & ~constant & ~must_equal).sum())
            kinds[kind] += z[use & ~constant].tolist()
    if case.rounds > 1 and REQUESTS * events(exact, "tokens")[0] >= EVENTS:
        last = columns(case.chain.depth, rows, plan.layout)["accepted"]
        kinds["variance"] += variance_score(case, last)
    scores.add(kinds, rng)


def kernel_against_exact(cases: int, faulty: Fault = lambda _, case: case) -> Scores:
    """Score ``cases`` chains; ``faulty`` makes the chain that the kernel plays instead."""
    scores = Scores()
    for seed in range(cases):
        case = random_case(seed)
        if played := faulty(seed, case):
            by_kernel(case, played, seed, scores)
    return scores
