"""Experiments beside a fit, as deep as its times go: a posterior replay, a token chain."""

from collections.abc import Callable
from pathlib import Path

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError, Problem, cannot_write
from mtpsim.config.experiment import parse, validate
from mtpsim.fit.aggregated_chain import AggregatedFit
from mtpsim.fit.chain_report import chain_draws, chain_section
from mtpsim.fit.document import sections_csv
from mtpsim.fit.model import LogFit
from mtpsim.fit.posterior_replay import DEEPER, PosteriorReplay
from mtpsim.fit.replay_report import (
    ReplayReport,
    replay_file,
    replay_log,
    replay_report,
    why_no_replay,
)
from mtpsim.report.progress import Progress, progress_display

Replay = tuple[PosteriorReplay, ReplayReport]
OPTIONAL = {"adaptive", "decision", "draft", "robust", "serving", "theory"}


def make_replay(fit: LogFit, *, asked: bool | None, quiet: bool) -> Replay | None:
    """Replay the requests of a log; a note of the fit says why there is no replay.

    Args:
        fit: fit of the log.
        asked: whether a replay is required (True) or unwanted (False); None: where possible.
        quiet: whether no progress is shown.
    """
    if asked is False:
        return None
    if reason := why_no_replay(fit.log):
        if asked:
            raise InputError.of(reason, key="--replay")
        fit.notes.append(f"no posterior replay: {reason}")
        return None
    with progress_display(quiet) as report:
        report(Progress("posterior replay", 0.0, fit.log.count))
        replay = replay_log(fit.log)
        return replay, replay_report(fit, replay)


def write_replay(
    out: Path, sections: JsonDict, replay: PosteriorReplay, report: ReplayReport
) -> tuple[list[Path], list[str]]:
    """Write ``NAME.replay.toml`` and its draws ``NAME.replay.npz``; return their paths, and notes.

    The replay goes as deep as the times of the experiment: beyond the recorded depth only if these
    are a cost model. What a replay can't play is left out of it, with a note.

    Args:
        out: path ``NAME.toml`` of the fitted experiment.
        sections: its sections.
        replay: posterior replay.
        report: its accept lengths.
    """
    experiment, draws = out.with_suffix(".replay.toml"), out.with_suffix(".replay.npz")
    content, known = replay_file(replay, report), replay.depth - DEEPER
    simulation = sections.get("simulation", {})
    played = {
        key: simulation[key] for key in ("seed", "confidence", "epsilon") if key in simulation
    }
    kept = {key: value for key, value in sections.items() if key not in ("uncertainty", "sweep")}
    if "serving" not in sections:
        played |= {"as_recorded": True, "requests": len(content.accepted) * replay.tokens.requests}
        kept.setdefault("theory", {"measured_at": known})
    source = {"model": "trace", "file": draws.name, "by": "position", "order": "recorded"}

    def sections_at(depth: int) -> JsonDict:
        return {**kept, "acceptance": {**source, "depth": depth}, "simulation": played}

    try:
        content.write(draws)  # all depths share it
    except OSError as error:
        raise cannot_write(error, draws) from None
    try:
        kept, notes = _playable(sections_at(known), out.parent)
    except InputError as error:
        draws.unlink()
        reasons = "; ".join(f"{problem.key}: {problem.text}" for problem in error.problems)
        return [], [f"no replay is written: {reasons}"]
    write_deepest(
        experiment,
        lambda depth: _experiment(sections_at(depth), report),
        deepest=replay.depth,
        known=known,
    )
    return [experiment, draws], notes


def _playable(sections: JsonDict, folder: Path) -> tuple[JsonDict, list[str]]:
    """Leave out what a replay can't play; return the sections that are left, and why.

    Args:
        sections: sections of a replay, which are valid with a fitted model.
        folder: folder of the files that they name.

    Raises:
        InputError: what is refused can't be left out.
    """
    notes = []
    while problems := _problems(sections, folder):
        places = [(problem, *problem.key.partition(".")[::2]) for problem in problems]
        found = [place for place in places if place[1] in OPTIONAL & sections.keys()]
        if not found:
            raise InputError(problems)
        problem, name, key = found[0]
        section = sections[name] if key in sections[name] else {}
        left = {other: value for other, value in section.items() if other != key}
        if key == "policies" and section:
            valid = _valid_policies(sections, name, folder)
            if 0 < len(valid) < len(section[key]):
                left[key] = valid
            elif name == "adaptive":
                left = {}
        sections = {other: value for other, value in sections.items() if other != name}
        sections |= {name: left} if left else {}
        notes.append(f"left out of the replay: {problem.key}: {problem.text}")
    return sections, notes


def _valid_policies(sections: JsonDict, name: str, folder: Path) -> list[str | JsonDict]:
    """Return the policies of a section that are valid, each tried alone."""

    def refused(policy: str | JsonDict) -> bool:
        alone = {**sections, name: {**sections[name], "policies": [policy]}}
        return any(one.key.startswith(f"{name}.policies") for one in _problems(alone, folder))

    return [policy for policy in sections[name]["policies"] if not refused(policy)]


def _problems(sections: JsonDict, folder: Path) -> list[Problem]:
    try:
        validate(sections, folder)
    except InputError as error:
        return error.problems
    return []


def _experiment(sections: JsonDict, report: ReplayReport) -> str:
    """Return the text of the experiment; its first lines have the intervals of the replay."""
    import tomli_w

    head = [
        f"{report.requests} recorded requests by text position, each once in every one of "
        f"{report.draws} draws of what the log does not show",
        "Accept lengths of the workload, with the uncertainty of the sample and of the draws:",
    ]
    for entry in report.depths:
        known = entry.predicted
        beyond = " (deeper than recorded)" * entry.extrapolated
        head.append(f"depth {entry.depth}: {known.mean:.4f} [{known.low:.4f}, {known.high:.4f}]")
        head[-1] += beyond
    return "".join(f"# {line}\n" for line in head) + tomli_w.dumps(sections)


def write_chain(out: Path, sections: JsonDict, fit: AggregatedFit) -> list[Path]:
    """Write ``NAME.tokens.toml`` and ``NAME.tokens.csv``; return their paths.

    The chain goes as deep as the times of the experiment: beyond the log only if these are a cost
    model.

    Args:
        out: path ``NAME.toml`` of the fitted experiment.
        sections: its sections.
        fit: posterior draws of chains.
    """
    import tomli_w

    path, samples = out.with_suffix(".tokens.toml"), out.with_suffix(".tokens.csv")
    kept = {key: value for key, value in sections.items() if key != "sweep"}
    inputs = sections.get("uncertainty", {}).get("inputs", {})
    known = {key: value for key, value in inputs.items() if not key.startswith("acceptance")}
    uncertainty = {"samples": samples.name} | ({"inputs": known} if known else {})
    head = (
        "# token chain fitted to counts: depths below the log's by what is known of text and\n"
        f"# drafters, with the draws of {samples.name}\n"
    )
    draw = fit.typical_draw()

    def text_at(depth: int) -> str:
        own = {"acceptance": chain_section(fit, draw, depth)}
        if "serving" not in kept:
            own["uncertainty"] = uncertainty
        table = sections_csv(chain_draws(fit, depth), ("rates", "sojourn"))
        samples.write_text(table, encoding="utf-8")
        return head + tomli_w.dumps({**kept, **own})

    write_deepest(path, text_at, deepest=fit.depth, known=fit.known)
    return [path, samples]


def write_deepest(path: Path, text_at: Callable[[int], str], *, deepest: int, known: int) -> None:
    """Write the deepest valid experiment: beyond the log only if its times are a cost model.

    Args:
        path: file of the experiment.
        text_at: returns the text of a depth; it may write files that the text names.
        deepest: greatest depth to try.
        known: depth of the log, at which the experiment must be valid.
    """
    try:
        for depth in range(deepest, known - 1, -1):
            text = text_at(depth)
            try:
                parse(text, folder=path.parent, file=str(path))
            except InputError:
                if depth > known:
                    continue
                raise
            break
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write(error, path) from None
