"""From measured step times to a cost model: ``mtpsim fit`` of a CSV file.

Errors count relative to the times, since a millisecond is much at batch 1 and nothing at batch
512. Models are compared by leave-one-out prediction; standard errors are those of the jackknife.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import InputError, Problem, nearest
from mtpsim.common.text import counted
from mtpsim.latency import COSTS, CostModel
from mtpsim.logs.files import Start

COLUMNS = ("batch", "depth", "verify", "draft", "cached")
NEEDED = ("batch", "depth", "verify")
ALIKE = 1.05  # a model of more parameters must predict better than this to be preferred


@dataclass(frozen=True)
class Steps:
    """Measured steps, all ``[n]``; times in ms, ``cached`` tokens a request."""

    batch: Floats
    depth: Floats
    verify: Floats
    draft: Floats
    cached: Floats

    def without(self, row: int) -> Steps:
        """All but one."""
        return Steps(*(np.delete(getattr(self, name), row) for name in self.__dict__))

    @property
    def tokens(self) -> Floats:
        """Tokens of the pass."""
        return np.asarray(self.batch * (self.depth + 1))


@dataclass(frozen=True)
class Fit:
    """A fitted cost model.

    Attributes:
        keys: of the ``[latency]`` section.
        errors: standard error by key, where it is above 0.
        predicted: root mean square of the relative errors of steps left out.
        worst: greatest relative error of a step that was fitted.

    """

    keys: JsonDict
    errors: dict[str, float]
    predicted: float
    worst: float


def is_steps(path: Path) -> bool:
    """Whether a file is a table of step times rather than a log.

    Raises:
        InputError: it can't be read, or is empty.

    """
    header = {name.strip() for name in Start(path).text.lstrip().splitlines()[0].split(",")}
    return len(header) > 1 and bool(header & {"batch", "verify"})


def read_steps(path: Path) -> Steps:
    """Read a CSV file with columns ``batch, depth, verify`` and maybe ``draft``, ``cached``.

    Raises:
        InputError: what is wrong with the file, with its line.

    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise InputError.of(str(reason), file=path) from None
    if not table:
        raise InputError.of("is empty", file=path)
    header = [name.strip() for name in table[0]]
    problems = _header_problems(path, header)
    rows = [(n, row) for n, row in enumerate(table[1:], 2) if any(cell.strip() for cell in row)]
    values, wrong = _numbers(path, header, rows)
    if problems or wrong:
        raise InputError(problems + wrong)
    if len(values) < 4:
        message = (
            f"{counted(len(values), 'step', 'are')} given; at least 4 are needed to fit and to "
            "check"
        )
        raise InputError.of(message, file=path)
    columns = {name: np.array([row.get(name, 0.0) for row in values]) for name in COLUMNS}
    return Steps(**columns)


def _header_problems(path: Path, header: list[str]) -> list[Problem]:
    missing = [name for name in NEEDED if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    found = [f"column {name!r} is missing" for name in missing]
    known = ", ".join(COLUMNS)
    found += [f"column {n!r} is none of {known}{nearest(n, COLUMNS)}" for n in unknown]
    return [Problem(message, file=str(path), line=1) for message in found]


def _numbers(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]]
) -> tuple[list[dict[str, float]], list[Problem]]:
    values, problems = [], []
    for line, row in rows:
        try:
            found = {name: float(cell) for name, cell in zip(header, row, strict=True)}
        except ValueError:
            message = f"{','.join(row)!r}: {len(header)} numbers are needed"
            problems.append(Problem(message, file=str(path), line=line))
            continue
        message = _implausible(found)
        problems += [Problem(message, file=str(path), line=line)] if message else []
        values.append(found)
    return values, problems


def _implausible(step: dict[str, float]) -> str:
    if not all(math.isfinite(value) for value in step.values()):
        return "numbers must be finite"
    if step.get("batch", 1) < 1:
        return f"a batch of {step['batch']:g} is given; it must be at least 1"
    if step.get("depth", 0) < 0 or step.get("depth", 0) % 1:
        return f"depth {step['depth']:g} is given; it must be 0, 1, 2, ..."
    if step.get("verify", 1) <= 0:
        return f"{step['verify']:g} ms is given; a step must take some time"
    if min(step.get("draft", 0), step.get("cached", 0)) < 0:
        return "draft and cached can't be negative"
    return ""


def _least_squares(columns: list[Floats], times: Floats) -> Floats:
    """Coefficients, none negative, of least relative error."""
    from scipy.optimize import nnls

    found, _ = nnls(np.stack(columns, axis=1) / times[:, None], np.ones(len(times)))
    return np.asarray(found)


def _context(steps: Steps) -> list[Floats]:
    return [steps.batch * steps.cached] if steps.cached.any() else []


def _linear(steps: Steps) -> JsonDict:
    columns = [np.ones(len(steps.batch)), steps.tokens, *_context(steps)]
    base, per_token, *reading = _least_squares(columns, steps.verify)
    return {"model": "linear", "base": base, "per_token": per_token, **_reading(reading)}


def _reading(found: Sequence[float]) -> JsonDict:
    return {"per_cached": found[0]} if found else {}


def _roofline(steps: Steps) -> JsonDict:
    """Try every split of the steps, ordered by tokens, into memory-bound and compute-bound ones."""
    order, best = np.argsort(steps.tokens, kind="stable"), (np.inf, np.zeros(3))
    for split in range(1, len(order)):
        bound = np.zeros(len(order), bool)
        bound[order[split:]] = True
        reading = [np.where(bound, 0.0, column) for column in _context(steps)]
        columns = [np.where(bound, 0.0, 1.0), np.where(bound, steps.tokens, 0.0), *reading]
        found = _least_squares(columns, steps.verify)
        memory = found[0] + sum(
            c * column for c, column in zip(found[2:], _context(steps), strict=True)
        )
        times = np.maximum(memory, found[1] * steps.tokens)
        best = min(
            best, (float(((times / steps.verify - 1) ** 2).sum()), found), key=lambda b: b[0]
        )
    floor, per_token, *rest = best[1]
    return {"model": "roofline", "floor": floor, "per_token": per_token, **_reading(rest)}


def _moe(experts: int, active: int) -> Callable[[Steps], JsonDict]:
    def fit(steps: Steps) -> JsonDict:
        hit = experts * (1 - (1 - active / experts) ** steps.tokens)
        columns = [np.ones(len(hit)), hit, steps.tokens, *_context(steps)]
        base, per_expert, per_token, *reading = _least_squares(columns, steps.verify)
        return {
            **{"model": "moe", "experts": experts, "active": active},
            **{"base": base, "per_expert": per_expert, "per_token": per_token},
            **_reading(reading),
        }

    return fit


def _draft(steps: Steps) -> JsonDict:
    drafted = steps.depth > 0
    if not steps.draft[drafted].any():
        return {"draft": 0.0}
    k, batch = steps.depth[drafted], steps.batch[drafted]
    base, per_token, per_request = _least_squares(
        [np.ones(len(k)), k, batch * k], np.maximum(steps.draft[drafted], 1e-9)
    )
    return {"draft": {"base": base, "per_token": per_token}, "draft_per_request": per_request}


def predict(keys: JsonDict, steps: Steps) -> Floats:
    """Ms of the steps by a fitted model."""
    times = []
    for batch, depth, cached in zip(steps.batch, steps.depth, steps.cached, strict=True):
        model: Any = COSTS[keys["model"]].model_construct(
            **{"overhead": 0.0, "per_cached": 0.0, **keys, "cached": cached}
        )
        assert isinstance(model, CostModel)
        times.append(model.step(batch, np.array([depth]))[0])
    return np.array(times)


def fit_steps(steps: Steps, experts: int = 0, active: int = 0) -> list[Fit]:
    """Fit every cost model; first comes the simplest of those that predict left-out steps best.

    Args:
        steps: at least four.
        experts: of a mixture of experts, to try that model too, with
        active: experts a token.

    """
    makers = [_linear, _roofline, *([_moe(experts, active)] if experts else [])]
    fits = [_fitted(make, steps) for make in makers]
    good = ALIKE * min(fit.predicted for fit in fits) + 1e-6
    return sorted(fits, key=lambda fit: (fit.predicted > good, len(fit.keys), fit.predicted))


def _fitted(make: Callable[[Steps], JsonDict], steps: Steps) -> Fit:
    keys, drafting = make(steps), _draft(steps)
    count = len(steps.batch)
    left_out = [make(steps.without(row)) for row in range(count)]
    ahead = np.array([predict(left_out[row], steps)[row] for row in range(count)])
    found = {
        key: np.array([other[key] for other in left_out])
        for key, value in keys.items()
        if isinstance(value, float)
    }
    spread = {k: math.sqrt((count - 1) * float(v.var())) for k, v in found.items()}
    numbers = {k: float(v) if isinstance(v, float) else v for k, v in keys.items()}
    return Fit(
        {**numbers, **_plain(drafting)},
        {key: error for key, error in spread.items() if error > 1e-9 * keys[key] > 0},
        float(np.sqrt(((ahead / steps.verify - 1) ** 2).mean())),
        float(np.abs(predict(keys, steps) / steps.verify - 1).max()),
    )


def _plain(keys: JsonDict) -> JsonDict:
    return {k: _plain(v) if isinstance(v, dict) else float(v) for k, v in keys.items()}
