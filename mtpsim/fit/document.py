"""The report of a fit (JSON), and the sections of the fitted experiment (TOML)."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mtpsim import __version__
from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.fit.by_depth import AtDepth
from mtpsim.fit.candidates import CONDITIONAL, Candidate
from mtpsim.fit.chain_report import ChainReport, chain_report
from mtpsim.fit.clock_test import ClockTest
from mtpsim.fit.draft_lengths import DraftLengths, draft_section
from mtpsim.fit.holdout import accept_lengths
from mtpsim.fit.model import LogFit
from mtpsim.fit.model_selection import CandidateFit, Selection
from mtpsim.fit.rates import Interval
from mtpsim.fit.replay_report import ReplayReport
from mtpsim.fit.replicas import Check, CheckKind
from mtpsim.fit.throughput import SpeedCheck
from mtpsim.logs import Log
from mtpsim.logs.reducer import LogFile

# Fields of the classes below are the keys of the JSON document.


@dataclass(frozen=True)
class LogReport:
    """What was read: the engine, unit and granularity (``level``) of the log, and its size.

    ``drafted`` and ``mean_drafts`` are null where drafts are not logged, ``histogram`` (rounds by
    accepted drafts) where only totals are. ``requests`` or ``windows`` is null by the unit.
    """

    engine: str
    files: list[LogFile]
    unit: str
    level: str
    entries: int
    requests: int | None
    windows: int | None
    rounds: int
    accepted: int
    drafted: int | None
    mean_drafts: float | None
    undrafted_rounds: int
    depth: int
    accept_length: float
    histogram: list[int] | None


@dataclass(frozen=True)
class RatesReport:
    """Conditional rates by position ``[K]``, with intervals and the rounds that reached each."""

    definition: str
    clustered: bool
    one_rate: bool
    mean: list[float]
    survival: list[float]
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
        accept_length: ``[K]`` expected at depths 1 to K in requests of ``FitReport.tokens`` tokens.
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
    """Accept length of held-out requests at a depth, and the relative errors of predictions.

    ``standard_error`` is that of the errors, relative too, if the model is right.
    """

    depth: int
    accept_length: Interval
    standard_error: float
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
    """Mean ms per round by depth and of drafting, and distributions fitted to single rounds.

    ``round_ms`` is that of the largest depth measured, ``draft_ms`` is ``draft``.
    """

    by_depth: dict[str, float]
    draft: float | None
    round_ms: float | None
    draft_ms: float | None
    samples: int
    distributions: list[NoiseReport]


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
        tokens: tokens per request of the candidates' accept lengths: the log's median, or 512.
        held_out: predictions of held-out requests by depth; empty if none are held out.
        by_depth: accept length and ms per round at each depth, measured and predicted; empty if the
            log has one depth and no random numbers of proposed drafts.
        times: round times.
        speed: tokens per second of the log and of the experiment; None without times.
        notes: what the log can't show, and what was assumed.
        warnings: mean times that are not plausible, and a model whose other depths are refuted, a
            sentence each.
        replay: accept lengths by posterior replay; None unless asked for.
        other_depths: accept lengths by a token chain with a prior; None where the log has rounds in
            order.
        clock_tests: tests of a state that moves by round; empty without rounds in order.
        draft: the section ``[draft]``; None if the number of proposed drafts is not random.
        lengths: number of proposed drafts per round; None with ``draft``.
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
    tokens: int
    held_out: list[HeldOutReport]
    by_depth: list[AtDepth]
    times: TimesReport
    speed: SpeedCheck | None
    notes: list[str]
    warnings: list[str]
    replay: ReplayReport | None = None
    other_depths: ChainReport | None = None
    clock_tests: Sequence[ClockTest] = ()
    draft: JsonDict | None = None
    lengths: DraftLengths | None = None

    @property
    def chosen_candidate(self) -> CandidateReport | None:
        """The selected candidate."""
        return next((entry for entry in self.candidates if entry.chosen), None)

    def document(self) -> JsonDict:
        """Return the report as a JSON document."""
        found = asdict(self)
        found["times"]["laws"] = found["times"]["distributions"]  # former name
        return found


def fit_report(
    fit: LogFit,
    speed: SpeedCheck | None = None,
    warnings: Sequence[str] = (),
    replay: ReplayReport | None = None,
) -> FitReport:
    """Return the report of a fit, with the comparison of speeds and the replay if there are any."""
    rates, times = fit.rates, fit.times
    found = fit.selection
    return FitReport(
        mtpsim=__version__,
        log=_log_report(fit.log),
        accept_length=rates.accept_length,
        rates=RatesReport(
            definition="conditional",
            clustered=rates.clustered,
            one_rate=rates.one_rate,
            mean=rates.values.tolist(),
            survival=rates.survival.tolist(),
            low=rates.low.tolist(),
            high=rates.high.tolist(),
            tried=rates.trials.tolist(),
        ),
        candidates=[_candidate_report(fit, found, one) for one in found.fits] if found else [],
        chosen=fit.chosen.candidate.name if fit.chosen else None,
        acceptance=acceptance_section(fit),
        requests_fitted=fit.requests_fitted,
        rounds_fitted=fit.rounds_fitted,
        tokens=fit.tokens,
        held_out=[
            HeldOutReport(
                depth=p.depth,
                accept_length=p.observed,
                standard_error=p.error / p.observed.mean,
                model_error=p.model / p.observed.mean - 1,
                closed_form_error={k: v / p.observed.mean - 1 for k, v in p.closed_form.items()},
            )
            for p in fit.predictions
        ],
        by_depth=fit.by_depth,
        times=TimesReport(
            by_depth={str(depth): mean for depth, mean in times.by_depth.items()},
            draft=times.draft,
            round_ms=times.by_depth[max(times.by_depth)] if times.by_depth else None,
            draft_ms=times.draft,
            samples=times.samples.size,
            distributions=[
                NoiseReport(n.section, n.log_likelihood, n.distance) for n in times.noise
            ],
        ),
        speed=speed,
        notes=fit.notes,
        warnings=list(dict.fromkeys([*fit.warnings, *warnings])),
        replay=replay,
        other_depths=chain_report(fit.log, fit.aggregated, rates.values)
        if fit.aggregated
        else None,
        clock_tests=fit.clock_tests,
        draft=draft_section(fit.chosen) if fit.chosen and fit.lengths else None,
        lengths=fit.lengths,
    )


def _log_report(log: Log) -> LogReport:
    drafted = None if np.isnan(log.drafted).any() else int(log.drafted.sum())
    rounds, accepted = int(log.rounds.sum()), int(log.accepted.sum())
    counts = np.append(log.hit.sum(0), 0)
    return LogReport(
        engine=log.engine,
        files=log.files,
        unit=log.unit,
        level=log.level,
        entries=log.count,
        requests=log.count if log.unit == "request" else None,
        windows=log.count if log.unit == "window" else None,
        rounds=rounds,
        accepted=accepted,
        drafted=drafted,
        mean_drafts=None if drafted is None else drafted / max(rounds, 1),
        undrafted_rounds=log.undrafted,
        depth=log.depth,
        accept_length=log.accept_length,
        histogram=None if log.level == "totals" else (-np.diff(counts, prepend=rounds)).tolist(),
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
    rates: JsonDict = {"rates": fit.rates.values.tolist()}
    if fit.rates.one_rate:
        rates = {"rate": float(fit.rates.values[0]), "depth": fit.log.depth}
    return {"model": "independent", **rates, **CONDITIONAL}


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
    low, high, trials = rates.low, rates.high, np.maximum(rates.trials.round(), 1.0)
    # A position that was never reached follows one that accepted nothing: it is no coin flip.
    last = np.maximum.accumulate(np.where(rates.trials > 0, np.arange(trials.size), 0))
    trials = trials[last]
    if rates.one_rate:  # measured by all trials at all positions
        low, high, trials = low[0], high[0], np.maximum(rates.trials.sum().round(), 1.0)
    known: JsonDict = {"low": low.tolist(), "high": high.tolist()}
    inside = (rates.low > 0) & (rates.low < rates.high) & (rates.high < 1)
    if not rates.clustered or not inside.all():
        known = {"trials": trials.tolist(), "design_effect": design_effect}
    return {"inputs": {f"acceptance.{'rate' if rates.one_rate else 'rates'}": known}}


def samples_csv(candidate: Candidate, draws: Floats) -> str:
    """Return parameter draws as CSV, a row per draw and a column per number of the experiment.

    Args:
        candidate: fitted candidate.
        draws: ``[n, P]`` draws of its parameters.
    """
    keys = [f"acceptance.{key}" for key in candidate.fitted_keys]
    keys += ["draft.lengths"] * bool(candidate.lengths)
    rows = []
    for one in draws:
        row = {f"acceptance.{key}": part for key, part in candidate.section(one).items()}
        if candidate.lengths:
            row["draft.lengths"] = np.squeeze(candidate.lengths.law(one)).tolist()
        rows.append(row)
    return _draws_csv(rows, keys)


def sections_csv(sections: Sequence[JsonDict], keys: Sequence[str]) -> str:
    """Return draws of a section ``[acceptance]`` as CSV, a row per draw.

    Args:
        sections: the section of each draw.
        keys: keys whose numbers differ between draws.
    """
    named = [{f"acceptance.{key}": part for key, part in one.items()} for one in sections]
    return _draws_csv(named, [f"acceptance.{key}" for key in keys])


def _draws_csv(draws: Sequence[JsonDict], keys: Sequence[str]) -> str:
    rows = [_numbers(draw, keys) for draw in draws]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    # The rows of these add up to 1.
    digits = {key: 12 if "step[" in key or "lengths[" in key else 9 for key in rows[0]}
    writer.writerows([f"{row[key]:.{digits[key]}g}" for key in digits] for row in rows)
    return text.getvalue()


def _numbers(draw: JsonDict, keys: Sequence[str]) -> dict[str, float]:
    """Return the numbers of the inputs of an experiment, by dotted key and index."""
    found = {}
    for key in keys:
        for index, value in np.ndenumerate(np.array(draw[key], float)):
            found[key + "".join(f"[{i}]" for i in index)] = float(value)
    return found
