"""What was fitted, as a document (JSON) and as an experiment (TOML)."""

from __future__ import annotations

import csv
import io

import numpy as np

from mtpsim import __version__
from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.fit.candidates import Candidate
from mtpsim.fit.holdout import accept_lengths
from mtpsim.fit.model import Fitted
from mtpsim.fit.model_selection import CandidateFit


def document(fitted: Fitted) -> JsonDict:
    """All that was found, for other programs."""
    log, rates = fitted.log, fitted.rates
    return {
        "mtpsim": __version__,
        "log": {
            "engine": log.engine,
            "files": [
                {
                    "file": str(source.path),
                    "format": source.format,
                    "entries": source.entries,
                    "skipped": source.skipped,
                }
                for source in log.sources
            ],
            "unit": log.unit,
            "level": log.level,
            "entries": log.count,
            "rounds": int(log.rounds.sum()),
            "depth": log.depth,
        },
        "accept_length": dict(zip(("mean", "low", "high"), rates.length, strict=True)),
        "rates": {
            "definition": "conditional",
            "clustered": rates.clustered,
            "mean": rates.values.tolist(),
            "low": rates.low.tolist(),
            "high": rates.high.tolist(),
            "tried": rates.tried.tolist(),
        },
        "candidates": _candidates(fitted),
        "chosen": fitted.chosen.candidate.name if fitted.chosen else None,
        "acceptance": acceptance_keys(fitted),
        "requests_fitted": fitted.fitted_to[0],
        "rounds_fitted": fitted.fitted_to[1],
        "held_out": [
            {
                "depth": f.depth,
                "accept_length": {"mean": f.seen, "low": f.low, "high": f.high},
                "model_error": f.model / f.seen - 1,
                "closed_form_error": {name: v / f.seen - 1 for name, v in f.closed.items()},
            }
            for f in fitted.forecasts
        ],
        "times": _times(fitted),
        "notes": fitted.notes,
    }


def _candidates(fitted: Fitted) -> list[JsonDict]:
    if fitted.selection is None:
        return []
    return [_candidate(fitted, trial) for trial in fitted.selection.trials]


def _candidate(fitted: Fitted, trial: CandidateFit) -> JsonDict:
    assert fitted.selection is not None
    return {
        "name": trial.name,
        "chosen": trial is fitted.selection.chosen,
        "as_good": trial in fitted.selection.indistinguishable_trials,
        "parameters": trial.whole.numbers.size,
        "held_out": trial.held_out,
        "behind": trial.behind,
        "error": trial.error,
        "log_likelihood": trial.whole.log_likelihood,
        "bic": trial.whole.bic,
        "acceptance": trial.whole.keys,
        "accept_length": accept_lengths(trial.whole.chain, fitted.tokens).tolist(),
        "checks": [
            {
                "name": check.name,
                "log": check.log,
                "low": check.low,
                "mean": check.mean,
                "high": check.high,
                "fits": check.fits,
            }
            for check in fitted.goodness[trial.name].checks
        ],
    }


def _times(fitted: Fitted) -> JsonDict:
    times = fitted.times
    return {
        "by_depth": {str(depth): mean for depth, mean in times.by_depth.items()},
        "draft": times.draft,
        "samples": times.samples.size,
        "laws": [
            {
                "noise": law.keys,
                "log_likelihood": law.log_likelihood,
                "distance": law.distance,
            }
            for law in times.laws
        ],
    }


def acceptance_keys(fitted: Fitted) -> JsonDict:
    """The section ``[acceptance]``: the chosen model, or rates where there was none to choose."""
    if fitted.chosen is not None:
        return fitted.chosen.keys
    return {"model": "independent", "rates": fitted.rates.values.tolist()}


def uncertainty_keys(fitted: Fitted, samples: str, design_effect: float) -> JsonDict:
    """The section ``[uncertainty]``: inputs drawn together, or counts of trials."""
    if fitted.chosen is not None:
        return {"samples": samples}
    rates = fitted.rates
    known: JsonDict = {"low": rates.low.tolist(), "high": rates.high.tolist()}
    inside = (rates.low > 0) & (rates.low < rates.high) & (rates.high < 1)
    if not rates.clustered or not inside.all():
        tried = np.maximum(rates.tried, 1.0)
        known = {"trials": tried.tolist(), "design_effect": design_effect}
    return {"inputs": {"acceptance.rates": known}}


def samples_csv(candidate: Candidate, sampled: Floats) -> str:
    """Drawn inputs, a row a draw and a column a number of the experiment."""
    rows = [_numbers(candidate, numbers) for numbers in sampled]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([f"{value:.9g}" for value in row.values()] for row in rows)
    return text.getvalue()


def _numbers(candidate: Candidate, numbers: Floats) -> dict[str, float]:
    """Fitted numbers by the key and place that they have in the file."""
    keys, found = candidate.keys(numbers), {}
    for key in candidate.keys_that_vary():
        for place, value in np.ndenumerate(np.array(keys[key], float)):
            found[f"acceptance.{key}" + "".join(f"[{i}]" for i in place)] = float(value)
    return found
