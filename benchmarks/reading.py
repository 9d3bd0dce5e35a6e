"""Reading of logs, in multiples of the least work that a reader in Python does."""

import json
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tables import Table, best

from mtpsim.logs import read_logs

SAMPLES = Path("experiments/logs/samples")
OTHER_LINES = 26  # between two windows of a vLLM log
OTHER = 'INFO: 127.0.0.1:50000 - "POST /v1/chat/completions HTTP/1.1" 200 OK id=0123456789abcdef\n'


def vllm_log(size: int) -> str:
    """A log of windows among lines of requests, of about this size."""
    lines = (SAMPLES / "vllm-log.log").read_text().splitlines(keepends=True)
    hour = "".join(line + OTHER * (OTHER_LINES // 2) for line in lines)
    return hour * (size // len(hour) + 1)


def json_requests(size: int) -> str:
    """Detailed requests with different identifiers, of about this size."""
    lines = (SAMPLES / "vllm-requests.jsonl").read_text().splitlines()
    rounds, number = "".join(lines), count()
    again = range(size // len(rounds) + 1)
    return "".join(f'{{"id": "{next(number)}", "of": {line}}}\n' for _ in again for line in lines)


def timed(run: Callable[[], object]) -> Callable[[], float]:
    def once() -> float:
        start = time.process_time()
        run()
        return time.process_time() - start

    return once


def table(size: int, turns: int) -> Table:
    """``size`` is that of each log in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        log, requests = Path(folder, "log"), Path(folder, "requests")
        log.write_text(vllm_log(size))
        requests.write_text(json_requests(size))
        least = {
            "vLLM log": ("one search in each line", lambda: lines_with(log, "SpecDecoding")),
            "JSON requests": ("json.loads of each line", lambda: decoded(requests)),
        }
        rows = []
        for (name, (work, run)), path in zip(least.items(), (log, requests), strict=True):
            runs = {"all": timed(lambda path=path: read_logs([path])), "least": timed(run)}
            taken = best(runs, turns)
            speed = path.stat().st_size / 1e6 / taken["all"]
            rows.append((name, f"{speed:.0f}", f"{taken['all'] / taken['least']:.1f}", work))
    return Table("Reading logs", ("log", "MB/s", "over the least work", "which is"), rows)


def lines_with(path: Path, word: str) -> int:
    with path.open() as text:
        return sum(word in line for line in text)


def decoded(path: Path) -> None:
    with path.open() as text:
        for line in text:
            json.loads(line)
