"""Accept lengths at other depths of a log without rounds in order, as a report and as TOML."""

from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.fit.aggregated_chain import AggregatedFit
from mtpsim.fit.by_depth import measured_at, no_surer
from mtpsim.fit.candidates import CONDITIONAL
from mtpsim.fit.rates import Interval
from mtpsim.formula.closed_form import accept_length
from mtpsim.logs import Log

DRAWS = 500


@dataclass(frozen=True)
class ChainDepth:
    """Accept length at a depth.

    Attributes:
        depth: number of drafts per round.
        measured: accept length of the rounds at this depth; None where there are none.
        predicted: accept length of the token chain.
        closed_form: accept length by the closed form; the last rate goes on beyond the log.
        extrapolated: whether the depth is beyond the deepest one of the log.
    """

    depth: int
    measured: Interval | None
    predicted: Interval
    closed_form: float
    extrapolated: bool


@dataclass(frozen=True)
class ChainReport:
    """A token chain fitted to counts without the order of rounds.

    Attributes:
        acceptance: section ``[acceptance]`` of the draw nearest to the means.
        depths: accept length by depth.
        notes: what was assumed, and what the chain does not reproduce.
    """

    acceptance: JsonDict
    depths: list[ChainDepth]
    notes: list[str]


def chain_report(
    log: Log, fit: AggregatedFit, rates: Floats, confidence: float = 0.95
) -> ChainReport:
    """Return the accept lengths of a chain at all its depths.

    Args:
        log: log that was fitted.
        fit: posterior draws of chains.
        rates: ``[K]`` conditional rates of the log, for the closed form.
        confidence: level of the intervals.
    """
    closed = accept_length(np.append(rates, np.repeat(rates[-1:], fit.depth - rates.size)))
    depths = []
    for k in range(1, fit.depth + 1):
        measured, predicted = measured_at(log, k, confidence), fit.predict(k, confidence)
        if measured and len(fit.counts) == 1:
            predicted = no_surer(predicted, measured)
        depths.append(ChainDepth(k, measured, predicted, float(closed[k]), k > fit.known))
    return ChainReport(
        acceptance=chain_section(fit, fit.typical_draw(), fit.known),
        depths=depths,
        notes=[*_assumed(fit, depths), *fit.misfit()],
    )


def _assumed(fit: AggregatedFit, depths: list[ChainDepth]) -> list[str]:
    """Return what the counts leave to the prior, and what a second depth would add."""
    if len(fit.counts) > 1:
        return []
    other = depths[0 if fit.known > 1 else 1]
    half = 100 * (other.predicted.high - other.predicted.low) / 2 / other.predicted.mean
    return [
        "counts of one depth do not tell how rounds depend: a prior of text and drafters is "
        f"assumed, and depth {other.depth} is uncertain by ±{half:.1f} %; counts at depth "
        f"{other.depth} too, or rounds in order, would measure it"
    ]


def chain_section(fit: AggregatedFit, draw: int, depth: int) -> JsonDict:
    """Return the section ``[acceptance]`` of a draw: two states with a stay each."""
    chain = fit.chain(draw)
    return {
        "model": "regime",
        "clock": "token",
        "rates": chain.accept(depth).round(6).tolist(),
        **CONDITIONAL,
        "sojourn": (1 / (1 - np.diag(chain.step))).round(4).tolist(),
    }


def chain_draws(fit: AggregatedFit, depth: int) -> list[JsonDict]:
    """Return sections ``[acceptance]`` of 500 draws."""
    chosen = np.linspace(0, len(fit.level) - 1, DRAWS).round().astype(int)
    return [chain_section(fit, int(draw), depth) for draw in chosen]
