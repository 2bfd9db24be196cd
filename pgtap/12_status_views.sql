-- haul.queue_status, haul.worker_status, haul.counters and haul.my_jobs: what people read.
\ir include/prelude.psql
SELECT no_plan();

SELECT is_empty('SELECT FROM haul.queue_status', 'no queue at first');
SELECT is_empty('SELECT FROM haul.worker_status', 'no worker at first');

-- One queue in every state; several priorities
INSERT INTO haul.jobs (kind, queue, priority, run_at, state) VALUES
	('due', 'a', 1, now() - interval '1 minute', 'ready'), ('due', 'a', 9, now() - interval '1 hour', 'ready'),
		('due', 'a', 9, now() - interval '5 minutes', 'ready'),
	('later', 'a', 1, now() + interval '2 hours', 'ready'), ('later', 'a', 20, now() + interval '1 hour', 'ready'),
	('waits', 'a', 1, now() - interval '1 day', 'waiting'),
	('runs', 'a', 1, now() - interval '2 days', 'ready'), ('runs', 'a', 5, now() - interval '2 days', 'ready'),
	('only later', 'b', 1, now() + interval '1 minute', 'ready'),
		('only due', 'c', 1, now() - interval '1 second', 'ready'),
	('odd', 'a;b:c"d''e🙂', 1, now(), 'ready');
INSERT INTO haul.queues (name) VALUES ('idle'), ('b');
SELECT haul.register_worker('w',
	'{"queues": ["a"], "kinds": ["runs"], "max_threads": 4, "hostname": "h", "pid": 7}') AS w \gset
SELECT is(helper.checkout_kinds(:w), 'runs runs', 'two jobs run');
SELECT
	set_eq('SELECT queue::text COLLATE "default", ready, scheduled, running, waiting, capped, oldest_due_age, next_due_at '
		'FROM haul.queue_status',
	$$ VALUES
	('a', 3::bigint, 2::bigint, 2::bigint, 1::bigint, false, interval '1 hour', now() + interval '1 hour'),
	('b', 0, 1, 0, 0, false, NULL, now() + interval '1 minute'),
	('c', 1, 0, 0, 0, false, interval '1 second', NULL),
	('a;b:c"d''e🙂', 1, 0, 0, 0, false, interval '0', NULL),
	('idle', 0, 0, 0, 0, false, NULL, NULL) $$,
		'queue_status: what is ready, scheduled, running, waiting; the oldest due, the next due');
SELECT is((SELECT oldest_due_age FROM haul.queue_status WHERE queue = 'a'), interval '1 hour',
	'running and waiting jobs are not due');

-- A large backlog is not counted to its end.
INSERT INTO haul.jobs (kind, queue) SELECT 'k', 'ten' FROM generate_series(1, 10000);
SELECT results_eq($$ SELECT ready, capped FROM haul.queue_status WHERE queue = 'ten' $$,
	'VALUES (10000::bigint, false)', '10000 jobs are counted');
INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'ten');
SELECT results_eq($$ SELECT ready, capped FROM haul.queue_status WHERE queue = 'ten' $$, 'VALUES (10001::bigint, true)',
	'one more is said to be capped');
INSERT INTO haul.jobs (kind, queue, priority, run_at) SELECT 'k', 'ten', p, now() - make_interval(days => p)
	FROM generate_series(16384, 16483) AS p;
INSERT INTO haul.jobs (kind, queue) SELECT 'k', 'ten' FROM generate_series(1, 30000);
SELECT results_eq($$ SELECT ready, capped, oldest_due_age FROM haul.queue_status WHERE queue = 'ten' $$,
	$$ VALUES (10001::bigint, true, interval '16483 days') $$,
	'more is not counted, but the oldest due is found behind it');
SET LOCAL enable_seqscan = off;
CREATE FUNCTION helper.buffers(query text) RETURNS bigint LANGUAGE plpgsql
AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) ' || query INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint +
		(plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
END
$$;
SELECT helper.buffers('SELECT * FROM haul.queue_status') AS buffers_before \gset
INSERT INTO haul.jobs (kind, queue) SELECT 'k', 'ten' FROM generate_series(1, 60000);
SELECT cmp_ok(helper.buffers('SELECT * FROM haul.queue_status'), '<', (:buffers_before * 1.5)::bigint,
	'its cost does not follow the backlog');
RESET enable_seqscan;

-- Workers
SELECT haul.heartbeat(:w, 2, 'draining');
UPDATE haul.workers SET last_heartbeat_at = clock_timestamp() - interval '30 s';
SELECT results_eq('SELECT id, name, hostname, pid, queues, kinds, status, busy, max_threads FROM haul.worker_status',
	format($$ VALUES (%s::bigint, 'w', 'h', 7, '{a}'::text[], '{runs}'::text[], 'draining', 2, 4) $$, :w),
		'worker_status: who works on what');
SELECT ok((SELECT heartbeat_age BETWEEN interval '30 s' AND interval '40 s' FROM haul.worker_status),
	'and when it was last heard of');

-- One's own jobs, live and finished
SELECT haul.fail(:w, id, claim, 'broken', final => true) FROM haul.jobs WHERE kind = 'runs' AND priority = 1;
SELECT haul.progress(:w, id, claim, '0.5') FROM haul.jobs WHERE kind = 'runs';
SELECT results_eq($$ SELECT kind, state, attempt, progress, last_error, finished_at IS NOT NULL FROM haul.my_jobs
	WHERE kind = 'runs' ORDER BY state $$,
	$$ VALUES ('runs' COLLATE "C", 'failed', 1, NULL::jsonb, 'broken', true),
		('runs', 'running', 1, '0.5', NULL, false) $$, 'my_jobs shows what became of them');

-- Counters
SELECT results_eq($$ SELECT day, dispatches, expiries FROM haul.counters WHERE queue = 'a' $$,
	$$ SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, 2::bigint, 1::bigint $$, 'counters, per day and queue');

-- A worker's role reads them.
CREATE ROLE haul_test_worker;
SELECT haul.grant_worker('haul_test_worker');
SET LOCAL ROLE haul_test_worker;
SELECT count(*) AS queues FROM haul.queue_status \gset
SELECT count(*) AS workers FROM haul.worker_status \gset
SELECT count(*) AS counters FROM haul.counters \gset
RESET ROLE;
SELECT is(ARRAY[:queues, :workers, :counters], ARRAY[6, 1, 1], 'the views are for workers, too');

\ir include/finish.psql
