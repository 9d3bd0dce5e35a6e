"""``mtpsim export``: write a result as the configuration of an inference engine."""

import argparse
import sys
from pathlib import Path

from mtpsim.cli.run import completeness
from mtpsim.common.errors import InputError


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
