"""Write a posterior replay as an experiment that plays recorded requests by position."""

from __future__ import annotations

import gzip
from pathlib import Path

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import parse
from mtpsim.fit.posterior_replay import PosteriorReplay
from mtpsim.fit.replay_report import ReplayReport, replay_lines


def write_replay(
    out: Path, sections: JsonDict, replay: PosteriorReplay, report: ReplayReport
) -> list[Path]:
    """Write ``NAME.replay.toml`` and its log ``NAME.replay.jsonl.gz``; return their paths.

    The replay goes as deep as the times of the experiment: beyond the recorded depth only if these
    are a cost model.

    Args:
        out: path ``NAME.toml`` of the fitted experiment.
        sections: its sections.
        replay: posterior replay.
        report: its accept lengths.

    Raises:
        InputError: a file can't be written.
    """
    experiment, log = out.with_suffix(".replay.toml"), out.with_suffix(".replay.jsonl.gz")
    length = {key: sections["simulation"].get(key) for key in ("precision", "requests")}
    simulation = {
        **{key: value for key, value in length.items() if value is not None},
        "as_recorded": True,
    }
    kept = {key: value for key, value in sections.items() if key not in ("uncertainty", "sweep")}
    source = {"model": "trace", "file": log.name, "by": "position"}
    try:
        for depth in range(replay.depth, replay.tokens.depth - 1, -1):
            acceptance = {"acceptance": {**source, "depth": depth}, "simulation": simulation}
            text = _experiment({**kept, **acceptance}, report)
            log.write_bytes(gzip.compress(replay_lines(replay, depth).encode(), mtime=0))
            try:
                parse(text, folder=out.parent, file=str(experiment))
            except InputError:
                if depth > replay.tokens.depth:
                    continue
                raise
            break
        experiment.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"can't be written: {error.strerror}"
        raise InputError.of(message, file=experiment, key="--out") from None
    return [experiment, log]


def _experiment(sections: JsonDict, report: ReplayReport) -> str:
    """Return the text of the experiment; its first lines have the intervals of the replay."""
    import tomli_w

    head = [
        f"{report.requests} recorded requests, each by text position in several draws of what the "
        "log does not show",
        "Intervals of a run are those of the simulation. Accept lengths of the workload, with the "
        "uncertainty of the sample and of the draws:",
    ]
    for entry in report.depths:
        known = entry.predicted
        beyond = " (deeper than recorded)" * entry.extrapolated
        head.append(f"depth {entry.depth}: {known.mean:.4f} [{known.low:.4f}, {known.high:.4f}]")
        head[-1] += beyond
    return "".join(f"# {line}\n" for line in head) + tomli_w.dumps(sections)
