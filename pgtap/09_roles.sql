-- What producers, workers and administrators may do, and what everybody else may not.
\ir include/prelude.psql
SELECT no_plan();

CREATE ROLE haul_test_producer;
CREATE ROLE haul_test_rival;
CREATE ROLE haul_test_worker;
CREATE ROLE haul_test_admin;
CREATE ROLE haul_test_nobody;
CREATE ROLE "haul test; odd ""name""";
SELECT haul.grant_producer('haul_test_producer'), haul.grant_producer('haul_test_rival'),
	haul.grant_worker('haul_test_worker'), haul.grant_admin('haul_test_admin');
SELECT lives_ok($$ SELECT haul.grant_producer('haul test; odd "name"') $$, 'the name of a role may be odd');
SELECT throws_ok($$ SELECT haul.grant_producer('haul_test_absent') $$, '42704', NULL, 'the role must exist');
GRANT USAGE ON SCHEMA helper TO haul_test_producer, haul_test_rival, haul_test_worker, haul_test_admin,
	haul_test_nobody;

-- SQLSTATE of a statement that a role executes; 'ok' when it succeeds. Its effects stay only then.
CREATE FUNCTION helper.as_role(role name, statement text) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE statement;
	SET LOCAL ROLE NONE;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;

CREATE FUNCTION helper.label(who text, statement text) RETURNS text
	LANGUAGE sql AS $$ SELECT who || btrim(regexp_replace(statement, '\s+', ' ', 'g')) $$;

INSERT INTO haul.jobs (kind, queue, unique_key) VALUES ('by the owner', 'other', 'theirs') RETURNING id AS theirs \gset

-- The producer
SELECT is(helper.as_role('haul_test_producer', statement), 'ok', helper.label('producer: ', statement))
	FROM unnest(ARRAY[
	$$ INSERT INTO haul.jobs (kind) VALUES ('p') $$,
	$$ INSERT INTO haul.jobs (kind, queue) VALUES ('p', 'mine') RETURNING id $$,
	$$ INSERT INTO haul.jobs (kind, unique_key) VALUES ('p', 'k') ON CONFLICT DO NOTHING $$,
	$$ SELECT haul.try_enqueue('p', unique_key => 'k') $$,
	$$ INSERT INTO haul.jobs (kind, args, queue, priority, run_at, max_attempts, backoff, timeout, on_timeout,
		queue_timeout, expires_at, on_interrupt, unique_key, unique_until,
		concurrency_key, concurrency_limit, pin, pin_strict, avoid, every, reply_to, keep)
		VALUES ('p', '{}', 'q', 1, now(), 1, 'linear', '1 s', 'retry', '1 h', now(), 'retry', 'u', 'finished', 'c', 1,
			'w', true, '{v}', '1 d', 'r', '1 d') $$,
	$$ SELECT haul.enqueue('p', '{}', unique_key => 'k') $$,
	$$ SELECT haul.workflow('[{"kind": "p"}, {"kind": "q", "after": "1"}]') $$,
	$$ SELECT haul.chain('[{"kind": "p"}, {"kind": "q"}]') $$,
	$$ SELECT * FROM haul.my_workflows $$,
	$$ DELETE FROM haul.my_replies $$,
	$$ SELECT haul.enqueue_many('[{"kind": "p"}]') $$,
	$$ SELECT * FROM haul.my_jobs $$,
	$$ SELECT haul.backoff_delay('linear', 1) $$]) AS statement;
SET LOCAL ROLE haul_test_producer;
COPY haul.jobs (kind, queue, args) FROM STDIN;
copied	copy	{"n": 1}
copied	copy	{"n": 2}
\.
RESET ROLE;
SELECT is((SELECT array_agg(enqueued_by) FROM haul.jobs WHERE queue = 'copy'),
	ARRAY['haul_test_producer', 'haul_test_producer'], 'producer: COPY');
SET LOCAL ROLE haul_test_rival;
SELECT haul.enqueue('by the rival') AS rivals \gset
SELECT array_agg(id) AS seen FROM haul.my_jobs \gset
RESET ROLE;
SELECT is(:'seen'::bigint[], ARRAY[:rivals]::bigint[], 'a producer sees its own jobs and no others');
SELECT is(helper.as_role('haul_test_producer', statement), '42501', helper.label('producer, not: ', statement))
	FROM unnest(ARRAY[
	$$ SELECT * FROM haul.jobs $$,
	$$ SELECT args FROM haul.jobs $$,
	$$ SELECT id FROM haul.jobs WHERE kind = 'p' $$,
	$$ INSERT INTO haul.jobs (kind) VALUES ('p') RETURNING args $$,
	$$ INSERT INTO haul.jobs (kind, state) VALUES ('p', 'waiting') $$,
	$$ INSERT INTO haul.jobs (kind, enqueued_by) VALUES ('p', 'postgres') $$,
	$$ INSERT INTO haul.jobs (kind, enqueued_at) VALUES ('p', now()) $$,
	$$ INSERT INTO haul.jobs (kind, attempt) VALUES ('p', 1) $$,
	$$ INSERT INTO haul.jobs (kind, claim) VALUES ('p', 1) $$,
	$$ INSERT INTO haul.jobs (kind, worker_id) VALUES ('p', 1) $$,
	$$ INSERT INTO haul.jobs (kind, last_error) VALUES ('p', 'e') $$,
	$$ INSERT INTO haul.jobs (kind, progress) VALUES ('p', '1') $$,
	$$ INSERT INTO haul.jobs (kind, workflow_id) VALUES ('p', 1) $$,
	$$ INSERT INTO haul.jobs (kind, cron_name) VALUES ('p', 'c') $$,
	$$ INSERT INTO haul.jobs (kind, id) OVERRIDING SYSTEM VALUE VALUES ('p', 1) $$,
	$$ INSERT INTO haul.jobs (kind, unique_key) VALUES ('p', 'k') ON CONFLICT (kind, unique_key)
		WHERE unique_key IS NOT NULL DO UPDATE SET priority = 1 $$,
	$$ SELECT unique_key FROM haul.jobs $$, $$ SELECT id FROM haul.jobs WHERE unique_key = 'theirs' $$,
	$$ SELECT haul.enqueue('p') FROM haul.jobs WHERE unique_key = 'theirs' $$,
	$$ UPDATE haul.jobs SET priority = 1 $$, $$ DELETE FROM haul.jobs $$, $$ TRUNCATE haul.jobs $$,
		$$ LOCK TABLE haul.jobs IN ACCESS EXCLUSIVE MODE $$,
	$$ SELECT haul.register_worker('w') $$, $$ SELECT haul.checkout(1) $$, $$ SELECT haul.complete(1, '{1}', '{1}') $$,
		$$ SELECT haul.maintain() $$,
	$$ SELECT haul.grant_producer('haul_test_nobody') $$, $$ SELECT haul.cleanup_workers() $$,
	$$ SELECT haul._create_workflow('[{"kind": "a"}]', NULL) $$, $$ SELECT haul.cancel_workflow(1) $$, $$
		SELECT haul.retry_workflow(1) $$,
		$$ SELECT haul._cancel_pending('{1}', 'r') $$, $$ SELECT haul.results(1) $$, $$ SET haul.enqueuer = 'postgres' $$,
	$$ SELECT * FROM haul.workflow_steps $$, $$ SELECT * FROM haul.workflows $$, $$ SELECT * FROM haul.replies $$,
		$$ SELECT haul._expire(1, false) $$, $$ SELECT haul._add_history(now()) $$,
	$$ SELECT * FROM haul.finished_jobs $$, $$ SELECT * FROM haul.job_errors $$, $$ SELECT * FROM haul.workers $$,
		$$ SELECT * FROM haul.counters $$, $$ SELECT * FROM haul._ledger_0 $$,
	$$ INSERT INTO haul.queues (name) VALUES ('q') $$, $$ INSERT INTO haul._ledger_0 (entry) VALUES (1) $$,
		$$ SELECT nextval('haul.jobs_id_seq') $$,
	$$ CREATE TRIGGER t BEFORE INSERT ON haul.jobs FOR EACH ROW EXECUTE FUNCTION haul._check_job() $$,
		$$ CREATE TABLE haul.mine (x integer) $$]) AS statement;
-- A COPY of an ordinary role restores no dump.
GRANT INSERT ON haul.jobs TO haul_test_rival;
SELECT is(helper.as_role('haul_test_rival', $$ INSERT INTO haul.jobs (kind, queue, enqueued_by)
	VALUES ('forged', 'forged', 'postgres') $$), 'ok', 'with the right to INSERT into all columns');
SELECT results_eq($$ SELECT enqueued_by FROM haul.jobs WHERE queue = 'forged' $$,
	$$ VALUES ('haul_test_rival'::text) $$, 'enqueued_by still cannot be forged');
REVOKE INSERT ON haul.jobs FROM haul_test_rival;

-- A key that is another role's, in a kind that both enqueue, and in one of one's own
SELECT haul.grant_producer('haul_test_rival');
SET LOCAL ROLE haul_test_rival;
SELECT haul.enqueue('shared', unique_key => 'invoice') AS rivals \gset
SET LOCAL ROLE haul_test_producer;
SELECT (haul.try_enqueue('shared', unique_key => 'invoice'))::text AS shared,
	(haul.try_enqueue('own', unique_key => 'invoice')).is_new AS own,
	haul.enqueue('own', unique_key => 'invoice') = haul.enqueue('own', unique_key => 'invoice') AS again,
	haul.enqueue('shared', unique_key => 'invoice') IS NULL AS unknown \gset
SET LOCAL ROLE haul_test_admin;
SELECT haul.enqueue('shared', unique_key => 'invoice') AS admins \gset
RESET ROLE;
SELECT is(ARRAY[:'shared', :'own', :'again', :'unknown'], ARRAY['(,f)', 't', 't', 't'],
	'it is in the way in that kind alone, and whose it is is not told');
SELECT is(:admins::bigint, :rivals::bigint, 'but to who may read haul.jobs');

-- Everybody else
SELECT is(helper.as_role('haul_test_nobody', statement), '42501', helper.label('nobody: ', statement))
	FROM unnest(ARRAY[
	$$ INSERT INTO haul.jobs (kind) VALUES ('p') $$, $$ SELECT haul.enqueue('p') $$, $$ SELECT * FROM haul.my_jobs $$,
		$$ SELECT * FROM haul.counters $$,
	$$ SELECT haul.backoff_delay('linear', 1) $$, $$ SELECT haul.checkout(1) $$, $$ SELECT haul.maintain() $$,
		$$ SELECT haul.heartbeat(1) $$]) AS statement;
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.pronamespace = 'haul'::regnamespace
		AND has_function_privilege('haul_test_nobody', p.oid, 'EXECUTE')
	$$, 'nobody: there is no function that everybody may call');

-- The worker: its whole cycle
INSERT INTO haul.jobs (kind, queue) SELECT 'k' || n, 'work' FROM generate_series(1, 10) AS n;
INSERT INTO haul.queues (name, keep_completed) VALUES ('work', '2 days');
INSERT INTO haul.kinds (kind, backoff) VALUES ('k2', 'linear');
SET LOCAL ROLE haul_test_worker;
SELECT haul.register_worker('w', '{"queues": ["work"], "confirm_start": true}') AS w \gset
SELECT array_agg(id ORDER BY id) AS ids, count(*) AS got FROM haul.checkout(:w, 9) \gset
SELECT (:'ids'::bigint[])[1] AS id1, (:'ids'::bigint[])[2] AS id2, (:'ids'::bigint[])[3] AS id3,
	(:'ids'::bigint[])[4] AS id4, (:'ids'::bigint[])[5] AS id5, (:'ids'::bigint[])[6] AS id6,
	   (:'ids'::bigint[])[7] AS id7 \gset
SELECT haul.start(:w, :'ids', array_fill(1, ARRAY[9])) AS start, haul.heartbeat(:w, 9) AS heartbeat,
	haul.next_due(:w) AS due, haul.progress(:w, :id1, 1, '1') AS progress \gset
SELECT count(*) AS not_owned FROM haul.not_owned(:w, :'ids', array_fill(1, ARRAY[9])) \gset
SELECT haul.complete(:w, ARRAY[:id1], ARRAY[1]) AS complete, haul.fail(:w, :id2, 1, 'e') AS fail,
	haul.discard(:w, :id3, 1, 'r') AS discard, haul.cancelled(:w, :id4, 1, 'r') AS cancelled,
	   haul.snooze(:w, :id5, 1, '0') AS snooze, haul.release(:w, ARRAY[:id6], ARRAY[1]) AS release,
		haul.fail(:w, :id7, 1, 'e', final => true) AS expire \gset
SELECT haul.reconcile(:w, '{}', '{}') AS reconcile \gset
SELECT haul.checkout(:w, 1) \g /dev/null
SELECT haul.maintain() ->> 'ran' AS maintain \gset
SELECT haul.unregister_worker(:w) AS unregister \gset
SELECT count(*) FROM haul.counters, haul.queue_status, haul.worker_status \g /dev/null
RESET ROLE;
SELECT is(ARRAY[:'got', :'start', :'not_owned', :'heartbeat', :'due', :'progress', :'complete', :'fail', :'discard',
	:'cancelled', :'snooze', :'release', :'expire', :'reconcile', :'maintain', :'unregister'],
	ARRAY['9', '{}', '0', 't', '00:00:00', 't', '{}', 'ready', 't', 't', 't', '{}', 'failed', '2', 'true', '1'],
		'worker: register, checkout, every outcome, maintain, unregister');
SELECT ok(helper.counters_add_up(), 'the counters add up');
SELECT is((SELECT count(*) FROM haul.finished_jobs WHERE queue = 'work'), 4::bigint, 'and the history is complete');
SELECT is(helper.as_role('haul_test_worker', statement), '42501', helper.label('worker, not: ', statement))
	FROM unnest(ARRAY[
	$$ SELECT * FROM haul.jobs $$, $$ SELECT id FROM haul.jobs $$, $$ INSERT INTO haul.jobs (kind) VALUES ('p') $$,
		$$ UPDATE haul.jobs SET priority = 1 $$, $$ DELETE FROM haul.jobs $$,
	$$ SELECT haul.enqueue('p') $$, $$ SELECT * FROM haul.finished_jobs $$, $$ SELECT * FROM haul.workers $$,
		$$ DELETE FROM haul.workers $$, $$ SELECT * FROM haul.leases $$,
	$$ SELECT * FROM haul.queues $$, $$ UPDATE haul.queues SET priority = 1 $$, $$ SELECT haul.cleanup_workers() $$,
		$$ SELECT haul.grant_worker('haul_test_nobody') $$,
	$$ SELECT haul._fold() $$, $$ SELECT haul._release_orphans() $$,
		$$ SET haul.keep_completed = 0 $$]) AS statement;

-- A worker belongs to the role that registered it.
CREATE ROLE haul_test_fellow;
CREATE ROLE haul_test_deputy IN ROLE haul_test_fellow;
SELECT haul.grant_worker('haul_test_fellow'), haul.grant_worker('haul_test_deputy');
GRANT USAGE ON SCHEMA helper TO haul_test_fellow, haul_test_deputy;
INSERT INTO haul.jobs (kind, queue, max_attempts) SELECT 'k' || n, 'fellow', 2 FROM generate_series(1, 20) AS n;
SET LOCAL ROLE haul_test_fellow;
SELECT haul.register_worker('f', '{"queues": ["fellow"], "hostname": "h", "pid": 1}') AS f \gset
SELECT min(id) AS id, max(claim) AS claim FROM haul.checkout(:f) \gset
RESET ROLE;
SELECT results_eq(format($$ SELECT owner, owner_id::regrole::text FROM haul.workers WHERE id = %s $$, :f),
	$$ VALUES ('haul_test_fellow'::name, 'haul_test_fellow') $$, 'a worker belongs to the role that registered it');
UPDATE haul.workers SET last_heartbeat_at = '2020-01-01' WHERE id = :f;
-- calls for worker w about a job: $1, and whether a role that may not makes an error of them
CREATE FUNCTION helper.calls(w bigint, job bigint, claim integer) RETURNS SETOF text LANGUAGE sql
AS $$
	SELECT format(s, w, job, claim) FROM unnest(ARRAY[
		'SELECT haul.checkout(%1$s)', 'SELECT haul.next_due(%1$s)', 'SELECT haul.heartbeat(%1$s)',
		'SELECT haul.heartbeat(%1$s, 1, ''draining'')',
		'SELECT haul.start(%1$s, ARRAY[%2$s], ARRAY[%3$s])', 'SELECT haul.not_owned(%1$s, ARRAY[%2$s], ARRAY[%3$s])',
		'SELECT haul.progress(%1$s, %2$s, %3$s, ''1'')',
		'SELECT haul.complete(%1$s, ARRAY[%2$s], ARRAY[%3$s])',
		'SELECT haul.complete(%1$s, ARRAY[%2$s], ARRAY[%3$s], strict => true)',
		'SELECT haul.fail(%1$s, %2$s, %3$s, ''e'')', 'SELECT haul.discard(%1$s, %2$s, %3$s, ''r'')',
		'SELECT haul.cancelled(%1$s, %2$s, %3$s, ''r'')', 'SELECT haul.snooze(%1$s, %2$s, %3$s, ''0'')',
		'SELECT haul.release(%1$s, ARRAY[%2$s], ARRAY[%3$s])',
		'SELECT haul.release(%1$s, ARRAY[%2$s], ARRAY[%3$s], false)',
		'SELECT haul.reconcile(%1$s, ''{}'', ''{}'')', 'SELECT haul.unregister_worker(%1$s)']) AS s
$$;
SELECT is(helper.as_role(role, statement), '42501', helper.label(role || ', not: ', statement))
	FROM unnest(ARRAY['haul_test_worker', 'haul_test_producer']) AS role, helper.calls(:f, :id, :claim) AS statement;
SELECT is((SELECT last_heartbeat_at FROM haul.workers WHERE id = :f), '2020-01-01'::timestamptz,
	'nobody else speaks for it');
SELECT helper.has(helper.job(:id), jsonb_build_object('state', 'running', 'worker_id', :f), 'or takes its jobs');
SET LOCAL ROLE haul_test_worker;
SELECT message, hint FROM helper.refusal(format('SELECT haul.heartbeat(%s)', :f)) \gset
RESET ROLE;
SELECT is(:'message'::text, format('worker %s belongs to role "haul_test_fellow"', :f), 'the error says whose it is');
SELECT alike(:'hint'::text, 'Register a worker of your own%', 'and what to do');
-- nor does a new process of its name bury it, if that is another role's
UPDATE haul.workers SET lost_at = clock_timestamp() WHERE id = :f;
SELECT is(helper.as_role('haul_test_worker', $$ SELECT haul.register_worker('f', '{"hostname": "h", "pid": 2}') $$),
	'ok', 'another may have the same name');
SELECT isnt_empty(format('SELECT FROM haul.workers WHERE id = %s', :f), 'which does it no harm');
UPDATE haul.workers SET lost_at = NULL WHERE id = :f;
-- Members of the role, administrators and superusers are as good.
SELECT is(helper.as_role(role, format(statement, :f)), 'ok', role || ': ' || statement)
	FROM unnest(ARRAY['haul_test_deputy', 'haul_test_admin', 'postgres', 'haul_test_fellow']) AS role,
		 unnest(ARRAY['SELECT haul.heartbeat(%s)', 'SELECT haul.checkout(%s)', 'SELECT haul.next_due(%s)',
			'SELECT haul.complete(%1$s, array_agg(c.id), array_agg(c.claim), strict => true) FROM haul.checkout(%1$s) AS c',
			'SELECT haul.reconcile(%s, ''{}'', ''{}'')']) AS statement;
REVOKE haul_test_fellow FROM haul_test_deputy;
SELECT is(helper.as_role('haul_test_deputy', format('SELECT haul.reconcile(%s, ''{}'', ''{}'')', :f)), '42501',
	'who is no member any more is not');
ALTER ROLE haul_test_fellow RENAME TO haul_test_mate;
SELECT is(helper.as_role('haul_test_mate', format('SELECT haul.heartbeat(%s)', :f)), 'ok',
	'a role of a new name is the same');
SELECT haul.revoke('haul_test_mate');
REVOKE ALL ON SCHEMA helper FROM haul_test_mate;
DROP ROLE haul_test_mate;
CREATE ROLE haul_test_mate;
SELECT haul.grant_worker('haul_test_mate');
GRANT USAGE ON SCHEMA helper TO haul_test_mate;
SELECT is(helper.as_role('haul_test_mate', statement), '42501', helper.label('who gets the name, not: ', statement))
	FROM helper.calls(:f, :id, :claim) AS statement;
SELECT is((helper.refusal(format('SET LOCAL ROLE haul_test_mate; SELECT haul.heartbeat(%s)', :f))).message,
	format('worker %s belongs to a role that does not exist any more', :f), 'which is said');
RESET ROLE;
SELECT is(helper.as_role('haul_test_admin', format('SELECT haul.unregister_worker(%s)', :f)), 'ok',
	'an administrator sees to it');
-- a dump knows roles by name
COPY haul.workers (id, name, owner, owner_id) FROM STDIN;
900001	restored	haul_test_mate	4242424242
900002	restored	haul_test_absent	10
\.
SELECT results_eq($$ SELECT coalesce(r.rolname, 'nobody') = 'haul_test_mate'
	FROM haul.workers AS w LEFT JOIN pg_roles AS r ON r.oid = w.owner_id WHERE w.name = 'restored'
	ORDER BY w.id $$, $$ VALUES (true), (false) $$,
	'in a restored database a worker belongs to the role of the name');
SELECT is(helper.as_role('haul_test_mate', 'SELECT haul.heartbeat(900001)'), 'ok', 'that serves it');
SELECT is(helper.as_role('haul_test_mate', 'SELECT haul.heartbeat(900002)'), '42501', 'and no other');
DELETE FROM haul.workers;
DELETE FROM haul.jobs WHERE queue = 'fellow';

-- The administrator
INSERT INTO haul.jobs (kind, queue) VALUES ('a', 'admin');
SELECT is(helper.as_role('haul_test_admin', statement), 'ok', helper.label('admin: ', statement)) FROM unnest(ARRAY[
	$$ SELECT * FROM haul.jobs, haul.finished_jobs, haul.job_errors, haul.workers, haul.leases, haul.queues, haul.kinds,
		haul.counters, haul.queue_status, haul.worker_status $$,
	$$ INSERT INTO haul.jobs (kind) VALUES ('x') $$,
	$$ SELECT haul.enqueue('x') $$,
	$$ UPDATE haul.jobs SET priority = 1, run_at = now() $$,
	$$ DELETE FROM haul.jobs WHERE queue = 'admin' $$,
	$$ INSERT INTO haul.queues (name, priority) VALUES ('admin', 5) $$, $$ UPDATE haul.queues SET priority = 6 $$,
		$$ DELETE FROM haul.queues $$,
	$$ INSERT INTO haul.kinds (kind) VALUES ('admin') $$, $$ UPDATE haul.kinds SET backoff = 'linear' $$,
		$$ DELETE FROM haul.kinds $$,
	$$ SELECT haul.checkout(haul.register_worker('w'), 3) $$,
	$$ SELECT haul.register_worker('w') $$,
	$$ DELETE FROM haul.workers $$,
	$$ SELECT haul.cleanup_workers('1 hour') $$,
	$$ SELECT haul.cancel_workflow(haul.workflow('[{"kind": "a"}, {"kind": "b", "after": "1"}]')) $$,
	$$ SELECT haul.retry_workflow(max(id)) FROM haul.workflow_status $$,
	$$ SELECT * FROM haul.workflow_steps, haul.replies $$,
	$$ SELECT haul.maintain() $$]) AS statement;
SELECT is((SELECT array_agg(DISTINCT enqueued_by) FROM haul.jobs WHERE workflow_id = (SELECT max(id)
	FROM haul.workflows)), ARRAY['haul_test_admin']::text[],
	'jobs that a retry enqueues belong to whoever made the workflow');
SELECT is(helper.as_role('haul_test_admin', statement), '42501', helper.label('admin, not: ', statement))
	FROM unnest(ARRAY[
	$$ SELECT haul.grant_admin('haul_test_nobody') $$, $$ UPDATE haul._ledger_0 SET dispatches = 0 $$,
		$$ DELETE FROM haul.counter_totals $$, $$ DELETE FROM haul._leases_0 $$,
	$$ INSERT INTO haul.jobs (kind, state) VALUES ('p', 'waiting') $$, $$ TRUNCATE haul.jobs $$,
		$$ DROP TABLE haul.jobs $$]) AS statement;
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- An administrator enqueues again what a producer had enqueued, and that hears of it.
SET LOCAL ROLE haul_test_rival;
SELECT haul.enqueue('again', queue => 'again', reply_to => 'box', max_attempts => 1) AS again \gset
RESET ROLE;
SELECT haul.register_worker('g', '{"queues": ["again"]}') AS g \gset
SELECT haul.fail(:g, c.id, c.claim, 'e') FROM haul.checkout(:g) AS c;
SELECT is(helper.as_role('haul_test_admin', format($$ INSERT INTO haul.jobs (kind, queue, args, reply_to, enqueued_by)
	SELECT kind, queue, args, reply_to, enqueued_by FROM haul.finished_jobs WHERE id = %s $$, :again)), 'ok',
	'an INSERT … SELECT');
SELECT haul.complete(:g, ARRAY[c.id], ARRAY[c.claim], ARRAY['1'::jsonb]) FROM haul.checkout(:g) AS c;
SET LOCAL ROLE haul_test_rival;
SELECT string_agg(state, ' ' ORDER BY id) AS told FROM haul.my_replies WHERE reply_to = 'box' \gset
RESET ROLE;
SELECT is(:'told'::text, 'failed completed', 'replies of both go to the producer');
SELECT is(helper.as_role('haul_test_admin', $$ INSERT INTO haul.jobs (kind, queue, enqueued_by)
	VALUES ('x', 'absent', 'haul_test_absent') $$), 'ok', 'for a role that does not exist');
SELECT is((SELECT enqueued_by FROM haul.jobs WHERE queue = 'absent'), 'haul_test_admin',
	'it is the administrator''s own');

-- The scheduler: its own schedules
CREATE ROLE haul_test_scheduler LOGIN;
SELECT haul.grant_scheduler('haul_test_scheduler');
GRANT USAGE ON SCHEMA helper TO haul_test_scheduler;
INSERT INTO haul.cron (name, schedule, kind) VALUES ('theirs', '@daily', 'k');
SELECT is(helper.as_role('haul_test_scheduler', statement), 'ok', helper.label('scheduler: ', statement))
	FROM unnest(ARRAY[
	$$ SELECT haul.schedule('own command', '@daily', 'SELECT 1') $$,
	$$ SELECT haul.schedule('@daily', 'SELECT 1') $$,
	$$ SELECT haul.alter_job(jobid, active => false) FROM haul.cron_jobs $$,
	$$ SELECT haul.schedule('gone', '@daily', 'SELECT 1'), haul.unschedule('gone') $$,
	$$ INSERT INTO haul.cron (name, schedule, kind) VALUES ('own job', '@daily', 'k') $$,
	$$ UPDATE haul.cron SET kind = 'k2' WHERE kind IS NOT NULL $$,
	$$ SELECT haul.cron_sync('[{"name": "own job", "schedule": "@hourly", "kind": "k2"},
		{"name": "another", "schedule": "@hourly", "kind": "k3"}]') $$,
	$$ DELETE FROM haul.cron WHERE name = 'another' $$,
	$$ SELECT * FROM haul.job_run_details $$,
	$$ SELECT haul.cron_next('@daily') $$]) AS statement;
SELECT is(helper.as_role('haul_test_scheduler', statement), state, helper.label('scheduler, not: ', statement))
	FROM (VALUES
	('P0002', $$ DO 'DECLARE n text; BEGIN SELECT name INTO STRICT n FROM haul.cron WHERE name = ''theirs''; END' $$),
	('42704', $$ SELECT haul.unschedule('theirs') $$),
	('42710', $$ SELECT haul.schedule('theirs', '@daily', 'SELECT 1') $$),
	('42501', $$ SELECT haul.schedule_in_database('x', '@daily', 'SELECT 1', NULL, 'postgres') $$),
	('42501', $$ UPDATE haul.cron SET owner = 'postgres' $$),
	('42501', $$ INSERT INTO haul.cron (name, schedule, kind, owner) VALUES ('x', '@daily', 'k', 'postgres') $$),
	('42501', $$ SELECT haul.enqueue('k') $$), ('42501', $$ SELECT * FROM haul.cron_runs $$),
	('42501', $$ SELECT * FROM haul.jobs $$), ('42501', $$ SELECT haul.maintain() $$)) AS v (state, statement);
SELECT results_eq($$ SELECT name, schedule, kind, owner FROM haul.cron WHERE name IN ('theirs', 'own job')
	ORDER BY name $$,
	$$ VALUES ('own job' COLLATE "C", '@hourly', 'k2' COLLATE "C", 'haul_test_scheduler'::name),
		('theirs', '@daily', 'k', current_user) $$, 'schedules of others are as they were');
SELECT is(helper.as_role('haul_test_admin', $$ UPDATE haul.cron SET kind = 'k3' WHERE name IN ('theirs', 'own job') $$),
	'ok',
	'administrators change all of them');
SELECT is((SELECT count(*) FROM haul.cron WHERE kind = 'k3'), 2::bigint, 'that enqueue jobs');

-- Producers read the steps of their own workflows.
SET LOCAL ROLE haul_test_rival;
SELECT haul.workflow('[{"kind": "a"}, {"kind": "b", "after": "1"}]') AS wf \gset
SELECT string_agg(kind || ' ' || state, ', ' ORDER BY step) AS own FROM haul.my_workflow_steps
	WHERE workflow_id = :wf \gset
SET LOCAL ROLE haul_test_producer;
SELECT count(*) AS others FROM haul.my_workflow_steps WHERE workflow_id = :wf \gset
RESET ROLE;
SELECT is(ARRAY[:'own', :'others'], ARRAY['a ready, b waiting', '0'], 'a producer sees the steps of its own workflows');

-- All of it is taken back.
CREATE ROLE haul_test_former;
SELECT haul.grant_admin('haul_test_former'), haul.revoke('haul_test_former');
SELECT is_empty($$
	SELECT 'schema' FROM pg_namespace AS n, aclexplode(n.nspacl) AS a
		WHERE a.grantee = 'haul_test_former'::regrole AND n.nspname = 'haul'
	UNION ALL SELECT c.relname FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE a.grantee = 'haul_test_former'::regrole
	UNION ALL SELECT t.attname FROM pg_attribute AS t, aclexplode(t.attacl) AS a
		WHERE a.grantee = 'haul_test_former'::regrole
	UNION ALL SELECT p.proname FROM pg_proc AS p, aclexplode(p.proacl) AS a WHERE a.grantee = 'haul_test_former'::regrole
	$$, 'haul.revoke leaves nothing');
SELECT lives_ok('DROP ROLE haul_test_former', 'so that the role can be dropped');
SELECT throws_ok('SELECT haul.revoke(current_user)', '22023', NULL, 'the owner keeps what it has');
SELECT throws_ok($$ SELECT haul.revoke('haul_test_absent') $$, '42704', NULL, 'the role must exist');
SELECT is(helper.as_role('haul_test_admin', statement), '42501', helper.label('admin, not: ', statement))
	FROM unnest(ARRAY[$$ SELECT haul.revoke('haul_test_producer') $$,
		$$ SELECT haul.grant_scheduler('haul_test_nobody') $$]) AS statement;

-- An attacker's functions and operators in front of the system's. Each raises an error of its own when it is called.
CREATE SCHEMA attack;
CREATE FUNCTION attack.strike() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'struck' USING ERRCODE =
	'XX999'; END $$;
DO $$
DECLARE
	f record;
BEGIN
	-- every operator on the types in use, and every function with up to three such arguments that the extension's own
	-- code might name
	FOR f IN SELECT o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r, o.oprresult::regtype AS result
		FROM pg_operator AS o
		WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprleft <> 0 AND o.oprkind = 'b'
			AND o.oprleft IN (SELECT unnest(ARRAY['text', 'bigint', 'integer', 'smallint', 'jsonb', 'timestamptz',
				'interval', 'name', 'boolean', 'float8', 'anyarray', 'date', 'oid']::regtype[]))
			AND o.oprright IN (SELECT unnest(ARRAY['text', 'text[]', 'bigint', 'integer', 'smallint', 'jsonb',
				'timestamptz', 'interval', 'name', 'boolean', 'float8', 'anyarray', 'date', 'oid']::regtype[]))
	LOOP
		EXECUTE format('CREATE FUNCTION attack.%I(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
			'op_' || md5(f.oprname || f.l || f.r), f.l, f.r, f.result,
					   'BEGIN RAISE EXCEPTION ''struck'' USING ERRCODE = ''XX999''; END');
		EXECUTE format('CREATE OPERATOR attack.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = attack.%I)', f.oprname, f.l,
			f.r, 'op_' || md5(f.oprname || f.l || f.r));
	END LOOP;
	FOR f IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments,
		pg_get_function_result(p.oid) AS result FROM pg_proc AS p
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.provariadic <> 0
			AND p.proname IN ('now', 'clock_timestamp', 'current_setting', 'jsonb_typeof', 'jsonb_object_keys',
				'jsonb_array_elements', 'jsonb_array_elements_text', 'jsonb_build_object', 'char_length',
				'array_to_string', 'cardinality', 'unnest', 'starts_with', 'jsonb_strip_nulls', 'to_regclass',
					'date_trunc', 'to_char', 'left', 'substring', 'to_timestamp', 'nextval', 'quote_ident')
	LOOP
		EXECUTE format('CREATE FUNCTION attack.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments,
			f.result, 'BEGIN RAISE EXCEPTION ''struck'' USING ERRCODE = ''XX999''; END');
	END LOOP;
END
$$;
GRANT USAGE ON SCHEMA attack TO haul_test_admin;
-- The same as helper.as_role, with the attacker's schema in front, and tables of the session that shadow the
-- extension's.
CREATE FUNCTION helper.under_attack(statement text) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	SET LOCAL ROLE haul_test_admin;
	SET LOCAL search_path = attack, pg_catalog, public;
	EXECUTE statement;
	SET LOCAL search_path = helper, public;
	SET LOCAL ROLE NONE;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
SELECT is(helper.under_attack('SELECT now()'), 'XX999', 'the attack works: a function') UNION ALL
SELECT is(helper.under_attack($$ SELECT 1 = 1 $$), 'XX999', 'the attack works: an operator');
INSERT INTO haul.jobs (kind, queue) SELECT 'v' || n, 'victims' FROM generate_series(1, 9) AS n;
SELECT haul.register_worker('v', '{"queues": ["victims"]}') AS v \gset
SELECT array_agg(id ORDER BY id) AS ids FROM haul.checkout(:v, 8) \gset
SELECT (:'ids'::bigint[])[1] AS id1, (:'ids'::bigint[])[2] AS id2, (:'ids'::bigint[])[3] AS id3,
	(:'ids'::bigint[])[4] AS id4, (:'ids'::bigint[])[5] AS id5, (:'ids'::bigint[])[6] AS id6 \gset
SELECT is(helper.under_attack(statement), 'ok', helper.label('under attack: ', statement)) FROM unnest(ARRAY[
	$$ INSERT INTO haul.jobs (kind, queue, queue_timeout, backoff) VALUES ('x', 'attacked', '1 h', 'linear(3)') $$,
	$$ UPDATE haul.jobs SET priority = 3 $$,
	$$ SELECT haul.enqueue('x', '{"a": 1}', queue => 'attacked', unique_key => 'u') $$,
	$$ SELECT haul.enqueue('x', '{"a": 1}', queue => 'attacked', unique_key => 'u') $$,
	$$ SELECT haul.enqueue_many('[{"kind": "x", "queue": "attacked"}]') $$,
	$$ SELECT haul.workflow('[{"kind": "x", "queue": "attacked"}, {"kind": "y", "after": "1"},
		{"kind": "z", "after": ["1", {"name": "2"}]}]') $$,
	$$ SELECT haul.chain('[{"kind": "x", "queue": "attacked", "reply_to": "r"}, {"kind": "y"}]') $$,
	$$ SELECT haul.register_worker('a',
		'{"queues": ["attacked", {"name": "b", "weight": 2}], "exclude": ["c"], "kinds": ["x"], "order": "weighted", '
			'"namespace": "n", "max_threads": 2}')
		$$,
	format($$ SELECT haul.checkout(%s, 1) $$, :v),
	format($$ SELECT haul.next_due(%s) $$, :v),
	format($$ SELECT haul.heartbeat(%s, 1, 'running') $$, :v),
	format($$ SELECT haul.start(%s, '{%s}', '{1}') $$, :v, :id1),
	format($$ SELECT haul.progress(%s, %s, 1, '1') $$, :v, :id1),
	format($$ SELECT haul.complete(%s, '{%s}', '{1}', strict => true) $$, :v, :id1),
	format($$ SELECT haul.fail(%s, %s, 1, 'e') $$, :v, :id2),
	format($$ SELECT haul.discard(%s, %s, 1, 'r') $$, :v, :id3),
	format($$ SELECT haul.cancelled(%s, %s, 1, 'r') $$, :v, :id4),
	format($$ SELECT haul.snooze(%s, %s, 1, '0') $$, :v, :id5),
	format($$ SELECT haul.release(%s, '{%s}', '{1}') $$, :v, :id6),
	format($$ SELECT haul.reconcile(%s, '{%s}', '{1}') $$, :v, :id1),
	format($$ SELECT haul.unregister_worker(%s) $$, :v),
	$$ SELECT haul.cancel_workflow(1) $$, $$ SELECT haul.retry_workflow(1) $$, $$ TABLE haul.workflow_steps $$,
		$$ TABLE haul.workflow_status $$,
	$$ DELETE FROM haul.jobs $$,
	$$ DELETE FROM haul.my_replies $$,
	$$ SELECT haul.results(1) $$,
	$$ SELECT haul.cleanup_workers('1 hour') $$,
	$$ SELECT haul.maintain() $$,
	$$ TABLE haul.counters $$, $$ TABLE haul.queue_status $$, $$ TABLE haul.worker_status $$, $$ TABLE haul.my_jobs $$,
	$$ SELECT haul.backoff_delay('linear', 1) $$]) AS statement;
SELECT ok(helper.counters_add_up(), 'the counters add up');

\ir include/finish.psql
