"""The command line. The module of a command is imported when the command is chosen."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mtpsim import __version__

if TYPE_CHECKING:
    from mtpsim.config.experiment import Experiment

DONE, WRONG, INTERRUPTED = 0, 2, 130  # exit codes

# Each has its arguments in mtpsim.cli.arguments, and `run(options)` in a module of mtpsim.cli.
COMMANDS = {
    "quick": "answer from a few numbers, without a simulation",
    "init": "write an example experiment to start from",
    "run": "simulate an experiment and write a run directory",
    "check": "validate an experiment and explain it",
    "schema": "print the JSON Schema of experiment.toml",
    "fit": "fit models to engine logs and step times",
    "export": "write a result as the configuration of an inference engine",
    "sample": "write an engine log of simulated requests",
    "plan": "number of requests that a benchmark needs",
    "show": "print and draw a run directory, finished or not",
    "compare": "what differs between two runs, in inputs and answers",
    "merge": "merge runs of several machines, parts or seeds",
}
EXAMPLES = {
    "quick": (
        "--target 76 --verify 90,104,117 --draft 8,14,22 --rates .8,.74,.67",
        "--target 21ms --verify 24ms,26ms --draft 2ms,4ms --pooled 78% --toml > my.toml",
    ),
    "init": ("", "batch -o server.toml"),
    "run": ("article", "my.toml --set simulation.precision=0.002 --out runs/precise"),
    "check": ("my.toml", "my.toml --set latency.target=70"),
    "schema": ("", "> experiment.schema.json"),
    "fit": ("server.log -o fitted.toml", "server.log --target 21.3 -o fitted.toml"),
    "export": ("runs/my --to trtllm", "runs/batch --to vllm-schedule --set latency.cached=0"),
    "sample": ("my.toml --as rounds -o my.log", "my.toml --as rounds --requests 500 --depth 3"),
    "plan": ("my.toml", "my.toml --delta 0.02 --power 0.8 --depths 2,3"),
    "show": ("runs/my", "runs/my --json"),
    "compare": ("runs/my runs/my-2", "runs/before runs/after --json"),
    "merge": ("runs/part1 runs/part2 --out runs/all", "runs/seed1 runs/seed2 --out runs/all"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        from mtpsim.common.errors import nearest

        words = message.split("'")
        hint = nearest(words[1], COMMANDS) if "invalid choice" in message else ""
        self.exit(WRONG, f"{self.prog}: {message}{hint}\n{self.format_usage()}")

    def refuse(self, unknown: list[str]) -> NoReturn:
        """End with an error on arguments that the command does not have."""
        from mtpsim.common.errors import did_you_mean, suggest

        flag = next((word for word in unknown if word.startswith("-")), "")
        name = suggest(flag.partition("=")[0], self._option_string_actions, cutoff=0.65)
        hint = did_you_mean(name)
        self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _examples(command: str) -> str:
    lines = [f"  mtpsim {command} {arguments}".rstrip() for arguments in EXAMPLES[command]]
    return "\n".join(
        [
            "examples:",
            *lines,
            "",
            "mtpsim schema prints every key of an experiment; README.md and docs/ explain them",
        ]
    )


def _parser(command: str | None = None) -> _Parser:
    """The parser, with the arguments of one command only; None: of all commands."""
    from mtpsim.cli import arguments

    parser = _Parser(
        prog="mtpsim",
        description="Multi-Token Prediction: which depth is fastest, how certain that is, and "
        "when to turn it off.",
    )
    parser.add_argument("--version", action="version", version=f"mtpsim {__version__}")
    commands = parser.add_subparsers(
        prog=parser.prog, dest="verb", metavar="COMMAND", parser_class=_Parser
    )
    for name, text in COMMANDS.items():
        added = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_examples(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command in (None, name):
            getattr(arguments, name)(added)
            added.set_defaults(refuse=added.refuse)
    return parser


def read_experiment(options: argparse.Namespace) -> Experiment:
    """Read the experiment file with the overrides of the command line."""
    from mtpsim.config.examples import file_or_example
    from mtpsim.config.experiment import load

    path = Path(options.file)
    if not os.path.isfile(path) and file_or_example(path) != path:
        copy = f"mtpsim init {options.file} writes a copy to edit"
        print(f"note: {options.file} is the installed example; {copy}", file=sys.stderr)
    if options.seed is None:
        return load(options.file, options.set)
    from mtpsim.config.overrides import Override

    seed = Override.read(f"simulation.seed={options.seed}", "--seed")
    return load(options.file, [*options.set, seed])


def one_point(experiment: Experiment) -> Experiment:
    """The only point of an experiment."""
    from mtpsim.common.errors import InputError

    if experiment.serving is not None:
        message = "this command is about single requests: add --set serving=none"
        raise InputError.of(message, key="serving")
    points = experiment.points()
    if len(points) > 1:
        message = f"the sweep has {len(points)} points; select one of them with --set"
        raise InputError.of(message, key="sweep")
    return points[0].experiment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments (Sequence[str] | None): Arguments; None: those of the process.

    Returns:
        int: Exit code: 0 done, 2 wrong input, 3 precision not reached, 4 workers failed, 130
            interrupted, or the result that is shown, merged or exported is not complete.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parser = _parser(next((word for word in given if not word.startswith("-")), ""))
        options, unknown = parser.parse_known_args(given)
        if unknown:
            getattr(options, "refuse", parser.refuse)(unknown)
    except SystemExit as stop:
        return int(stop.code or 0)
    if options.verb is None:
        parser.print_help(sys.stderr)
        return WRONG
    options.command = ["mtpsim", *given]
    return _run_guarded(options)


def _run_guarded(options: argparse.Namespace) -> int:
    from mtpsim.common.errors import InputError
    from mtpsim.common.text import one_line

    try:
        code = int(import_module(f"mtpsim.cli.{options.verb}").run(options))
        sys.stdout.flush()
        return code
    except InputError as error:
        for problem in error.problems:
            print(f"error: {one_line(str(problem))}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted before there was anything to save", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:  # as of output to a full disk
        _discard_output()
        print(f"error: {error}", file=sys.stderr)
        return WRONG


def _discard_output() -> None:
    """Discard buffered output, which would fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
