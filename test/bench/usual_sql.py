"""The queue that people write themselves: a table, an index, FOR UPDATE SKIP LOCKED."""

from contextlib import contextmanager
from typing import Iterator, Optional

import pgbench
from cluster import Cluster, Database, expect
from timeline import Timeline


class UsualSql:
    CLIENTS = 4
    BATCH = 100
    SPARE = CLIENTS * BATCH     # so that every transaction finds a full batch
    share = 0.5
    pinned_share = 1

    def __init__(self, tuned: bool):
        self._tuned = tuned
        self.name = f"the usual SQL, {self.CLIENTS} clients, batches of {self.BATCH}"
        if tuned:
            self.name += ", claims HOT and without flush"

    @contextmanager
    def database(self, cluster: Cluster) -> Iterator[Database]:
        with cluster.database() as database:
            database.psql("-v", f"tuned={self._tuned}", "-f", str(pgbench.SQL / "usual_table.sql"))
            yield database

    def load(self, database: Database, jobs: int) -> None:
        database.copy("bench.jobs", jobs + self.SPARE, kind="noop")
        database.settle("bench.jobs")

    def drain(self, database: Database, jobs: int = 0, seconds: Optional[int] = None) -> Timeline:
        before = database.number("SELECT count(*) FROM bench.jobs")
        timeline = pgbench.run(database, pgbench.SQL / "usual_work.sql", self.CLIENTS, self.BATCH, seconds=seconds,
                               transactions=jobs // self.SPARE or None, batch=self.BATCH,
                               claim_flush="off" if self._tuned else "on")
        expect("jobs deleted", before - database.number("SELECT count(*) FROM bench.jobs"), timeline.finished)
        return timeline
