"""The page of a result: valid, self-contained, reproducible, and with the document's numbers."""

import copy
import io
import json
import re
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import html5lib
import pytest
from rich.console import Console

import mtpsim
from mtpsim.formula.closed_form import step_verdict
from mtpsim.report.engine_flags import engine_flags, group_flags
from mtpsim.report.figures.gallery import figures
from mtpsim.report.figures.speedup import speedup_figure
from mtpsim.report.figures.style import PALE
from mtpsim.report.formatting import advised_depth, fixed, plus_minus, shared_decimals
from mtpsim.report.html.page import SCRIPT, STYLE_SHEET, render_page
from mtpsim.report.html.svg import VARIABLES, picture
from mtpsim.report.html.what_if import what_if
from mtpsim.report.tables.diagnostics import definitions_title
from mtpsim.report.tables.result import BREAK_EVEN, render
from tests.support.examples import (
    HEAD,
    KNOWN,
    POLICIES,
    SETS,
    independent,
    linear,
    section,
    simulation,
)
from tests.support.report_example import (
    EXAMPLES,
    document,
    example_point,
    example_result,
    example_round_times,
    example_sweep,
    without_numbers,
)

LOOK = (Path(mtpsim.__file__).parent / "report/html" / STYLE_SHEET).read_text()
SCRIPT_TEXT = (Path(mtpsim.__file__).parent / "report/html" / SCRIPT).read_text()
STATED = mtpsim.load("experiments/article.toml")
UNCERTAIN = HEAD.replace("2000", "300") + KNOWN.replace("400", "30") + SETS
BATCH = 'title = "by batch"\n' + independent(0.75, 0.7) + linear(6, 0.02, 2)
BATCH += simulation(requests=100) + section("sweep", **{"latency.batch": [1, 64, 1024]})
SIMULATED = {"policies": POLICIES, "uncertain": UNCERTAIN, "batch": BATCH}
WRITTEN = ("one", "deep", "sweep", "long sweep", "grid", "no exact solution")
SVG = "{http://www.w3.org/2000/svg}svg"
HOSTILE = "</script></title><img src=x onerror=alert(1)> {{7*7}} {% raw %} & \x00\x1b"
DEPTHS = "Depths; the advised one is marked"
KEYS = {
    "policies": {"policies", "requests", "variance", "diagnostics"},
    "uncertain": {"uncertainty", "robust", "requests"},
    "batch": {"batches", "each", "points"},
    "one": {"advice", "depths", "trial", "pictures", "diagnostics"},
    "sweep": {"points", "trial", "each", "warnings"},
}


def page(result, times=(), experiment=STATED):
    return render_page(result, experiment, figures(result, times))


@cache
def simulated(name):
    experiment = mtpsim.parse(SIMULATED[name])
    return experiment, mtpsim.run(experiment)


@cache
def made(name):
    """The page of an example, and the document."""
    if name in SIMULATED:
        experiment, result = simulated(name)
        return page(result.data, result.round_times, experiment), result.data
    times = example_round_times(EXAMPLES[name]) if name == "one" else ()
    return page(EXAMPLES[name], times), EXAMPLES[name]


@cache
def tree(name):
    return html5lib.parse(made(name)[0], namespaceHTMLElements=False)


def text_of(element):
    return " ".join("".join(element.itertext()).replace("\N{NO-BREAK SPACE}", " ").split())


def rows_of(table):
    """Texts of the body's cells, without the mark."""
    rows = [[text_of(cell) for cell in row] for row in table.findall("tbody/tr")]
    return [[cell.removeprefix("▸marked: ") for cell in row] for row in rows]


def captioned(root, caption):
    (table,) = (t for t in root.iter("table") if text_of(t.find("caption")) == caption)
    return table


@pytest.fixture(params=[*WRITTEN, *SIMULATED])
def name(request):
    return request.param


def test_it_is_html_without_an_error(name):
    strict = html5lib.HTMLParser(strict=True)
    assert strict.parse(made(name)[0]) is not None
    with pytest.raises(html5lib.html5parser.ParseError):
        strict.parse(made(name)[0].replace("</section>", "", 1))


def test_nothing_is_fetched_and_one_script_runs(name):
    tags = {element.tag for element in tree(name).iter() if isinstance(element.tag, str)}
    assert not tags & {"link", "iframe", "object", "embed", "base", "form"}
    (script,) = tree(name).iter("script")
    assert script.text.strip() == SCRIPT_TEXT.strip()
    digest = b64encode(sha256(script.text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in made(name)[0]
    for element in tree(name).iter():
        for key, value in element.attrib.items():
            assert not str(key).startswith("on")
            if str(key) in ("src", "href", "srcset", "action"):
                assert value.startswith(("#", "data:image/png;base64,")), value
    assert not re.search(r"@import|url\((?!#)", made(name)[0])
    assert "default-src 'none'" in made(name)[0]


def test_ids_are_unique_and_pointers_lead_to_them(name):
    ids = [element.get("id") for element in tree(name).iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    pointers = set(re.findall(r"url\(#([^)]+)\)", made(name)[0]))
    for element in tree(name).iter():
        pointers.add(element.get("aria-labelledby") or ids[0])
        href = element.get("href") or ""
        pointers |= {href[1:]} if href.startswith("#") else set()
    assert len(pointers) > 5
    assert pointers <= set(ids)


def test_headings_are_in_order_and_figures_have_a_description(name):
    levels = [int(e.tag[1]) for e in tree(name).iter() if re.fullmatch(r"h\d", str(e.tag))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    pictures = list(tree(name).iter(SVG))
    assert len(pictures) == len(list(tree(name).iter("figure"))) >= 5
    for figure in tree(name).iter("figure"):
        (drawn,) = figure.iter(SVG)
        assert drawn.get("role") == "img"
        assert text_of(figure.find("h3")).rstrip(".") in drawn.get("aria-label")


def test_scrolling_boxes_are_focusable_and_labelled(name):
    boxes = [e for e in tree(name).iter("div") if (e.get("class") or "").startswith("scroll")]
    assert len(boxes) >= len(list(tree(name).iter("table")))
    for box in boxes:
        assert box.get("tabindex") == "0"
        assert box.get("aria-label") or box.get("aria-labelledby")
    assert tree(name).get("lang") == "en"


@pytest.mark.parametrize("which", KEYS)
def test_every_part_of_the_document_has_its_section(which):
    keys = {section.get("id") for section in tree(which).iter("section")}
    assert keys >= KEYS[which] | {"assumptions", "intervals", "provenance", "again"}
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", made(which)[0], flags=re.S).split()


@pytest.mark.parametrize("which", ["one", "deep", "no exact solution", "policies"])
def test_depth_table_has_the_documents_numbers(which):
    point = made(which)[1].points[0]
    table = captioned(tree(which), DEPTHS)
    heads, rows = [text_of(th) for th in table.iterfind("thead/tr/th")], rows_of(table)
    assert len(rows) == len(point.depths)
    digits = shared_decimals([depth.speedup for depth in point.depths])
    lengths = shared_decimals([depth.accept_length for depth in point.depths])
    for row, depth in zip(rows, point.depths, strict=True):
        assert row[0] == str(depth.depth)
        row = dict(zip(heads, row, strict=True))
        assert row["accept length"] == plus_minus(depth.accept_length, lengths)
        assert row["speedup"] == plus_minus(depth.speedup, digits)
        shown, slack = float(row["speedup"].split()[0]), 0.51 * 10**-digits
        assert shown == pytest.approx(depth.speedup.mean, abs=slack)
        assert row["speedup, exact"] == fixed(depth.speedup.exact, digits)
        assert row["speedup, closed form"] == fixed(depth.speedup.theory, digits)
        verdict = depth.theory_error.verdict if depth.theory_error else "-"
        assert row["closed-form verdict"] == verdict


def test_speedup_and_verdicts_are_the_first_columns():
    """The rest of a table may need to be scrolled to."""
    heads = [text_of(th) for th in captioned(tree("one"), DEPTHS).iterfind("thead/tr/th")]
    assert heads[:4] == ["depth", "speedup", "step verdict", "closed-form verdict"]
    rows = rows_of(captioned(tree("one"), DEPTHS))
    assert max(sum(map(len, row[:4])) for row in rows) <= 40
    assert max(sum(map(len, row)) for row in rows) <= 110  # of a window of 1,100 pixels


def test_advice_is_the_first_section_and_its_depth_is_marked():
    advice, first = EXAMPLES["one"].points[0].advice, next(tree("one").iter("section"))
    assert text_of(first).startswith(f"Advice {advice.sentence} Why: {advice.why}")
    rows = captioned(tree("one"), DEPTHS).findall("tbody/tr")
    marked = [row for row in rows if "marked" in text_of(row)]
    assert [row.get("class") for row in marked] == ["best"]
    assert text_of(marked[0]).startswith("▸marked: 2")


@pytest.mark.parametrize("which", ["one", "deep"])
def test_steps_near_the_advised_depth_stand_beside_the_advice(which):
    point = made(which)[1].points[0]
    steps = len(point.depths) - 1
    few = "Steps near this depth" if steps > 6 else "Steps"
    shown = [row[0] for row in rows_of(captioned(next(tree(which).iter("section")), few))]
    near = range(point.advice.depth - 1, point.advice.depth + 3) if steps > 6 else range(99)
    assert shown == [f"{k - 1} to {k}" for k in range(1, steps + 1) if k in near]


def test_definitions_scenarios_and_inputs_have_the_documents_numbers():
    trial = EXAMPLES["one"].points[0].trial
    rows = {row[0]: row for row in rows_of(captioned(tree("one"), definitions_title(trial)))}
    survival = next(row for row in trial.rows if row.definition == "survival")
    shown = rows["survival used as conditional"][1:]
    for cell, entry in zip(shown, survival.depths, strict=True):
        error = entry.speedup_error
        assert float(cell.split()[0]) == pytest.approx(100 * error.mean, abs=0.051)
        assert cell.split()[1] == error.verdict
    point = made("uncertain")[1].points[0]
    worst = rows_of(captioned(tree("uncertain"), "Each depth in its worst scenario"))
    losses = [100 * depth.regret.mean for depth in point.robust.depths]
    assert [float(row[1]) for row in worst] == pytest.approx(losses, abs=0.0051)
    inputs = rows_of(captioned(tree("uncertain"), "Inputs by value of information"))
    worth = [100 * entry.worth for entry in point.uncertainty.inputs]
    assert [float(row[-1]) for row in inputs] == pytest.approx(worth, abs=0.0051)


def test_each_point_of_a_sweep_has_advice_and_details():
    sweep = EXAMPLES["sweep"]
    table = captioned(tree("sweep"), "Best depth of every point")
    assert [row[-1] for row in rows_of(table)] == [p.advice.sentence for p in sweep.points]
    folded = [text_of(d.find("summary")) for d in tree("sweep").iter("details")]
    assert folded[:3] == [f"noise.cv = {cv}" for cv in ("0", "0.1", "0.4")]
    assert "(noise.cv = 0.4)" in text_of(tree("sweep"))


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")  # control characters have none
def test_input_text_is_escaped():
    result = example_sweep()
    result.experiment["title"] = HOSTILE
    result.warnings = [f"beware of {HOSTILE}"]
    result.provenance = {"seed": 1, "command": ["mtpsim", "run", HOSTILE]}
    for point in result.points:
        point.set = {f"a.{HOSTILE}": HOSTILE}
    text = page(result)
    html5lib.HTMLParser(strict=True).parse(text)
    root = html5lib.parse(text, namespaceHTMLElements=False)
    shown = HOSTILE.replace("\x00\x1b", "\N{REPLACEMENT CHARACTER}" * 2)
    assert text_of(root.find(".//h1")) == shown
    assert f"beware of {shown}" in text_of(root)
    assert not list(root.iter("img"))
    assert [script.text.strip() for script in root.iter("script")] == [SCRIPT_TEXT.strip()]
    assert "{{7*7}}" in text
    assert "49" not in text_of(root.find(".//h1"))


def test_the_experiment_on_the_page_is_the_one_that_was_run():
    (code,) = (
        "".join(box.itertext()).strip()
        for box in tree("uncertain").iter("div")
        if box.get("aria-label") == "experiment.toml"
    )
    experiment, result = simulated("uncertain")
    again = mtpsim.parse(code)
    assert again.raw() == experiment.raw()
    assert result.data.provenance["kernels"] in text_of(tree("uncertain"))


def test_the_same_document_gives_the_same_page():
    times = example_round_times(EXAMPLES["one"])
    assert page(copy.deepcopy(EXAMPLES["one"]), times) == made("one")[0]
    assert page(example_result(seed=2), times) != made("one")[0]


def test_colours_of_figures_are_those_of_the_page():
    file = io.StringIO()
    speedup_figure(EXAMPLES["one"]).savefig(file, format="svg")
    assert set(VARIABLES) & set(re.findall(r"#[0-9a-f]{6}", file.getvalue()))
    drawn = picture("x", speedup_figure(EXAMPLES["one"])).svg
    assert not set(VARIABLES) & set(re.findall(r"#[0-9a-f]{6}", drawn))
    for variable in set(re.findall(r"var\((--[a-z-]+)\)", "".join(made(n)[0] for n in WRITTEN))):
        assert LOOK.count(f"{variable}: ") in (1, 2), variable  # once, or light and dark


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_has_enough_contrast_in_every_colour_scheme():
    """WCAG 2 AA: 4.5 for text, 3 for lines and markers."""
    schemes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", LOOK, re.S)
    ]
    assert len(schemes) == 2
    assert schemes[0].keys() == schemes[1].keys()
    assert "@media screen and (prefers-color-scheme: dark) {" in LOOK  # what is printed is light
    for colors in schemes:
        words = [n for n in colors if n.endswith("-text") and not n.startswith("paper")]
        for word in [*words, "ink", "quiet", "link"]:
            for ground in ("paper", "raised", "chosen"):
                assert contrast(colors[word], colors[ground]) >= 4.5, (word, ground)
        for line in ("blue", "vermilion", "green", "grey", "ink"):
            assert contrast(colors[line], colors["paper"]) >= 3, line
    assert contrast(PALE, "#FFFFFF") < 3


def test_a_page_of_a_thousand_points_is_a_few_megabytes():
    result = example_sweep([n / 1000 for n in range(1000)])
    text = page(result)
    assert len(text.encode()) < 3_000_000
    root = html5lib.parse(text, namespaceHTMLElements=False)
    assert len(rows_of(captioned(root, "Best depth of every point"))) == 1000
    assert "result.csv" in text_of(root)
    assert sum(e.get("class") == "scroll tall" for e in root.iter("div")) == 2


def test_documents_without_optional_sections_have_a_page():
    old = document([example_point()])
    old.points[0].trial = old.points[0].diagnostics = None
    for result in (old, without_numbers(example_result()), without_numbers(example_sweep())):
        text = page(result)
        html5lib.HTMLParser(strict=True).parse(text)
        shown = re.sub(r"<svg.*?</svg>|<style.*?</style>", "", text, flags=re.S)
        assert not re.search(r"\bnan\b|\bNone\b", shown)


def test_a_merged_run_lists_its_seeds():
    result = example_result()
    result.provenance = {"merged": [{"run": "a&b", "seed": 5}, {"run": "c", "seed": 6}]}
    result.complete, result.failures = False, ["a worker died"]
    shown = text_of(html5lib.parse(page(result), namespaceHTMLElements=False))
    assert "a&b, seed 5 c, seed 6" in shown
    assert "interrupted before it was complete" in shown
    assert "Advice Incomplete: the run was interrupted." in shown
    assert "failed: a worker died" in shown
    assert json.dumps(result.provenance["merged"]) not in shown


def test_a_break_even_rate_above_1_is_none():
    result = example_result()
    for depth, rate in enumerate((0.2894, 1.0, 1.45), 1):
        found = result.points[0].depths[depth]
        found.break_even_rate = found.break_even.rate.at = rate
    table = captioned(html5lib.parse(page(result), namespaceHTMLElements=False), BREAK_EVEN)
    heads = [text_of(head) for head in table.findall("thead/tr/th")]
    found = [row[heads.index("break-even p")] for row in rows_of(table)]
    assert found == ["0.289", "1.000", "none"]
    file = io.StringIO()
    render(result, Console(file=file, width=170))
    assert [file.getvalue().count(text) for text in (" none ", "1.450")] == [2, 0]


def run_script(expression):
    """The value of an expression after the page's script, evaluated by Node."""
    code = f"{SCRIPT_TEXT}\nconsole.log(JSON.stringify({expression}))"
    return json.loads(subprocess.run(["node", "-e", code], capture_output=True, check=True).stdout)


needs_node = pytest.mark.skipif(not shutil.which("node"), reason="needs Node")


@needs_node
@pytest.mark.parametrize("name", ["one", "policies", "batch"])
def test_the_what_if_script_computes_the_closed_form(name):
    """At the values it starts from: those of the table, and of the library."""
    panel = next(e for e in tree(name).iter("section") if e.get("id") == "what-if")
    assert "hidden" in panel.attrib  # until the script runs
    starts = json.loads(panel.get("data-inputs"))["points"]
    assert len(starts) == len(made(name)[1].points)
    for start, point in zip(starts, made(name)[1].points, strict=True):
        found = run_script(f"closedForm({json.dumps(start)})")
        theory = [depth.speedup.theory for depth in point.depths]
        assert found["speedup"] == pytest.approx(theory, rel=1e-12)
        inputs = {key: start[key] for key in ("target", "verify", "draft", "rates")}
        answer = mtpsim.quick(**inputs)
        assert found["best"] == answer.depth
        even = found["breakEven"][1:]
        assert [e["rate"] for e in even] == pytest.approx(answer.break_even_rate, rel=1e-9)
        rounds = answer.break_even_round_time
        verify = [e["verify"] + draft for e, draft in zip(even, start["draft"], strict=True)]
        draft = [e["draft"] + verify for e, verify in zip(even, start["verify"], strict=True)]
        assert verify == pytest.approx(rounds, rel=1e-12)
        assert draft == pytest.approx(rounds, rel=1e-12)
        wrong = run_script(f"closedForm({json.dumps(start | {'target': 2 * start['target']})})")
        assert wrong["speedup"][1] != pytest.approx(theory[1], rel=0.1)


@needs_node
def test_the_script_judges_steps_and_sorts_cells():
    limits = json.dumps({"essential": 0.2, "negligible": 0.005})
    for gain in (-0.1, -0.004, 0.004, 0.1, 0.2):
        assert run_script(f"stepVerdict({gain}, {limits})") == step_verdict(gain, gain)
    cells = ["none", "1,234 \u00b13", "-0.5 %, harmful", "\u25b8 2", "+39.6 %", "heuristic"]
    ordered = run_script(f"{json.dumps(cells)}.sort(compareTexts)")
    assert ordered == [cells[n] for n in (2, 3, 4, 1, 5, 0)]


def test_the_legend_of_a_chart_is_below_its_axis():
    """The page cuts the figure, which must not move the legend alone."""
    drawn = next(e for e in tree("one").iter(SVG) if e.get("id") == "picture-speedup")
    words = {text_of(e): e for e in drawn.iter() if str(e.tag).endswith("text")}
    place = {
        word: float(e.get("y") or re.findall(r"[\d.]+", e.get("transform"))[1])
        for word, e in words.items()
    }
    assert place["simulated"] > place["depth (drafts per round)"] > place["2"]
    *_, height = map(float, drawn.get("viewBox").split())
    assert max(place.values()) < height


def test_engine_settings_are_those_of_the_advised_depth():
    section = next(e for e in tree("one").iter("section") if e.get("id") == "engines")
    depth = EXAMPLES["one"].points[0].advice.depth
    shown = [code.text for code in section.iter("code")]
    assert shown == [flags.text for flags in engine_flags(depth)]
    assert len(shown) == 4
    assert all(str(depth) in text for text in shown)
    assert json.loads(shown[0].split("'")[1])["num_speculative_tokens"] == depth
    assert not any(flags.text for flags in engine_flags(0)[:3])


def test_engine_settings_of_a_batch_sweep_are_its_schedule():
    section = next(e for e in tree("batch").iter("section") if e.get("id") == "engines")
    vllm, trtllm = [code.text for code in section.iter("code")]
    (group,) = made("batch")[1].by_batch
    config = json.loads(vllm.split("'")[1])
    ranges = [[step.from_, step.to, step.depth] for step in group.schedule]
    assert config["num_speculative_tokens_per_batch_size"] == ranges
    assert f"    {ranges[0][1]}: {ranges[0][2]}\n" in trtllm
    for_each = group_flags([replace(group, set={"latency.cached": n}) for n in (0, 1000)])
    named = [f"{engine}, cached = {n}" for n in (0, "1000") for engine in ("vLLM", "TensorRT-LLM")]
    assert [flags.engine for flags in for_each] == named
    assert [flags.text for flags in for_each] == 2 * [vllm, trtllm]
    assert group_flags(5 * [group]) == []
    sections = {e.get("id") for e in tree("grid").iter("section")}
    assert len({advised_depth(point) for point in EXAMPLES["grid"].points}) > 1
    assert "engines" not in sections


def test_points_of_a_chart_carry_their_values():
    drawn = next(e for e in tree("one").iter(SVG) if e.get("id") == "picture-speedup")
    circles = [e for e in drawn.iter() if e.get("class") == "value"]
    titles = [circle[0].text for circle in circles]
    speeds = [depth.speedup.mean for depth in EXAMPLES["one"].points[0].depths]
    simulated = [text.split("\n") for text in titles if text.startswith("simulated")]
    assert [float(lines[1].split()[5]) for lines in simulated] == pytest.approx(speeds, rel=1e-3)
    assert simulated[2][2] == "depth (drafts per round): 2"
    _, _, width, height = map(float, drawn.get("viewBox").split())
    for circle in circles:
        assert 0 < float(circle.get("cx")) < width
        assert 0 < float(circle.get("cy")) < height


def test_random_lengths_have_no_closed_form_to_start_from():
    lengths = independent(0.75, 0.7) + linear(6, 0.02, 2) + simulation(requests=100)
    for text, shown in ((lengths + section("draft", lengths=[0.6, 0.2, 0.2]), 0), (lengths, 1)):
        experiment = mtpsim.parse(text)
        result = mtpsim.run(experiment).data
        assert bool(what_if(result, essential=0.05, negligible=0.01)) == shown
        page = render_page(result, experiment, {})
        assert ("with the model&#39;s MTP head: set your drafter" in page) != shown
        assert ("For drafts by the model's own MTP head" in page) == shown
