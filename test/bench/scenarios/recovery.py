"""Workers that die in mid-job: how long until their jobs run elsewhere."""

import time
from contextlib import ExitStack
from functools import partial

import haul
from cluster import Database, Session
from result import Goal, Row, Table, in_turn
from scenario import Bench

JOBS = 4            # of a worker
HEARTBEAT = 2       # seconds between two of a worker
PATIENCE = 120      # seconds

WAYS = ["listen", "call", "poll"]   # in which an idle worker waits
KILLED = {(way, by_tcp): f"killed, --wait {way}, {'by TCP' if by_tcp else 'on the server'}" for way in WAYS
          for by_tcp in (False, True)}
STOPPED = "stopped: its connections stay open"


class Victim:
    """A worker in the middle of jobs that take far longer than the measurement."""

    def __init__(self, stack: ExitStack, database: Database, session: Session, way: str, by_tcp: bool):
        self._database, self._session = database, session
        haul.load(database, JOBS, kind="sleep", args='{"seconds": 3600}')
        self.worker = start_worker(stack, database, JOBS, way, by_tcp)
        held = (f"FROM haul.jobs WHERE started_at IS NOT NULL AND worker_id = "
                f"(SELECT id FROM haul.workers WHERE pid = {self.worker.process.pid})")
        database.wait_for("the worker runs its jobs", f"SELECT count(*) = {JOBS} {held}", session)
        self._jobs = session.value(f"SELECT array_agg(id) {held}")

    def end(self, stopped: bool) -> None:
        self._ended = time.time()
        if stopped:
            self.worker.freeze()
        else:
            self.worker.kill()

    def recovery(self) -> float:
        """Seconds from its end until the last of its jobs had begun elsewhere, each under its second claim."""
        again = f"FROM haul.jobs WHERE id = ANY ('{self._jobs}') AND claim = 2"
        self._database.wait_for("the jobs run elsewhere", f"SELECT count(started_at) = {JOBS} {again}", self._session,
                                PATIENCE)
        return float(self._session.value(f"SELECT extract(epoch FROM max(started_at)) {again}")) - self._ended


def start_worker(stack: ExitStack, database: Database, threads: int, way: str = "listen",
                 by_tcp: bool = False) -> haul.Worker:
    worker = haul.Worker(database, "sleep=builtin:sleep", options=("--threads", str(threads), "--wait", way),
                         dsn=database.tcp_dsn if by_tcp else None)
    stack.callback(worker.kill)
    return worker


def recoveries(bench: Bench, victims: int, stopped: bool = False, way: str = "listen",
               by_tcp: bool = False) -> list[float]:
    """Of several workers at once, for each. Another takes over, which listens."""
    with haul.database(bench.cluster) as database, database.session() as session, ExitStack() as stack:
        dying = [Victim(stack, database, session, way, by_tcp) for _ in range(victims)]
        start_worker(stack, database, victims * JOBS)
        database.wait_for("another worker waits", "SELECT waiting_workers = 1 FROM haul.background", session)
        for victim in dying:
            victim.end(stopped)
            # So that their last heartbeats are of different ages.
            time.sleep(HEARTBEAT / victims if victim is not dying[-1] else 0)
        return [victim.recovery() for victim in dying]


def measure(bench: Bench) -> list[Table]:
    rounds = bench.sizes.rounds
    killed = in_turn(rounds, {name: partial(lambda way, by_tcp: recoveries(bench, 1, False, way, by_tcp)[0], *key)
                              for key, name in KILLED.items()})
    stopped = in_turn(1, {STOPPED: lambda: recoveries(bench, rounds, True)})[STOPPED][0]
    return [Table("A worker ends in the middle of its jobs; seconds until they run elsewhere", "s",
                  [*(Row(name, killed[name]) for name in KILLED.values()), Row(STOPPED, stopped)],
                  [*(Goal(name, "s", killed[name], at_most=5) for name in KILLED.values()),
                   Goal(STOPPED, "s", stopped, at_most=15)])]
