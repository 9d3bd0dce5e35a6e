"""Fit cost models to measured step times in a CSV file.

Errors are relative, because step times span orders of magnitude between batch sizes. Models are
compared by leave-one-out error; standard errors are those of the jackknife. A law that is off by
more than 3 % at a step is refused where a table of the measured steps predicts left-out ones with
at most 0.8 times its error.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import InputError, Problem
from mtpsim.common.text import counted
from mtpsim.fit.round_times import usable_rows
from mtpsim.fit.step_tables import measured_table
from mtpsim.latency import COSTS, CostModel
from mtpsim.latency.cost_model import POOR_FIT
from mtpsim.latency.experts import experts_hit
from mtpsim.logs import Log
from mtpsim.logs.entry import MAX_TIME_MS, MIN_TIME_MS
from mtpsim.logs.files import csv_delimiter, csv_number, header_of, open_text

COLUMNS = ("batch", "depth", "verify", "draft", "cached")
BY_TOKENS = ("tokens", "requests", "verify", "draft", "cached")
OTHER_NAMES = {
    **dict.fromkeys(("bs", "batch_size", "concurrency"), "batch"),
    **dict.fromkeys(
        ("k", "n_max", "draft_len", "num_drafts", "num_speculative_tokens", "spec_tokens"), "depth"
    ),
    **dict.fromkeys(("num_tokens", "n_tokens"), "tokens"),
    **dict.fromkeys(("num_reqs", "num_requests"), "requests"),
    **dict.fromkeys(("verify_ms", "target_ms", "step_ms", "step_time_ms"), "verify"),
    **dict.fromkeys(("draft_ms", "draft_time_ms"), "draft"),
    **dict.fromkeys(("context", "cached_tokens", "kv_tokens"), "cached"),
}
AMBIGUOUS = dict.fromkeys(("ms", "time_ms", "latency_ms"), "verify")
REQUIRED = ("batch", "depth", "verify")
MIN_STEPS = 4
MOST_OVERLAP = 0.99  # of the experts of neighbouring tokens
BETTER = 0.8  # ratio of leave-one-out errors from which a table is preferred to a poor law
LEAST_ERROR = 2e-6  # relative; an experiment takes none below 1e-6
TOLERANCE = 1.05  # ratio of leave-one-out errors up to which the simpler model is preferred


@dataclass(frozen=True)
class StepTimes:
    """Measured steps.

    Attributes:
        batch: ``[n]`` number of requests in the batch.
        depth: ``[n]`` number of drafts per request.
        verify: ``[n]`` ms of the verification pass.
        draft: ``[n]`` ms of drafting; 0 where not measured.
        cached: ``[n]`` cached tokens per request; 0 where not measured.
        has_draft: whether drafting was measured.
        by_tokens: whether the tokens of a pass were given, so that the depth may be any number.
        whole_rounds: whether ``verify`` holds rounds with their drafting.
    """

    batch: Floats
    depth: Floats
    verify: Floats
    draft: Floats
    cached: Floats
    has_draft: bool = True
    by_tokens: bool = False
    whole_rounds: bool = False

    def without(self, row: int) -> StepTimes:
        """Return all steps but one."""
        parts: dict[str, Any] = {name: np.delete(getattr(self, name), row) for name in COLUMNS}
        return replace(self, **parts)

    @property
    def tokens(self) -> Floats:
        """Tokens per pass, ``[n]``."""
        return np.asarray(self.batch * (self.depth + 1))


@dataclass(frozen=True)
class CostModelFit:
    """A fitted cost model, or a table of the measured steps.

    Attributes:
        section: keys of the section ``[latency]``.
        standard_errors: standard errors above 0, by key.
        left_out_error: root mean square of the relative leave-one-out errors.
        worst_error: largest relative error of a fitted step.
        errors: relative errors of the fitted steps, least and greatest.
        refused: whether it is off by more than the differences that it should decide, and a table
            of the measured steps is better.
    """

    section: JsonDict
    standard_errors: dict[str, float]
    left_out_error: float
    worst_error: float
    errors: tuple[float, float] = (0.0, 0.0)
    refused: bool = False

    @property
    def name(self) -> str:
        """Name of the model, with the term that it has beside the usual ones."""
        extra = ", experts shared by neighbouring tokens" * ("expert_overlap" in self.section)
        extra += ", context read by each token" * ("per_cached_token" in self.section)
        return f"{self.section['model']}{extra}"

    @property
    def depth(self) -> int | None:
        """Greatest depth of a table; None for a model of any depth."""
        return len(self.section["verify"][0]) - 1 if self.section["model"] == "table" else None

    @property
    def is_table(self) -> bool:
        """Whether it holds the measured times as they are."""
        return self.section["model"] in ("table", "steps")

    @property
    def most_tokens(self) -> int | None:
        """Most tokens of a measured pass, of a table by tokens."""
        by_tokens = self.section["model"] == "steps"
        return int(self.section["verify"]["tokens"][-1]) if by_tokens else None


def is_step_table(path: Path) -> bool:
    """Return whether a file is a table of step times, by its header.

    Raises:
        InputError: the file can't be read, or is empty.
    """
    header = set(_named(header_of(path)))
    by_tokens = {"tokens", "verify"} <= header <= set(BY_TOKENS)
    return by_tokens or (len(header) > 1 and bool(header & {"batch", "verify"}))


def _named(header: list[str]) -> list[str]:
    """Return the names of columns as they are here; ambiguous ones only beside a batch size."""
    same = {*COLUMNS, *BY_TOKENS}
    known = [name if name in same else OTHER_NAMES.get(name.lower(), name) for name in header]
    if "tokens" in known:
        known = ["requests" if name == "batch" else name for name in known]
    if {"batch", "depth"} <= set(known) or "tokens" in known:
        known = [AMBIGUOUS.get(name.lower(), name) for name in known]
    return [new if known.count(new) == 1 else old for new, old in zip(known, header, strict=True)]


def read_step_times(path: Path) -> StepTimes:
    """Read step times from a CSV file, delimited by commas, semicolons or tabs.

    Args:
        path: file with columns ``batch``, ``depth``, ``verify`` and optionally ``draft`` (0 if
            left out) and ``cached`` (0 if left out), or under one of ``OTHER_NAMES``; or with
            ``tokens`` of the pass and ``requests`` (1 if left out) in place of batch and depth.

    Raises:
        InputError: the file can't be read, a column is missing or unknown, a number is malformed
            or out of range (with its line), or there are fewer than 4 steps.
    """
    with open_text(path) as (text, _):
        lines = text.readlines()
    if not lines:
        raise InputError.of("is empty", file=path)
    delimiter = csv_delimiter(lines[0])
    try:
        names, *rows = csv.reader(lines, delimiter=delimiter)
    except csv.Error as broken:  # as a cell of more than 131,072 characters
        raise InputError.of(f"is not a CSV table: {broken}", file=path) from None
    header = _named([name.strip() for name in names])
    by_tokens = "tokens" in header
    required, allowed = (("tokens", "verify"), BY_TOKENS) if by_tokens else (REQUIRED, COLUMNS)
    problems = [
        Problem(f"column {name!r} is missing", file=str(path), line=1, kind="missing")
        for name in required
        if name not in header
    ]
    for name in [name for name in header if name not in allowed]:
        error = InputError.of(
            f"unknown column {name!r}", file=path, line=1, given=name, allowed=allowed
        )
        problems += error.problems
    values = []
    for line, row in enumerate(rows, 2):
        if any(cell.strip() for cell in row):
            try:
                if len(row) != len(header):
                    raise ValueError(f"{delimiter.join(row)!r}: {len(header)} numbers are needed")
                cells = zip(header, row, strict=True)
                step = {name: csv_number(name, cell, delimiter) for name, cell in cells}
                values.append(_with_depth(step) if by_tokens else step)
                message = _implausible(values[-1])
            except ValueError as error:
                message = str(error)
            problems += [Problem(message, file=str(path), line=line)] if message else []
    if problems:
        raise InputError(problems)
    columns: dict[str, Any] = {
        name: np.array([row.get(name, 0.0) for row in values]) for name in COLUMNS
    }
    steps = StepTimes(**columns, has_draft="draft" in header, by_tokens=by_tokens)
    if len(values) < MIN_STEPS and not (values and _table(steps)):
        message = f"{counted(len(values), 'step', 'are')} given; at least {MIN_STEPS} are needed"
        raise InputError.of(message, file=path)
    return steps


def _with_depth(step: dict[str, float]) -> dict[str, float]:
    """A step by tokens and requests as one of a batch, with its mean depth."""
    tokens, batch = step.pop("tokens", 0.0), step.pop("requests", 1.0)
    if tokens < batch:
        raise ValueError(f"{tokens:g} tokens of {batch:g} requests; each has at least 1 token")
    return {**step, "batch": batch, "depth": tokens / batch - 1 if batch else 0.0, "tokens": tokens}


def _implausible(step: dict[str, float]) -> str:
    if not all(math.isfinite(value) for value in step.values()):
        return "numbers must be finite"
    if step.get("batch", 1) < 1:
        return f"batch {step['batch']:g} is given; it must be at least 1"
    if step.get("depth", 0) < 0 or (step.get("depth", 0) % 1 and "tokens" not in step):
        return f"depth {step['depth']:g} is given; it must be 0, 1, 2, ..."
    if step.get("verify", 1) <= 0:
        return f"{step['verify']:g} ms is given; a time must be above 0"
    times = [step[name] for name in ("verify", "draft") if step.get(name)]
    if not all(MIN_TIME_MS <= abs(time) <= MAX_TIME_MS for time in times):
        return f"times of {' and '.join(f'{time:g}' for time in times)} ms are implausible"
    if min(step.get("draft", 0), step.get("cached", 0)) < 0:
        return "draft and cached can't be negative"
    return ""


def _least_squares(columns: list[Floats], times: Floats) -> Floats:
    """Return the non-negative coefficients of least squared relative error."""
    from scipy.optimize import nnls

    found, _ = nnls(np.stack(columns, axis=1) / times[:, None], np.ones(len(times)))
    return np.asarray(found)


def _context(steps: StepTimes, each_token: bool) -> list[Floats]:
    if not steps.cached.any():
        return []
    once = steps.batch * steps.cached
    return [once, once * (steps.depth + 1)] if each_token else [once]


def _linear(steps: StepTimes, each_token: bool = False) -> JsonDict:
    drafts = [steps.depth] if steps.whole_rounds else []
    columns = [np.ones(len(steps.batch)), steps.tokens, *drafts, *_context(steps, each_token)]
    base, per_token, *rest = _least_squares(columns, steps.verify)
    found = {"model": "linear", "base": base, "per_token": per_token}
    if drafts:
        found["draft"] = {"base": 0.0, "per_token": rest.pop(0)}
    return {**found, **_per_cached(rest)}


def _per_cached(found: Sequence[float]) -> JsonDict:
    return dict(zip(("per_cached", "per_cached_token"), found, strict=False))


def _roofline(steps: StepTimes, each_token: bool = False) -> JsonDict:
    """Fit by trying every split of the steps, by tokens, into memory-bound and compute-bound."""
    order, best = np.argsort(steps.tokens, kind="stable"), (np.inf, np.zeros(3))
    for split in range(1, len(order)):
        bound = np.zeros(len(order), bool)
        bound[order[split:]] = True
        context = [np.where(bound, 0.0, column) for column in _context(steps, each_token)]
        columns = [np.where(bound, 0.0, 1.0), np.where(bound, steps.tokens, 0.0), *context]
        found = _least_squares(columns, steps.verify)
        memory = found[0] + sum(
            c * column for c, column in zip(found[2:], _context(steps, each_token), strict=True)
        )
        times = np.maximum(memory, found[1] * steps.tokens)
        error = float(((times / steps.verify - 1) ** 2).sum())
        best = min(best, (error, found), key=lambda b: b[0])
    floor, per_token, *rest = best[1]
    return {"model": "roofline", "floor": floor, "per_token": per_token, **_per_cached(rest)}


def _moe(experts: int, active: int, shared: bool = False) -> Callable[..., JsonDict]:
    """Return the fit of a mixture of experts; ``shared``: with the overlap of neighbours."""

    def at(steps: StepTimes, each_token: bool, overlap: float | None) -> tuple[float, JsonDict]:
        """Squared relative error and section at an overlap."""
        passes = zip(steps.tokens, steps.batch, strict=True)
        hit = np.array([experts_hit(experts, active, n, batch, overlap) for n, batch in passes])
        columns = [np.ones(len(hit)), hit, steps.tokens, *_context(steps, each_token)]
        base, per_expert, per_token, *context = found = _least_squares(columns, steps.verify)
        section: JsonDict = {"model": "moe", "experts": experts, "active": active, "base": base}
        section |= {"per_expert": per_expert, "per_token": per_token, **_per_cached(context)}
        if overlap is not None:
            section["expert_overlap"] = overlap
        return float(((np.stack(columns, 1) @ found / steps.verify - 1) ** 2).sum()), section

    def fit(steps: StepTimes, each_token: bool = False) -> JsonDict:
        if not shared:
            return at(steps, each_token, None)[1]
        from scipy.optimize import minimize_scalar

        ends = active / experts, MOST_OVERLAP
        best = minimize_scalar(lambda s: at(steps, each_token, s)[0], bounds=ends, method="bounded")
        return at(steps, each_token, float(best.x))[1]

    return fit


def _draft(steps: StepTimes) -> JsonDict:
    drafted = steps.depth > 0
    if not steps.draft[drafted].any():
        return {"draft": 0.0}
    k, batch = steps.depth[drafted], steps.batch[drafted]
    base, per_token, per_request = _least_squares(
        [np.ones(len(k)), k, batch * k], np.maximum(steps.draft[drafted], 1e-9)
    )
    return {"draft": {"base": base, "per_token": per_token}, "draft_per_request": per_request}


def predict(section: JsonDict, steps: StepTimes) -> Floats:
    """Return ms of the verification passes ``[n]``, or of whole rounds, by a fitted model.

    Args:
        section: keys of the section ``[latency]``.
        steps: steps whose batch, depth and cached tokens are used.
    """
    kind: Any = COSTS[section["model"]]
    if section["model"] in ("table", "steps"):
        table = kind.model_validate({**section, "draft": 0.0})
        pairs = zip(steps.batch, steps.depth, strict=True)
        return np.array([table.step(batch, np.array([depth]))[0] for batch, depth in pairs])
    law = {"overhead": 0.0, "per_cached": 0.0, "per_cached_token": 0.0, **section}
    times = []
    for batch, depth, cached in zip(steps.batch, steps.depth, steps.cached, strict=True):
        model = kind.model_construct(**law, cached=cached)
        assert isinstance(model, CostModel)
        times.append(model.step(batch, np.array([depth]))[0])
    drafting = section["draft"]["per_token"] * steps.depth if steps.whole_rounds else 0.0
    return np.array(times) + drafting


def fit_cost_models(steps: StepTimes, experts: int = 0, active: int = 0) -> list[CostModelFit]:
    """Fit every cost model; the first is the simplest within 5 % of the least leave-one-out error.

    The times of one batch size are kept as they are, if they are those of depths 0 to K: then a
    table comes first. It also does if the best law is refused.

    Args:
        steps: at least 4 measured steps.
        experts: number of experts of a mixture of experts; 0: that model is not fitted.
        active: number of active experts per token.
    """
    models: list[Callable[..., JsonDict]] = [_linear]
    if not steps.whole_rounds:  # else the time of a draft can't be separated
        models += [_roofline]
        models += [_moe(experts, active)] if experts else []
        known = not steps.by_tokens or np.ptp(steps.batch) > 0  # whose tokens they are
        if known and 0 < active < experts * MOST_OVERLAP:
            models += [_moe(experts, active, True)]
    forms = list(models)
    if steps.cached.any():
        forms += [partial(model, each_token=True) for model in models]
    if len(steps.batch) < MIN_STEPS:
        return [fit for fit in [_table(steps)] if fit]
    fits = [_fit(model, steps) for model in forms]
    near = TOLERANCE * min(fit.left_out_error for fit in fits) + 1e-6
    fits.sort(key=lambda fit: (fit.left_out_error > near, len(fit.section), fit.left_out_error))
    table = _table(steps)
    return [table, *fits] if table else _with_table(fits, steps)


def _with_table(fits: list[CostModelFit], steps: StepTimes) -> list[CostModelFit]:
    """Put a table of the steps first if every law is off by more than it should decide."""
    table = None if steps.whole_rounds else measured_table(steps)
    if table is None:
        return fits
    least = min(fit.left_out_error for fit in fits)
    better = table.left_out_error < BETTER * least
    refused = [fit.worst_error > POOR_FIT and better for fit in fits]
    fits = [replace(fit, refused=flag) for fit, flag in zip(fits, refused, strict=True)]
    section = _plain({**table.section, **_draft(steps)})
    one = CostModelFit(section, {}, table.left_out_error, 0.0)
    return [one, *fits] if refused[0] else [*fits, one]


def _table(steps: StepTimes) -> CostModelFit | None:
    """Return the times of one batch at depths 0 to K; None if they are not such times."""
    if steps.by_tokens or steps.whole_rounds:
        return None
    depths = np.arange(steps.depth.max() + 1)
    one = all(np.ptp(part) == 0 for part in (steps.batch, steps.cached))
    if not one or depths.size < 2 or set(steps.depth) != set(depths):
        return None

    def by_depth(times: Floats) -> list[float]:
        return [float(times[steps.depth == k].mean()) for k in depths]

    batch = float(steps.batch[0])
    section = {"model": "table", "batch": batch, "batches": [batch]}
    section["verify"] = [by_depth(steps.verify)]
    section["draft"] = by_depth(steps.draft)[1:] if steps.draft.any() else 0.0
    return CostModelFit(section, {}, 0.0, 0.0)


def _fit(model: Callable[[StepTimes], JsonDict], steps: StepTimes) -> CostModelFit:
    section, count = model(steps), len(steps.batch)
    left_out = [model(steps.without(row)) for row in range(count)]
    predicted = np.array([predict(left_out[row], steps)[row] for row in range(count)])
    off = predict(section, steps) / steps.verify - 1
    errors = {}
    for key, value in section.items():
        if isinstance(value, float):
            jackknife = np.array([other[key] for other in left_out])
            error = math.sqrt((count - 1) * float(jackknife.var()))
            if error > LEAST_ERROR * value > 0:
                errors[key] = error
    return CostModelFit(
        section=_plain({**_draft(steps), **section}),
        standard_errors=errors,
        left_out_error=float(np.sqrt(((predicted / steps.verify - 1) ** 2).mean())),
        worst_error=float(np.abs(off).max()),
        errors=(float(off.min()), float(off.max())),
    )


def _plain(value: Any) -> Any:
    """Return the value with Python's floats for those of NumPy."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return float(value) if isinstance(value, float) else value


def steps_of_log(log: Log) -> StepTimes:
    """Mean round times of a log by running requests and depth, drafting included.

    Args:
        log: log of windows with times and running requests.

    Raises:
        InputError: It states no running requests, or has too few batches or depths.
    """
    used = usable_rows(log) & np.isfinite(log.times.batch)
    pairs, row = np.unique(
        np.stack([log.times.batch[used], log.depths[used]]), axis=1, return_inverse=True
    )
    count = pairs.shape[1]
    depths = np.unique(pairs[1])
    message = ""
    if not count:
        message = "no times with the number of running requests in the log"
    elif depths.size < 2:
        message = (
            f"every round of the log has depth {depths[0]:g}, so the time of a draft is not known"
        )
    elif count < MIN_STEPS:
        message = f"{count} pairs of running requests and depth; at least {MIN_STEPS} are needed"
    if message:
        advice = "give logs of several depths and batches, or a CSV file of step times"
        raise InputError.of(f"{message}: {advice}", file=log.files[0].file, key="--by-batch")
    time = np.bincount(row, log.times.by_row[used]) / np.bincount(row, log.rounds[used])
    none = np.zeros(count)
    return StepTimes(
        batch=pairs[0], depth=pairs[1], verify=time, draft=none, cached=none, whole_rounds=True
    )
