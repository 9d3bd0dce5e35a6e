"""``mtpsim fit``: make an experiment of engine logs and step times."""

import argparse
import json
import re
import sys
import tomllib
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from mtpsim import __version__
from mtpsim.acceptance import AcceptanceChain
from mtpsim.cli.fit_confidence import fit_confidence
from mtpsim.cli.fit_experiments import make_replay, write_chain, write_replay
from mtpsim.cli.fit_steps import FittedCosts, depth_of, fitted_costs
from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError, Problem, cannot_write
from mtpsim.common.text import one_line
from mtpsim.config.experiment import Experiment, parse, validate
from mtpsim.engine.interrupts import command_interruptible
from mtpsim.fit.by_depth import chain_lengths
from mtpsim.fit.confidence import is_confidence_file
from mtpsim.fit.document import (
    FitReport,
    acceptance_section,
    fit_report,
    samples_csv,
    uncertainty_section,
)
from mtpsim.fit.draft_lengths import draft_section
from mtpsim.fit.limitations import depth_problem
from mtpsim.fit.model import LogFit, fit_log
from mtpsim.fit.replay_report import why_no_replay
from mtpsim.fit.round_times import latency_section
from mtpsim.fit.step_times import is_step_table, read_step_times, steps_of_log
from mtpsim.fit.throughput import SpeedCheck, check_speed, time_warnings_of
from mtpsim.formula.closed_form import drafts_are_free
from mtpsim.logs import Answers, read_logs
from mtpsim.logs.files import STDIN, copied_pipes, lines
from mtpsim.report.progress import Progress, progress_display
from mtpsim.report.tables.fit import print_fit

STOPPED = "interrupted: the fit is not complete; run the same command again\n"
SAMPLES, TIMES = ".samples.csv", ".times.csv"


class FitOptions(argparse.Namespace):
    """Options of ``mtpsim fit``; :func:`mtpsim.cli.arguments.fit` describes each."""

    files: list[Path]
    out: Path | None
    like: Path | None
    target: float | None
    verify: float | None
    draft: float | None
    format: str | None
    skip_bad: bool
    depth: int | None
    rates_are: Literal["survival", "conditional"] | None
    rounds: int | None
    model: str | None
    holdout: float
    candidates: str | None
    keep_samples: bool
    design_effect: float
    experts: int
    active: int
    by_batch: bool
    replay: bool | None
    json: bool
    quiet: bool
    experiment_only: bool


def run(options: FitOptions) -> int:
    """Fit logs and step times, print the fit, and write the experiment."""
    _check(options)
    with command_interruptible(STOPPED, grace=0), copied_pipes(options.files):
        for path in options.files:
            _check_is_no_result(path)
        if len(options.files) == 1 and is_confidence_file(path := options.files[0]):
            return fit_confidence(path, options.out, as_json=options.json, quiet=options.quiet)
        return _fit(options)


def _fit(options: FitOptions) -> int:
    tables = [path for path in options.files if is_step_table(path)]
    logs = [path for path in options.files if path not in tables]
    if len(tables) > 1:
        message = f"{len(tables)} files of step times are given; at most 1 is allowed"
        raise InputError.of(message, file=tables[1])
    if tables and not logs and options.out is not None and options.like is None:
        message = (
            "step times alone are not an experiment, because they hold no acceptance rates: give "
            "--like FILE, an experiment to put them in, or a request log too; without --out the "
            "section [latency] is printed"
        )
        raise InputError.of(message, file=options.out, key="--out")
    like = _read_toml(options.like)
    if options.target is not None and (tables or "latency" in like):
        source = tables[0] if tables else options.like
        message = f"{options.target:g} is given, but so are the times of {source}"
        raise InputError.of(f"{message}; give one of them", key="--target")
    steps = read_step_times(tables[0]) if tables else None
    fit = (
        _fit_logs(logs, like, options, has_steps=bool(steps or options.by_batch)) if logs else None
    )
    if options.by_batch:
        if steps or fit is None:
            given = "step times are given" if steps else "no log is given"
            raise InputError.of(f"{given}; it fits those of logs", key="--by-batch")
        steps = steps_of_log(fit.log)
    depth = fit.log.depth if fit else depth_of(like)
    cost = fitted_costs(steps, like, depth, options) if steps else None
    if fit:
        written = _write(fit, cost, like, options)
    else:
        assert cost
        written = _write_steps(tables[0], cost, like, options)
    if options.experiment_only:
        return 0
    if cost and steps and options.out is not None:
        from mtpsim.report.figures.fit import steps_figure
        from mtpsim.report.figures.style import save

        written.append(options.out.with_suffix(".steps.png" if logs else ".png"))
        save(steps_figure(cost.fit, steps), written[-1], dpi=150)
    if written and not options.quiet:
        print(f"wrote {', '.join(map(str, written))}", file=sys.stderr)
    return 0


def _fit_logs(logs: list[Path], like: JsonDict, options: FitOptions, *, has_steps: bool) -> LogFit:
    answers = Answers(options.depth, options.rates_are, options.rounds, options.model)
    with progress_display(options.quiet) as report:
        log = read_logs(
            logs,
            answers,
            format=options.format,
            skip_bad=options.skip_bad,
            on_progress=lambda label, share, entries: report(Progress(label, share, entries)),
        )
        if not log.count:
            message = "has step times but no rounds; give a request log too"
            raise InputError.of(message, file=logs[0])
        if options.depth and (message := depth_problem(log, options.depth)):
            raise InputError.of(message, key="--depth")
        if "latency" in like and not has_steps:
            _check_times(like["latency"], log.depth, options)
        names = options.candidates
        if options.experiment_only and not why_no_replay(log):
            names = "independent"  # the replay is what is wanted
        return fit_log(
            log,
            holdout=options.holdout,
            only=[name.strip() for name in names.split(",")] if names else None,
            on_progress=lambda label, share: report(Progress(label, share, log.count)),
        )


def _check_is_no_result(path: Path) -> None:
    """Refuse what a command of this package wrote, whose keys are much like those of a log."""
    start = "".join(line for _, line in islice(lines(path), 2))
    if re.match(r'\s*\{\s*"mtpsim":', start):
        message = (
            "is a result.json or the report of a fit that mtpsim wrote, not a log: give the log of "
            "an engine, step times, or pairs of confidence and outcome (docs/logs.md); `mtpsim "
            "show` prints a result"
        )
        raise InputError.of(message, file=path)


def _check_times(latency: JsonDict, depth: int, options: FitOptions) -> None:
    """Check that the times of ``--like`` reach the depth of a log, before a fit of minutes."""
    assert options.like is not None
    rates = {"model": "independent", "rates": [0.5] * depth, "rates_are": "conditional"}
    raw = {"acceptance": rates, "latency": latency, "simulation": {"tokens": 2, "requests": 2}}
    validate(raw, options.like.parent, file=str(options.like))


def _check(options: FitOptions) -> None:
    """Check the ranges of options."""
    given, out = options, options.out
    experts = f"{given.active} active of {given.experts} experts"
    folder = out.parent if out else Path()
    both = bool(given.experts) == bool(given.active) and given.active <= given.experts
    target = 1.0 if given.target is None else given.target
    rules = [
        (both, "--experts", f"{experts} is given; give both, active at most experts"),
        (0 <= given.holdout <= 0.9, "--holdout", f"{given.holdout:g} is given; it must be a share "
         "from 0 to 0.9"),
        (given.design_effect >= 1, "--design-effect", f"{given.design_effect:g} is given; it must "
         "be at least 1"),
        (given.verify is None or given.target is not None, "--verify", "needs --target"),
        (given.draft is None or given.verify is not None, "--draft", "needs --verify"),
        (folder.is_dir(), "--out", f"can't be written: there is no folder {folder}"),
    ]  # fmt: skip
    for key, time in (("--target", target), ("--verify", given.verify), ("--draft", given.draft)):
        message = f"{time:g} is given; it must be above 0 ms" if time is not None else ""
        rules.append((time is None or 0 < time < float("inf"), key, message))
    for key, value, most in (("--depth", given.depth, 64), ("--rounds", given.rounds, 2**53)):
        allowed = value is None or 1 <= value <= most
        message = f"{value} is given; it must be a whole number from 1 to {most}"
        rules.append((allowed, key, message))
    problems = [
        Problem(message, key=key, file=str(out) if key == "--out" else "")
        for allowed, key, message in rules
        if not allowed
    ]
    if problems:
        raise InputError(problems)


def _read_toml(path: Path | None) -> JsonDict:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError.of(str(error), file=path, key="--like") from None


def _write_steps(path: Path, cost: FittedCosts, like: JsonDict, options: FitOptions) -> list[Path]:
    sections = {**like, "latency": cost.section}
    if inputs := _cost_inputs(cost):
        known = sections.get("uncertainty", {})
        sections["uncertainty"] = {**known, "inputs": {**known.get("inputs", {}), **inputs}}
    head = f"# {cost.fit.name} cost model of {one_line(path.name)}; set batch and cached\n"
    written = _deliver(head, sections, {}, options, complete=options.like is not None)
    report = json.dumps(
        {"mtpsim": __version__, "latency": cost.section, **asdict(cost.fit)}, indent=2
    )
    if options.out is not None:
        written.append(options.out.with_suffix(".json"))
        written[-1].write_text(report + "\n", encoding="utf-8")
    if options.json:
        print(report)
    if options.like is None and not options.quiet:
        message = "only the section [latency] and its errors: --like FILE completes an experiment"
        print(message, file=sys.stderr)
    return written


def _cost_inputs(cost: FittedCosts | None) -> JsonDict:
    errors = cost.fit.standard_errors if cost else {}
    return {f"latency.{key}": {"se": _rounded(error)} for key, error in errors.items()}


def _write(
    fit: LogFit, cost: FittedCosts | None, like: JsonDict, options: FitOptions
) -> list[Path]:
    name = (options.out or Path("fitted.toml")).stem
    sections = _sections(fit, cost, like, options)
    beside = {}
    if fit.chosen is not None and "serving" not in like:
        beside[name + SAMPLES] = samples_csv(fit.chosen.candidate, fit.draws)
    if sections["latency"].get("noise", {}).get("samples") == name + TIMES:
        beside[name + TIMES] = "".join(f"{time:.9g}\n" for time in fit.times.samples)
    if options.out is None:
        sections, beside = _without_files(sections, fit, name + TIMES), {}
    names = " ".join(path.name for path in options.files)
    made_by = f"mtpsim fit {names}; set the batch and the length of a request"
    experiment = _fitted(fit, sections, cost, options)
    speed = _speed(fit, experiment, cost, options) if experiment else None
    warnings = list(fit.warnings)
    if experiment:
        warnings += time_warnings_of(fit, experiment, target=options.target, verify=options.verify)
    first = [*warnings, *([speed.sentence()] if speed and not speed.agrees else [])]
    head = "".join(f"# {one_line(note)}\n" for note in [*first, made_by, *fit.notes])
    replay = make_replay(fit, asked=options.replay, quiet=options.quiet)
    report = fit_report(fit, speed, warnings, replay[1] if replay else None)
    shown = not (options.quiet or options.experiment_only)
    try:
        written = _deliver(head, sections, beside, options, complete=True)
        if options.out is not None and fit.aggregated:
            written += write_chain(options.out, sections, fit.aggregated)
    except InputError:  # a fit of minutes is shown all the same
        if shown:
            print_fit(report, to_stdout=options.out is not None and not options.json)
        raise
    if options.out is not None and replay:
        files, notes = write_replay(options.out, sections, *replay)
        written += files
        report.notes.extend(notes)
    if options.experiment_only:
        return written
    if options.out is not None:
        written += _write_report(fit, report, options.out)
    if options.json:
        print(json.dumps(report.document(), indent=2))
    if shown:
        print_fit(report, to_stdout=options.out is not None and not options.json)
    return written


def _sections(
    fit: LogFit, cost: FittedCosts | None, like: JsonDict, options: FitOptions
) -> JsonDict:
    """Return the sections of the fitted experiment: those of ``--like`` with what was fitted."""
    samples = (options.out or Path("fitted.toml")).stem + SAMPLES
    read = ", ".join(
        "standard input" if Path(file.file) == STDIN else Path(file.file).name
        for file in fit.log.files
    )
    sections = {
        "title": f"Fitted to {read}",
        **like,
        "acceptance": acceptance_section(fit),
        "latency": _latency(fit, cost, like, options),
    }
    if "serving" not in like:  # a server has neither
        sections.setdefault("simulation", {"tokens": fit.tokens, "precision": 0.002})
        uncertainty = uncertainty_section(fit, samples, options.design_effect)
        if inputs := _cost_inputs(cost):
            uncertainty["inputs"] = {**uncertainty.get("inputs", {}), **inputs}
        sections["uncertainty"] = uncertainty
    if fit.chosen is not None and fit.lengths is not None:
        sections["draft"] = {**like.get("draft", {}), **draft_section(fit.chosen)}
    return sections


def _fitted(
    fit: LogFit, sections: JsonDict, cost: FittedCosts | None, options: FitOptions
) -> Experiment | None:
    """Return the fitted rates and mean times as an experiment; None where no times are known."""
    import tomli_w

    latency = {key: value for key, value in sections["latency"].items() if key != "noise"}
    if cost is None and options.like is None and latency["verify"] == latency["target"]:
        return None
    kept = {"acceptance": sections["acceptance"], "latency": latency}
    if fit.lengths is not None:
        kept["draft"] = sections["draft"]
    text = tomli_w.dumps(_rounded({**kept, "simulation": {"tokens": fit.tokens}}))
    return parse(text, folder=options.like.parent if options.like else Path(), file="fitted")


def _speed(
    fit: LogFit, experiment: Experiment, cost: FittedCosts | None, options: FitOptions
) -> SpeedCheck | None:
    """Compare the tokens per second of the log with those of the experiment."""
    verify, draft = experiment.latency.times(fit.log.depth)
    if drafts_are_free(verify, draft):  # placeholders
        return None
    chain, round_ms = experiment.acceptance.chain(), float(verify[-1] + draft[-1])
    assert isinstance(chain, AcceptanceChain)  # a fitted model is no recording
    if fit.chosen is not None and fit.lengths is not None:
        chain, round_ms = fit.chosen.chain, fit.lengths.mean_of(verify + draft)
    source = options.files[-1] if cost else options.like
    return check_speed(
        fit,
        accept_length=float(chain_lengths(chain, fit.tokens)[-1]),
        target=float(verify[0]),
        round_ms=round_ms,
        times_from=str(source) if source else "",
    )


def _without_files(sections: JsonDict, fit: LogFit, samples: str) -> JsonDict:
    """Return sections that refer to no file: a noise distribution for ``samples``, no draws."""
    sections = dict(sections)
    inputs = sections.pop("uncertainty", {}).get("inputs")
    if inputs:
        sections["uncertainty"] = {"inputs": inputs}
    latency = dict(sections["latency"])
    if latency.get("noise", {}).get("samples") == samples:
        latency.pop("noise")
        if fit.times.noise:
            latency["noise"] = fit.times.noise[0].section
    return {**sections, "latency": latency}


def _latency(
    fit: LogFit, cost: FittedCosts | None, like: JsonDict, options: FitOptions
) -> JsonDict:
    """Return the section ``[latency]``; what is assumed is added to the notes of the fit."""
    times = fit.times
    noise: JsonDict = {}
    if times.samples.size and (options.keep_samples or (times.noise and not times.is_described)):
        noise = {"samples": (options.out or Path("fitted.toml")).stem + TIMES}
    elif times.noise:
        noise = dict(times.noise[0].section)
    if cost is not None:
        section = dict(cost.section)
    elif "latency" in like:
        section = dict(like["latency"])
    elif options.verify is not None:
        draft = options.draft or 0.0
        section = {"target": options.target, "verify": options.verify, "draft": draft}
    else:
        section, notes = latency_section(times, fit.log.depth, options.target)
        fit.notes.extend(notes)
    has_own_noise = any(isinstance(p, dict) and "base" not in p for p in section.values())
    if noise and "noise" not in section and not has_own_noise:
        section["noise"] = noise
    rounded: JsonDict = _rounded(section)
    return rounded


def _deliver(
    head: str, sections: JsonDict, beside: dict[str, str], options: FitOptions, *, complete: bool
) -> list[Path]:
    """Write the experiment and its files, or print the experiment; return the paths written.

    Args:
        head: comment lines before the experiment.
        sections: sections of the experiment.
        beside: contents of files beside the experiment, by name.
        options: options of the command.
        complete: whether the sections are a complete experiment, which is validated first.
    """
    import tomli_w

    text = head + tomli_w.dumps(_rounded(sections))
    out = options.out
    if out is None:
        if complete:
            parse(text, folder=options.like.parent if options.like else Path(), file="fitted")
        if not options.json:
            sys.stdout.write(text)
        return []
    try:
        for name, content in beside.items():
            (out.parent / name).write_text(content, encoding="utf-8")
        if complete:
            parse(text, folder=out.parent, file=f"{out}")
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write(error, out) from None
    return [out, *(out.parent / name for name in beside)]


def _write_report(fit: LogFit, report: FitReport, out: Path) -> list[Path]:
    """Write the report and the figures beside the experiment."""
    from mtpsim.report.figures.fit import fit_page, times_figure
    from mtpsim.report.figures.style import save

    written = [out.with_suffix(".json")]
    written[0].write_text(json.dumps(report.document(), indent=2) + "\n", encoding="utf-8")
    if fit.selection is not None:
        written.append(out.with_suffix(".png"))
        save(fit_page(fit), written[-1], dpi=150)
    if fit.times.noise:
        written.append(out.with_suffix(".times.png"))
        save(times_figure(fit.times), written[-1], dpi=150)
    return written


def _rounded(value: Any) -> Any:
    """Return the value with its numbers rounded to 6 digits, more than any fit resolves.

    Transition probabilities are kept, as they add up to 1.
    """
    if isinstance(value, dict):
        return {key: part if key == "step" else _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
