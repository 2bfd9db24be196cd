"""How many jobs had finished when: what a drain leaves behind, and what rates are computed from."""

from bisect import bisect_left
from dataclasses import dataclass, field


@dataclass
class Timeline:
    """Seconds since the drain began, and jobs finished by then. Begins with (0, 0)."""

    samples: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)])

    def add(self, seconds: float, finished: int) -> None:
        self.samples.append((seconds, finished))

    @property
    def finished(self) -> int:
        return self.samples[-1][1]

    @property
    def seconds(self) -> float:
        return self.samples[-1][0]

    def when(self, finished: int) -> float:
        """The time at which so many jobs had finished, interpolated."""
        at = bisect_left(self.samples, finished, key=lambda sample: sample[1])
        after_seconds, after = self.samples[at]
        if after == finished or at == 0:
            return after_seconds
        before_seconds, before = self.samples[at - 1]
        return before_seconds + (after_seconds - before_seconds) * (finished - before) / (after - before)

    def finished_at(self, seconds: float) -> int:
        """How many jobs had finished by then."""
        return self.samples[bisect_left(self.samples, (seconds, 0)) - 1][1] if seconds > 0 else 0

    def rate(self, first: int = 0, last: int = -1) -> float:
        """Jobs/s from the moment when `first` jobs had finished until `last` had; by default, over all."""
        last = self.finished if last < 0 else last
        return (last - first) / (self.when(last) - self.when(first))

    def windows(self, seconds: float) -> list[tuple[float, float]]:
        """The rate in each window of so many seconds, at the window's middle."""
        points = []
        start, before = self.samples[0]
        for now, finished in self.samples[1:]:
            if now - start >= seconds:
                points.append(((start + now) / 2, (finished - before) / (now - start)))
                start, before = now, finished
        return points
