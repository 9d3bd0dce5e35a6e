"""``mtpsim fit``: step times from a CSV file to a ``[latency]`` section, or a whole experiment."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np

from mtpsim.experiment import Raw, parse
from mtpsim.fit_steps import Fit, Steps, fit_steps, predict, read_steps
from mtpsim.problems import InputError, Problem


def fit_command(file: Path, out: Path | None, like: Path | None, experts: int, active: int) -> int:
    """Fit, say how well, and write TOML to ``out`` or to stdout.

    Raises:
        InputError: the steps can't be read, or the experiment to complete is not valid with them.

    """
    if bool(experts) != bool(active) or active > experts:
        message = (
            f"{active} active of {experts} experts is given; give both, active at most experts"
        )
        raise InputError([Problem("", "--experts", None, message)])
    steps = read_steps(file)
    fits = fit_steps(steps, experts, active)
    for number, fit in enumerate(fits):
        mark = "▸" if not number else " "
        print(
            f"{mark} {fit.keys['model']}: left-out steps predicted to {100 * fit.predicted:.2g} %, "
            f"worst fitted step off by {100 * fit.worst:.2g} %",
            file=sys.stderr,
        )
    text = _toml(fits[0], like, file)
    if out is None:
        sys.stdout.write(text)
        return 0
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"can't be written: {error.strerror}"
        raise InputError([Problem(str(out), "--out", None, message)]) from None
    picture = out.with_suffix(".png")
    _draw(fits[0], steps, picture)
    print(f"wrote {out} and {picture}", file=sys.stderr)
    return 0


def _draw(fit: Fit, steps: Steps, path: Path) -> None:
    """The measured steps over the fitted model, each at its own context."""
    from mtpsim.report.fit_plot import fit_figure

    depths = sorted({int(depth) for depth in steps.depth})
    measured = {k: np.where(steps.depth == k, steps.verify, np.nan) for k in depths}
    fitted = {k: predict(fit.keys, replace(steps, depth=0 * steps.depth + k)) for k in depths}
    heading = (
        f"A {fit.keys['model']} cost model predicts steps left out to {100 * fit.predicted:.2g} %"
    )
    fit_figure(heading, steps.batch, measured, fitted).savefig(path, dpi=150)


def _toml(fit: Fit, like: Path | None, source: Path) -> str:
    import tomli_w

    tables: Raw = {}
    if like is not None:
        try:
            tables = tomllib.loads(like.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise InputError([Problem(str(like), "--like", None, str(error))]) from None
    kept = {key: value for key, value in tables.get("latency", {}).items() if key == "noise"}
    tables["latency"] = {**_rounded(fit.keys), **kept}
    inputs = {f"latency.{key}": {"se": _short(error)} for key, error in fit.errors.items()}
    if inputs:
        known = tables.get("uncertainty", {})
        tables["uncertainty"] = {**known, "inputs": {**known.get("inputs", {}), **inputs}}
    head = f"# {fit.keys['model']} cost model of {source.name}; set batch and cached as you serve\n"
    text = head + tomli_w.dumps(tables)
    if like is not None:
        parse(text, folder=like.parent, file=f"{like} with the fitted times")
    return text


def _rounded(keys: Raw) -> Raw:
    return {
        key: _rounded(value) if isinstance(value, dict) else _short(value)
        for key, value in keys.items()
    }


def _short(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value
