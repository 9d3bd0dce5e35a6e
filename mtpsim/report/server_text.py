"""The part of ``mtpsim check`` on a server, imported for servers only."""

from typing import Any

from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment
from mtpsim.config.serving import Arrivals, LengthLaw, LengthSamples, Serving
from mtpsim.report.formatting import in_units


def server_chapters(first: Experiment, points: int) -> list[tuple[str, list[str]]]:
    """What a server simulates; headings and their lines.

    Args:
        first (Experiment): The first point.
        points (int): Number of points.
    """
    serving = first.serving
    assert serving is not None
    limit = f"{serving.kv_tokens:,} tokens" if serving.kv_tokens else "no limit"
    lines = [
        _arrivals(serving.arrivals),
        _lengths(serving),
        f"at most {counted(serving.max_requests, 'running request')}, {serving.max_tokens:,} "
        f"tokens per step; KV cache: {limit}",
    ]
    if serving.goals is not None:
        goals = serving.goals.model_dump(exclude_none=True)
        lines.append("goals: " + ", ".join(f"{name} {ms:g} ms" for name, ms in goals.items()))
    return [("Server", lines), ("Simulation", _replications(first, serving, points))]


def _arrivals(arrivals: Arrivals) -> str:
    if arrivals.rate is not None:
        law = "Poisson" if arrivals.cv in (None, 1.0) else f"gamma, cv {arrivals.cv:g}"
        return f"{in_units(arrivals.rate, 'rate')} ({law})"
    if arrivals.closed is not None:
        return f"closed loop of {counted(arrivals.closed, 'client')}"
    if arrivals.burst is not None:
        return f"burst of {counted(arrivals.burst, 'request')}"
    return f"arrivals, prompts and outputs of {arrivals.trace}"


def _lengths(serving: Serving) -> str:
    if serving.pairs is not None:
        return f"prompt and output of {counted(len(serving.pairs.tokens), 'recorded request')}"
    tied = f"; correlation {serving.correlation:g}" if serving.correlation else ""
    return f"prompt: {_length(serving.prompt)}; output: {_length(serving.output)}{tied}"


def _length(length: Any) -> str:
    if isinstance(length, LengthLaw):
        cv = "" if length.distribution == "geometric" else f", cv {length.deviation:g}"
        return f"{length.mean:g} tokens ({length.distribution}{cv})"
    if isinstance(length, LengthSamples):
        return f"{len(length.values):,} samples of {length.samples}"
    return "as recorded" if length == "recorded" else f"{length:,} tokens"


def _replications(first: Experiment, serving: Serving, points: int) -> list[str]:
    measured = counted(serving.measured, "measured request")
    warm_up = f" after {serving.dropped:,} of the warm-up" if serving.dropped else ""
    many = f"{serving.most_replications:,} replications"
    if serving.precision:
        many = (
            f"stops at ±{100 * serving.precision:g} % for {serving.precision_of} of every depth "
            f"and policy: 30 to {many}"
        )
    return [
        f"{counted(points, 'point')}, seed {first.simulation.seed}; {measured} per replication"
        + warm_up,
        f"{many}; {100 * first.simulation.confidence:g} % intervals",
    ]
