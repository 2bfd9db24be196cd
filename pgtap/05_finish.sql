-- How a running job ends, or goes back: complete, fail, discard, cancelled, snooze, release, progress, start.
\ir include/prelude.psql
SELECT no_plan();

INSERT INTO haul.queues (name, keep_completed, keep_failed) VALUES ('long', '2 days', '30 days'), ('short', '0', '0');
SELECT haul.register_worker('w', '{"queues": ["q"]}') AS w \gset
SELECT haul.register_worker('other', '{"queues": ["other"]}') AS other \gset

-- complete
INSERT INTO haul.jobs (kind, queue, args, priority) VALUES ('a', 'q', '{"n": 1}', 5), ('b', 'q', '{"n": 2}', 6),
	('c', 'q', '{}', 7);
CREATE TEMP TABLE held AS SELECT * FROM haul.checkout(:w, 10);
CREATE TEMP TABLE was AS SELECT * FROM haul.jobs;
SELECT clock_timestamp() AS before \gset
SELECT is((SELECT haul.complete(:w, array_agg(id ORDER BY id), array_agg(claim ORDER BY id),
	ARRAY['{"r": 1}', NULL, '"x"']::jsonb[]) FROM held), '{}',
	'complete: all were owned');
SELECT is_empty($$ SELECT FROM haul.jobs WHERE id IN (SELECT id FROM held) $$, 'completed jobs leave haul.jobs');
SELECT results_eq($$ SELECT kind, result, state, last_error, keep_until FROM haul.finished_jobs ORDER BY id $$,
	$$ VALUES ('a' COLLATE "C", '{"r": 1}'::jsonb, 'completed', NULL, NULL::timestamptz),
		('b', NULL, 'completed', NULL, NULL), ('c', '"x"', 'completed', NULL, NULL) $$,
	'they are in haul.finished_jobs with their results');
SELECT results_eq($$ SELECT to_jsonb(f) - ARRAY['state', 'finished_at', 'result', 'keep_until', 'lease_id']
	FROM haul.finished_jobs AS f ORDER BY id $$,
	$$ SELECT to_jsonb(w) - ARRAY['state', 'lease_id'] FROM was AS w ORDER BY id $$,
		'with all that they were, their worker and start among it');
SELECT ok((SELECT bool_and(finished_at BETWEEN :'before' AND clock_timestamp()) FROM haul.finished_jobs),
	'finished_at is the time of the call');
SELECT is(helper.counts('q'), '{"dispatches": 3, "completions": 3}', 'and counted');
INSERT INTO haul.jobs (kind, queue) VALUES ('no results', 'q');
SELECT id, claim FROM haul.checkout(:w) \gset j_
SELECT is(haul.complete(:w, ARRAY[:j_id], ARRAY[:j_claim]), '{}', 'complete without results');
SELECT is(helper.finished(:j_id) -> 'result', 'null', 'leaves the result NULL');

-- Retention of completed jobs: the job's own, else the queue's, else the setting.
CREATE FUNCTION helper.run(queue text, keep interval, outcome text) RETURNS jsonb LANGUAGE plpgsql
AS $$
DECLARE
	worker bigint := haul.register_worker('run', jsonb_build_object('queues', jsonb_build_array(queue)));
	job    record;
BEGIN
	INSERT INTO haul.jobs (kind, queue, keep, max_attempts) VALUES ('run', queue, keep, 1);
	SELECT * INTO job FROM haul.checkout(worker);
	CASE outcome
		WHEN 'completed' THEN PERFORM haul.complete(worker, ARRAY[job.id], ARRAY[job.claim]);
		WHEN 'failed' THEN PERFORM haul.fail(worker, job.id, job.claim, 'e');
		WHEN 'discarded' THEN PERFORM haul.discard(worker, job.id, job.claim, 'r');
		WHEN 'cancelled' THEN PERFORM haul.cancelled(worker, job.id, job.claim, 'r');
	END CASE;
	ASSERT helper.job(job.id) IS NULL, 'the job is still there';
	RETURN helper.finished(job.id);
END
$$;
CREATE FUNCTION helper.kept_for(finished jsonb) RETURNS interval LANGUAGE sql
AS $$ SELECT (finished ->> 'keep_until')::timestamptz - (finished ->> 'finished_at')::timestamptz $$;
SELECT is(helper.kept_for(helper.run('long', NULL, 'completed')), interval '2 days',
	'completed: kept for the time of the queue');
SELECT is(helper.kept_for(helper.run('long', '3 hours', 'completed')), interval '3 hours',
	'completed: the job''s own time goes first');
SELECT is(helper.run('long', '0', 'completed'), NULL, 'completed: keep = 0 of the job, not kept');
SELECT is(helper.run('short', NULL, 'completed'), NULL, 'completed: keep_completed = 0 of the queue, not kept');
SELECT is(helper.kept_for(helper.run('short', '2 hours', 'completed')), interval '2 hours',
	'completed: unless the job says so');
SELECT isnt(helper.run('x', '1 minute', state), NULL, state || ': with a short time of its own, kept at least for that')
	FROM unnest(ARRAY['completed', 'failed']) AS state;
SELECT is(helper.kept_for(helper.run('x', NULL, state)), interval '7 days', state || ': kept for 7 days by default')
	FROM unnest(ARRAY['failed', 'discarded', 'cancelled']) AS state;
SELECT is(helper.kept_for(helper.run('long', NULL, state)), interval '30 days',
	state || ': kept for the time of the queue')
	FROM unnest(ARRAY['failed', 'discarded', 'cancelled']) AS state;
SELECT is(helper.kept_for(helper.run('long', '3 hours', state)), interval '3 hours',
	state || ': the job''s own time goes first')
	FROM unnest(ARRAY['failed', 'discarded', 'cancelled']) AS state;
SELECT is(helper.run('short', NULL, state), NULL, state || ': keep_failed = 0 of the queue, not kept')
	FROM unnest(ARRAY['failed', 'discarded', 'cancelled']) AS state;
SELECT is(helper.run('x', NULL, state) ->> 'state', state, state || ': the state of the finished job')
	FROM unnest(ARRAY['completed', 'failed', 'discarded', 'cancelled']) AS state;
SET LOCAL haul.keep_completed = 0;
SET LOCAL haul.keep_failed = '1h';
SELECT is(helper.run('x', NULL, 'completed'), NULL, 'completed: haul.keep_completed = 0, not kept');
SELECT is(helper.kept_for(helper.run('long', NULL, 'completed')), interval '2 days',
	'completed: unless the queue says so');
SELECT is(helper.kept_for(helper.run('x', NULL, 'failed')), interval '1 hour', 'failed: kept for haul.keep_failed');
SET LOCAL haul.keep_failed = 0;
SELECT is(helper.run('x', NULL, 'failed'), NULL, 'failed: haul.keep_failed = 0, not kept');
RESET haul.keep_completed;
RESET haul.keep_failed;

-- Backoff: the pauses after the first n failures, in seconds
SET LOCAL haul.backoff_jitter = 0;
CREATE FUNCTION helper.pauses(backoff text, n integer, kind text DEFAULT 'pauses') RETURNS integer[] LANGUAGE plpgsql
AS $$
DECLARE
	worker bigint := haul.register_worker('pauses', '{"queues": ["pauses"]}');
	result integer[] := '{}';
	before timestamptz;
	job    record;
	due    timestamptz;
BEGIN
	INSERT INTO haul.jobs (kind, queue, backoff) VALUES (pauses.kind, 'pauses', pauses.backoff);
	FOR i IN 1 .. n LOOP
		SELECT * INTO STRICT job FROM haul.checkout(worker);
		ASSERT job.attempt = i, 'attempt counts executions';
		before := clock_timestamp();
		ASSERT haul.fail(worker, job.id, job.claim, 'failure ' || i) = 'ready';
		SELECT run_at INTO due FROM haul.jobs AS j WHERE j.id = job.id;
		result := result || floor(extract(epoch FROM due - before))::integer;
		UPDATE haul.jobs AS j SET run_at = now() WHERE j.id = job.id;
	END LOOP;
	DELETE FROM haul.jobs AS j WHERE j.id = job.id;
	RETURN result;
END
$$;
SELECT is(helper.pauses('exponential(5,2)', 5), ARRAY[7, 9, 13, 21, 37], 'exponential(5,2) is 5 + 2^attempt');
SELECT is(helper.pauses(NULL, 3), ARRAY[7, 9, 13], 'and the default');
SELECT is(helper.pauses('exponential', 2), ARRAY[7, 9], 'as is exponential without numbers');
SELECT is(helper.pauses('exponential(1,3)', 3), ARRAY[4, 10, 28], 'exponential with other numbers');
SELECT is(helper.pauses('linear(5)', 4), ARRAY[5, 10, 15, 20], 'linear(5) is 5 * attempt');
SELECT is(helper.pauses('linear', 2), ARRAY[5, 10], 'linear');
SELECT is(helper.pauses('constant(10)', 3), ARRAY[10, 10, 10], 'constant(10) is 10');
SELECT is(helper.pauses('constant', 2), ARRAY[10, 10], 'constant');
SELECT is(helper.pauses('polynomial(30,5)', 5), ARRAY[30, 31, 62, 273, 1054], 'polynomial(30,5) is 30 + n^5, n from 0');
SELECT is(helper.pauses('polynomial', 2), ARRAY[30, 31], 'polynomial');
SELECT is(helper.pauses('constant(0)', 2), ARRAY[0, 0], 'no pause at all');
INSERT INTO haul.kinds (kind, backoff) VALUES ('slow', 'linear(60)');
SELECT is(helper.pauses(NULL, 2, 'slow'), ARRAY[60, 120], 'a kind''s backoff is that of its jobs');
SELECT is(helper.pauses('constant(1)', 2, 'slow'), ARRAY[1, 1], 'unless the job has its own');
SET LOCAL haul.backoff = 'constant(77)';
SELECT is(helper.pauses(NULL, 1), ARRAY[77], 'haul.backoff is the default of all others');
SELECT is(helper.pauses(NULL, 1, 'slow'), ARRAY[60], 'not of kinds that have one');
RESET haul.backoff;

SELECT is(haul.backoff_delay('exponential(5,2)', n), make_interval(secs => 5 + 2 ^ n),
	'haul.backoff_delay, exponential, attempt ' || n) FROM unnest(ARRAY[1, 2, 10, 20]) AS n;
SELECT is(haul.backoff_delay('polynomial(30,5)', n), make_interval(secs => 30 + (n - 1) ^ 5),
	'haul.backoff_delay, polynomial, attempt ' || n) FROM unnest(ARRAY[1, 2, 10]) AS n;
SELECT is(haul.backoff_delay('linear(0.5)', 3), interval '1.5 s', 'haul.backoff_delay, linear');
SELECT is(haul.backoff_delay(b, 2147483647), interval '365 days', 'never more than 365 days: ' || b)
	FROM unnest(ARRAY['exponential', 'linear(5)', 'polynomial', 'constant(1000000000)']) AS b;
SELECT is(haul.backoff_delay(NULL, 1), NULL, 'haul.backoff_delay of NULL');
SELECT throws_ok(format('SELECT haul.backoff_delay(%L, %s)', b, n), '22023', NULL,
	format('haul.backoff_delay(%L, %s)', b, n))
	FROM (VALUES ('fibonacci', 1), ('', 1), ('linear(-1)', 1), ('linear(1', 1), ('linear', 0), ('linear', -1)) AS v (b,
		n);

-- Jitter
RESET haul.backoff_jitter;
SELECT is(current_setting('haul.backoff_jitter'), '0.1', 'jitter is 10 % by default');
INSERT INTO haul.jobs (kind, queue, backoff) SELECT 'j', 'q', 'constant(10000)' FROM generate_series(1, 300);
CREATE TEMP TABLE jitter AS SELECT c.id, clock_timestamp() AS failed_at, haul.fail(:w, c.id, c.claim, 'e')
	FROM haul.checkout(:w, 300) AS c;
SELECT ok(min(pause) >= 8999 AND max(pause) <= 11001, 'pauses vary by 10 % at most: ' || min(pause) || ' to ' ||
	max(pause)),
	   ok(min(pause) < 9300 AND max(pause) > 10700, 'and use that range'),
	   ok(avg(pause) BETWEEN 9800 AND 10200, 'evenly: ' || avg(pause)) -- standard deviation of the mean: 33
	FROM (SELECT round(extract(epoch FROM j.run_at - f.failed_at)) AS pause FROM jitter AS f
		JOIN haul.jobs AS j USING (id)) AS p;
SET LOCAL haul.backoff_jitter = 0;

-- fail: what is recorded
INSERT INTO haul.jobs (kind, queue, max_attempts) VALUES ('f', 'errs', 3) RETURNING id AS f_id \gset
SELECT haul.register_worker('fw', '{"queues": ["errs", "errs-2"]}') AS f \gset
SELECT claim FROM haul.checkout(:f) \gset f_
SELECT is(haul.fail(:f, :f_id, :f_claim, 'first', '{"code": 1}'), 'ready', 'fail with attempts left: ready');
SELECT has(helper.job(:f_id),
	'{"state": "ready", "attempt": 1, "claim": 1, "worker_id": null, "lease_id": null, "started_at": null, "last_error": '
		'"first", "interruptions": 0}',
	'the job is ready again, nobody''s, with its error');
SELECT is(helper.checkout_kinds(:f), NULL, 'but not yet due');
UPDATE haul.jobs SET run_at = now() WHERE id = :f_id;
SELECT attempt, claim, last_error FROM haul.checkout(:f) \gset f_
SELECT is(ARRAY[:'f_attempt', :'f_claim', :'f_last_error'], ARRAY['2', '2', 'first'],
	'the next attempt knows the last error');
SELECT is(haul.fail(:f, :f_id, :f_claim, 'second', retry_in => '0', retry_queue => 'errs-2'), 'ready',
	'fail with a pause and a queue of its own');
SELECT is(helper.job(:f_id) ->> 'queue', 'errs-2', 'moves the job');
SELECT claim FROM haul.checkout(:f) \gset f_
SELECT is(haul.fail(:f, :f_id, :f_claim, 'third'), 'failed', 'fail of the last attempt: failed');
SELECT is(helper.job(:f_id), NULL, 'it leaves haul.jobs');
SELECT has(helper.finished(:f_id),
	'{"state": "failed", "attempt": 3, "last_error": "third", "result": null, "queue": "errs-2"}',
	'and is in haul.finished_jobs');
SELECT
	results_eq(format('SELECT attempt, worker_id, worker, error, detail FROM haul.job_errors WHERE job_id = %s ORDER BY '
		'attempt',
	:f_id),
	format($$ VALUES (1, %1$s::bigint, 'fw', 'first', '{"code": 1}'::jsonb), (2, %1$s, 'fw', 'second', NULL),
		(3, %1$s, 'fw', 'third', NULL) $$, :f), 'haul.job_errors tells every attempt');
SELECT ok((SELECT bool_and(failed_at BETWEEN :'before' AND clock_timestamp()) FROM haul.job_errors
	WHERE job_id = :f_id), 'and when it failed');
SELECT is(helper.counts('errs'), '{"dispatches": 1, "retries": 1, "failures": 2}', 'counters of its first queue');
SELECT is(helper.counts('errs-2'), '{"retries": 1, "expiries": 1}', 'and of its second');

INSERT INTO haul.jobs (kind, queue) VALUES ('f', 'errs') RETURNING id AS f_id \gset
SELECT claim FROM haul.checkout(:f) \gset f_
SELECT throws_ok(format('SELECT haul.fail(%s, %s, %s, %s)', :f, :f_id, :f_claim, bad), CASE WHEN bad LIKE 'NULL%'
	THEN '22004' ELSE '22023' END, NULL, 'fail: ' || bad)
	FROM unnest(ARRAY['NULL', $$'e', retry_in => '-1 s'$$, $$'e', retry_queue => ''$$,
		$$'e', retry_queue => repeat('q', 64)$$]) AS bad;
SELECT is(helper.job(:f_id) ->> 'state', 'running', 'a refused call leaves the job running');
SELECT is(haul.fail(:f, :f_id, :f_claim, 'e', retry_in => '1 hour'), 'ready', 'retry_in');
SELECT ok((SELECT run_at BETWEEN :'before'::timestamptz + interval '1 hour' AND clock_timestamp() + interval '1 hour'
	FROM haul.jobs WHERE id = :f_id), 'sets the pause');
UPDATE haul.jobs SET run_at = now() WHERE id = :f_id;
SELECT claim FROM haul.checkout(:f) \gset f_
SELECT is(haul.fail(:f, :f_id, :f_claim, 'for good', retry_in => '1 hour', final => true), 'failed',
	'final ends a job with attempts left');
SELECT has(helper.finished(:f_id), '{"state": "failed", "attempt": 2, "last_error": "for good"}', 'as failed');
SELECT is((SELECT array_agg(error ORDER BY attempt) FROM haul.job_errors WHERE job_id = :f_id), ARRAY['e', 'for good'],
	'with its errors');
INSERT INTO haul.jobs (kind, queue, max_attempts) VALUES ('f', 'errs', 1) RETURNING id AS f_id \gset
SELECT claim FROM haul.checkout(:f) \gset f_
SELECT is(haul.fail(:f, :f_id, :f_claim, repeat('é', 500000), retry_in => '0'), 'failed',
	'retry_in gives no attempt more; a long error');
SELECT is((SELECT length(error) FROM haul.job_errors WHERE job_id = :f_id), 500000, 'is kept whole');

-- The queue timeout is for jobs that have not been started: a retry does not expire.
INSERT INTO haul.jobs (kind, queue, queue_timeout) VALUES ('qt', 'errs', '1 minute') RETURNING id AS f_id \gset
SELECT claim FROM haul.checkout(:f) \gset f_
SELECT haul.snooze(:f, :f_id, :f_claim, '1 day');
SELECT is((SELECT expires_at - run_at FROM haul.jobs WHERE id = :f_id), interval '1 minute',
	'a job that was only snoozed expires, counted from its new run_at');
UPDATE haul.jobs SET run_at = now() - interval '1 hour', queue_timeout = '1 day' WHERE id = :f_id;
SELECT claim FROM haul.checkout(:f) \gset f_
SELECT haul.fail(:f, :f_id, :f_claim, 'e', retry_in => '1 hour');
UPDATE haul.jobs SET run_at = now() - interval '2 hours', queue_timeout = '1 microsecond' WHERE id = :f_id;
SELECT is(helper.checkout_kinds(:f), 'qt', 'a job that failed does not');

-- discard and cancelled
INSERT INTO haul.jobs (kind, queue) VALUES ('d', 'ends') RETURNING id AS d_id \gset
INSERT INTO haul.jobs (kind, queue) VALUES ('c', 'ends') RETURNING id AS c_id \gset
SELECT haul.register_worker('e', '{"queues": ["ends"]}') AS e \gset
SELECT is(helper.checkout_kinds(:e), 'd c', 'two jobs');
SELECT is(haul.discard(:e, :d_id, 1, 'not wanted'), true, 'discard');
SELECT has(helper.finished(:d_id), '{"state": "discarded", "last_error": "not wanted", "attempt": 1, "result": null}',
	'ends the job with its reason');
SELECT is(haul.cancelled(:e, :c_id, 1, 'no more'), true, 'cancelled');
SELECT has(helper.finished(:c_id), '{"state": "cancelled", "last_error": "no more", "attempt": 1}',
	'ends the job with its reason');
SELECT is(helper.counts('ends'), '{"dispatches": 2, "discards": 1, "cancels": 1}', 'both are counted');
SELECT is_empty($$ SELECT FROM haul.jobs WHERE queue = 'ends' $$, 'both left haul.jobs');

-- snooze
INSERT INTO haul.jobs (kind, queue, max_attempts) VALUES ('s', 'naps', 1) RETURNING id AS s_id \gset
SELECT haul.register_worker('s', '{"queues": ["naps"]}') AS s \gset
SELECT claim FROM haul.checkout(:s) \gset s_
SELECT throws_ok(format('SELECT haul.snooze(%s, %s, %s, %s)', :s, :s_id, :s_claim, bad), CASE WHEN bad LIKE 'NULL%'
	THEN '22004' ELSE '22023' END, NULL, 'snooze for ' || bad) FROM unnest(ARRAY['NULL', $$'-1 s'$$]) AS bad;
SELECT clock_timestamp() AS before \gset
SELECT is(haul.snooze(:s, :s_id, :s_claim, '10 minutes'), true, 'snooze');
SELECT has(helper.job(:s_id),
	'{"state": "ready", "attempt": 0, "claim": 1, "interruptions": 0, "worker_id": null, "lease_id": null, "started_at": '
		'null, "last_error": null}',
	'the attempt is given back, the claim is not');
SELECT ok((SELECT run_at BETWEEN :'before'::timestamptz + interval '10 minutes'
	AND clock_timestamp() + interval '10 minutes' FROM haul.jobs WHERE id = :s_id), 'it runs again after the delay');
SELECT is(helper.checkout_kinds(:s), NULL, 'not before');
UPDATE haul.jobs SET run_at = now() WHERE id = :s_id;
SELECT claim, attempt FROM haul.checkout(:s) \gset s_
SELECT is(ARRAY[:s_claim, :s_attempt], ARRAY[2, 1], 'a new claim, the same attempt');
SELECT is(haul.complete(:s, ARRAY[:s_id], ARRAY[:s_claim]), '{}', 'then it completes');
SELECT is(helper.counts('naps'), '{"dispatches": 1, "retries": 1, "releases": 1, "completions": 1}',
	'a snooze is a release, the checkout after it a retry');
INSERT INTO haul.jobs (kind, queue) VALUES ('s', 'naps') RETURNING id AS s_id \gset
SELECT claim FROM haul.checkout(:s) \gset s_
SELECT is(haul.snooze(:s, :s_id, :s_claim, '0'), true, 'snooze for no time');
SELECT is(helper.checkout_kinds(:s), 's', 'the job is due at once');

-- release
INSERT INTO haul.jobs (kind, queue) VALUES ('r1', 'rel'), ('r2', 'rel'), ('r3', 'rel');
SELECT haul.register_worker('r', '{"queues": ["rel"]}') AS r \gset
CREATE TEMP TABLE rel AS SELECT * FROM haul.checkout(:r, 10);
SELECT is((SELECT haul.release(:r, array_agg(id), array_agg(claim), false) FROM rel WHERE kind IN ('r1', 'r2')), '{}',
	'release of what was not started');
SELECT is((SELECT haul.release(:r, array_agg(id), array_agg(claim)) FROM rel WHERE kind = 'r3'), '{}',
	'release of what was');
SELECT results_eq($$ SELECT kind, state, attempt, claim, interruptions::integer, interrupted_at IS NOT NULL, worker_id,
	started_at FROM haul.jobs WHERE queue = 'rel' ORDER BY id $$,
	$$ VALUES ('r1' COLLATE "C", 'ready', 0, 1, 0, false, NULL::bigint, NULL::timestamptz),
		('r2', 'ready', 0, 1, 0, false, NULL, NULL), ('r3', 'ready', 1, 1, 1, true, NULL, NULL) $$,
	'only the started one is charged and counts as interrupted');
SELECT is(helper.counts('rel'), '{"dispatches": 3, "releases": 3}', 'all are counted as releases');
SELECT is(helper.checkout_kinds(:r), 'r1 r2 r3', 'and are handed out again at once');

-- progress and start
INSERT INTO haul.jobs (kind, queue) VALUES ('p', 'prog') RETURNING id AS p_id \gset
SELECT haul.register_worker('p', '{"queues": ["prog"]}') AS p \gset
SELECT claim FROM haul.checkout(:p) \gset p_
SELECT is(haul.progress(:p, :p_id, :p_claim, '{"done": 5}'), true, 'progress');
SELECT has(helper.job(:p_id), '{"progress": {"done": 5}, "state": "running", "attempt": 1, "claim": 1}',
	'is stored, and changes nothing else');
SELECT is(haul.progress(:p, :p_id, :p_claim, NULL), true, 'progress of NULL');
SELECT is(helper.job(:p_id) -> 'progress', 'null', 'clears it');
SELECT haul.progress(:p, :p_id, :p_claim, '"half"');
SELECT haul.fail(:p, :p_id, :p_claim, 'e', retry_in => '0');
SELECT is((SELECT progress FROM haul.checkout(:p)), '"half"', 'the next attempt sees what the last one reported');
SELECT is(haul.start(:p, ARRAY[:p_id], ARRAY[2]), '{}', 'start of a job that needs no confirmation');
SELECT is(haul.complete(:p, ARRAY[:p_id], ARRAY[2]), '{}', 'which then completes');

-- Stale tokens. Every call with every kind of stale token is reported as not owned, and changes nothing.
CREATE FUNCTION helper.calls(worker bigint, id bigint, claim integer) RETURNS TABLE (call text, outcome text)
	LANGUAGE plpgsql
AS $$
BEGIN
	RETURN QUERY
	SELECT 'start', haul.start(worker, ARRAY[calls.id], ARRAY[calls.claim])::text UNION ALL
	SELECT 'complete', haul.complete(worker, ARRAY[calls.id], ARRAY[calls.claim])::text UNION ALL
	SELECT 'complete, results', haul.complete(worker, ARRAY[calls.id], ARRAY[calls.claim], ARRAY['{}']::jsonb[])::text
		UNION ALL
	SELECT 'fail', haul.fail(worker, calls.id, calls.claim, 'stale') UNION ALL
	SELECT 'fail, final', haul.fail(worker, calls.id, calls.claim, 'stale', final => true) UNION ALL
	SELECT 'discard', haul.discard(worker, calls.id, calls.claim, 'stale')::text UNION ALL
	SELECT 'cancelled', haul.cancelled(worker, calls.id, calls.claim, 'stale')::text UNION ALL
	SELECT 'snooze', haul.snooze(worker, calls.id, calls.claim, '0')::text UNION ALL
	SELECT 'release', haul.release(worker, ARRAY[calls.id], ARRAY[calls.claim])::text UNION ALL
	SELECT 'release, not started', haul.release(worker, ARRAY[calls.id], ARRAY[calls.claim], false)::text UNION ALL
	SELECT 'progress', haul.progress(worker, calls.id, calls.claim, '"stale"')::text UNION ALL
	SELECT 'complete, strict', (helper.refusal(format('SELECT haul.complete(%s, ARRAY[%s], ARRAY[%s], strict => true)',
		worker, calls.id, calls.claim))).state;
END
$$;
CREATE FUNCTION helper.all_not_owned(id bigint) RETURNS TABLE (call text, outcome text) LANGUAGE sql
AS $$
	VALUES ('start', '{' || id || '}'), ('complete', '{' || id || '}'), ('complete, results', '{' || id || '}'),
		('fail', NULL), ('fail, final', NULL), ('discard', 'false'),
		('cancelled', 'false'), ('snooze', 'false'), ('release', '{' || id || '}'),
			('release, not started', '{' || id || '}'), ('progress', 'false'), ('complete, strict', 'HQ001')
$$;
-- Everything that a call could change
CREATE FUNCTION helper.fingerprint() RETURNS text LANGUAGE sql
AS $$
	SELECT md5(coalesce((SELECT string_agg(j::text, ';' ORDER BY id) FROM haul.jobs AS j),
		'') || coalesce((SELECT string_agg(f::text, ';' ORDER BY id) FROM haul.finished_jobs AS f), '')
		|| (SELECT count(*) FROM haul.job_errors) || coalesce((SELECT string_agg(c::text, ';' ORDER BY day, queue)
			FROM haul.counters AS c), ''))
$$;
INSERT INTO haul.jobs (kind, queue) SELECT 'stale', 'stale' FROM generate_series(1, 4);
SELECT haul.register_worker('sw', '{"queues": ["stale"]}') AS sw \gset
SELECT id AS running_id FROM haul.checkout(:sw) \gset
SELECT id AS done_id FROM haul.checkout(:sw) \gset
SELECT id AS again_id FROM haul.checkout(:sw) \gset
SELECT haul.complete(:sw, ARRAY[:done_id], ARRAY[1]);
SELECT haul.release(:sw, ARRAY[:again_id], ARRAY[1]);
SELECT id AS ready_id FROM haul.jobs WHERE queue = 'stale' AND claim = 0 \gset
SELECT helper.fingerprint() AS was \gset
CREATE TEMP TABLE stale (what text, worker bigint, id bigint, claim integer);
INSERT INTO stale VALUES
	('a later claim', :sw, :running_id, 2), ('an earlier claim', :sw, :running_id, 0),
		('a negative claim', :sw, :running_id, -1), ('another worker', :other, :running_id, 1),
	('no worker', -1, :running_id, 1), ('a finished job', :sw, :done_id, 1),
		('the claim after a finished one', :sw, :done_id, 2), ('no job', :sw, -1, 1),
	('a released job', :sw, :again_id, 1), ('a job never handed out, claim 0', :sw, :ready_id, 0),
		('a job never handed out, claim 2', :sw, :ready_id, 2);
SELECT results_eq(format('SELECT * FROM helper.calls(%s, %s, %s)', worker, id, claim),
	format('SELECT * FROM helper.all_not_owned(%s)', id), 'not owned: ' || what) FROM stale;
SELECT is(helper.fingerprint(), :'was', 'none of these calls changed anything');
SELECT is((SELECT count(*) FROM haul.checkout(:sw, 2)), 2::bigint, 'the released job is handed out again');
SELECT helper.fingerprint() AS was \gset
SELECT results_eq(format('SELECT * FROM helper.calls(%s, %s, 1)', :sw, :again_id),
	format('SELECT * FROM helper.all_not_owned(%s)', :again_id),
	'not owned: a job that the same worker holds by a later claim');
DELETE FROM haul.workers WHERE id = :other;
SELECT results_eq(format('SELECT * FROM helper.calls(%s, %s, 1)', :other, :running_id),
	format('SELECT * FROM helper.all_not_owned(%s)', :running_id), 'not owned: by a worker that is gone');
SELECT is(helper.fingerprint(), :'was', 'none of these changed anything, either');
SELECT set_eq(format('SELECT unnest(haul.complete(%s, ARRAY[%s, %s, %s, -5, %s], ARRAY[1, 1, 2, 1, 1]))', :sw,
	:running_id, :done_id, :again_id, :ready_id), ARRAY[:done_id, -5]::bigint[],
	'complete does what is owned and reports the rest');
SELECT is_empty($$ SELECT FROM haul.jobs WHERE queue = 'stale' $$, 'which is done');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- strict: all or nothing
INSERT INTO haul.jobs (kind, queue) VALUES ('x', 'stale'), ('x', 'stale');
SELECT array_agg(id ORDER BY id) AS ids FROM haul.checkout(:sw, 2) \gset
SELECT is(r.state, 'HQ001', 'strict raises'), matches(r.message, '\m123456789\M', 'and names the job')
	FROM
		helper.refusal(format('SELECT haul.complete(%s, %L::bigint[] || 123456789::bigint, ARRAY[1, 1, 1], strict => true)',
		:sw, :'ids')) AS r;
SELECT is((SELECT count(*) FROM haul.jobs WHERE queue = 'stale' AND state = 'running'), 2::bigint,
	'nothing of the call stays');
SELECT is(haul.complete(:sw, :'ids', ARRAY[1, 1], strict => true), '{}', 'strict, all owned');

-- A claim whose commit a crash has undone: the job is ready, and its claim below that which the worker holds.
INSERT INTO haul.jobs (kind, queue) VALUES ('lost', 'lost') RETURNING id AS lost \gset
SELECT haul.register_worker('lw', '{"queues": ["lost"]}') AS lw \gset
SELECT is(haul.complete(:lw, ARRAY[:lost], ARRAY[1]), ARRAY[:lost]::bigint[],
	'without a crash, there is no such claim');
SAVEPOINT crash;
-- As recovery from a crash does: claims begin anew, above all that were handed out.
SELECT pg_stat_reset_shared('bgwriter'), pg_stat_clear_snapshot();
ALTER EXTENSION pg_haul DROP SEQUENCE haul._claim_base;
DROP SEQUENCE haul._claim_base;
CREATE UNLOGGED SEQUENCE haul._claim_base;
SELECT is(haul.fail(:lw, :lost, 1, 'e'), NULL, 'a lost claim cannot fail');
SELECT is(haul.complete(:lw, ARRAY[:lost], ARRAY[100000]), ARRAY[:lost]::bigint[],
	'nor is one of after the crash taken for it');
SELECT is(haul.complete(-1, ARRAY[:lost], ARRAY[1]), ARRAY[:lost]::bigint[], 'nor a worker that is not there');
SELECT is(haul.complete(:lw, ARRAY[:lost], ARRAY[1], ARRAY['"done"']::jsonb[]), '{}', 'but its completion is accepted');
SELECT has(helper.finished(:lost), jsonb_build_object('state', 'completed', 'result', 'done', 'claim', 1, 'attempt', 1,
	'worker_id', :lw), 'as if the claim had lasted');
SELECT is(helper.counts('lost'), '{"dispatches": 1, "completions": 1}', 'with the lost dispatch counted');
INSERT INTO haul.jobs (kind, queue) VALUES ('next', 'lost') RETURNING id AS next \gset
SELECT cmp_ok(claim, '>', 100, 'what is handed out now has a claim that nobody had') FROM haul.checkout(:lw);
SELECT is(haul.complete(:lw, ARRAY[:next], ARRAY[claim]), '{}', 'with which it completes')
	FROM haul.jobs WHERE id = :next;
ROLLBACK TO crash;

-- Arrays
INSERT INTO haul.jobs (kind, queue) VALUES ('x', 'stale') RETURNING id AS x_id \gset
SELECT is(helper.checkout_kinds(:sw), 'x', 'a job for bad arrays');
SELECT throws_ok(format('SELECT haul.%s', replace(call, 'ID', :x_id::text)), '22023', NULL, call) FROM (
	SELECT format(f, :sw, arrays) AS call
		FROM unnest(ARRAY['complete(%s, %s)', 'release(%s, %s)', 'start(%s, %s)', 'reconcile(%s, %s)',
			'not_owned(%s, %s)']) AS f,
			unnest(ARRAY['ARRAY[ID], ARRAY[1, 1]', 'ARRAY[ID, ID], ARRAY[1]', '''{}'', ARRAY[1]', 'ARRAY[ID], ''{}''',
				'ARRAY[ID, NULL], ARRAY[1, 1]',
				'ARRAY[ID], ARRAY[NULL::integer]', 'ARRAY[NULL, ID], ARRAY[1, 1]']) AS arrays
	UNION ALL SELECT format('complete(%s, %s)', :sw, arrays)
		FROM unnest(ARRAY['ARRAY[ID], ARRAY[1], ARRAY[]::jsonb[]', 'ARRAY[ID], ARRAY[1], ARRAY[''1'', ''2'']::jsonb[]',
			'''{}'', ''{}'', ARRAY[''1'']::jsonb[]']) AS arrays) AS c;
SELECT is(helper.job(:x_id) ->> 'state', 'running', 'no refused call touched the job');
SELECT is(haul.progress(:sw, :x_id, 1, '1'), true, 'which is still owned');
SELECT is(haul.complete(:sw, '[7:8]={-1,-2}', '[3:4]={1,1}'), '{-2,-1}', 'arrays may start anywhere');
SELECT is(haul.complete(:sw, '{}', '{}'), '{}', 'complete of nothing');
SELECT is(haul.complete(:sw, '{}', '{}', '{}', strict => true), '{}', 'complete of nothing, with results, strict');
SELECT is(haul.release(:sw, '{}', '{}'), '{}', 'release of nothing');
SELECT is(haul.start(:sw, '{}', '{}'), '{}', 'start of nothing');
SELECT is(haul.release(:sw, ARRAY[:x_id, :x_id], ARRAY[1, 1], false), ARRAY[:x_id]::bigint[],
	'a job named twice is released once');
SELECT is(helper.job(:x_id) ->> 'attempt', '0', 'and given back one attempt');
SELECT is(helper.checkout_kinds(:sw), 'x', 'then');
SELECT is(haul.complete(:sw, ARRAY[:x_id, :x_id], ARRAY[2, 2]), ARRAY[:x_id]::bigint[],
	'a job named twice is completed once');
SELECT is((SELECT count(*) FROM haul.finished_jobs WHERE id = :x_id), 1::bigint, 'and kept once');
SELECT ok(helper.counters_add_up(), 'and counted once');

-- What was started does not expire any more, though a snooze gives the attempt back
SELECT haul.register_worker('expiring', '{"queues": ["expiring"]}') AS ew \gset
INSERT INTO haul.jobs (kind, queue, expires_at) VALUES ('e', 'expiring', now() + interval '1 hour') RETURNING id
	AS e_id \gset
SELECT claim FROM haul.checkout(:ew) \gset e_
SELECT ok(haul.snooze(:ew, :e_id, :e_claim, '0'), 'a job with expires_at is snoozed');
SELECT ok(helper.job(:e_id) ->> 'expires_at' IS NULL, 'and does not expire after that');
SELECT claim FROM haul.checkout(:ew) \gset e_
SELECT is(haul.complete(:ew, ARRAY[:e_id], ARRAY[:e_claim]), '{}', 'it ran again');
INSERT INTO haul.jobs (kind, queue, expires_at, queue_timeout) VALUES ('e', 'expiring', now() + interval '10 days',
	'1 hour')
	RETURNING id AS e_id \gset
SELECT claim FROM haul.checkout(:ew) \gset e_
SELECT is(haul.release(:ew, ARRAY[:e_id], ARRAY[:e_claim], false), '{}', 'a job with both is given back unstarted');
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = :e_id), now() + interval '10 days',
	'the expiry that was given stands');
SELECT claim FROM haul.checkout(:ew) \gset e_
SELECT throws_ok(format('SELECT haul.snooze(%s, %s, %s, %L)', :ew, :e_id, :e_claim, '1001 years'), '22023', NULL,
	'snooze for 1001 years');
SELECT throws_ok(format('SELECT haul.fail(%s, %s, %s, %L, retry_in => %L)', :ew, :e_id, :e_claim, 'e', '1001 years'),
	'22023', NULL,
	'fail with a retry in 1001 years');

\ir include/finish.psql
