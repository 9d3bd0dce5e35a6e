"""``mtpsim export``: write a result as the configuration of an inference engine."""

import argparse
import sys
from pathlib import Path

from mtpsim.cli.run import completeness
from mtpsim.common.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    from mtpsim.runs.export import FORMATS

    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--to", metavar="ENGINE", required=True, help=", ".join(FORMATS))
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="select a point of a sweep by its keys, or a server's policy=NAME; repeatable",
    )


def run(options: argparse.Namespace) -> int:
    """Print the configuration; returns the exit code."""
    from mtpsim.runs.directory import read_run
    from mtpsim.runs.export import export, warnings_of

    folder = Path(options.run)
    _, result = read_run(folder)
    if result is None:
        raise InputError.of("contains no finished run (result.json)", file=folder)
    sys.stdout.write(export(result, options.to, options.set))
    for warning in warnings_of(result, options.set):
        print(f"warning: {warning}", file=sys.stderr)
    return completeness(folder, result)
