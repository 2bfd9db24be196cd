"""pg_haul: drains by its worker program, and by SQL clients."""

import signal
import subprocess
import time
from contextlib import contextmanager
from typing import Iterator, Optional

import pgbench
from cluster import ROOT, Cluster, Database, WrongResult, expect
from timeline import Timeline

PROGRAM = ROOT / "build/haul"
PATIENCE = 120      # seconds for one drain


@contextmanager
def database(cluster: Cluster, history: bool = False) -> Iterator[Database]:
    """One with pg_haul, all of whose parts are up."""
    with cluster.database("pg_haul") as database:
        if not history:
            database.set("haul.keep_completed", "0")
        with database.session() as session:
            database.wait_for("the floors are open", "SELECT floors_open FROM haul.background", session)
        yield database


def load(database: Database, jobs: int, kind: str = "noop", **columns: str) -> None:
    """Enqueues by COPY."""
    database.copy("haul.jobs", jobs, kind=kind, **columns)


class Worker:
    """One worker process with handlers, KIND=TYPE:WHAT each, in a `with` block that ends it in good order."""

    def __init__(self, database: Database, *handlers: str, options: tuple[str, ...] = (),
                 environment: Optional[dict[str, str]] = None, dsn: Optional[str] = None):
        flags = [word for handler in handlers for word in ("--handler", handler)]
        self.process = subprocess.Popen(
            [PROGRAM, "run", "--dsn", dsn or database.dsn, "--log-level", "warning", *flags, *options],
            env=database.environment() | (environment or {}))

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, error, *exception) -> None:
        if error:
            self.kill()
            return
        self.process.terminate()
        expect("exit status of the worker", self.process.wait(timeout=PATIENCE), 0)

    def freeze(self) -> None:
        """The process stays, and with it its connections, but nothing moves."""
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


COUNTERS = ["dispatches", "retries", "completions", "failures", "expiries", "discards", "cancels", "releases", "drops"]


def counters(database: Database) -> dict[str, int]:
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in COUNTERS)
    return dict(zip(COUNTERS, map(int, database.value(f"SELECT {sums} FROM haul.counters").split("|"))))


@contextmanager
def each_job_once(database: Database, history: bool = False, added: int = 0) -> Iterator[None]:
    """Every job that leaves haul.jobs meanwhile is completed, once, and is in the history if there is one. So many are
    added to those that are there."""
    left_before, before = database.number("SELECT count(*) FROM haul.jobs"), counters(database)
    yield
    completed = left_before + added - database.number("SELECT count(*) FROM haul.jobs")
    counted = {name: count - before[name] for name, count in counters(database).items()}
    # What was fetched ahead and given back without having begun was dispatched and released, and is a retry later.
    fetched = {name: counted.pop(name) for name in ("dispatches", "retries", "releases")}
    expect("counters", counted, dict.fromkeys(counted, 0) | {"completions": completed})
    expect("executions", fetched["dispatches"] + fetched["retries"] - fetched["releases"], completed)
    if history:
        kept = database.number("SELECT count(DISTINCT id) FROM haul.finished_jobs WHERE state = 'completed'")
        expect("jobs in the history", kept, before["completions"] + completed)


def drain(database: Database, jobs: int) -> Timeline:
    """One worker process with no-op handlers, from its start until so many jobs have completed."""
    query = "SELECT extract(epoch FROM clock_timestamp()), coalesce(sum(completions), 0) FROM haul.counters"
    timeline = Timeline()
    with database.session() as session:
        before = int(session.value(query).split("|")[1])
        start = time.time()
        with Worker(database, "noop=builtin:noop") as worker:
            while timeline.finished < jobs:
                time.sleep(0.02)
                now, completions = session.value(query).split("|")
                timeline.add(float(now) - start, int(completions) - before)
                if worker.process.poll() is not None or timeline.seconds > PATIENCE:
                    raise WrongResult(f"the worker ran {timeline.finished} of {jobs} jobs in {timeline.seconds:.0f} s")
    return timeline


class ByWorker:
    """Drained by one worker process."""

    share = 1

    def __init__(self, history: bool):
        self.history = history
        self.name = "haul, worker program, history " + ("on" if history else "off")

    def database(self, cluster: Cluster):
        return database(cluster, self.history)

    def load(self, database: Database, jobs: int) -> None:
        load(database, jobs)
        database.settle("haul.jobs")

    def drain(self, database: Database, jobs: int) -> Timeline:
        with each_job_once(database, self.history):
            return drain(database, jobs)


class BySql(ByWorker):
    """Drained by clients that check out and complete batches."""

    CLIENTS = 4
    BATCH = 100
    SPARE = CLIENTS * BATCH     # so that every transaction finds a full batch

    def __init__(self, history: bool):
        super().__init__(history)
        self.name = f"haul, {self.CLIENTS} SQL clients, batches of {self.BATCH}, history " + ("on" if history else "off")

    def load(self, database: Database, jobs: int) -> None:
        super().load(database, jobs + self.SPARE)

    def drain(self, database: Database, jobs: int) -> Timeline:
        workers = [database.number("SELECT haul.register_worker('bench')") for _ in range(self.CLIENTS)]
        with each_job_once(database, self.history):
            timeline = pgbench.run(database, pgbench.SQL / "haul_work.sql", self.CLIENTS, self.BATCH,
                                   transactions=jobs // self.SPARE, first_worker=workers[0], batch=self.BATCH)
        expect("jobs left", database.number("SELECT count(*) FROM haul.jobs"), self.SPARE)
        return timeline
