"""Cost of a round of an adaptive policy relative to a fixed depth."""

import time
from dataclasses import replace

from models import DEPTH, LATENCY, ROUNDS, chain_of, kernel_run
from tables import Table, best

from mtpsim.config.adaptive import Adaptive
from mtpsim.engine.policy_player import compile_policies
from mtpsim.engine.simulate import compile_plan, play_policies
from mtpsim.latency import Latency
from mtpsim.policy import RULES

RULE_NAMES = ("heuristic", "ema", "goodput", "adaptive_k", "gate", "bandit", "threshold")
POLICIES = [
    {"rule": "fixed", "depth": DEPTH},
    *({"rule": name} for name in RULE_NAMES),
    {"rule": "bandit", "method": "thompson"},
    {"rule": "specdecpp"},
    {"rule": "controller"},
]


def with_policy(policy: dict, requests: int, copies: int):
    """Run ``copies`` of one policy on one tape: cost per policy is a difference of these."""
    entries = [{**policy, "name": str(copy)} for copy in range(copies)]
    adaptive = Adaptive.model_validate({"policies": entries})
    latency, horizon = Latency.model_validate(LATENCY).compile(DEPTH), {"tokens": 0}
    chain = chain_of("round")
    policy_set = compile_policies(adaptive, chain, latency, rounds=ROUNDS, batch=None, **horizon)
    policy_set = replace(policy_set, players=policy_set.players[:copies])  # without the oracle
    compiled = compile_plan(chain, latency, seed=1, rounds=ROUNDS, policy_set=policy_set)

    def run() -> float:
        start = time.process_time()
        play_policies(compiled, 0, requests)
        return (time.process_time() - start) / (requests * ROUNDS)

    run()
    return run


def table(measured: list[dict], requests: int, turns: int) -> Table:
    """Cost of a round of each policy and of the shared tape, relative to a fixed depth."""
    goals = {}
    programs = {"fixed": kernel_run(chain_of("round"), requests, shallow=DEPTH)[0]}
    for policy in measured:
        label = RULES[policy["rule"]].model_validate(policy).label
        goals[label] = "at most 5" if RULES[policy["rule"]].reads_confidence else "at most 3"
        for copies in (1, 3):
            programs[f"{label} {copies}"] = with_policy(policy, requests, copies)
    taken = best(programs, turns)
    fixed, labels = taken.pop("fixed"), [name[:-2] for name in taken if name.endswith(" 1")]
    cost = {label: (taken[f"{label} 3"] - taken[f"{label} 1"]) / 2 for label in labels}
    tape = taken[f"{labels[0]} 1"] - cost[labels[0]]
    found = [("tape, shared by all policies", tape, "-")]
    found += [(f"policy {label}", cost[label], goals[label]) for label in labels]
    rows = [(what, f"{ns * 1e9:.1f}", f"{ns / fixed:.1f}", goal) for what, ns, goal in found]
    return Table("Adaptive policies", ("what", "ns per round", "over a fixed depth", "goal"), rows)
