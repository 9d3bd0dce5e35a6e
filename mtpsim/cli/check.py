"""``mtpsim check``: validate an experiment and explain it."""

import argparse
import sys

from mtpsim.cli.main import DONE, read_experiment


def run(options: argparse.Namespace) -> int:
    """Print what the experiment simulates, and the exact answer where it takes no time."""
    from mtpsim.engine.options import cores
    from mtpsim.report.exact_text import exact_lines
    from mtpsim.report.experiment_text import explain, time_estimate
    from mtpsim.report.formatting import legible
    from mtpsim.report.tables.terminal import encodable

    experiment = read_experiment(options)
    print(encodable(legible(explain(experiment)), sys.stdout.encoding or "utf-8"))
    if lines := exact_lines(experiment):
        print("", *lines, sep="\n")
    (estimate,) = time_estimate(experiment, cores())
    print(f"\n{estimate} (first run: +5 to 30 s to compile kernels; pictures: some seconds)")
    return DONE
