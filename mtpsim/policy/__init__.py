"""Policies that choose the depth of each round: one file per policy."""

from typing import Annotated

from mtpsim.common.section import Imported, Named
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome, Rule

RULES: Imported[PolicySpec] = Imported(
    __name__,
    {
        "fixed": "fixed.Fixed",
        "off": "off.Off",
        "schedule": "schedule.Schedule",
        "heuristic": "heuristic.Heuristic",
        "heuristic_transient": "heuristic.HeuristicTransient",
        "ema": "ema.Ema",
        "goodput": "goodput.Goodput",
        "adaptive_k": "adaptive_k.AdaptiveK",
        "threshold": "threshold.Threshold",
        "specdecpp": "specdecpp.SpecDecPP",
        "controller": "controller.Controller",
        "bandit": "bandit.Bandit",
        "gate": "gate.Gate",
        "window_lead": "window_lead.WindowLead",
        "tiers": "tiers.Tiers",
        "oracle": "oracle.Oracle",
        "filter": "filter.Filter",
        "clairvoyant": "clairvoyant.Clairvoyant",
        "budget": "budget.Budget",
        "oracle_budget": "budget.OracleBudget",
    },
)
Policy = Annotated[PolicySpec, Named(RULES, key="rule", names_alone=True)]

__all__ = [
    "RULES",
    "Environment",
    "Policy",
    "PolicySpec",
    "RoundContext",
    "RoundOutcome",
    "Rule",
]
