"""Policies: one file each, with its parameters and its rule."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field

from mtpsim.common.section import named
from mtpsim.policy.adaptive_k import AdaptiveK
from mtpsim.policy.bandit import Bandit
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome, Rule
from mtpsim.policy.clairvoyant import Clairvoyant
from mtpsim.policy.controller import Controller
from mtpsim.policy.ema import Ema
from mtpsim.policy.filter import Filter
from mtpsim.policy.fixed import Fixed
from mtpsim.policy.gate import Gate
from mtpsim.policy.goodput import Goodput
from mtpsim.policy.heuristic import Heuristic
from mtpsim.policy.off import Off
from mtpsim.policy.oracle import Oracle
from mtpsim.policy.schedule import Schedule
from mtpsim.policy.specdecpp import SpecDecPP
from mtpsim.policy.threshold import Threshold

RULES: dict[str, type[PolicySpec]] = {
    policy.rule_name(): policy
    for policy in (
        Fixed,
        Off,
        Schedule,
        Heuristic,
        Ema,
        Goodput,
        AdaptiveK,
        Threshold,
        SpecDecPP,
        Controller,
        Bandit,
        Gate,
        Oracle,
        Filter,
        Clairvoyant,
    )
}


def _table(value: Any) -> Any:
    """A bare name stands for the rule with its usual parameters."""
    return {"rule": value} if isinstance(value, str) else value


Table = Annotated[
    Fixed
    | Off
    | Schedule
    | Heuristic
    | Ema
    | Goodput
    | AdaptiveK
    | Threshold
    | SpecDecPP
    | Controller
    | Bandit
    | Gate
    | Oracle
    | Filter
    | Clairvoyant,
    Discriminator("rule"),
]
Name = Annotated[str, Field(json_schema_extra={"enum": list(RULES)})]
Policy = Annotated[
    Table,
    named(list(RULES), key="rule"),
    BeforeValidator(_table, json_schema_input_type=Name | Table),
]

__all__ = [
    "RULES",
    "Environment",
    "Oracle",
    "Policy",
    "PolicySpec",
    "RoundContext",
    "RoundOutcome",
    "Rule",
]
