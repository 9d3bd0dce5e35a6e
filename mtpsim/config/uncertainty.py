"""``[uncertainty]`` and ``[robust]``: inputs that are not known for sure."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import (
    Discriminator,
    Field,
    PrivateAttr,
    SerializeAsAny,
    Tag,
    ValidationInfo,
    model_validator,
)

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import nearest, nearest_file
from mtpsim.common.section import Positive, Spec
from mtpsim.common.text import counted

Numbers = float | list[float]
Count = Annotated[float, Field(ge=1, le=1e12, multiple_of=1)]
LEAST_SE, MOST_SE = 1e-6, 10.0  # of the value; what is less sure is not known at all
FARTHEST = 1e6  # ends of an interval from each other; draws beyond the ends must not overflow
RATES = ("rates", "rate", "first", "factor", "drop", "blur")  # keys of what may be 0 or 1


class InputUncertainty(Spec):
    """What is known of a number of the file, or of each number of a list.

    One of three: ``tried``, ``se``, or ``low`` and ``high``.
    """

    tried: Count | list[Count] | None = Field(
        None, description="on how many trials a rate was measured (for p_j: rounds that reached j)"
    )
    design_effect: Annotated[float, Field(ge=1)] = Field(
        1.0, description="how many dependent trials are worth one independent one"
    )
    se: Positive | list[Positive] | None = Field(
        None,
        description="standard error; of a rate p below sqrt(p (1 - p)), of other numbers at most "
        "10 times the number",
    )
    low: Numbers | None = Field(None, description="lower end of an interval, with `high`")
    high: Numbers | None = Field(None, description="upper end, at simulation.confidence")

    @model_validator(mode="after")
    def _one_kind(self) -> InputUncertainty:
        kinds = [self.tried is not None, self.se is not None, self.low is not None]
        if sum(kinds) != 1 or (self.low is None) != (self.high is None):
            raise ValueError("give one of `tried`, `se`, or `low` with `high`")
        if self.low is not None and not (np.asarray(self.low) < np.asarray(self.high)).all():
            raise ValueError("`low` must be below `high`")
        return self

    def told(self, key: str, values: Floats, u: Floats, confidence: float) -> Floats:
        """:meth:`quantiles`, with the key in what it says of input that does not fit."""
        try:
            return self.quantiles(key, values, u, confidence)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None

    def quantiles(self, key: str, values: Floats, u: Floats, confidence: float) -> Floats:
        """Inputs at probabilities ``u`` ``[D, n]``, for the ``values`` ``[n]`` of the file.

        A rate with a count has its Beta posterior (Jeffreys prior). Otherwise numbers of
        ``acceptance`` that lie within 0 and 1 stay there (Beta, or normal on the logit scale), and
        others stay positive (gamma, or normal on the log scale); mean and standard error, or the
        ends of the interval, are as given.

        Raises:
            ValueError: what is given does not fit the values.

        """
        share = key.startswith("acceptance.") and bool(((values > 0) & (values < 1)).all())
        if self.tried is not None:
            return self._posterior(key, values, u)
        if not share and key.split(".")[-1] in RATES:
            raise ValueError(
                f"{values.tolist()} of the file; how sure a rate of 0 or 1 is, `tried` alone tells"
            )
        if self.se is not None:
            return _by_moments(values, self._each(self.se, values), u, share)
        low, high = self._each(self.low, values), self._each(self.high, values)
        if ((values < low) | (values > high)).any():
            raise ValueError(f"{values.tolist()} of the file lies outside of low and high")
        return _by_ends(low, high, u, confidence, share)

    def _posterior(self, key: str, values: Floats, u: Floats) -> Floats:
        from scipy.special import betaincinv

        if not key.startswith("acceptance.") or ((values < 0) | (values > 1)).any():
            raise ValueError("`tried` is for acceptance rates, from 0 to 1")
        tried = self._each(self.tried, values) / self.design_effect
        return np.asarray(betaincinv(values * tried + 0.5, (1 - values) * tried + 0.5, u))

    def _each(self, given: Numbers | None, values: Floats) -> Floats:
        numbers = np.asarray(given, float)
        if numbers.ndim and numbers.shape != values.shape:
            raise ValueError(
                f"{counted(numbers.size, 'number', 'are')} given for {values.size} of the file"
            )
        return np.broadcast_to(numbers, values.shape)


def _by_moments(mean: Floats, se: Floats, u: Floats, share: bool) -> Floats:
    from scipy.special import betaincinv, gammaincinv

    if not share and (mean <= 0).any():
        raise ValueError(f"{mean.tolist()} of the file; a standard error needs values above 0")
    # No Beta law has more; and scipy's quantiles of narrower ones, and of far wider ones, are off.
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


def _by_ends(low: Floats, high: Floats, u: Floats, confidence: float, share: bool) -> Floats:
    from scipy.special import expit, logit, ndtri

    inside = (low > 0).all() and (not share or (high < 1).all())
    if not inside:
        room = "0 and 1" if share else "0 and infinity"
        raise ValueError(f"`low` and `high` must lie between {room}")
    if not share and (high > FARTHEST * low).any():
        raise ValueError(
            f"`high`: {high.tolist()} is given; it must be at most {FARTHEST:g} times `low`"
        )
    to, back = (logit, expit) if share else (np.log, np.exp)
    middle, half = (to(low) + to(high)) / 2, (to(high) - to(low)) / 2
    return np.asarray(back(middle + half * ndtri(u) / ndtri((1 + confidence) / 2)))


class Uncertainty(Spec):
    """Inputs known from measurements; their uncertainty is carried through to the decision."""

    draws: Annotated[int, Field(ge=20, le=100_000)] = Field(
        200, description="sets of inputs drawn from what is known of them"
    )
    inputs: dict[str, InputUncertainty] = Field(
        default_factory=dict, description="dotted keys, and what is known"
    )
    samples: str | None = Field(
        None, description="CSV of inputs drawn together, a column a number: acceptance.rates[0]"
    )
    _sampled: dict[str, Floats] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _something_known(self, info: ValidationInfo) -> Uncertainty:
        if not self.inputs and self.samples is None:
            raise ValueError("give `inputs`, `samples` or both")
        if self.samples is not None:
            path = Path((info.context or {}).get("folder", Path()), self.samples)
            self._sampled = read_inputs(path)
            rows = len(next(iter(self._sampled.values())))
            if rows < self.draws:
                raise ValueError(f"`draws` is {self.draws}, but `samples` has {rows} rows")
        both = sorted(set(self._sampled) & set(self.inputs))
        if both:
            raise ValueError(f"{both[0]} is in `inputs` and in `samples`; once is enough")
        return self

    @property
    def sampled(self) -> dict[str, Floats]:
        """Inputs of the file of samples by key, ``[rows, n]``."""
        return self._sampled


class PlusMinus(Spec):
    """Values around that of the file: less, as it is, more."""

    plus_minus: Annotated[float, Field(gt=0)]


def _form(value: Any) -> str:
    return "around" if isinstance(value, dict | PlusMinus) else "values"


Possible = Annotated[
    Annotated[PlusMinus, Tag("around")]
    | Annotated[list[SerializeAsAny[Any]], Field(min_length=1), Tag("values")],
    Discriminator(_form),
]
Robust = Annotated[dict[str, Possible], Field(min_length=1)]


def value_at(raw: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key of a file.

    Raises:
        ValueError: there is none.

    """
    here: Any = raw
    for part in key.split("."):
        if not isinstance(here, Mapping) or part not in here:
            known = list(here) if isinstance(here, Mapping) else []
            raise ValueError(f"{key} is not in the file{nearest(part, known)}")
        here = here[part]
    return here


def _numbers(raw: JsonDict, key: str) -> Floats:
    if not key.startswith(("acceptance.", "latency.")):
        raise ValueError(f"{key} is no input; keys of acceptance and latency can be uncertain")
    value = value_at(raw, key)
    values = list(_flat(value))
    if not values or not all(type(v) in (int, float) for v in values):
        raise ValueError(f"{key} is {value!r}; numbers and lists of numbers can be uncertain")
    return np.array(values, float)


def _flat(value: Any) -> Iterator[Any]:
    """Entries of a list of lists, row by row."""
    if not isinstance(value, list):
        yield value
        return
    for part in value:
        yield from _flat(part)


def draws_of(
    raw: JsonDict, uncertainty: Uncertainty, seed: int, confidence: float
) -> dict[str, Floats]:
    """Drawn inputs by key, ``[draws, n]``: a Latin hypercube, each key from its own stream.

    Raises:
        ValueError: a key is not in the file, or what is known of it does not fit.

    """
    found = {}
    for key, spread in uncertainty.inputs.items():
        values = _numbers(raw, key)
        name = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
        rng = np.random.default_rng((seed, name))
        cells = np.array([rng.permutation(uncertainty.draws) for _ in values]).T
        u = (cells + rng.random(cells.shape)) / uncertainty.draws
        found[key] = spread.told(key, values, u, confidence)
    for key, rows in uncertainty.sampled.items():
        _check_width(raw, key, rows)
        found[key] = rows[: uncertainty.draws]
    return found


def _check_width(raw: JsonDict, key: str, rows: Floats) -> None:
    size = _numbers(raw, key).size
    if rows.shape[1] != size:
        raise ValueError(f"`samples` has {rows.shape[1]} columns of {key}, the file {size} numbers")


def ends_of(raw: JsonDict, uncertainty: Uncertainty, confidence: float) -> dict[str, Floats]:
    """Each key's inputs at both ends of its interval, ``[2, n]``."""
    tails = np.array([[(1 - confidence) / 2], [(1 + confidence) / 2]])
    found = {}
    for key, spread in uncertainty.inputs.items():
        values = _numbers(raw, key)
        u = np.broadcast_to(tails, (2, values.size))
        found[key] = spread.told(key, values, u, confidence)
    for key, rows in uncertainty.sampled.items():
        found[key] = np.quantile(rows, tails[:, 0], axis=0)
    return found


@lru_cache(maxsize=8)
def _read_inputs(path: Path, modified: int) -> dict[str, Floats]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = [row for row in csv.reader(file) if row]
    try:
        rows = np.array(table[1:], float)
    except ValueError:
        raise ValueError(f"{path}: every cell below the header must be a number") from None
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f"{path} needs a header and rows of finite numbers")
    keys = [name.split("[")[0].strip() for name in table[0]]
    return {key: rows[:, [k == key for k in keys]] for key in dict.fromkeys(keys)}


def read_inputs(path: Path) -> dict[str, Floats]:
    """Inputs drawn together, by key ``[rows, n]``.

    Args:
        path: CSV; the header has a column a number, as ``acceptance.rates[0][1]``, the numbers of
            a key in the order of the file.

    Raises:
        ValueError: what is wrong with it.

    """
    try:
        return _read_inputs(path, path.stat().st_mtime_ns)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", error)
        raise ValueError(f"can't read {path}: {why}{nearest_file(path)}") from None


def scenarios(raw: JsonDict, robust: Mapping[str, Any]) -> Iterator[JsonDict]:
    """What each scenario of a declared set sets: every combination."""
    columns = [_choices(raw, key, given) for key, given in robust.items()]
    for row in product(*columns):
        yield dict(zip(robust, row, strict=True))


def _choices(raw: JsonDict, key: str, given: Any) -> list[Any]:
    if not isinstance(given, PlusMinus):
        return list(given)
    values, step = _numbers(raw, key), given.plus_minus
    top = 1.0 if key.startswith("acceptance.") and (values <= 1).all() else np.inf
    moved = [np.clip(values + sign * step, 0, top).round(12).tolist() for sign in (-1, 0, 1)]
    return moved if isinstance(value_at(raw, key), list) else [row[0] for row in moved]
