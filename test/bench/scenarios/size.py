"""What a job takes: bytes of WAL to insert it and to work it off, and bytes of disk while it waits."""

import haul
import pgbench
from cluster import Database, expect
from result import Goal, Row, Table, in_turn
from scenario import Bench

BATCHES = (100, 1000)
INSERT = "insert (INSERT … SELECT)"
WAITING = "disk of a million jobs that wait, with indexes"
NOTE = "Full page images apart: how many there are depends on checkpoints."


def work(batch: int, history: bool) -> str:
    return f"check out and complete, batches of {batch}" + (", with history" if history else "")


def written(database: Database, *statements: str) -> int:
    """Bytes of WAL records that the statements write, full page images apart."""
    position = "SELECT pg_current_wal_flush_lsn()"
    flush = ("-c", "SELECT pg_logical_emit_message(true, 'bench', '')")     # commits, so that all before it is on disk
    database.psql(*flush)
    start = database.value(position)
    for statement in statements:
        database.value(statement)
    database.psql(*flush)
    return database.number(f"SELECT sum(record_length - fpi_length) FROM pg_get_wal_records_info('{start}', "
                           f"({position}))")


def of_work(bench: Bench, batch: int, history: bool) -> float:
    with haul.database(bench.cluster, history) as database:
        database.psql("-c", "CREATE EXTENSION pg_walinspect", "-f", str(pgbench.SQL / "work_in_batches.sql"))
        haul.load(database, bench.sizes.wal_jobs)
        database.settle("haul.jobs")
        bytes_written = written(database, f"CALL work_in_batches({batch})")
        expect("jobs left", database.number("SELECT count(*) FROM haul.jobs"), 0)
        return bytes_written / bench.sizes.wal_jobs


def of_insert(bench: Bench) -> float:
    with haul.database(bench.cluster) as database:
        database.psql("-c", "CREATE EXTENSION pg_walinspect")
        jobs = bench.sizes.wal_jobs
        return written(database, f"INSERT INTO haul.jobs (kind) SELECT 'noop' FROM generate_series(1, {jobs})") / jobs


def of_waiting(bench: Bench) -> float:
    """Megabytes."""
    with haul.database(bench.cluster) as database:
        haul.load(database, bench.sizes.bulk)
        size = database.number("SELECT pg_total_relation_size('haul.jobs')")
        return size / bench.sizes.bulk * 1_000_000 / 2**20


def measure(bench: Bench) -> list[Table]:
    kinds = [(batch, history) for history in (False, True) for batch in BATCHES]
    figures = in_turn(bench.sizes.rounds, {
        INSERT: lambda: of_insert(bench),
        **{work(*kind): lambda kind=kind: of_work(bench, *kind) for kind in kinds},
        WAITING: lambda: of_waiting(bench),
    })
    waiting = figures.pop(WAITING)
    goals = [Goal(INSERT, "bytes", figures[INSERT], at_most=390)]
    goals += [Goal(work(*kind), "bytes", figures[work(*kind)], at_most=500 if kind[1] else 240) for kind in kinds]
    return [Table("WAL of a job", "bytes", [Row(name, values) for name, values in figures.items()], goals, NOTE),
            Table("Disk", "MB", [Row(WAITING, waiting)])]
