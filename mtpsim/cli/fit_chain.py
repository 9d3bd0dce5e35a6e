"""Write a token chain of counts as an experiment, with draws of its posterior distribution."""

from __future__ import annotations

from pathlib import Path

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import parse
from mtpsim.fit.aggregated_chain import AggregatedFit
from mtpsim.fit.chain_report import chain_draws, chain_section
from mtpsim.fit.document import sections_csv


def write_chain(out: Path, sections: JsonDict, fit: AggregatedFit) -> list[Path]:
    """Write ``NAME.tokens.toml`` and ``NAME.tokens.csv``; return their paths.

    The chain goes as deep as the times of the experiment: beyond the log only if these are a cost
    model.

    Args:
        out: path ``NAME.toml`` of the fitted experiment.
        sections: its sections.
        fit: posterior draws of chains.

    Raises:
        InputError: a file can't be written.
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
    try:
        for depth in range(fit.depth, fit.known - 1, -1):
            acceptance = chain_section(fit, draw, depth)
            own = {"acceptance": acceptance, "uncertainty": uncertainty}
            text = head + tomli_w.dumps({**kept, **own})
            samples.write_text(
                sections_csv(chain_draws(fit, depth), ("rates", "sojourn")), encoding="utf-8"
            )
            try:
                parse(text, folder=out.parent, file=str(path))
            except InputError:
                if depth > fit.known:
                    continue
                raise
            break
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"can't be written: {error.strerror}"
        raise InputError.of(message, file=path, key="--out") from None
    return [path, samples]
