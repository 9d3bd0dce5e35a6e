"""The theory on trial: every way to measure rates side by side, and how rounds depend."""

from __future__ import annotations

from itertools import product

import numpy as np

from mtpsim.acceptance import Recording
from mtpsim.common.arrays import JsonDict
from mtpsim.exact.chain_solver import CountMoments, count_moments
from mtpsim.formula.rate_definitions import DEFINITIONS, WEIGHTINGS, Weighting
from mtpsim.results.point_data import POSITIVE, SHARE, PointData, interval, intervals
from mtpsim.stats import estimators as estimate
from mtpsim.stats.autocorrelation import MOST_ROUNDS
from mtpsim.stats.estimators import ClosedFormPredictor


def trial(measured: PointData) -> JsonDict:
    """Every definition and weighting, plugged into the closed form at every depth."""
    chosen, times = measured.theory, measured.theory.times
    rows = [
        ClosedFormPredictor(times, None, definition, weighting)
        for weighting, definition in product(_weightings(measured), DEFINITIONS)
    ]
    stated = measured.experiment.acceptance.input_rates()
    if stated is not None:
        rows.insert(0, ClosedFormPredictor(times, stated))
    return {
        "measured_at": measured.layout.measured_at,
        "rows": [_row(measured, theory, _same(theory, chosen, measured)) for theory in rows],
    }


def _weightings(measured: PointData) -> list[Weighting]:
    """Those that differ: without text positions, every position is every round."""
    by_position = measured.plan.clock == "token"
    return [w for w in WEIGHTINGS if by_position or w != "every-position"]


def _same(theory: ClosedFormPredictor, chosen: ClosedFormPredictor, measured: PointData) -> bool:
    if chosen.rates is not None or theory.rates is not None:
        return (chosen.rates is None) == (theory.rates is None)
    weighting = chosen.weighting if chosen.weighting in _weightings(measured) else "round-pooled"
    return (theory.definition, theory.weighting) == (chosen.definition, weighting)


def _row(measured: PointData, theory: ClosedFormPredictor, chosen: bool) -> JsonDict:
    stated = theory.rates is not None
    errors = {
        "accept_length_error": measured.estimates(theory.length_error),
        "speedup_error": measured.estimates(theory.error),
    }
    depths: list[JsonDict] = []
    for k in range(1, measured.layout.depth + 1):
        entry: JsonDict = {"depth": k}
        for name, found in errors.items():
            entry[name] = {**interval(found, k), "verdict": measured.error(found, k).verdict}
        depths.append(entry)
    return {
        "definition": "stated" if stated else theory.definition,
        "weighting": None if stated else theory.weighting,
        "chosen": chosen,
        "rates": intervals(measured.estimates(theory.rates_used), SHARE),
        "depths": depths,
    }


def diagnostics(measured: PointData) -> JsonDict:
    """How far rounds are from independent, and how rates move with position and depth."""
    layout, found, exact = measured.layout, measured.dependence, _exact_counts(measured)
    effect = measured.estimates(estimate.design_effect)
    spread = bool(np.isfinite(effect.values[0]) and effect.values[0] > 0)
    rising = measured.estimates(estimate.survivorship)
    document: JsonDict = {
        "measured_at": layout.measured_at,
        "design_effect": None,
        "too_narrow": None,
        "autocorrelation": None,
        "lasting_share": None,
    }
    if spread:
        document["design_effect"] = {
            "exact": exact.design_effect if exact else None,
            **interval(effect, within=POSITIVE),
        }
        document["too_narrow"] = _roots(interval(effect, within=POSITIVE))
    if found is not None:
        document["autocorrelation"] = {
            "requests": found.requests,
            "lag": found.lags,
            "exact": [exact.autocorrelation(lag) for lag in found.lags] if exact else None,
            **intervals(found.autocorrelation, (-1, 1)),
        }
        document["lasting_share"] = {
            "exact": exact.lasting_share if exact else None,
            **interval(found.lasting),
        }
    return {
        **document,
        "survivorship": interval(rising) if layout.depth > 1 else None,
        "rates_by_depth": [_rates_at(measured, k) for k in range(1, layout.depth + 1)],
    }


def _exact_counts(measured: PointData) -> CountMoments | None:
    """Exact moments, where requests have a number of rounds and it is no great one."""
    rounds = measured.experiment.simulation.rounds or 0
    if isinstance(measured.source, Recording) or not 1 < rounds <= MOST_ROUNDS:
        return None
    return count_moments(measured.source, measured.layout.measured_at, rounds)


def _roots(squares: JsonDict) -> JsonDict:
    return {name: value**0.5 for name, value in squares.items()}


def _rates_at(measured: PointData, depth: int) -> JsonDict:
    found = measured.estimates(lambda means, layout: estimate.rates_by_depth(means, layout, depth))
    return {"depth": depth, **intervals(found, SHARE)}
