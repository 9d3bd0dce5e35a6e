"""The ``[uncertainty]`` section: inputs that are not known exactly."""

import csv
import hashlib
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import AliasChoices, ConfigDict, Field, PrivateAttr, ValidationInfo, model_validator

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import FieldError
from mtpsim.common.files import read_named_file, read_once
from mtpsim.common.section import Positive, Spec
from mtpsim.common.text import counted
from mtpsim.config.scenarios import numbers_at
from mtpsim.formula.accept_lengths import rates_through
from mtpsim.formula.closed_form import accept_length

Numbers = float | list[float]
Count = Annotated[float, Field(ge=1, le=1e12, multiple_of=1)]
LEAST_SE, MOST_SE = 1e-6, 10.0  # relative; less is below rounding, more is no information
MOST_RATIO = 1e6  # of `high` to `low`; draws beyond the ends must not overflow
SHARE_KEYS = ("acceptance.step", "draft.lengths")  # rows that sum to 1
RATE_KEYS = ("rates", "rate", "first", "factor", "drop", "blur")  # may be exactly 0 or 1


def _old_name(schema: JsonDict) -> None:
    """Allow the former name of a key in editors."""
    schema["properties"]["tried"] = {
        **schema["properties"]["trials"],
        "description": "former name of `trials`",
        "deprecated": True,
    }


class InputUncertainty(Spec):
    """Uncertainty of a number of the file, or of each number of a list.

    Give one of three: ``trials``; ``se``; or ``low`` and ``high``.
    """

    model_config = ConfigDict(json_schema_extra=_old_name)

    trials: Count | list[Count] | None = Field(
        None,
        validation_alias=AliasChoices("trials", "tried"),
        description="number of trials an acceptance rate was measured on; for p_j the rounds that "
        "verified draft j",
    )
    design_effect: Annotated[float, Field(ge=1)] = Field(
        1.0, description="number of dependent trials with the information of one independent trial"
    )
    se: Positive | list[Positive] | None = Field(
        None,
        description="standard error; for a rate p below sqrt(p (1 - p)), for other numbers at most "
        "10 times the number",
    )
    low: Numbers | None = Field(None, description="lower end of a confidence interval, with `high`")
    high: Numbers | None = Field(
        None, description="upper end of the interval; its level is simulation.confidence"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [self.trials is not None, self.se is not None, self.low is not None]
        if sum(kinds) != 1 or (self.low is None) != (self.high is None):
            raise FieldError("give one of `trials`, `se`, or `low` with `high`")
        if self.low is not None and not (np.asarray(self.low) < np.asarray(self.high)).all():
            raise FieldError("must be below `high`", key="low")
        return self

    def quantiles_for(self, key: str, values: Floats, u: Floats, *, confidence: float) -> Floats:
        """Quantiles of the inputs.

        A rate with a number of trials has its Beta posterior (Jeffreys prior). Other numbers of
        ``acceptance`` within 0 and 1 stay there (Beta, or normal on the logit scale), all others
        stay positive (gamma, or normal on the log scale). Mean and standard error, or the ends of
        the interval, are as given.

        Args:
            key (str): Dotted key of the input.
            values (Floats): ``[n]`` values of the file.
            u (Floats): ``[D, n]`` probabilities.
            confidence (float): Level of the interval from ``low`` to ``high``.

        Returns:
            Floats: ``[D, n]`` quantiles.

        Raises:
            ValueError: The uncertainty does not fit the values; the message starts with the key.
        """
        try:
            return self._quantiles(key, values, u, confidence=confidence)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None

    def _quantiles(self, key: str, values: Floats, u: Floats, *, confidence: float) -> Floats:
        share = key.startswith("acceptance.") and bool(((values > 0) & (values < 1)).all())
        if self.trials is not None:
            return self._posterior(key, values, u)
        if not share and key.split(".")[-1] in RATE_KEYS:
            raise ValueError(
                f"{values.tolist()} in the file; a rate of 0 or 1 can only be given with `trials`"
            )
        if self.se is not None:
            return _from_moments(values, self._each(self.se, values), u, share=share)
        low, high = self._each(self.low, values), self._each(self.high, values)
        if ((values < low) | (values > high)).any():
            raise ValueError(f"{values.tolist()} in the file is outside `low` and `high`")
        return _from_interval(low, high, u, confidence=confidence, share=share)

    def _posterior(self, key: str, values: Floats, u: Floats) -> Floats:
        from mtpsim.common.special import betaincinv

        if not key.startswith("acceptance.") or ((values < 0) | (values > 1)).any():
            raise ValueError("`trials` is for acceptance rates from 0 to 1 only")
        trials = self._each(self.trials, values) / self.design_effect
        return np.asarray(betaincinv(values * trials + 0.5, (1 - values) * trials + 0.5, u))

    def _each(self, given: Numbers | None, values: Floats) -> Floats:
        numbers = np.asarray(given, float)
        if numbers.ndim and numbers.shape != values.shape:
            raise ValueError(
                f"{counted(numbers.size, 'number', 'are')} given for {values.size} in the file"
            )
        return np.broadcast_to(numbers, values.shape)


def _from_moments(mean: Floats, se: Floats, u: Floats, *, share: bool) -> Floats:
    from mtpsim.common.special import betaincinv, gammaincinv

    if not share and (mean <= 0).any():
        raise ValueError(f"{mean.tolist()} in the file; a standard error requires values above 0")
    # No Beta distribution has a larger standard error; and scipy's quantiles of narrower ones, and
    # of far wider ones, are inaccurate.
    most = np.sqrt(mean * (1 - mean)) if share else np.nextafter(MOST_SE * mean, np.inf)
    for value, error, limit in zip(mean, se, most, strict=True):
        if not LEAST_SE * value <= error < limit:
            raise ValueError(
                f"`se`: {error:g} is given; for {value:g} it must be at least "
                f"{LEAST_SE * value:.4g} and {'below' if share else 'at most'} {limit:.4g}"
            )
    if not share:
        shape = (mean / se) ** 2
        return np.asarray(gammaincinv(shape, u) * mean / shape)
    total = mean * (1 - mean) / se**2 - 1
    return np.asarray(betaincinv(mean * total, (1 - mean) * total, u))


def _from_interval(
    low: Floats, high: Floats, u: Floats, *, confidence: float, share: bool
) -> Floats:
    from mtpsim.common.special import expit, logit, ndtri

    if (low <= 0).any() or (share and (high >= 1).any()):
        raise ValueError(f"`low` and `high` must be above 0{' and below 1' if share else ''}")
    if not share and (high > MOST_RATIO * low).any():
        raise ValueError(
            f"`high`: {high.tolist()} is given; it must be at most {MOST_RATIO:g} times `low`"
        )
    to, back = (logit, expit) if share else (np.log, np.exp)
    middle, half = (to(low) + to(high)) / 2, (to(high) - to(low)) / 2
    return np.asarray(back(middle + half * ndtri(u) / ndtri((1 + confidence) / 2)))


class Uncertainty(Spec):
    """Uncertainty of the inputs, propagated to the speedups and to the selected depth."""

    draws: Annotated[int, Field(ge=20, le=100_000)] = Field(
        200, description="number of input sets drawn from the uncertainty"
    )
    inputs: dict[str, InputUncertainty] = Field(
        default_factory=dict, description="dotted keys and the uncertainty of their values"
    )
    samples: str | None = Field(
        None,
        description="CSV file of joint samples of the inputs, one column per number, named as "
        "acceptance.rates[0]",
    )
    _sampled: dict[str, Floats] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _something_known(self, info: ValidationInfo) -> Self:
        if not self.inputs and self.samples is None:
            raise FieldError("give `inputs`, `samples` or both")
        if self.samples is not None:
            path = Path((info.context or {}).get("folder", Path()), self.samples)
            self._sampled = read_inputs(path)
            rows = len(next(iter(self._sampled.values())))
            if rows < self.draws:
                raise FieldError(
                    f"{self.draws} draws are required, but `samples` has {rows} rows", key="draws"
                )
        for key in sorted(set(self._sampled) & set(self.inputs)):
            raise FieldError(f"{key} is in both `inputs` and `samples`")
        return self

    @property
    def sampled(self) -> dict[str, Floats]:
        """Joint samples of the inputs by key, each ``[rows, n]``."""
        return self._sampled


def draw_inputs(
    raw: JsonDict, uncertainty: Uncertainty, *, seed: int, confidence: float
) -> dict[str, Floats]:
    """Drawn inputs by key, each ``[draws, n]``: a Latin hypercube, with a random stream per key.

    Raises:
        ValueError: A key is not in the file, or its uncertainty does not fit its value.
    """
    found = {}
    for key, one in uncertainty.inputs.items():
        values = numbers_at(raw, key)
        name = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
        rng = np.random.default_rng((seed, name))
        cells = np.array([rng.permutation(uncertainty.draws) for _ in values]).T
        u = (cells + rng.random(cells.shape)) / uncertainty.draws
        drawn = one.quantiles_for(key, values, u, confidence=confidence)
        found[key] = _nearest_possible(raw, key, drawn)
    for key, rows in uncertainty.sampled.items():
        size = numbers_at(raw, key).size
        if rows.shape[1] != size:
            raise ValueError(
                f"`samples` has {rows.shape[1]} columns of {key}, the file has {size} numbers"
            )
        found[key] = rows[: uncertainty.draws]
    return found


def _nearest_possible(raw: JsonDict, key: str, drawn: Floats) -> Floats:
    """Return inputs ``[D, n]``, with accept lengths that no rates give moved to the nearest ones.

    Lengths at several depths are drawn one by one, but each draft is accepted at most as often as
    those before it.
    """
    section = raw["acceptance"]
    if key != "acceptance.accept_length" or section.get("model") != "independent":
        return drawn
    depths = np.atleast_1d(section.get("measured_at") or range(1, drawn.shape[1] + 1))
    rates = [rates_through(dict(zip(depths.tolist(), row, strict=True))) for row in drawn.tolist()]
    moved = np.array([accept_length(of_row)[depths] for of_row in rates])
    is_possible = np.isclose(moved, drawn, rtol=0, atol=1e-9).all(axis=1, keepdims=True)
    return np.where(is_possible, drawn, moved)


def interval_ends(
    raw: JsonDict, uncertainty: Uncertainty, *, confidence: float
) -> dict[str, Floats]:
    """Inputs at both ends of their confidence intervals, by key ``[2, n]``."""
    tails = np.array([[(1 - confidence) / 2], [(1 + confidence) / 2]])
    found = {}
    for key, one in uncertainty.inputs.items():
        values = numbers_at(raw, key)
        u = np.broadcast_to(tails, (2, values.size))
        ends = one.quantiles_for(key, values, u, confidence=confidence)
        found[key] = _nearest_possible(raw, key, ends)
    for key, rows in uncertainty.sampled.items():
        if key in SHARE_KEYS:  # quantiles of single shares have no sum of 1: take whole draws
            order = np.argsort(rows @ np.arange(rows.shape[1]), kind="stable")
            found[key] = rows[order[np.rint(tails[:, 0] * (len(rows) - 1)).astype(int)]]
        else:
            found[key] = np.quantile(rows, tails[:, 0], axis=0)
    return found


@read_once(8)
def read_inputs(path: Path) -> dict[str, Floats]:
    """Joint samples of the inputs by key, each ``[rows, n]``, from a CSV file.

    The header names a column per number, such as ``acceptance.rates[0][1]``, with the numbers of a
    key in the order of the experiment file.

    Raises:
        ValueError: The file cannot be read, or has other cells than numbers.
    """
    try:
        table = [row for row in csv.reader(read_named_file(path).splitlines()) if row]
    except csv.Error:
        raise ValueError(f"{path}: not a CSV file") from None
    try:
        rows = np.array(table[1:], float)
    except ValueError:
        raise ValueError(f"{path}: every cell below the header must be a number") from None
    if rows.ndim != 2 or rows.shape[1] != len(table[0]) or not np.isfinite(rows).all():
        raise ValueError(f"{path}: a header and rows of finite numbers are required")
    keys = [name.split("[")[0].strip() for name in table[0]]
    return {key: rows[:, [k == key for k in keys]] for key in dict.fromkeys(keys)}
