-- What people read.

CREATE VIEW haul.counters AS
	SELECT day, queue,
		   sum(dispatches)::bigint AS dispatches, sum(retries)::bigint AS retries,
		   sum(completions)::bigint AS completions, sum(failures)::bigint AS failures,
		   sum(expiries)::bigint AS expiries, sum(discards)::bigint AS discards, sum(cancels)::bigint AS cancels,
		   sum(releases)::bigint AS releases, sum(drops)::bigint AS drops
		FROM (
			SELECT day, queue, dispatches, retries, completions, failures, expiries, discards, cancels, releases, drops
				FROM haul.counter_totals
			UNION ALL
			SELECT day, queue, dispatches, retries, completions, failures, expiries, discards, cancels, releases, drops
				FROM haul._ledger WHERE queue IS NOT NULL
		) AS c
		GROUP BY day, queue;
COMMENT ON VIEW haul.counters IS
'Exact counts per UTC day and queue. Summed over all: dispatches + retries = completions + failures + expiries + '
	'discards + cancels + releases + running now';
COMMENT ON COLUMN haul.counters.day IS 'UTC day';
COMMENT ON COLUMN haul.counters.queue IS 'Queue';
COMMENT ON COLUMN haul.counters.dispatches IS 'First checkouts of jobs';
COMMENT ON COLUMN haul.counters.retries IS 'Later checkouts';
COMMENT ON COLUMN haul.counters.completions IS 'Jobs that completed';
COMMENT ON COLUMN haul.counters.failures IS 'Failed attempts that will be tried again';
COMMENT ON COLUMN haul.counters.expiries IS 'Failed attempts that were the last';
COMMENT ON COLUMN haul.counters.discards IS 'Jobs discarded while running';
COMMENT ON COLUMN haul.counters.cancels IS 'Jobs cancelled while running';
COMMENT ON COLUMN haul.counters.releases IS 'Jobs given back unfinished: shutdown, dead worker, snooze';
COMMENT ON COLUMN haul.counters.drops IS 'Jobs that ended without running';

-- Walks from queue to queue and from priority to priority along jobs_ready, so
-- its cost follows the number of those, and counts no further than 10 000 jobs
-- in each queue. The planner, whose statistics of a queue are always stale, is
-- left no other way than that index.
CREATE FUNCTION haul._queue_status(OUT queue text, OUT ready bigint, OUT scheduled bigint, OUT running bigint,
	OUT waiting bigint,
		OUT capped boolean, OUT oldest_due_age interval, OUT next_due_at timestamptz)
	RETURNS SETOF record
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
BEGIN ATOMIC
	WITH RECURSIVE walk AS (
		(SELECT queue, priority FROM haul.jobs ORDER BY queue, priority LIMIT 1)
		UNION ALL
		SELECT n.queue, n.priority FROM walk AS w, LATERAL (
			SELECT j.queue, j.priority FROM haul.jobs AS j
				WHERE (j.queue, j.priority) > (w.queue, w.priority) ORDER BY j.queue, j.priority LIMIT 1) AS n
	), lane AS (
		SELECT w.queue,
			   (SELECT j.run_at FROM haul.jobs AS j
					WHERE j.queue = w.queue AND j.priority = w.priority AND j.run_at <= now() AND j.state = 'ready'
					ORDER BY j.run_at LIMIT 1) AS oldest_due,
			   (SELECT j.run_at FROM haul.jobs AS j
					WHERE j.queue = w.queue AND j.priority = w.priority AND j.run_at > now() AND j.run_at < 'infinity'
						AND j.state = 'ready'
					ORDER BY j.run_at LIMIT 1) AS next_due
			FROM walk AS w
	), live AS (
		SELECT queue, min(oldest_due) AS oldest_due, min(next_due) AS next_due FROM lane GROUP BY queue
	)
	SELECT coalesce(l.queue, q.name), coalesce(c.ready, 0), coalesce(c.scheduled, 0), coalesce(c.running, 0),
		   coalesce(c.waiting, 0), coalesce(c.jobs > 10000, false), now() - l.oldest_due, l.next_due
		FROM live AS l FULL JOIN haul.queues AS q ON q.name = l.queue
		LEFT JOIN LATERAL (
			SELECT count(*) AS jobs,
				   count(*) FILTER (WHERE state = 'ready' AND run_at <= now()) AS ready,
				   count(*) FILTER (WHERE state = 'ready' AND run_at > now()) AS scheduled,
				   count(*) FILTER (WHERE state = 'running') AS running,
				   count(*) FILTER (WHERE state = 'waiting') AS waiting
				FROM (SELECT j.state, j.run_at FROM haul.jobs AS j WHERE j.queue = l.queue
						ORDER BY j.queue, j.priority, j.run_at, j.id LIMIT 10001) AS first_jobs
		) AS c ON true;
END;

CREATE VIEW haul.queue_status AS
	SELECT queue, ready, scheduled, running, waiting, capped, oldest_due_age, next_due_at FROM haul._queue_status();
COMMENT ON VIEW haul.queue_status
	IS 'State of each queue that has jobs or settings. Cheap at any backlog: counts the first 10001 jobs of a queue, in '
	'dispatch order';
COMMENT ON COLUMN haul.queue_status.queue IS 'Queue';
COMMENT ON COLUMN haul.queue_status.ready IS 'Jobs due';
COMMENT ON COLUMN haul.queue_status.scheduled IS 'Jobs due later';
COMMENT ON COLUMN haul.queue_status.running IS 'Jobs that a worker holds';
COMMENT ON COLUMN haul.queue_status.waiting IS 'Jobs that wait for something else';
COMMENT ON COLUMN haul.queue_status.capped
	IS 'The queue has more than 10 000 jobs; the counts are those of the first 10 001';
COMMENT ON COLUMN haul.queue_status.oldest_due_age IS 'How long the oldest due job has been due';
COMMENT ON COLUMN haul.queue_status.next_due_at IS 'When the next job that is not due yet will be';

CREATE VIEW haul.worker_status AS
	SELECT id, name, hostname, pid, queues, kinds, CASE WHEN lost_at IS NULL THEN status ELSE 'lost' END AS status, busy,
		max_threads, started_at,
		   clock_timestamp() - last_heartbeat_at AS heartbeat_age
		FROM haul.workers;
COMMENT ON VIEW haul.worker_status IS 'State of each worker';
COMMENT ON COLUMN haul.worker_status.id IS 'haul.workers.id';
COMMENT ON COLUMN haul.worker_status.name IS 'Its name';
COMMENT ON COLUMN haul.worker_status.hostname IS 'Host it runs on';
COMMENT ON COLUMN haul.worker_status.pid IS 'Its process there';
COMMENT ON COLUMN haul.worker_status.queues IS 'Queues it takes; NULL: all';
COMMENT ON COLUMN haul.worker_status.kinds IS 'Kinds it takes; NULL: all';
COMMENT ON COLUMN haul.worker_status.status IS 'running or draining; lost: given up, see haul.workers.lost_at';
COMMENT ON COLUMN haul.worker_status.busy IS 'Jobs it was running at its last heartbeat';
COMMENT ON COLUMN haul.worker_status.max_threads IS 'Jobs it runs at a time, at most';
COMMENT ON COLUMN haul.worker_status.started_at IS 'When it registered';
COMMENT ON COLUMN haul.worker_status.heartbeat_age IS 'Time since its last sign of life';

CREATE VIEW haul.cron_status AS
	SELECT c.name, c.schedule, c.timezone, coalesce(c.kind, CASE WHEN haul._acts_for(c.owner_id) THEN c.command END)
		   	AS what, c.enabled, c.next_run_at, c.last_run_at,
		   l.state AS last_state, r.runs, r.succeeded, r.failed, r.skipped, r.average_duration, r.longest_duration,
		   (SELECT count(*) FROM haul.jobs AS j WHERE j.cron_name = c.name) AS live_jobs
		FROM haul.cron AS c
		LEFT JOIN LATERAL (
			SELECT r.state FROM haul.cron_runs AS r WHERE r.cron_id = c.id ORDER BY r.run_at DESC LIMIT 1) AS l ON true
		CROSS JOIN LATERAL (
			SELECT count(*) FILTER (WHERE r.state <> 'skipped') AS runs,
				   count(*) FILTER (WHERE r.state IN ('completed', 'succeeded')) AS succeeded,
				   count(*) FILTER (WHERE r.state IN ('failed', 'discarded', 'cancelled')) AS failed,
				   count(*) FILTER (WHERE r.state = 'skipped') AS skipped,
				   avg(r.duration) AS average_duration, max(r.duration) AS longest_duration
				FROM haul.cron_runs AS r WHERE r.cron_id = c.id) AS r;
COMMENT ON VIEW haul.cron_status IS 'State of each schedule, and what haul.cron_runs has kept of its runs';
COMMENT ON COLUMN haul.cron_status.name IS 'Name';
COMMENT ON COLUMN haul.cron_status.schedule IS 'When';
COMMENT ON COLUMN haul.cron_status.timezone IS 'Time zone in which that is meant';
COMMENT ON COLUMN haul.cron_status.what
	IS 'Kind of the jobs that it enqueues, or command that it runs; NULL: a command of somebody else';
COMMENT ON COLUMN haul.cron_status.enabled IS 'false: it fires nothing';
COMMENT ON COLUMN haul.cron_status.next_run_at IS 'Next tick; NULL: none is to come, or it is not enabled';
COMMENT ON COLUMN haul.cron_status.last_run_at IS 'Last tick that fired';
COMMENT ON COLUMN haul.cron_status.last_state IS 'What became of the last tick: haul.cron_runs.state';
COMMENT ON COLUMN haul.cron_status.runs IS 'Ticks that were not skipped';
COMMENT ON COLUMN haul.cron_status.succeeded IS 'Of these: jobs that completed, commands that succeeded';
COMMENT ON COLUMN haul.cron_status.failed
	IS 'Of these: jobs that failed or were discarded or cancelled, commands that failed, what could not be enqueued';
COMMENT ON COLUMN haul.cron_status.skipped IS 'Ticks of which nothing came';
COMMENT ON COLUMN haul.cron_status.average_duration
	IS 'Average duration of those that ended; of a job, of its last attempt';
COMMENT ON COLUMN haul.cron_status.longest_duration IS 'Longest duration of these';
COMMENT ON COLUMN haul.cron_status.live_jobs IS 'Jobs of it that wait or run';

CREATE VIEW haul.my_workflow_steps WITH (security_barrier) AS
	SELECT s.workflow_id, s.step, s.name, s.kind, s.job_id, s.state, s.after, s.waits_for, s.attempt, s.run_at,
		   s.started_at, s.finished_at, s.result, s.error
		FROM haul.workflows AS w JOIN haul.workflow_steps AS s ON s.workflow_id = w.id WHERE w.created_by = current_user;
COMMENT ON VIEW haul.my_workflow_steps IS 'The jobs of the workflows that the current role enqueued';

-- Row-level security would forbid COPY to producers; a view of one's own does not.
CREATE VIEW haul.my_jobs WITH (security_barrier) AS
	SELECT id, queue, kind, args, priority, run_at, state, attempt, claim, max_attempts, enqueued_at, started_at,
		   NULL::timestamptz AS finished_at, progress, NULL::jsonb AS result, last_error
		FROM haul.jobs WHERE enqueued_by = current_user
	UNION ALL
	SELECT id, queue, kind, args, priority, run_at, state, attempt, claim, max_attempts, enqueued_at, started_at,
		   finished_at, progress, result, last_error
		FROM haul.finished_jobs WHERE enqueued_by = current_user;
COMMENT ON VIEW haul.my_jobs IS 'Jobs that the current role enqueued, live and finished';
