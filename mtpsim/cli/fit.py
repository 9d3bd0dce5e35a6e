"""``mtpsim fit``: engine logs and step times to an experiment, with how sure it is."""

from __future__ import annotations

import json
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtpsim.cli.fit_steps import described, doubts, draw_steps, latency_of
from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError, Problem
from mtpsim.config.experiment import parse
from mtpsim.fit.document import acceptance_keys, document, samples_csv, uncertainty_keys
from mtpsim.fit.model import Fitted, fit_log
from mtpsim.fit.round_times import latency_keys
from mtpsim.fit.step_times import Fit, Steps, fit_steps, is_steps, read_steps
from mtpsim.logs import Answers, read_logs
from mtpsim.report.progress import progress
from mtpsim.report.tables.fit import print_fit

SAMPLES, TIMES = ".samples.csv", ".times.csv"


@dataclass(frozen=True)
class FitOptions:
    """What the command line asks of a fit.

    Attributes:
        files: logs of one engine, and maybe a CSV file of step times.
        out: the experiment to write; beside it stand the report, pictures and samples.
        like: an experiment whose other sections, and whose times, are kept.
        answers: what the user said that logs leave open.
        format: of the logs.
        skip_bad: go on after broken entries.
        target: ms of a step without drafts.
        holdout: share of the requests to judge candidates by.
        only: candidates to try.
        keep_samples: take measured round times as they are, whatever law describes them.
        design_effect: of totals, whose intervals would take rounds for independent.
        experts: of a mixture of experts, for step times.
        active: experts a token.
        as_json: print the report as JSON.
        quiet: no progress and no tables.

    """

    files: list[Path]
    out: Path | None = None
    like: Path | None = None
    answers: Answers = field(default_factory=Answers)
    format: str | None = None
    skip_bad: bool = False
    target: float | None = None
    holdout: float = 0.3
    only: list[str] | None = None
    keep_samples: bool = False
    design_effect: float = 1.0
    experts: int = 0
    active: int = 0
    as_json: bool = False
    quiet: bool = False


def fit_command(options: FitOptions) -> int:
    """Fit, say how well, and write an experiment to ``out``, or to stdout.

    Raises:
        InputError: the files can't be read, or the experiment to complete is not valid with them.

    """
    _check(options)
    steps = [path for path in options.files if is_steps(path)]
    logs = [path for path in options.files if path not in steps]
    if len(steps) > 1:
        message = f"{len(steps)} files of step times are given; one cost model is fitted to one"
        raise InputError.of(message, file=str(steps[1]))
    if steps and not logs:
        _check_alone(options)
    like = _tables(options.like)
    if steps or "latency" in like:
        _check_target(options, steps[0] if steps else options.like)
    measured = read_steps(steps[0]) if steps else None
    cost = _cost_model(measured, options) if measured else None
    if cost and not logs:
        written = _write_steps(steps[0], cost, like, options)
    else:
        written = _write(_fitted(logs, options), cost, like, options)
    if cost and measured and options.out is not None:
        written.append(options.out.with_suffix(".steps.png" if logs else ".png"))
        draw_steps(cost, measured, written[-1])
    if written and not options.quiet:
        print(f"wrote {', '.join(map(str, written))}", file=sys.stderr)
    return 0


def _fitted(logs: list[Path], options: FitOptions) -> Fitted:
    with progress(options.quiet) as watcher:
        log = read_logs(
            logs,
            options.answers,
            format=options.format,
            skip_bad=options.skip_bad,
            told=lambda label, share, entries: watcher.update(label, share, entries, None, None),
        )
        if not log.count:
            message = "has step times but no rounds; give a log of requests too"
            raise InputError.of(message, file=logs[0])
        return fit_log(
            log,
            holdout=options.holdout,
            only=options.only,
            told=lambda label, share: watcher.update(label, share, log.count, None, None),
        )


def _check_alone(options: FitOptions) -> None:
    """Refuse to write step times alone: they would be no experiment.

    Raises:
        InputError: there is a file to write, and no experiment to put them in.

    """
    if options.out is not None and options.like is None:
        message = (
            "step times alone are no experiment, since they say nothing of acceptance: give --like "
            "FILE, an experiment to put them in, or a log of requests too; without --out the "
            "section [latency] is printed"
        )
        raise InputError.of(message, file=options.out, key="--out")


def _check(options: FitOptions) -> None:
    problems = []
    if bool(options.experts) != bool(options.active) or options.active > options.experts:
        message = (
            f"{options.active} active of {options.experts} experts is given; give both, active at "
            "most experts"
        )
        problems.append(Problem(message, key="--experts"))
    if not 0 <= options.holdout <= 0.9:
        message = f"{options.holdout:g} is given; a share from 0 to 0.9 is needed"
        problems.append(Problem(message, key="--holdout"))
    for name, value, most in (
        ("--depth", options.answers.depth, 64),
        ("--rounds", options.answers.rounds, 2**53),
    ):
        if value is not None and not 1 <= value <= most:
            message = f"{value} is given; a whole number from 1 to {most} is needed"
            problems.append(Problem(message, key=name))
    if options.design_effect < 1:
        message = f"{options.design_effect:g} is given; it must be at least 1"
        problems.append(Problem(message, key="--design-effect"))
    if options.out is not None and not options.out.parent.is_dir():
        message = f"can't be written: there is no folder {options.out.parent}"
        problems.append(Problem(message, file=str(options.out), key="--out"))
    if options.target is not None and not 0 < options.target < float("inf"):
        message = f"{options.target:g} is given; a time above 0 ms is needed"
        problems.append(Problem(message, key="--target"))
    if problems:
        raise InputError(problems)


def _check_target(options: FitOptions, source: Path | None) -> None:
    """Refuse a plain step beside times that have their own.

    Raises:
        InputError: it would not be used.

    """
    if options.target is not None:
        message = f"{options.target:g} is given, but the times are those of {source}; give either"
        raise InputError.of(message, key="--target")


def _cost_model(steps: Steps, options: FitOptions) -> Fit:
    fits = fit_steps(steps, options.experts, options.active)
    if not options.quiet:
        print(described(fits), file=sys.stderr)
        for doubt in doubts(fits[0], steps, _tables(options.like)):
            print(f"warning: {doubt}", file=sys.stderr)
    return fits[0]


def _tables(like: Path | None) -> JsonDict:
    if like is None:
        return {}
    try:
        return tomllib.loads(like.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError.of(str(error), file=like, key="--like") from None


def _write_steps(path: Path, cost: Fit, like: JsonDict, options: FitOptions) -> list[Path]:
    tables = {**like, "latency": latency_of(cost, like.get("latency", {}))}
    inputs = _cost_inputs(cost)
    if inputs:
        known = tables.get("uncertainty", {})
        tables["uncertainty"] = {**known, "inputs": {**known.get("inputs", {}), **inputs}}
    head = f"# {cost.keys['model']} cost model of {path.name}; set batch and cached as you serve\n"
    written = _deliver(head, tables, {}, options, whole=options.like is not None)
    if options.like is None and not options.quiet:
        message = "these are times and their errors alone: --like FILE makes an experiment of it"
        print(message, file=sys.stderr)
    return written


def _cost_inputs(cost: Fit | None) -> JsonDict:
    errors = cost.errors if cost else {}
    return {f"latency.{key}": {"se": short(error)} for key, error in errors.items()}


def _write(fitted: Fitted, cost: Fit | None, like: JsonDict, options: FitOptions) -> list[Path]:
    name = (options.out or Path("fitted.toml")).stem
    read = ", ".join(source.path.name for source in fitted.log.sources)
    latency, said = _latency(fitted, cost, like, options, name)
    fitted.notes.extend(said)
    uncertain: JsonDict = uncertainty_keys(fitted, name + SAMPLES, options.design_effect)
    if inputs := _cost_inputs(cost):
        uncertain["inputs"] = {**uncertain.get("inputs", {}), **inputs}
    tables = {
        "title": f"Fitted to {read}",
        **like,
        "acceptance": acceptance_keys(fitted),
        "latency": latency,
        "simulation": like.get("simulation", {"tokens": fitted.tokens, "precision": 0.002}),
        "uncertainty": uncertain,
    }
    beside = {}
    if fitted.chosen is not None:
        beside[name + SAMPLES] = samples_csv(fitted.chosen.candidate, fitted.sampled)
    if latency.get("noise", {}).get("samples") == name + TIMES:
        beside[name + TIMES] = "".join(f"{time:.9g}\n" for time in fitted.times.samples)
    if options.out is None:  # without files beside it the experiment stands by itself
        tables = _alone(tables, fitted, name + TIMES)
        beside = {}
    head = "".join(f"# {note}\n" for note in [_made_by(options), *fitted.notes])
    found = document(fitted)
    written = _deliver(head, tables, beside, options, whole=True)
    if options.out is not None:
        written += _report(fitted, found, options.out)
    if options.as_json:
        print(json.dumps(found, indent=2))
    if not options.quiet:
        print_fit(found, to_stdout=options.out is not None and not options.as_json)
    return written


def _made_by(options: FitOptions) -> str:
    names = " ".join(path.name for path in options.files)
    return f"mtpsim fit {names}; set the batch and the length of a request as you serve"


def _alone(tables: JsonDict, fitted: Fitted, samples: str) -> JsonDict:
    """Without its files: counts for what was drawn, a law (if there is one) for ``samples``."""
    inputs = tables["uncertainty"].get("inputs")
    tables = {key: part for key, part in tables.items() if key != "uncertainty"}
    if inputs:
        tables["uncertainty"] = {"inputs": inputs}
    latency = dict(tables["latency"])
    if latency.get("noise", {}).get("samples") == samples:
        latency.pop("noise")
        if fitted.times.laws:
            latency["noise"] = fitted.times.laws[0].keys
    return {**tables, "latency": latency}


def _latency(
    fitted: Fitted, cost: Fit | None, like: JsonDict, options: FitOptions, name: str
) -> tuple[JsonDict, list[str]]:
    times = fitted.times
    noise: JsonDict = {}
    said: list[str] = []
    if times.samples.size and (options.keep_samples or (times.laws and not times.described)):
        noise = {"samples": name + TIMES}
    elif times.laws:
        noise = dict(times.laws[0].keys)
    if cost is not None:
        keys = latency_of(cost, like.get("latency", {}))
    elif "latency" in like:
        keys = dict(like["latency"])
    else:
        keys, said = latency_keys(times, fitted.log.depth, options.target)
    if noise and "noise" not in keys and not _own_noise(keys):
        keys["noise"] = noise
    return _rounded(keys), said


def _own_noise(keys: JsonDict) -> bool:
    """Whether a component of the latency brings noise of its own."""
    return any(isinstance(part, dict) and "base" not in part for part in keys.values())


def _deliver(
    head: str, tables: JsonDict, beside: dict[str, str], options: FitOptions, *, whole: bool
) -> list[Path]:
    """Write the experiment and its files, or the experiment alone to stdout; what was written."""
    import tomli_w

    text = head + tomli_w.dumps(_rounded(tables))
    out = options.out
    if out is None:
        if whole:
            parse(text, folder=options.like.parent if options.like else Path(), file="fitted")
        if not options.as_json:
            sys.stdout.write(text)
        return []
    try:
        for name, content in beside.items():
            (out.parent / name).write_text(content, encoding="utf-8")
        if whole:
            parse(text, folder=out.parent, file=f"{out}")
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"can't be written: {error.strerror}"
        raise InputError.of(message, file=out, key="--out") from None
    return [out, *(out.parent / name for name in beside)]


def _report(fitted: Fitted, found: JsonDict, out: Path) -> list[Path]:
    """Write the report and the pictures beside the experiment."""
    from mtpsim.report.figures.fit import fit_page, times_figure
    from mtpsim.report.figures.style import save

    report, page = out.with_suffix(".json"), out.with_suffix(".png")
    report.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    written = [report]
    if fitted.selection is not None:
        save(fit_page(fitted), page, dpi=150)
        written.append(page)
    if fitted.times.laws:
        picture = out.with_suffix(".times.png")
        save(times_figure(fitted.times), picture, dpi=150)
        written.append(picture)
    return written


def short(value: Any) -> Any:
    """A number with six digits, which is more than any fit knows."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else short(value)
