"""Many clients that insert one job a transaction: what wake-ups cost them."""

from contextlib import ExitStack

import haul
import pgbench
from cluster import expect
from result import Goal, Row, Table, in_turn, ratios
from scenario import Bench

CLIENTS = 32
PLAIN = "an identical table without triggers or wake-ups"
NOBODY = "haul.jobs, nobody waiting"
WAITING = "haul.jobs, a worker waiting for the queue"
NOTIFY = "the identical table, NOTIFY in a trigger"
NOTE = """The waiting worker is the worker program. It takes the queue but has a handler for another kind only, so each
wake-up costs it a look and it waits again. Nobody listens to the NOTIFY of the trigger."""


def inserts(bench: Bench, table: str, waiting: bool = False, notify: bool = False) -> float:
    with haul.database(bench.cluster) as database, ExitStack() as stack:
        database.psql("-f", str(pgbench.SQL / "plain_table.sql"))
        if notify:
            database.psql("-f", str(pgbench.SQL / "notify_trigger.sql"))
        if waiting:
            stack.enter_context(haul.Worker(database, "never=builtin:noop"))
            with database.session() as session:
                database.wait_for("a worker waits", "SELECT waiting_workers = 1 FROM haul.background", session)
        timeline = pgbench.run(database, pgbench.SQL / f"insert_{table}.sql", CLIENTS, seconds=bench.sizes.insert_seconds)
        schema = {"haul": "haul", "plain": "bench"}[table]
        expect("jobs inserted", database.number(f"SELECT count(*) FROM {schema}.jobs"), timeline.finished)
    return timeline.rate()


def measure(bench: Bench) -> list[Table]:
    rates = in_turn(bench.sizes.rounds, {
        PLAIN: lambda: inserts(bench, "plain"),
        NOBODY: lambda: inserts(bench, "haul"),
        WAITING: lambda: inserts(bench, "haul", waiting=True),
        NOTIFY: lambda: inserts(bench, "plain", notify=True),
    })
    goals = [Goal("with a worker waiting, against the identical table", "%", ratios(rates[WAITING], rates[PLAIN]), at_least=95),
             Goal("with a worker waiting, against nobody waiting", "%", ratios(rates[WAITING], rates[NOBODY]), at_least=95),
             Goal("NOTIFY in a trigger, against the identical table", "%", ratios(rates[NOTIFY], rates[PLAIN]))]
    return [Table(f"{CLIENTS} clients inserting one job a transaction", "transactions/s",
                  [Row(name, values) for name, values in rates.items()], goals, NOTE)]
