"""What is done to the system during a phase."""

import threading
import time
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Callable, ContextManager, Iterator

from cluster import Cluster, Database
from phases import Phase
from replicas import Replica


class Server(Cluster):
    """A cluster that can be away for a while."""

    def stop(self) -> None:
        self._script("stop")

    def start(self) -> None:
        self._script("start")

    def crashes(self) -> str:
        """Lines of the log."""
        return self._script("crashes")


class Bench:
    """What disturbances act on."""

    def __init__(self, server: Server, database: Database, replicas: list[Replica]):
        self.server = server
        self.database = database
        self.replicas = replicas


@contextmanager
def repeatedly(period: float, action: Callable[[], None]) -> Iterator[None]:
    """Acts in a thread, again and again, until the block ends; an error of the action is raised there."""
    ending, errors = threading.Event(), []

    def run() -> None:
        try:
            while not ending.wait(period):
                action()
        except Exception as error: # pylint: disable=broad-except
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
    if errors:
        raise errors[0]


@contextmanager
def idle_in_transaction(bench: Bench, _phase: Phase) -> Iterator[None]:
    """A transaction with an id, which holds back vacuum."""
    with bench.database.session() as session:
        session.value("BEGIN; SELECT txid_current()")
        yield
        session.value("SELECT 1; COMMIT")


@contextmanager
def active_readers(bench: Bench, phase: Phase) -> Iterator[None]:
    """Transactions that keep one snapshot and read the table of jobs through it, over and over."""
    with ExitStack() as stack:
        for _ in range(int(phase.number("count", 4))):
            session = stack.enter_context(bench.database.session())
            session.value("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
            read = partial(session.value, "SELECT count(*) FROM haul.jobs")
            stack.enter_context(repeatedly(0.1, read))
        yield


def chosen(bench: Bench, phase: Phase) -> Replica:
    return bench.replicas[int(phase.number("instance", 0))]


@contextmanager
def kill_worker(bench: Bench, phase: Phase) -> Iterator[None]:
    chosen(bench, phase).kill()
    yield


@contextmanager
def start_worker(bench: Bench, phase: Phase) -> Iterator[None]:
    chosen(bench, phase).start()
    yield


@contextmanager
def repeated_kill(bench: Bench, phase: Phase) -> Iterator[None]:
    replica = chosen(bench, phase)

    def kill_and_start() -> None:
        replica.kill()
        time.sleep(1)   # gone for so long
        replica.start()

    with repeatedly(phase.number("period", 20), kill_and_start):
        yield


@contextmanager
def postgres_restart(bench: Bench, phase: Phase) -> Iterator[None]:
    """The server is away for the first half of the phase."""
    bench.server.stop()
    starter = threading.Timer(phase.seconds / 2, bench.server.start)
    starter.start()
    try:
        yield
    finally:
        starter.join()


@contextmanager
def backend_kill(bench: Bench, phase: Phase) -> Iterator[None]:
    """Ends whatever is at work in the database: several times a second."""
    victims = ("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
               f" WHERE datname = '{bench.database.name}' AND state IN ('active', 'idle in transaction')")
    with Database(bench.server, "postgres").session() as session:
        with repeatedly(1 / phase.number("rate", 2), partial(session.value, victims)):
            yield


BY_TYPE = {
    "idle-in-tx": idle_in_transaction,
    "active-readers": active_readers,
    "kill-worker": kill_worker,
    "start-worker": start_worker,
    "repeated-kill": repeated_kill,
    "postgres-restart": postgres_restart,
    "pg-backend-kill": backend_kill,
}


def disturbance(bench: Bench, phase: Phase) -> ContextManager[None]:
    make = BY_TYPE.get(phase.type)
    return make(bench, phase) if make else nullcontext()
