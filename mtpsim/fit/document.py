"""The report of a fit (JSON), and the sections of the fitted experiment (TOML)."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass

import numpy as np

from mtpsim import __version__
from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.fit.candidates import CONDITIONAL, Candidate
from mtpsim.fit.holdout import accept_lengths
from mtpsim.fit.model import LogFit
from mtpsim.fit.model_selection import CandidateFit, Selection
from mtpsim.fit.rates import Interval
from mtpsim.fit.replicas import Check, CheckKind
from mtpsim.logs import Log
from mtpsim.logs.reducer import LogFile

# Fields of the classes below are the keys of the JSON document.


@dataclass(frozen=True)
class LogReport:
    """What was read: the engine, unit and granularity (``level``) of the log, and its size."""

    engine: str
    files: list[LogFile]
    unit: str
    level: str
    entries: int
    rounds: int
    depth: int


@dataclass(frozen=True)
class RatesReport:
    """Conditional rates by position ``[K]``, with intervals and the rounds that reached each."""

    definition: str
    clustered: bool
    mean: list[float]
    low: list[float]
    high: list[float]
    tried: list[float]


@dataclass(frozen=True)
class CandidateReport:
    """A fitted candidate.

    Attributes:
        name: name of the candidate.
        chosen: whether it is selected.
        as_good: whether the log does not distinguish it from the selected one.
        parameters: number of fitted parameters.
        held_out: mean log-likelihood per held-out request; None if none are held out.
        behind: by how much ``held_out`` is below the best.
        error: standard error of ``behind``.
        log_likelihood: log-likelihood of all requests.
        bic: Schwarz' criterion.
        acceptance: the section ``[acceptance]``.
        accept_length: ``[K]`` accept length at depths 1 to K.
        checks: features of the log compared with replicas.
    """

    name: str
    chosen: bool
    as_good: bool
    parameters: int
    held_out: float | None
    behind: float
    error: float
    log_likelihood: float
    bic: float
    acceptance: JsonDict
    accept_length: list[float]
    checks: list[Check]

    @property
    def failed_kinds(self) -> list[CheckKind]:
        """Kinds of features that the model does not reproduce, each once."""
        return list(dict.fromkeys(check.kind for check in self.checks if not check.fits))


@dataclass(frozen=True)
class HeldOutReport:
    """Accept length of held-out requests at a depth, and the relative errors of predictions."""

    depth: int
    accept_length: Interval
    model_error: float
    closed_form_error: dict[str, float]


@dataclass(frozen=True)
class NoiseReport:
    """A noise distribution: its section, log-likelihood and Kolmogorov-Smirnov distance."""

    noise: JsonDict
    log_likelihood: float
    distance: float


@dataclass(frozen=True)
class TimesReport:
    """Mean ms per round by depth and of drafting, and distributions fitted to single rounds."""

    by_depth: dict[str, float]
    draft: float | None
    samples: int
    laws: list[NoiseReport]


@dataclass(frozen=True)
class FitReport:
    """All results of a fit.

    Attributes:
        mtpsim: version of mtpsim.
        log: what was read.
        accept_length: mean accept length with its interval.
        rates: rates by position.
        candidates: fitted candidates; empty if there are only totals or too few requests.
        chosen: name of the selected candidate; None without candidates.
        acceptance: the section ``[acceptance]``.
        requests_fitted: number of requests that candidates were fitted to.
        rounds_fitted: number of rounds that candidates were fitted to.
        held_out: predictions of held-out requests by depth; empty if none are held out.
        times: round times.
        notes: what the log can't show, and what was assumed.
    """

    mtpsim: str
    log: LogReport
    accept_length: Interval
    rates: RatesReport
    candidates: list[CandidateReport]
    chosen: str | None
    acceptance: JsonDict
    requests_fitted: int
    rounds_fitted: int
    held_out: list[HeldOutReport]
    times: TimesReport
    notes: list[str]

    @property
    def chosen_candidate(self) -> CandidateReport | None:
        """The selected candidate."""
        return next((entry for entry in self.candidates if entry.chosen), None)

    def document(self) -> JsonDict:
        """Return the report as a JSON document."""
        return asdict(self)


def fit_report(fit: LogFit) -> FitReport:
    """Return the report of a fit."""
    rates, times = fit.rates, fit.times
    found = fit.selection
    return FitReport(
        mtpsim=__version__,
        log=_log_report(fit.log),
        accept_length=rates.accept_length,
        rates=RatesReport(
            definition="conditional",
            clustered=rates.clustered,
            mean=rates.values.tolist(),
            low=rates.low.tolist(),
            high=rates.high.tolist(),
            tried=rates.trials.tolist(),
        ),
        candidates=[_candidate_report(fit, found, one) for one in found.fits] if found else [],
        chosen=fit.chosen.candidate.name if fit.chosen else None,
        acceptance=acceptance_section(fit),
        requests_fitted=fit.requests_fitted,
        rounds_fitted=fit.rounds_fitted,
        held_out=[
            HeldOutReport(
                depth=p.depth,
                accept_length=p.observed,
                model_error=p.model / p.observed.mean - 1,
                closed_form_error={k: v / p.observed.mean - 1 for k, v in p.closed_form.items()},
            )
            for p in fit.predictions
        ],
        times=TimesReport(
            by_depth={str(depth): mean for depth, mean in times.by_depth.items()},
            draft=times.draft,
            samples=times.samples.size,
            laws=[NoiseReport(n.section, n.log_likelihood, n.distance) for n in times.noise],
        ),
        notes=fit.notes,
    )


def _log_report(log: Log) -> LogReport:
    return LogReport(
        engine=log.engine,
        files=log.files,
        unit=log.unit,
        level=log.level,
        entries=log.count,
        rounds=int(log.rounds.sum()),
        depth=log.depth,
    )


def _candidate_report(fit: LogFit, selection: Selection, one: CandidateFit) -> CandidateReport:
    return CandidateReport(
        name=one.name,
        chosen=one is selection.chosen,
        as_good=one in selection.indistinguishable,
        parameters=one.refit.parameters.size,
        held_out=one.score,
        behind=one.behind,
        error=one.behind_se,
        log_likelihood=one.refit.log_likelihood,
        bic=one.refit.bic,
        acceptance=one.refit.section,
        accept_length=accept_lengths(one.refit.chain, fit.tokens).tolist(),
        checks=fit.goodness[one.name].checks,
    )


def acceptance_section(fit: LogFit) -> JsonDict:
    """Return the section ``[acceptance]``: the selected model, or else rates by position."""
    if fit.chosen is not None:
        return fit.chosen.section
    return {"model": "independent", "rates": fit.rates.values.tolist(), **CONDITIONAL}


def uncertainty_section(fit: LogFit, samples: str, design_effect: float) -> JsonDict:
    """Return the section ``[uncertainty]``: a file of draws, or else intervals or counts of rates.

    Args:
        fit: fit of a log.
        samples: name of the file of parameter draws.
        design_effect: factor by which variances exceed those of independent rounds; used where
            the intervals are not clustered.
    """
    if fit.chosen is not None:
        return {"samples": samples}
    rates = fit.rates
    known: JsonDict = {"low": rates.low.tolist(), "high": rates.high.tolist()}
    inside = (rates.low > 0) & (rates.low < rates.high) & (rates.high < 1)
    if not rates.clustered or not inside.all():
        trials = np.maximum(rates.trials, 1.0)
        known = {"trials": trials.tolist(), "design_effect": design_effect}
    return {"inputs": {"acceptance.rates": known}}


def samples_csv(candidate: Candidate, draws: Floats) -> str:
    """Return parameter draws as CSV, a row per draw and a column per number of the experiment.

    Args:
        candidate: fitted candidate.
        draws: ``[n, P]`` draws of its parameters.
    """
    rows = [_numbers(candidate, parameters) for parameters in draws]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([f"{value:.9g}" for value in row.values()] for row in rows)
    return text.getvalue()


def _numbers(candidate: Candidate, parameters: Floats) -> dict[str, float]:
    """Return the fitted numbers of the experiment, by key and index."""
    section, found = candidate.section(parameters), {}
    for key in candidate.fitted_keys:
        for index, value in np.ndenumerate(np.array(section[key], float)):
            found[f"acceptance.{key}" + "".join(f"[{i}]" for i in index)] = float(value)
    return found
