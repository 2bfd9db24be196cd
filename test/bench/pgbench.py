"""SQL clients, run by pgbench; its log tells when each transaction ended."""

import subprocess
import tempfile
from pathlib import Path
from typing import Optional

from cluster import Database
from timeline import Timeline

SQL = Path(__file__).resolve().parent / "sql"
THREADS = 2
PATIENCE = 600  # seconds


def run(database: Database, script: Path, clients: int, worth: int = 1, transactions: Optional[int] = None,
        seconds: Optional[int] = None, **variables: object) -> Timeline:
    """So many transactions of each client, or as many as they get done in so many seconds. Each is worth so many jobs."""
    limit = f"--transactions={transactions}" if transactions else f"--time={seconds}"
    lines = logged(database, script, clients, limit, *(f"--define={name}={value}" for name, value in variables.items()))
    ends = sorted((line[4] + line[5] / 1e6, line[2] / 1e6) for line in lines)
    start = min(end - took for end, took in ends)
    timeline = Timeline()
    for number, (end, _) in enumerate(ends, 1):
        timeline.add(end - start, number * worth)
    return timeline


def latencies(database: Database, script: Path, clients: int, rate: int, seconds: int) -> list[float]:
    """Seconds that each transaction took, so many a second, from when it was due."""
    return [line[2] / 1e6 for line in logged(database, script, clients, f"--time={seconds}", f"--rate={rate}")]


def logged(database: Database, script: Path, clients: int, *options: str) -> list[list[int]]:
    """Client, number, microseconds it took, script, time at which it ended in seconds and microseconds: of each."""
    with tempfile.TemporaryDirectory(prefix="haul-pgbench.") as logs:
        subprocess.run(
            [f"{database.bindir}/pgbench", "--no-vacuum", "--protocol=prepared", f"--client={clients}",
             f"--jobs={min(clients, THREADS)}", f"--file={script}", "--log", *options],
            check=True, timeout=PATIENCE, env=database.environment(), cwd=logs, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        return [list(map(int, line.split())) for log in Path(logs).iterdir() for line in log.read_text().splitlines()]
