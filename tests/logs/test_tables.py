"""Tables that people write of their runs."""

import pytest

from mtpsim.common.errors import InputError
from mtpsim.fit.round_times import round_times_of
from mtpsim.logs import Answers, read_logs

SWEEP = [(1, 1.8, 55.0), (2, 2.35, 50.25), (3, 2.78, 50.0)]


def table(rows, delimiter=",", point="."):
    return "".join(delimiter.join(map(str, row)).replace(".", point) + "\n" for row in rows)


SWEEPS = {
    "CSV": table([("num_speculative_tokens", "acceptance_length", "tpot_ms"), *SWEEP]),
    "decimal commas": table([("K", "AL", "TPOT ms"), *SWEEP], ";", ","),
    "Markdown": "Results\n\n| name | k | Accept length | TPOT (ms) |\n| --- | :-: | ---: | --- |\n"
    + "".join(f"| run | **{k}** | {length}x | {ms} ms |\n" for k, length, ms in SWEEP),
    "plain decoding too": "k,accept_length,tpot_ms\n0,1.0,76.5\n" + table(SWEEP),
}


@pytest.mark.parametrize("form", SWEEPS)
def test_sweeps_over_depths(form, tmp_path):
    (tmp_path / "log").write_text(SWEEPS[form])
    log = read_logs([tmp_path / "log"], Answers(rounds=1000))
    assert log.depths.tolist() == [1, 2, 3]
    assert log.accepted.tolist() == [800, 1350, 1780]
    assert round_times_of(log).by_depth == pytest.approx({1: 99.0, 2: 118.0875, 3: 139.0})
    plain = "depth 0 is plain decoding; its time of a step is given as --target 76.5"
    assert any(plain in note for note in log.notes) == (form == "plain decoding too")


def test_counts_with_thousands(tmp_path):
    (tmp_path / "log").write_text(
        "| rounds | draft tokens | accepted tokens |\n|---|---|---|\n| 1,000 | 3,000 | 1,800 |\n"
        "| 2,000 | n/a | 3,600 |\n\nText after it | with a bar\n"
    )
    log = read_logs([tmp_path / "log"])
    assert (log.rounds.tolist(), log.accepted.tolist(), log.depth) == ([1000], [1800], 3)
    assert "has a cell that is no number" in log.notes[0]


def test_rates_by_position(tmp_path):
    (tmp_path / "log").write_text("position;acceptance rate\n1;80 %\n2;60 %\n3;40 %\n")
    answers = Answers(rates_are="survival", rounds=100)
    assert read_logs([tmp_path / "log"], answers).hit.tolist() == [[80, 60, 40]]
    with pytest.raises(InputError, match="--rates-are"):
        read_logs([tmp_path / "log"])
