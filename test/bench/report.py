"""The figures, as Markdown for people and as JSON for programs."""

import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import datetime, timezone
from statistics import median

import peers
import plot
from cluster import Cluster
from result import Goal, Table
from scenario import Bench

SETTINGS = ["fsync", "synchronous_commit", "full_page_writes", "wal_compression", "shared_buffers", "max_wal_size",
            "checkpoint_timeout", "autovacuum", "shared_preload_libraries"]


def describe_machine(cluster: Cluster, tiny: bool) -> dict[str, str]:
    with open("/proc/cpuinfo") as lines:
        models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    with cluster.database("pg_haul") as database:
        facts = {
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
            "pg_haul": database.value("SELECT extversion FROM pg_extension WHERE extname = 'pg_haul'"),
            "PostgreSQL": database.value("SHOW server_version"),
            "CPUs": f"{os.cpu_count()} × {models[0] if models else platform.machine()}",
            "memory": f"{memory:.0f} GiB",
            "kernel": platform.release(),
            "load average before": f"{os.getloadavg()[0]:.1f}",
        }
        if not tiny:
            facts["Node.js"] = subprocess.run([peers.node(), "--version"], check=True, stdout=subprocess.PIPE,
                                              text=True).stdout.strip()
        return facts | {name: database.value(f"SHOW {name}") for name in SETTINGS}


# Markdown -----------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Three digits say enough."""
    if abs(value) >= 100:
        return f"{round(value, 3 - len(str(int(abs(value))))):,.0f}".replace(",", " ")
    return f"{value:.3g}"


def spread(values: list[float]) -> str:
    text = number(median(values))
    return text if len(values) == 1 else f"{text} ({number(min(values))} to {number(max(values))})"


def lines_of(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def target(goal: Goal) -> str:
    if goal.at_least is not None:
        return f"at least {number(goal.at_least)}"
    if goal.at_most is not None:
        return f"at most {number(goal.at_most)}"
    return ""


def verdict(goal: Goal) -> str:
    return "" if not goal.has_target else "reached" if goal.reached else "**missed**"


def summary(bench: Bench, tables: list[Table]) -> str:
    goals = [goal for table in tables for goal in table.goals if goal.has_target]
    missed = [f"{table.title}: {goal.what}" for table in tables for goal in table.goals if not goal.reached]
    if bench.tiny:
        return "Sizes are tiny: the figures say nothing, only that the results were right."
    return "\n".join([f"{len(goals) - len(missed)} of {len(goals)} targets reached." + (" Missed:\n" if missed else "")]
                     + [f"- {line}" for line in missed])


def section(table: Table) -> str:
    parts = [f"## {table.title}",
             lines_of(["", f"{table.unit}: median (range)", ""], [[row.name, spread(row.values), row.note] for row in table.rows])]
    if table.goals:
        parts.append(lines_of(["", "median (range)", "unit", "target", ""],
                              [[goal.what, spread(goal.values), goal.unit, target(goal), verdict(goal)] for goal in table.goals]))
    if table.note:
        parts.append(table.note)
    return "\n\n".join(parts)


def markdown(bench: Bench, machine: dict[str, str], tables: list[Table]) -> str:
    head = (f"# Benchmark\n\nMedian and range of {bench.sizes.rounds} rounds, in each of which all contestants ran in turn on the same "
            "server, each in a fresh database.")
    return "\n\n".join([head, summary(bench, tables), lines_of(["machine and settings", ""], [list(fact) for fact in machine.items()]),
                        *map(section, tables)]) + "\n"


# JSON ---------------------------------------------------------------------------------------------------------------


def document(machine: dict[str, str], rounds: int, tables: list[Table]) -> dict:
    described = []
    for table in tables:
        fields = asdict(table)
        for goal, judged in zip(fields["goals"], table.goals):
            goal |= {"median": median(judged.values), "reached": judged.reached}
        for row in fields["rows"]:
            row["median"] = median(row["values"])
        described.append(fields)
    return {"machine": machine, "rounds": rounds, "tables": described}


def write(bench: Bench, machine: dict[str, str], tables: list[Table]) -> str:
    """Puts everything into the bench's directory; returns the Markdown."""
    text = markdown(bench, machine, tables)
    (bench.directory / "figures.md").write_text(text)
    (bench.directory / "figures.json").write_text(json.dumps(document(machine, bench.sizes.rounds, tables), indent=2) + "\n")
    for table in tables:
        if table.series:
            (bench.directory / "pinned.svg").write_text(plot.svg(table))
    return text
