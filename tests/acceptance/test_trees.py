"""Trees of drafts: the walk, Sequoia's dynamic program, costs, the fastest shape by batch."""

import numpy as np
import pytest
from matplotlib.text import Text

import mtpsim
from mtpsim.acceptance import Independent, Ranks
from mtpsim.acceptance.trees import Tree, Weights, best_first, chain_tree, topk_tree
from mtpsim.engine.simulate import compile_point, simulate_requests
from mtpsim.exact.chain_solver import solve
from mtpsim.report.experiment_text import explain
from mtpsim.report.figures.tree import places
from mtpsim.report.html.page import sections
from mtpsim.results.shapes import shapes_of
from tests.support import mechanisms
from tests.support.examples import acceptance, independent, linear, problem_of, section, simulation
from tests.support.mechanisms import LIMIT, agrees, by_request

TABLE = [[0.6, 0.2, 0.1], [0.5, 0.25, 0.05], [0.55, 0.1, 0.1]]
EXPLICIT = [0, 0, 1, 1, 2, 3, 0, 3]
RANKS = acceptance("ranks", rates=TABLE)
TREE = section("draft", tree=EXPLICIT)
FEW = simulation(rounds=30, requests=200)
STATES = [
    {"rates": TABLE, "sojourn": 10},
    {"first": [0.3, 0.2, 0.2], "power": 0.1, "sojourn": 4, "slowdown": 1.5},
]


def ranks(**keys):
    return Ranks(model="ranks", **keys)


def law(seed, levels=3, width=4):
    """A random table of rates that fall with the rank."""
    rates = np.random.default_rng(seed).dirichlet(np.ones(width + 1), levels)[:, :width]
    return -np.sort(-rates, axis=1)


def weights(rates):
    return Weights(np.asarray(rates)[None], np.ones(1))


def test_law_of_ranks_by_hand():
    (table,) = ranks(first=[0.6, 0.5], power=1.0, width=3).chain().candidates
    assert table == pytest.approx(np.array([[0.6, 0.2, 0.4 / 6], [0.5, 0.25, 0.5 / 6]]))


@pytest.mark.parametrize(
    "draft", ["", section("draft", tree="chain"), section("draft", tree=[0, 1])]
)
def test_one_candidate_is_independent_to_the_last_bit(draft):
    rates = [0.8, 0.7] if "[0, 1]" in draft else [0.8, 0.7, 0.6]
    one = acceptance("ranks", first=[0.8, 0.7, 0.6]) + draft + linear(20, 0.1, 1.0) + FEW
    other = independent(*rates) + linear(20, 0.1, 1.0) + FEW
    rows = [
        simulate_requests(compile_point(mtpsim.parse(text)).plan, 0, 200) for text in (one, other)
    ]
    assert np.array_equal(*rows)


@pytest.mark.parametrize(
    "tree",
    [
        Tree(tuple(EXPLICIT)),
        best_first(weights(TABLE), 9, 3),
        topk_tree(weights(TABLE), steps=3, topk=2, nodes=7),
        chain_tree(3),
    ],
    ids=["explicit", "best_first", "topk", "chain"],
)
def test_levels_of_a_tree_match_the_walk(tree):
    chain = tree.applied(ranks(rates=TABLE).chain())
    rng = np.random.default_rng(5)
    assert agrees(mechanisms.tree_walk(rng, tree.parents, TABLE, 40_000), chain)
    second_first = [[row[1], row[0], *row[2:]] for row in TABLE]
    assert not agrees(mechanisms.tree_walk(rng, tree.parents, second_first, 40_000), chain)
    assert Weights.of(ranks(rates=TABLE).chain()).accept_length(tree) == pytest.approx(
        solve(chain, tree.depth).accept_length, rel=1e-12
    )


def test_tree_over_hidden_states_matches_the_walk():
    model, tree = ranks(states=STATES), Tree(tuple(EXPLICIT))
    chain, rng = model.chain(), np.random.default_rng(6)
    requests = []
    for _ in range(400):
        state, counts = int(rng.random() >= chain.start[0]), []
        for _ in range(40):
            counts += mechanisms.tree_walk(rng, EXPLICIT, chain.candidates[state], 1)
            state = 1 - state if rng.random() < 1 / STATES[state]["sojourn"] else state
        requests.append(counts)
    assert (by_request(requests, tree.applied(chain)) < LIMIT).all()
    assert (by_request(requests, tree.applied(ranks(rates=TABLE).chain())) > LIMIT).any()


@pytest.mark.parametrize("seed", range(6))
def test_best_first_equals_the_dynamic_program_of_sequoia(seed):
    rates = law(seed)
    for levels, nodes in ((1, 3), (2, 5), (2, 12), (3, 4), (3, 17)):
        tree = best_first(weights(rates), nodes, levels)
        assert (tree.nodes, tree.depth <= levels) == (nodes, True)
        best = mechanisms.sequoia(rates[:levels], nodes)
        assert weights(rates).accept_length(tree) == pytest.approx(best, rel=1e-12)
    wide = weights(rates).accept_length(topk_tree(weights(rates), steps=3, topk=4, nodes=4))
    narrow = weights(rates).accept_length(topk_tree(weights(rates), steps=3, topk=2, nodes=4))
    assert narrow <= wide == pytest.approx(mechanisms.sequoia(rates, 4), rel=1e-12)


def test_tree_of_eagle_by_hand():
    rates = [[0.5, 0.3, 0.1], [0.6, 0.2, 0.1]]
    tree = topk_tree(weights(rates), steps=2, topk=2, nodes=4)  # 0.5, 0.3, 0.3, 0.18; not 0.1
    assert tree.parents == (0, 0, 1, 2)
    assert topk_tree(weights(rates), steps=2, topk=1, nodes=2) == chain_tree(2)


def test_times_count_the_nodes_of_each_level():
    text = RANKS + TREE + linear(20, 0.5, 1.0) + "batch = 4\ndraft_per_request = 0.25\n"
    verify, draft = mtpsim.parse(text).step_times()
    assert verify == pytest.approx(20 + 0.5 * 4 * np.array([1, 4, 7, 9]))
    assert draft == pytest.approx([0, 1 + 3, 2 + 6, 3 + 8])


def test_run_agrees_with_the_exact_answer_and_keeps_its_tree():
    text = acceptance("ranks", states=STATES) + TREE + linear(20, 0.5, 1.0) + FEW
    result = mtpsim.run(mtpsim.parse(text))
    for depth in result.data.points[0].depths[1:]:
        error = depth.speedup.high - depth.speedup.mean
        assert abs(depth.speedup.mean - depth.speedup.exact) < LIMIT / 1.96 * error
    assert result.document["points"][0]["tree"]["parents"] == EXPLICIT
    assert type(result).of(result.document).data.shapes == result.data.shapes
    assert result.plot("tree").axes
    assert (
        "shapes"
        not in mtpsim.run(mtpsim.parse(independent(0.8) + linear(20, 0.5, 1) + FEW)).document
    )


@pytest.mark.parametrize(
    ("tree", "batch", "kind"), [([0, 1, 2], 1, "tree"), (EXPLICIT, 120, "chain")]
)
def test_advice_names_the_faster_shape_of_the_table(tree, batch, kind):
    times = linear(20, 0.1, 1.0) + f"batch = {batch}\n"
    result = mtpsim.run(mtpsim.parse(RANKS + section("draft", tree=tree) + times + FEW))
    advice = result.data.points[0].advice
    fastest = shapes_of(mtpsim.parse(RANKS + section("draft", tree=tree) + times))
    expected = next((s for s in fastest.by_batch if s.batch == batch), advice.faster_shape)
    assert advice.faster_shape == expected
    assert expected.kind == kind
    assert expected.speedup > result.depth(advice.depth).speedup.exact
    assert advice.sentence.endswith(f"at a batch of {batch}: {expected.speedup:.3f}x (exact).")
    parents = (0, 1, 2)[: expected.nodes] if kind == "chain" else None
    parents = parents or best_first(weights(TABLE), expected.nodes, 3).parents
    best = mtpsim.run(mtpsim.parse(RANKS + section("draft", tree=list(parents)) + times + FEW))
    assert best.data.points[0].advice.faster_shape is None  # negative control: it is the fastest
    assert best.depth(Tree(parents).depth).speedup.exact == pytest.approx(expected.speedup)


def test_page_and_picture_of_a_sweep_name_the_faster_shapes():
    sweep = '[sweep]\n"latency.batch" = [1, 120]\n'
    times = linear(20, 0.1, 1.0)
    for draft, faster in ((TREE, True), ("", False)):
        result = mtpsim.run(mtpsim.parse(RANKS + draft + times + FEW + sweep))
        text = " ".join(sections(result.data, {})[0].text)
        notes = " ".join(one.get_text() for one in result.plot("batch").findobj(Text))
        whys = [point.advice.why for point in result.data.points]
        assert any("All other depths of this tree are slower" in why for why in whys) == faster
        assert ("Fastest: a tree" in text) == faster
        assert ("Other shapes of drafts are faster" in " ".join(notes.split())) == faster


def test_headings_are_of_every_shape_of_a_sweep():
    sweep = f'[sweep]\ndraft = [{{ tree = "chain" }}, {{ tree = {EXPLICIT} }}]\n'
    text = RANKS + linear(20, 0.1, 1.0) + FEW + sweep
    result = mtpsim.run(mtpsim.parse(text + '"latency.batch" = [1, 120]\n'))
    trees = [point.tree for point in result.data.points if point.set["latency.batch"] == 1]
    low, high = sorted(tree.accept_length for tree in trees)
    titles = [one.get_text() for one in result.plot("tree").findobj(Text)]
    assert f"Tokens per round: {low:.2f} to {high:.2f}, by shape" in titles
    assert {f"A chain of 3 drafts: {low:.2f}", f"A tree of 8 nodes: {high:.2f}"} <= {*titles}
    texts = [" ".join(one.get_text().split()) for one in result.plot("batch").findobj(Text)]
    assert any(one.startswith("Fastest: a tree up to a batch of") for one in texts)


def speedup(tree, batch):
    """Exact speedup of a whole tree, by the definition."""
    times = linear(20, 0.5, 1.0) + f"batch = {batch}\n"
    experiment = mtpsim.parse(RANKS + section("draft", tree=list(tree)) + times)
    verify, draft = experiment.step_times()
    length = Weights.of(experiment.acceptance.chain()).accept_length(Tree(tuple(tree)))
    return length * verify[0] / (verify[-1] + draft[-1])


def random_tree(rng):
    while True:
        tree = Tree(tuple(int(rng.integers(0, node + 1)) for node in range(rng.integers(1, 9))))
        if tree.depth <= 3 and tree.widest <= 3:
            return tree


def test_no_tree_beats_the_fastest_shape():
    shapes = shapes_of(mtpsim.parse(RANKS + TREE + linear(20, 0.5, 1.0)))
    rng = np.random.default_rng(7)
    trees = [random_tree(rng).parents for _ in range(100)]
    for shape in (shapes.by_batch[n] for n in (0, 2, 4, 6)):
        assert max(speedup(tree, shape.batch) for tree in trees) <= shape.speedup * (1 + 1e-12)
        chains = [speedup(range(depth), shape.batch) for depth in (1, 2, 3)]
        assert shape.chain_speedup == pytest.approx(max(chains), rel=1e-12)
    assert [entry.kind for entry in shapes.ranges] == ["tree", "chain", "off"]
    tree, chain, off = shapes.ranges
    assert (chain.from_, off.from_, off.to) == (tree.to + 1, chain.to + 1, 1024)
    ends = [
        max(speedup(range(depth), batch) for depth in (1, 2, 3)) for batch in (chain.to, off.from_)
    ]
    assert ends[0] > 1 >= ends[1]


def test_leaves_of_a_drawing_are_one_apart():
    assert places(Tree((0, 0, 1, 1))).tolist() == [1.25, 0.5, 2.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RANKS + section("draft", tree="best_first"), 'draft.nodes: is required with tree = "best'),
        (
            RANKS + section("draft", tree="chain", topk=2),
            'draft.topk: is not a key of tree = "chain"',
        ),
        (
            RANKS + section("draft", tree=[0, 2]),
            "draft.tree: node 2 has parent 2; a parent must be",
        ),
        (RANKS + section("draft", tree=[0, 1, 2, 3]), "draft.tree: 4 levels of up to 1 children"),
        (RANKS + section("draft", tree="sequoya", nodes=3), "did you mean 'sequoia'?"),
        (RANKS + section("draft", tree="topk", topk=4, nodes=3), "has 3 candidates per position"),
        (
            RANKS + section("draft", steps=4),
            "draft.steps: 4 is given, but the acceptance model has",
        ),
        (RANKS + section("draft", tree="sequoia", nodes=99), "the greatest such tree has 39"),
        (independent(0.8) + section("draft", tree=[0, 0]), 'acceptance.model = "ranks"'),
        (
            acceptance("ranks", rates=[[0.6, 0.5]]),
            "acceptance.rates: position 1 sums to 1.1, above 1",
        ),
        (acceptance("ranks", rates=[[0.2, 0.5]]), "candidate 2 of position 1 has rate 0.5, above"),
        (acceptance("ranks", first=0.5), "acceptance.depth: `depth` is the number of positions"),
        (acceptance("ranks", first=[0.5], rates=[[0.5]]), "give only one of rates, first"),
        (acceptance("ranks", states=STATES[:1]), "acceptance.states: one state is given"),
    ],
)
def test_errors(text, message):
    assert message in problem_of(text + linear(20, 0.5, 1.0))


def test_recorded_requests_keep_their_depth():
    trace = 'acceptance = { model = "trace", file = "experiments/logs/chat.jsonl.zst" }\n'
    steps = section("draft", tree="chain", steps=1)
    assert "draft.steps: recorded requests are replayed at" in problem_of(
        trace + steps + linear(20, 0.5, 1.0)
    )


def test_mixture_of_ranks_keeps_the_candidates():
    parts = [
        {"weight": 1, "of": {"model": "ranks", "rates": TABLE}},
        {"weight": 3, "of": {"model": "ranks", "first": [0.9, 0.9, 0.9]}},
    ]
    experiment = mtpsim.parse(acceptance("mixture", parts=parts) + TREE + linear(20, 0.5, 1.0))
    first, second = experiment.source.survival
    assert first == pytest.approx(
        Tree(tuple(EXPLICIT)).applied(ranks(rates=TABLE).chain()).survival[0]
    )
    assert second == pytest.approx(
        Independent(model="independent", rates=[0.9] * 3).chain().survival[0]
    )


def test_progress_and_check_name_a_swept_shape():
    found = []
    sweep = f'[sweep]\ndraft = [{{ tree = "chain" }}, {{ tree = {EXPLICIT} }}]\n'
    experiment = mtpsim.parse(RANKS + linear(20, 0.5, 1.0) + FEW + sweep)
    mtpsim.run(experiment, on_progress=found.append)
    assert {p.label for p in found} == {"1/2: draft = chain", f"2/2: draft = {EXPLICIT} tree"}
    assert f"sweep over draft: chain, {EXPLICIT} tree" in explain(experiment)
