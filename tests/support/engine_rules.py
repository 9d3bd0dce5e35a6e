"""The published rules once more, in plain Python, from the sources that mtpsim/policy names.

Each has ``depth(hints)``, the drafts of the next round, and ``verified(drafted, accepted, ms)``.
They share no code with the policies: lists, dictionaries and deques instead of arrays.
"""

import math
from collections import deque

SGLANG = {  # ladder and hysteresis down, by the least batch
    1: ([1, 3, 5, 7], -0.25),
    8: ([0, 1, 3], 0.0),
    32: ([0, 1], 0.0),
    64: ([0], 0.0),
}


class SGLangSlot:
    """One range of batches of SGLang's adaptive steps: a ladder and the average of its rounds."""

    def __init__(
        self, ladder, initial=None, alpha=0.2, wait=10, every=5, down=-0.25, up=0.0, cap=0
    ):
        self.ladder, self.alpha, self.wait, self.every = ladder, alpha, wait, every
        self.down, self.up, self.cap, self.rounds = down, up, cap, 0
        self.now = initial if initial in ladder else ladder[len(ladder) // 2]
        self.ema = self.now - 1.0

    def depth(self, hints=()):
        return self.now

    def verified(self, drafted, accepted, ms=0.0):
        if self.now:
            self.ema = (1 - self.alpha) * self.ema + self.alpha * accepted
        self.rounds += 1
        since = self.rounds - self.wait
        if since > 0 and since % self.every == 0:
            self.now = self.next_depth()

    def next_depth(self):
        lower = [k for k in self.ladder if k < self.now]
        upper = [k for k in self.ladder if k > self.now]
        if self.now == 0:  # try the lowest positive depth; it starts from its own average
            if upper and self.ema < 0:
                self.ema = upper[0] - 1.0
            return upper[0] if upper else 0
        chosen = self.now
        for k in reversed(lower):
            if self.ema > max(k - 0.5, 0.5 * (k == 0)) + self.down:
                break
            chosen = k
        if chosen == self.now:
            for k in upper:
                if self.ema <= chosen - 0.5 + self.up:
                    break
                chosen = k
        limit = max(1, math.ceil(self.ema * self.cap))
        if self.cap and limit < chosen <= self.now:
            chosen = max([k for k in self.ladder if k <= limit], default=self.ladder[0])
        return chosen


class SGLang:
    """All slots: a round at a batch belongs to the slot of the greatest least batch up to it."""

    def __init__(self, depth, initial=3):
        self.slots = {
            least: SGLangSlot([k for k in ladder if k <= depth], initial, down=down)
            for least, (ladder, down) in SGLANG.items()
        }

    def slot(self, batch):
        return self.slots[max(least for least in self.slots if least <= batch)]


class HuggingFace:
    """num_assistant_tokens over calls of generate."""

    def __init__(self, schedule, most=10**9, initial=20):
        self.schedule, self.most, self.initial = schedule, most, initial
        self.stored = min(initial, most)
        self.begin()

    def begin(self):
        self.tokens = self.stored

    def end(self):
        if self.schedule == "heuristic":
            self.stored = self.tokens

    def depth(self, hints=()):
        return self.tokens

    def verified(self, drafted, accepted, ms=0.0):
        more = 2 if accepted == drafted else -1
        self.tokens = min(max(1, self.tokens + more), self.most)


class TensorRTGate:
    """Off permanently once the mean of the last requests is below the limit."""

    def __init__(self, depth, window, limit, request_rounds):
        self.on, self.drafts, self.limit, self.length = True, depth, limit, request_rounds
        self.history, self.total, self.window = deque(), 0.0, window
        self.tokens = self.rounds = 0

    def depth(self, hints=()):
        return self.drafts if self.on else 0

    def verified(self, drafted, accepted, ms=0.0):
        self.tokens, self.rounds = self.tokens + accepted + 1, self.rounds + 1
        if not self.on or self.rounds < self.length:
            return
        mean = max(0.0, self.tokens / self.rounds - 1.0)
        self.tokens = self.rounds = 0
        self.history.append(mean)
        self.total += mean
        if len(self.history) > self.window:
            self.total -= self.history.popleft()
        if len(self.history) == self.window:
            self.on = self.total / self.window >= self.limit


class DraftVerify:
    """The threshold of Draft & Verify, adapted after each round."""

    def __init__(self, most, threshold, target=0.9, beta1=0.5, beta2=0.9, step=0.01):
        self.most, self.threshold, self.target = most, threshold, target
        self.beta1, self.beta2, self.step, self.share = beta1, beta2, step, 0.0

    def depth(self, hints):
        below = [j for j, hint in enumerate(hints[: self.most]) if hint < self.threshold]
        return below[0] + 1 if below else self.most

    def verified(self, drafted, accepted, ms=0.0):
        self.share = self.beta1 * self.share + (1 - self.beta1) * (accepted / drafted)
        change = self.step if self.share < self.target else -self.step * (drafted < self.most)
        self.threshold = self.beta2 * self.threshold + (1 - self.beta2) * (self.threshold + change)


class SpecDecPlusPlus:
    """Draft while 1 - P(all drafts but the last are accepted) is at most the limit."""

    def __init__(self, limit, least, most):
        self.limit, self.least, self.most = limit, least, most

    def depth(self, hints):
        for drafts in range(self.least, self.most):
            if 1 - math.prod(hints[: drafts - 1]) > self.limit:
                return drafts
        return self.most

    def verified(self, drafted, accepted, ms=0.0):
        pass


class GoodputManager:
    """The depth of the greatest goodput for accepted over drafted, by position."""

    def __init__(self, times, warm_up=10):
        self.times, self.wait, self.most = times, warm_up, len(times) - 1
        self.drafted, self.accepted = ([0] * self.most for _ in range(2))

    def depth(self, hints=()):
        if self.wait > 0:
            return self.most
        rates = [a / d if d else 0.0 for a, d in zip(self.accepted, self.drafted, strict=True)]
        goodput = [(1 + sum(rates[:k])) / self.times[k] for k in range(self.most + 1)]
        return goodput.index(max(goodput))

    def verified(self, drafted, accepted, ms=0.0):
        self.wait -= 1
        for j in range(drafted):
            self.drafted[j] += 1
            self.accepted[j] += j < accepted


class AdaptiveK:
    """The depth of the greatest goodput for averages of conditional rates, with a cooldown."""

    def __init__(self, times, weight=0.3, prior=0.85, cooldown=2):
        self.times, self.weight, self.cooldown = times, weight, cooldown
        self.rates, self.last, self.held = [prior] * (len(times) - 1), None, 0

    def depth(self, hints=()):
        if self.last is not None and self.held < self.cooldown:
            return self.last
        length = [
            1 + sum(math.prod(self.rates[:i]) for i in range(1, k + 1)) for k in self.depths()
        ]
        goodput = [n / t for n, t in zip(length, self.times, strict=True)]
        return goodput.index(max(goodput))

    def depths(self):
        return range(len(self.times))

    def verified(self, drafted, accepted, ms=0.0):
        self.held = self.held + 1 if drafted == self.last else 1
        self.last = drafted
        for j in range(min(accepted + 1, drafted)):
            old = self.rates[j]
            self.rates[j] = (1 - self.weight) * old + self.weight * (j < accepted)


class Ucb:
    """UCB1 on tokens per ms relative to plain decoding; the deepest arms first."""

    def __init__(self, times, width=0.5):
        self.plain, self.width = times[0], width
        self.rewards = {k: [] for k in range(1, len(times))}

    def depth(self, hints=()):
        new = [k for k, rewards in self.rewards.items() if not rewards]
        if new:
            return max(new)
        rounds = sum(map(len, self.rewards.values()))
        index = {
            k: math.fsum(r) / len(r) + self.width * math.sqrt(2 * math.log(rounds) / len(r))
            for k, r in self.rewards.items()
        }
        return max(index, key=index.get)

    def verified(self, drafted, accepted, ms):
        self.rewards[drafted].append((accepted + 1) / ms * self.plain)
