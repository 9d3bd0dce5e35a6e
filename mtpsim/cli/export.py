"""``mtpsim export``: write a result as the configuration of an inference engine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mtpsim.cli.main import DONE


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
        help="select a point of a sweep by its keys; repeatable",
    )


def run(options: argparse.Namespace) -> int:
    """Print the configuration.

    Raises:
        InputError: There is no result, or it lacks what the engine needs.
    """
    from mtpsim.runs.export import export

    sys.stdout.write(export(Path(options.run), options.to, options.set))
    return DONE
