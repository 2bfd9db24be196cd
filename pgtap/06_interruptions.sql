-- What becomes of the jobs of a worker that is gone.
\ir include/prelude.psql
SELECT no_plan();

CREATE FUNCTION helper.new_worker(queue text, options jsonb DEFAULT '{}') RETURNS bigint LANGUAGE sql
AS $$ SELECT haul.register_worker('worker', jsonb_build_object('queues', jsonb_build_array(queue)) || options) $$;

-- DELETE releases at once.
INSERT INTO haul.jobs (kind, queue, run_at) SELECT 'k' || n, 'q', now() - interval '1 hour'
	FROM generate_series(1, 3) AS n;
SELECT helper.new_worker('q') AS dead \gset
SELECT helper.new_worker('q') AS alive \gset
SELECT is(helper.checkout_kinds(:dead, 2), 'k1 k2', 'one worker holds two jobs');
SELECT is(helper.checkout_kinds(:alive, 2), 'k3', 'another one holds one');
SELECT clock_timestamp() AS before \gset
DELETE FROM haul.workers WHERE id = :dead;
SELECT results_eq($$ SELECT kind, state, attempt, claim, interruptions::integer, worker_id, lease_id, started_at, run_at
	FROM haul.jobs WHERE queue = 'q' AND state = 'ready' ORDER BY id $$,
	$$ VALUES ('k1' COLLATE "C", 'ready', 1, 1, 1, NULL::bigint, NULL::bigint, NULL::timestamptz,
		now() - interval '1 hour'), ('k2', 'ready', 1, 1, 1, NULL, NULL, NULL, now() - interval '1 hour') $$,
	'DELETE of its row releases its jobs: the attempt is counted, the interruption too');
SELECT ok((SELECT bool_and(interrupted_at BETWEEN :'before' AND clock_timestamp()) FROM haul.jobs WHERE queue = 'q'
	AND state = 'ready'), 'with the time');
SELECT has(helper.job((SELECT id FROM haul.jobs WHERE kind = 'k3')),
	jsonb_build_object('state', 'running', 'interruptions', 0, 'worker_id', :alive),
	'and touches no job of another worker');
SELECT is(helper.counts('q'), '{"dispatches": 3, "releases": 2}', 'they are counted as releases');
SELECT
	results_eq(format('SELECT kind, attempt, claim, interruptions::integer, interrupted_at IS NOT NULL FROM '
		'haul.checkout(%s, 10)',
	:alive),
	$$ VALUES ('k1', 2, 2, 1, true), ('k2', 2, 2, 1, true) $$, 'the next checkout gets them, and is told');
SELECT is(haul.complete(:dead, ARRAY[(SELECT id FROM haul.jobs WHERE kind = 'k1')], ARRAY[1]),
	(SELECT array_agg(id) FROM haul.jobs WHERE kind = 'k1'), 'the dead worker cannot complete them');
SELECT is(haul.heartbeat(:dead), false, 'its heartbeat says that it is gone');

-- unregister_worker
SELECT is(haul.unregister_worker(:alive), 3::bigint, 'unregister_worker returns how many jobs it released');
SELECT is(haul.unregister_worker(:alive), NULL, 'and NULL when there is no such worker');
SELECT is((SELECT array_agg(interruptions::integer ORDER BY id) FROM haul.jobs WHERE queue = 'q'), ARRAY[2, 2, 1],
	'they were interrupted, too');
SELECT is(haul.unregister_worker(helper.new_worker('q')), 0::bigint, 'a worker without jobs releases none');

-- A job that its worker gave back and got again stands in two leases, and is released once.
INSERT INTO haul.jobs (kind, queue) SELECT 'twice', 'twice' FROM generate_series(1, 3);
SELECT helper.new_worker('twice') AS w \gset
SELECT is((SELECT haul.release(:w, array_agg(id), array_agg(claim), false) FROM haul.checkout(:w, 3)), '{}',
	'a worker gives three jobs back');
SELECT is((SELECT count(*) FROM haul.checkout(:w, 2)), 2::bigint, 'and gets two of them again');
SELECT is(haul.reconcile(:w, ARRAY(SELECT id FROM haul.jobs WHERE queue = 'twice' AND state = 'running'), ARRAY[2, 2]),
	0::bigint, 'reconcile knows that it holds these');
SELECT is(haul.unregister_worker(:w), 2::bigint, 'its end releases two');
SELECT is((SELECT array_agg(interruptions::integer ORDER BY id) FROM haul.jobs WHERE queue = 'twice'), ARRAY[1, 1, 0],
	'each once');
SELECT is(helper.counts('twice'), '{"dispatches": 3, "retries": 2, "releases": 5}', 'counted once');
SELECT haul.maintain();
SELECT is_empty(format('SELECT FROM haul.leases WHERE worker_id = %s', :w), 'and no lease is left');

-- Many workers in one statement; jobs that ended meanwhile are no longer theirs.
INSERT INTO haul.jobs (kind, queue) SELECT 'm', 'many' FROM generate_series(1, 100);
CREATE TEMP TABLE fleet AS SELECT helper.new_worker('many') AS id FROM generate_series(1, 10);
CREATE TEMP TABLE taken AS SELECT f.id AS worker, c.id, c.claim FROM fleet AS f, LATERAL haul.checkout(f.id, 10) AS c;
SELECT is((SELECT count(*) FROM taken), 100::bigint, 'ten workers hold ten jobs each');
SELECT haul.complete(worker, array_agg(id), array_agg(claim)) FROM taken WHERE id % 2 = 0 GROUP BY worker;
SELECT haul.maintain();
DELETE FROM haul.workers WHERE id IN (SELECT id FROM fleet);
SELECT is((SELECT count(*) FROM haul.jobs WHERE queue = 'many' AND state = 'ready' AND interruptions = 1), 50::bigint,
	'all that were not completed are released');
SELECT is_empty('SELECT FROM haul.jobs WHERE worker_id IN (SELECT id FROM fleet)', 'nobody of them holds anything');
SELECT haul.maintain();
SELECT is_empty('SELECT FROM haul.leases WHERE worker_id IN (SELECT id FROM fleet)', 'nor has a lease');
SELECT is(helper.counts('many'), '{"dispatches": 100, "completions": 50, "releases": 50}', 'the counts are exact');

-- on_interrupt
INSERT INTO haul.jobs (kind, queue, on_interrupt) VALUES ('f', 'on', 'fail') RETURNING id AS f_id \gset
INSERT INTO haul.jobs (kind, queue, on_interrupt) VALUES ('d', 'on', 'discard') RETURNING id AS d_id \gset
INSERT INTO haul.jobs (kind, queue, on_interrupt) VALUES ('r', 'on', 'retry') RETURNING id AS r_id \gset
SELECT helper.new_worker('on') AS w \gset
SELECT is(helper.checkout_kinds(:w), 'f d r', 'a worker holds a job of each kind');
DELETE FROM haul.workers WHERE id = :w;
SELECT has(helper.finished(:f_id), '{"state": "failed", "attempt": 1, "interruptions": 1}',
	'on_interrupt = fail: failed');
SELECT ok(helper.finished(:f_id) ->> 'last_error' ~ 'interrupt'
	AND helper.finished(:f_id) ->> 'interrupted_at' IS NOT NULL, 'with the reason and the time');
SELECT has(helper.finished(:d_id), '{"state": "discarded", "attempt": 1, "interruptions": 1}',
	'on_interrupt = discard: discarded');
SELECT ok(helper.finished(:d_id) ->> 'last_error' ~ 'interrupt', 'with the reason');
SELECT has(helper.job(:r_id), '{"state": "ready", "attempt": 1, "interruptions": 1}', 'on_interrupt = retry: ready');
SELECT is(helper.counts('on'), '{"dispatches": 3, "expiries": 1, "discards": 1, "releases": 1}',
	'each is counted as what it is');
SELECT is((SELECT count(*) FROM haul.job_errors WHERE job_id IN (:f_id, :d_id, :r_id)), 1::bigint,
	'only the failed one has an error');

-- release(started => true) follows it, too.
INSERT INTO haul.jobs (kind, queue, on_interrupt) VALUES ('f', 'on2', 'fail'), ('d', 'on2', 'discard'),
	('r', 'on2', 'retry'), ('x', 'on2', 'retry');
UPDATE haul.jobs SET max_attempts = 1 WHERE kind = 'x' AND queue = 'on2';
SELECT helper.new_worker('on2') AS w \gset
SELECT is((SELECT haul.release(:w, array_agg(id), array_agg(claim)) FROM haul.checkout(:w, 10)), '{}',
	'release of started jobs');
SELECT results_eq($$ SELECT kind, state FROM haul.jobs WHERE queue = 'on2' UNION ALL SELECT kind, state
	FROM haul.finished_jobs WHERE queue = 'on2' ORDER BY 1 $$,
	$$ VALUES ('d' COLLATE "C", 'discarded'), ('f', 'failed'), ('r', 'ready'), ('x', 'failed') $$,
		'follows on_interrupt and max_attempts');

-- The last attempt
INSERT INTO haul.jobs (kind, queue, max_attempts) VALUES ('last', 'last', 2) RETURNING id AS id \gset
SELECT helper.new_worker('last') AS w \gset
SELECT is(helper.checkout_kinds(:w), 'last', 'attempt 1 of 2');
DELETE FROM haul.workers WHERE id = :w;
SELECT has(helper.job(:id), '{"state": "ready", "attempt": 1}', 'interrupted: ready again');
SELECT helper.new_worker('last') AS w \gset
SELECT is(helper.checkout_kinds(:w), 'last', 'attempt 2 of 2');
DELETE FROM haul.workers WHERE id = :w;
SELECT has(helper.finished(:id), '{"state": "failed", "attempt": 2, "interruptions": 2}', 'interrupted: failed');
SELECT is(helper.counts('last'), '{"dispatches": 1, "retries": 1, "releases": 1, "expiries": 1}', 'and counted');

-- A job that kills its workers
CREATE FUNCTION helper.kill(queue text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	worker bigint := helper.new_worker(queue);
	kinds  text := helper.checkout_kinds(worker);
BEGIN
	DELETE FROM haul.workers WHERE id = worker;
	RETURN kinds;
END
$$;
SELECT is(current_setting('haul.max_interruptions'), '3', 'three deaths are too many');
INSERT INTO haul.jobs (kind, queue) VALUES ('killer', 'killer') RETURNING id AS id \gset
SELECT is(ARRAY[helper.kill('killer'), helper.kill('killer')], ARRAY['killer', 'killer'], 'a job kills two workers');
SELECT has(helper.job(:id), '{"state": "ready", "interruptions": 2}', 'it is still tried');
SELECT is(helper.kill('killer'), 'killer', 'it kills the third');
SELECT has(helper.finished(:id), '{"state": "failed", "interruptions": 3, "attempt": 3}', 'it fails');
SELECT ok(helper.finished(:id) ->> 'last_error' ~ 'died'
	AND (SELECT count(*) = 1 FROM haul.job_errors WHERE job_id = :id), 'with the reason');
SET LOCAL haul.max_interruptions = 5;
INSERT INTO haul.jobs (kind, queue) VALUES ('killer', 'killer') RETURNING id AS id \gset
SELECT count(helper.kill('killer')) FROM generate_series(1, 4);
SELECT has(helper.job(:id), '{"state": "ready", "interruptions": 4}', 'haul.max_interruptions = 5: four are survived');
SELECT helper.kill('killer');
SELECT has(helper.finished(:id), '{"state": "failed", "interruptions": 5}', 'the fifth is not');
RESET haul.max_interruptions;
INSERT INTO haul.jobs (kind, queue) VALUES ('shutdowns', 'sd') RETURNING id AS id \gset
SELECT helper.new_worker('sd') AS w \gset
SELECT count(haul.release(:w, ARRAY[id], ARRAY[claim])) FROM generate_series(1, 10) AS n,
	LATERAL haul.checkout(:w + 0 * n) AS c;
SELECT has(helper.job(:id), '{"state": "ready", "attempt": 10}', 'releases by a worker that lives are no deaths');

-- Workers that confirm starts: what was only fetched is neither charged nor ended, whatever its worker dies of.
INSERT INTO haul.jobs (kind, queue, on_interrupt, max_attempts) VALUES ('plain', 'cs', 'retry', 21),
	('last', 'cs', 'retry', 1), ('fail', 'cs', 'fail', 21), ('discard', 'cs', 'discard', 21),
	('begun', 'cs', 'fail', 21);
SELECT helper.new_worker('cs', '{"confirm_start": true}') AS w \gset
CREATE TEMP TABLE cs AS SELECT * FROM haul.checkout(:w, 10);
SELECT is((SELECT array_agg(kind ORDER BY id) FROM cs WHERE confirm_start) @> ARRAY['last', 'fail', 'discard',
	'begun'] COLLATE "C", true, 'jobs that an interruption could end must be confirmed');
SELECT is((SELECT count(*) FROM cs JOIN haul.jobs AS j USING (id) WHERE cs.confirm_start <> (j.started_at IS NULL)),
	0::bigint, 'and have not started until then');
SELECT is((SELECT array_agg(j.attempt ORDER BY j.id) FROM haul.jobs AS j WHERE queue = 'cs'), ARRAY[1, 1, 1, 1, 1],
	'the attempt is counted at checkout all the same');
SELECT is((SELECT haul.start(:w, array_agg(id), array_agg(claim)) FROM cs WHERE kind = 'begun'), '{}', 'one begins');
SELECT ok((SELECT started_at IS NOT NULL FROM haul.jobs WHERE queue = 'cs' AND kind = 'begun'), 'and has started');
DELETE FROM haul.workers WHERE id = :w;
SELECT results_eq($$ SELECT kind, state, attempt, interruptions::integer, interrupted_at FROM haul.jobs
	WHERE queue = 'cs' AND kind <> 'plain' ORDER BY id $$,
	$$ VALUES ('last' COLLATE "C", 'ready', 0, 0, NULL::timestamptz), ('fail', 'ready', 0, 0, NULL),
		('discard', 'ready', 0, 0, NULL) $$, 'those that did not begin are as if they had never been fetched');
SELECT results_eq($$ SELECT kind, state, interruptions::integer FROM haul.finished_jobs WHERE queue = 'cs' $$,
	$$ VALUES ('begun' COLLATE "C", 'failed', 1) $$, 'the one that began follows on_interrupt');
SELECT ok(helper.counters_add_up(), 'the counters add up');
-- However often
CREATE FUNCTION helper.kill_confirming(queue text) RETURNS void LANGUAGE plpgsql
AS $$
DECLARE
	worker bigint := helper.new_worker(queue, '{"confirm_start": true}');
BEGIN
	PERFORM haul.checkout(worker, 100);
	DELETE FROM haul.workers WHERE id = worker;
END
$$;
SELECT helper.kill_confirming('cs') FROM generate_series(1, 10);
SELECT is((SELECT array_agg(kind ORDER BY id) FROM haul.jobs WHERE queue = 'cs' AND state = 'ready'),
	ARRAY['plain', 'last', 'fail', 'discard'] COLLATE "C", 'no number of deaths ends a job that only lay prefetched');
SELECT cmp_ok((SELECT max(interruptions)::integer FROM haul.jobs WHERE queue = 'cs'), '<=', 1,
	'nor holds more than one of them against it');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- release of unstarted jobs of such a worker, even when it claims that they started
SELECT helper.new_worker('cs', '{"confirm_start": true}') AS w \gset
SELECT is((SELECT haul.release(:w, array_agg(id), array_agg(claim), true) FROM haul.checkout(:w, 10)
	WHERE confirm_start), '{}', 'release of jobs never confirmed');
SELECT is((SELECT array_agg(attempt ORDER BY id) FROM haul.jobs WHERE queue = 'cs' AND kind <> 'plain'), ARRAY[0, 0, 0],
	'charges nothing');
DELETE FROM haul.jobs WHERE queue = 'cs';

-- reconcile: what the worker does not know of is given back.
INSERT INTO haul.jobs (kind, queue, on_interrupt) SELECT 'k' || n, 'rec', 'fail' FROM generate_series(1, 6) AS n;
SELECT helper.new_worker('rec') AS w \gset
SELECT helper.new_worker('rec') AS other \gset
CREATE TEMP TABLE rec AS SELECT * FROM haul.checkout(:w, 4);
INSERT INTO rec SELECT * FROM haul.checkout(:w, 1);
SELECT is(helper.checkout_kinds(:other), 'k6', 'the last is another worker''s');
SELECT is((SELECT haul.reconcile(:w, array_agg(id), array_agg(CASE kind WHEN 'k2' THEN claim + 1 ELSE claim END))
	FROM rec WHERE kind IN ('k1', 'k2', 'k5')), 3::bigint,
	'reconcile gives back what is not among the given, or not by this claim');
SELECT results_eq($$ SELECT kind, state, attempt, interruptions::integer FROM haul.jobs WHERE queue = 'rec'
	ORDER BY kind $$,
	$$ VALUES ('k1' COLLATE "C", 'running', 1, 0), ('k2', 'ready', 0, 0), ('k3', 'ready', 0, 0), ('k4', 'ready', 0, 0),
		('k5', 'running', 1, 0), ('k6', 'running', 1, 0) $$, 'uncharged');
SELECT is(haul.reconcile(:w, '{}', '{}'), 2::bigint, 'reconcile with nothing in flight');
SELECT is(haul.reconcile(:w, '{}', '{}'), 0::bigint, 'and again');
SELECT is(haul.reconcile(-1, '{}', '{}'), 0::bigint, 'a worker that is not there holds nothing');
SELECT is((SELECT count(*) FROM haul.jobs WHERE queue = 'rec' AND state = 'running'), 1::bigint,
	'other workers keep theirs');
SELECT is(helper.counts('rec'), '{"dispatches": 6, "releases": 5}', 'and counted');

-- reconcile with a stale and a valid claim of one job, in either order
SELECT haul.register_worker('both-claims', '{"queues": ["both-claims"]}') AS tw \gset
INSERT INTO haul.jobs (kind, queue) VALUES ('t', 'both-claims') RETURNING id AS t_id \gset
SELECT haul.release(:tw, ARRAY[id], ARRAY[claim], false) FROM haul.checkout(:tw);
SELECT claim FROM haul.checkout(:tw) \gset t_
SELECT is(:t_claim, 2, 'a second claim');
SELECT is(haul.reconcile(:tw, ARRAY[:t_id, :t_id], c), 0::bigint, 'known by claims ' || c::text)
	FROM (VALUES ('{1,2}'::integer[]), ('{2,1}')) AS v(c);
SELECT is(haul.reconcile(:tw, ARRAY[:t_id], ARRAY[1]), 1::bigint, 'a stale claim alone does not hold it');

-- not_owned: what a worker need not go on with.
INSERT INTO haul.jobs (kind, queue) SELECT kind, 'lost'
	FROM unnest('{mine,deleted,released,taken,ended}'::text[]) AS kind;
SELECT helper.new_worker('lost') AS w \gset
SELECT helper.new_worker('lost') AS other \gset
CREATE TEMP TABLE lost AS SELECT * FROM haul.checkout(:w, 5);
CREATE FUNCTION pg_temp.not_owned(worker bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(kind || n.claim, ', ' ORDER BY kind, n.claim)
	FROM (SELECT array_agg(id) AS ids, array_agg(claim) AS claims FROM lost) AS asked,
		haul.not_owned(worker, ids, claims) AS n JOIN (SELECT DISTINCT id, kind FROM lost) AS l USING (id)
$$;
SELECT is(pg_temp.not_owned(:w), NULL, 'all are its own');
SELECT is(pg_temp.not_owned(:other), 'deleted1, ended1, mine1, released1, taken1', 'and none is another worker''s');
SELECT haul.release(:w, array_agg(id), array_agg(claim)) FROM lost WHERE kind = 'taken' \g /dev/null
SELECT is(helper.checkout_kinds(:other), 'taken', 'others take over');
SELECT haul.complete(:w, array_agg(id), array_agg(claim)) FROM lost WHERE kind = 'ended' \g /dev/null
SELECT haul.release(:w, array_agg(id), array_agg(claim)) FROM lost WHERE kind = 'released' \g /dev/null
DELETE FROM haul.jobs WHERE kind = 'deleted';
SELECT is(pg_temp.not_owned(:w), 'deleted1, ended1, released1, taken1',
	'what ended, was given back or taken over is not');
INSERT INTO lost SELECT * FROM haul.checkout(:w);
SELECT is(pg_temp.not_owned(:w), 'deleted1, ended1, released1, taken1', 'a second claim is its own, the first is not');
SELECT is(haul.release(:w, array_agg(id), array_agg(claim)), '{}', 'back')
	FROM lost WHERE kind = 'released' AND claim = 2;
-- Offered to others while the worker is cut off: it is back, and gets it back.
UPDATE haul.workers SET lost_at = clock_timestamp() WHERE id = :w;
SELECT is(haul._offer(:w), 1::bigint, 'the job that is left is offered');
SELECT is(pg_temp.not_owned(:w), 'deleted1, ended1, released1, taken1',
	'an offer that nobody has taken leaves it its own');
SELECT is(helper.checkout_kinds(:other, 2), 'mine released', 'others take it');
SELECT is(pg_temp.not_owned(:w), 'deleted1, ended1, mine1, released1, released2, taken1', 'then it is not');
SELECT is_empty($$ SELECT haul.not_owned(-1, '{}', '{}') $$, 'of nothing, nothing');

\ir include/finish.psql
