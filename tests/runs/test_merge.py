"""Runs of several machines, parts and seeds add up, each block once; and any run can be shown."""

import json
import re
import shutil

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.config.hashing import point_hash, work_hash
from mtpsim.engine.scheduler import BlockRange
from mtpsim.runs.directory import RESULT, TALLIES, Tallies, reserved
from mtpsim.runs.merge import Piece, disjoint, merge
from mtpsim.stats.estimators import Tally
from tests.support.examples import LONG_RUN

pytestmark = pytest.mark.usefixtures("no_pictures")  # but where a test asks for them

TEXT = LONG_RUN + "requests = 400000\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "e.toml"
    path.write_text(TEXT)
    return path


def run(file, out, *options):
    return main(["run", str(file), "--out", str(out), "--quiet", *options])


def merged(folder, *names, out="m"):
    """Exit code of a merge of runs within a folder."""
    return main(["merge", *(str(folder / name) for name in names), "-o", str(folder / out)])


def point(folder):
    return json.loads((folder / RESULT).read_text())["points"][0]


def test_parts_of_a_run_add_up_to_the_whole(file, tmp_path, capsys):
    for i in (1, 2, 3):
        assert run(file, tmp_path / f"part{i}", "--part", f"{i}/3") == 0
    assert run(file, tmp_path / "whole") == 0
    assert merged(tmp_path, "part3", "part1", "part2") == 0
    assert "count once" not in capsys.readouterr().err
    found, whole = point(tmp_path / "m"), point(tmp_path / "whole")
    assert whole["requests"] == 400_000
    assert found == whole  # to the last bit
    records = (tmp_path / "m" / TALLIES).read_text().splitlines()
    assert [json.loads(line)["count"] for line in records] == [400_000]


def test_blocks_that_two_runs_have_count_once(file, tmp_path, capsys):
    assert run(file, tmp_path / "a") == 0
    assert run(file, tmp_path / "b", "--set", "simulation.requests=100000") == 0
    assert merged(tmp_path, "a", "b") == 0
    assert "in another run too: they count once" in capsys.readouterr().err
    assert point(tmp_path / "m") == point(tmp_path / "a")


def test_seeds_add_up(file, tmp_path):
    assert run(file, tmp_path / "a") == 0
    assert run(file, tmp_path / "b", "--seed", "2") == 0
    pair = [tmp_path / "a", tmp_path / "b"]
    both = merge(pair).result.points[0]
    tallies = []
    for folder, seed in zip(pair, (1, 2), strict=True):
        kept = Tallies(folder / TALLIES)
        (name,) = {name for name, _ in kept.names()}
        tallies.append(kept.block_ranges(name, seed)[-1].tally)
    total = tallies[0] + tallies[1]
    assert both["requests"] == total.count == 800_000
    widths = [p["depths"][2]["speedup"] for p in (both, point(tmp_path / "a"))]
    narrow, wide = (w["high"] - w["low"] for w in widths)
    assert wide / narrow == pytest.approx(np.sqrt(2), rel=0.03)
    # merging what is merged already, with one of its parts, adds nothing
    assert main(["merge", *map(str, pair), "-o", str(tmp_path / "m")]) == 0
    again = merge([tmp_path / "m", tmp_path / "a"])
    assert again.result.points[0]["depths"] == both["depths"]
    assert again.overlaps


def test_another_experiment_is_refused_with_what_differs(file, tmp_path, capsys):
    assert run(file, tmp_path / "a") == 0
    assert run(file, tmp_path / "b", "--set", "latency.target=70") == 0
    assert merged(tmp_path, "a", "b") == 2
    assert "latency.target is 70.0, there 76.0" in capsys.readouterr().err
    assert not (tmp_path / "m" / TALLIES).exists()


@pytest.mark.parametrize("changed", ["kernels", "blocks", "earlier"])
def test_other_kernels_and_blocks_are_refused(changed, file, tmp_path, capsys):
    assert run(file, tmp_path / "a") == 0
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    records = tmp_path / "b" / TALLIES
    name = json.loads(records.read_text().splitlines()[0])["point"]
    hash_, kernels, schedule, version = name.split("-")
    other = {
        "kernels": f"{hash_}-0123abcd-{schedule}-{version}",
        "blocks": f"{hash_}-{kernels}-0123abcd-{version}",
        "earlier": f"{hash_}-{kernels}-{version}",  # blocks of one size, without a name
    }[changed]
    records.write_text(records.read_text().replace(name, other))
    assert merged(tmp_path, "a", "b") == 2
    theirs = other.removeprefix(hash_ + "-")
    message = f"was made by other kernels or another version: {theirs}, not"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["merge", "nowhere", "-o", "m"], "not a run directory"),
        (["merge", "a", "a", "-o", "m"], "given twice"),
        (["merge", "a", "-o", "a"], "already contains a run"),
        (["show", "nowhere"], "not a run directory"),
        (["run", "e.toml", "--part", "3/2"], "it must be I/N"),
        (["run", "e.toml", "--part", "2"], "it must be I/N"),
        (["run", "e.toml", "--timeout", "0"], "error: --timeout: 0 is given"),
        (["run", "e.toml", "--patience", "nan"], "error: --patience: nan is given"),
    ],
)
def test_wrong_runs_and_options_are_reported(
    arguments, message, file, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / TALLIES).write_text("")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_part_of_a_precision_is_refused(tmp_path, capsys):
    file = tmp_path / "e.toml"
    file.write_text(TEXT.replace("requests = 400000", "precision = 0.01"))
    assert run(file, tmp_path / "a", "--part", "1/2") == 2
    assert "a part needs a number of requests" in capsys.readouterr().err


def test_quantiles_of_a_part_are_those_of_its_requests(file, tmp_path):
    for i in (1, 2):
        assert run(file, tmp_path / f"part{i}", "--part", f"{i}/2") == 0
    one, two = (point(tmp_path / f"part{i}") for i in (1, 2))
    times = [[depth["request_time"] for depth in part["depths"]] for part in (one, two)]
    assert times[0] != times[1]
    for a, b in zip(*times, strict=True):  # of the same law
        assert a["p50"]["low"] <= b["p50"]["high"]
        assert b["p50"]["low"] <= a["p50"]["high"]
    lag = [part["diagnostics"]["autocorrelation"]["mean"] for part in (one, two)]
    assert lag[0] != lag[1]


def test_show_prints_and_draws_a_run_again(pictures, file, tmp_path, capsys):
    out = tmp_path / "a"
    assert main(["run", str(file), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    pictures = {p.name: p.read_bytes() for p in out.glob("*.png")}
    for path in out.glob("*.png"):
        path.unlink()
    assert main(["show", str(out)]) == 0
    assert capsys.readouterr().out == printed
    assert {p.name: p.read_bytes() for p in out.glob("*.png")} == pictures


def test_show_of_an_unfinished_run_uses_its_blocks(pictures, file, tmp_path, capsys):
    out = tmp_path / "a"
    assert run(file, out) == 0
    whole = point(out)
    (out / RESULT).unlink()
    capsys.readouterr()
    assert main(["show", str(out), "--json", "--out", str(tmp_path / "plots")]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["points"][0] == whole
    assert "is unfinished" in printed.err
    assert (tmp_path / "plots" / "speedup.png").is_file()


def piece(run, first, end, seed=1):
    rows = np.ones((end - first, 1))
    return Piece(run, seed, BlockRange(first, end, Tally.of(rows)))


def test_the_most_requests_without_overlap_are_chosen():
    """Against every subset, on random ranges."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        edges = np.sort(rng.integers(0, 12, (6, 2)), axis=1)
        pieces = [piece(str(i), a, b + 1) for i, (a, b) in enumerate(edges)]
        chosen, _ = disjoint(pieces)
        covered = [set(range(p.blocks.first, p.blocks.end)) for p in chosen]
        assert sum(map(len, covered)) == len(set().union(*covered))
        best = 0
        for mask in range(64):
            some = [p for i, p in enumerate(pieces) if mask >> i & 1]
            blocks = [b for p in some for b in range(p.blocks.first, p.blocks.end)]
            if len(blocks) == len(set(blocks)):
                best = max(best, len(blocks))
        assert sum(map(len, covered)) == best


def test_a_directory_in_use_is_refused(file, tmp_path, capsys):
    out = tmp_path / "a"
    with reserved(out):
        assert main(["run", str(file), "--out", str(out)]) == 2
    assert "another run is writing there" in capsys.readouterr().err
    assert run(file, out) == 0


def test_a_longer_sweep_reuses_the_points_it_shares(tmp_path, capsys):
    file, out = tmp_path / "e.toml", tmp_path / "out"
    text = TEXT.replace("400000", "4000") + '[sweep]\n"latency.target" = '
    file.write_text(text + "[70, 72]")
    assert main(["run", str(file), "--out", str(out)]) == 0
    file.write_text(text + "[70, 74, 72]")
    assert main(["run", str(file), "--out", str(out)]) == 0
    assert "blocks of 2 of 3 points are reused; new: 2" in capsys.readouterr().err
    found = json.loads((out / RESULT).read_text())["points"]
    assert found == json.loads(json.dumps(mtpsim.run(mtpsim.load(file)).points))


SWEEPS = {
    "seed": '"simulation.seed" = [1, 2, 3]',
    "requests": '"simulation.requests" = [1000, 30000, 4000]',
    "both": '"simulation.seed" = [5, 6]\n"simulation.requests" = [2000, 1000]',
    "section": "simulation = [{ rounds = 20, requests = 500 }, { rounds = 20, requests = 700 }]",
    "precision": '"simulation.precision" = [0.02, 0.01]',
}


@pytest.mark.parametrize("sweep", SWEEPS)
def test_points_that_differ_in_seed_or_requests_are_not_pooled(sweep, tmp_path, capsys):
    file, out = tmp_path / "e.toml", tmp_path / "out"
    text = TEXT.replace("requests = 400000\n", "") if sweep == "precision" else TEXT
    file.write_text(text.replace("400000", "4000") + f"[sweep]\n{SWEEPS[sweep]}\n")
    assert run(file, out) == 0
    whole = json.loads((out / RESULT).read_text())["points"]
    assert whole == json.loads(json.dumps(mtpsim.run(mtpsim.load(file)).points))
    assert main(["merge", str(out), "-o", str(tmp_path / "m"), "--quiet"]) == 0
    assert json.loads((tmp_path / "m" / RESULT).read_text())["points"] == whole
    (out / RESULT).unlink()
    capsys.readouterr()
    assert main(["show", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == whole


def test_records_that_do_not_say_their_point_are_refused(tmp_path, capsys):
    file, out = tmp_path / "e.toml", tmp_path / "out"
    file.write_text(TEXT.replace("400000", "4000") + f"[sweep]\n{SWEEPS['seed']}\n")
    assert run(file, out) == 0
    point = mtpsim.load(file).points()[0]
    records = (out / TALLIES).read_text()
    for own in mtpsim.load(file).points():
        records = records.replace(point_hash(own), work_hash(point.experiment))
    (out / TALLIES).write_text(records)
    assert main(["merge", str(out), "-o", str(tmp_path / "m")]) == 2
    message = "do not say to which point of the sweep over simulation.seed they belong"
    assert message in capsys.readouterr().err
    whole = (out / RESULT).read_bytes()
    (out / RESULT).unlink()
    assert run(file, out) == 0  # simulates again
    assert json.loads((out / RESULT).read_bytes())["points"] == json.loads(whole)["points"]


def test_a_merge_says_which_parts_are_missing(file, tmp_path, capsys):
    for i in (1, 3):
        assert run(file, tmp_path / f"part{i}", "--part", f"{i}/4") == 0
    assert merged(tmp_path, "part1", "part3", out="some") == 130
    assert "missing: parts 2/4, 4/4 of seed 1\nincomplete: merge" in capsys.readouterr().err
    document = json.loads((tmp_path / "some" / RESULT).read_text())
    assert not document["complete"]
    assert document["points"][0]["interrupted"]
    assert document["provenance"]["missing"] == ["missing: parts 2/4, 4/4 of seed 1"]
    assert main(["show", str(tmp_path / "some")]) == 130
    for i in (2, 4):
        assert run(file, tmp_path / f"part{i}", "--part", f"{i}/4") == 0
    assert merged(tmp_path, "some", "part2", "part4", out="more") == 0
    assert "missing" not in capsys.readouterr().err
    assert json.loads((tmp_path / "more" / RESULT).read_text())["complete"]


def kill(folder, requests):
    """Let a run look as if it had been killed on the way to a number of requests."""
    (folder / RESULT).unlink()
    path = folder / "experiment.toml"
    path.write_text(
        re.sub("^requests = .*", f"requests = {requests}", path.read_text(), flags=re.M)
    )


@pytest.mark.parametrize("seed", ["1", "2"])
def test_requests_of_a_killed_run_are_missing(seed, file, tmp_path, capsys):
    """Also in a merge with a finished run of another seed."""
    assert run(file, tmp_path / "done") == 0
    cut = tmp_path / "cut"
    assert run(file, cut, "--set", "simulation.requests=100000", "--seed", seed) == 0
    kill(cut, 400_000)
    message = f"missing: 300,000 of 400,000 requests of seed {seed}\n"
    assert main(["show", str(cut)]) == 130
    assert message in capsys.readouterr().err
    assert merged(tmp_path, "done", "cut") == (0 if seed == "1" else 130)
    assert (message in capsys.readouterr().err) == (seed == "2")


def test_a_killed_part_is_missing(file, tmp_path, capsys):
    assert run(file, tmp_path / "part1", "--part", "1/2") == 0
    assert run(file, tmp_path / "part2", "--set", "simulation.requests=300000") == 0
    kill(tmp_path / "part2", 400_000)
    assert merged(tmp_path, "part1", "part2") == 130
    assert "missing: part 2/2 of seed 1" in capsys.readouterr().err


def test_an_unfinished_run_to_a_precision_is_shown_as_such(tmp_path, capsys):
    file, out = tmp_path / "e.toml", tmp_path / "out"
    file.write_text(TEXT.replace("requests = 400000", "precision = 0.0005"))
    assert run(file, out) == 0
    (out / RESULT).unlink()
    assert main(["show", str(out)]) == 0  # all blocks are there
    first = (out / TALLIES).read_text().splitlines()[0]
    (out / TALLIES).write_text(first + "\n")
    assert main(["show", str(out)]) == 130
    assert "missing: requests, to reach the precision, of seed 1" in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["all", "last"])
def test_lost_records_of_a_finished_run_are_missing(lost, file, tmp_path, capsys):
    for seed in (1, 2):
        assert run(file, tmp_path / f"{seed}", "--seed", f"{seed}") == 0
    first = ["--set", "simulation.requests=100000", "--seed", "2"]
    assert run(file, tmp_path / "short", *first) == 0
    records = "" if lost == "all" else (tmp_path / "short" / TALLIES).read_text()
    (tmp_path / "2" / TALLIES).write_text(records + '{"point": ')
    assert merged(tmp_path, "1", "2") == 130
    lacking = "400,000" if lost == "all" else "300,000"
    message = f"missing: {lacking} of 400,000 requests of {tmp_path / '2'}"
    assert message in capsys.readouterr().err
