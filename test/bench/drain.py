"""Drains of a backlog of no-op jobs: by the worker program, and by the SQL that people write themselves."""

import re
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from cluster import ROOT, Cluster

HERE = Path(__file__).resolve().parent
PATIENCE = 300  # seconds for one drain


class WrongResult(Exception):
    """A job was lost, or ran twice."""


@dataclass
class Drain:
    rate: float                     # jobs/s over all
    steady: Optional[float] = None  # jobs/s without the first and the last tenth


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise WrongResult(f"{what}: {found}, expected {wanted}")


def copy_jobs(cluster: Cluster, table: str, jobs: int) -> None:
    """Enqueues by COPY, and leaves the table as a server that had time would."""
    cluster.psql("-c", f"COPY {table} (kind) FROM STDIN", stdin="noop\n" * jobs)
    cluster.psql("-c", f"VACUUM (ANALYZE) {table}", "-c", "CHECKPOINT")


# haul ---------------------------------------------------------------------------------------------------------------


class Progress:
    """Samples how many jobs have completed, ten times a second, while the `with` block runs."""

    QUERY = "SELECT extract(epoch FROM clock_timestamp()), coalesce(sum(completions), 0) FROM haul.counters"

    def __init__(self, cluster: Cluster):
        self._cluster = cluster
        self._samples: list[tuple[float, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with self._cluster.session() as session:
            while not self._ended.wait(0.1):
                at, completed = session.value(self.QUERY).split("|")
                self._samples.append((float(at), int(completed)))

    def steady_rate(self, before: int, jobs: int) -> Optional[float]:
        inner = [s for s in self._samples if jobs * 0.1 <= s[1] - before <= jobs * 0.9]
        if len(inner) < 2:
            return None
        (first_at, first), (last_at, last) = inner[0], inner[-1]
        return (last - first) / (last_at - first_at)


def counters(cluster: Cluster) -> dict[str, int]:
    names = ["dispatches", "completions", "retries", "failures", "expiries", "discards", "cancels", "releases", "drops"]
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in names)
    values = cluster.value(f"SELECT {sums} FROM haul.counters").split("|")
    return dict(zip(names, map(int, values)))


def by_haul(cluster: Cluster, jobs: int) -> Drain:
    """One worker process, from its start to its end. History is off."""
    copy_jobs(cluster, "haul.jobs", jobs)
    before = counters(cluster)
    command = [ROOT / "build/haul", "run", "--dsn", cluster.dsn, "--handler", "noop=builtin:noop", "--exit-when-empty",
               "--log-level", "warning"]
    with Progress(cluster) as progress:
        start = time.monotonic()
        subprocess.run(command, check=True, timeout=PATIENCE)
        seconds = time.monotonic() - start

    expect("jobs left", int(cluster.value("SELECT count(*) FROM haul.jobs")), 0)
    expect("jobs in the history", int(cluster.value("SELECT count(*) FROM haul.finished_jobs")), 0)
    # Nothing failed and nothing was given back once begun: each job ran exactly once. What was fetched and given
    # back without having begun is a dispatch and a release, and then a retry.
    found = {name: count - before[name] for name, count in counters(cluster).items()}
    given_back = found["releases"]
    expect("counters", found, {name: 0 for name in found} | {
        "dispatches": jobs, "completions": jobs, "retries": given_back, "releases": given_back})
    cluster.psql("-c", "VACUUM haul.jobs")
    return Drain(jobs / seconds, progress.steady_rate(before["completions"], jobs))


# SKIP LOCKED --------------------------------------------------------------------------------------------------------


def by_skip_locked(cluster: Cluster, jobs: int, clients: int, batch: int = 100) -> Drain:
    """pgbench clients that claim and delete batches; the time is theirs without connecting."""
    cluster.psql("-f", str(HERE / "skip_locked_table.sql"))
    copy_jobs(cluster, "bench.jobs", jobs)
    # As many transactions as there are batches: each takes a full one while there is one.
    transactions = -(-jobs // (batch * clients))
    bindir = cluster.value("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    done = subprocess.run(
        [f"{bindir}/pgbench", "--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--jobs={clients}",
         f"--transactions={transactions}", f"--define=batch={batch}", f"--file={HERE / 'skip_locked.sql'}"],
        check=True, timeout=PATIENCE, env=cluster.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    expect("jobs left", int(cluster.value("SELECT count(*) FROM bench.jobs")), 0)
    per_second = float(re.search(r"^tps = ([0-9.]+) \(without", done.stdout, re.MULTILINE).group(1))
    cluster.psql("-c", "DROP TABLE bench.jobs", "-c", "DROP SCHEMA bench")
    return Drain(jobs / (transactions * clients / per_second))
