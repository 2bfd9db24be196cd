-- Counters are exact: after every kind of call, before and after they are folded.
\ir include/prelude.psql
SELECT no_plan();

SELECT haul.register_worker('w', '{"queues": ["a", "b"]}') AS w \gset
SET LOCAL haul.keep_completed = '100d';

-- Every step, with what it adds to the counts of queue "a". The identity is tested after each of them, and that
-- folding changes nothing.
CREATE TEMP TABLE so_far (counts jsonb);
INSERT INTO so_far VALUES ('{}');
CREATE FUNCTION helper.step(description text, added jsonb) RETURNS SETOF text LANGUAGE plpgsql
AS $$
DECLARE
	now_at  jsonb := helper.counts('a');
	was_at  jsonb := (SELECT counts FROM so_far);
	changes jsonb := (
		SELECT coalesce(jsonb_object_agg(key, value::bigint - coalesce((was_at ->> key)::bigint, 0))
						FILTER (WHERE value <> coalesce(was_at ->> key, '')), '{}')
			FROM jsonb_each_text(now_at));
BEGIN
	RETURN NEXT is(changes, added, description);
	RETURN NEXT ok(helper.counters_add_up(), description || ': the counters add up');
	PERFORM haul.maintain();
	RETURN NEXT is(helper.counts('a'), now_at, description || ': folding changes nothing');
	UPDATE so_far SET counts = now_at;
END
$$;
CREATE FUNCTION helper.due_again() RETURNS void LANGUAGE sql AS $$ UPDATE haul.jobs SET run_at = now()
	WHERE state = 'ready' $$;

SELECT is_empty('SELECT FROM haul.counters', 'before the first call there is nothing');
INSERT INTO haul.jobs (kind, queue, max_attempts) SELECT 'k' || n, 'a', 3 FROM generate_series(1, 12) AS n;
SELECT helper.step('enqueue', '{}');
CREATE TEMP TABLE held AS SELECT * FROM haul.checkout(:w, 10);
SELECT helper.step('checkout', '{"dispatches": 10}');
SELECT count(*) FROM haul.checkout(:w, 10) \g /dev/null
SELECT helper.step('checkout of the rest', '{"dispatches": 2}');
SELECT haul.complete(:w, array_agg(id), array_agg(claim)) FROM held WHERE kind IN ('k1', 'k2') \g /dev/null
SELECT helper.step('complete', '{"completions": 2}');
SELECT haul.complete(:w, array_agg(id), array_agg(claim)) FROM held WHERE kind IN ('k1', 'k2') \g /dev/null
SELECT helper.step('complete once more', '{}');
SELECT haul.fail(:w, id, claim, 'e') FROM held WHERE kind = 'k3' \g /dev/null
SELECT helper.step('fail', '{"failures": 1}');
SELECT haul.fail(:w, id, claim, 'e', final => true) FROM held WHERE kind = 'k4' \g /dev/null
SELECT helper.step('fail for good', '{"expiries": 1}');
SELECT haul.discard(:w, id, claim, 'r') FROM held WHERE kind = 'k5' \g /dev/null
SELECT helper.step('discard', '{"discards": 1}');
SELECT haul.cancelled(:w, id, claim, 'r') FROM held WHERE kind = 'k6' \g /dev/null
SELECT helper.step('cancelled', '{"cancels": 1}');
SELECT haul.snooze(:w, id, claim, '1 hour') FROM held WHERE kind = 'k7' \g /dev/null
SELECT helper.step('snooze', '{"releases": 1}');
SELECT haul.release(:w, array_agg(id), array_agg(claim), false) FROM held WHERE kind = 'k8' \g /dev/null
SELECT haul.release(:w, array_agg(id), array_agg(claim), true) FROM held WHERE kind = 'k9' \g /dev/null
SELECT helper.step('release', '{"releases": 2}');
SELECT haul.progress(:w, id, claim, '1'), haul.start(:w, ARRAY[id], ARRAY[claim]) FROM held
	WHERE kind = 'k10' \g /dev/null
SELECT helper.step('progress and start', '{}');
SELECT helper.due_again();
CREATE TEMP TABLE again AS SELECT * FROM haul.checkout(:w, 10);
SELECT is((SELECT string_agg(kind, ' ' ORDER BY id) FROM again), 'k3 k7 k8 k9',
	'the failed, the snoozed and the released come again');
SELECT helper.step('checkout of these', '{"retries": 4}');

-- By hand
DELETE FROM haul.jobs WHERE queue = 'a' AND kind IN ('k10', 'k11');
SELECT helper.step('DELETE of running jobs', '{"cancels": 2}');
SELECT set_eq($$ SELECT kind, state, last_error, worker_id IS NOT NULL FROM haul.finished_jobs WHERE kind IN ('k10',
	'k11') $$,
	$$ VALUES ('k10', 'cancelled', 'the job was deleted', true), ('k11', 'cancelled', 'the job was deleted', true) $$,
	'which are kept as cancelled');
INSERT INTO haul.jobs (kind, queue, state) VALUES ('d1', 'a', 'ready'), ('d2', 'a', 'waiting'), ('d3', 'a', 'ready');
DELETE FROM haul.jobs WHERE kind IN ('d1', 'd2', 'd3');
SELECT helper.step('DELETE of jobs that wait', '{"drops": 3}');
DELETE FROM haul.jobs WHERE false;
SELECT helper.step('DELETE of nothing', '{}');
UPDATE haul.jobs SET priority = 1, args = '{"x": 1}' WHERE queue = 'a';
SELECT helper.step('UPDATE by hand', '{}');
INSERT INTO haul.jobs (kind, queue, queue_timeout) VALUES ('late', 'a', '1 microsecond');
SELECT haul.maintain() \g /dev/null
SELECT helper.step('queue timeout, by maintenance', '{"drops": 1}');
INSERT INTO haul.jobs (kind, queue, queue_timeout) VALUES ('late', 'a', '1 microsecond');
SELECT is(helper.checkout_kinds(:w), NULL, 'a late job is not handed out');
SELECT helper.step('queue timeout, by checkout', '{"drops": 1}');
-- k3, k7, k8, k9 and k12 run. k3 and k9 are at their second attempt, k7 and k8, given back, at their first.
UPDATE haul.jobs SET max_attempts = 2 WHERE kind = 'k9';
UPDATE haul.jobs SET on_interrupt = 'discard' WHERE kind = 'k8';
DELETE FROM haul.workers WHERE id = :w;
SELECT helper.step('death of the worker', '{"expiries": 1, "discards": 1, "releases": 3}');

-- A rolled-back call does not count.
SELECT haul.register_worker('w', '{"queues": ["a", "b"]}') AS w \gset
SAVEPOINT s;
SELECT count(*) FROM haul.checkout(:w, 10) \g /dev/null
ROLLBACK TO s;
SELECT helper.step('a checkout that is rolled back', '{}');

-- Per queue and UTC day
INSERT INTO haul.jobs (kind, queue) VALUES ('b', 'b'), ('b', 'b');
SELECT haul.complete(:w, array_agg(id), array_agg(claim)) FROM haul.checkout(:w, 100) \g /dev/null
SELECT is(helper.counts('b'), '{"dispatches": 2, "completions": 2}', 'queues are counted apart');
SELECT is(helper.counts('a') -> 'completions', '5', 'also within one call');
SELECT ok((SELECT bool_and(day = (now() AT TIME ZONE 'UTC')::date OR day = (clock_timestamp() AT TIME ZONE 'UTC')::date)
	FROM haul.counters), 'the day is the UTC day, whatever the session''s time zone');
SELECT is_empty($$ SELECT day, queue FROM haul.counters GROUP BY 1, 2 HAVING count(*) > 1 $$,
	'one row per day and queue');

-- One call about jobs of many queues, each of a checkout of its own
INSERT INTO haul.jobs (kind, queue) SELECT 'many', 'many' || n % 7 FROM generate_series(1, 200) AS n;
SELECT haul.register_worker('many', '{"kinds": ["many"]}') AS many \gset
CREATE TEMP TABLE many AS SELECT c.id, c.claim FROM generate_series(1, 200) AS n, LATERAL haul.checkout(:many + 0 * n)
	AS c;
SELECT is((SELECT haul.complete(:many, array_agg(id ORDER BY id), array_agg(claim ORDER BY id)) FROM many), '{}',
	'jobs of 200 leases complete at once');
SELECT set_eq($$ SELECT queue, dispatches, completions FROM haul.counters WHERE queue LIKE 'many%' $$,
	$$ SELECT 'many' || n % 7, count(*) AS d, count(*) AS c FROM generate_series(1, 200) AS n GROUP BY 1 $$,
		'each counts for its queue');
SELECT is_empty(format('SELECT FROM haul.leases WHERE worker_id = %s', :many), 'and all leases are done');

-- A recount
SELECT is((SELECT sum(completions) FROM haul.counters), (SELECT count(*) FROM haul.finished_jobs
	WHERE state = 'completed')::numeric, 'completions are the jobs that completed');
SELECT is((SELECT sum(expiries) FROM haul.counters), (SELECT count(*) FROM haul.finished_jobs
	WHERE state = 'failed')::numeric, 'expiries are the jobs that failed');
SELECT is((SELECT sum(failures + expiries) FROM haul.counters), (SELECT count(*) FROM haul.job_errors)::numeric,
	'failures and expiries are the errors');
SELECT is((SELECT sum(discards + cancels + drops) FROM haul.counters), (SELECT count(*) FROM haul.finished_jobs
	WHERE state IN ('discarded', 'cancelled'))::numeric + 3,
	'discards, cancels and drops are the jobs that ended so, and the three deleted before they ran');
SELECT haul.maintain() \g /dev/null
SELECT is_empty('SELECT FROM haul._ledger WHERE NOT sum', 'nothing is left to fold');
SELECT is_empty('SELECT FROM haul._leases', 'no lease is left');

\ir include/finish.psql
