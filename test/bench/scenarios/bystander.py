"""An application with a table of its own beside a busy queue, while a long transaction pins the horizon."""

from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles

import haul
import pgbench
from cluster import Database
from result import Goal, Row, Table, in_turn
from scenario import Bench

JOBS = 2000         # a second, one insert each
CLIENTS = 8         # that insert them
UPDATES = 100       # a second, of the bystander
SETTLED = 60        # seconds after the horizon is free
ALONE = "alone"
BESIDE = f"beside {JOBS} jobs/s"
NOTE = f"""An update of one row of its own, {UPDATES} a second, from the moment when it was due. In both rows the horizon
is pinned all the while."""
DEAD = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'haul.jobs'::regclass"
SIZE = "SELECT pg_total_relation_size('haul.jobs') / 1048576"


def p99(database: Database, seconds: int) -> float:
    """Milliseconds."""
    took = pgbench.latencies(database, pgbench.SQL / "bystander.sql", 1, UPDATES, seconds)
    return quantiles(took, n=100)[98] * 1000


def alone(bench: Bench) -> float:
    with haul.database(bench.cluster) as database:
        database.psql("-f", str(pgbench.SQL / "bystander_table.sql"))
        with database.pinned_horizon():
            return p99(database, bench.sizes.bystander_seconds)


def beside(bench: Bench) -> tuple[float, float, list[int]]:
    """The p99, the rate of jobs; then megabytes and dead rows of haul.jobs, horizon pinned, and a while after that."""
    with haul.database(bench.cluster) as database:
        database.psql("-f", str(pgbench.SQL / "bystander_table.sql"))
        with haul.Worker(database, "noop=builtin:noop"):
            with database.pinned_horizon():
                with ThreadPoolExecutor() as threads:
                    producer = threads.submit(pgbench.latencies, database, pgbench.SQL / "insert_haul.sql", CLIENTS,
                                              JOBS, bench.sizes.bystander_seconds)
                    latency = p99(database, bench.sizes.bystander_seconds)
                    rate = len(producer.result()) / bench.sizes.bystander_seconds
                left = [database.number(SIZE), database.number(DEAD)]
            with database.session() as session:
                session.value(f"SELECT 1 FROM pg_sleep({SETTLED if not bench.tiny else 1})")
            return latency, rate, left + [database.number(SIZE), database.number(DEAD)]


def measure(bench: Bench) -> list[Table]:
    results = in_turn(1, {ALONE: lambda: alone(bench), BESIDE: lambda: beside(bench)})
    before, (after, rate, left) = results[ALONE], results[BESIDE][0]
    minutes = bench.sizes.bystander_seconds / 60
    return [Table(f"p99 of a bystander, for {minutes:.2g} minutes", "ms",
                  [Row(ALONE, before), Row(BESIDE, [after], f"{rate:.0f} jobs/s reached")],
                  [Goal("beside the queue, against alone", "times", [after / before[0]], at_most=1.05)], NOTE),
            Table("haul.jobs after that", "count or MB", [
                Row("MB, horizon pinned", [left[0]]), Row("dead rows, horizon pinned", [left[1]]),
                Row(f"MB, {SETTLED} s later", [left[2]]), Row(f"dead rows, {SETTLED} s later", [left[3]])])]
