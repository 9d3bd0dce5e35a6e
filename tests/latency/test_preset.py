"""Presets: steps worked out by hand, against measured ones, and the page of their figures."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import mtpsim
from mtpsim.latency.preset import Preset, hardware, networks
from tests.support.examples import independent, problem_of

LLAMA = {"model": "preset", "hardware": "H100", "network": "Llama-3.1-8B", "draft": 0.6}


def steps(depth, **keys):
    """Step times at depth 0 to ``depth``, in ms."""
    return Preset(**keys).times(depth)[0]


def experiment(keys, more=""):
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    return f"{independent(0.8, 0.7)}[latency]\n{text}{more}"


def test_a_dense_model_is_the_roofline_of_published_figures():
    read = 2 * (8.03e9 - 128256 * 4096) / 3.35e12 / 0.75 * 1000  # all but the input embedding
    cache = 2 * 32 * 2 * 8 * 128 / 3.35e12 / 0.75 * 1000  # ms per cached token
    arithmetic = 2 * (8.03e9 - 128256 * 4096) / 989e12 / 0.75 * 1000  # ms per token
    plain = steps(3, **LLAMA, overhead=1.2)
    assert plain == pytest.approx([1.2 + read] * 4)
    assert plain[0] - 1.2 == pytest.approx(5.886, rel=0.03)  # as fitted to measured steps
    assert steps(3, **LLAMA, batch=16, cached=1000)[0] == pytest.approx(read + 16_000 * cache)
    large = steps(3, **LLAMA, batch=1000)
    assert large == pytest.approx(arithmetic * 1000 * np.arange(1, 5))
    assert arithmetic == pytest.approx(0.02101, rel=0.05)
    assert steps(3, **LLAMA, bits=8, gpus=2)[0] == pytest.approx(read / 4)


def test_a_mixture_reads_the_experts_that_its_tokens_activate():
    keys = {"model": "preset", "hardware": "b200", "network": "deepseek-v3", "gpus": 8, "draft": 1}
    found = steps(2, **keys, batch=4)
    expert, shared = 58 * 3 * 7168 * 2048, 671e9 - 129280 * 7168 - 256 * 58 * 3 * 7168 * 2048
    hit = 256 * (1 - (1 - 8 / 256) ** (4 * np.arange(1, 4)))
    assert found == pytest.approx(2 * (shared + expert * hit) / (8 * 7.7e12 * 0.75) * 1000)


@pytest.mark.parametrize(
    ("name", "billions"),
    [("DeepSeek-V3", 37), ("gpt-oss-120b", 5.1), ("Mixtral-8x7B", 12.9), ("Qwen3-235B-A22B", 22)],
)
def test_active_parameters_are_those_that_their_authors_state(name, billions):
    assert networks()[name].active / 1e9 == pytest.approx(billions, rel=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hardware": "H10O"}, "unknown hardware 'H10O'; allowed: H100, H200, B200, MI300X; did"),
        ({"network": "Llama-3-8B"}, "did you mean 'Llama-3.1-8B'?"),
        ({"network": "Llama-3.1-70B"}, "1 x H100 hold 80 GB, and the weights of Llama-3.1-70B at"),
        ({"network": "DeepSeek-V3", "gpus": 4}, "gpus = 17 or more would hold them"),
    ],
)
def test_presets_that_do_not_exist_or_fit_are_refused(change, message):
    assert message in problem_of(experiment({**LLAMA, **change}))


def test_a_missing_draft_names_the_forms_that_it_takes():
    keys = {key: value for key, value in LLAMA.items() if key != "draft"}
    assert "a number, a list by depth, or { base, per_token }" in problem_of(experiment(keys))


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_example_of_the_readme_is_an_experiment(page):
    """It named a model that does not fit the GPU, and no draft."""
    (row,) = [line for line in Path(page).read_text().splitlines() if '"preset"' in line]
    keys = tomllib.loads("\n".join(re.findall(r"`(?:\[latency\] )?(\w+ = [^`]+)`", row)))
    assert mtpsim.parse(experiment(keys)).latency.model == "preset"


def test_a_preset_says_that_it_is_not_measured_and_can_be_swept():
    sweep = '[sweep]\n"latency.hardware" = ["H100", "MI300X"]\n'
    found = mtpsim.parse(experiment(LLAMA, sweep))
    points = [point.experiment for point in found.points()]
    assert [round(p.latency.times(1)[0][0], 2) for p in points] == [5.97, 3.78]
    assert "step times are a preset, not measured" in points[1].warnings()[0]
    text = "\n".join(points[0].latency.describe())
    assert "preset, not measured: Llama-3.1-8B, 16 bits, on H100 at 75 % of peak" in text
    assert "per draft: 0.592 ms" in text
    assert "NVIDIA H100 data sheet" in text


def test_a_cache_beyond_the_memory_is_warned_of_with_the_requests_that_fit():
    per_token = 2 * 32 * 2 * 8 * 128  # bytes
    fit = int((80e9 - 2 * 8.03e9) // (per_token * 4000))
    for batch, beyond in ((fit, False), (fit + 1, True)):
        warnings = Preset(**LLAMA, batch=batch, cached=4000).warnings()
        assert any(f"at most {fit} requests fit" in warning for warning in warnings) == beyond


def test_the_page_shows_every_figure():
    page = Path("docs/presets.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    for name, gpu in hardware().items():
        figures = (gpu.memory, gpu.bandwidth, gpu.flops16, gpu.flops8)
        assert [name, *(f"{value:g}" for value in figures), gpu.source] in rows
    for name, net in networks().items():
        experts = ", ".join(map(str, vars(net.experts).values())) if net.experts else "-"
        sizes = (net.layers, net.hidden, net.cache, net.vocabulary)
        row = [name, f"{net.parameters:g}", *map(str, sizes), experts]
        assert row in [cells[:7] for cells in rows]
        assert len(net.source) > 20
