"""Drains with other jobs in the way: many more waiting, many that are not due, many that this worker may not take."""

from contextlib import ExitStack

import haul
from cluster import Database, expect
from result import Goal, Row, Table, in_turn, ratios
from scenario import Bench

URGENT = "1"    # priority


def drain(database: Database, jobs: int, refill: bool) -> float:
    if refill:
        haul.load(database, jobs)
    database.settle("haul.jobs")
    return haul.drain(database, jobs).rate()


def measure(bench: Bench) -> list[Table]:
    sizes = bench.sizes
    jobs = sizes.drain
    clean, waiting = "nothing else", f"{sizes.backlog:,} jobs waiting"
    future, blocked = f"{sizes.future:,} future jobs in front", f"{sizes.blocked:,} jobs of another kind in front"
    with ExitStack() as stack:
        databases = {name: stack.enter_context(haul.database(bench.cluster)) for name in (clean, waiting, future, blocked)}
        haul.load(databases[waiting], sizes.backlog)
        haul.load(databases[future], sizes.future, priority=URGENT, run_at="tomorrow")
        haul.load(databases[blocked], sizes.blocked, kind="other", priority=URGENT)
        for name, database in databases.items():
            database.settle("haul.jobs")
            stack.enter_context(haul.each_job_once(database, added=0 if name == waiting else sizes.rounds * jobs))
        rates = in_turn(sizes.rounds, {
            name: lambda name=name: drain(databases[name], jobs, refill=name != waiting) for name in databases})
        expect("future jobs left", databases[future].number("SELECT count(*) FROM haul.jobs"), sizes.future)
        expect("jobs of another kind left", databases[blocked].number("SELECT count(*) FROM haul.jobs"), sizes.blocked)
    goals = [Goal(f"{name}, against a clean drain", "%", ratios(rates[name], rates[clean]), at_least=90)
             for name in (waiting, future, blocked)]
    return [Table(f"Drain of {jobs:,} jobs with others in the way", "jobs/s", [Row(n, v) for n, v in rates.items()], goals)]
