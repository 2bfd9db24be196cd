"""Bulk enqueue by COPY: what the checks and the bookkeeping of haul.jobs cost."""

import time

import haul
import pgbench
from cluster import expect
from result import Goal, Row, Table, in_turn, ratios
from scenario import Bench

PLAIN = "a bare table with the same columns and indexes"
OURS = "haul.jobs"


def copy(bench: Bench, table: str) -> float:
    jobs = bench.sizes.bulk
    with haul.database(bench.cluster) as database:
        database.psql("-f", str(pgbench.SQL / "plain_table.sql"), "-c", "CHECKPOINT")
        start = time.monotonic()
        database.copy(table, jobs, kind="noop", args='{"path": "/usr/share/doc/bash/README", "tries": 3}')
        seconds = time.monotonic() - start
        expect("rows copied", database.number(f"SELECT count(*) FROM {table}"), jobs)
    return jobs / seconds


def measure(bench: Bench) -> list[Table]:
    rates = in_turn(bench.sizes.rounds, {PLAIN: lambda: copy(bench, "bench.jobs"), OURS: lambda: copy(bench, "haul.jobs")})
    return [Table(f"COPY of {bench.sizes.bulk:,} jobs", "jobs/s", [Row(name, values) for name, values in rates.items()],
                  [Goal("haul.jobs against the bare table", "%", ratios(rates[OURS], rates[PLAIN]), at_least=80)])]
