"""How long after the commit of an INSERT its handler begins, on an idle machine."""

import subprocess
import tempfile
from contextlib import nullcontext
from pathlib import Path
from statistics import quantiles
from typing import Callable, ContextManager

import haul
import peers
from cluster import ROOT, Database, expect
from result import Goal, Row, Table, in_turn
from scenario import Bench

PROGRAMS = ROOT / "build/bench"
PAUSES = ("5000", "25000")  # microseconds between two jobs: irregular, so that no timer falls in step
NOTE = """Milliseconds from the return of the commit, or from the sending of the statement, until the handler begins; by the
monotonic clock. A handler can begin before the enqueuer has read that its commit is done."""


def insert(database: Database, statement: str, jobs: int) -> dict[int, tuple[int, int]]:
    """When the statement of each job was sent, and when it had returned."""
    lines = subprocess.run([PROGRAMS / "paced_insert", statement, str(jobs), *PAUSES], env=database.environment(), check=True,
                           stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {number: (sent, returned) for number, sent, returned in (map(int, line.split()) for line in lines)}


def join(inserted: dict[int, tuple[int, int]], stamps: list[str]) -> dict[str, float]:
    began = [tuple(map(int, line.split())) for line in stamps]
    expect("jobs that ran", sorted(number for number, _ in began), sorted(inserted))
    found = {}
    for since, name in ((1, "from the commit"), (0, "insert included")):
        waits = [(at - inserted[number][since]) / 1e6 for number, at in began]
        percentiles = quantiles(waits, n=100)
        found |= {f"{name}, p50": percentiles[49], f"{name}, p99": percentiles[98]}
    return found


def by_haul(bench: Bench, wait: str, others: Callable[[Database], ContextManager] = nullcontext) -> dict[str, float]:
    """others: what goes on in the database beside it."""
    with haul.database(bench.cluster) as database, others(database), database.session() as session, \
            tempfile.TemporaryDirectory(prefix="haul-bench.") as directory:
        stamps = Path(directory) / "stamps"
        waiting = database.number("SELECT waiting_workers FROM haul.background")
        with haul.Worker(database, f"stamp=plugin:{PROGRAMS / 'stamp.so'}", options=("--wait", wait),
                         environment={"HAUL_BENCH_STAMPS": str(stamps)}):
            database.wait_for("the worker waits", f"SELECT waiting_workers > {waiting} FROM haul.background", session)
            with haul.each_job_once(database, added=bench.sizes.latency_jobs):
                inserted = insert(database, "INSERT INTO haul.jobs (kind, args) VALUES ('stamp', jsonb_build_object('n', $1::int))",
                                  bench.sizes.latency_jobs)
                database.wait_for("all jobs are done", "SELECT NOT EXISTS (SELECT FROM haul.jobs)", session)
        return join(inserted, stamps.read_text().splitlines())


def by_graphile_worker(bench: Bench) -> dict[str, float]:
    contestant = peers.GraphileWorker(tuned=False)
    with contestant.database(bench.cluster) as database, database.session() as session:
        with subprocess.Popen(peers.command(contestant.program, "stamp"), env=peers.environment(database), text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
            expect("the worker says", worker.stdout.readline().strip(), "ready")
            inserted = insert(database, "SELECT graphile_worker.add_job('stamp', json_build_object('n', $1::int))",
                              bench.sizes.latency_jobs)
            database.wait_for("all jobs are done", "SELECT NOT EXISTS (SELECT FROM graphile_worker._private_jobs)", session)
            stamps, _ = worker.communicate()
        return join(inserted, stamps.splitlines())


def measure(bench: Bench) -> list[Table]:
    variants = {"haul, worker listens": lambda: by_haul(bench, "listen"), "haul, worker calls": lambda: by_haul(bench, "call")}
    if not bench.tiny:
        variants[f"graphile-worker {peers.version('graphile-worker')}, default"] = lambda: by_graphile_worker(bench)
    found = in_turn(bench.sizes.rounds, variants)
    rows = [Row(f"{name}, {what}", [once[what] for once in rounds]) for name, rounds in found.items() for what in rounds[0]]
    goals = [Goal(f"{name}, {what}", "ms", [once[what] for once in found[name]], at_most=limit)
             for name in list(variants)[:2] for what, limit in (("from the commit, p50", 0.5), ("from the commit, p99", 2.0))]
    return [Table("Latency of a job on an idle server", "ms", rows, goals, NOTE)]
