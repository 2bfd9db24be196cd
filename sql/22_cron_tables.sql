-- Schedules, and what each of them fired.

CREATE TABLE haul.cron (
	id            bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
	name          text COLLATE "C" PRIMARY KEY CHECK (char_length(name) BETWEEN 1 AND 255),
	schedule      text NOT NULL,
	timezone      text NOT NULL DEFAULT 'UTC',
	kind          text COLLATE "C",
	args          jsonb NOT NULL DEFAULT '{}',
	queue         text COLLATE "C" NOT NULL DEFAULT 'default',
	priority      smallint NOT NULL DEFAULT 16383,
	options       jsonb NOT NULL DEFAULT '{}',
	command       text,
	database      name,
	enabled       boolean NOT NULL DEFAULT true,
	overlap       text NOT NULL DEFAULT 'skip',
	misfire       text NOT NULL DEFAULT 'one',
	misfire_limit integer NOT NULL DEFAULT 100,
	dst_skipped   text NOT NULL DEFAULT 'next',
	dst_repeated  text NOT NULL DEFAULT 'once',
	owner           name NOT NULL DEFAULT current_user,
	owner_id        oid,
	scheduled_by    name,
	scheduled_by_id oid,
	next_run_at   timestamptz,
	last_run_at   timestamptz,
	planned_at    timestamptz NOT NULL DEFAULT now(),
	created_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

COMMENT ON TABLE haul.cron IS 'Schedules: each enqueues a job of a kind, or runs a command, at every tick';
COMMENT ON COLUMN haul.cron.id IS 'Identity; pg_cron''s jobid';
COMMENT ON COLUMN haul.cron.name IS 'Name, 1 to 255 characters; jobs carry it as cron_name';
COMMENT ON COLUMN haul.cron.schedule
	IS 'When: five fields, six with seconds first, @hourly and the like, or "N seconds"; see haul.cron_next()';
COMMENT ON COLUMN haul.cron.timezone IS 'Time zone in which the schedule is meant';
COMMENT ON COLUMN haul.cron.kind IS 'Kind of the jobs it enqueues; NULL for a command';
COMMENT ON COLUMN haul.cron.args IS 'Their arguments';
COMMENT ON COLUMN haul.cron.queue IS 'Their queue';
COMMENT ON COLUMN haul.cron.priority IS 'Their priority';
COMMENT ON COLUMN haul.cron.options IS 'Other options of theirs, as haul.enqueue_many() takes them';
COMMENT ON COLUMN haul.cron.command IS 'SQL to run, as the owner; NULL for jobs';
COMMENT ON COLUMN haul.cron.database IS 'Database to run the command in; NULL: this one';
COMMENT ON COLUMN haul.cron.enabled IS 'false: it fires nothing';
COMMENT ON COLUMN haul.cron.overlap
	IS 'When what it fired last still waits or runs: skip the tick, allow both, or queue one behind';
COMMENT ON COLUMN haul.cron.misfire
	IS 'Ticks missed for longer than the setting haul.misfire_grace, because nothing ran to fire them: none, one (the '
	'last), or all, up to misfire_limit';
COMMENT ON COLUMN haul.cron.misfire_limit
	IS 'How many missed ticks fire at most, the latest ones, where misfire is all; 1 to 10000';
COMMENT ON COLUMN haul.cron.dst_skipped
	IS 'A tick in an hour that the clocks skip: next (fires when the clocks have moved) or skip';
COMMENT ON COLUMN haul.cron.dst_repeated IS 'A tick in an hour that the clocks repeat: once (the first time) or twice';
COMMENT ON COLUMN haul.cron.owner IS 'Role that made the schedule, set by the server; commands run as this role';
COMMENT ON COLUMN haul.cron.owner_id
	IS 'The owner as pg_authid.oid, set by the server: not one who gets the name later; 0: it is gone';
COMMENT ON COLUMN haul.cron.scheduled_by
	IS 'Role that made or changed it, set by the server: it fires while that could become the owner';
COMMENT ON COLUMN haul.cron.scheduled_by_id IS 'That role as pg_authid.oid';
COMMENT ON COLUMN haul.cron.next_run_at IS 'Next tick; NULL: none is to come, or it is not enabled';
COMMENT ON COLUMN haul.cron.last_run_at IS 'Last tick that fired';
COMMENT ON COLUMN haul.cron.planned_at
	IS 'When schedule, timezone, dst_skipped, dst_repeated or enabled were last set: no tick before fires';
COMMENT ON COLUMN haul.cron.created_at IS 'When it was made';

CREATE TABLE haul.cron_runs (
	id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	cron_id     bigint NOT NULL,
	name        text COLLATE "C" NOT NULL,
	run_at      timestamptz NOT NULL,
	fired_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
	state       text NOT NULL,
	job_id      bigint,
	command     text,
	database    name,
	username    name,
	pid         integer,
	started_at  timestamptz,
	finished_at timestamptz,
	duration    interval GENERATED ALWAYS AS (finished_at - started_at) STORED,
	message     text,
	UNIQUE (cron_id, run_at)
) WITH (fillfactor = 70);
-- What is not over yet, by the job and by the schedule.
CREATE INDEX cron_runs_job ON haul.cron_runs (job_id) WHERE finished_at IS NULL AND job_id IS NOT NULL;
CREATE INDEX cron_runs_open ON haul.cron_runs (cron_id, run_at) WHERE finished_at IS NULL;
CREATE INDEX cron_runs_queued ON haul.cron_runs (name) WHERE state = 'queued';
CREATE INDEX cron_runs_commands ON haul.cron_runs (run_at, id) WHERE finished_at IS NULL AND command IS NOT NULL;
CREATE INDEX cron_runs_fired ON haul.cron_runs (fired_at);

COMMENT ON TABLE haul.cron_runs
	IS 'One row per tick that fired: how it went. At most one per schedule and tick. Whoever may write here could run '
	'commands as anybody';
COMMENT ON COLUMN haul.cron_runs.id IS 'Identity; pg_cron''s runid';
COMMENT ON COLUMN haul.cron_runs.cron_id IS 'haul.cron.id';
COMMENT ON COLUMN haul.cron_runs.name IS 'haul.cron.name';
COMMENT ON COLUMN haul.cron_runs.run_at IS 'The tick';
COMMENT ON COLUMN haul.cron_runs.fired_at IS 'When it was fired';
COMMENT ON COLUMN haul.cron_runs.state
	IS 'Of a job: queued (it waits for the one of a tick before), fired, then completed, failed, discarded or cancelled, '
	'or ended when nobody knows how; of a command: starting, running, succeeded or failed, or cancelled before it began; '
	'failed, too, when there is no job; skipped: nothing came of it, see message';
COMMENT ON COLUMN haul.cron_runs.job_id IS 'The job that it enqueued';
COMMENT ON COLUMN haul.cron_runs.command IS 'The command that it ran';
COMMENT ON COLUMN haul.cron_runs.database IS 'In this database';
COMMENT ON COLUMN haul.cron_runs.username IS 'As this role';
COMMENT ON COLUMN haul.cron_runs.pid IS 'In this process';
COMMENT ON COLUMN haul.cron_runs.started_at IS 'When the command, or the last attempt of the job, began';
COMMENT ON COLUMN haul.cron_runs.finished_at IS 'When it ended';
COMMENT ON COLUMN haul.cron_runs.duration IS 'From started_at to finished_at';
COMMENT ON COLUMN haul.cron_runs.message
	IS 'Error of a job that ended without success; error, command tag or number of rows of a command; why a tick was '
	'skipped';
