"""The command line. Each verb imports what it needs when it is chosen."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mtpsim import __version__

if TYPE_CHECKING:
    from mtpsim.config.experiment import Experiment

DONE, WRONG, INTERRUPTED = 0, 2, 130
VERBS = ("run", "show", "merge", "check", "schema", "fit", "plan", "sample", "export")
ENGINES = ("vllm-schedule", "vllm-synthetic", "sglang", "trtllm")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        from mtpsim.common.errors import nearest

        words = message.split("'")
        hint = nearest(words[1], VERBS) if "invalid choice" in message else ""
        self.exit(WRONG, f"{self.prog}: {message}{hint}\n{self.format_usage()}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mtpsim",
        description="How deep to run Multi-Token Prediction, how sure you can be, and when to "
        "turn it off.",
    )
    parser.add_argument("--version", action="version", version=f"mtpsim {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    run = verbs.add_parser("run", help="simulate an experiment and write a run directory")
    check = verbs.add_parser("check", help="validate an experiment and explain it")
    verbs.add_parser("schema", help="print the JSON Schema of experiment.toml")
    _fit_options(verbs.add_parser("fit", help="fit models to engine logs and step times"))
    export = verbs.add_parser("export", help="write what a run found for an inference engine")
    export.add_argument("run", metavar="RUN", help="a run directory")
    export.add_argument("--to", metavar="ENGINE", required=True, help=", ".join(ENGINES))
    export.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="choose from a sweep by what a point sets; repeatable",
    )
    sample = verbs.add_parser("sample", help="write an engine log of simulated requests")
    sample.add_argument("--as", dest="form", metavar="FORMAT", required=True, help="log format")
    sample.add_argument(
        "--requests", type=int, default=200, metavar="N", help="number of requests (default: 200)"
    )
    sample.add_argument("--depth", metavar="K[,K]", help="drafts per round (default: the model's)")
    sample.add_argument("-o", "--out", metavar="FILE", help="file to write (default: stdout)")
    _plan_options(verbs.add_parser("plan", help="number of requests that a benchmark needs"))
    for verb in (run, check, sample, verbs.choices["plan"]):
        verb.add_argument("file", metavar="FILE", help="an experiment.toml")
        verb.add_argument("--seed", metavar="N", help="instead of simulation.seed")
        verb.add_argument(
            "--set",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="instead of what the file says, as latency.noise.cv=0.2; takes the place of a key "
            "that excludes it, and of a sweep over it; repeatable",
        )
    _run_options(run)
    _run_verbs(verbs)
    return parser


def _plan_options(plan: argparse.ArgumentParser) -> None:
    plan.add_argument(
        "--delta",
        type=float,
        default=0.01,
        metavar="X",
        help="smallest relative difference to detect (default: 0.01)",
    )
    plan.add_argument(
        "--power",
        type=float,
        default=0.9,
        metavar="P",
        help="probability of detecting it (default: 0.9)",
    )
    plan.add_argument(
        "--depths", metavar="K,K", help="depths to compare (default: the best and its neighbours)"
    )
    plan.add_argument("--picture", metavar="PNG", help="draw the power by number of requests")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    plan.add_argument("--quiet", action="store_true", help="no progress")


def _run_options(run: argparse.ArgumentParser) -> None:
    run.add_argument("--out", metavar="DIR", help="run directory (default: runs/FILE's name)")
    run.add_argument("--json", action="store_true", help="print the result document alone")
    run.add_argument("--quiet", action="store_true", help="no progress and no messages")
    run.add_argument("--fresh", action="store_true", help="replace a run that is there already")
    run.add_argument(
        "--executor",
        metavar="KIND[:N]",
        default="threads",
        help="threads, processes or dask, and how many (default: threads, one a core)",
    )
    run.add_argument(
        "--timeout",
        "--patience",
        type=float,
        metavar="S",
        help="worker timeout in seconds (default: 600)",
    )
    run.add_argument("--part", metavar="I/N", default="1/1", help="one of N parts, to be merged")


def _run_verbs(verbs: Any) -> None:
    show = verbs.add_parser("show", help="print and draw again what a run found, finished or not")
    show.add_argument("run", metavar="RUN", help="a run directory")
    show.add_argument("--json", action="store_true", help="print the result document alone")
    show.add_argument("--out", metavar="DIR", help="draw there (default: into RUN)")
    merge = verbs.add_parser("merge", help="add runs of several machines, parts or seeds")
    merge.add_argument("runs", metavar="RUN", nargs="+", help="run directories")
    merge.add_argument("-o", "--out", metavar="RUN", required=True, help="the merged run")
    merge.add_argument("--json", action="store_true", help="print the result document alone")
    merge.add_argument("--quiet", action="store_true", help="no messages")


def _fit_options(fit: argparse.ArgumentParser) -> None:
    add = fit.add_argument
    add("files", metavar="LOG", nargs="+", help="logs of one engine; at most one step-time CSV")
    add("-o", "--out", metavar="FILE", help="path of the experiment (default: stdout)")
    add("--like", metavar="FILE", help="experiment whose times and other sections are used")
    add("--target", type=float, metavar="MS", help="time of a step without drafts")
    add("--format", metavar="NAME", help="format of the logs (default: detected from the content)")
    add("--skip-bad", action="store_true", help="skip and count malformed entries")
    add("--depth", type=int, metavar="K", help="drafts per round, if the log does not state it")
    add("--rates-are", choices=("survival", "conditional"), help="definition of bare rates")
    add("--rounds", type=int, metavar="N", help="rounds over which bare rates were measured")
    add("--model", metavar="NAME", help="model to read from a scrape of several models")
    add("--holdout", type=float, default=0.3, metavar="SHARE", help="of requests (default 0.3)")
    add("--candidates", metavar="NAME[,NAME]", help="models to fit (default: all that apply)")
    add("--keep-samples", action="store_true", help="resample round times; fit no distribution")
    add(
        "--design-effect",
        type=float,
        default=1.0,
        metavar="X",
        help="variance of totals relative to independent rounds (default 1)",
    )
    add("--experts", type=int, default=0, metavar="N", help="experts of a mixture of experts")
    add("--active", type=int, default=0, metavar="N", help="active experts per token")
    add("--json", action="store_true", help="print only the report, as JSON")
    add("--quiet", action="store_true", help="print neither progress nor tables")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0, 2 wrong input, 3 imprecise, 130)."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    try:
        options = parser.parse_args(given)
    except SystemExit as stop:
        return int(stop.code or 0)
    if options.verb is None:
        parser.print_help(sys.stderr)
        return WRONG
    return _guarded(options, given)


def _guarded(options: argparse.Namespace, given: list[str]) -> int:
    from mtpsim.common.errors import InputError

    try:
        code = _do(options, given)
        sys.stdout.flush()
        return code
    except InputError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted before there was anything to save", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:  # as where the output goes to a full disk
        _drop_output()
        print(f"error: {error}", file=sys.stderr)
        return WRONG


def _do(options: argparse.Namespace, given: list[str]) -> int:
    if options.verb == "schema":
        return _schema()
    if options.verb == "fit":
        return _fit(options)
    if options.verb == "export":
        return _export(options)
    if options.verb == "plan":
        return _plan(options)
    if options.verb == "sample":
        return _sample(options)
    if options.verb in ("show", "merge"):
        return _kept(options, given)
    return _check(options) if options.verb == "check" else _run(options, given)


def _drop_output() -> None:
    """What is still to be written goes nowhere: it would fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _experiment(options: argparse.Namespace) -> Experiment:
    """The file, with what the command says instead."""
    from mtpsim.config.experiment import load
    from mtpsim.config.overrides import Override

    if options.seed is None:
        return load(options.file, options.set)
    seed = Override.read(f"simulation.seed={options.seed}", "--seed")
    return load(options.file, [*options.set, seed])


def _schema() -> int:
    from mtpsim.config.experiment import schema

    print(json.dumps(schema(), indent=2, ensure_ascii=False))
    return DONE


def _fit(options: argparse.Namespace) -> int:
    from mtpsim.cli.fit import FitOptions, LogOptions, ModelOptions, TimeOptions, fit_command
    from mtpsim.logs import Answers

    names = options.candidates
    return fit_command(
        FitOptions(
            files=[Path(name) for name in options.files],
            out=Path(options.out) if options.out else None,
            like=Path(options.like) if options.like else None,
            logs=LogOptions(
                answers=Answers(
                    depth=options.depth,
                    rates_are=options.rates_are,
                    rounds=options.rounds,
                    model=options.model,
                ),
                format=options.format,
                skip_bad=options.skip_bad,
            ),
            model=ModelOptions(
                holdout=options.holdout,
                only=[name.strip() for name in names.split(",")] if names else None,
                design_effect=options.design_effect,
            ),
            times=TimeOptions(
                target=options.target,
                keep_samples=options.keep_samples,
                experts=options.experts,
                active=options.active,
            ),
            as_json=options.json,
            quiet=options.quiet,
        )
    )


def _export(options: argparse.Namespace) -> int:
    from mtpsim.runs.export import export

    sys.stdout.write(export(Path(options.run), options.to, options.set))
    return DONE


def _plan(options: argparse.Namespace) -> int:
    from mtpsim.cli.plan import PlanOptions, plan_command

    experiment = _experiment(options)
    picture = Path(options.picture) if options.picture else None
    chosen = PlanOptions(
        delta=options.delta,
        power=options.power,
        depths=options.depths,
        picture=picture,
        as_json=options.json,
        quiet=options.quiet,
    )
    return plan_command(experiment, chosen)


def _kept(options: argparse.Namespace, given: list[str]) -> int:
    from mtpsim.cli.show_merge import merge_command, show_command

    if options.verb == "show":
        out = Path(options.out) if options.out else None
        return show_command(Path(options.run), out, options.json)
    from mtpsim.engine.options import RunOptions

    chosen = RunOptions(Path(options.out), options.json, options.quiet, command=["mtpsim", *given])
    return merge_command([Path(run) for run in options.runs], chosen)


def _sample(options: argparse.Namespace) -> int:
    from mtpsim.cli.sample import sample_command
    from mtpsim.common.errors import InputError

    if options.requests < 1:
        message = f"{options.requests} is given; at least 1 is needed"
        raise InputError.of(message, key="--requests")
    experiment = _experiment(options)
    out = Path(options.out) if options.out else None
    return sample_command(experiment, options.form, options.requests, options.depth, out)


def _check(options: argparse.Namespace) -> int:
    from mtpsim.report.experiment_text import explain

    print(explain(_experiment(options)))
    return DONE


def _run(options: argparse.Namespace, given: list[str]) -> int:
    from mtpsim.common.errors import InputError
    from mtpsim.engine.options import TIMEOUT, ExecutorChoice, RunOptions

    try:
        executor = ExecutorChoice.parse(options.executor)
    except ValueError as error:
        raise InputError.of(str(error), key="--executor") from None
    timeout = TIMEOUT if options.timeout is None else options.timeout
    if not timeout > 0:
        message = f"{timeout:g} is given; it must be a number of seconds above 0"
        raise InputError.of(message, key="--timeout")
    experiment = _experiment(options)
    out = Path(options.out) if options.out else Path("runs", Path(options.file).stem)
    chosen = RunOptions(
        *(out, options.json, options.quiet, options.fresh, executor, ["mtpsim", *given]),
        *(timeout, _part(options.part, experiment.simulation.requests)),
    )
    from mtpsim.cli.run import run_command

    return run_command(experiment, chosen)


def _part(text: str, requests: int | None) -> tuple[int, int]:
    from mtpsim.common.errors import InputError

    one, slash, all_ = text.partition("/")
    given = one.isdecimal() and all_.isdecimal() and bool(slash)
    part = (int(one), int(all_)) if given else (0, 0)
    if not 1 <= part[0] <= part[1]:
        message = f"{text!r} is given; it must be I/N with I from 1 to N, as 2/4"
    elif part != (1, 1) and requests is None:
        message = (
            "a part needs a number of requests, since a precision is of the whole: "
            "add --set simulation.requests=100000, or as many as you want of all parts together"
        )
    else:
        return part
    raise InputError.of(message, key="--part")
