"""Inputs drawn together, from a file of samples."""

import numpy as np
import pytest

import mtpsim
from mtpsim.common.errors import InputError
from mtpsim.report.experiment_text import explain
from tests.support.examples import TWO_DEEP, regime

TEXT = f"""\
{regime([0.9, 0.8], [0.5, 0.4], sojourn=[8, 5])}
{TWO_DEEP}
[simulation]
requests = 300
rounds = 20
[uncertainty]
draws = 40
samples = "s.csv"
"""
HEADER = (
    "acceptance.rates[0][0],acceptance.rates[0][1],acceptance.rates[1][0],acceptance.rates[1][1]"
)


def samples(count=40):
    """Easy and hard rates that move together."""
    shift = np.linspace(-0.05, 0.05, count)[:, None]
    return np.array([0.9, 0.8, 0.5, 0.4]) + shift


def parsed(folder, rows=None, header=HEADER, text=TEXT):
    table = samples() if rows is None else rows
    lines = [",".join(f"{value:.6f}" for value in row) for row in table]
    (folder / "s.csv").write_text("\n".join([header, *lines]) + "\n")
    return mtpsim.parse(text, folder=folder)


def test_draws_are_rows_of_the_file(tmp_path):
    (point,) = mtpsim.run(parsed(tmp_path)).points
    found = point["uncertainty"]
    (entry,) = found["inputs"]
    assert entry["key"] == "acceptance.rates"
    assert entry["mean"] == pytest.approx([0.9, 0.8, 0.5, 0.4])
    assert entry["sd"] == pytest.approx([samples()[:, 0].std(ddof=1)] * 4, rel=1e-4)
    deepest = found["depths"][2]["speedup"]
    assert deepest["high"] / deepest["low"] > 1.08  # all four rates rise and fall as one
    assert entry["speedup"]["low"] < deepest["mean"] < entry["speedup"]["high"]


def test_check_names_sampled_inputs(tmp_path):
    assert "uncertain inputs: acceptance.rates; 40 draws" in explain(parsed(tmp_path))


def test_invalid_samples_are_reported(tmp_path):
    short = HEADER.rsplit(",", 1)[0]
    for header, rows, message in (
        (HEADER, samples(30), "40 draws are required, but `samples` has 30 rows"),
        (
            short,
            samples()[:, :3],
            "`samples` has 3 columns of acceptance.rates, the file has 4 numbers",
        ),
        (HEADER.replace("rates[0][0]", "rate"), samples(), "acceptance.rate is not in the file"),
        (HEADER.replace("acceptance", "simulation"), samples(), "not a key of acceptance"),
        (HEADER, np.full((40, 4), np.nan), "rows of finite numbers"),
    ):
        with pytest.raises(InputError) as caught:
            parsed(tmp_path, rows, header)
        assert message in str(caught.value)
    (tmp_path / "s.csv").write_text("a,b\nx,y\n")
    for text, message in (
        (TEXT, "every cell below the header must be a number"),
        (TEXT.replace("s.csv", "t.csv"), "can't read"),
        (TEXT.replace('samples = "s.csv"', ""), "give `inputs`, `samples` or both"),
    ):
        with pytest.raises(InputError) as caught:
            mtpsim.parse(text, folder=tmp_path)
        assert message in str(caught.value)
    both = TEXT + '[uncertainty.inputs]\n"acceptance.rates" = { se = 0.1 }\n'
    with pytest.raises(InputError, match="is in both"):
        parsed(tmp_path, text=both)
