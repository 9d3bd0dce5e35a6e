"""mtpsim: how deep to run Multi-Token Prediction, how sure you can be, when to turn it off.

>>> import mtpsim
>>> experiment = mtpsim.load("experiments/article.toml")
>>> result = mtpsim.run(experiment)
>>> print(result.advice)  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from mtpsim.benchmark.power import plan_benchmark
    from mtpsim.common.errors import InputError
    from mtpsim.config.experiment import Experiment, load, parse
    from mtpsim.engine.options import ExecutorChoice
    from mtpsim.fit.model import fit_log
    from mtpsim.logs import read_logs
    from mtpsim.report.quick import QuickAnswer, quick
    from mtpsim.results.document import Result
    from mtpsim.runs.directory import open_result as open
    from mtpsim.runs.run import run

_HOMES = {
    "Experiment": "config.experiment",
    "load": "config.experiment",
    "open": "runs.directory",
    "parse": "config.experiment",
    "fit_log": "fit.model",
    "run": "runs.run",
    "read_logs": "logs",
    "ExecutorChoice": "engine.options",
    "plan_benchmark": "benchmark.power",
    "InputError": "common.errors",
    "QuickAnswer": "report.quick",
    "Result": "results.document",
    "quick": "report.quick",
}

__all__ = [
    "ExecutorChoice",
    "Experiment",
    "InputError",
    "QuickAnswer",
    "Result",
    "__version__",
    "fit_log",
    "load",
    "open",
    "parse",
    "plan_benchmark",
    "quick",
    "read_logs",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `--help` needs no numba."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mtpsim' has no attribute {name!r}")
    from importlib import import_module

    attribute = "open_result" if name == "open" else name
    return getattr(import_module(f"mtpsim.{_HOMES[name]}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "annotations"})
