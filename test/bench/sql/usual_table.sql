-- The table of jobs that people write themselves, with the index that they give it; and, tuned, without the state in
-- the index and with room for a second version, so that a claim is a HOT update.
CREATE SCHEMA bench;
CREATE TABLE bench.jobs (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	queue      text NOT NULL DEFAULT 'default',
	kind       text NOT NULL,
	args       jsonb NOT NULL DEFAULT '{}',
	priority   smallint NOT NULL DEFAULT 16383,
	run_at     timestamptz NOT NULL DEFAULT now(),
	state      text NOT NULL DEFAULT 'ready',
	attempt    integer NOT NULL DEFAULT 0,
	worker_id  bigint,
	started_at timestamptz
);
\if :tuned
ALTER TABLE bench.jobs SET (fillfactor = 50);
CREATE INDEX ON bench.jobs (queue, priority, run_at, id);
\else
CREATE INDEX ON bench.jobs (queue, priority, run_at, id) WHERE state = 'ready';
\endif
