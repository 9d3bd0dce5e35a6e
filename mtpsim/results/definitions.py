"""Errors of the closed form by definition of the rates, and dependence between rounds."""

from itertools import product

import numpy as np

from mtpsim.acceptance import Recording
from mtpsim.exact.chain_solver import CountMoments, count_moments
from mtpsim.formula.closed_form import DEFINITIONS, WEIGHTINGS, Weighting
from mtpsim.report.document import (
    Autocorrelation,
    DefinitionDepth,
    DefinitionRow,
    Definitions,
    Diagnostics,
    ExactInterval,
    JudgedInterval,
    RatesAtDepth,
    Recorded,
)
from mtpsim.results.point_data import POSITIVE, SHARE, PointData, interval, series
from mtpsim.stats import estimators
from mtpsim.stats.autocorrelation import MOST_ROUNDS
from mtpsim.stats.estimators import ClosedFormPredictor, Estimates


def trial(measured: PointData, verdicts: list[str]) -> Definitions:
    """Closed-form errors of every definition and weighting at every depth."""
    chosen, times = measured.theory, measured.theory.times
    known = (chosen.definition, chosen.weighting) if chosen.rates is None else None
    rows = [
        chosen
        if (definition, weighting) == known  # whose estimates are known
        else ClosedFormPredictor(times, None, definition, weighting)
        for weighting, definition in product(_weightings(measured), DEFINITIONS)
    ]
    stated = measured.experiment.input_rates
    if stated is not None:
        rows.insert(0, chosen if known is None else ClosedFormPredictor(times, stated))
    return Definitions(
        measured_at=measured.layout.measured_at,
        rows=[_row(measured, theory, _same(theory, chosen, measured), verdicts) for theory in rows],
    )


def _weightings(measured: PointData) -> list[Weighting]:
    """Those that differ: without text positions, every position is every round."""
    by_position = measured.plan.clock == "token"
    return [w for w in WEIGHTINGS if by_position or w != "every-position"]


def _same(theory: ClosedFormPredictor, chosen: ClosedFormPredictor, measured: PointData) -> bool:
    if chosen.rates is not None or theory.rates is not None:
        return (chosen.rates is None) == (theory.rates is None)
    weighting = chosen.weighting if chosen.weighting in _weightings(measured) else "round-pooled"
    return (theory.definition, theory.weighting) == (chosen.definition, weighting)


def _row(
    measured: PointData, theory: ClosedFormPredictor, chosen: bool, verdicts: list[str]
) -> DefinitionRow:
    """One definition; the chosen one has the ``verdicts`` adjusted over the sweep."""
    stated = theory.rates is not None
    lengths, speedups = measured.estimates(theory.length_error), measured.estimates(theory.error)
    return DefinitionRow(
        definition="stated" if stated else theory.definition,
        weighting=None if stated else theory.weighting,
        chosen=chosen,
        rates=series(measured.estimates(theory.rates_used), SHARE),
        depths=[
            DefinitionDepth(
                depth=k,
                accept_length_error=_tested(measured, lengths, k),
                speedup_error=_tested(measured, speedups, k, verdicts[k - 1] if chosen else None),
            )
            for k in range(1, measured.layout.depth + 1)
        ],
    )


def _tested(
    measured: PointData, errors: Estimates, depth: int, verdict: str | None = None
) -> JudgedInterval:
    decided = verdict or measured.error(errors, depth).verdict
    return JudgedInterval(verdict=decided, **vars(interval(errors, depth)))


def diagnostics(measured: PointData) -> Diagnostics:
    """Correlation between rounds, and rates by position and depth."""
    layout, dependence, exact = measured.layout, measured.dependence, _exact_counts(measured)
    effect = measured.estimates(estimators.design_effect)
    found = Diagnostics(
        measured_at=layout.measured_at,
        rates_by_depth=[_rates_at(measured, k) for k in range(1, layout.depth + 1)],
        recorded=_recorded(measured),
    )
    if layout.depth > 1:
        found.survivorship = interval(measured.estimates(estimators.survivorship))
    if np.isfinite(effect.values[0]) and effect.values[0] > 0:
        ends = interval(effect, within=POSITIVE)
        found.design_effect = ExactInterval(
            exact=exact.design_effect if exact else None, **vars(ends)
        )
        found.too_narrow = ends.map(lambda value: value**0.5)
    if dependence is not None:
        found.autocorrelation = Autocorrelation(
            requests=dependence.requests,
            lag=dependence.lags,
            exact=[exact.autocorrelation(lag) for lag in dependence.lags] if exact else None,
            **vars(series(dependence.autocorrelation, (-1, 1))),
        )
        found.lasting_share = ExactInterval(
            exact=exact.lasting_share if exact else None, **vars(interval(dependence.lasting_share))
        )
    return found


def _recorded(measured: PointData) -> Recorded | None:
    """Return the log's accept length beside that of requests played in recorded order."""
    source = measured.source
    if not isinstance(source, Recording) or not source.in_order:
        return None
    if not 0 < source.recorded_depth <= source.depth:
        return None
    lengths = measured.estimates(estimators.accept_length).values
    return Recorded(
        depth=source.recorded_depth,
        accept_length=float(lengths[source.recorded_depth]),
        log=source.recorded_length,
        once=measured.tally.count % source.requests == 0,
    )


def _exact_counts(measured: PointData) -> CountMoments | None:
    """Exact moments, if requests have a fixed, small number of rounds."""
    rounds = measured.experiment.simulation.rounds or 0
    chain = measured.source.hidden_chain
    if chain is None or not 1 < rounds <= MOST_ROUNDS:
        return None
    return count_moments(chain, measured.layout.measured_at, rounds)


def _rates_at(measured: PointData, depth: int) -> RatesAtDepth:
    found = measured.estimates(
        lambda means, layout: estimators.rates_by_depth(means, layout, depth)
    )
    return RatesAtDepth(depth=depth, **vars(series(found, SHARE)))
