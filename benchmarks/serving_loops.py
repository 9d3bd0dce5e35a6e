"""A batch server as one would write it in Python: a heap of events, and in SimPy.

Written from the description of the step alone, without mtpsim's code, so that agreement is a check:
each step gives every decoding request 1 + k tokens, what is left of the token budget to prefill,
first come, first served, and preempts the youngest request when the cache is full.
"""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple


class Load(NamedTuple):
    """A server and its traffic; times in ms, lengths in tokens."""

    per_second: float = 8.0
    prompt: float = 300.0  # mean of a geometric law
    output: float = 200.0
    depth: int = 3
    rates: tuple[float, ...] = (0.8, 0.74, 0.67)
    base: float = 10.0  # of a verify
    per_token: float = 0.05
    per_cached: float = 2e-5
    per_draft: float = 1.0  # of a draft pass over the batch
    max_requests: int = 256
    max_tokens: int = 2048
    kv_tokens: int = 400_000


@dataclass
class Request:
    """A request and what has become of it."""

    arrival: float
    prompt: int
    output: int
    number: int  # in the order of arrival, from 1
    rounds: int = 0
    made: int = 0  # tokens of the output
    to_prefill: int = 0  # tokens left; those of a preempted request again
    first: float = 0.0
    last: float = 0.0
    granted: tuple[int, int] = (0, 0)  # of the current step: prefill and drafts

    @property
    def context(self) -> int:
        return self.prompt + self.made


class Server:
    """State of the server; ``plan`` starts a step and ``advance`` ends it for a request."""

    def __init__(self, load: Load, seed: int) -> None:
        self.load, self.random = load, random.Random(seed)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.done: list[Request] = []
        self.arrived = self.preempted = 0

    def arrival(self, now: float) -> Request:
        """A request that arrives after the one before, which arrived at ``now``."""
        self.arrived += 1
        draw, load = self.random.random, self.load
        prompt, output = (
            1 + int(math.log(1 - draw()) / math.log(1 - 1 / mean))
            for mean in (load.prompt, load.output)
        )
        gap = self.random.expovariate(load.per_second / 1000)
        return Request(now + gap, prompt, output, number=self.arrived, to_prefill=prompt)

    def plan(self) -> float:
        """Grant tokens to requests; the time of the step in ms, 0 where there is nothing to do."""
        load, budget = self.load, self.load.max_tokens
        free = load.kv_tokens - sum(r.context for r in self.running)
        tokens = cached = decoding = deepest = 0
        place = 0
        while place < len(self.running):
            one = self.running[place]
            one.granted = (0, 0)
            place += 1
            if one.to_prefill:
                continue
            while free < 1 and self.running[-1] is not one:
                free += self._preempt().context
            if free < 1:
                self._preempt()
                break
            depth = min(load.depth, one.output - one.made - 1, budget - 1, free - 1)
            one.granted = (0, depth)
            free -= 1 + depth
            budget -= 1 + depth
            tokens += 1 + depth
            cached += one.context
            decoding += 1
            deepest = max(deepest, depth)
        for one in self.running:
            if one.to_prefill and budget:
                budget = self._prefill(one, budget)
        while self.waiting and len(self.running) < load.max_requests and budget > 0:
            need = self.waiting[0].context + 1 + load.depth
            if need > free:
                break
            free -= need
            one = self.waiting.popleft()
            self.running.append(one)
            budget = self._prefill(one, budget)
        tokens = load.max_tokens - budget
        if not tokens:
            return 0.0
        draft = load.per_draft * deepest if decoding else 0.0
        return load.base + load.per_token * tokens + load.per_cached * cached + draft

    def _prefill(self, one: Request, budget: int) -> int:
        chunk = min(one.to_prefill, budget)
        one.granted = (chunk, 0)
        return budget - chunk

    def _preempt(self) -> Request:
        one = self.running.pop()
        one.to_prefill = one.context
        self.waiting.appendleft(one)
        self.preempted += 1
        return one

    def advance(self, one: Request, now: float) -> bool:
        """What a step has done for a request that ran in it; whether the request is complete."""
        chunk, depth = one.granted
        if one.to_prefill:
            one.to_prefill -= chunk
            if one.to_prefill or not chunk:
                return False
            tokens = 1
        else:
            tokens, one.rounds = 1, one.rounds + 1
            for rate in self.load.rates[:depth]:
                if self.random.random() >= rate:
                    break
                tokens += 1
        if not one.made:
            one.first = now
        one.made = min(one.made + tokens, one.output)
        one.last = now
        return one.made == one.output


def with_heap(load: Load, requests: int, seed: int) -> Server:
    """Simulate until the first requests are complete, by a heap of arrivals and ends of steps."""
    server = Server(load, seed)
    events: list[tuple[float, int, Request | None]] = []
    count = 0
    coming = server.arrival(0.0)
    heapq.heappush(events, (coming.arrival, count, coming))
    busy, left = False, requests
    while left:
        now, _, arrived = heapq.heappop(events)
        if arrived is not None:
            server.waiting.append(arrived)
            count += 1
            coming = server.arrival(now)
            heapq.heappush(events, (coming.arrival, count, coming))
        else:
            busy = False
            ended = [one for one in server.running if server.advance(one, now)]
            for one in ended:
                server.running.remove(one)
            server.done += ended
            left -= sum(one.number <= requests for one in ended)
        if not busy and (step := server.plan()):
            busy = True
            count += 1
            heapq.heappush(events, (now + step, count, None))
    return server


def with_simpy(load: Load, requests: int, seed: int) -> Server:
    """The same with SimPy: a process for arrivals, one for the engine, and one per request."""
    import simpy

    server, env = Server(load, seed), simpy.Environment()
    finished = env.event()
    awake, left = [env.event()], [requests]
    grants: dict[int, simpy.Store] = {}

    def one_request(one):
        grants[id(one)] = simpy.Store(env)
        server.waiting.append(one)
        if not awake[0].triggered:
            awake[0].succeed()
        while True:
            advanced = yield grants[id(one)].get()
            complete = server.advance(one, env.now)
            advanced.succeed()
            if complete:
                break
        server.running.remove(one)
        server.done.append(one)
        del grants[id(one)]
        if one.number <= requests:
            left[0] -= 1
            if not left[0]:
                finished.succeed()

    def arrivals():
        while True:
            one = server.arrival(env.now)
            yield env.timeout(one.arrival - env.now)
            env.process(one_request(one))

    def engine():
        while True:
            step = server.plan()
            if not step:
                awake[0] = env.event()
                yield awake[0]
                continue
            yield env.timeout(step)
            turns = [env.event() for _ in server.running]
            for one, advanced in zip(server.running, turns, strict=True):
                grants[id(one)].put(advanced)
            yield env.all_of(turns)

    env.process(arrivals())
    env.process(engine())
    env.run(finished)
    return server


def summary(server: Server, requests: int) -> dict[str, float]:
    """Mean TTFT, TPOT and time to the end in ms of the first requests, and their rounds."""
    kept = [one for one in server.done if one.number <= requests]
    spans = [(one.last - one.first) / (one.output - 1) for one in kept if one.output > 1]
    return {
        "ttft": sum(one.first - one.arrival for one in kept) / len(kept),
        "tpot": sum(spans) / len(spans),
        "e2e": sum(one.last - one.arrival for one in kept) / len(kept),
        "rounds": float(sum(one.rounds for one in kept)),
    }
