"""The arguments of every command, a function each; nothing that a command needs is imported."""

import argparse
from pathlib import Path

from mtpsim.engine.options import MAX_HOURS, TIMEOUT

ENGINES = ("vllm", "vllm-schedule", "vllm-synthetic", "sglang", "trtllm", "llamacpp")


def add_experiment_arguments(
    parser: argparse.ArgumentParser, file: str = "an experiment file (TOML)"
) -> None:
    """Add the experiment file and its overrides to a command; ``file`` is what it may be."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help=f"{file}, - for standard input, or the name of an example (mtpsim init --list)",
    )
    parser.add_argument("--seed", metavar="N", help="override simulation.seed")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a key, such as latency.noise.cv=0.2; removes mutually exclusive keys and a "
        "sweep over it; KEY=none removes a key or section; repeatable",
    )


def quick(parser: argparse.ArgumentParser) -> None:
    """``mtpsim quick``."""
    add = parser.add_argument
    add("--target", metavar="T", required=True, help="time of a plain decoding step (ms, or 0.07s)")
    add("--verify", metavar="T,T,...", required=True, help="verify time by depth 1, 2, ...")
    add("--draft", metavar="T,T,...", help="draft time of a round by depth (default 0)")
    rates = parser.add_mutually_exclusive_group(required=True)
    add = rates.add_argument
    add("--rates", metavar="P,P,...", help="conditional acceptance rates by position (0.8 or 80%%)")
    add("--survival", metavar="P,P,...", help="P(drafts 1 to j accepted) by position")
    add("--accept-lengths", metavar="L,L,...", help="tokens per round by depth, bonus included")
    add("--alpha", metavar="P", help="one conditional rate for every position")
    add("--pooled", metavar="P", help="accepted over drafted tokens (A / D) at the greatest depth")
    add = parser.add_argument
    add(
        "--measured-at",
        metavar="K",
        help="depth at which --pooled or one accept length was measured",
    )
    add("--batch", metavar="B", default="1", help="requests that decode together, for tokens/s (1)")
    add("--toml", action="store_true", help="print an experiment file for a simulation instead")


def init(parser: argparse.ArgumentParser) -> None:
    """``mtpsim init``."""
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        default="article",
        help="name of an example (default: article); --list prints them",
    )
    parser.add_argument("-o", metavar="FILE", help="file to write (default: NAME.toml)")
    parser.add_argument("--list", action="store_true", help="print names and titles, write nothing")


def run(parser: argparse.ArgumentParser) -> None:
    """``mtpsim run``."""
    add_experiment_arguments(parser)
    add = parser.add_argument
    add("--out", metavar="DIR", help="run directory (default: runs/NAME of FILE)")
    add("--json", action="store_true", help="print the result document only")
    add("--quiet", action="store_true", help="no progress and no messages")
    add("--fresh", action="store_true", help="replace an earlier result")
    workers = "threads, processes or dask, with N workers (default: one thread per core)"
    add("--executor", metavar="KIND[:N]", default="threads", help=workers)
    timeout = "worker timeout in seconds (default: 600)"
    add("--timeout", type=float, default=TIMEOUT, metavar="S", help=timeout)
    hidden = argparse.SUPPRESS  # a former name
    add("--patience", type=float, dest="timeout", default=TIMEOUT, help=hidden)
    hours = f"refuse runs that would take longer (default: {MAX_HOURS:g})"
    add("--max-hours", type=float, default=MAX_HOURS, metavar="H", help=hours)
    part = "simulate part I of N equal parts of the requests, for `mtpsim merge`"
    add("--part", metavar="I/N", default="1/1", help=part)


def check(parser: argparse.ArgumentParser) -> None:
    """``mtpsim check``."""
    add_experiment_arguments(parser)


def schema(parser: argparse.ArgumentParser) -> None:
    """``mtpsim schema``: none."""


def fit(parser: argparse.ArgumentParser) -> None:
    """``mtpsim fit``."""
    add = parser.add_argument
    add(
        "files",
        type=Path,
        metavar="LOG",
        nargs="+",
        help="logs of one engine, at most one step-time CSV; or pairs of confidence and outcome",
    )
    add("-o", "--out", type=Path, metavar="FILE", help="path of the experiment (default: stdout)")
    add(
        "--like",
        type=Path,
        metavar="FILE",
        help="experiment whose times and other sections are used",
    )
    add("--target", type=float, metavar="MS", help="step time of plain decoding, ms")
    add("--verify", type=float, metavar="MS", help="time of a verification, ms (with --target)")
    add("--draft", type=float, metavar="MS", help="drafting time of a round, ms (with --verify)")
    add("--format", metavar="NAME", help="format of the logs (default: detected from the content)")
    add("--skip-bad", action="store_true", help="skip malformed entries and count them")
    add("--depth", type=int, metavar="K", help="drafts per round, if the log does not state it")
    add("--rates-are", choices=("survival", "conditional"), help="definition of unlabelled rates")
    add("--rounds", type=int, metavar="N", help="number of rounds behind unlabelled rates")
    add("--model", metavar="NAME", help="model to read from a scrape of several models")
    share = "held-out share of requests (default: 0.3)"
    add("--holdout", type=float, default=0.3, metavar="SHARE", help=share)
    add("--candidates", metavar="NAME[,NAME]", help="models to fit (default: all that apply)")
    add("--keep-samples", action="store_true", help="resample round times; fit no distribution")
    effect = "variance of totals relative to independent rounds (default: 1)"
    add("--design-effect", type=float, default=1.0, metavar="X", help=effect)
    add("--experts", type=int, default=0, metavar="N", help="number of experts (MoE)")
    add("--active", type=int, default=0, metavar="N", help="active experts per token")
    by_batch = "fit a cost model to the logs' round times by running requests and depth"
    add("--by-batch", action="store_true", help=by_batch)
    replay = "predict every depth by posterior replay, written as NAME.replay.toml (default: where "
    replay += "the log has rounds in order)"
    add("--replay", action=argparse.BooleanOptionalAction, help=replay)
    add("--json", action="store_true", help="print only the report, as JSON")
    add("--quiet", action="store_true", help="print neither progress nor tables")
    parser.set_defaults(experiment_only=False)


def export(parser: argparse.ArgumentParser) -> None:
    """``mtpsim export``."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--to", metavar="ENGINE", required=True, help=", ".join(ENGINES))
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="select a point of a sweep by its keys, or a server's policy=NAME; repeatable",
    )


def sample(parser: argparse.ArgumentParser) -> None:
    """``mtpsim sample``."""
    add_experiment_arguments(parser)
    add = parser.add_argument
    add("--as", dest="form", metavar="FORMAT", required=True, help="log format")
    count = "number of requests (default: 200)"
    add("--requests", type=int, default=200, metavar="N", help=count)
    add("--depth", metavar="K[,K]", help="drafts per round (default: the model's)")
    add("-o", "--out", type=Path, metavar="FILE", help="file to write (default: stdout)")


def plan(parser: argparse.ArgumentParser) -> None:
    """``mtpsim plan``."""
    add_experiment_arguments(parser, "an experiment file (TOML), or a log of an engine")
    add = parser.add_argument
    add("logs", nargs="*", metavar="LOG", help="more logs of the same engine, or its step times")
    times = "with a log: "
    add("--like", type=Path, metavar="FILE", help=f"{times}experiment whose times are used")
    add("--target", type=float, metavar="MS", help=f"{times}step time of plain decoding, ms")
    add("--verify", type=float, metavar="MS", help=f"{times}time of a verification, ms")
    add("--draft", type=float, metavar="MS", help=f"{times}drafting time of a round, ms")
    add("--format", metavar="NAME", help=f"{times}its format (default: detected)")
    delta = "smallest relative difference to detect (default: 0.01)"
    add("--delta", type=float, default=0.01, metavar="X", help=delta)
    power = "probability of detecting it (default: 0.9)"
    add("--power", type=float, default=0.9, metavar="P", help=power)
    depths = "depths to compare (default: the best and its neighbours)"
    add("--depths", metavar="K,K", help=depths)
    add("--picture", type=Path, metavar="PNG", help="draw the power by number of requests")
    add("--json", action="store_true", help="print the plan as JSON")
    add("--quiet", action="store_true", help="no progress")


def show(parser: argparse.ArgumentParser) -> None:
    """``mtpsim show``."""
    parser.add_argument("run", metavar="RUN", help="a run directory, or a folder of them to list")
    parser.add_argument("--json", action="store_true", help="print the result document only")
    parser.add_argument(
        "--all", action="store_true", help="print a row per point of a sweep of more than 50, too"
    )
    parser.add_argument("--out", metavar="DIR", help="directory of the figures (default: RUN)")


def compare(parser: argparse.ArgumentParser) -> None:
    """``mtpsim compare``."""
    parser.add_argument("before", metavar="RUN", help="a run directory")
    parser.add_argument("after", metavar="OTHER", help="another one")
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def merge(parser: argparse.ArgumentParser) -> None:
    """``mtpsim merge``."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run directories")
    parser.add_argument(
        "-o", "--out", metavar="RUN", required=True, help="run directory of the merged result"
    )
    parser.add_argument("--json", action="store_true", help="print the result document only")
    parser.add_argument("--quiet", action="store_true", help="no messages")
