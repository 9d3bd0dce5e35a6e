"""A slow server: one object per request, one list entry per step, everything summed at the end."""

from dataclasses import dataclass, field
from itertools import count

import numpy as np

from mtpsim.kernels.step_costs import step_ms, verify_ms
from mtpsim.policy.base import BatchOutcome, Environment, RoundContext, RoundOutcome
from tests.support.scalar_reference import PATH, VERIFY, read, word

LENGTHS, SERVER, STALE, RESUMED = 4, 2**32 - 1, 3, 7
MOST_STEPS = 100_000  # a test of a faulty server fails, and does not hang


def signed(address, tick, purpose):
    return np.array([word(address, tick, purpose)], np.uint32).view(np.int32)


@dataclass
class Request:
    number: int
    address: int
    prompt: int
    output: int
    clipped: bool
    arrived: float
    waits_since: float
    emitted: int = 0
    todo: int = 0
    tick: int = 0
    weights: object = None
    since: int = 0  # step in which it began to decode
    bursts: list = field(default_factory=list)  # times at which tokens came
    rounds: list = field(default_factory=list)  # accepted drafts

    @property
    def held(self):
        return self.prompt + self.emitted


class Policy:
    """A rule for the depth of a batch; a fixed depth is the simplest one.

    Args:
        spec: the policy.
        parameters: ``p`` of its rule by the number of requests.
        depth: greatest depth.
    """

    def __init__(self, spec, parameters, depth):
        self.spec, self.parameters, self.depth = spec, parameters, depth
        self.rule, self.memories, self.before = spec.batch_functions(), {}, 0

    def choose(self, requests):
        self.p = self.parameters(requests)
        key = tuple(self.p) if self.spec.learns_from == "mean" else ()
        if key not in self.memories:
            self.memories[key] = np.zeros(200)
            self.rule.start(self.p, self.memories[key][: self.size(requests)])
        self.m = self.memories[key][: self.size(requests)]
        self.before = self.rule.choose(self.p, self.m, RoundContext(0, self.before, 0), None)
        return self.before

    def size(self, requests):
        return max(
            self.spec.memory_size(Environment(np.ones(self.depth + 1), np.ones(self.depth))), 1
        )

    def learn(self, drafts, accepted, finished, ms):
        """From a step: drafts and accepted ones by request, rounds of requests that finish."""
        if self.spec.learns_from == "mean":
            self.outcome(np.mean(accepted), ms)
        elif self.spec.learns_from == "finished":
            for rounds in filter(None, finished):
                self.outcome(np.mean(rounds), ms)
        elif self.spec.learns_from == "pooled":
            verified = [min(a + 1, k) for a, k in zip(accepted, drafts, strict=True)]
            counts = [
                np.bincount(x, minlength=self.depth + 1) for x in (drafts, verified, accepted)
            ]
            self.rule.learn(self.p, self.m, self.before, BatchOutcome(*counts))

    def outcome(self, accepted, ms):
        outcome = RoundOutcome(self.before, accepted, self.before, accepted, ms)
        self.rule.learn(self.p, self.m, outcome)


@dataclass
class Step:
    begin: float
    end: float
    running: int
    decoding: int
    kv: int
    drafted: int
    verified: int
    missed: int
    accepted: int
    deepest: int
    prefilled: int
    emitted: int


class Server:
    """One replication under one arm.

    Args:
        plan: a compiled server, for its costs and limits.
        source: chain, or recording.
        serving: the section of the experiment.
        tables: quantile tables of gap, prompt, output and noise.
        replication: number of the replication.
        policy: chooses the depth.
        speculates: as of the arm.
    """

    def __init__(self, plan, source, serving, tables, replication, policy, speculates):
        self.plan, self.source, self.serving, self.tables = plan, source, serving, tables
        self.replication, self.policy, self.speculates = replication, policy, speculates
        self.engine, self.now, self.depth = plan.engine, 0.0, 0
        self.nodes = plan.engine.nodes.tolist()
        self.depths = {}  # by step in which a request decodes
        self.running, self.preempted, self.queue, self.done = [], [], [], []
        self.steps, self.arrivals, self.waits, self.preemptions = [], [], [], []
        self.offered = self.promised()

    def address(self, number):
        return self.replication << 32 | number

    def promised(self):
        """Times of the arrivals that do not depend on the server."""
        arrivals, at = self.serving.arrivals, 0.0
        if arrivals.kind == "trace":
            yield from arrivals.requests.arrival_ms
        elif arrivals.kind == "rate":
            for number in count():
                gap = self.tables["gap"].lookup(signed(self.address(number), 0, LENGTHS))[0]
                at += 1000.0 / arrivals.rate * gap
                yield at
        else:
            yield from [0.0] * (arrivals.closed or arrivals.burst)

    def lengths(self, number):
        address, pairs = self.address(number), self.plan.load.pairs
        if len(pairs):
            chosen = word(address, 3, LENGTHS) * len(pairs) >> 32
            return pairs[number if self.serving.arrivals.kind == "trace" else chosen].tolist()
        found = []
        for place, name in enumerate(("prompt", "output")):
            q = self.tables[name].lookup(signed(address, 1 + place, LENGTHS))[0]
            found.append(
                int(max(self.plan.load.scale[place] * q + self.plan.load.offset[place], 1))
            )
        return found

    def recorded(self, address):
        """Where the recorded request begins and ends that a request plays."""
        chosen = word(address, 0, PATH) * self.source.requests >> 32
        if self.source.in_order:
            number = self.replication * self.engine.requests + address % 2**32
            chosen = number % self.source.requests
        return self.source.offsets[chosen : chosen + 2]

    def arrive(self, time):
        number, address = len(self.arrivals), self.address(len(self.arrivals))
        prompt, output = self.lengths(number)
        if self.plan.load.recorded_output:
            first, end = self.recorded(address)
            output = end - first
        fits = min(prompt, self.engine.kv_tokens - 1)
        cut = min(output, self.engine.kv_tokens - fits)
        clipped = (fits, cut) != (prompt, output)
        request = Request(number, address, fits, cut, clipped, time, time, todo=fits)
        request.weights = getattr(self.source, "start", None)
        self.arrivals.append((time, len(self.queue) + len(self.preempted)))
        self.queue.append(request)

    def not_lost(self, request, depth):
        """Drafts of a round before the first that is lost because there were steps at depth 0."""
        step, engine = len(self.steps), self.engine
        before = [self.depths[at] for at in range(request.since, step)]
        if 0 not in before:
            return depth
        if before[-1] == 0 and word(request.address, request.tick, STALE) < engine.stale * 2**32:
            return 0
        u, loss = word(request.address, request.tick, RESUMED) / 2**32, engine.resumed
        return sum(u < (1 - loss) ** (j + 1) for j in range(depth))

    def change_ms(self, decoding, drafts):
        """What a change of the depth adds to the step."""
        step, earlier = len(self.steps), [at for at in self.depths if at < len(self.steps)]
        if not decoding or not earlier:
            return 0.0
        before = self.depths[max(earlier)]
        extra = self.engine.switch_cost * (before != self.depth)
        gaps = before == 0 and any(
            k and r.since < step for r, k in zip(decoding, drafts, strict=True)
        )
        return extra + self.engine.catch_up * gaps

    def verify(self, request, depth):
        """Accepted drafts of a round of the request."""
        most = self.not_lost(request, depth) if depth else 0
        if request.weights is None:
            first, end = self.recorded(request.address)
            entry = self.source.accepted[first + request.tick % (end - first)]
            accepted = min(int(entry), most)
            request.tick += accepted + 1 if self.source.clock == "token" else 1
            return accepted
        chain, accepted = self.source, 0
        state, drafts = self.look(request)
        if chain.clock == "round":
            accepted = min(sum(drafts[:depth]), most)
        else:
            while accepted < most and drafts[accepted]:
                accepted += 1
                request.weights = chain.step[-1][state]
                state, drafts = self.look(request)
        request.weights = chain.step[-1 if accepted == depth else 0][state]
        return accepted

    def look(self, request):
        found = read(self.source, word(request.address, request.tick, PATH), request.weights)
        request.tick += 1
        return found

    def kept(self, request):
        first = self.engine.warm_up
        return first <= request.number < first + self.engine.requests

    def run(self):
        self.next = next(self.offered, np.inf)
        self.take_arrivals(0.0)
        last = self.engine.warm_up + self.engine.requests
        closes = not self.serving.drains
        while sum(map(self.kept, self.done)) < self.engine.requests or (
            closes and len(self.arrivals) <= last
        ):
            if not (self.running or self.preempted or self.queue):
                self.now = self.next
                self.take_arrivals(self.now)
            self.step()
            assert len(self.steps) < MOST_STEPS
        return self

    def take_arrivals(self, until):
        while self.next <= until:
            self.arrive(self.next)
            self.next = next(self.offered, np.inf)

    def step(self):
        preempted = self.preempt()
        decoding = [request for request in self.running if request.todo == 0]
        if decoding:
            self.depth = self.depths[len(self.steps)] = self.policy.choose(len(decoding))
        held = sum(request.held for request in self.running)
        spare = min(self.engine.max_tokens - len(decoding), self.engine.kv_tokens - held)
        context = sum(request.held - 1 for request in decoding)
        drafts = []
        for request in decoding:
            most = min(self.depth, request.output - request.emitted - 1, self.proposed(request))
            drafts.append(max(k for k in range(most + 1) if self.nodes[k] <= spare))
            spare -= self.nodes[drafts[-1]]
        slow = np.mean([self.slowdown(request) for request in decoding]) if decoding else 1.0
        drafted = sum(self.nodes[k] for k in drafts)
        left = self.engine.max_tokens - len(decoding) - drafted
        chunks = self.prefill(left, self.engine.kv_tokens - held - drafted, preempted)
        verified, wanted = drafts, None
        if decoding and self.policy.spec.shares_budget:
            step = decoding, drafts, chunks, context
            verified, wanted = self.policy.verified(self, step)
        accepted = [self.verify(r, k) for r, k in zip(decoding, verified, strict=True)]
        missed = sum(wanted) - sum(accepted) if wanted else 0
        tokens = sum(verified) if wanted else drafted
        ms = self.mean_time(decoding, drafts, tokens, chunks, context) * self.noise() * slow
        ms += self.change_ms(decoding, drafts)
        end, running = self.now + ms, len(self.running)
        kv = sum(request.held for request in self.running) + drafted
        self.take_arrivals(end)
        for request, a in zip(decoding, accepted, strict=True):
            request.rounds.append(a)
            request.emitted += a + 1
            assert request.emitted <= request.output  # else it would never end
            request.bursts.append(end)
        if decoding:
            finished = [r.rounds for r in decoding if r.emitted == r.output]
            self.policy.learn(drafts, accepted, finished, ms)
        emitted = sum(accepted) + len(decoding) + self.complete(chunks, end)
        prefilled = sum(size for _, size in chunks)
        self.steps.append(
            Step(
                self.now, end, running, len(decoding), kv, drafted, tokens,
                missed, sum(accepted), max(drafts, default=0), prefilled, emitted,
            )
        )  # fmt: skip
        ended = [request for request in self.running if request.emitted == request.output]
        self.running = [request for request in self.running if request not in ended]
        self.done += ended
        self.now = end
        if self.serving.arrivals.kind == "closed":
            for _ in ended:
                self.arrive(end)

    def preempt(self):
        """Preempt the youngest while the others' next tokens do not fit; whether there was any."""
        before = len(self.preemptions)
        while sum(request.held for request in self.running) > self.engine.kv_tokens:
            victim = self.running.pop()
            self.preemptions.append((self.now, victim.held - (victim.todo or 1)))
            victim.todo, victim.waits_since = victim.held, self.now
            self.preempted.append(victim)
        return len(self.preemptions) > before

    def prefill(self, left, free, preempted):
        """Requests and the tokens of their chunks; admits those that fit."""
        chunks = []
        for request in self.running:
            if request.todo and left:
                chunks.append((request, min(left, request.todo)))
                left -= chunks[-1][1]
        while not preempted and left and len(self.running) < self.engine.max_requests:
            line = self.preempted or self.queue
            if not line:
                break
            request = line[-1 if self.preempted else 0]
            more = min(self.depth, request.output - request.emitted - 1)
            if request.held + 1 + self.nodes[more] > free:
                break
            line.remove(request)
            self.waits.append((request.waits_since, self.now))
            self.running.append(request)
            free -= request.held
            chunks.append((request, min(left, request.todo)))
            left -= chunks[-1][1]
        return chunks

    def mean_time(self, decoding, drafts, verified, chunks, context):
        more_reads = context * (verified / len(decoding)) if decoding else 0.0
        context += sum(request.held - request.todo for request, _ in chunks)
        tokens = len(decoding) + verified + sum(size for _, size in chunks)
        costs, batch = self.plan.costs, len(decoding) + len(chunks)
        verify = verify_ms(costs, tokens, batch, float(context), context + more_reads)
        deepest = max(drafts, default=0)
        return step_ms(costs, deepest, len(decoding), self.speculates, verify)

    def complete(self, chunks, end):
        """Number of requests whose prefill is complete: each gives a token."""
        completed = 0
        for request, size in chunks:
            request.todo -= size
            if request.todo == 0:
                if request.emitted:  # recomputed: the token is one of the text
                    self.verify(request, 0)
                request.emitted += 1
                request.bursts.append(end)
                request.since = len(self.steps) + 1
                completed += 1
        return completed

    def proposed(self, request):
        """Drafts that the request proposes, by its state."""
        if not hasattr(self.source, "proposed"):
            return self.depth
        return int(self.source.proposed[self.state_of(request)])

    def state_of(self, request):
        address = word(request.address, request.tick, PATH)
        return read(self.source, address, request.weights)[0]

    def slowdown(self, request):
        if request.weights is None or (self.source.slowdown_at(0) == 1).all():
            return 1.0
        return self.source.slowdown_at(0)[self.state_of(request)]

    def noise(self):
        address = self.address(SERVER)
        return self.tables["noise"].lookup(signed(address, len(self.steps), VERIFY))[0]

    def totals(self):
        """The row of the replication, without its quantiles; and the times of each histogram."""
        engine, last = self.engine, self.engine.warm_up + self.engine.requests
        begin, first_waiting = self.arrivals[engine.warm_up]
        end, last_waiting = self.arrivals[last] if last < len(self.arrivals) else (self.now, 0)
        steps = [s for s in self.steps if begin < s.end <= end]
        if self.serving.arrivals.kind == "rate":  # the step in which the window closes is out
            steps = [s for s in self.steps if begin <= s.end < end]
        inside = [cached for at, cached in self.preemptions if begin <= at < end]
        row, times = self.of_requests(sorted(filter(self.kept, self.done), key=lambda r: r.number))
        return row | {
            "window_ms": end - begin,
            "first_waiting": first_waiting,
            "last_waiting": last_waiting,
            "preemptions": len(inside),
            "recomputed_tokens": sum(inside),
            **self.integrals(begin, end),
            "tokens": sum(s.emitted for s in steps),
            "steps": len(steps),
            "step_ms": sum(s.end - s.begin for s in steps),
            "request_steps": sum(s.decoding for s in steps),
            "drafted": sum(s.drafted for s in steps),
            "accepted": sum(s.accepted for s in steps),
            "unverified": sum(s.drafted - s.verified for s in steps),
            "rejected": sum(s.verified - s.accepted for s in steps),
            "missed": sum(s.missed for s in steps),
            "depth_steps": sum(s.deepest for s in steps),
            "decode_steps": sum(s.decoding > 0 for s in steps),
            "prefill_tokens": sum(s.prefilled for s in steps),
            "peak_running": max([s.running for s in steps], default=0),
            "peak_kv": max([s.kv for s in steps], default=0),
        }, times

    def integrals(self, begin, end):
        def overlap(a, b):
            return max(min(b, end) - max(a, begin), 0.0)

        waits = self.waits + [(r.waits_since, np.inf) for r in self.queue + self.preempted]
        return {
            "running_ms": sum(s.running * overlap(s.begin, s.end) for s in self.steps),
            "waiting_ms": sum(overlap(*wait) for wait in waits),
            "kv_ms": sum(s.kv * overlap(s.begin, s.end) for s in self.steps),
        }

    def of_requests(self, kept):
        half = [r for r in kept if r.number - self.engine.warm_up < self.engine.requests // 2]
        ttft = {r.number: r.bursts[0] - r.arrived for r in kept}
        e2e = {r.number: r.bursts[-1] - r.arrived for r in kept}
        tpot = {
            r.number: (r.bursts[-1] - r.bursts[0]) / (r.output - 1) for r in kept if r.output > 1
        }
        gaps = [gap for r in kept for gap in np.diff(r.bursts)]
        limits = self.engine.goals
        good = [(np.array([ttft[n], tpot.get(n, 0), e2e[n]]) <= limits).all() for n in ttft]
        row = {
            "requests": len(kept),
            "good": sum(good),
            "clipped": sum(r.clipped for r in kept),
            "ttft_ms": sum(ttft.values()),
            "tpot_ms": sum(tpot.values()),
            "tpot_requests": len(tpot),
            "itl_ms": sum(gaps),
            "itl_bursts": len(gaps),
            "itl_tokens": sum(r.output - 1 for r in kept),
            "e2e_ms": sum(e2e.values()),
            "output_tokens": sum(r.output for r in kept),
            "rounds": sum(len(r.rounds) for r in kept),
            "prompt_tokens": sum(r.prompt for r in kept),
            "half_requests": len(half),
            "half_ttft_ms": sum(ttft[r.number] for r in half),
            "half_tpot_ms": sum(tpot.get(r.number, 0.0) for r in half),
            "half_tpot_requests": sum(r.number in tpot for r in half),
            "half_e2e_ms": sum(e2e[r.number] for r in half),
        }
        return row, [list(ttft.values()), list(tpot.values()), gaps, list(e2e.values())]
