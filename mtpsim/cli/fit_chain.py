"""Write a token chain of counts as an experiment, with draws of its posterior distribution."""

from pathlib import Path

from mtpsim.cli.fit_deepest import write_deepest
from mtpsim.common.arrays import JsonDict
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
        own = {"acceptance": chain_section(fit, draw, depth), "uncertainty": uncertainty}
        table = sections_csv(chain_draws(fit, depth), ("rates", "sojourn"))
        samples.write_text(table, encoding="utf-8")
        return head + tomli_w.dumps({**kept, **own})

    write_deepest(path, text_at, deepest=fit.depth, known=fit.known)
    return [path, samples]
