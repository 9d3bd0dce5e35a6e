"""Output of ``mtpsim fit`` about the draft's confidence: section, table and reliability plot."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from mtpsim import __version__
from mtpsim.common.text import counted, one_line
from mtpsim.fit.confidence import Pairs, Quality, confidence_section, read_pairs


def fit_confidence(path: Path, out: Path | None, *, as_json: bool, quiet: bool) -> int:
    """Fit the laws of a file of pairs; print them, or write ``out`` with report and figure.

    Args:
        path (Path): File of pairs, as of :func:`mtpsim.fit.confidence.read_pairs`.
        out (Path | None): TOML file of the section; None: standard output.
        as_json (bool): Print only the report, as JSON.
        quiet (bool): Print no table.
    """
    import tomli_w

    pairs = read_pairs(path)
    section = confidence_section(pairs)
    found = _qualities(pairs)
    report = {
        "mtpsim": __version__,
        "file": str(path),
        "confidence": section,
        "quality": {name: asdict(quality) for name, quality in found.items()},
    }
    text = f"# confidence of {one_line(path.name)}: {counted(pairs.accepted.size, 'pair')}\n"
    text += tomli_w.dumps({"adaptive": {"confidence": section}})
    if not quiet:
        print("\n".join(_table(found)), file=sys.stderr)
    if out is not None:
        from mtpsim.report.figures.fit import reliability_figure
        from mtpsim.report.figures.style import save

        files = [out, out.with_suffix(".json"), out.with_suffix(".png")]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        files[1].write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        save(reliability_figure(pairs, found["all"]), files[2], dpi=150)
        if not quiet:
            print(f"wrote {', '.join(map(str, files))}", file=sys.stderr)
    if as_json:
        print(json.dumps(report, indent=2))
    elif out is None:
        print(text, end="")
    return 0


def _qualities(pairs: Pairs) -> dict[str, Quality]:
    """Quality of all pairs, and of each position with both outcomes."""
    found = {"all": Quality.of(pairs)}
    for position in range(1, int(pairs.position.max()) + 1):
        if (part := pairs.at(position)).fewest:
            found[str(position)] = Quality.of(part)
    return found


def _table(found: dict[str, Quality]) -> list[str]:
    head = "position      pairs  accepted  confidence    AUC    ECE  at one"
    return [head] + [
        f"{name:8} {quality.pairs:10,} {quality.acceptance:9.3f} {quality.mean:11.3f} "
        f"{quality.auc:6.3f} {quality.calibration_error:6.3f} {quality.at_one:7.3f}"
        for name, quality in found.items()
    ]
