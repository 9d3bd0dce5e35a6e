"""Experiments as TOML text; tests concatenate sections: ``independent(0.8, 0.7) + TWO_DEEP``.

Keys that a test appends belong to the last section: ``TWO_DEEP + noise(0.3)``.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import mtpsim


def toml(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def section(name: str, **keys: Any) -> str:
    """A section; dotted keys, as in a sweep, are quoted."""
    lines = [f'"{key}"' * ("." in key) or key for key in keys]
    pairs = zip(lines, keys.values(), strict=True)
    return f"[{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in pairs)


def acceptance(model: str, **keys: Any) -> str:
    return section("acceptance", model=model, **keys)


def latency(target: Any, verify: Any, draft: Any, **keys: Any) -> str:
    return section("latency", target=target, verify=verify, draft=draft, **keys)


def simulation(**keys: Any) -> str:
    return section("simulation", **keys)


def independent(*rates: float) -> str:
    return acceptance("independent", rates=rates)


def beta(mean: Any, concentration: float, depth: int | None, **keys: Any) -> str:
    known = {"mean": mean, "concentration": concentration} | ({"depth": depth} if depth else {})
    return acceptance("beta", **known, **keys)


def regime(*rates: list[float], sojourn: list[float], clock: str = "round") -> str:
    """Hidden states with a row of rates each."""
    return acceptance("regime", clock=clock, rates=rates, sojourn=sojourn)


def linear_costs(**keys: Any) -> str:
    """Step times of a batch, linear in its tokens."""
    return section("latency", model="linear", base=5, per_token=0.05, draft=0.5, **keys)


def noise(cv: float, distribution: str = "lognormal") -> str:
    return f"noise = {toml({'distribution': distribution, 'cv': cv})}\n"


def linear(base: float, per_token: float, draft: float) -> str:
    """Times by batch; ``draft``: ms per drafted token."""
    draft_times = {"base": 0, "per_token": draft}
    return section("latency", model="linear", base=base, per_token=per_token, draft=draft_times)


def article(requests: int) -> str:
    """The founding case at reduced size, instead of to its precision."""
    text = Path("experiments/article.toml").read_text()
    reduced, count = re.subn(r"^precision = .*", f"requests = {requests}", text, flags=re.M)
    assert count == 1
    return reduced


def problem_of(text: str, **options: Any) -> str:
    """The message with which an experiment is refused."""
    with pytest.raises(mtpsim.InputError) as caught:
        mtpsim.parse(text, **options)
    return str(caught.value)


TWO_DEEP = latency(76, [90, 104], [8, 14])
THREE_DEEP = latency(76, [90, 104, 117], [8, 14, 22])
STRETCHES = regime([0.95, 0.9], [0.4, 0.3], sojourn=[20, 20])
# For tests of interrupted, merged and resumed runs.
LONG_RUN = STRETCHES + TWO_DEEP + noise(0.3) + simulation(rounds=40)
POLICIES = (
    'title = "two regimes"\n'
    + regime([0.95, 0.93], [0.3, 0.2], sojourn=[30, 20])
    + TWO_DEEP
    + simulation(requests=200)
    + section("adaptive", policies=["heuristic", "goodput", "off", "filter"])
)
HEAD = independent(0.80, 0.74, 0.67) + THREE_DEEP + simulation(requests=2000)
KNOWN = """
[uncertainty]
draws = 400
[uncertainty.inputs]
"acceptance.rates" = { tried = [150, 120, 89] }
"latency.target" = { se = 3 }
"latency.verify" = { se = [2, 2, 3] }
"""
SETS = """
[robust]
"acceptance.rates" = { plus_minus = 0.05 }
"latency.draft" = [[6, 11, 17], [10, 18, 28]]
"""
