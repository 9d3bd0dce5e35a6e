"""Simulated requests, as an engine would count them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

REQUESTS_PER_WINDOW = 8  # between two lines of a log


@dataclass(frozen=True)
class LoggedRequest:
    """A request to log.

    Attributes:
        accepted: number of accepted drafts of each round.
        depth: number of proposed drafts per round, or most of them.
        times: ms of each round.
        tokens: number of generated tokens; fewer than the rounds emit if the last one is cut.
        proposed: number of proposed drafts of each round; empty: as many as the depth.
    """

    accepted: list[int]
    depth: int
    times: list[float]
    tokens: int
    proposed: list[int] = field(default_factory=list)

    @property
    def drafts(self) -> list[int]:
        """Number of proposed drafts of each round."""
        return self.proposed or [self.depth] * self.rounds

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return len(self.accepted)

    @property
    def hits(self) -> int:
        """Number of accepted drafts."""
        return sum(self.accepted)

    @property
    def drafted(self) -> int:
        """Number of proposed drafts."""
        return sum(self.drafts)

    @property
    def accept_length(self) -> float:
        """Mean tokens per round."""
        return 1 + self.hits / self.rounds

    @property
    def accept_rate(self) -> float:
        """Share of proposed drafts that are accepted; 0 where none are proposed."""
        return self.hits / max(self.drafted, 1)

    @property
    def histogram(self) -> list[int]:
        """Number of rounds by accepted drafts, 0 to the depth."""
        found = Counter(self.accepted)
        return [found[j] for j in range(self.depth + 1)]

    @property
    def histogram_by_drafts(self) -> dict[str, list[int]]:
        """The histogram by number of proposed drafts; empty if a round proposes none."""
        if 0 in self.drafts:
            return {}
        pairs = Counter(zip(self.drafts, self.accepted, strict=True))
        return {
            str(drafts): [pairs[drafts, j] for j in range(drafts + 1)]
            for drafts in sorted(set(self.drafts))
        }

    @property
    def sparse_histogram(self) -> dict[str, int]:
        """The histogram without zeros, with strings as keys."""
        return {str(j): n for j, n in enumerate(self.histogram) if n}

    def survival(self, digits: int) -> list[float]:
        """Return the share of rounds that accept at least 1, 2, .. drafts."""
        return [
            round(sum(a >= j for a in self.accepted) / self.rounds, digits)
            for j in range(1, self.depth + 1)
        ]


Requests = Iterable[LoggedRequest]


def pooled(requests: Requests) -> LoggedRequest:
    """Return all requests as one.

    Raises:
        ValueError: their depths differ.
    """
    known = list(requests)
    deepest = max(r.depth for r in known)
    if min(r.depth for r in known) != deepest:
        raise ValueError("this format can't hold several depths; select one with --depth")
    return LoggedRequest(
        accepted=[a for r in known for a in r.accepted],
        depth=deepest,
        times=[t for r in known for t in r.times],
        tokens=sum(r.tokens for r in known),
        proposed=[n for r in known for n in r.drafts],
    )


def windows(requests: Requests) -> Iterator[LoggedRequest]:
    """Yield the requests of each window as one."""
    stream = iter(requests)
    while window := list(islice(stream, REQUESTS_PER_WINDOW)):
        yield pooled(window)
