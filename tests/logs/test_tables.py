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


HISTOGRAMS = {
    "accepted and rounds": "accepted,rounds\n0,300\n1,200\n2,150\n3,350\n",
    "with an empty bin": "accepted,count\n0,300\n3,350\n1,200\n2,150\n4,0\n",
    "accept length": "Accept length;Count\n1;300\n2;200\n3;150\n4;350\n",
    "Markdown": "|accepted|rounds|\n|---|---|\n| 0 | 300 |\n| 1 | 200 |\n| 2 | 150 |\n| 3 | 350 |",
    "list": '{"accepted_counts": [300, 200, 150, 350]}',
    "object": '{"acceptance_histogram": {"0": 300, "1": 200, "2": 150, "3": 350}}',
    "engine's key": '{"spec_correct_drafts_histogram": [300, 200, 150, 350]}',
}


@pytest.mark.parametrize("depth", [None, 5])
@pytest.mark.parametrize("form", HISTOGRAMS)
def test_histograms(form, depth, tmp_path):
    """Rounds by accepted drafts; not the totals of runs with 0, 1, 2, .. accepted drafts."""
    (tmp_path / "log").write_text(HISTOGRAMS[form])
    log = read_logs([tmp_path / "log"], Answers(depth))
    deepest = 5 if depth else 3
    assert (log.level, log.depth) == ("histogram", deepest)
    assert log.accept_length == pytest.approx(2.55)
    assert log.hit.tolist() == [[700, 500, 350, 0, 0][:deepest]]
    assert any("rounds by number of accepted drafts" in note for note in log.notes)


@pytest.mark.parametrize("rows", [[(1, 300), (2, 150)], [(0, 300), (2, 150)]])
def test_tables_of_runs_or_of_a_histogram_are_refused(rows, tmp_path):
    """Two runs, or a histogram without a bin; totals of runs are read (control)."""
    path = tmp_path / "log"
    path.write_text(table([("accepted", "rounds"), *rows]))
    with pytest.raises(InputError, match="a histogram has the columns accepted,count"):
        read_logs([path], Answers(3))
    path.write_text(table([("accepted", "rounds"), (30, 20), (25, 20), (25, 21)]))
    assert read_logs([path], Answers(3)).rounds.tolist() == [20, 20, 21]


def test_an_unknown_log_names_the_neutral_forms(tmp_path):
    path = tmp_path / "log.json"
    path.write_text('{"0": 300, "1": 200}')
    with pytest.raises(InputError, match=r"accepted_counts.*rounds by accepted drafts, from 0"):
        read_logs([path])
