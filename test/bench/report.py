"""The figures, as Markdown for people and as JSON for programs."""

import os
import platform
from dataclasses import dataclass
from statistics import median
from typing import Optional

from cluster import Cluster
from drain import Drain
from wal import Cost

SHOWN_SETTINGS = ["fsync", "synchronous_commit", "full_page_writes", "wal_compression", "shared_buffers",
                  "max_wal_size", "checkpoint_timeout", "autovacuum", "jit"]


@dataclass
class Figures:
    machine: dict[str, str]         # where they come from
    jobs: int                       # in each drain
    ours: list[Drain]
    peers: dict[str, list[Drain]]   # by name
    cost: Cost


def describe_machine(cluster: Cluster) -> dict[str, str]:
    with open("/proc/cpuinfo") as lines:
        models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    facts = {
        "PostgreSQL": cluster.value("SHOW server_version"),
        "pg_haul": cluster.value("SELECT extversion FROM pg_extension WHERE extname = 'pg_haul'"),
        "CPUs": f"{os.cpu_count()} × {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "load average before": f"{os.getloadavg()[0]:.1f}",
    }
    return facts | {name: cluster.value(f"SHOW {name}") for name in SHOWN_SETTINGS}


def rates(drains: list[Drain]) -> list[float]:
    return [drain.rate for drain in drains]


def steady_rates(drains: list[Drain]) -> list[float]:
    return [drain.steady for drain in drains if drain.steady is not None]


def best_peer_rate(figures: Figures) -> float:
    return max(median(rates(drains)) for drains in figures.peers.values())


# Markdown -----------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def rate(value: float) -> str:
    """Three digits say enough."""
    return number(round(value, 3 - len(str(int(value)))))


def spread(values: list[float]) -> str:
    return f"{rate(median(values))} ({rate(min(values))} to {rate(max(values))})" if values else ""


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine_table(machine: dict[str, str]) -> str:
    return table(["machine and settings", ""], [list(fact) for fact in machine.items()])


def drain_table(figures: Figures) -> str:
    best = best_peer_rate(figures)

    def row(name: str, drains: list[Drain]) -> list[str]:
        return [name, spread(rates(drains)), spread(steady_rates(drains)), f"{median(rates(drains)) / best:.2f}"]

    return table(
        [f"drain of {number(figures.jobs)} no-op jobs, jobs/s: median (range) of {len(figures.ours)} rounds",
         "start to end", "without the first and last tenth", "against the best SQL"],
        [row("haul, one worker process", figures.ours)] +
        [row(name, drains) for name, drains in figures.peers.items()])


def cost_table(cost: Cost) -> str:
    return table(["what a job costs", "measured", "limit"], [
        ["WAL records a job, checkout of 1000", f"{cost.checkout:.2f}", "at most 2.3"],
        ["WAL records a job, completion of 1000", f"{cost.completion:.2f}", "at most 1.3"],
        ["HOT updates of haul.jobs", f"{cost.hot:.1f} %", "at least 95 %"],
    ])


NOTE = """Completions and all of the SQL wait for the disk. Claims of haul do not: one that a crash of the server takes
away is a job that is ready again."""


def results(figures: Figures) -> str:
    return f"{drain_table(figures)}\n\n{NOTE}\n\n{cost_table(figures.cost)}\n"


def markdown(figures: Figures) -> str:
    return f"{machine_table(figures.machine)}\n\n{results(figures)}"


# JSON ---------------------------------------------------------------------------------------------------------------


def document(figures: Figures) -> dict:
    def one(drains: list[Drain]) -> dict[str, Optional[float]]:
        return {"median": median(rates(drains)), "rates": rates(drains), "steady_rates": steady_rates(drains)}

    return {
        "machine": figures.machine,
        "drain": {
            "jobs": figures.jobs,
            "haul": one(figures.ours),
            "sql": {name: one(drains) for name, drains in figures.peers.items()},
            "ratio": median(rates(figures.ours)) / best_peer_rate(figures),
        },
        "wal_records_per_job": {"checkout": figures.cost.checkout, "completion": figures.cost.completion},
        "hot_percent": figures.cost.hot,
    }
