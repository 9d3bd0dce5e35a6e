"""What engines read back: the published shapes, and the run's own numbers in them."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest

import mtpsim
from mtpsim.cli import main as cli
from mtpsim.report.engine_flags import engine_flags, schedule_flags
from mtpsim.report.figures.batch import batch_figure
from mtpsim.report.html.page import _flags
from mtpsim.report.tables.sweep import batch_sentences
from mtpsim.results.document import Result
from mtpsim.runs import directory as store
from tests.support.examples import TWO_DEEP, acceptance, independent, linear

TEXT = f"""\
{independent(0.7, 0.6)}
{linear(10, 0.1, 1)}
[simulation]
requests = 3000
[sweep]
"latency.batch" = [1, 30, 400]
"""
PRESET = """\
[latency]
model = "preset"
hardware = "H100"
network = "Llama-3.1-8B"
draft = 0.6
"""
TREE = f"""\
{acceptance("ranks", first=[0.7, 0.6], power=0.9)}
{linear(10, 0.1, 1)}
[simulation]
requests = 100
[draft]
"""
SERVED = (
    TREE[: TREE.index("[simulation]")]
    + """[serving]
arrivals = { closed = 2 }
prompt = 5
output = 30
requests = 40
"""
)
UNTIMED = "[latency]\ntarget = 10\nverify = [10, 10]\ndraft = [0, 0]\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    texts = {
        "batch": TEXT,
        "plain": TEXT[: TEXT.index("[sweep]")],
        "timed": independent(0.7, 0.6) + TWO_DEEP + "[simulation]\nrequests = 100\n",
        "few": TEXT.replace("requests = 3000", "requests = 9"),
        "untimed": independent(0.7, 0.6) + UNTIMED + "[simulation]\nrequests = 100\n",
        "off": TEXT.replace("[0.7, 0.6]", "[0.0, 0.0]"),
        "preset": independent(0.7, 0.6) + PRESET + TEXT[TEXT.index("[simulation]") :],
        "lengths": TEXT[: TEXT.index("[sweep]")] + "[draft]\nlengths = [0.2, 0.2, 0.6]\n",
        "late": TEXT.replace("[1, 30, 400]", "[2, 30]"),
        "topk": TREE + 'tree = "topk"\ntopk = 2\nnodes = 4\n',
        "tree": TREE + "tree = [0, 0, 1]\n",
        "wide": TREE.replace("[simulation]", "batch = 20\n[simulation]")
        + 'tree = "topk"\ntopk = 2\nnodes = 4\n',
        "narrow": TREE + 'tree = "topk"\ntopk = 2\nnodes = 3\n',
        "served": SERVED + '[draft]\ntree = "topk"\ntopk = 2\nnodes = 4\n',
        "budget": SERVED + 'policies = ["budget", "ema"]\n',
        "shapes": TREE.replace("[draft]", "[sweep]")
        + 'draft = [{ tree = "chain" }, { tree = "topk", topk = 2, nodes = 3 }]\n',
        "two": TEXT + '"latency.base" = [10, 20]\n',
    }
    for name, text in texts.items():
        experiment = mtpsim.parse(text)
        store.write_result(folder / name, experiment, mtpsim.run(experiment))
    (folder / "killed").mkdir()
    (folder / "killed" / store.EXPERIMENT).write_text(TEXT)
    return folder


def exported(capsys, *arguments):
    code = cli.main(["export", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def schedule_of(runs, name="batch"):
    return json.loads((runs / name / store.RESULT).read_text())["by_batch"][0]["schedule"]


def test_vllm_schedule_has_adjoining_ranges_of_three_whole_numbers(runs, capsys):
    code, out, _ = exported(capsys, runs / "batch", "--to", "vllm-schedule")
    config = json.loads(out)["speculative_config"]
    ranges = config["num_speculative_tokens_per_batch_size"]
    assert code == 0
    assert ranges[0][0] == 1
    assert all(a[1] + 1 == b[0] for a, b in pairwise(ranges))
    assert all(isinstance(number, int) for row in ranges for number in row)
    assert ranges == [[e["from"], e["to"], e["depth"]] for e in schedule_of(runs)]
    assert (ranges[-1][2], config["num_speculative_tokens"]) == (0, 2)


def test_trtllm_schedule_names_the_last_batch_of_each_length_and_ends_in_none(runs, capsys):
    _, out, _ = exported(capsys, runs / "batch", "--to", "trtllm")
    found = {int(to): int(depth) for to, depth in re.findall(r"^ {4}(\d+): (\d+)$", out, re.M)}
    assert found == {e["to"]: e["depth"] for e in schedule_of(runs) if e["depth"]}
    assert "max_draft_len: 2" in out


def test_vllm_synthetic_takes_survival_rates(runs, capsys):
    _, out, _ = exported(capsys, runs / "plain", "--to", "vllm-synthetic")
    config = json.loads(out)["speculative_config"]
    assert config["synthetic_acceptance_rates"] == pytest.approx([0.7, 0.42], abs=0.01)
    assert config["num_speculative_tokens"] == 2
    assert config["rejection_sample_method"] == "synthetic"


def test_sglang_drafts_a_tree_by_topk(runs, capsys):
    code, out, _ = exported(capsys, runs / "topk", "--to", "sglang")
    flags = "--speculative-num-steps 2 --speculative-eagle-topk 2 --speculative-num-draft-tokens 5"
    assert (code, flags in out) == (0, True)


def test_a_swept_shape_is_chosen_by_one_of_its_keys(runs, capsys):
    whole = 'draft={ tree = "topk", topk = 2, nodes = 3 }'
    found = [
        exported(capsys, runs / "shapes", "--to", "sglang", "--set", text)
        for text in ("draft.tree=topk", "draft.nodes=3", whole)
    ]
    assert {(code, "--speculative-eagle-topk 2" in out) for code, out, _ in found} == {(0, True)}


def test_a_tree_of_a_server_is_exported_to_the_engine_that_drafts_trees(runs, capsys):
    _, out, _ = exported(capsys, runs / "served", "--to", "sglang", "--set", "policy=depth 1")
    assert "steps 1 --speculative-eagle-topk 2 --speculative-num-draft-tokens 3" in out
    for engine in ("vllm", "vllm-schedule", "trtllm"):
        code, out, error = exported(capsys, runs / "served", "--to", engine)
        assert (code, out) == (2, "")
        assert "this engine drafts chains" in error


def test_a_tree_that_a_chain_beats_is_refused_with_the_flags_of_the_chain(runs, capsys):
    code, out, error = exported(capsys, runs / "wide", "--to", "sglang")
    assert (code, out) == (2, "")
    assert "a chain of 2 drafts is faster, 1.4" in error
    assert "--speculative-num-steps 2 --speculative-eagle-topk 1 --speculative-num-draft" in error


def test_a_tree_that_another_tree_beats_is_exported_with_a_warning(runs, capsys):
    code, out, error = exported(capsys, runs / "narrow", "--to", "sglang")
    assert (code, "--speculative-eagle-topk 2 --speculative-num-draft-tokens" in out) == (0, True)
    assert "warning: A tree of" in error
    assert not exported(capsys, runs / "plain", "--to", "sglang")[2]


def test_sglang_drafts_one_token_more_than_steps(runs, capsys):
    _, out, _ = exported(capsys, runs / "batch", "--to", "sglang", "--set", "latency.batch=1")
    assert out == (
        "--speculative-algorithm NEXTN --speculative-num-steps 2 --speculative-eagle-topk 1 "
        "--speculative-num-draft-tokens 3\n"
    )


def test_one_depth_and_a_schedule_are_written_as_the_report_shows_them(runs, capsys):
    """Flags on the page are those of `export`, with the method that the engine needs."""
    texts = {flags.engine: flags.text for flags in engine_flags(2)}
    for name, engine in {"vllm": "vLLM", "sglang": "SGLang", "llamacpp": "llama.cpp"}.items():
        _, out, _ = exported(capsys, runs / "plain", "--to", name)
        config = (
            json.dumps(json.loads(out)["speculative_config"]) if name == "vllm" else out.strip()
        )
        assert config in texts[engine]
    schedule = [(e["from"], e["to"], e["depth"]) for e in schedule_of(runs)]
    vllm, trtllm = (flags.text for flags in schedule_flags(schedule))
    _, out, _ = exported(capsys, runs / "batch", "--to", "vllm-schedule")
    assert json.loads(out)["speculative_config"] == json.loads(vllm.split("'")[1])
    assert json.loads(out)["speculative_config"]["method"] == "mtp"
    assert exported(capsys, runs / "batch", "--to", "trtllm")[1] == f"{trtllm}\n"
    assert "decoding_type: MTP" in trtllm


@pytest.mark.parametrize("name", ["topk", "narrow", "served", "wide"])
def test_the_page_of_a_tree_has_the_flags_of_export_unless_a_chain_is_faster(runs, capsys, name):
    """Before, neither a tree nor a server had engine settings."""
    result = Result.of(json.loads((runs / name / store.RESULT).read_text()))
    code, out, _ = exported(capsys, runs / name, "--to", "sglang")
    texts = [flags.text for flags in _flags(result.data)]
    assert texts == ([] if name == "wide" else [out.strip()])
    assert (code == 0) == (name != "wide")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("batch", ["--to", "vlm-schedule"], "did you mean 'vllm-schedule'"),
        ("none", ["--to", "sglang"], "not a run directory"),
        ("killed", ["--to", "sglang"], "contains no finished run"),
        ("plain", ["--to", "trtllm"], 'over `latency.batch`: add `[sweep]` with `"latency.batch"'),
        ("timed", ["--to", "vllm-schedule"], "over `latency.batch`: give [latency] a cost model"),
        ("off", ["--to", "vllm-schedule"], "MTP is off at every batch"),
        ("off", ["--to", "trtllm"], "MTP is off at every batch"),
        ("tree", ["--to", "sglang"], 'SGLang drafts those of tree = "topk"'),
        ("topk", ["--to", "vllm"], "the run drafts a tree, and this engine drafts chains"),
        ("off", ["--to", "sglang", "--set", "latency.batch=1"], "the advice is depth 0"),
        ("few", ["--to", "trtllm"], "recommends no depth: Too few requests for advice: 9"),
        ("few", ["--to", "sglang", "--set", "latency.batch=1"], "recommends no depth: Too few"),
        ("untimed", ["--to", "vllm-synthetic"], "No depth can be recommended without times"),
        ("late", ["--to", "trtllm"], "starts at a batch of 2"),
        ("two", ["--to", "trtllm"], "2 groups of batches match; choose one of: latency.base=10;"),
        ("batch", ["--to", "sglang"], "3 points match; choose one of: latency.batch=1;"),
        ("batch", ["--to", "sglang", "--set", "latency.batch"], "must be KEY=VALUE"),
        (
            "budget",
            ["--to", "vllm-schedule", "--set", "policy=budget"],
            "has no depth by batch: only",
        ),
        (
            "budget",
            ["--to", "sglang", "--set", "policy=budget"],
            "only vLLM verifies so (--to vllm)",
        ),
        ("budget", ["--to", "sglang", "--set", "policy=ema"], 'by --set "policy=depth K", or'),
        (
            "shapes",
            ["--to", "sglang"],
            """of: 'draft={ tree = "chain" }'; 'draft={ tree = "topk",""",
        ),
    ],
)
def test_export_errors_are_reported(runs, capsys, name, arguments, message):
    code, out, err = exported(capsys, runs / name, *arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(("name", "times"), [("preset", 1), ("batch", 0)])
def test_a_preset_is_named_beside_every_answer(runs, capsys, name, times):
    """Before, an export and a figure of a preset looked like those of measured times."""
    every = ["--to", "trtllm"], ["--to", "sglang", "--set", "latency.batch=1"]
    for arguments in every:
        code, _, err = exported(capsys, runs / name, *arguments)
        assert (code, err.count("warning: step times are a preset, not measured")) == (0, times)
    assert str(store.finished(runs / name)).count("warning: step times are a preset") == times
    result = store.finished(runs / name).data
    (sentence,), figure = batch_sentences(result), batch_figure(result)
    texts = [sentence, *(point.advice.sentence for point in result.points)]
    texts.append(" ".join(text.get_text() for text in figure.texts).replace("\n", " "))
    assert [text.count("tep times are a preset, not measured") for text in texts] == [times] * 5


def test_export_of_an_incomplete_result_warns(runs, tmp_path, capsys):
    experiment = mtpsim.parse(TEXT)
    result = store.finished(runs / "batch")
    data = replace(result.data, complete=False)
    store.write_result(tmp_path / "cut", experiment, replace(result, data=data))
    code, out, err = exported(capsys, tmp_path / "cut", "--to", "trtllm")
    assert (code, out) == (130, exported(capsys, runs / "batch", "--to", "trtllm")[1])
    assert "is not complete" in err


@pytest.mark.parametrize(("name", "warned"), [("lengths", True), ("plain", False)])
def test_random_lengths_are_not_those_of_the_mtp_head(runs, capsys, name, warned):
    _, _, errors = exported(capsys, runs / name, "--to", "vllm")
    assert ('"method": "ngram"' in errors) == warned
