"""The experiment file as an object: strict sections, all problems reported at once."""

from __future__ import annotations

import copy
import json
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from mtpsim.acceptance import Acceptance, AcceptanceChain, Source
from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import InputError, Problem, nearest, nearest_file
from mtpsim.common.section import Deferred, Spec
from mtpsim.common.text import counted
from mtpsim.config.cross_checks import invalid_sections, mismatches
from mtpsim.config.examples import file_or_example, titles
from mtpsim.config.input_warnings import input_warnings, step_warnings
from mtpsim.config.scenarios import NOT_IN_SCENARIOS, Robust
from mtpsim.config.simulation import Decision, Simulation, TheorySpec
from mtpsim.config.sweep import Sweep, combinations, set_key, swept_values
from mtpsim.latency import AnyLatency, CompiledLatency, CostModel

if TYPE_CHECKING:
    from mtpsim.acceptance.trees import Tree
    from mtpsim.config.adaptive import Adaptive
    from mtpsim.config.draft import Draft
    from mtpsim.config.overrides import Override
    from mtpsim.config.serving import Serving
    from mtpsim.config.uncertainty import Uncertainty
else:  # a Deferred section has its class when a file has the section
    Adaptive = Draft = Serving = Uncertainty = Spec
    Tree = Override = Any  # for `typing.get_type_hints`
MAX_FILE = 1 << 24  # bytes of an experiment


@dataclass(frozen=True)
class Point:
    """One point of a sweep.

    Attributes:
        set (dict): Swept dotted keys and their values at this point; empty without a sweep.
        experiment (Experiment): The experiment with these values and without a sweep.
    """

    set: JsonDict
    experiment: Experiment


class Experiment(Spec):
    """A validated experiment file. Use :func:`mtpsim.load` or :func:`mtpsim.parse` to create one.

    Attributes:
        title (str): Heading of the report.
        acceptance (AcceptanceModel): ``[acceptance]``: which drafts are accepted.
        latency (LatencySpec): ``[latency]``: times of verify and draft in ms.
        draft (Draft | None): ``[draft]``: the tree of drafts; None: a chain.
        simulation (Simulation): ``[simulation]``: number and length of requests, seed, precision.
        theory (TheorySpec | None): ``[theory]``: how the rates of the closed form were measured.
        decision (Decision): ``[decision]``: thresholds of advice and verdicts.
        adaptive (Adaptive | None): ``[adaptive]``: policies that choose the depth of each round.
        serving (Serving | None): ``[serving]``: a server under load instead of single requests.
        uncertainty (Uncertainty | None): ``[uncertainty]``: standard errors of the inputs.
        robust (dict | None): ``[robust]``: values that inputs may take instead.
        sweep (dict | None): ``[sweep]``: values of each swept key; every combination is a point.

    Examples:
        >>> import mtpsim
        >>> experiment = mtpsim.load("experiments/article.toml", ["simulation.requests=1000"])
        >>> experiment.acceptance.model, experiment.acceptance.rates
        ('independent', [0.8, 0.74, 0.67])
        >>> experiment.simulation.requests
        1000
        >>> [point.set for point in experiment.points()]
        [{}]
    """

    title: str = Field("", description="heading of the report")
    acceptance: Acceptance = Field(description="which drafts are accepted")
    latency: AnyLatency = Field(description="times of verify and draft, in ms")
    draft: Annotated[Draft | None, Deferred("config.draft.Draft")] = Field(
        None, description="shape of the drafts (default: a chain)"
    )
    simulation: Simulation = Field(
        default_factory=lambda: Simulation.model_validate({}),
        description="number and length of requests, seed and precision",
    )
    theory: Annotated[TheorySpec | None, Deferred("config.simulation.TheorySpec")] = Field(
        None,
        description="how the rates of the closed form were obtained (default: the input rates, or "
        "rates measured at the greatest depth)",
    )
    decision: Decision = Field(
        default_factory=lambda: Decision.model_validate({}), description="how a depth is selected"
    )
    adaptive: Annotated[Adaptive | None, Deferred("config.adaptive.Adaptive")] = Field(
        None, description="policies that choose the depth of each round"
    )
    serving: Annotated[Serving | None, Deferred("config.serving.Serving")] = Field(
        None, description="a server under load, instead of single requests"
    )
    uncertainty: Annotated[Uncertainty | None, Deferred("config.uncertainty.Uncertainty")] = Field(
        None, description="uncertainty of the inputs, propagated to the selected depth"
    )
    robust: Robust | None = Field(
        None,
        description="dotted keys and their possible values; selects the depth with the lowest "
        "regret over all combinations",
    )
    sweep: Sweep | None = Field(
        None, description="dotted keys and their values; every combination is a point"
    )
    _folder: Path = PrivateAttr(default=Path())

    @field_validator("*", mode="after")
    @classmethod
    def _collect(cls, value: Any, info: ValidationInfo) -> Any:
        """Keep valid sections: they are checked against each other even if others are invalid."""
        if info.context and "valid" in info.context:
            info.context["valid"][info.field_name] = value
        return value

    def __repr__(self) -> str:
        """Title, acceptance model, depth and number of points, on one line."""
        title, model = repr(self.title or "without a title"), self.acceptance.model
        parts = [title, model, f"depth {self.source.depth}"]
        if self.sweep:
            parts.append(f"sweep of {counted(sum(1 for _ in combinations(self.sweep)), 'point')}")
        return f"<mtpsim.Experiment {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        """The keys that differ from their defaults, as a table for a notebook."""
        from html import escape

        rows: JsonDict = {}
        for section, keys in self.model_dump(exclude_defaults=True, exclude_none=True).items():
            inner = keys if isinstance(keys, dict) else {"": keys}
            rows |= {f"{section}.{key}".rstrip("."): value for key, value in inner.items()}
        texts = {name: json.dumps(value, ensure_ascii=False) for name, value in rows.items()}
        lines = (f"<tr><th>{escape(n)}</th><td>{escape(t)}</td></tr>" for n, t in texts.items())
        return f"<table>{''.join(lines)}</table>"

    @property
    def measured_at(self) -> int:
        """Depth M at which the rates of the closed form are measured."""
        return (self.theory.measured_at if self.theory else None) or self.source.depth

    @property
    def tree(self) -> Tree | None:
        """The tree of drafts of a round; None without ``[draft]``."""
        if self.draft is None:
            return None
        from mtpsim.config.draft import drafted_tree

        return drafted_tree(self.acceptance, self.draft)

    @property
    def source(self) -> Source:
        """Which drafts are accepted, with a tree which of its levels; how long requests are."""
        draft, s = self.draft, self.simulation
        if draft is None:
            source = self.acceptance.chain()
        else:
            from mtpsim.config.draft import drafted_source, proposing_source

            source = drafted_source(self.acceptance, draft)
        if s.lengths is not None and s.tokens is not None and isinstance(source, AcceptanceChain):
            from mtpsim.acceptance.lengths import length_table

            table = length_table(
                source,
                mean=s.tokens,
                cv=s.lengths.deviation,
                distribution=s.lengths.distribution,
                correlation=s.lengths.correlation,
            )
            source = replace(source, length_table=table)
        if draft and draft.lengths is not None and "latency" in vars(self):
            verify, times = (tuple(times.tolist()) for times in self.step_times())
            idle = 1 + self.latency.overhead_off
            return proposing_source(source, draft, verify, times, idle)
        return source

    @property
    def input_rates(self) -> Floats | None:
        """Rates ``[K]`` of the file as they enter the closed form; None if it has none."""
        rates = self.acceptance.input_rates()
        if self.draft and self.draft.lengths is not None:
            return None
        if rates is None or self.tree is None:
            return rates
        chain = self.source.hidden_chain
        return rates[: self.tree.depth] if self.tree.is_chain or not chain else chain.accept[0]

    @property
    def drafted(self) -> Floats | None:
        """``[K + 1]`` tokens that a round drafts and verifies, by depth; None: as many as it."""
        tree = self.tree
        return None if tree is None or tree.is_chain else tree.drafted

    def step_times(self) -> tuple[Floats, Floats]:
        """Mean verify and draft times in ms by depth, each ``[K + 1]``."""
        depth = self.tree.depth if self.tree else self.acceptance.chain().depth
        block = self.draft.block if self.draft else None
        return self.latency.round_times(depth, self.drafted, block)

    def compiled_latency(self) -> CompiledLatency:
        """Mean times and noise tables of the latency.

        Raises:
            ValueError: A distribution can't be tabulated.
        """
        block = self.draft.block if self.draft else None
        return self.latency.compile(self.source.depth, self.drafted, block)

    @property
    def batch(self) -> float | None:
        """Requests that decode together; None if the latency has no batch."""
        return self.latency.batch if isinstance(self.latency, CostModel) else None

    @property
    def planned(self) -> int | None:
        """Requests (replications of a server) to simulate; None if a precision decides."""
        if self.serving is None:
            return self.simulation.requests
        return None if self.serving.precision else self.serving.most_replications

    @property
    def most(self) -> int:
        """Greatest number of requests, or of replications of a server."""
        return self.planned or (
            self.serving.most_replications if self.serving else self.simulation.max_requests
        )

    def raw(self) -> JsonDict:
        """The tables of the file, with defaults filled in."""
        return self.model_dump(exclude_none=True)

    def points(self) -> list[Point]:
        """Every combination of the sweep, in the order of the file; one point without a sweep.

        Raises:
            InputError: A swept key or value is not allowed.
        """
        if self.sweep is None:
            return [Point({}, self)]
        points, problems = self.swept_points
        if problems:
            raise InputError([problem for problem, _ in problems])
        return list(points)

    @cached_property
    def swept_points(self) -> tuple[list[Point], list[tuple[Problem, Problem]]]:
        """Valid points; and problems of the others, as of the sweep and as of the point."""
        points: list[Point] = []
        problems: list[tuple[Problem, Problem]] = []
        for chosen in combinations(self.sweep or {}):
            try:
                points.append(Point(chosen, self._with(chosen, drop=("sweep",))))
            except InputError as error:
                where = ", ".join(f"{key} = {value!r}" for key, value in chosen.items())
                problems += [
                    (replace(own, key=f"sweep ({where}): {own.key}", line=None), own)
                    for own in error.problems
                ]
        return points, problems

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As of any section; the copy finds its own points."""
        vars(copied := super().model_copy(update=update, deep=deep)).pop("swept_points", None)
        return copied

    def changed(self, changes: JsonDict, *, policies: bool = False) -> Experiment:
        """The same experiment with some values changed, without sweep, policies and uncertainty.

        Args:
            changes (dict): Dotted keys and their new values.
            policies (bool): Whether policies stay.

        Returns:
            Experiment: The changed experiment, of a single point.

        Raises:
            InputError: The changed experiment is not valid.

        Examples:
            >>> experiment = load("experiments/article.toml")
            >>> experiment.changed({"latency.target": 70.0}).latency.target
            70.0
        """
        drop = [key for key in NOT_IN_SCENARIOS if not (policies and key == "adaptive")]
        return self._with(changes, drop=drop)

    def _with(self, changes: JsonDict, *, drop: Sequence[str]) -> Experiment:
        raw = self.model_dump(exclude_none=True, exclude=set(drop))
        for key, value in changes.items():
            set_key(raw, key.split("."), copy.deepcopy(value))
        return validate(raw, self._folder)

    def warnings(self) -> list[str]:
        """Properties of the input that limit what the results mean, one sentence each."""
        return input_warnings(self)

    def time_warnings(self) -> list[str]:
        """Warnings on mean times that are not plausible, one sentence each."""
        return step_warnings(self)


def validate(
    raw: JsonDict, folder: Path = Path(), *, file: str = "experiment", text: str = ""
) -> Experiment:
    """Validate the tables of a file; other arguments as for :func:`parse`.

    Raises:
        InputError: With every problem found.
    """
    valid: JsonDict = {}
    problems: list[Problem] = []
    try:
        experiment = Experiment.model_validate(raw, context={"folder": folder, "valid": valid})
    except ValidationError as error:
        from mtpsim.config.validation_errors import problems_of, with_meant_names

        problems = problems_of(error, raw, file=file, text=text, spec=Experiment)
        if meant := with_meant_names(error, raw):
            try:
                Experiment.model_validate(meant, context={"folder": folder, "valid": {}})
            except ValidationError as others:
                under_it = problems_of(others, meant, file=file, text=text, spec=Experiment)
                known = {(problem.key, problem.text) for problem in problems}
                problems += [p for p in under_it if (p.key, p.text) not in known]
        experiment = Experiment.model_construct(**valid)
    experiment._folder = folder
    invalid = invalid_sections(raw, valid, problems)
    if found := mismatches(experiment, invalid):
        from mtpsim.config.validation_errors import mismatch_problems

        problems += mismatch_problems(found, file=file, text=text)
    problems += _sweep_problems(experiment, invalid, problems, file=file, text=text)
    if problems:
        raise InputError(sorted(problems, key=lambda p: (p.line is None, p.line or 0)))
    return experiment


def _sweep_problems(
    experiment: Experiment, invalid: set[str], known: Sequence[Problem], *, file: str, text: str
) -> list[Problem]:
    """Problems of single points of the sweep, if nothing that they depend on is invalid."""
    if not experiment.sweep:
        return []
    from mtpsim.config.toml_lines import line_of

    swept = list(swept_values(experiment.sweep))
    sections = {key.partition(".")[0] for key in swept}
    if invalid & {*sections, "acceptance", "latency"}:
        return []
    if invalid:  # these may refer to any section
        experiment = experiment.model_copy(update={"uncertainty": None, "robust": None})
    if outside := [key for key in swept if key.partition(".")[0] not in Experiment.model_fields]:
        from mtpsim.config.validation_errors import unknown_swept

        return [unknown_swept(key, Experiment, file=file, text=text) for key in outside]
    own = {(problem.key, problem.text) for problem in known}
    line = line_of(text, ("sweep",))
    found: dict[tuple[str, str], Problem] = {}  # the first of the points that have it
    for of_sweep, of_point in experiment.swept_points[1]:
        found.setdefault((of_point.key, of_point.text), replace(of_sweep, file=file, line=line))
    return [problem for place, problem in found.items() if place not in own]


def parse(
    text: str,
    *,
    folder: Path = Path(),
    file: str = "experiment",
    overrides: Sequence[str | Override] = (),
) -> Experiment:
    """Read and validate an experiment from TOML text.

    Args:
        text (str): The experiment in TOML.
        folder (Path): Folder of the relative paths in the text (default: working directory).
        file (str): Name of the file, for messages.
        overrides (Sequence[str]): As for :func:`mtpsim.load`.

    Returns:
        Experiment: The validated experiment.

    Raises:
        InputError: With every problem of the text.

    Examples:
        >>> import mtpsim
        >>> experiment = mtpsim.parse('''
        ... acceptance = { model = "independent", rates = [0.8, 0.7] }
        ... latency = { target = 76, verify = [90, 104], draft = [8, 14] }
        ... ''')
        >>> experiment.acceptance.chain().depth
        2
    """
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML; or a number of 4300 digits
        from mtpsim.config.hints import syntax_hint

        message, line = str(error) or "nested too deeply", None
        if "(at line " in message:
            message, _, place = message.partition(" (at line ")
            line = int(place.split(",")[0])
        message += syntax_hint(text, line)
        raise InputError.of(f"not valid TOML: {message}", file=file, line=line) from None
    if not raw and not overrides:
        raise InputError.of("is empty; [acceptance] and [latency] are required", file=file)
    if not overrides:
        return validate(raw, folder, file=file, text=text)
    from mtpsim.config.overrides import Override, apply_overrides, attribute

    given = [one if isinstance(one, Override) else Override.read(one) for one in overrides]
    apply_overrides(raw, given)
    try:
        return validate(raw, folder, file=file, text=text)
    except InputError as error:
        alone: list[Problem] = []
        try:
            validate(tomllib.loads(text), folder, file=file, text=text)
        except InputError as without:
            alone = without.problems
        raise InputError(attribute(error.problems, given, alone)) from None


def load(path: str | Path, overrides: Sequence[str | Override] = ()) -> Experiment:
    """Read and validate an experiment file.

    Args:
        path (str | Path): TOML file; relative paths in it start from its folder. ``"-"`` is
            standard input. The name of an installed example, such as ``"article"``, if there is
            no such file.
        overrides (Sequence[str]): Assignments ``section.key=value``, applied before validation.
            Each removes mutually exclusive keys of the file, and a sweep over its own key.

    Returns:
        Experiment: The validated experiment.

    Raises:
        InputError: With every problem of the file.

    Examples:
        >>> import mtpsim
        >>> experiment = mtpsim.load("experiments/article.toml", ["latency.target=70"])
        >>> experiment.latency.target
        70.0
    """
    path = Path(path) if os.path.isfile(path) else file_or_example(Path(path))
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
        if len(raw) > MAX_FILE:
            raise InputError.of(f"is larger than {MAX_FILE:,} bytes", file=path)
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start} is 0x{error.object[error.start]:02x})"
        raise InputError.of(message, file=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = nearest_file(path, ".toml") or nearest(str(path), titles())
        raise InputError.of(f"{reason}{hint}", file=path) from None
    return parse(text, folder=path.parent, file=str(path), overrides=overrides)


def as_experiment(source: Experiment | Mapping[str, Any] | str | Path) -> Experiment:
    """An experiment from whatever states one: itself, its tables, or the path of its file.

    Raises:
        InputError: It is not valid.
    """
    if isinstance(source, Experiment):
        return source
    if isinstance(source, Mapping):
        return validate(copy.deepcopy(dict(source)), Path())
    if isinstance(source, str | os.PathLike):
        return load(source)
    message = f"{source!r} is given; it must be an Experiment, a dict of its tables, or a path"
    raise InputError.of(message, key="experiment")


def schema() -> JsonDict:
    """JSON Schema (draft 2020-12) of the experiment file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mtpsim experiment",
        **{k: v for k, v in Experiment.model_json_schema().items() if k != "title"},
    }
