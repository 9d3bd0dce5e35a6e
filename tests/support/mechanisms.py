"""Direct simulation of the mechanism of each acceptance model, without a chain."""

import numpy as np
from scipy.special import ndtri

from mtpsim.exact.chain_solver import solve

LIMIT = 4.5  # standard errors; with about 150 comparisons a false alarm in one run of 1,000


def reached(counts, depth):
    return np.array([(np.asarray(counts) >= j).mean() for j in range(1, depth + 1)])


def agrees(counts, chain, depth=None, **horizon):
    """Whether survival of simulated independent rounds agrees with the solved chain."""
    depth = depth or chain.depth
    exact = solve(chain, depth, **horizon)
    truth = np.cumsum(exact.accepted[::-1])[::-1][1:]
    error = np.sqrt(np.maximum(truth * (1 - truth), 1e-12) / len(counts))
    return (np.abs(reached(counts, depth) - truth) <= LIMIT * error + 1e-9).all()


def by_request(requests, chain, depth=None, **horizon):
    """The same for dependent rounds: z-scores over requests."""
    depth = depth or chain.depth
    exact = solve(chain, depth, **horizon)
    truth = np.cumsum(exact.accepted[::-1])[::-1][1:]
    means = np.array([reached(counts, depth) for counts in requests])
    error = means.std(0, ddof=1) / np.sqrt(len(means))
    return np.abs(means.mean(0) - truth) / error


def count_until_rejection(good):
    """Accepted drafts of rounds whose drafts would be accepted where ``good`` ``[n, K]``."""
    return np.cumprod(good, axis=1).sum(1)


def copula(rng, rates, correlation, rounds):
    """Rounds of drafts that share joint normal scores."""
    scores = rng.multivariate_normal(np.zeros(len(rates)), correlation, rounds)
    return count_until_rejection(scores <= ndtri(rates))


def comonotone(rng, rates, rounds):
    """One uniform number decides all drafts of a round."""
    return count_until_rejection(rng.random((rounds, 1)) < np.array(rates))


def countermonotone(rng, rates, rounds):
    """Rejections occupy disjoint arcs of a circle as long as they fit."""
    u, edge = rng.random(rounds), 0.0
    good = np.empty((rounds, len(rates)), bool)
    for j, rate in enumerate(rates):
        good[:, j] = (u - edge) % 1 >= 1 - rate
        edge += 1 - rate
    return count_until_rejection(good)


def contagion(rng, rates, drop, duration, rounds, clock):
    """One request: a flag that is set by a rejection and cleared at random."""
    impaired, counts = False, []
    for _ in range(rounds):
        accepted, rejected = 0, False
        while accepted < len(rates):
            rate = rates[accepted] * (1 - drop if impaired else 1)
            if rng.random() >= rate:
                rejected = True
                break
            accepted += 1
            if clock == "token":
                impaired = impaired and rng.random() >= 1 / duration
        counts.append(accepted)
        # The tick that ends the round: its rejection, or the bonus token or the round as a whole.
        impaired = rejected or (impaired and rng.random() >= 1 / duration)
    return counts


def difficulty(rng, intercepts, sd, length, rounds, clock, link):
    """One request: a Gaussian AR(1) difficulty, not discretized."""
    rho = np.exp(-1 / length)
    state, counts = rng.normal(0, sd), []

    def drift(now):
        return rho * now + np.sqrt(1 - rho**2) * rng.normal(0, sd)

    for _ in range(rounds):
        accepted = 0
        while accepted < len(intercepts):
            if rng.random() >= link(intercepts[accepted] - state):
                break
            accepted += 1
            if clock == "token":
                state = drift(state)
        counts.append(accepted)
        state = drift(state)
    return counts


def drift(rng, rates, change, over, segments, tokens):
    """One request: logits of the rates move when the text passes the end of a segment."""
    ends = np.cumsum(rng.geometric((segments - 1) / over, segments - 1))
    logits, at, counts = np.log(np.array(rates) / (1 - np.array(rates))), 0, []
    while at < tokens:
        accepted = 0
        while accepted < len(rates):
            moved = change * (ends <= at).sum() / (segments - 1)
            if rng.random() >= 1 / (1 + np.exp(-logits[accepted] - moved)):
                break
            accepted, at = accepted + 1, at + 1
        counts.append(accepted)
        at += 1
    return counts


def speculative_sampling(rng, target, drafts, tokens):
    """Leviathan et al. 2023, algorithm 1: draft, accept or draw from the residual, add a bonus.

    Args:
        rng: random numbers.
        target: ``[V, V]`` p(next | letter).
        drafts: ``[K, V, V]`` what the draft proposes at each position.
        tokens: letters to emit.

    Returns:
        The emitted text, and accepted drafts by round.
    """
    letters = np.arange(len(target))
    text, counts = [0], []
    while len(text) <= tokens:
        x, accepted = text[-1], 0
        for q in drafts:
            y = rng.choice(letters, p=q[x])
            if rng.random() >= min(1.0, target[x, y] / q[x, y]):
                residual = np.maximum(target[x] - q[x], 0)
                text.append(rng.choice(letters, p=residual / residual.sum()))
                break
            text.append(y)
            x, accepted = y, accepted + 1
        else:
            text.append(rng.choice(letters, p=target[x]))
        counts.append(accepted)
    return np.array(text), np.array(counts)


def tree_walk(rng, parents, rates, rounds):
    """Rounds that walk a tree: one uniform number at each node decides which child is accepted.

    Args:
        rng: random numbers.
        parents: parent of nodes 1..n; 0 is the root.
        rates: ``[K, W]`` probability of the b-th child by level.
        rounds: number of rounds.

    Returns:
        Accepted drafts by round.
    """
    counts = []
    for _ in range(rounds):
        node, level, u = 0, 0, rng.random()
        while True:
            children = [child for child, parent in enumerate(parents, 1) if parent == node]
            for child, rate in zip(children, rates[level] if children else [], strict=False):
                if u < rate:
                    node, level, u = child, level + 1, rng.random()
                    break
                u -= rate
            else:
                break
        counts.append(level)
    return counts


def sequoia(rates, nodes):
    """Greatest expected tokens of a tree by Sequoia's dynamic program (Chen et al. 2024, eq. 1).

    Args:
        rates: ``[K, W]`` probability of the b-th child by level.
        nodes: drafted nodes.

    Returns:
        Expected accept length of the best tree with exactly so many nodes, and K levels at most.
    """
    below = [1.0] + [-np.inf] * nodes  # value of a node with m descendants, at the deepest level
    for row in reversed(rates):
        values = [1.0] + [-np.inf] * nodes
        split = values.copy()  # with the first b children only
        for rate in row:
            split = [
                max((split[m - y] + rate * below[y - 1] for y in range(1, m + 1)), default=-np.inf)
                for m in range(nodes + 1)
            ]
            values = np.maximum(values, split).tolist()
        below = values
    return below[nodes]
