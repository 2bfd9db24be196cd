"""What the replicas said, and what it comes to in each phase."""

import threading
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import median
from typing import Optional

from phases import UNDISTURBED, Phase

REQUIRED = {"claim_p50_ms", "claim_p95_ms", "claim_p99_ms", "enqueue_rate", "completion_rate", "queue_depth"}
TARGET = 0.95   # of the clean rate


@dataclass
class Measured:
    """A phase, and the medians of its samples."""

    label: str
    type: str
    begin: float
    end: float
    enqueue_rate: Optional[float] = None        # jobs/s, of all replicas
    completion_rate: Optional[float] = None     # jobs/s, of all replicas
    lowest_rate: Optional[float] = None         # … in the slowest sample
    claim_p50_ms: Optional[float] = None        # of the slowest replica
    claim_p99_ms: Optional[float] = None        # of the slowest replica
    queue_depth: Optional[float] = None         # the largest
    of_clean: Optional[float] = None            # completion rate against that of the clean phase
    seconds_to_target: Optional[float] = None   # until the rate was back at the target

    @property
    def is_recovery(self) -> bool:
        return self.type == "recovery"


class Samples:
    """Gathers records from threads. Replicas sample at the same times: multiples of the period."""

    def __init__(self, period: float):
        self._period = period
        self._lock = threading.Lock()
        self._ticks: dict[float, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, record: dict) -> None:
        at = datetime.fromisoformat(record["t"].replace("Z", "+00:00")).timestamp()
        with self._lock:
            self._ticks[round(at / self._period) * self._period][record["metric"]].append(float(record["value"]))

    def missing_metrics(self) -> set[str]:
        return REQUIRED - {metric for tick in self._ticks.values() for metric in tick}

    def measure(self, phases: list[tuple[Phase, float, float]]) -> list[Measured]:
        measured = [self._measure(*phase) for phase in phases]
        clean = next((phase.completion_rate for phase in measured if phase.type == "clean"), None)
        for phase in measured:
            if clean and phase.completion_rate is not None:
                phase.of_clean = phase.completion_rate / clean
            if clean and phase.is_recovery:
                phase.seconds_to_target = self._seconds_to(TARGET * clean, phase)
        return measured

    def _within(self, begin: float, end: float) -> list[tuple[float, dict[str, list[float]]]]:
        """Samples of nothing but this time."""
        return [(at, tick) for at, tick in sorted(self._ticks.items()) if begin + self._period <= at <= end]

    def _measure(self, phase: Phase, begin: float, end: float) -> Measured:
        ticks = [tick for _, tick in self._within(begin, end)]
        measured = Measured(phase.label, phase.type, begin, end)

        def values(metric: str, combine=sum) -> list[float]:
            return [combine(tick[metric]) for tick in ticks if metric in tick]

        if ticks:
            # A tick that a replica did not tell about is one at which it did nothing.
            measured.enqueue_rate = median(sum(tick.get("enqueue_rate", [0])) for tick in ticks)
            rates = [sum(tick.get("completion_rate", [0])) for tick in ticks]
            measured.completion_rate, measured.lowest_rate = median(rates), min(rates)
            for name in ("claim_p50_ms", "claim_p99_ms"):
                if found := values(name, max):
                    setattr(measured, name, median(found))
            measured.queue_depth = max(values("queue_depth"), default=None)
        return measured

    def _seconds_to(self, rate: float, phase: Measured) -> Optional[float]:
        for at, tick in self._within(phase.begin, phase.end):
            if sum(tick.get("completion_rate", [0])) >= rate:
                return at - phase.begin
        return None


def reached(phase: Measured) -> bool:
    return phase.of_clean is not None and phase.of_clean >= TARGET


def markdown(measured: list[Measured]) -> str:
    def number(value: Optional[float], digits: int = 0) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    header = ["phase", "seconds", "enqueued/s", "completed/s", "lowest", "of clean", "back at 95 % after",
              "claim p50, p99 ms", "largest backlog"]
    rows = [[f"**{phase.label}**" if phase.type in UNDISTURBED else phase.label,
             number(phase.end - phase.begin),
             number(phase.enqueue_rate), number(phase.completion_rate), number(phase.lowest_rate),
             "" if phase.of_clean is None else f"{100 * phase.of_clean:.0f} %",
             (number(phase.seconds_to_target) + " s" if phase.seconds_to_target is not None else "never")
             if phase.is_recovery else "",
             f"{number(phase.claim_p50_ms, 1)}, {number(phase.claim_p99_ms, 1)}",
             number(phase.queue_depth)] for phase in measured]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])


def document(measured: list[Measured]) -> list[dict]:
    return [asdict(phase) for phase in measured]
