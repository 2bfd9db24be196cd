"""Jobs spread over very many queues, or priorities: drains, and what a single checkout costs."""

from pathlib import Path

import haul
import pgbench
from cluster import Database, expect
from result import Goal, Row, Table, in_turn, ratios
from scenario import Bench

AHEAD = 10  # seconds from the insertion until the jobs fall due


def spread(database: Database, jobs: int, queues: int, priorities: int = 1) -> None:
    """In turn over all of them."""
    database.psql("-c", "INSERT INTO haul.jobs (kind, queue, priority)"
                        f" SELECT 'noop', 'q' || n % {queues}, 1 + n % {priorities} FROM generate_series(1, {jobs}) AS n")
    database.settle("haul.jobs")


def drain(bench: Bench, queues: int, priorities: int = 1) -> float:
    with haul.database(bench.cluster) as database:
        spread(database, bench.sizes.drain, queues, priorities)
        with haul.each_job_once(database):
            return haul.drain(database, bench.sizes.drain).rate()


def cpu_seconds(process: str) -> float:
    """That the process has run for so far."""
    return int((Path("/proc") / process / "schedstat").read_text().split()[0]) / 1e9


def single(bench: Bench, queues: int) -> float:
    """Milliseconds of CPU of the session that works off a job of each queue, one by one."""
    with haul.database(bench.cluster) as database:
        database.psql("-f", str(pgbench.SQL / "work_in_batches.sql"))
        spread(database, queues, queues)
        with database.session() as session:
            process = session.value("SELECT pg_backend_pid()")
            start = cpu_seconds(process)
            expect("done", session.value("CALL work_in_batches(1); SELECT 'done'"), "done")
            took = cpu_seconds(process) - start
        expect("jobs left", database.number("SELECT count(*) FROM haul.jobs"), 0)
        return took / queues * 1000


def late(bench: Bench, queues: int) -> float:
    """Seconds, in the median, from the instant when all the jobs fall due until each has been done."""
    jobs = bench.sizes.due_at_once
    with haul.database(bench.cluster, history=True) as database, haul.Worker(database, "noop=builtin:noop"):
        database.psql("-c", f"INSERT INTO haul.jobs (kind, queue, run_at) SELECT 'noop', 'q' || n % {queues},"
                            f" now() + '{AHEAD} s' FROM generate_series(1, {jobs}) AS n")
        with database.session() as session:
            database.wait_for("all are done", "SELECT NOT EXISTS (SELECT FROM haul.jobs)", session, haul.PATIENCE)
        return float(database.value("SELECT extract(epoch FROM percentile_cont(0.5) WITHIN GROUP"
                                    " (ORDER BY finished_at - run_at)) FROM haul.finished_jobs"))


def measure(bench: Bench) -> list[Table]:
    sizes = bench.sizes
    one, queues, priorities = "one queue", f"{sizes.queues:,} queues", f"{sizes.priorities:,} priorities of one queue"
    few, many = f"{sizes.queues // 10:,} queues", f"{2 * sizes.queues:,} queues"
    some = f"{sizes.queues // 5:,} queues"
    rates = in_turn(sizes.rounds, {one: lambda: drain(bench, 1), queues: lambda: drain(bench, sizes.queues),
                                   priorities: lambda: drain(bench, 1, sizes.priorities)})
    costs = in_turn(sizes.rounds, {few: lambda: single(bench, sizes.queues // 10),
                                   many: lambda: single(bench, 2 * sizes.queues)})
    delays = in_turn(sizes.rounds, {one: lambda: late(bench, 1), some: lambda: late(bench, sizes.queues // 5)})
    return [Table(f"Drain of {sizes.drain:,} no-op jobs over many queues", "jobs/s",
                  [Row(n, v) for n, v in rates.items()],
                  [Goal(f"{name}, against one", "%", ratios(rates[name], rates[one]), at_least=50)
                   for name in (queues, priorities)]),
            Table("A job checked out by itself, of any queue, and completed", "ms of CPU",
                  [Row(n, v) for n, v in costs.items()], [Goal(many, "ms", costs[many], at_most=1)]),
            Table(f"{sizes.due_at_once:,} jobs due at one instant, until a job is done", "s, p50",
                  [Row(n, v) for n, v in delays.items()],
                  [Goal(f"{some}, against one", "times", ratios(delays[some], delays[one], scale=1), at_most=2)])]
