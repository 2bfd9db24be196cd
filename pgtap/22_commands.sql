-- The calls of pg_cron: schedules that run commands. What the commands do is tested where they can run
-- (commands_*.cpp).
\ir include/prelude.psql
SELECT no_plan();

CREATE ROLE haul_test_admin LOGIN;
CREATE ROLE haul_test_other LOGIN;
CREATE ROLE haul_test_team LOGIN;
CREATE ROLE haul_test_mute NOLOGIN;
CREATE ROLE haul_test_worker LOGIN;
GRANT haul_test_team TO haul_test_admin;
SELECT haul.grant_admin('haul_test_admin'), haul.grant_admin('haul_test_other'), haul.grant_worker('haul_test_worker'),
	haul.grant_producer('haul_test_worker');
GRANT USAGE ON SCHEMA helper TO haul_test_admin, haul_test_other, haul_test_worker;

CREATE FUNCTION helper.as_role(role name, statement text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE statement INTO result;
	SET LOCAL ROLE NONE;
	RETURN coalesce(nullif(result, ''), 'ok');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
-- A schedule as a document.
CREATE FUNCTION helper.cron(of text) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(c) FROM haul.cron AS c
	WHERE name = of $$;
-- A call that is refused: state and message, and a hint if there is to be one.
CREATE FUNCTION helper.refused(statement text, wanted text, message_like text,
	has_hint boolean) RETURNS SETOF text LANGUAGE plpgsql
AS $$
DECLARE
	r record;
BEGIN
	SELECT * INTO r FROM helper.refusal(statement);
	RETURN NEXT is(r.state, wanted, statement);
	RETURN NEXT ok(r.message LIKE message_like, format('%s says "%s"', statement, r.message));
	RETURN NEXT is(r.hint <> '', has_hint, format('%s: %s', statement, r.hint));
END
$$;

-- ---- scheduling ----

SELECT is(haul.schedule('nightly', '0 3 * * *', 'VACUUM'), (helper.cron('nightly') ->> 'id')::bigint,
	'schedule returns the id');
SELECT helper.has(helper.cron('nightly'), jsonb_build_object('schedule', '0 3 * * *', 'timezone', 'UTC', 'command',
	'VACUUM',
	'kind', NULL, 'database', NULL, 'owner', current_user, 'enabled', true, 'overlap', 'queue'), 'what it makes');
SELECT is((helper.cron('nightly') ->> 'next_run_at')::timestamptz AT TIME ZONE 'UTC' - date_trunc('day',
	(helper.cron('nightly') ->> 'next_run_at')::timestamptz AT TIME ZONE 'UTC'), interval '3 hours',
		'its next tick is in UTC');
SELECT is(haul.schedule('nightly', '0 4 * * *', 'ANALYZE'), (helper.cron('nightly') ->> 'id')::bigint,
	'the same name again is the same schedule');
SELECT helper.has(helper.cron('nightly'), '{"schedule": "0 4 * * *", "command": "ANALYZE"}',
	'with another schedule and command');
SELECT is((helper.cron('nightly') ->> 'next_run_at')::timestamptz AT TIME ZONE 'UTC' - date_trunc('day',
	(helper.cron('nightly') ->> 'next_run_at')::timestamptz AT TIME ZONE 'UTC'), interval '4 hours',
		'and another next tick');

SELECT haul.schedule('@hourly', 'SELECT 1') AS unnamed \gset
SELECT isnt(haul.schedule('@hourly', 'SELECT 1'), :unnamed::bigint, 'without a name each call makes another');
SELECT is(helper.cron('unnamed_' || :unnamed) ->> 'command', 'SELECT 1', 'they get names of their own');
SELECT is((SELECT jobname FROM haul.cron_jobs WHERE jobid = :unnamed), NULL, 'which pg_cron''s columns do not show');
SELECT is(haul.schedule('', '@hourly', 'SELECT 1') > :unnamed::bigint, true, 'an empty name is none');
SELECT is((SELECT count(*) FROM haul.cron_jobs WHERE jobname IS NULL), 3::bigint, 'that makes three');

SELECT haul.schedule_in_database('there', '@daily', 'SELECT 1', 'template1', active => false) AS there \gset
SELECT helper.has(helper.cron('there'),
	'{"database": "template1", "enabled": false, "next_run_at": null, "owner": "postgres"}',
	'in another database, not active');
SELECT haul.schedule('there', '@weekly', 'SELECT 2') \g /dev/null
SELECT helper.has(helper.cron('there'), jsonb_build_object('database', NULL, 'enabled', false, 'schedule', '@weekly'),
	'haul.schedule() brings it here, and leaves it as active as it was');
SELECT is(haul.schedule_in_database('here', '@daily', 'SELECT 1', NULL, NULL, NULL) > 0, true, 'NULLs are defaults');
SELECT helper.has(helper.cron('here'), jsonb_build_object('database', NULL, 'enabled', true, 'owner', current_user),
	'namely these');
SELECT is(haul.schedule_in_database('theirs', '@daily', 'SELECT 1', 'template1', 'haul_test_other') > 0, true,
	'for another role');
SELECT is(helper.cron('theirs') ->> 'owner', 'haul_test_other', 'who owns it');

SELECT is((SELECT to_jsonb(j) FROM haul.cron_jobs AS j WHERE jobname = 'theirs'), (SELECT jsonb_build_object('jobid',
	id,
	'schedule', '@daily', 'command', 'SELECT 1', 'nodename', 'localhost', 'nodeport', current_setting('port')::integer,
		'database', 'template1',
	'username', 'haul_test_other', 'active', true, 'jobname', 'theirs') FROM haul.cron WHERE name = 'theirs'),
	'haul.cron_jobs has the columns of cron.job');
SELECT columns_are('haul', 'job_run_details', ARRAY['jobid', 'runid', 'job_pid', 'database', 'username', 'command',
	'status',
	'return_message', 'start_time', 'end_time'], 'haul.job_run_details those of cron.job_run_details');

INSERT INTO haul.cron (name, schedule, kind) VALUES ('jobs', '@daily', 'k');
SELECT helper.refused(statement, state, message, hint) FROM (VALUES
	($$ SELECT haul.schedule(NULL, 'SELECT 1') $$, '22004', 'schedule can not be NULL', false),
	($$ SELECT haul.schedule('@daily', NULL) $$, '22004', 'command can not be NULL', false),
	($$ SELECT haul.schedule(NULL, '@daily', 'SELECT 1') $$, '22004', 'job_name can not be NULL', false),
	($$ SELECT haul.schedule_in_database('n', '@daily', NULL, 'template1') $$, '22004', 'command can not be NULL', false),
	($$ SELECT haul.schedule('bad', 'SELECT 1') $$, '23514', 'haul.cron.schedule: %bad%', true),
	($$ SELECT haul.schedule('n', '61 * * * *', 'SELECT 1') $$, '23514', 'haul.cron.schedule: %61%', true),
	($$ SELECT haul.schedule('n', '@daily', '  ') $$, '23514', 'haul.cron.command must not be empty%', true),
	($$ SELECT haul.schedule(repeat('n', 256), '@daily', 'SELECT 1') $$, '23514',
		'haul.cron.name must have 1 to 255 characters%', true),
	($$ SELECT haul.schedule('jobs', '@daily', 'SELECT 1') $$, '42710', 'schedule "jobs" enqueues jobs of kind "k"', true),
	($$ SELECT haul.schedule('theirs', '@daily', 'SELECT 1') $$, '42710',
		'schedule "theirs" belongs to role "haul_test_other"', true),
	($$ SELECT haul.schedule_in_database('n', '@daily', 'SELECT 1', 'haul_test_absent') $$, '3D000',
		'database "haul_test_absent" does not exist', false),
	($$ SELECT haul.schedule_in_database('n', '@daily', 'SELECT 1', 'template0') $$, '55000',
		'database "template0" is not currently accepting connections', false),
	($$ SELECT haul.schedule_in_database('n', '@daily', 'SELECT 1', 'template1', 'haul_test_absent') $$, '42704',
		'role "haul_test_absent" does not exist', false),
	($$ SELECT haul.schedule_in_database('n', '@daily', 'SELECT 1', 'template1', 'haul_test_mute') $$, '28000',
		'role "haul_test_mute" can not log in', false),
	($$ SELECT haul.unschedule('absent') $$, '42704', 'could not find valid entry for job ''absent''', true),
	($$ SELECT haul.unschedule(999999) $$, '42704', 'could not find valid entry for job 999999', true),
	($$ SELECT haul.unschedule(NULL::bigint) $$, '42704', 'could not find valid entry for job NULL', true),
	($$ SELECT haul.unschedule(NULL::text) $$, '42704', 'could not find valid entry for job ''NULL''', true),
	($$ SELECT haul.alter_job(999999) $$, '22023', 'no updates specified', true),
	($$ SELECT haul.alter_job(999999, active => true) $$, '42704', 'Job 999999 does not exist', true),
	($$ SELECT haul.alter_job(NULL, active => true) $$, '22004', 'job_id can not be NULL', false),
	($$ SELECT haul.alter_job(id, command => 'SELECT 1') FROM haul.cron WHERE name = 'jobs' $$, '55000',
		'schedule "jobs" enqueues jobs of kind "k"', true),
	($$ SELECT haul.alter_job(id, schedule => 'bad') FROM haul.cron WHERE name = 'here' $$, '23514',
		'haul.cron.schedule: %bad%', true),
	($$ SELECT haul.alter_job(id, database => 'haul_test_absent') FROM haul.cron WHERE name = 'here' $$, '3D000', '%',
		false),
	($$ SELECT haul.alter_job(id, username => 'haul_test_mute') FROM haul.cron WHERE name = 'here' $$, '28000', '%',
		false),
	($$ SELECT haul.import_pg_cron() $$, '42704', 'there is no pg_cron in database%', true)) AS v (statement, state,
		message, hint);

-- ---- changing, removing ----

SELECT haul.alter_job(:there, schedule => '7 7 * * *', command => 'SELECT 3', database => 'template1',
	username => 'haul_test_team', active => true) \g /dev/null
SELECT helper.has(helper.cron('there'), '{"schedule": "7 7 * * *", "command": "SELECT 3", "database": "template1",
	"owner": "haul_test_team", "enabled": true}', 'alter_job changes everything');
SELECT haul.alter_job(:there, active => false) \g /dev/null
SELECT helper.has(helper.cron('there'), '{"schedule": "7 7 * * *", "command": "SELECT 3", "database": "template1",
	"owner": "haul_test_team", "enabled": false, "next_run_at": null}', 'or what it is told');
SELECT haul.alter_job((SELECT id FROM haul.cron WHERE name = 'jobs'), schedule => '@monthly',
	active => false) \g /dev/null
SELECT helper.has(helper.cron('jobs'), '{"schedule": "@monthly", "kind": "k", "enabled": false}',
	'also where jobs are enqueued');
SELECT is(haul.unschedule('nightly'), true, 'unschedule, by name');
SELECT is(haul.unschedule(:unnamed), true, 'by id');
SELECT is(haul.unschedule('jobs'), true, 'whatever it is that it fires');
SELECT is_empty(format($$ SELECT FROM haul.cron WHERE name IN ('nightly', 'jobs') OR id = %s $$, :unnamed),
	'they are gone');

-- ---- firing ----

SELECT haul.schedule('fires', '1 seconds', 'SELECT 1') AS fires \gset
UPDATE haul.cron SET next_run_at = date_trunc('second', clock_timestamp()) WHERE id = :fires;
SELECT is((haul._fire()).fired, 1, 'a tick fires');
SELECT helper.has((SELECT to_jsonb(r) FROM haul.job_run_details AS r), jsonb_build_object('database',
	current_database(),
	'username', current_user, 'command', 'SELECT 1', 'status', 'starting', 'return_message', NULL, 'job_pid', NULL),
	'the run is there, and begins when this commits');
INSERT INTO haul.cron_runs (cron_id, name, run_at, state, command, username, finished_at) VALUES
	(1, 'x', now(), 'succeeded', 'SELECT 1', 'haul_test_admin', now()), (1, 'x', now() + interval '1 s', 'failed',
		'SELECT 1', 'haul_test_other', now());
INSERT INTO haul.cron_runs (cron_id, name, run_at, state, job_id) VALUES (2, 'a job', now(), 'fired', 1);
SELECT is((SELECT count(*) FROM haul.job_run_details), 3::bigint, 'a superuser sees the runs of all, but not jobs');

SELECT haul.unschedule(:fires) \g /dev/null
SELECT helper.has((SELECT to_jsonb(r) FROM haul.job_run_details AS r WHERE jobid = :fires),
	'{"status": "cancelled", "return_message": "the schedule was removed"}',
		'what has not begun does not run without its schedule');

-- ---- who may ----

SELECT is(helper.as_role('haul_test_admin', $$ SELECT count(*) FROM haul.job_run_details $$), '1',
	'others see their own');
SELECT is(helper.as_role('haul_test_admin', $$ WITH d AS (DELETE FROM haul.job_run_details RETURNING 1) SELECT count(*)
	FROM d $$), '1',
	'and delete them');
SELECT is((SELECT count(*) FROM haul.job_run_details), 2::bigint, 'and nobody else''s');
SELECT isnt(helper.as_role('haul_test_admin', $$ SELECT haul.schedule('own', '@daily', 'SELECT 1') $$), '42501',
	'an administrator schedules');
SELECT is(helper.cron('own') ->> 'owner', 'haul_test_admin', 'as himself');
SELECT is(helper.as_role('haul_test_admin', $$ SELECT string_agg(jobname, ',' ORDER BY jobname) FROM haul.cron_jobs $$),
	'own', 'which he sees');
SELECT isnt(helper.as_role('haul_test_admin', $$ SELECT haul.schedule_in_database('team', '@daily', 'SELECT 1',
	'template1', 'haul_test_team') $$),
	'42501', 'or as a role whose member he is');
SELECT is(helper.cron('team') ->> 'owner', 'haul_test_team', 'which then owns it');
SELECT is(helper.as_role('haul_test_admin', statement), 'ok', statement) FROM unnest(ARRAY[
	$$ SELECT haul.alter_job(id, command => 'SELECT 2') FROM haul.cron WHERE name = 'team' $$,
	$$ SELECT haul.alter_job(id, username => 'haul_test_team') FROM haul.cron WHERE name = 'own' $$,
	$$ SELECT haul.alter_job(id, username => 'haul_test_admin') FROM haul.cron WHERE name = 'own' $$]) AS statement;
CREATE VIEW helper.ids AS SELECT id, name FROM haul.cron;
GRANT SELECT ON helper.ids TO haul_test_other, haul_test_worker;
SELECT is(helper.as_role(role, statement), '42501', role || ', not: ' || btrim(statement)) FROM unnest(ARRAY[
	$$ SELECT haul.schedule_in_database('x', '@daily', 'SELECT 1', 'template1', 'postgres') $$,
	$$ SELECT haul.alter_job(id, command => 'SELECT 2') FROM helper.ids WHERE name = 'own' $$,
	$$ SELECT haul.alter_job(id, username => 'haul_test_other') FROM helper.ids WHERE name = 'own' $$,
	$$ SELECT haul.alter_job(id, username => 'postgres') FROM haul.cron WHERE name = 'theirs' $$,
	$$ SELECT haul.unschedule('own') $$, $$ SELECT haul.unschedule('team') $$,
	$$ SELECT haul.import_pg_cron() $$, $$ SELECT haul._run_commands() $$, $$ SELECT haul._start_command_runner(true) $$,
	$$ INSERT INTO haul.cron_runs (cron_id, name, run_at, state) VALUES (1, 'x', now(), 'starting') $$,
	$$ UPDATE haul.cron_runs SET username = 'postgres' $$]) AS statement, unnest(ARRAY['haul_test_other',
		'haul_test_worker']) AS role;
-- What one administrator runs, and what came of it, another does not read.
INSERT INTO haul.cron_runs (cron_id, name, run_at, state, command, username, message, finished_at)
	SELECT id, name, now() + interval '1 min', 'failed', command, owner, 'secret error', now() FROM haul.cron
		WHERE name IN ('own', 'team');
SELECT is(helper.as_role(role, statement), readable, format('%s reads: %s', role, btrim(statement)))
	FROM (VALUES ('haul_test_admin', '{own,team}', '{"SELECT 1","SELECT 2"}', 'own'),
				 ('haul_test_other', 'ok', 'ok', 'ok')) AS v (role, schedules, commands, runs),
		 LATERAL (VALUES
			($$ SELECT array_agg(name ORDER BY name) FROM haul.cron WHERE name IN ('own', 'team') $$, schedules),
			($$ SELECT array_agg(what ORDER BY what) FILTER (WHERE what IS NOT NULL) FROM haul.cron_status
				WHERE name IN ('own', 'team') $$, commands),
			($$ SELECT string_agg(name, ',') FROM haul.cron_runs WHERE message = 'secret error' $$, runs),
			($$ SELECT string_agg('own', ',') FROM haul.job_run_details WHERE return_message = 'secret error' $$, runs))
		 	AS s (statement, readable);
SELECT is(helper.as_role('haul_test_other', $$ SELECT string_agg(name, ',' ORDER BY name) FROM haul.cron_status
	WHERE name IN ('own', 'team') $$), 'own,team', 'but that there are schedules');
SELECT isnt(helper.as_role('haul_test_other', $$ SELECT name FROM haul.cron_runs WHERE job_id IS NOT NULL $$), 'ok',
	'and the runs of jobs');
SELECT is(helper.as_role('haul_test_worker', statement), '42501', 'worker, not: ' || btrim(statement))
	FROM unnest(ARRAY[
	$$ SELECT haul.schedule('@daily', 'SELECT 1') $$, $$ SELECT haul.schedule('n', '@daily', 'SELECT 1') $$,
	$$ SELECT * FROM haul.cron_jobs $$, $$ SELECT * FROM haul.job_run_details $$, $$ DELETE FROM haul.job_run_details $$])
		AS statement;

-- What an administrator shows the extension in front of the system's functions and operators is not called.
CREATE SCHEMA attack;
CREATE FUNCTION attack.strike(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'struck'; END $$;
CREATE FUNCTION attack.strike(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'struck'; END $$;
CREATE FUNCTION attack.strike(name, name) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'struck'; END $$;
CREATE OPERATOR attack.= (LEFTARG = text, RIGHTARG = text, FUNCTION = attack.strike);
CREATE OPERATOR attack.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = attack.strike);
CREATE OPERATOR attack.= (LEFTARG = name, RIGHTARG = name, FUNCTION = attack.strike);
CREATE FUNCTION attack.current_database() RETURNS name LANGUAGE plpgsql AS $$ BEGIN RAISE 'struck'; END $$;
CREATE FUNCTION attack.format(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'struck'; END $$;
GRANT USAGE ON SCHEMA attack TO haul_test_admin;
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
	RETURN SQLERRM;
END
$$;
SELECT is(helper.under_attack($$ SELECT 'a'::text = 'a'::text $$), 'struck', 'the attack works');
SELECT is(helper.under_attack(statement), 'ok', 'under attack: ' || btrim(statement)) FROM unnest(ARRAY[
	$$ SELECT haul.schedule('attacked', '@daily', 'SELECT 1') $$, $$ SELECT haul.schedule('attacked', '@daily',
		'SELECT 2') $$,
	$$ SELECT haul.schedule('@daily', 'SELECT 1') $$, $$ SELECT haul.schedule_in_database('there too', '@daily',
		'SELECT 1', 'template1', 'haul_test_team') $$,
	$$ TABLE haul.cron_jobs $$, $$ TABLE haul.job_run_details $$, $$ SELECT haul.unschedule('attacked') $$, $$ DELETE
		FROM haul.job_run_details $$,
	$$ SELECT haul.maintain() $$]) AS statement;

\ir include/finish.psql
