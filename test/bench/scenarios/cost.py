"""What a checkout and a completion of a thousand jobs write, and how many claims are HOT updates."""

import re

import haul
import pgbench
from cluster import expect
from result import Goal, Row, Table, in_turn
from scenario import Bench

JOBS = 1000


def explain(bench: Bench) -> tuple[float, float, float]:
    """WAL records a job of the checkout and of the completion, and the share of HOT updates in percent."""
    with haul.database(bench.cluster) as database:
        haul.load(database, 2 * JOBS)
        database.settle("haul.jobs")
        with haul.each_job_once(database):
            plans = database.psql("-f", str(pgbench.SQL / "cost.sql"))
        expect("jobs left", database.number("SELECT count(*) FROM haul.jobs"), 0)
        (bench.directory / "plans.txt").write_text(plans + "\n")
        checkout, completion = (int(n) / JOBS for n in re.findall(r"^  WAL: records=(\d+)", plans, re.MULTILINE))
        updates, hot = map(int, database.value(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'haul.jobs'::regclass").split("|"))
    return checkout, completion, 100 * hot / updates


def measure(bench: Bench) -> list[Table]:
    costs = in_turn(bench.sizes.rounds, {"haul": lambda: explain(bench)})["haul"]
    checkout, completion, hot = map(list, zip(*costs))
    return [Table(f"What a job costs, {JOBS} at a time", "WAL records", [Row("checkout", checkout), Row("completion", completion)],
                  [Goal("checkout", "WAL records", checkout, at_most=1.2), Goal("completion", "WAL records", completion, at_most=1.2),
                   Goal("HOT updates of haul.jobs", "%", hot, at_least=95)])]
