"""``experiment.toml`` as an object: strict sections, all problems at once, points of a sweep."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
)

from mtpsim.acceptance import Acceptance, Source
from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import InputError, Problem, nearest_file
from mtpsim.common.section import Spec
from mtpsim.config.adaptive import Adaptive
from mtpsim.config.decision import Decision
from mtpsim.config.overrides import Override, apply, blamed
from mtpsim.config.partial_validation import Faults
from mtpsim.config.simulation import Simulation
from mtpsim.config.sweep import Sweep, axes, combinations, put
from mtpsim.config.toml_lines import key_lines, line_of
from mtpsim.config.uncertainty import Robust, Uncertainty, draws_of, scenarios, value_at
from mtpsim.config.validation_errors import problems_of
from mtpsim.formula.rate_definitions import TheorySpec
from mtpsim.latency import AnyLatency, CostModel

SHORT_STEP, APART = 0.2, 10.0  # ms of a plain step, and times a verify over it, that look odd

Lines = dict[tuple[str | int, ...], int]
EXTRA = ("sweep", "uncertainty", "robust", "adaptive")  # sections that variants do without
BOUNDS_NEED = "a model of hidden states; recorded requests have none that could be known"


@dataclass(frozen=True)
class Point:
    """One combination of a sweep: what it sets, and the experiment with that set."""

    set: JsonDict
    experiment: Experiment


class Experiment(Spec):
    """A whole experiment file."""

    title: str = ""
    acceptance: Acceptance
    latency: AnyLatency
    simulation: Simulation = Field(default_factory=lambda: Simulation.model_validate({}))
    theory: TheorySpec | None = Field(
        None,
        description="how the rates for the closed form were obtained; without it they are those "
        "of the file, or else measured at the greatest depth",
    )
    decision: Decision = Field(default_factory=lambda: Decision.model_validate({}))
    adaptive: Adaptive | None = Field(
        None, description="policies that choose the depth of each round anew"
    )
    uncertainty: Uncertainty | None = Field(
        None, description="what is known of the inputs; carried through to the choice of depth"
    )
    robust: Robust | None = Field(
        None, description="dotted keys and values that may be: the depth that loses least anywhere"
    )
    sweep: Sweep | None = Field(
        None, description="dotted keys and their values; every combination is a point"
    )
    _folder: Path = PrivateAttr(default=Path())

    @property
    def measured_at(self) -> int:
        """Depth M at which the rates for the closed form are measured."""
        greatest = self.acceptance.chain().depth
        return (self.theory.measured_at if self.theory else None) or greatest

    @property
    def batch(self) -> float | None:
        """Requests that decode together; None where the latency has no batch."""
        return self.latency.batch if isinstance(self.latency, CostModel) else None

    def raw(self) -> JsonDict:
        """The experiment as its file would state it, defaults written out."""
        return self.model_dump(exclude_none=True)

    def points(self) -> list[Point]:
        """Every combination of the sweep, in the order of the file; one point without a sweep.

        Raises:
            InputError: a swept key or value is not allowed.

        """
        points, problems = self._points()
        if problems:
            raise InputError([problem for problem, _ in problems])
        return points

    def _points(self) -> tuple[list[Point], list[tuple[Problem, Problem]]]:
        """Points that are valid; problems of the others, as of the sweep and as of the point."""
        points, problems = [], []
        for chosen in combinations(self.sweep or {}):
            raw = self.raw()
            raw.pop("sweep", None)
            for key, value in chosen.items():
                put(raw, key.split("."), copy.deepcopy(value))
            try:
                points.append(Point(chosen, validate(raw, self._folder)))
            except InputError as error:
                where = ", ".join(f"{key} = {value!r}" for key, value in chosen.items())
                problems += [
                    (Problem(p.message, file=p.file, key=f"sweep ({where}): {p.key}"), p)
                    for p in error.problems
                ]
        return points, problems

    def changed(self, changes: JsonDict) -> Experiment:
        """The same experiment, one point of it, with some dotted keys changed.

        Raises:
            InputError: it is not valid so.

        """
        raw = {key: part for key, part in self.raw().items() if key not in EXTRA}
        for key, value in changes.items():
            put(raw, key.split("."), copy.deepcopy(value))
        return validate(raw, self._folder)

    def warnings(self) -> list[str]:
        """What a reader of the results should know."""
        chain = self.acceptance.chain()
        found = self.acceptance.warnings() + self.latency.warnings()
        found += strange_times(*self.latency.times(chain.depth))
        if self.simulation.rounds and chain.requests_differ:
            found.append(
                "requests differ from each other for good: with `rounds` easy and hard ones weigh "
                "the same, while a server gives hard ones more rounds; `tokens` shows what it sees"
            )
        return found


def strange_times(verify: Floats, draft: Floats) -> list[str]:
    """Times in ms ``[K + 1]`` by depth that were hardly measured, or in another unit."""
    found = []
    if len(verify) > 1 and (verify == verify[0]).all() and not draft.any():
        found.append(
            "drafting costs no time here: a verify takes as long as a plain step, so the deepest "
            "draft always wins; measure both before you trust the depth"
        )
    if verify[0] < SHORT_STEP:
        found.append(f"a plain step takes {verify[0]:g} ms; were seconds meant?")
    off = [k for k in range(1, len(verify)) if not 1 / APART < verify[k] / verify[0] < APART]
    if off:
        found.append(
            f"a verify at depth {off[0]} takes {verify[off[0]]:g} ms, a plain step "
            f"{verify[0]:g} ms; is one of them in seconds?"
        )
    return found


def validate(
    raw: JsonDict, folder: Path = Path(), file: str = "experiment", text: str = ""
) -> Experiment:
    """Turn the tables of a file into an experiment.

    Args:
        raw: as tomllib reads it.
        folder: where relative paths of sample files start.
        file: name for the messages.
        text: of the file, to tell lines.

    Raises:
        InputError: with every problem found.

    """
    lines = key_lines(text)
    try:
        experiment = Experiment.model_validate(raw, context={"folder": folder})
    except ValidationError as error:
        found = problems_of(error, raw, file, lines, Experiment)
        found += _besides(found, raw, folder, file, lines)
        raise InputError(sorted(found, key=lambda p: (p.line is None, p.line or 0))) from None
    experiment._folder = folder
    if wrong := _between(experiment, Faults({}), file, lines):
        raise InputError(wrong)
    return experiment


def _besides(
    told: list[Problem], raw: JsonDict, folder: Path, file: str, lines: Lines
) -> list[Problem]:
    """Further problems, which those that were told would hide, as far as these don't matter."""
    context, faults, more = {"folder": folder}, Faults.of(told), []
    left = faults.without_keys(raw)
    try:
        Experiment.model_validate(left, context=context)
    except ValidationError as error:
        found = problems_of(error, left, file, lines, Experiment)
        more = [p for p in found if p not in told and not faults.follow(p)]
    faults = Faults.of([*told, *more])
    try:
        rest = Experiment.model_validate(faults.without_sections(raw), context=context)
    except ValidationError:
        return more
    rest._folder = folder
    return more + _between(rest, faults, file, lines)


def _between(experiment: Experiment, faults: Faults, file: str, lines: Lines) -> list[Problem]:
    """Problems between sections, and of points of the sweep, that no known fault may cause."""
    wrong = [
        Problem(message, file=file, key=".".join(filter(None, path)), line=line_of(lines, path))
        for path, message in _disagreements(experiment).items()
        if not faults.blur(path[0])
    ]
    if experiment.sweep is None or faults.blur_sweep(axes(experiment.sweep)):
        return wrong
    told = {(problem.key, problem.message) for problem in wrong}
    line = line_of(lines, ("sweep",))
    return wrong + [
        Problem(swept.message, file=file, key=swept.key, line=line)
        for swept, own in experiment._points()[1]
        if (own.key, own.message) not in told
    ]


def _disagreements(experiment: Experiment) -> dict[tuple[str, str], str]:
    """What is wrong between sections, by section and key."""
    source = experiment.acceptance.chain()
    lengths = experiment.latency.wrong_lengths(source.depth)
    wrong = {("latency", key): message for key, message in lengths.items()}
    if experiment.measured_at > source.depth:
        wrong["theory", "measured_at"] = (
            f"{experiment.measured_at} is given, but the acceptance model has depth {source.depth}"
        )
    if experiment.simulation.as_recorded and source.hidden_chain is not None:
        wrong["simulation", "as_recorded"] = (
            f'needs recorded requests (model = "trace"), not {experiment.acceptance.model!r}'
        )
    if max(experiment.simulation.between or (0,)) > source.depth:
        wrong["simulation", "between"] = (
            f"{list(experiment.simulation.between or ())} is given, but the acceptance model has "
            f"depth {source.depth}"
        )
    wrong |= _wrong_policies(experiment, source)
    return wrong | _wrong_inputs(experiment) | _wrong_scenarios(experiment, wrong)


def _wrong_policies(experiment: Experiment, source: Source) -> dict[tuple[str, str], str]:
    """What is wrong with policies for this acceptance model and this latency."""
    found = []
    for number, policy in enumerate(experiment.adaptive.policies if experiment.adaptive else ()):
        wrong = policy.wrong(source.depth, experiment.batch)
        if policy.knows and source.hidden_chain is None:
            wrong = f"it knows {policy.knows}: it needs {BOUNDS_NEED}"
        if wrong:
            found.append(f"{policy.label} (number {number + 1}): {wrong}")
    return {("adaptive", "policies"): "; ".join(found)} if found else {}


def _wrong_inputs(experiment: Experiment) -> dict[tuple[str, str], str]:
    """What is wrong with uncertain inputs."""
    known, simulation = experiment.uncertainty, experiment.simulation
    try:
        if known:
            draws_of(experiment.raw(), known, simulation.seed, simulation.confidence)
    except ValueError as error:
        return {("uncertainty", "inputs"): str(error)}
    return {}


def _wrong_scenarios(
    experiment: Experiment, told: dict[tuple[str, str], str]
) -> dict[tuple[str, str], str]:
    """What is wrong with declared sets, but for what was told of the file itself."""
    raw, robust = experiment.raw(), experiment.robust or {}
    depth = experiment.acceptance.chain().depth
    own = {(".".join(filter(None, path)), message) for path, message in told.items()}
    try:
        for key in robust:
            value_at(raw, key)
        for changes in scenarios(raw, robust) if robust else ():
            wrong, found = _problems_with(experiment, changes)
            new = [f"{p.key}: {p.message}" for p in wrong if (p.key, p.message) not in own]
            if new:
                raise ValueError("; ".join(new))
            if found and found.acceptance.chain().depth != depth:
                raise ValueError(f"a scenario has another depth than {depth}: {changes}")
    except ValueError as error:
        return {("robust", ""): str(error)}
    return {}


def _problems_with(
    experiment: Experiment, changes: JsonDict
) -> tuple[list[Problem], Experiment | None]:
    try:
        return [], experiment.changed(changes)
    except InputError as error:
        return error.problems, None


def parse(
    text: str, *, folder: Path = Path(), file: str = "experiment", overrides: Sequence[str] = ()
) -> Experiment:
    """Read an experiment from TOML text; arguments as for :func:`load`."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML; or a number of 4300 digits
        message, line = str(error) or "nested too deeply", None
        if "(at line " in message:
            message, _, place = message.partition(" (at line ")
            line = int(place.split(",")[0])
        json = "; it looks like JSON" if text.lstrip().startswith("{") else ""
        raise InputError.of(f"not valid TOML: {message}{json}", file=file, line=line) from None
    if not raw and not overrides:
        raise InputError.of("is empty; it needs at least [acceptance] and [latency]", file=file)
    given = [Override.read(override) for override in overrides]
    apply(raw, given)
    try:
        return validate(raw, folder, file, text)
    except InputError as error:
        if not given:
            raise
        alone = _problems(text, folder, file)
        raise InputError(blamed(error.problems, given, alone)) from None


def _problems(text: str, folder: Path, file: str) -> list[Problem]:
    """What is wrong with a file by itself."""
    try:
        validate(tomllib.loads(text), folder, file, text)
    except InputError as error:
        return error.problems
    return []


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file.

    Args:
        path: of the TOML file; sample files in it are found from its folder.
        overrides: ``section.key=value`` each, applied before the file is checked; each takes the
            place of a key that excludes it, and of the sweep over its own key.

    Raises:
        InputError: with every problem of the file.

    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start} is 0x{error.object[error.start]:02x})"
        raise InputError.of(message, file=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = nearest_file(path, ".toml")
        raise InputError.of(f"{reason}{hint}", file=path) from None
    return parse(text, folder=path.parent, file=str(path), overrides=overrides)


def schema() -> JsonDict:
    """JSON Schema (draft 2020-12) of the file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mtpsim experiment",
        **{k: v for k, v in Experiment.model_json_schema().items() if k != "title"},
    }
