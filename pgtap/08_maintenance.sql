-- haul.maintain() and what it does; heartbeats.
\ir include/prelude.psql
SELECT no_plan();

SELECT is(jsonb_typeof(haul.maintain()), 'object', 'maintain returns a document');
SELECT set_eq('SELECT jsonb_object_keys(haul.maintain())',
	ARRAY['ran', 'workers_removed', 'orphans_released', 'jobs_expired', 'ledger_folded', 'partitions_dropped',
		'workflows_dropped', 'replies_dropped', 'cron_fired'],
	'which says what it did');
SELECT is((SELECT jsonb_object_agg(key, value) FROM jsonb_each(haul.maintain()) WHERE value <> '0'), '{"ran": true}',
	'nothing, when there is nothing to do');

-- A duty that fails stops no other, is told, noted, and logged once
SELECT is_empty('SELECT FROM haul.duties WHERE last_error IS NOT NULL OR (in_block AND last_run_at IS NULL)',
	'all duties were done, but those that are not done in a transaction that stays open');
CREATE FUNCTION helper.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON haul.replies FOR EACH STATEMENT EXECUTE FUNCTION helper.refuse();
INSERT INTO haul.jobs (kind, queue, expires_at) VALUES ('late', 'duties', now());
SET LOCAL client_min_messages = error;
SELECT has(haul.maintain(), '{"ran": true, "jobs_expired": 1, "failed": {"drop replies": "not today (P0001)"}}',
	'maintain says which duty failed, and with what; the others are done');
SELECT results_eq('SELECT name, last_error, failing_since >= now() FROM haul.duties WHERE last_error IS NOT NULL',
	$$ VALUES ('drop replies' COLLATE "C", 'not today (P0001)', true) $$, 'haul.duties shows it');
SELECT failing_since AS since FROM haul.duties WHERE last_error IS NOT NULL \gset
SELECT has(haul.maintain(), '{"failed": {"drop replies": "not today (P0001)"}}', 'it still fails');
SELECT results_eq('SELECT failing_since FROM haul.duties WHERE last_error IS NOT NULL', ARRAY[:'since']::timestamptz[],
	'since it began to');
DROP TRIGGER refuse ON haul.replies;
SELECT is(haul.maintain() -> 'failed', NULL, 'when it does not any more');
SELECT is_empty('SELECT FROM haul.duties WHERE last_error IS NOT NULL OR failing_since IS NOT NULL',
	'that is noted, too');
SET LOCAL client_min_messages = warning;

-- Heartbeats
SELECT haul.register_worker('w', '{"queues": ["q"]}') AS w \gset
UPDATE haul.workers SET last_heartbeat_at = now() - interval '1 hour' WHERE id = :w;
SELECT is(haul.heartbeat(:w), true, 'a heartbeat');
SELECT ok((SELECT last_heartbeat_at >= now() FROM haul.workers WHERE id = :w), 'is noted');
SELECT is(haul.heartbeat(:w, 3, 'draining'), true, 'with how busy the worker is, and what it does');
SELECT results_eq(format('SELECT busy, status FROM haul.workers WHERE id = %s', :w), $$ VALUES (3, 'draining') $$,
	'which is noted, too');
SELECT is(haul.heartbeat(:w), true, 'a heartbeat that says nothing');
SELECT results_eq(format('SELECT busy, status FROM haul.workers WHERE id = %s', :w), $$ VALUES (3, 'draining') $$,
	'changes neither');
SELECT is(haul.heartbeat(-1), false, 'a heartbeat without a row');
SELECT throws_ok(format('SELECT haul.heartbeat(%s, 1, %L)', :w, 'asleep'), '22023', NULL, 'an unknown status');
-- They leave no dead versions of the row.
SELECT ctid AS was FROM haul.workers WHERE id = :w \gset
SELECT haul.heartbeat(:w, n, 'draining') FROM generate_series(1, 1000) AS n \g /dev/null
SELECT results_eq(format('SELECT ctid, busy, status FROM haul.workers WHERE id = %s', :w),
	format('VALUES (%L::tid, 1000, %L)', :'was', 'draining'), 'a thousand heartbeats, and the row is where it was');
SAVEPOINT s;
UPDATE haul.workers SET last_heartbeat_at = now() - interval '1 hour' WHERE id = :w;
SELECT haul.heartbeat(:w, 7) \g /dev/null
SELECT results_eq(format('SELECT last_heartbeat_at >= now(), busy, status, name FROM haul.workers WHERE id = %s', :w),
	$$ VALUES (true, 7, 'draining', 'w') $$, 'a heartbeat right after somebody''s UPDATE');
ROLLBACK TO s;
SELECT is((SELECT busy FROM haul.workers WHERE id = :w), 1000, 'which can be rolled back');
-- Where somebody has an index on what they write, or wants to know of it, they are an UPDATE.
CREATE INDEX own_heartbeats ON haul.workers (last_heartbeat_at);
SELECT haul.heartbeat(:w, 1) \g /dev/null
SET LOCAL enable_seqscan = off;
SELECT is((SELECT busy FROM haul.workers WHERE last_heartbeat_at >= now() AND id = :w), 1,
	'an index of one''s own is kept up');
RESET enable_seqscan;
DROP INDEX haul.own_heartbeats;
CREATE TABLE helper.beats (busy integer);
CREATE FUNCTION helper.note_beat() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO helper.beats VALUES (new.busy); RETURN new; END $$;
CREATE TRIGGER note BEFORE UPDATE ON haul.workers FOR EACH ROW EXECUTE FUNCTION helper.note_beat();
SELECT haul.heartbeat(:w, 2), haul.heartbeat(:w, 3) \g /dev/null
DROP TRIGGER note ON haul.workers;
SELECT results_eq('SELECT busy FROM helper.beats', ARRAY[2, 3], 'a trigger of one''s own fires');

-- Silent workers
INSERT INTO haul.jobs (kind, queue) SELECT 'k', 'q' FROM generate_series(1, 5);
SELECT haul.register_worker('silent', '{"queues": ["q"], "hostname": "elsewhere.example"}') AS silent \gset
SELECT is(helper.checkout_kinds(:silent, 3), 'k k k', 'a worker of another host holds jobs');
UPDATE haul.workers SET last_heartbeat_at = clock_timestamp() - interval '1 hour' WHERE id = :silent;
SELECT is(haul.maintain() -> 'workers_removed', '0', 'nobody is given up at the first look');
SELECT is(haul.cleanup_workers('59 min'), 1::bigint, 'whom an administrator calls dead is removed at once');
SELECT results_eq('SELECT id FROM haul.workers', ARRAY[:w]::bigint[], 'only the silent one');
SELECT is((SELECT count(*) FROM haul.jobs WHERE state = 'ready' AND interruptions = 1), 3::bigint,
	'and its jobs are released');
SET LOCAL haul.worker_timeout = '10min';
UPDATE haul.workers SET last_heartbeat_at = clock_timestamp() - interval '5 min' WHERE id = :w;
SELECT is(haul.maintain() -> 'workers_removed', '0', 'haul.worker_timeout says how long is too long');
SELECT is(haul.cleanup_workers('6 min'), 0::bigint, 'cleanup_workers by hand: not yet');
SELECT throws_ok($$ SELECT haul.cleanup_workers('-1 s') $$, '22023', NULL, 'not with a negative interval');
SELECT throws_ok($$ SELECT haul.cleanup_workers('178000000 years') $$, '22023', NULL,
	'nor with one that leads out of the calendar');
SELECT is(haul.cleanup_workers('1000 years'), 0::bigint, 'the longest interval is none too long');
SELECT is(haul.cleanup_workers('4 min'), 1::bigint, 'now');
RESET haul.worker_timeout;
SELECT is(haul.cleanup_workers(), 0::bigint, 'cleanup_workers by default');
SELECT haul.register_worker('w') AS w \gset
SELECT is(haul.cleanup_workers('0'), 1::bigint, 'cleanup_workers of all');

-- Jobs of a worker whose row went without its trigger
SELECT haul.register_worker('orphan', '{"queues": ["q"]}') AS w \gset
SELECT is(helper.checkout_kinds(:w, 4), 'k k k k', 'a worker holds four jobs');
SET LOCAL session_replication_role = replica;
DELETE FROM haul.workers WHERE id = :w;
SET LOCAL session_replication_role = origin;
SELECT is((SELECT count(*) FROM haul.jobs WHERE worker_id = :w), 4::bigint, 'its row goes without a trigger');
SELECT is(haul.maintain() -> 'orphans_released', '4', 'maintenance finds them');
SELECT is_empty($$ SELECT FROM haul.jobs WHERE state = 'running' $$, 'they are ready again');
SELECT is(haul.maintain() -> 'orphans_released', '0', 'once');
SELECT is_empty('SELECT FROM haul.leases', 'and no lease is left');
DELETE FROM haul.jobs;

-- Queue timeouts
INSERT INTO haul.jobs (kind, queue, expires_at, run_at, state)
	VALUES ('late', 'exp', clock_timestamp(), now(), 'ready'),
	('late', 'exp', clock_timestamp(), now() + interval '1 day', 'ready'),
	('waits', 'exp', clock_timestamp(), now(), 'waiting'), ('later', 'exp', clock_timestamp() + interval '1 day', now(),
		'ready'), ('never', 'exp', NULL, now(), 'ready');
INSERT INTO haul.jobs (kind, queue, expires_at) VALUES ('runs', 'runs', now() + interval '1 hour');
SELECT haul.register_worker('w', '{"queues": ["runs"]}') AS w \gset
SELECT is(helper.checkout_kinds(:w), 'runs', 'a job starts in time');
UPDATE haul.jobs SET expires_at = now() WHERE kind = 'runs';
SELECT is(haul.maintain() -> 'jobs_expired', '2', 'maintenance discards what was not started in time');
SELECT results_eq($$ SELECT kind, state FROM haul.finished_jobs WHERE queue = 'exp' $$,
	$$ VALUES ('late' COLLATE "C", 'discarded'), ('late', 'discarded') $$, 'as discarded');
SELECT matches((SELECT min(last_error) FROM haul.finished_jobs), 'timeout|expired', 'with the reason');
SELECT results_eq($$ SELECT kind, state FROM haul.jobs ORDER BY kind $$,
	$$ VALUES ('later' COLLATE "C", 'ready'), ('never', 'ready'), ('runs', 'running'), ('waits', 'waiting') $$,
	'and nothing else');
SELECT is(helper.counts('exp'), '{"drops": 2}', 'drops');

-- Folding
INSERT INTO haul.jobs (kind, queue) SELECT 'f', 'fold' FROM generate_series(1, 10);
SELECT haul.register_worker('w', '{"queues": ["fold"]}') AS w \gset
CREATE TEMP TABLE held AS SELECT * FROM haul.checkout(:w, 10);
SELECT haul.complete(:w, ARRAY[id], ARRAY[claim]) FROM held WHERE id % 2 = 0;
SELECT jsonb_agg(c ORDER BY day, queue) AS was FROM haul.counters AS c \gset
SELECT cmp_ok((haul.maintain() ->> 'ledger_folded')::integer, '>=', 6, 'folding takes all rows of the ledger');
SELECT is_empty('SELECT FROM haul._ledger WHERE NOT sum', 'and leaves none');
SELECT is((haul.maintain() ->> 'ledger_folded')::integer, 0, 'once');
SELECT is((SELECT jsonb_agg(c ORDER BY day, queue) FROM haul.counters AS c), :'was', 'the counters are what they were');
SELECT results_eq(format('SELECT cardinality(jobs), done FROM haul.leases WHERE worker_id = %s', :w), 'VALUES (10, 5)',
	'a lease knows how many of its jobs are done');
SELECT haul.complete(:w, ARRAY[id], ARRAY[claim]) FROM held WHERE id % 2 = 1;
SELECT haul.maintain();
SELECT is_empty(format('SELECT FROM haul.leases WHERE worker_id = %s', :w), 'and goes when all are');
SELECT is(helper.counts('fold'), '{"dispatches": 10, "completions": 10}', 'counted');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- Partitions of the history: made ahead, found by their time in UTC
CREATE FUNCTION helper.leaves(parent text) RETURNS TABLE (leaf text) LANGUAGE sql
AS $$ SELECT relid::text FROM pg_partition_tree(parent::regclass) WHERE isleaf AND relid <> parent::regclass $$;
SELECT ok((SELECT count(*) FROM unnest(ARRAY[clock_timestamp(), clock_timestamp() + interval '1 hour']) AS t
	WHERE to_regclass(format('haul.finished_jobs_%s', to_char(t AT TIME ZONE 'UTC', 'YYYYMMDD_HH24'))) IS NOT NULL) = 2,
		'there are leaves for this hour and the next');
SELECT ok(to_regclass(format('haul.job_errors_%s', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD'))) IS NOT
	NULL, 'and for the errors of today');
SELECT count(*) AS leaves FROM helper.leaves('haul.finished_jobs') \gset
SELECT haul.maintain();
SELECT is((SELECT count(*) FROM helper.leaves('haul.finished_jobs')), :leaves::bigint, 'which are made once');

-- Every row lies where its time says, and is found by its id.
INSERT INTO haul.jobs (kind, queue, keep) SELECT 'kept', 'rows', CASE WHEN n % 2 = 0 THEN interval '1 day' END
	FROM generate_series(1, 100) AS n;
SELECT haul.register_worker('w', '{"queues": ["rows"]}') AS w \gset
CREATE TEMP TABLE rows AS SELECT * FROM haul.checkout(:w, 100);
SELECT haul.complete(:w, array_agg(id), array_agg(claim)) FROM rows WHERE id % 3 <> 0;
SELECT count(haul.fail(:w, id, claim, 'e', final => true)) FROM rows WHERE id % 3 = 0;
SELECT is_empty($$ SELECT tableoid::regclass, finished_at, keep_until FROM haul.finished_jobs
	WHERE tableoid::regclass::text <> to_char(finished_at AT TIME ZONE 'UTC', CASE WHEN keep_until IS NULL
		THEN '"haul.finished_jobs_"YYYYMMDD_HH24' ELSE '"haul.finished_jobs_"YYYYMMDD"_kept"' END) $$,
	'every finished job lies in the leaf of its hour, or with those kept for longer');
SELECT is_empty($$ SELECT tableoid::regclass, failed_at FROM haul.job_errors
	WHERE tableoid::regclass::text <> to_char(failed_at AT TIME ZONE 'UTC', '"haul.job_errors_"YYYYMMDD') $$,
	'every error lies in the leaf of its day');
SET LOCAL enable_seqscan = off;
SELECT is((SELECT count(*) FROM rows AS r, LATERAL (SELECT FROM haul.finished_jobs AS f
	WHERE f.id = r.id OFFSET 0) AS f), 100::bigint, 'the index finds all finished jobs by id');
SELECT is((SELECT count(*) FROM rows AS r, LATERAL (SELECT FROM haul.job_errors AS e
	WHERE e.job_id = r.id OFFSET 0) AS e), (SELECT count(*) FROM rows WHERE id % 3 = 0), 'and their errors');
RESET enable_seqscan;

-- Jobs of the past: what may go goes, as whole leaves
CREATE FUNCTION helper.add_past(ended interval, keep interval, kind text) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM haul._add_history(now() - ended);
	INSERT INTO haul.finished_jobs (id, queue, kind, args, priority, run_at, max_attempts, on_timeout, on_interrupt,
		unique_until, concurrency_limit, pin_strict, enqueued_at, enqueued_by,
									state, attempt, claim, interruptions, finished_at, keep_until)
		SELECT id + 1000000, queue, add_past.kind, args, priority, run_at, max_attempts, on_timeout, on_interrupt,
			unique_until, concurrency_limit, pin_strict, enqueued_at, enqueued_by,
			   'completed', 1, 1, 0, now() - ended, now() - ended + add_past.keep FROM haul.jobs LIMIT 1;
END
$$;
SELECT helper.add_past('10 days', NULL, 'past, brief'), helper.add_past('10 days', '7 days', 'past, kept'),
	helper.add_past('9 days', '1 year', 'past, kept on'), helper.add_past('9 days', NULL, 'past, brief'),
	helper.add_past('26 hours', NULL, 'yesterday, brief'), helper.add_past('3 hours', NULL, 'today, brief'),
		helper.add_past('5 minutes', NULL, 'just now');
INSERT INTO haul.job_errors (job_id, attempt, failed_at, error) VALUES (1, 1, now() - interval '10 days', 'past');
SELECT haul._add_history(now() - interval '40 days');
INSERT INTO haul.job_errors (job_id, attempt, failed_at, error) VALUES (1, 1, now() - interval '40 days', 'long past');
SELECT cmp_ok((haul.maintain() ->> 'partitions_dropped')::integer, '>=', 5,
	'maintenance drops partitions whose time is over');
SELECT results_eq($$ SELECT DISTINCT kind FROM haul.finished_jobs WHERE id > 1000000 ORDER BY 1 $$,
	$$ VALUES ('just now' COLLATE "C"), ('past, kept on') $$,
	'what is kept on stays, what was not kept or no longer is, goes');
SELECT is(to_regclass(format('haul.finished_jobs_%s', to_char((now() - interval '10 days') AT TIME ZONE 'UTC',
	'YYYYMMDD'))), NULL, 'a day goes when nothing in it is kept');
SELECT isnt(to_regclass(format('haul.finished_jobs_%s_kept',
	to_char((now() - interval '9 days') AT TIME ZONE 'UTC', 'YYYYMMDD'))), NULL, 'and stays while something is');
SELECT is(to_regclass(format('haul.finished_jobs_%s', to_char((now() - interval '9 days') AT TIME ZONE 'UTC',
	'YYYYMMDD_HH24'))), NULL, 'without the hours of it');
SELECT results_eq($$ SELECT error FROM haul.job_errors WHERE error LIKE '%past' $$, ARRAY['past'],
	'errors are kept for 30 days');
SET LOCAL haul.keep_errors = '7d';
SELECT haul.maintain();
SELECT is_empty($$ SELECT FROM haul.job_errors WHERE error LIKE '%past' $$, 'or for haul.keep_errors');
SELECT is((haul.maintain() ->> 'partitions_dropped')::integer, 0, 'then there is nothing left to drop');
SET LOCAL haul.keep_completed = '30d';
SELECT helper.add_past('10 days', NULL, 'past, brief');
SELECT haul.maintain();
SELECT isnt_empty($$ SELECT FROM haul.finished_jobs WHERE kind = 'past, brief' $$,
	'haul.keep_completed says how long a job without a time of its own stays');
RESET haul.keep_completed;

-- A job that ends when there is no leaf for it, because maintenance never ran
SELECT haul.register_worker('w', '{"queues": ["leafless"]}') AS w \gset
DO $$
DECLARE
	leaf text;
BEGIN
	FOR leaf IN SELECT relid::regclass::text FROM pg_partition_tree('haul.finished_jobs') WHERE level = 1 UNION ALL
		SELECT relid::regclass::text FROM pg_partition_tree('haul.job_errors') WHERE level = 1 LOOP
		EXECUTE 'DROP TABLE ' || leaf;
	END LOOP;
END
$$;
INSERT INTO haul.jobs (kind, queue) VALUES ('leafless', 'leafless') RETURNING id AS job_id \gset
SELECT claim FROM haul.checkout(:w) \gset job_
SELECT lives_ok(format('SELECT haul.fail(%s, %s, %s, %L, retry_in => %L)', :w, :job_id, :job_claim, 'e', '0'),
	'fail makes the partition it needs');
SELECT claim FROM haul.checkout(:w) \gset job_
SELECT is(haul.complete(:w, ARRAY[:job_id], ARRAY[:job_claim]), '{}', 'so does complete');
SELECT has(helper.finished(:job_id), '{"state": "completed"}', 'and nothing is lost');

-- A column more than the library knows of, as between an upgrade of the extension and a new session
ALTER TABLE haul._ledger_0 ADD COLUMN note text;
ALTER TABLE haul._ledger_1 ADD COLUMN note text;
ALTER TABLE haul.finished_jobs ADD COLUMN note text;
INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'wider') RETURNING id AS wider_id \gset
SELECT is(haul.complete(w, array_agg(id), array_agg(claim)), '{}', 'tables with a column more are written to')
	FROM (SELECT haul.register_worker('wider', '{"queues": ["wider"]}') AS w) AS r, LATERAL haul.checkout(w) GROUP BY w;
SELECT is((SELECT state || coalesce(note, '') FROM haul.finished_jobs WHERE id = :wider_id), 'completed',
	'which is null');

-- One job that raises an error stops no other.
CREATE FUNCTION helper.refuse_bad() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON haul.jobs FOR EACH ROW WHEN (old.kind = 'bad')
	EXECUTE FUNCTION helper.refuse_bad();
SET LOCAL client_min_messages = error;
INSERT INTO haul.jobs (kind, queue, expires_at)
	SELECT CASE n WHEN 2 THEN 'bad' ELSE 'good' END, 'one by one', now() FROM generate_series(1, 3) AS n;
SELECT haul.maintain() AS done \gset
SELECT results_eq($$ SELECT kind FROM haul.jobs WHERE queue = 'one by one' $$, $$ VALUES ('bad' COLLATE "C") $$,
	'what can be expired is');
SELECT is(:'done'::jsonb -> 'jobs_expired', '2', 'and counted');
SELECT alike(:'done'::jsonb -> 'failed' ->> 'expire jobs', 'job %: not this one (P0001)', 'the other is told of');
DROP TRIGGER refuse ON haul.jobs;
SELECT is(haul.maintain() - 'ran' -> 'failed', NULL, 'until it is expired, too');
SELECT is_empty($$ SELECT FROM haul.duties WHERE last_error IS NOT NULL $$, 'then nothing fails');

\ir include/finish.psql
