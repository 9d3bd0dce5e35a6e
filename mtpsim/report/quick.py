"""The closed form's answer for one set of rates and times, as text and as an experiment."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import InputError
from mtpsim.common.text import three_digits
from mtpsim.formula.accept_lengths import Acceptance
from mtpsim.formula.closed_form import (
    CONDITIONAL_MAY,
    ESSENTIAL,
    INDIFFERENCE,
    NEGLIGIBLE,
    StepVerdict,
    break_even_rate,
    marginal_gain,
    step_verdict,
    time_warnings,
)


@dataclass(frozen=True, kw_only=True)
class QuickAnswer:
    """Speedup of every depth by the closed form, for inputs taken as exact.

    Attributes:
        acceptance (Acceptance): Accept lengths and conditional rates.
        verify (Floats): ``[K + 1]`` verify time in ms by depth; entry 0 is the plain step.
        draft (Floats): ``[K + 1]`` draft time in ms by depth; entry 0 is 0.
        batch (float): Number of requests that decode together, for tokens per second.
        essential (float): Least relative gain of an essential step.
        negligible (float): Greatest relative gain or loss of a negligible step.
        indifference (float): Relative loss against the fastest depth that does not matter.
        assumptions (tuple[str, ...]): What was assumed in place of numbers that were not given.

    Examples:
        >>> import mtpsim
        >>> answer = mtpsim.quick(
        ...     target=76, verify=[90, 104, 117], draft=[8, 14, 22], rates=[0.8, 0.74, 0.67]
        ... )
        >>> answer.depth, answer.speedup.round(3)
        (2, array([1.   , 1.396, 1.541, 1.525]))
    """

    acceptance: Acceptance
    verify: Floats
    draft: Floats
    batch: float = 1.0
    essential: float = ESSENTIAL
    negligible: float = NEGLIGIBLE
    indifference: float = INDIFFERENCE
    assumptions: tuple[str, ...] = ()

    @property
    def round_time(self) -> Floats:
        """``[K + 1]`` ms per round by depth."""
        return self.verify + self.draft

    @property
    def speedup(self) -> Floats:
        """``[K + 1]`` speedup over plain decoding by depth; 1 at depth 0."""
        return np.asarray(self.verify[0] * self.acceptance.lengths / self.round_time)

    @property
    def gain(self) -> Floats:
        """``[K + 1]`` relative gain over the depth before; 0 at depth 0."""
        return marginal_gain(self.speedup) - 1

    @property
    def tokens_per_second(self) -> Floats:
        """``[K + 1]`` tokens per second of the whole batch by depth."""
        return np.asarray(1000 * self.batch * self.acceptance.lengths / self.round_time)

    @property
    def depth(self) -> int:
        """The fastest depth, 0 for plain decoding; the shallower one of equals."""
        return int(np.argmax(self.speedup))

    @property
    def break_even_rate(self) -> Floats:
        """``[K]`` rate p_k above which depth k is faster than depth k - 1."""
        return break_even_rate(self.acceptance.rates, self.round_time)

    @property
    def break_even_round_time(self) -> Floats:
        """``[K]`` round time in ms below which depth k is faster than depth k - 1."""
        lengths = self.acceptance.lengths
        return np.asarray(self.round_time[:-1] * lengths[1:] / lengths[:-1])

    @property
    def warnings(self) -> list[str]:
        """What is unusual about the inputs."""
        return [*time_warnings(self.verify, self.draft), *self._rate_warnings()]

    def _rate_warnings(self) -> list[str]:
        """One text per position at which no rate gives the accept lengths."""
        gains = np.append(1.0, np.diff(self.acceptance.lengths))  # before depth 1: a rate is <= 1
        found = [
            (
                k,
                f"grows more at depth {k} than at depth {k - 1}"
                if gains[k] > 0
                else f"falls at depth {k}",
            )
            for k in range(1, len(gains))
            if gains[k] < 0 or gains[k] > max(gains[k - 1], 0) * (1 + 1e-9)
        ]
        return [f"accept length {change}: no rate p{k} gives that" for k, change in found]

    def __str__(self) -> str:
        """What is doubtful, the table by depth, what was assumed, and the advice."""
        doubts = [f"Warning: {text}{'' if text.endswith('?') else '.'}" for text in self.warnings]
        assumed = [f"Assumed: {text}." for text in self.assumptions]
        first = [*doubts, ""] if doubts else []
        return "\n".join([*first, *self.table(), "", *assumed, *self._advice()])

    def __repr__(self) -> str:
        """The answer on one line."""
        return f"<mtpsim.QuickAnswer depth {self.depth}, {self.speedup[self.depth]:.3f}x>"

    def _repr_html_(self) -> str:
        """The answer as text of fixed width, for a notebook."""
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"

    def table(self) -> list[str]:
        """Rows of the table by depth, the header first."""
        rates = ["-", *(f"{rate:.3g}" for rate in self.acceptance.rates)]
        gains = [f"{100 * gain:+.1f} %, {self._verdict(gain)}" for gain in self.gain[1:]]
        columns = {
            "depth": [str(depth) for depth in range(len(self.speedup))],
            self._rate_name: rates,
            "accept length": [f"{length:.3f}" for length in self.acceptance.lengths],
            "round": [f"{time:.4g} ms" for time in self.round_time],
            "tok/s": list(map(three_digits, self.tokens_per_second)),
            "speedup": [f"{value:.3f}x" for value in self.speedup],
            "gain": ["-", *gains],
        }
        widths = {name: max(map(len, [name, *cells])) for name, cells in columns.items()}
        rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
        return [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths.values(), strict=True))
            for row in rows
        ]

    @property
    def _rate_name(self) -> str:
        """Where rounds depend on each other, accept lengths don't follow from one set of rates."""
        lengths = 1 + np.cumsum(np.cumprod(self.acceptance.rates))
        same = np.allclose(lengths, self.acceptance.lengths[1:], rtol=5e-4, equal_nan=True)
        return "rate" if same else f"rate at depth {len(lengths)}"

    def _verdict(self, gain: float) -> StepVerdict:
        return step_verdict(gain, gain, essential=self.essential, negligible=self.negligible)

    def _advice(self) -> list[str]:
        best, deepest = self.depth, len(self.speedup) - 1
        if self._rate_warnings():
            given = f"as given, depth {best} is fastest: {self.speedup[best]:.3f}x"
            return [
                f"No depth can be recommended: no rates give these accept lengths ({given}). Check "
                "that all were measured under the same settings."
            ]
        headline = f"Run depth {best}: {self.speedup[best]:.3f}x the speed of plain decoding."
        first = [headline if best else "Turn MTP off: no depth is faster than plain decoding."]
        least = self.speedup[best] / (1 + self.indifference)
        if near := [str(k) for k in range(deepest + 1) if k != best and self.speedup[k] >= least]:
            depths = f"Depths {' and '.join(near)} are" if near[1:] else f"Depth {near[0]} is"
            first[0] += f" {depths} within {100 * self.indifference:g} % of it."
        if best == deepest:
            return [*first, "No deeper draft was given; one may be faster."]
        return [*first, self._next_step(best + 1)]

    def _next_step(self, depth: int) -> str:
        than = f"depth {depth - 1}" if depth > 1 else "plain decoding"
        needed, time = self.break_even_rate[depth - 1], self.break_even_round_time[depth - 1]
        rate = (
            f"p{depth} = {needed:.3g} (yours: {self.acceptance.rates[depth - 1]:.3g})"
            if needed <= 1
            else f"none for p{depth}"
        )
        loss = -100 * self.gain[depth]
        slower = f"{loss:.2f} % slower than" if round(loss, 2) else "as fast as"
        return (
            f"Depth {depth} is {slower} {than}; break-even: "
            f"{rate}, or a round of {time:.4g} ms (yours: {self.round_time[depth]:.4g} ms)."
        )

    def toml(self, title: str = "Quick answer") -> str:
        """The experiment file that simulates these inputs.

        Args:
            title (str): Title of the experiment, without quotes and line ends.

        Returns:
            str: TOML text.

        Raises:
            InputError: No rates give the accept lengths.
        """
        if wrong := self._rate_warnings():
            raise InputError.of("; ".join(wrong), key="accept_lengths")
        of_batch = f", at a batch of {self.batch:g}" if self.batch != 1 else ""
        return "\n".join(
            [
                f'title = "{title}"',
                "",
                "[acceptance]",
                'model = "independent"',
                f"rates = {_listed(np.nan_to_num(self.acceptance.rates))}",
                'rates_are = "conditional"',
                "",
                "[latency]  # milliseconds" + of_batch,
                f"target = {float(self.verify[0])!r}",
                f"verify = {_listed(self.verify[1:])}",
                f"draft = {_listed(self.draft[1:])}",
                "",
                "[simulation]",
                "rounds = 200  # per request",
                "precision = 0.002  # relative half-width of the speedup",
                "",
            ]
        )


def _listed(values: Floats) -> str:
    return str([float(f"{value:.12g}") for value in values])


Number = float | str
Numbers = Number | Sequence[Number]
SHARES, MILLISECONDS = {"": 1.0, "%": 0.01}, {"": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001}
UNITS = {
    **dict.fromkeys(("rates", "survival", "alpha", "pooled"), SHARES),
    **dict.fromkeys(("target", "verify", "draft"), MILLISECONDS),
}
"""Factors of the units that may follow the numbers of an argument."""
NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?) ?([a-z%]*)", re.IGNORECASE)
LONGEST = 1e12  # ms


def quick(
    *,
    target: Number,
    verify: Numbers,
    draft: Numbers | None = None,
    rates: Sequence[Number] | None = None,
    survival: Sequence[Number] | None = None,
    accept_lengths: Numbers | None = None,
    alpha: Number | None = None,
    pooled: Number | None = None,
    measured_at: int | None = None,
    batch: Number = 1.0,
) -> QuickAnswer:
    """The closed form's answer, without a simulation.

    Exactly one of ``rates``, ``survival``, ``accept_lengths``, ``alpha`` and ``pooled`` is given.
    Numbers may be texts with a unit: ``"80%"``, ``"0.07 s"``.

    Args:
        target (float | str): Time of a plain decoding step in ms.
        verify (Numbers): ``[K]`` verify time in ms by depth 1 to K; a number: the same at every
            depth.
        draft (Numbers | None): ``[K]`` draft time of the whole round in ms by depth; a number: the
            same at every depth; None: 0.
        rates (Sequence[float | str] | None): ``[K]`` conditional rates by draft position, in
            [0, 1].
        survival (Sequence[float | str] | None): ``[K]`` P(drafts 1 to j accepted), in [0, 1].
        accept_lengths (Numbers | None): ``[K]`` tokens per round by depth, bonus token included;
            a number: at depth ``measured_at``.
        alpha (float | str | None): One conditional rate in [0, 1] for every position.
        pooled (float | str | None): Accepted over drafted tokens (A / D) in [0, 1] at
            ``measured_at``.
        measured_at (int | None): Depth at which a single accept length or pooled rate was
            measured; None: the greatest depth.
        batch (float | str): Number of requests that decode together, for tokens per second.

    Returns:
        QuickAnswer: Speedup, gain and break-even points by depth; ``print`` shows them.

    Raises:
        InputError: A number is out of its range, or lists differ in length.

    Examples:
        >>> quick(target=76, verify=[90, 104], draft=[8, 14], pooled=0.7).speedup.round(2).tolist()
        [1.0, 1.38, 1.55]
    """
    given = {
        "rates": rates,
        "survival": survival,
        "accept_lengths": accept_lengths,
        "alpha": alpha,
        "pooled": pooled,
    }
    stated = {name: value for name, value in given.items() if value is not None}
    if len(stated) != 1:
        found = f"{' and '.join(stated)} are given" if stated else "none is given"
        raise InputError.of(f"give exactly one of {', '.join(given)}; {found}", key="rates")
    ((name, value),) = stated.items()
    measured = _one(name, value) if name in ("alpha", "pooled") else _read(name, value)
    times = {"verify": _read("verify", verify)}
    if draft is not None:
        times["draft"] = _read("draft", draft)
    depth = _common_depth({name: measured, **times})
    if measured_at is not None and (name == "alpha" or not isinstance(measured, float)):
        message = "applies to a pooled rate or a single accept length only"
        raise InputError.of(message, key="measured_at")
    step = _within("target", _one("target", target), 0, LONGEST)[0]
    if not step > 0:
        raise InputError.of("0 is given; it must be above 0", key="target")
    by_depth = {
        part: np.broadcast_to(_within(part, time, 0, LONGEST), depth)
        for part, time in {"draft": 0.0, **times}.items()
    }
    if not by_depth["verify"].min() > 0:
        raise InputError.of("0 is given; a verify takes longer than 0 ms", key="verify")
    acceptance = _acceptance(name, measured, measured_at=measured_at or depth, depth=depth)
    return QuickAnswer(
        acceptance=acceptance,
        verify=np.append(step, by_depth["verify"]),
        draft=np.append(0.0, by_depth["draft"]),
        batch=float(_within("batch", _one("batch", batch), 1, 1e6)[0]),
        assumptions=(*_assumed_times(times, depth), *_assumed_rates(acceptance, name, depth)),
    )


def _assumed_times(times: dict[str, float | list[float]], depth: int) -> Iterator[str]:
    """What was assumed of times by depth that were not given one by one."""
    for name, time in times.items():
        if isinstance(time, float) and depth > 1:
            yield f"the same {name} time, {time:g} ms, at every depth"
    if "draft" not in times:
        yield "drafts that take no time, which is an upper bound (`draft` is not given)"


def _assumed_rates(acceptance: Acceptance, name: str, depth: int) -> Iterator[str]:
    """What was assumed of rates by position that were not given one by one."""
    if acceptance.assumption:
        order = ". Which depth is fastest depends on it: better give `rates`" * (depth > 1)
        yield acceptance.assumption + order * (name != "alpha")


def _read(name: str, value: Numbers) -> float | list[float]:
    """Numbers of an argument, of which texts may have a unit."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return _number(name, value)
    numbers = list(value)
    places = [f"{name}[{n}]" if numbers[1:] else name for n in range(len(numbers))]
    return [_number(place, one) for place, one in zip(places, numbers, strict=True)]


def _one(name: str, value: Numbers) -> float:
    numbers = _read(name, value)
    if isinstance(numbers, list):
        raise InputError.of(f"{len(numbers)} numbers are given; it must be one", key=name)
    return numbers


def _number(key: str, value: Any) -> float:
    units = UNITS.get(key.partition("[")[0], {"": 1.0})
    if not isinstance(value, str):
        try:
            return float(value)
        except (TypeError, ValueError):
            found = None
    elif (found := NUMBER.fullmatch(value.strip())) and found[2].lower() in units:
        return float(f"{float(found[1]) * units[found[2].lower()]:.15g}")  # 80 % is 0.8
    known = " or ".join(repr(unit) for unit in units if unit)
    may = f", {known} may follow" if known else ""
    raise InputError.of(f"{value!r} is given; it must be a number{may}", key=key)


def _common_depth(given: dict[str, float | list[float]]) -> int:
    """K, the common length of the lists that are given by depth."""
    lengths = {name: len(v) for name, v in given.items() if isinstance(v, list)}
    for name in (name for name, length in lengths.items() if not length):
        raise InputError.of("the list is empty; give one number per depth", key=name)
    depth = max(lengths.values(), default=1)
    if lengths.get("rates", depth) == 1 < depth:
        _ask_which_rate(given["rates"], depth)
    often = Counter(lengths.values())
    if len(often) > 1:
        found = ", ".join(f"`{name}`: {length}" for name, length in lengths.items())
        message = f"give one number per depth, from depth 1, in each list ({found})"
        other = min(lengths, key=lambda name: (often[lengths[name]], lengths[name]))
        raise InputError.of(message, key=other)
    return depth


def _ask_which_rate(rates: float | list[float], depth: int) -> None:
    """Refuse a single rate for several depths, and show what each definition of it means."""
    rate = float(_within("rates", rates, 0, 1)[0])
    every = Acceptance.of_constant_rate(rate, depth).lengths[-1]
    raise InputError.of(
        f"one rate for {depth} depths: give `alpha` if it is the conditional rate of every "
        f"position (accept length {every:.3g} at depth {depth}), `pooled` if it is accepted over "
        f"drafted tokens (accept length {1 + rate * depth:.3g})",
        key="rates",
    )


def _acceptance(
    name: str, measured: float | list[float], *, measured_at: int, depth: int
) -> Acceptance:
    if name in ("rates", "survival"):
        rates = _within(name, measured, 0, 1)
        try:
            return Acceptance.of_rates(rates, "conditional" if name == "rates" else name)
        except ValueError as error:
            message = str(error).replace(CONDITIONAL_MAY, "; conditional rates may: give `rates`")
            raise InputError.of(message, key=name) from None
    if name == "accept_lengths" and isinstance(measured, list):
        lengths = [float(_within(name, v, 1, k + 2)[0]) for k, v in enumerate(measured)]
        return Acceptance.of_lengths(np.array(lengths))
    if name == "accept_lengths":
        accepted = float(_within(name, measured, 1, measured_at + 1)[0]) - 1
        return Acceptance.of_mean_accepted(accepted, measured_at=measured_at, depth=depth)
    rate = float(_within(name, measured, 0, 1)[0])
    if name == "alpha":
        return Acceptance.of_constant_rate(rate, depth)
    return Acceptance.of_mean_accepted(rate * measured_at, measured_at=measured_at, depth=depth)


def _within(name: str, value: float | list[float], low: float, high: float) -> Floats:
    """The numbers as an array of at least one; an error names the first that is out of range."""
    numbers = np.atleast_1d(np.array(value, float))
    for position, number in enumerate(numbers):
        if not low <= number <= high:  # NaN too
            place = f"{name}[{position}]" if len(numbers) > 1 else name
            hint = f" ({number:g} % is {number / 100:g})" if high == 1 < number <= 100 else ""
            message = f"{number:g} is given; it must lie between {low:g} and {high:g}{hint}"
            raise InputError.of(message, key=place)
    return numbers
