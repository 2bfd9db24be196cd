-- What only a restored dump may bring with it, and how others might try.
\ir include/prelude.psql
SELECT no_plan();

CREATE ROLE haul_test_producer;
CREATE ROLE haul_test_worker;
CREATE ROLE haul_test_owner SUPERUSER;
SELECT haul.grant_producer('haul_test_producer'), haul.grant_worker('haul_test_worker');

-- The owner's COPY, and his INSERT where the session is set up as by a dump
COPY haul.jobs (kind, queue, state, attempt, claim, worker_id, enqueued_by) FROM STDIN;
copied	copy	running	2	3	77	haul_test_absent
\.
SET LOCAL check_function_bodies = off;
INSERT INTO haul.jobs (kind, queue, state, attempt, claim, worker_id, enqueued_by)
	VALUES ('inserted', 'copy', 'running', 2, 3, 77, 'haul_test_absent'), ('ready', 'copy', 'ready', 1, 1, NULL, 'x');
RESET check_function_bodies;
SELECT results_eq($$ SELECT kind, state, attempt, claim, enqueued_by FROM haul.jobs WHERE queue = 'copy' ORDER BY id $$,
	$$ VALUES ('copied' COLLATE "C", 'running', 2, 3, 'haul_test_absent'),
		('inserted', 'running', 2, 3, 'haul_test_absent'), ('ready', 'ready', 1, 1, 'x') $$, 'are restored');
SET LOCAL ROLE haul_test_owner;
COPY haul.jobs (kind, queue, state, attempt, claim, worker_id) FROM STDIN;
role	role	running	2	3	77
\.
RESET ROLE;
SELECT isnt_empty($$ SELECT FROM haul.jobs WHERE queue = 'role' AND attempt = 2 $$,
	'also with pg_restore --role, for one who has the rights of the owner');

-- Any other INSERT of his, and functions in a session that looks like a dump's
\set forged 'INSERT INTO haul.jobs (kind, queue, attempt, claim) VALUES (''forged'', ''forged'', 1, 1)'
SELECT is((helper.refusal(:'forged')).state, '23514', 'an INSERT of the owner is none') UNION ALL
SELECT is((helper.refusal('SET LOCAL check_function_bodies = off;' || :'forged')).state, '23514',
	'nor is one in a function');

-- The rights of the owner, borrowed in a COPY of one's own
SET LOCAL ROLE haul_test_producer;
COPY (SELECT haul.workflow('[{"kind": "forged", "queue": "out"}]')) TO STDOUT \g /dev/null
CREATE TEMP TABLE mine (n integer);
CREATE FUNCTION pg_temp.enqueue() RETURNS trigger LANGUAGE plpgsql
	AS $$ BEGIN PERFORM haul.workflow('[{"kind": "forged", "queue": "out"}]'); RETURN new; END $$;
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION pg_temp.enqueue();
COPY mine FROM STDIN;
1
\.
SET LOCAL check_function_bodies = off;
INSERT INTO mine VALUES (2);
RESET check_function_bodies;
RESET ROLE;
SELECT results_eq($$ SELECT enqueued_by FROM haul.jobs WHERE queue = 'out' $$,
	$$ SELECT 'haul_test_producer' FROM generate_series(1, 3) $$, 'enqueues for the caller');
-- A COPY of the owner's, whose triggers do other things
CREATE FUNCTION helper.enqueue() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	IF new.queue = 'outer' THEN
		INSERT INTO haul.jobs (kind, queue, enqueued_by) VALUES ('inner', 'inner', 'somebody');
	END IF;
	RETURN new;
END
$$;
CREATE TRIGGER t BEFORE INSERT ON haul.jobs FOR EACH ROW EXECUTE FUNCTION helper.enqueue();
COPY haul.jobs (kind, queue) FROM STDIN;
outer	outer
\.
DROP TRIGGER t ON haul.jobs;
SELECT is((SELECT enqueued_by FROM haul.jobs WHERE queue = 'inner'), current_user::text,
	'what triggers insert is not restored');

-- Maintenance in a COPY fires commands as it always does.
INSERT INTO haul.cron (name, schedule, command) VALUES ('due', '1 second', 'SELECT 1');
UPDATE haul.cron SET next_run_at = clock_timestamp() - interval '2 seconds';
SET LOCAL ROLE haul_test_worker;
COPY (SELECT haul.maintain()) TO STDOUT \g /dev/null
RESET ROLE;
SELECT is((SELECT count(*) FROM haul.cron_runs WHERE state = 'starting' AND finished_at IS NULL), 1::bigint,
	'a command that falls due meanwhile runs');
-- In a restored one it does not.
COPY haul.cron_runs (id, cron_id, name, run_at, state, command) FROM STDIN;
1000	1000	restored	2026-01-01 00:00:00+00	running	SELECT 1
\.
SET LOCAL check_function_bodies = off;
INSERT INTO haul.cron_runs (id, cron_id, name, run_at, state, command) OVERRIDING SYSTEM VALUE
	VALUES (1001, 1001, 'restored', now(), 'starting', 'SELECT 1');
RESET check_function_bodies;
SELECT results_eq($$ SELECT state FROM haul.cron_runs WHERE name = 'restored' $$, $$ VALUES ('failed'), ('failed') $$,
	'what was running when the dump was made has failed');

\ir include/finish.psql
