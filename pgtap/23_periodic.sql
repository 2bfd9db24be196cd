-- Periodic jobs: each run that completes or is discarded is followed by another.
\ir include/prelude.psql
SELECT no_plan();

SELECT haul.register_worker('w', '{"queues": ["q"]}') AS w \gset

CREATE FUNCTION helper.due(job_id bigint) RETURNS void LANGUAGE sql
AS $$ UPDATE haul.jobs SET run_at = clock_timestamp() WHERE id = job_id $$;

-- Completed, it is ready again, as if it had never run.
INSERT INTO haul.jobs (kind, queue, every, backoff, queue_timeout, unique_key) VALUES ('p', 'q', '1 h', 'constant(0)',
	'1 min', 'k') RETURNING id \gset
SELECT is(helper.checkout_kinds(:w), 'p', 'a periodic job runs at once');
SELECT is(haul.progress(:w, :id, 1, '"half"'), true, 'and reports');
SELECT is(haul.fail(:w, :id, 1, 'no'), 'ready', 'a failed attempt is tried again');
SELECT helper.has(helper.job(:id), '{"attempt": 1, "claim": 1, "last_error": "no"}', 'as with other jobs');
SELECT helper.due(:id);
SELECT is(helper.checkout_kinds(:w), 'p', 'the second attempt');
SELECT clock_timestamp() AS before \gset
SELECT is(haul.complete(:w, ARRAY[:id], ARRAY[2], ARRAY['{"n": 1}'::jsonb]), '{}', 'completes the first run');
SELECT helper.has(helper.job(:id),
	'{"state": "ready", "attempt": 0, "claim": 2, "worker_id": null, "lease_id": null, "started_at": null,
	"last_error": null, "progress": null, "interruptions": 0, "unique_key": "k"}', 'the job is ready again,
		its attempts start at 0');
SELECT ok((SELECT run_at BETWEEN :'before'::timestamptz + interval '1 h' AND clock_timestamp() + interval '1 h'
	FROM haul.jobs WHERE id = :id),
	'in an hour from the end of the run');
SELECT is((SELECT expires_at - run_at FROM haul.jobs WHERE id = :id), interval '1 min',
	'its queue timeout begins then');
SELECT helper.has(helper.finished(:id), '{"state": "completed", "attempt": 2, "claim": 2, "result": {"n": 1}}',
	'the run is in the history');
SELECT is(haul.complete(:w, ARRAY[:id], ARRAY[2]), ARRAY[:id]::bigint[], 'the token of the run that is over is stale');
SELECT is(helper.counts('q'), '{"dispatches": 1, "retries": 1, "failures": 1, "completions": 1}',
	'the run is counted as completed');
SELECT is_empty('SELECT FROM haul.leases', 'and no lease is left');

-- Discarded, the next run follows.
SELECT helper.due(:id);
SELECT is(helper.checkout_kinds(:w), 'p', 'the second run');
SELECT is(haul.discard(:w, :id, 3, 'nothing to do'), true, 'is discarded');
SELECT helper.has(helper.job(:id), '{"state": "ready", "attempt": 0, "claim": 3, "last_error": null}',
	'the next is to come');
SELECT is((SELECT string_agg(state || ' ' || coalesce(last_error, '-'), ', ' ORDER BY claim) FROM haul.finished_jobs
	WHERE id = :id),
	'completed no, discarded nothing to do', 'both are in the history');

-- Not started in time: that run is dropped.
UPDATE haul.jobs SET run_at = now() - interval '1 day', expires_at = now() - interval '1 hour' WHERE id = :id;
SELECT is(helper.checkout_kinds(:w), NULL, 'a run that was not started in time does not start');
SELECT helper.has(helper.job(:id), '{"state": "ready", "attempt": 0, "claim": 3}', 'the next is to come');
SELECT ok((SELECT run_at > now() FROM haul.jobs WHERE id = :id), 'later');
SELECT is(helper.counts('q') -> 'drops', '1', 'it is counted as dropped');

-- Cancelled, it ends.
SELECT helper.due(:id);
SELECT is(helper.checkout_kinds(:w), 'p', 'another run');
SELECT is(haul.cancelled(:w, :id, 4, 'enough'), true, 'is cancelled by the handler');
SELECT is(helper.job(:id), NULL, 'that stops it');

-- So does a failure for good.
INSERT INTO haul.jobs (kind, queue, every, max_attempts) VALUES ('p', 'q', '1 h', 1) RETURNING id \gset
SELECT is(helper.checkout_kinds(:w), 'p', 'a job with one attempt');
SELECT is(haul.fail(:w, :id, 1, 'no'), 'failed', 'fails for good');
SELECT is(helper.job(:id), NULL, 'and is gone');
SELECT helper.has(helper.finished(:id), '{"state": "failed"}', 'it has failed');

-- An expiry given as a time is one for all runs.
INSERT INTO haul.jobs (kind, queue, every, expires_at) VALUES ('p', 'q', '1 h', now() - interval '1 s')
	RETURNING id \gset
SELECT is(helper.checkout_kinds(:w), NULL, 'past its expiry it does not start');
SELECT helper.has(helper.finished(:id), '{"state": "discarded"}', 'nor ever again');
INSERT INTO haul.jobs (kind, queue, every, expires_at) VALUES ('p', 'q', '1 h', now() + interval '1 day')
	RETURNING id \gset
SELECT is(helper.checkout_kinds(:w), 'p', 'before that it runs');
SELECT haul.complete(:w, ARRAY[:id], ARRAY[1]) \g /dev/null
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = :id), now() + interval '1 day', 'and keeps it');
DELETE FROM haul.jobs WHERE id = :id;

-- Interruptions.
INSERT INTO haul.jobs (kind, queue, every, on_interrupt) VALUES ('p', 'q', '1 h', 'discard') RETURNING id \gset
SELECT is(helper.checkout_kinds(:w), 'p', 'its worker');
DELETE FROM haul.workers WHERE id = :w;
SELECT helper.has(helper.job(:id),
	'{"state": "ready", "attempt": 0, "claim": 1, "interruptions": 0, "interrupted_at": null}',
	'dies, which discards the run');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- Snoozed and released it is the same run.
SELECT haul.register_worker('w', '{"queues": ["q"]}') AS w \gset
SELECT helper.due(:id);
SELECT is(helper.checkout_kinds(:w), 'p', 'a run');
SELECT is(haul.snooze(:w, :id, 2, '0'), true, 'is snoozed');
SELECT is((SELECT count(*) FROM haul.finished_jobs WHERE id = :id), 1::bigint, 'which is no end of it');

-- It keeps its key.
SELECT haul.enqueue('p', queue => 'u', every => '1 h', unique_key => 'x', unique_until => 'started') AS id \gset
SELECT haul.register_worker('u', '{"queues": ["u"]}') AS u \gset
SELECT is(helper.checkout_kinds(:u), 'p', 'while it runs');
SELECT is(haul.enqueue('p', every => '1 h', unique_key => 'x', unique_until => 'started'), :id::bigint,
	'its key is taken, since it comes again');

SELECT throws_ok($$ INSERT INTO haul.jobs (kind, every) VALUES ('p', '0') $$, '23514', NULL,
	'every must be at least 1 ms');
\ir include/finish.psql
