"""Policies that choose the depth of each round: one file per policy."""

from typing import Annotated

from mtpsim.common.section import Named
from mtpsim.policy.adaptive_k import AdaptiveK
from mtpsim.policy.bandit import Bandit
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome, Rule
from mtpsim.policy.budget import Budget, OracleBudget
from mtpsim.policy.clairvoyant import Clairvoyant
from mtpsim.policy.controller import Controller
from mtpsim.policy.ema import Ema
from mtpsim.policy.filter import Filter
from mtpsim.policy.fixed import Fixed
from mtpsim.policy.gate import Gate
from mtpsim.policy.goodput import Goodput
from mtpsim.policy.heuristic import Heuristic, HeuristicTransient
from mtpsim.policy.off import Off
from mtpsim.policy.oracle import Oracle
from mtpsim.policy.schedule import Schedule
from mtpsim.policy.specdecpp import SpecDecPP
from mtpsim.policy.threshold import Threshold
from mtpsim.policy.tiers import Tiers
from mtpsim.policy.window_lead import WindowLead

RULES: dict[str, type[PolicySpec]] = {
    "fixed": Fixed,
    "off": Off,
    "schedule": Schedule,
    "heuristic": Heuristic,
    "heuristic_transient": HeuristicTransient,
    "ema": Ema,
    "goodput": Goodput,
    "adaptive_k": AdaptiveK,
    "threshold": Threshold,
    "specdecpp": SpecDecPP,
    "controller": Controller,
    "bandit": Bandit,
    "gate": Gate,
    "window_lead": WindowLead,
    "tiers": Tiers,
    "oracle": Oracle,
    "filter": Filter,
    "clairvoyant": Clairvoyant,
    "budget": Budget,
    "oracle_budget": OracleBudget,
}


Table = (
    Fixed
    | Off
    | Schedule
    | Heuristic
    | HeuristicTransient
    | Ema
    | Goodput
    | AdaptiveK
    | Threshold
    | SpecDecPP
    | Controller
    | Bandit
    | Gate
    | WindowLead
    | Tiers
    | Oracle
    | Filter
    | Clairvoyant
    | Budget
    | OracleBudget
)
Policy = Annotated[Table, Named(RULES, key="rule", names_alone=True)]

__all__ = [
    "RULES",
    "Environment",
    "Off",
    "Oracle",
    "Policy",
    "PolicySpec",
    "RoundContext",
    "RoundOutcome",
    "Rule",
]
