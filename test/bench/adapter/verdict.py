"""Whether every job that was enqueued ran, and ran once, or as often more as its worker died under it."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster import ROOT, Database, WrongResult, expect

CHECKER = ROOT / "build/cmake/test/haul_check"

PREPARE = r"""
CREATE TABLE executions (job_id bigint);
\copy executions FROM '{file}'
CREATE VIEW job AS
    SELECT id, state, interruptions, args->>'producer' AS producer, (args->>'number')::bigint AS number FROM haul.jobs
    UNION ALL
    SELECT id, state, interruptions, args->>'producer', (args->>'number')::bigint FROM haul.finished_jobs;
CREATE TABLE run AS
    SELECT id, state, interruptions, producer, number, count(job_id) AS executions
        FROM job LEFT JOIN executions ON job_id = id GROUP BY 1, 2, 3, 4, 5;
"""

# A producer numbers its jobs from 1 and enqueues them in order, so one that was lost leaves a gap. A batch
# that met a lost connection is enqueued again: its numbers may be there twice.
FACTS = """
SELECT jsonb_build_object(
    'jobs', count(*),
    'not completed', count(*) FILTER (WHERE state <> 'completed'),
    'lost', (SELECT coalesce(sum(last - seen), 0)
        FROM (SELECT max(number) AS last, count(DISTINCT number) AS seen FROM run GROUP BY producer) AS producers),
    'enqueued again', count(*) - count(DISTINCT (producer, number)),
    'executions', (SELECT count(*) FROM executions),
    'executed but unknown', (SELECT count(*) FROM executions WHERE NOT EXISTS (SELECT FROM run WHERE id = job_id)),
    'completed without running', count(*) FILTER (WHERE state = 'completed' AND executions = 0),
    'ran again', count(*) FILTER (WHERE executions > 1),
    'ran again without an interruption', count(*) FILTER (WHERE executions > 1 + interruptions),
    'interrupted', count(*) FILTER (WHERE interruptions > 0))
    FROM run
"""
WRONG = ["not completed", "lost", "executed but unknown", "completed without running", "ran again without an interruption"]


@dataclass
class Verdict:
    facts: dict[str, int]

    def __str__(self) -> str:
        facts = self.facts
        return (f"{facts['jobs']} jobs completed, none was lost. {facts['ran again']} ran more than once, all of them among "
                f"the {facts['interrupted']} whose worker was killed or given up for dead. {facts['enqueued again']} were "
                "enqueued twice, by producers that lost their connection.")


def judge(database: Database, executions: Path, interrupted: bool) -> Verdict:
    """Raises when a result is wrong. Nobody may be at work, and nothing be left in the queue. Without
    anything that interrupts jobs, none may run twice."""
    checked = subprocess.run([CHECKER, database.dsn], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if checked.returncode != 0:
        raise WrongResult(f"haul_check found:\n{checked.stdout}")
    preparation = executions.with_name("prepare.sql")
    preparation.write_text(PREPARE.format(file=executions))
    database.psql("-f", str(preparation))
    facts = json.loads(database.value(FACTS))
    for name in WRONG + ([] if interrupted else ["ran again"]):
        expect(f"jobs: {name}", facts[name], 0)
    return Verdict(facts)
