"""Other queues: graphile-worker and pg-boss from npm, PgQ from Debian. Their workers are the programs in peers/."""

import json
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import pgbench
from cluster import ROOT, Cluster, Database, expect
from timeline import Timeline

HERE = Path(__file__).resolve().parent / "peers"
INSTALLED = ROOT / "build/bench/peers"
PATIENCE = 120      # seconds for one program
LONGEST = 6         # seconds of a drain, whatever is left then


def install() -> None:
    """What package-lock.json pins, once."""
    lock, kept = HERE / "package-lock.json", INSTALLED / "node_modules/.package-lock.json"
    if kept.exists() and kept.stat().st_mtime >= lock.stat().st_mtime:
        return
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(HERE / name, INSTALLED / name)
    subprocess.run(["npm", "ci", "--silent"], check=True, cwd=INSTALLED)


def version(package: str) -> str:
    return json.loads((INSTALLED / "node_modules" / package / "package.json").read_text())["version"]


def node() -> str:
    """The Node.js that came with the peers: they ask for a newer one than Debian has."""
    return str(next(INSTALLED.glob("node_modules/node-linux-*/bin/node")))


def command(program: str, *arguments: str) -> list[str]:
    return [node(), str(HERE / program), *arguments]


def environment(database: Database) -> dict[str, str]:
    return database.environment() | {"NODE_PATH": str(INSTALLED / "node_modules"), "NODE_ENV": "production"}


def run(database: Database, program: str, action: str, argument: object = None) -> str:
    arguments = [action] if argument is None else [action, json.dumps(argument)]
    return subprocess.run(command(program, *arguments), check=True, timeout=PATIENCE, env=environment(database),
                          stdout=subprocess.PIPE, text=True).stdout


def drain(database: Database, program: str, **limit) -> Timeline:
    """Its time begins when the program has started and ends when everything it has done is in the database."""
    limit = {"seconds": LONGEST} | limit
    timeline = Timeline()
    for line in run(database, program, "drain", limit).splitlines():
        sample = json.loads(line)
        timeline.add(sample["at"], sample["finished"])
    if "jobs" in limit and timeline.seconds < limit["seconds"]:
        expect("jobs that ran", timeline.finished, limit["jobs"])
    return timeline


class GraphileWorker:
    program = "graphile_worker.js"
    pinned_share = 1

    def __init__(self, tuned: bool):
        self.tuned = tuned
        self.share = 0.4 if tuned else 0.05
        self.name = f"graphile-worker {version('graphile-worker')}, " + (
            "tuned: local queue of 500, 24 at a time, completions batched" if tuned else "default")

    @contextmanager
    def database(self, cluster: Cluster) -> Iterator[Database]:
        with cluster.database() as database:
            run(database, self.program, "prepare")
            yield database

    def load(self, database: Database, jobs: int) -> None:
        database.psql("-v", f"jobs={jobs}", "-f", str(pgbench.SQL / "graphile_load.sql"))
        database.settle("graphile_worker._private_jobs")

    def left(self, database: Database) -> int:
        return database.number("SELECT count(*) FROM graphile_worker._private_jobs")

    def drain(self, database: Database, **limit) -> Timeline:
        before = self.left(database)
        timeline = drain(database, self.program, tuned=self.tuned, **limit)
        expect("jobs that are gone", before - self.left(database), timeline.finished)
        return timeline


class PgBoss:
    program = "pg_boss.js"
    share = 0.3
    pinned_share = 1

    def __init__(self):
        self.name = f"pg-boss {version('pg-boss')}, 4 loops, batches of 1000"

    @contextmanager
    def database(self, cluster: Cluster) -> Iterator[Database]:
        with cluster.database() as database:
            run(database, self.program, "prepare")
            yield database

    def load(self, database: Database, jobs: int) -> None:
        database.copy("pgboss.job", jobs, name="bench")
        database.settle("pgboss.job")

    def drain(self, database: Database, **limit) -> Timeline:
        timeline = drain(database, self.program, **limit)
        completed = "SELECT count(*) FROM pgboss.job WHERE name = 'bench' AND state = 'completed'"
        expect("jobs completed", database.number(completed), timeline.finished)
        return timeline


class PgQ:
    program = "pgq.js"
    share = 1
    pinned_share = 0.2
    BATCH = 1000

    def __init__(self):
        self.name = "PgQ (batches to one consumer, no state per job)"

    @contextmanager
    def database(self, cluster: Cluster) -> Iterator[Database]:
        with cluster.database("pgq") as database:
            database.psql("-c", "SELECT pgq.create_queue('bench'), pgq.set_queue_config('bench', 'ticker_max_count', '1'), "
                                "pgq.register_consumer('bench', 'worker')")
            yield database

    def load(self, database: Database, jobs: int) -> None:
        pgbench.run(database, pgbench.SQL / "pgq_load.sql", clients=1, transactions=jobs // self.BATCH, batch=self.BATCH)
        database.psql("-c", "CHECKPOINT")

    def consumed(self, database: Database) -> int:
        """Events before the tick up to which the consumer has finished. The first tick is older than any event."""
        return database.number("SELECT count(*) FROM pgq.event_1 WHERE ev_id <= (SELECT tick_event_seq FROM pgq.tick, "
                               "pgq.subscription WHERE tick_id = sub_last_tick AND tick_id > 1)")

    def drain(self, database: Database, **limit) -> Timeline:
        before = self.consumed(database)
        timeline = drain(database, self.program, **limit)
        expect("events of finished batches", self.consumed(database) - before, timeline.finished)
        return timeline
