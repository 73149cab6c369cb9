"""Timing things against each other: in turns, many rounds, median and spread.

A machine's speed drifts (clock, neighbours, caches), so two figures taken one after the other do not compare.
Here every round times each contender once, beginning with another one each time, and a ratio is taken inside
a round; what is reported is the median of the ratios and their quartiles.
"""

import statistics
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ROUNDS = 15
SAMPLE_SECONDS = 2e-3  # a sample repeats short statements for this long: the clock's own cost vanishes
NOISE = 0.95  # below this ratio to NumPy is a loss


@dataclass(frozen=True, slots=True)
class Contender:
    """A statement to time, and the names it uses: a statement, because a lambda around it costs 40 ns."""

    name: str
    statement: str
    names: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spread:
    """Lower quartile, median and upper quartile."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class Goal:
    """What a ratio to a peer should reach."""

    peer: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Row:
    """One case: the samples of ours (the first) and of each peer, in seconds per call, round by round."""

    section: str
    case: str
    samples: Mapping[str, Sequence[float]]
    goals: tuple[Goal, ...] = ()
    limit: float | None = None  # a bound on our own seconds
    note: str = ""

    @property
    def ours(self) -> str:
        """The contender that everything else is compared with: the first."""
        return next(iter(self.samples))

    @property
    def peers(self) -> tuple[str, ...]:
        """The others."""
        return tuple(self.samples)[1:]

    def time(self, name: str) -> Spread:
        """Seconds per call of one contender."""
        return spread(self.samples[name])

    def ratio(self, peer: str) -> Spread:
        """How many times as fast as `peer` we are: above 1, we are faster."""
        pairs = zip(self.samples[self.ours], self.samples[peer], strict=True)
        return spread([theirs / ours for ours, theirs in pairs])

    def missed(self) -> list[str]:
        """The goals that this row does not reach, in words; one whose peer is missing is not measured."""
        words = [
            f"{self.ratio(goal.peer).median:.2f}x {goal.peer}, goal {goal.ratio:g}x"
            for goal in self.goals
            if goal.peer in self.samples and self.ratio(goal.peer).median < goal.ratio
        ]
        if self.limit is not None and self.time(self.ours).median > self.limit:
            words.append(f"{seconds(self.time(self.ours).median)}, goal {seconds(self.limit)}")
        return words

    def loses(self) -> bool:
        """Slower than NumPy, beyond noise: in the median round, and in the best ones, which the neighbours left alone."""
        if "NumPy" not in self.peers:
            return False
        best = min(self.samples["NumPy"]) / min(self.samples[self.ours])
        return max(best, self.ratio("NumPy").median) < NOISE


def measure(
    contenders: Sequence[Contender], *, rounds: int = ROUNDS, sample_seconds: float = SAMPLE_SECONDS
) -> dict[str, list[float]]:
    """Seconds per call of each contender in each round.

    >>> samples = measure([Contender("a", "x + 1", {"x": 1}), Contender("b", "abs(-2)")], rounds=3)
    >>> list(samples), len(samples["a"])
    (['a', 'b'], 3)
    """
    if len({c.name for c in contenders}) != len(contenders):
        raise ValueError("two contenders share a name")
    timers = {c.name: timeit.Timer(c.statement, globals=dict(c.names)) for c in contenders}
    counts = {name: _calibrate(timer, sample_seconds) for name, timer in timers.items()}
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for turn in range(rounds):
        for name in rotate(list(timers), turn):
            samples[name].append(timers[name].timeit(counts[name]) / counts[name])
    return samples


def rotate(names: Sequence[str], turn: int) -> list[str]:
    """The names in the order of this turn: nobody always comes first, with the caches cold.

    >>> rotate(["a", "b", "c"], 4)
    ['b', 'c', 'a']
    """
    start = turn % len(names)
    return [*names[start:], *names[:start]]


def spread(samples: Sequence[float]) -> Spread:
    """Median and quartiles.

    >>> spread([4.0, 1.0, 2.0, 3.0, 5.0])
    Spread(low=2.0, median=3.0, high=4.0)
    """
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0])
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(low, median, high)


def seconds(value: float) -> str:
    """A time with its unit, three digits.

    >>> seconds(4.8e-8), seconds(0.0321), seconds(2.5)
    ('48 ns', '32.1 ms', '2.5 s')
    """
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * factor >= 1.0:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def _calibrate(timer: timeit.Timer, sample_seconds: float) -> int:
    """How many calls fill one sample; this also is the warm-up."""
    timer.timeit(1)
    count = 1
    while True:
        elapsed = timer.timeit(count)
        if elapsed >= sample_seconds / 2:
            return max(1, round(count * sample_seconds / elapsed))
        count *= 2 if elapsed <= 0 else max(2, min(10, int(sample_seconds / elapsed)))
