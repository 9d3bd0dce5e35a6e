"""What to read before using the numbers of a simulated server: load, warm-up, length of a run."""

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.engine.server_data import ServerData
from mtpsim.report.document import Interval
from mtpsim.report.serving_document import UNSTABLE
from mtpsim.report.tables.serving import overload_text
from mtpsim.stats.estimators import Estimates, delta_method

CERTAIN = 0.999  # confidence from which a growing queue or a drift is reported
GROWTH = 0.03  # of the requests of a replication that join the queue: more is no chance of a run
LEAST_GROWTH = 1.0  # requests that join the queue: fewer are no queue
FILLING = 0.01  # of the output of the window's requests that comes after it
DRIFT = 0.03  # relative difference of the two halves that matters
LEAST_REQUESTS = 200  # of a replication, for its own p99
LIFETIMES = 5  # mean end-to-end times that a replication lasts at least
DRAINS = ("burst", "trace")


def warnings_by_arm(data: ServerData) -> list[list[str]]:
    """The warnings on each arm; a burst or a trace has neither a warm-up nor a stable load."""
    arrivals = data.experiment.model_dump(mode="json")["serving"]["arrivals"]
    found: list[list[str]] = [_too_few(data, n) for n in range(len(data.arms))]
    if not any(arrivals.get(kind) for kind in DRAINS):
        grown, drift, late = _growth(data), _drift(data), _late(data)
        closed = bool(arrivals.get("closed"))
        behind = [False] * len(found) if closed else _falls_behind(data, grown, late)
        for n, texts in enumerate(found):
            # The clients of a closed loop wait for their answers: its queue can't grow for long.
            text = "" if closed else _unstable(data, grown, n)
            text = text or _behind(late, n) * behind[n]
            text = text or _transient(drift, n) or _short(data, n) or _filling(late, n)
            texts += [text] if text else []
    return found


def no_upper_end(name: str, p99: Interval) -> list[str]:
    """A warning if the replications do not bound a p99.

    Args:
        name (str): ``TTFT`` or ``TPOT``.
        p99 (Interval): Of the requests of all replications.
    """
    if p99.mean is None or p99.high is not None:
        return []
    return [
        f"the p99 of the {name} has no upper end, for a few replications have most of the slowest "
        "requests: raise serving.replications or serving.requests"
    ]


def _column(data: ServerData, name: str) -> Floats:
    """Mean of a total over replications, by arm."""
    return data.tally.mean[data.layout.of(name)]  # type: ignore[arg-type]


def _growth(data: ServerData) -> Estimates:
    """Requests by which the queue grows in the window, ``[A]``."""
    first, last = data.layout.of("first_waiting"), data.layout.of("last_waiting")
    return delta_method(lambda m: m[..., last] - m[..., first], data.tally, CERTAIN)


def _drift(data: ServerData) -> Estimates:
    """Mean end-to-end time of the second half over that of the first, minus 1, ``[A]``."""
    layout = data.layout
    half, all_ = layout.of("half_requests"), layout.of("requests")
    half_ms, all_ms = layout.of("half_e2e_ms"), layout.of("e2e_ms")

    def ratio(m: Floats) -> Floats:
        second = (m[..., all_ms] - m[..., half_ms]) / (m[..., all_] - m[..., half])
        return np.asarray(second / (m[..., half_ms] / m[..., half]) - 1)

    return delta_method(ratio, data.tally, CERTAIN)


def _late(data: ServerData) -> Estimates:
    """Share of the output of the window's requests that comes after it, net, ``[A]``."""
    output, tokens = data.layout.of("output_tokens"), data.layout.of("tokens")
    return delta_method(lambda m: 1 - m[..., tokens] / m[..., output], data.tally, CERTAIN)


def is_unstable(data: ServerData, arm: int, grown: Estimates | None = None) -> bool:
    """Whether the queue of an arm grows in the window by more than chance and :data:`GROWTH`.

    Args:
        data (ServerData): A point with a rate of arrivals.
        arm (int): Number of the arm.
        grown (Estimates | None): Requests by which the queues grow, if they are known.
    """
    grown = grown or _growth(data)
    requests = _column(data, "requests")[arm]
    least = max(GROWTH * requests, LEAST_GROWTH)
    return bool(grown.low[arm] > 0 and grown.values[arm] > least)


def _falls_behind(data: ServerData, grown: Estimates, late: Estimates) -> list[bool]:
    """Whether an arm serves less of its load than one whose queue grows: its batch still fills."""
    growing = [n for n in range(len(data.arms)) if is_unstable(data, n, grown)]
    least = max(min((late.values[n] for n in growing), default=np.inf), GROWTH)
    return [
        bool(low > 0 and value > least) for low, value in zip(late.low, late.values, strict=True)
    ]


def _behind(late: Estimates, arm: int) -> str:
    return (
        f"{UNSTABLE}: its output in the window is {100 * late.values[arm]:.2g} % below that of the "
        "requests that arrive, less than that of arms whose queue grows; latencies grow with the "
        "length of the run, and throughput and its ratio to off depend on it"
    )


def _unstable(data: ServerData, grown: Estimates, arm: int) -> str:
    if not is_unstable(data, arm, grown):
        return ""
    first, last = (_column(data, name)[arm] for name in ("first_waiting", "last_waiting"))
    return overload_text([(float(first), float(last))])


def _transient(drift: Estimates, arm: int) -> str:
    size = drift.values[arm]
    certain = drift.low[arm] > 0 or drift.high[arm] < 0
    if not (certain and abs(size) > DRIFT):
        return ""
    more = "longer" if size > 0 else "shorter"
    return (
        f"requests of the second half take {100 * abs(size):.2g} % {more} than those of the first: "
        "raise serving.warm_up, or serving.requests"
    )


def _filling(late: Estimates, arm: int) -> str:
    if not (late.low[arm] > 0 and late.values[arm] > FILLING):
        return ""
    return (
        f"the server still fills in the window: its output is {100 * late.values[arm]:.2g} % below "
        "that of the requests that arrive, so throughput and its ratio to off are those of a short "
        "run; raise serving.warm_up"
    )


def _short(data: ServerData, arm: int) -> str:
    window = _column(data, "window_ms")[arm]
    mean = (_column(data, "e2e_ms") / _column(data, "requests"))[arm]
    if not window < LIFETIMES * mean:
        return ""
    return (
        f"a replication is short: its window is below {LIFETIMES} mean end-to-end times; raise "
        "serving.requests"
    )


def _too_few(data: ServerData, arm: int) -> list[str]:
    found, requests = [], _column(data, "requests")[arm]
    if requests < LEAST_REQUESTS:
        found.append(
            f"{requests:,.0f} requests per replication: intervals of p99 need "
            f"{LEAST_REQUESTS} or more (serving.requests)"
        )
    clipped = _column(data, "clipped")[arm] / requests
    if clipped > 0:
        found.append(
            f"{100 * clipped:.2g} % of requests are longer than serving.kv_tokens and were cut: "
            "their times and goals are those of the shorter requests"
        )
    return found
