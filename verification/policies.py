"""Policies played by the kernels, compared with the dynamic program and with a naive simulator."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mtpsim.config.adaptive import Adaptive
from mtpsim.engine.policy_player import compile_policies
from mtpsim.engine.simulate import compile_plan, play_policies
from tests.support import naive_policies
from verification.chains import Case, random_case
from verification.check import Check
from verification.kernel_totals import REQUESTS
from verification.scores import SLOW, Scores, difference, score, score_checks

LONG = 500  # rounds or tokens of a request for which the oracle's table is optimal
RULES = [
    {"rule": "heuristic", "least": 0},
    {"rule": "goodput", "warm_up": 3, "probe": 4, "keep": 0.9},
    {"rule": "adaptive_k", "probe": 3},
    {"rule": "threshold", "theta": 0.6},
    {"rule": "gate", "window": 2, "request_rounds": 5, "limit": 1.6},
    {"rule": "ema", "ladder": [0, 1], "warm_up": 3, "every": 2},
    {"rule": "oracle"},
]


def random_engine(rng: np.random.Generator) -> dict[str, object]:
    """Random costs of changing the depth."""
    if rng.random() < 0.4:
        return {}
    most = {"switch_cost": 8, "catch_up": 8, "stale": 0.5, "resumed": 0.5}
    return {key: float(rng.uniform(0, end)) for key, end in most.items()}


def plan_with(case: Case, policies: list[object], engine: dict[str, object], seed: int):  # type: ignore[no-untyped-def]
    """A kernel plan with policies."""
    adaptive = Adaptive.model_validate({"policies": policies, **engine})
    policy_set = compile_policies(adaptive, case.chain, case.latency, batch=None, **case.horizon)
    return compile_plan(case.chain, case.latency, seed=seed, policy_set=policy_set, **case.horizon)


def beaten_by(case: Case) -> tuple[int, int]:
    """Number of depth-by-state tables that are faster than the oracle's, and number of tables.

    Over long requests: the oracle's table is optimal far from the end of a request; over a few
    rounds another may be better (by up to 2 % in requests of 10 tokens).
    """
    case = replace(case, rounds=case.rounds and LONG, tokens=case.tokens and LONG)
    optimal = plan_with(case, ["oracle"], {}, 1).policy_set.optimal
    best, arms = optimal.pace(optimal.oracle), case.chain.depth + 1
    choices = list(np.ndindex(*[arms] * case.chain.states))
    paces = [optimal.pace(np.array([choice])) for choice in choices]
    return sum(pace > best * (1 + 1e-9) for pace in paces), len(choices)


def policies_as_solved(cases: int) -> Iterator[Check]:
    """Bounds played by the kernel, compared with the dynamic program that defines them."""
    scores, beaten, tried = Scores(), 0, 0
    for seed in range(cases):
        case = random_case(30_000 + seed, 3, 3, noisy=False)
        rng = np.random.default_rng([9, seed])
        steered = len(case.chain.step) == 2
        bounds: list[object] = ["oracle"] if steered else ["oracle", "clairvoyant"]
        plan = plan_with(case, bounds, random_engine(rng), seed)
        optimal = plan.policy_set.optimal
        totals, _ = play_policies(plan, 0, REQUESTS)
        zs: dict[str, list[float]] = {}
        for name, rows in zip(bounds, totals, strict=True):
            clairvoyant = name == "clairvoyant"
            solved = optimal.totals(optimal.cap if clairvoyant else optimal.oracle, clairvoyant)
            z, constant = score(rows[:, :2], np.array([solved.tokens, solved.time]))
            off = np.abs(rows[:, :2].mean(0) / [solved.tokens, solved.time] - 1) > 1e-9
            scores.unequal += int((off & constant).sum())
            scores.constant += int(constant.sum())
            zs[str(name)] = z[~constant].tolist()
        scores.add(zs, rng)
        if len(optimal._costs) == 1:
            lost, choices = beaten_by(case)
            beaten, tried = beaten + lost, tried + choices
    both = "oracle and clairvoyant, simulated and solved"
    yield from score_checks(scores, "policies = dynamic program", both)
    statement = f"no depth-by-state table is faster than the oracle, over {LONG} rounds or tokens"
    yield Check("oracle is the best", statement, f"{beaten} of {tried:,} are", beaten == 0)


def policies_slowly(cases: int, rules: list[dict[str, object]]) -> Iterator[Check]:
    """Rules played by the kernels, compared with the naive simulator of texts and policies."""
    scores = Scores()
    for seed in range(cases):
        case = random_case(40_000 + seed, 4, 4, 1, noisy=False)
        rng = np.random.default_rng([10, seed])
        options = random_engine(rng)
        rule = rules[int(rng.integers(len(rules)))]
        plan = plan_with(case, [rule], options, seed)
        totals, _ = play_policies(plan, 0, REQUESTS // 2)
        arrays, player = plan.policy_set.engine, plan.policy_set.players[0]
        engine = naive_policies.Engine(arrays.verify, arrays.draft, arrays.rates, **options)
        environment = plan.policy_set.environment
        given = rng, case.chain, player.spec, environment, engine, SLOW
        slow = naive_policies.simulate(*given, **case.limit)
        use = np.flatnonzero(slow[:, :2].std(0) > 0.1 * np.sqrt(10 / SLOW) * slow[:, :2].mean(0))
        scores.add({player.spec.rule_name(): difference(slow, totals[0])[use].tolist()}, rng)
    statement = f"{len(rules)} rules with switching costs"
    yield from score_checks(scores, "policies = naive simulator", statement)
