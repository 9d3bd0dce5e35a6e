"""The command line. Each verb imports what it needs when it is chosen."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mtpsim import __version__

DONE, WRONG, INTERRUPTED = 0, 2, 130
VERBS = ("run", "check", "schema", "fit", "sample", "export")
ENGINES = ("vllm-schedule", "vllm-synthetic", "sglang", "trtllm")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        from mtpsim.problems import nearest

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
    fit = verbs.add_parser("fit", help="fit a cost model to measured step times")
    fit.add_argument("file", metavar="CSV", help="columns batch, depth, verify; draft, cached (ms)")
    fit.add_argument("-o", "--out", metavar="FILE", help="write TOML here (default: stdout)")
    fit.add_argument("--like", metavar="FILE", help="an experiment that gets the fitted times")
    fit.add_argument("--experts", type=int, default=0, help="of a mixture of experts, with")
    fit.add_argument("--active", type=int, default=0, help="experts that a token uses")
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
    sample = verbs.add_parser("sample", help="write the log that an engine would have written")
    sample.add_argument("--as", dest="form", metavar="FORMAT", required=True, help="of the log")
    sample.add_argument("--requests", type=int, default=200, metavar="N", help="default: 200")
    sample.add_argument("--depth", metavar="K[,K]", help="drafts a round (default: the model's)")
    sample.add_argument("-o", "--out", metavar="FILE", help="write here (default: stdout)")
    for verb in (run, check, sample):
        verb.add_argument("file", metavar="FILE", help="an experiment.toml")
        verb.add_argument("--seed", metavar="N", help="instead of simulation.seed")
        verb.add_argument(
            "--set",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="override a key of the file, as latency.noise.cv=0.2; repeatable",
        )
    run.add_argument("--out", metavar="DIR", help="run directory (default: runs/FILE's name)")
    run.add_argument("--json", action="store_true", help="print the result document alone")
    run.add_argument("--quiet", action="store_true", help="no progress and no messages")
    run.add_argument("--fresh", action="store_true", help="replace a run that is there already")
    run.add_argument(
        "--executor",
        metavar="KIND[:N]",
        default="threads",
        help="threads or processes, and how many (default: threads, one a core)",
    )
    return parser


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
    from mtpsim.problems import InputError

    try:
        if options.verb == "schema":
            return _schema()
        if options.verb == "fit":
            return _fit(options)
        if options.verb == "export":
            return _export(options)
        if options.verb == "sample":
            return _sample(options)
        return _check(options) if options.verb == "check" else _run(options, given)
    except InputError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted before there was anything to save", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left: no traceback for that
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _overrides(options: argparse.Namespace) -> list[str]:
    seed = [] if options.seed is None else [f"simulation.seed={options.seed}"]
    return [*options.set, *seed]


def _schema() -> int:
    from mtpsim.experiment import schema

    print(json.dumps(schema(), indent=2, ensure_ascii=False))
    return DONE


def _fit(options: argparse.Namespace) -> int:
    from mtpsim.fit_verb import fit_command

    out, like = (Path(name) if name else None for name in (options.out, options.like))
    return fit_command(Path(options.file), out, like, options.experts, options.active)


def _export(options: argparse.Namespace) -> int:
    from mtpsim.export import export

    sys.stdout.write(export(Path(options.run), options.to, options.set))
    return DONE


def _sample(options: argparse.Namespace) -> int:
    from mtpsim.experiment import load
    from mtpsim.problems import InputError, Problem
    from mtpsim.sample_verb import sample_command

    if options.requests < 1:
        message = f"{options.requests} is given; at least 1 is needed"
        raise InputError([Problem("", "--requests", None, message)])
    experiment = load(options.file, _overrides(options))
    out = Path(options.out) if options.out else None
    return sample_command(experiment, options.form, options.requests, options.depth, out)


def _check(options: argparse.Namespace) -> int:
    from mtpsim.experiment import load
    from mtpsim.explain import explain

    print(explain(load(options.file, _overrides(options))))
    return DONE


def _run(options: argparse.Namespace, given: list[str]) -> int:
    from mtpsim.experiment import load
    from mtpsim.options import ExecutorChoice, RunOptions
    from mtpsim.problems import InputError, Problem

    try:
        executor = ExecutorChoice.parse(options.executor)
    except ValueError as error:
        raise InputError([Problem("", "--executor", None, str(error))]) from None
    experiment = load(options.file, _overrides(options))
    out = Path(options.out) if options.out else Path("runs", Path(options.file).stem)
    chosen = RunOptions(
        out, options.json, options.quiet, options.fresh, executor, ["mtpsim", *given]
    )
    from mtpsim.run_verb import run_command

    return run_command(experiment, chosen)
