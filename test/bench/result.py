"""What scenarios hand to the report: rows of values, one a round, and goals."""

import time
from dataclasses import dataclass, field
from statistics import median
from typing import Callable, Optional, TypeVar

Value = TypeVar("Value")


@dataclass
class Row:
    name: str
    values: list[float]     # one a round
    note: str = ""


@dataclass
class Goal:
    """What must be reached; the median of the rounds counts."""

    what: str
    unit: str
    values: list[float]
    at_least: Optional[float] = None
    at_most: Optional[float] = None

    @property
    def has_target(self) -> bool:
        return self.at_least is not None or self.at_most is not None

    @property
    def reached(self) -> bool:
        middle = median(self.values)
        return ((self.at_least is None or middle >= self.at_least) and
                (self.at_most is None or middle <= self.at_most))


@dataclass
class Series:
    """A line of the plot."""

    name: str
    points: list[tuple[float, float]]


@dataclass
class Table:
    title: str
    unit: str
    rows: list[Row]
    goals: list[Goal] = field(default_factory=list)
    note: str = ""
    series: list[Series] = field(default_factory=list)


def ratios(values: list[float], references: list[float], scale: float = 100) -> list[float]:
    """Each value against the reference of the same round, in percent unless told otherwise."""
    return [scale * value / reference for value, reference in zip(values, references)]


def in_turn(rounds: int, variants: dict[str, Callable[[], Value]]) -> dict[str, list[Value]]:
    """Runs all variants in each round, one after the other: what disturbs the machine for a while disturbs all."""
    results: dict[str, list[Value]] = {name: [] for name in variants}
    for number in range(1, rounds + 1):
        for name, run in variants.items():
            start = time.monotonic()
            results[name].append(run())
            print(f"  round {number}, {name}: took {time.monotonic() - start:.1f} s", flush=True)
    return results
