"""Many idle workers: what they cost those who insert jobs for others, and what the many make of jobs that all may take."""

import time
from contextlib import ExitStack, contextmanager
from typing import Iterator

import haul
import pgbench
from cluster import Database, expect
from result import Goal, Row, Table, in_turn, ratios
from scenario import Bench
from scenarios import latency

CLIENTS = 8     # that insert one job a transaction
SETTLED = "SELECT waiting_workers = {} FROM haul.background"
OPTIONS = '{{"kinds": ["other"], "wake": "{}"}}'
NOTE = "The idle sessions take another kind than that of the jobs; nobody takes those."
SHARED_NOTE = "Jobs/s from the first insert until the last job is done. Each worker is a process of the program."


def wait_by_call(session) -> None:
    session.send(f"CALL haul.checkout_wait(haul.register_worker('idle', '{OPTIONS.format('none')}'), 1, '1 h')")


def wait_by_listen(session) -> None:
    worker = session.value(f"SELECT haul.register_worker('idle', '{OPTIONS.format('worker')}')")
    session.value(f"LISTEN haul_worker_{worker}; SELECT count(*) FROM haul.checkout({worker})")


def wait_by_poll(session) -> None:
    worker = session.value(f"SELECT haul.register_worker('idle', '{OPTIONS.format('none')}')")
    session.value(f"SELECT count(*) FROM haul.checkout({worker})")


WAYS = {"call": wait_by_call, "listen": wait_by_listen, "poll": wait_by_poll}


@contextmanager
def idle(database: Database, sessions: int, way: str) -> Iterator[None]:
    """So many sessions that wait for jobs of another kind."""
    crowd = []
    try:
        for _ in range(sessions):
            crowd.append(database.session())
            WAYS[way](crowd[-1])
        with database.session() as session:
            database.wait_for("all are idle", SETTLED.format(0 if way == "poll" else sessions), session)
        yield
    finally:
        for session in crowd:
            session.kill()


def inserts(bench: Bench, sessions: int, way: str) -> float:
    with haul.database(bench.cluster) as database, idle(database, sessions, way):
        timeline = pgbench.run(database, pgbench.SQL / "insert_haul.sql", CLIENTS, seconds=bench.sizes.insert_seconds)
        expect("jobs inserted", database.number("SELECT count(*) FROM haul.jobs"), timeline.finished)
        return timeline.rate()


def p50_beside(bench: Bench, sessions: int) -> float:
    """Milliseconds from the commit of an INSERT until the handler of the one worker for it begins."""
    return latency.by_haul(bench, "listen", lambda database: idle(database, sessions, "call"))["from the commit, p50"]


def shared(bench: Bench, workers: int, wait: str) -> float:
    with haul.database(bench.cluster) as database, ExitStack() as stack, database.session() as session:
        for _ in range(workers):
            stack.enter_context(haul.Worker(database, "noop=builtin:noop", options=("--wait", wait)))
        database.wait_for("all are idle", SETTLED.format(workers), session)
        start = time.monotonic()
        inserted = pgbench.run(database, pgbench.SQL / "insert_haul.sql", CLIENTS, seconds=bench.sizes.insert_seconds).finished
        database.wait_for("all jobs are done", "SELECT NOT EXISTS (SELECT FROM haul.jobs)", session, haul.PATIENCE)
        rate = inserted / (time.monotonic() - start)
        expect("completions", haul.counters(database)["completions"], inserted)
        return rate


def measure(bench: Bench) -> list[Table]:
    sizes = bench.sizes
    nobody = "nobody"
    ways = {way: f"{sizes.crowd} idle by {way}" for way in WAYS}
    rates = in_turn(sizes.rounds, {nobody: lambda: inserts(bench, 0, "poll")} |
                    {name: lambda way=way: inserts(bench, sizes.crowd, way) for way, name in ways.items()})
    waits = in_turn(sizes.rounds, {nobody: lambda: p50_beside(bench, 0), ways["call"]: lambda: p50_beside(bench, sizes.crowd)})
    fleets = in_turn(sizes.rounds, {f"{count} by {wait}": lambda count=count, wait=wait: shared(bench, count, wait)
                                    for wait in ("listen", "call") for count in (1, sizes.fleet)})
    return [Table(f"{CLIENTS} clients inserting one job a transaction, beside idle workers of another kind",
                  "transactions/s", [Row(name, values) for name, values in rates.items()],
                  [Goal(f"{name}, against nobody", "%", ratios(rates[name], rates[nobody]), at_least=95)
                   for name in ways.values()], NOTE),
            Table("From the commit of an INSERT until the handler begins, beside idle workers of another kind", "ms, p50",
                  [Row(name, values) for name, values in waits.items()],
                  [Goal(ways["call"], "ms", waits[ways["call"]], at_most=1)]),
            Table(f"What {CLIENTS} clients insert, run by idle workers of its kind", "jobs/s",
                  [Row(name, values) for name, values in fleets.items()],
                  [Goal(f"{sizes.fleet} by {wait}, against 1", "%",
                        ratios(fleets[f"{sizes.fleet} by {wait}"], fleets[f"1 by {wait}"]), at_least=80)
                   for wait in ("listen", "call")], SHARED_NOTE)]
