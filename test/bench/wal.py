"""What a checkout and a completion of a thousand jobs write, and how many claims were HOT updates."""

import re
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster
from drain import copy_jobs, expect

HERE = Path(__file__).resolve().parent
JOBS = 1000


@dataclass
class Cost:
    checkout: float     # WAL records a job
    completion: float   # WAL records a job
    hot: float          # share of the updates of haul.jobs, in percent
    plans: str


def explain(cluster: Cluster) -> tuple[float, float, str]:
    copy_jobs(cluster, "haul.jobs", 2 * JOBS)
    plans = cluster.psql("-f", str(HERE / "wal.sql"))
    expect("jobs left", int(cluster.value("SELECT count(*) FROM haul.jobs")), 0)
    records = [int(n) for n in re.findall(r"^  WAL: records=(\d+)", plans, re.MULTILINE)]
    checkout, completion = records
    return checkout / JOBS, completion / JOBS, plans


def hot_share(cluster: Cluster) -> float:
    """Over everything that this cluster has done."""
    updates, hot = map(int, cluster.value(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'haul.jobs'::regclass").split("|"))
    return 100 * hot / updates


def cost(cluster: Cluster) -> Cost:
    checkout, completion, plans = explain(cluster)
    return Cost(checkout, completion, hot_share(cluster), plans)
