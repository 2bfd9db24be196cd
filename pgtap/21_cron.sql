-- Schedules: what may stand in haul.cron, what fires, what becomes of it, haul.cron_sync().
\ir include/prelude.psql
SELECT no_plan();

-- Fires at a time what is due; the ticks of a schedule that this recorded: 'state HH:MI:SS, …' in UTC.
CREATE FUNCTION helper.fire(schedule text, at timestamptz) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	last bigint := coalesce((SELECT max(id) FROM haul.cron_runs), 0);
BEGIN
	PERFORM haul._fire(at);
	RETURN (SELECT string_agg(state || ' ' || to_char(run_at AT TIME ZONE 'UTC', 'HH24:MI:SS'), ', ' ORDER BY run_at)
		FROM haul.cron_runs WHERE name = schedule AND id > last);
END
$$;
-- As if the schedule had been asleep since its tick at that time.
CREATE FUNCTION helper.plan(of text, tick timestamptz) RETURNS void LANGUAGE sql
AS $$ UPDATE haul.cron SET next_run_at = tick WHERE name = of $$;
-- A job goes without a word.
CREATE FUNCTION helper.lose(job bigint) RETURNS void LANGUAGE sql
AS $$
	SELECT set_config('session_replication_role', 'replica', true);
	DELETE FROM haul.jobs WHERE id = job;
	SELECT set_config('session_replication_role', 'origin', true);
$$;
-- The job of a schedule with the lowest id ends.
CREATE FUNCTION helper.finish(schedule text, state text DEFAULT 'completed',
	message text DEFAULT NULL) RETURNS void LANGUAGE plpgsql
AS $$
DECLARE
	job bigint := (SELECT min(id) FROM haul.jobs WHERE cron_name = schedule);
BEGIN
	PERFORM helper.lose(job);
	PERFORM haul._cron_job_ended(job, schedule, state, clock_timestamp() - interval '2 s', clock_timestamp(), message);
END
$$;

-- ---- what may stand in haul.cron ----

INSERT INTO haul.cron (name, schedule, kind) VALUES ('plain', '* * * * *', 'k');
SELECT helper.has((SELECT to_jsonb(c) FROM haul.cron AS c),
	'{"name": "plain", "timezone": "UTC", "args": {}, "queue": "default",
	"priority": 16383, "options": {}, "enabled": true, "overlap": "skip", "misfire": "one", "misfire_limit": 100,
	"dst_skipped": "next", "dst_repeated": "once", "owner": "postgres", "last_run_at": null}', 'a schedule has defaults');
SELECT ok((SELECT next_run_at > created_at AND next_run_at <= clock_timestamp() + interval '1 minute'
	AND date_trunc('minute', next_run_at) = next_run_at FROM haul.cron), 'and a next tick');
SELECT is((SELECT count(*) FROM haul.jobs), 0::bigint, 'what was tried out is gone');

SELECT is(r.state || ' ' || r.message, problem, statement)
	FROM (VALUES
	($$ ('', '* * * * *', 'k') $$, '23514 haul.cron.name must have 1 to 255 characters, not ""'),
	($$ (repeat('n', 256), '* * * * *', 'k') $$, '23514 haul.cron.name must have 1 to 255 characters, not "' || repeat('n',
		100) || '"'),
	($$ (NULL, '* * * * *', 'k') $$, '23502 haul.cron.name must not be null'),
	($$ ('bad', NULL, 'k') $$, '23502 haul.cron.schedule must not be null'),
	($$ ('bad', '* * * * *', NULL) $$,
		'23514 haul.cron.kind must be given if, and only if, there is no command, not "null"'),
	($$ ('bad', '* * * * *', '') $$, '23514 haul.cron.kind must have 1 to 128 characters, not ""')) AS v (row, problem),
	format('INSERT INTO haul.cron (name, schedule, kind) VALUES %s', row) AS statement, helper.refusal(statement) AS r;
SELECT is(r.state || ' ' || r.message || ' ' || r.col || ' ' || (r.hint <> '')::text,
		coalesce(v.state, '23514') || ' haul.cron.' || v.problem || ' ' || v.col || ' true', v.col || ' => ' || v.value)
	FROM (VALUES
	('timezone', $$ NULL $$, 'timezone must not be null', '23502'),
	('timezone', $$ 'Mars/Olympus' $$, 'timezone: time zone "Mars/Olympus" not recognized', NULL),
	('args', $$ '[1]' $$, 'args must be a JSON object, not "[1]"', NULL),
	('queue', $$ '' $$, 'queue must have 1 to 63 characters, not ""', NULL),
	('priority', $$ 0 $$, 'priority must be at least 1, not "0"', NULL),
	('options', $$ NULL $$, 'options must not be null', '23502'),
	('options', $$ '1' $$, 'options must be a JSON object, not "1"', NULL),
	('options', $$ '{"run_at": "now"}' $$, 'options must hold options of jobs, not "run_at"', NULL),
	('options', $$ '{"every": "1 h"}' $$, 'options must hold options of jobs, not "every"', NULL),
	('options', $$ '{"max_attempts": 0}' $$, 'options.max_attempts must be at least 1, not "0"', NULL),
	('options', $$ '{"max_attempts": "x"}' $$,
		'options must be options of a job, not "{"max_attempts": "x"}": invalid input syntax for type integer: "x"', NULL),
	('options', $$ '{"unique_key": ""}' $$, 'options.unique_key must have 1 to 512 characters, not ""', NULL),
	('options', $$ '{"on_timeout": "panic"}' $$, 'options.on_timeout must be retry or discard, not "panic"', NULL),
	('database', $$ 'elsewhere' $$, 'database must be null without a command, not "elsewhere"', NULL),
	('overlap', $$ 'wait' $$, 'overlap must be skip, allow or queue, not "wait"', NULL),
	('misfire', $$ 'two' $$, 'misfire must be none, one or all, not "two"', NULL),
	('misfire_limit', $$ 0 $$, 'misfire_limit must be 1 to 10000, not "0"', NULL),
	('misfire_limit', $$ 10001 $$, 'misfire_limit must be 1 to 10000, not "10001"', NULL),
	('dst_skipped', $$ 'once' $$, 'dst_skipped must be next or skip, not "once"', NULL),
	('dst_repeated', $$ 'thrice' $$, 'dst_repeated must be once or twice, not "thrice"', NULL),
	('enabled', $$ NULL $$, 'enabled must not be null', '23502')) AS v (col, value, problem, state),
	helper.refusal(format('INSERT INTO haul.cron (name, schedule, kind, %I) VALUES (%L, %L, %L, %s)', v.col, 'bad',
		'@daily', 'k', v.value)) AS r;
SELECT matches((helper.refusal($$ INSERT INTO haul.cron (name, schedule, kind) VALUES ('bad', '61 * * * *',
	'k') $$)).message,
	'^haul\.cron\.schedule: .*61', 'a schedule that nobody can read');
SELECT is((helper.refusal($$ INSERT INTO haul.cron (name, schedule, kind, command) VALUES ('bad', '@daily', 'k',
	'SELECT 1') $$)).state,
	'23514', 'not both a kind and a command');
SELECT is((helper.refusal($$ INSERT INTO haul.cron (name, schedule, command) VALUES ('bad', '@daily', ' ') $$)).col,
	'command',
	'not an empty command');
SELECT is((helper.refusal($$ INSERT INTO haul.cron (name, schedule, kind) VALUES ('plain', '@daily', 'k') $$)).state,
	'23505',
	'names are unique');
SELECT is((helper.refusal($$ UPDATE haul.cron SET schedule = 'never' $$)).col, 'schedule', 'changes are checked, too');
SELECT is((helper.refusal($$ UPDATE haul.cron SET options = '{"max_attempts": -1}' $$)).col, 'options',
	'and tried out');
SELECT is((helper.refusal(format('UPDATE haul.cron SET %s', change))).message, format('haul.cron.%s cannot be changed',
	split_part(change, ' ', 1)),
	change) FROM unnest(ARRAY['name = ''other''', 'created_at = now()', 'planned_at = now()', 'id = DEFAULT']) AS change;

INSERT INTO haul.cron (name, schedule, kind, options, owner, next_run_at, last_run_at)
	VALUES ('all', '@daily', 'k', '{"max_attempts": 2, "backoff": "linear", "timeout": "1 min", "on_timeout": "discard",
		"queue_timeout": "1 h", "on_interrupt": "fail", "unique_key": "u", "unique_until": "started", "concurrency_key": "c",
		"concurrency_limit": 2, "pin": "p", "pin_strict": true, "avoid": ["a"], "reply_to": "r", "keep": "1 d"}', 'nobody',
		'2000-01-01', '2000-01-01');
SELECT results_eq($$ SELECT owner, next_run_at > now(), last_run_at FROM haul.cron WHERE name = 'all' $$,
	$$ VALUES ('nobody'::name, true, NULL::timestamptz) $$,
		'a superuser may say whose it is; next and last tick are not the caller''s');
CREATE ROLE haul_test_forger;
SELECT haul.grant_admin('haul_test_forger');
GRANT INSERT ON haul.cron TO haul_test_forger;
SET LOCAL ROLE haul_test_forger;
INSERT INTO haul.cron (name, schedule, command, owner) VALUES ('forged', '@daily', 'SELECT 1', 'postgres');
RESET ROLE;
SELECT is((SELECT owner FROM haul.cron WHERE name = 'forged'), 'haul_test_forger', 'nobody else can');
DELETE FROM haul.cron WHERE name = 'forged';
UPDATE haul.cron SET owner = current_user WHERE name = 'all';
SET LOCAL ROLE haul_test_forger;
UPDATE haul.cron SET priority = 5 WHERE name = 'all';
RESET ROLE;
SELECT is((SELECT owner FROM haul.cron WHERE name = 'all'), 'haul_test_forger',
	'whoever changes what it enqueues becomes the owner, if he could not become the old one');
UPDATE haul.cron SET owner = current_user, priority = 16383 WHERE name = 'all';
SELECT throws_ok($$ INSERT INTO haul.cron (name, schedule, command) VALUES ('long', '@daily', repeat('x', 1048577)) $$,
	'23514', NULL, 'a command of more than 1 MB is refused');
UPDATE haul.cron SET enabled = false WHERE name = 'all';
SELECT is((SELECT next_run_at FROM haul.cron WHERE name = 'all'), NULL, 'one that is not enabled has no next tick');
UPDATE haul.cron SET enabled = true, schedule = '@reboot' WHERE name = 'all';
SELECT is((SELECT next_run_at FROM haul.cron WHERE name = 'all'), NULL, 'nor has @reboot');
SELECT helper.plan('plain', '2030-01-01');
UPDATE haul.cron SET queue = 'other', args = '{"a": 1}' WHERE name = 'plain';
SELECT is((SELECT next_run_at FROM haul.cron WHERE name = 'plain'), '2030-01-01'::timestamptz,
	'the next tick stays when the job changes');
UPDATE haul.cron SET schedule = '*/2 * * * *' WHERE name = 'plain';
SELECT cmp_ok((SELECT next_run_at FROM haul.cron WHERE name = 'plain'), '<', clock_timestamp() + interval '2 min',
	'and is another when the schedule does');

-- What depends on the moment is no reason to refuse a schedule.
CREATE FUNCTION helper.refuse_kind() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN IF new.kind = 'refused' THEN RAISE 'not today'; END IF; RETURN new; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON haul.jobs FOR EACH ROW EXECUTE FUNCTION helper.refuse_kind();
INSERT INTO haul.jobs (kind, unique_key) VALUES ('k', 'taken');
SELECT lives_ok($$ INSERT INTO haul.cron (name, schedule, kind, options) VALUES
	('refused', '@daily', 'refused', '{}'), ('taken', '@daily', 'k', '{"unique_key": "taken"}') $$,
	'a trigger of somebody''s, a key that is taken');
DELETE FROM haul.cron;
DELETE FROM haul.jobs;

-- ---- firing ----

INSERT INTO haul.cron (name, schedule, kind, args, queue, priority, options) VALUES
	('whole', '0 12 * * *', 'k', '{"a": 1}', 'q', 7,
		'{"max_attempts": 2, "backoff": "linear", "timeout": "1 min", "on_timeout": "discard",
		"queue_timeout": "1 h", "on_interrupt": "fail", "unique_key": "u", "unique_until": "started", "concurrency_key": "c",
		"concurrency_limit": 2, "pin": "p", "pin_strict": true, "avoid": ["a"], "reply_to": "r", "keep": "1 d"}');
SELECT helper.plan('whole', '2030-01-01 12:00:00+00');
SELECT is(helper.fire('whole', '2030-01-01 11:59:59.999+00'), NULL, 'nothing fires before its tick');
SELECT is(helper.fire('whole', '2030-01-01 12:00:00+00'), 'fired 12:00:00', 'at the tick it does');
SELECT is(to_jsonb(j) - 'id' - 'enqueued_at', jsonb_build_object('kind', 'k', 'args', '{"a": 1}'::jsonb, 'queue', 'q',
	'priority', 7,
		'run_at', '2030-01-01 12:00:00+00'::timestamptz, 'max_attempts', 2, 'backoff', 'linear', 'timeout', '00:01:00',
		'on_timeout', 'discard', 'queue_timeout', '01:00:00', 'expires_at', '2030-01-01 13:00:00+00'::timestamptz,
		'on_interrupt', 'fail', 'unique_key', 'u', 'unique_until', 'started', 'concurrency_key', 'c', 'concurrency_limit', 2,
			'pin', 'p',
		'pin_strict', true, 'avoid', ARRAY['a'], 'reply_to', 'r', 'keep', '1 day', 'cron_name', 'whole', 'enqueued_by',
			'postgres',
		'state', 'ready')
	|| (SELECT to_jsonb(d) - 'id' - 'enqueued_at' - ARRAY['kind', 'args', 'queue', 'priority', 'run_at', 'max_attempts',
		'backoff',
		'timeout', 'on_timeout', 'queue_timeout', 'expires_at', 'on_interrupt', 'unique_key', 'unique_until',
			'concurrency_key',
		'concurrency_limit', 'pin', 'pin_strict', 'avoid', 'reply_to', 'keep', 'cron_name', 'enqueued_by', 'state']
		FROM jsonb_populate_record(NULL::haul.jobs, '{"attempt": 0, "claim": 0, "interruptions": 0}') AS d),
	'a job with all that the schedule says') FROM haul.jobs AS j;
SELECT results_eq($$ SELECT c.next_run_at, c.last_run_at, r.cron_id = c.id, r.job_id = j.id, r.finished_at, r.username
	FROM haul.cron AS c, haul.cron_runs AS r, haul.jobs AS j $$, $$ VALUES ('2030-01-02 12:00:00+00'::timestamptz,
	'2030-01-01 12:00:00+00'::timestamptz, true, true, NULL::timestamptz, NULL::name) $$, 'is noted');
SELECT is((haul._fire('2030-01-01 12:00:01+00')).next_at, '2030-01-02 12:00:00+00'::timestamptz,
	'a pass says when the next is due');
DELETE FROM haul.jobs;
SELECT helper.plan('whole', '2030-01-01 12:00:00+00');
SELECT is(helper.fire('whole', '2030-01-01 12:00:05+00'), NULL, 'a tick fires once');
SELECT is((SELECT count(*) FROM haul.jobs), 0::bigint, 'whatever the clock says later');
UPDATE haul.cron SET enabled = false;
SELECT is((haul._fire('2031-01-01')).fired, 0, 'one that is not enabled does not fire');
DELETE FROM haul.cron;
SELECT is((haul._fire()).next_at, NULL, 'without schedules there is no next pass');

-- By maintenance, and by the clock
INSERT INTO haul.cron (name, schedule, kind) VALUES ('now', '1 second', 'k');
SELECT helper.plan('now', date_trunc('second', clock_timestamp() + interval '1 hour'));
SELECT is(haul.maintain() -> 'cron_fired', '0', 'maintenance fires nothing before it is due');
SELECT helper.plan('now', date_trunc('second', clock_timestamp()));
SELECT is(haul.maintain() -> 'cron_fired', '1', 'and then it does');
SELECT is((SELECT count(*) FROM haul.jobs WHERE run_at <= clock_timestamp()), 1::bigint, 'a job that is due');
DELETE FROM haul.cron;
DELETE FROM haul.jobs;

-- Missed ticks. Within 30 s a tick is merely late.
INSERT INTO haul.cron (name, schedule, kind, misfire, overlap, misfire_limit) VALUES ('m', '* * * * *', 'k', 'none',
	'allow', 3);
SELECT helper.plan('m', '2030-01-01 00:00:00+00');
SELECT is(helper.fire('m', '2030-01-01 00:00:30+00'), 'fired 00:00:00', 'late by the grace, it fires');
SELECT is(helper.fire('m', '2030-01-01 00:10:31+00'), NULL, 'misfire none: by more, it does not');
SELECT is((SELECT next_run_at FROM haul.cron), '2030-01-01 00:11:00+00'::timestamptz, 'and that is that');
SELECT is(helper.fire('m', '2030-01-01 00:20:10+00'), 'fired 00:20:00', 'but what is merely late does');
UPDATE haul.cron SET misfire = 'one';
SELECT is(helper.fire('m', '2030-01-01 00:30:40+00'), 'fired 00:30:00', 'misfire one: the last');
SELECT is(helper.fire('m', '2030-01-01 00:40:10+00'), 'fired 00:40:00', 'once, also when the last is merely late');
UPDATE haul.cron SET misfire = 'all';
SELECT is(helper.fire('m', '2030-01-01 00:42:40+00'), 'fired 00:41:00, fired 00:42:00', 'misfire all: each of them');
SELECT is(helper.fire('m', '2030-01-01 00:50:40+00'), 'fired 00:48:00, fired 00:49:00, fired 00:50:00',
	'up to the limit, the latest');
SELECT is(helper.fire('m', '2030-01-01 00:55:10+00'), 'fired 00:52:00, fired 00:53:00, fired 00:54:00, fired 00:55:00',
	'beside one that is merely late');
SELECT is((SELECT array_agg(run_at ORDER BY id) FROM haul.jobs), (SELECT array_agg(run_at ORDER BY run_at)
	FROM haul.cron_runs WHERE name = 'm'),
	'jobs come in the order of their ticks');
SET LOCAL haul.misfire_grace = '5min';
UPDATE haul.cron SET misfire = 'none';
SELECT is(helper.fire('m', '2030-01-01 01:00:10+00'),
	'fired 00:56:00, fired 00:57:00, fired 00:58:00, fired 00:59:00, fired 01:00:00',
	'haul.misfire_grace says what is late');
RESET haul.misfire_grace;
-- After a restore next_run_at need not be a tick.
SELECT helper.plan('m', '2030-01-01 02:00:20+00');
SELECT is(helper.fire('m', '2030-01-01 02:00:25+00'), NULL, 'what is due by itself is only looked at');
SELECT is((SELECT next_run_at FROM haul.cron), '2030-01-01 02:01:00+00'::timestamptz, 'and goes on with its next tick');
-- Time zones
UPDATE haul.cron SET schedule = '30 2 * * *', timezone = 'Europe/Berlin', misfire = 'one';
SELECT helper.plan('m', '2030-03-30 01:30:00+00');
SELECT is(helper.fire('m', '2030-03-30 01:30:00+00'), 'fired 01:30:00', 'a tick of another time zone');
SELECT is((SELECT next_run_at FROM haul.cron), '2030-03-31 01:00:00+00'::timestamptz,
	'in the night when clocks are put forward');
DELETE FROM haul.cron;
DELETE FROM haul.jobs;

-- Overlap
INSERT INTO haul.cron (name, schedule, kind) VALUES ('o', '* * * * *', 'k');
SELECT helper.plan('o', '2030-01-01 00:00:00+00');
SELECT is(helper.fire('o', '2030-01-01 00:00:00+00'), 'fired 00:00:00', 'overlap skip: the first fires');
SELECT is(helper.fire('o', '2030-01-01 00:01:00+00'), 'skipped 00:01:00', 'the second does not');
SELECT results_eq($$ SELECT last_run_at, next_run_at FROM haul.cron $$,
	$$ VALUES ('2030-01-01 00:00:00+00'::timestamptz, '2030-01-01 00:02:00+00'::timestamptz) $$, 'and was not the last');
SELECT matches((SELECT message FROM haul.cron_runs WHERE name = 'o' AND state = 'skipped'), 'job \d+',
	'it says what was in its way');
SELECT helper.finish('o');
SELECT is(helper.fire('o', '2030-01-01 00:02:00+00'), 'fired 00:02:00', 'when that has ended, the next fires');
UPDATE haul.cron SET overlap = 'allow';
SELECT is(helper.fire('o', '2030-01-01 00:03:00+00'), 'fired 00:03:00', 'overlap allow: beside it');
UPDATE haul.cron SET overlap = 'queue';
SELECT is(helper.fire('o', '2030-01-01 00:04:00+00'), 'queued 00:04:00', 'overlap queue: behind both');
SELECT is(helper.fire('o', '2030-01-01 00:05:00+00'), 'skipped 00:05:00', 'one, and no more');
SELECT results_eq($$ SELECT state, run_at FROM haul.jobs ORDER BY id $$, $$ VALUES ('ready',
	'2030-01-01 00:02:00+00'::timestamptz),
	('ready', '2030-01-01 00:03:00+00'), ('waiting', 'infinity') $$, 'it waits');
SELECT helper.finish('o');
SELECT is((SELECT count(*) FROM haul.jobs WHERE state = 'waiting'), 1::bigint, 'when the first ends');
SELECT helper.finish('o', 'failed', 'no luck');
SELECT results_eq($$ SELECT state, run_at <= clock_timestamp() FROM haul.jobs $$, $$ VALUES ('ready', true) $$,
	'when both have ended it is ready');
SELECT is((SELECT string_agg(state, ' ' ORDER BY id) FROM haul.cron_runs WHERE name = 'o'),
	'completed skipped completed failed fired skipped', 'what became of each');
SELECT helper.has((SELECT to_jsonb(s) FROM haul.cron_status AS s),
	'{"name": "o", "what": "k", "enabled": true, "last_state": "skipped",
	"runs": 4, "succeeded": 2, "failed": 1, "skipped": 2, "live_jobs": 1}', 'haul.cron_status counts them');
SELECT ok((SELECT average_duration BETWEEN interval '1.9 s' AND interval '3 s' AND longest_duration >= average_duration
	FROM haul.cron_status),
	'and how long they took');
SELECT is((SELECT message FROM haul.cron_runs WHERE name = 'o' AND state = 'failed'), 'no luck', 'with the error');
-- The one before goes without a word.
SELECT is(helper.fire('o', '2030-01-01 00:06:00+00'), 'queued 00:06:00', 'another is queued');
SELECT helper.lose(min(id)) FROM haul.jobs WHERE state = 'ready';
SELECT is(helper.fire('o', '2030-01-01 00:06:10+00'), NULL, 'the next pass');
SELECT is((SELECT state FROM haul.jobs), 'ready', 'makes it ready');
SELECT is(helper.fire('o', '2030-01-01 00:07:00+00'), 'queued 00:07:00', 'one more is queued');
DELETE FROM haul.cron;
SELECT is((SELECT count(*) FROM haul.jobs), 0::bigint, 'DELETE of a schedule removes its jobs that have not begun');
SELECT results_eq($$ SELECT state, last_error FROM haul.finished_jobs ORDER BY id DESC LIMIT 2 $$,
	$$ SELECT 'cancelled', 'its schedule was removed' FROM generate_series(1, 2) $$, 'also one that is queued');

-- What cannot be enqueued is noted, and keeps no others from firing.
INSERT INTO haul.jobs (kind, unique_key) VALUES ('k', 'taken');
INSERT INTO haul.cron (name, schedule, kind, options) VALUES ('1 refused', '* * * * *', 'refused', '{}'),
	('2 taken', '* * * * *', 'k', '{"unique_key": "taken"}'), ('3 good', '* * * * *', 'k', '{}'),
	('4 orphaned', '* * * * *', 'k', '{}'), ('5 lost', '* * * * *', 'k', '{}');
CREATE ROLE haul_test_gone;
UPDATE haul.cron SET owner = 'haul_test_gone' WHERE name = '4 orphaned';
DROP ROLE haul_test_gone;
SET LOCAL session_replication_role = replica;
UPDATE haul.cron SET timezone = 'Atlantis' WHERE name = '5 lost';
SET LOCAL session_replication_role = origin;
UPDATE haul.cron SET next_run_at = '2030-01-01 00:00:00+00';
SELECT is((haul._fire('2030-01-01 00:00:00+00')).fired, 1, 'of five one fires');
SELECT results_eq($$ SELECT c.name, r.state, regexp_replace(r.message, '\d+', 'N'), c.next_run_at FROM haul.cron AS c
	JOIN haul.cron_runs AS r
	ON r.cron_id = c.id ORDER BY c.name $$, $$ VALUES
	('1 refused' COLLATE "C", 'failed', 'not today', '2030-01-01 00:01:00+00'::timestamptz),
	('2 taken', 'skipped', 'another job has its unique_key "taken"', '2030-01-01 00:01:00+00'),
	('3 good', 'fired', NULL, '2030-01-01 00:01:00+00'),
	('4 orphaned', 'failed', 'role "haul_test_gone", which owns the schedule, does not exist any more',
		'2030-01-01 00:01:00+00'),
	('5 lost', 'failed', 'time zone "Atlantis" not recognized', '2030-01-01 01:00:00+00') $$,
		'and the others say why not');
SELECT is((SELECT count(*) FROM haul.jobs WHERE cron_name IS NOT NULL), 1::bigint, 'there is one job');
DELETE FROM haul.cron;
DELETE FROM haul.jobs;

-- @reboot
INSERT INTO haul.cron (name, schedule, kind, overlap) VALUES ('boot', ' @Restart ', 'k', 'allow');
SELECT is((haul._fire()).fired, 0, '@reboot does not fire in the run of the server that made it');
SET LOCAL session_replication_role = replica;
UPDATE haul.cron SET planned_at = pg_postmaster_start_time() - interval '1 s';
SET LOCAL session_replication_role = origin;
SELECT is((haul._fire()).fired, 1, 'it does in the next');
SELECT is((SELECT run_at FROM haul.cron_runs WHERE name = 'boot'), pg_postmaster_start_time(), 'its tick is the start');
SELECT is((haul._fire()).fired, 0, 'once');
DELETE FROM haul.cron_runs;
SELECT is((haul._fire()).fired, 0, 'for ever');
DELETE FROM haul.cron;
DELETE FROM haul.jobs;

-- A dump that is coming in
INSERT INTO haul.cron (name, schedule, kind) VALUES ('r', '* * * * *', 'k');
SELECT helper.plan('r', '2030-01-01 00:00:00+00');
INSERT INTO haul.jobs (id, kind) OVERRIDING SYSTEM VALUE VALUES (1000000, 'restored');
SELECT is(helper.fire('r', '2030-01-01 00:00:00+00'), NULL,
	'nothing fires while the ids of jobs are ahead of their sequence');
SELECT haul.register_worker('w') AS w \gset
SELECT is(helper.fire('r', '2030-01-01 00:00:00+00'), 'fired 00:00:00', 'unless a worker lives');
DELETE FROM haul.workers;
DELETE FROM haul.jobs;
DELETE FROM haul.cron;
COPY haul.cron (id, name, schedule, kind, owner, next_run_at, last_run_at, created_at) FROM STDIN;
77	copied	@daily	k	somebody	2020-01-01 00:00:00+00	2019-12-31 00:00:00+00	2019-01-01 00:00:00+00
\.
COPY haul.cron (name, schedule, kind, enabled, next_run_at, planned_at) FROM STDIN;
later	@daily	k	t	2100-01-01 00:00:00+00	2000-01-01 00:00:00+00
disabled	@daily	k	f	2100-01-01 00:00:00+00	2000-01-01 00:00:00+00
boot	@reboot	k	t	\N	2000-01-01 00:00:00+00
new	@daily	k	t	\N	2000-01-01 00:00:00+00
\.
SELECT results_eq($$ SELECT id, owner, last_run_at, created_at, next_run_at BETWEEN clock_timestamp() + interval '9 min'
	AND clock_timestamp() + interval '11 min'
	FROM haul.cron WHERE name = 'copied' $$, $$ VALUES (77::bigint, 'somebody'::name,
		'2019-12-31 00:00:00+00'::timestamptz, '2019-01-01 00:00:00+00'::timestamptz, true) $$,
	'COPY by the owner of the extension restores a schedule, which fires nothing for ten minutes');
SELECT results_eq($$ SELECT name, next_run_at > clock_timestamp() + interval '10 min',
	next_run_at = '2100-01-01 00:00:00+00' FROM haul.cron
	WHERE name <> 'copied' ORDER BY name $$, $$ VALUES ('boot' COLLATE "C", NULL::boolean, NULL::boolean), ('disabled',
		NULL, NULL),
	('later', true, true), ('new', true, false) $$, 'later if it would not anyway, not at all if it is not enabled');
SELECT is((haul._fire()).fired, 0, 'nor @reboot, before the next start');
DELETE FROM haul.cron;

-- ---- what becomes of it ----

INSERT INTO haul.cron (name, schedule, kind, overlap) VALUES ('n', '* * * * *', 'k', 'allow');
SELECT helper.plan('n', '2030-01-01 00:00:00+00');
SELECT is(helper.fire('n', '2030-01-01 00:00:00+00'), 'fired 00:00:00', 'one fires'), is(helper.fire('n',
	'2030-01-01 00:01:00+00'), 'fired 00:01:00', 'two'),
	is(helper.fire('n', '2030-01-01 00:02:00+00'), 'fired 00:02:00', 'three');
SELECT haul.register_worker('w') AS w \gset
UPDATE haul.jobs SET run_at = now();
SELECT id, claim FROM haul.checkout(:w, 1) \gset job_
SELECT is(haul.complete(:w, ARRAY[:job_id], ARRAY[:job_claim]), '{}', 'a job ends');
SELECT results_eq(format('SELECT state, started_at IS NOT NULL, finished_at >= started_at, message FROM haul.cron_runs '
	'WHERE job_id = %s', :job_id),
	$$ VALUES ('completed', true, true, NULL) $$, 'and its run with it');
SELECT helper.lose(max(id)) FROM haul.jobs;
UPDATE haul.cron_runs SET state = 'fired', finished_at = NULL, started_at = NULL, fired_at = now() - interval '5 s'
	WHERE job_id = :job_id; -- nobody said a word
SELECT haul.maintain() \g /dev/null
SELECT is((SELECT string_agg(state, ' ' ORDER BY id) FROM haul.cron_runs WHERE name = 'n'), 'fired fired fired',
	'there is time to hear of the end of a job');
UPDATE haul.cron_runs SET fired_at = fired_at - interval '1 min' WHERE name = 'n';
SELECT haul.maintain() \g /dev/null
SELECT is((SELECT string_agg(state, ' ' ORDER BY id) FROM haul.cron_runs WHERE name = 'n'), 'completed fired ended',
	'then maintenance looks what became of it');
SELECT ok((SELECT r.started_at = f.started_at AND r.finished_at = f.finished_at FROM haul.cron_runs AS r
	JOIN haul.finished_jobs AS f ON f.id = r.job_id
	WHERE r.job_id = :job_id), 'with its times');
SET LOCAL haul.keep_cron_runs = '1h';
UPDATE haul.cron_runs SET fired_at = now() - interval '61 min' WHERE name = 'n';
SELECT haul.maintain() \g /dev/null
SELECT results_eq($$ SELECT state FROM haul.cron_runs WHERE name = 'n' $$, ARRAY['fired'],
	'old runs are removed, not one that is not over');
RESET haul.keep_cron_runs;
DELETE FROM haul.workers;
DELETE FROM haul.cron;
DELETE FROM haul.jobs;

-- ---- haul.cron_sync() ----

INSERT INTO haul.jobs (kind) VALUES ('other');
INSERT INTO haul.cron (name, schedule, command) VALUES ('command', '@daily', 'SELECT 1');
SELECT is(haul.cron_sync('[{"name": "a", "schedule": "* * * * *", "kind": "k"},
	{"name": "b", "schedule": "@hourly", "kind": "k", "args": {"x": 1}, "priority": 3, "options": {"max_attempts": 2},
		"timezone": "Europe/Berlin"}]'),
	'{"inserted": ["a", "b"], "updated": [], "removed": []}', 'cron_sync makes what is not there');
UPDATE haul.cron SET next_run_at = CASE name WHEN 'command' THEN '2200-01-01'
	ELSE '2030-01-01' END::date AT TIME ZONE 'UTC';
SELECT haul._fire('2030-01-01 00:00:00+00'), haul._fire('2030-01-01 00:00:01+00') \g /dev/null
SELECT jsonb_agg(c ORDER BY id) AS was FROM haul.cron AS c \gset
SELECT is(haul.cron_sync('[{"name": "a", "schedule": "* * * * *", "kind": "k"},
	{"name": "b", "schedule": "@hourly", "kind": "k", "args": {"x": 1}, "priority": 3, "options": {"max_attempts": 2},
		"timezone": "Europe/Berlin"}]'),
	'{"inserted": [], "updated": [], "removed": []}', 'again: nothing');
SELECT is((SELECT jsonb_agg(c ORDER BY id) FROM haul.cron AS c), :'was', 'is changed');
SELECT is(haul.cron_sync('[{"name": "b", "schedule": "@hourly", "kind": "k"}, {"name": "c", "schedule": "@hourly", '
	'"kind": "k"},
	{"name": "a", "schedule": "* * * * *", "kind": "k"}]'), '{"inserted": ["c"], "updated": ["b"], "removed": []}',
		'what is left out has its default');
SELECT helper.has((SELECT to_jsonb(c) FROM haul.cron AS c WHERE name = 'b'),
	'{"args": {}, "priority": 16383, "options": {}, "timezone": "UTC"}', 'again');
SELECT haul.register_worker('w', '{"queues": ["default"]}') AS w \gset
UPDATE haul.jobs SET run_at = now() WHERE cron_name = 'a';
INSERT INTO haul.jobs (kind, cron_name, run_at) VALUES ('k', 'a', now() + interval '1 h');
INSERT INTO haul.jobs (kind, cron_name, run_at, state) VALUES ('k', 'a', 'infinity', 'waiting');
DELETE FROM haul.jobs WHERE kind = 'other';
SELECT is(helper.checkout_kinds(:w, 1), 'k', 'a job of one runs');
INSERT INTO haul.jobs (kind) VALUES ('other');
SELECT is((SELECT count(*) FROM haul.jobs WHERE cron_name = 'a'), 3::bigint, 'and others of it wait');
SELECT is(haul.cron_sync('[]'), '{"inserted": [], "updated": [], "removed": ["a", "b", "c"]}',
	'an empty list removes all');
SELECT results_eq('SELECT name FROM haul.cron', $$ VALUES ('command' COLLATE "C") $$, 'but commands');
SELECT results_eq('SELECT kind, state FROM haul.jobs ORDER BY kind', $$ VALUES ('k' COLLATE "C", 'running'), ('other',
	'ready') $$,
	'with the jobs that wait, and no others');
SELECT is((SELECT string_agg(name || ' ' || state, ', ' ORDER BY name) FROM haul.cron_runs WHERE name IN ('a', 'b')),
	'a fired, b cancelled', 'which is noted');
SELECT is(r.state || ' ' || r.message, problem, schedules)
	FROM (VALUES
	('{}', '22023 schedules must be a JSON array of objects'),
	('[1]', '22023 schedules must be a JSON array of objects, but one item is 1'),
	('[{"name": "a", "schedule": "@daily", "kind": "k", "crontab": 1}]', '22023 a schedule has no "crontab"'),
	('[{"name": "a", "schedule": "@daily", "kind": "k", "command": "SELECT 1"}]', '22023 a schedule has no "command"'),
	('[{"name": "a", "schedule": "@daily", "kind": "k"}, {"name": "a", "schedule": "@daily", "kind": "k"}]',
		'22023 two schedules have the name "a"'),
	('[{"name": "command", "schedule": "@daily", "kind": "k"}]', '22023 schedule "command" runs a command'),
	('[{"schedule": "@daily", "kind": "k"}]', '23502 haul.cron.name must not be null'),
	('[{"name": "a", "schedule": "@daily"}]',
		'23514 haul.cron.kind must be given if, and only if, there is no command, not "null"'),
	('[{"name": "new", "schedule": "@daily", "kind": "k"}, {"name": "z", "schedule": "@daily", "kind": "k", "overlap": '
		'"x"}]',
		'23514 haul.cron.overlap must be skip, allow or queue, not "x"')) AS v (schedules, problem),
	helper.refusal(format('SELECT haul.cron_sync(%L)', schedules)) AS r;
SELECT is((helper.refusal('SELECT haul.cron_sync(NULL)')).state, '22023', 'not null');
SELECT results_eq('SELECT name FROM haul.cron', $$ VALUES ('command' COLLATE "C") $$, 'all or nothing');
DELETE FROM haul.workers;
DELETE FROM haul.cron;
DELETE FROM haul.jobs;

-- ---- who may ----

CREATE ROLE haul_test_admin;
CREATE ROLE haul_test_rival;
CREATE ROLE haul_test_deputy IN ROLE haul_test_admin;
CREATE ROLE haul_test_producer;
CREATE ROLE haul_test_worker;
SELECT haul.grant_admin('haul_test_admin'), haul.grant_admin('haul_test_rival'), haul.grant_admin('haul_test_deputy'),
	haul.grant_producer('haul_test_producer'), haul.grant_worker('haul_test_worker');
GRANT USAGE ON SCHEMA helper TO PUBLIC;
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
SELECT is(helper.as_role('haul_test_admin', statement), 'ok', 'admin: ' || statement) FROM unnest(ARRAY[
	$$ INSERT INTO haul.cron (name, schedule, kind) VALUES ('job', '@daily', 'k') $$,
	$$ INSERT INTO haul.cron (name, schedule, command) VALUES ('command', '@daily', 'SELECT 1') $$,
	$$ UPDATE haul.cron SET schedule = '@hourly', overlap = 'allow' $$,
	$$ SELECT * FROM haul.cron_status $$,
	$$ SELECT haul.cron_sync('[{"name": "job", "schedule": "@daily", "kind": "k"},
		{"name": "other", "schedule": "@daily", "kind": "k"}]') $$]) AS statement;
SELECT results_eq('SELECT DISTINCT owner FROM haul.cron', ARRAY['haul_test_admin']::name[],
	'who makes a schedule owns it');
SELECT is(helper.as_role('haul_test_admin', statement), '42501', 'admin, not: ' || statement) FROM unnest(ARRAY[
	$$ INSERT INTO haul.cron (name, schedule, kind, owner) VALUES ('forged', '@daily', 'k', 'postgres') $$,
	$$ INSERT INTO haul.cron (name, schedule, kind, next_run_at) VALUES ('forged', '@daily', 'k', now()) $$,
	$$ UPDATE haul.cron SET owner = 'postgres' $$,
	$$ UPDATE haul.cron SET next_run_at = now() $$,
	$$ UPDATE haul.cron SET last_run_at = now() $$,
	$$ DELETE FROM haul.cron_runs $$,
	$$ SELECT haul._fire() $$]) AS statement;
CREATE VIEW helper.command AS SELECT id FROM haul.cron WHERE name = 'command';
GRANT SELECT ON helper.command TO PUBLIC;
SELECT is(helper.as_role('haul_test_rival', statement), '42501', 'another admin, not: ' || statement) FROM unnest(ARRAY[
	$$ SELECT haul.alter_job(id, command => 'SELECT 2') FROM helper.command $$,
	$$ SELECT haul.unschedule(id) FROM helper.command $$,
	$$ SELECT haul.unschedule('command') $$,
	$$ UPDATE haul.cron SET command = 'SELECT 2', kind = NULL WHERE name = 'job' $$,
	$$ UPDATE haul.cron SET owner = 'haul_test_rival' $$,
	$$ UPDATE haul.cron SET owner = 'postgres' WHERE name = 'job' $$]) AS statement;
SELECT is(helper.as_role('haul_test_rival', statement), 'ok', 'another admin: ' || statement) FROM unnest(ARRAY[
	$$ UPDATE haul.cron SET schedule = '@hourly' WHERE name = 'job' $$,
	$$ DELETE FROM haul.cron WHERE name = 'other' $$,
	-- of which they see nothing
	$$ UPDATE haul.cron SET command = 'SELECT 2' WHERE name = 'command' $$,
	$$ UPDATE haul.cron SET command = NULL, kind = 'k' WHERE name = 'command' $$,
	$$ DELETE FROM haul.cron WHERE command = 'SELECT 1' $$]) AS statement;
SELECT results_eq($$ SELECT command FROM haul.cron WHERE name = 'command' $$, $$ VALUES ('SELECT 1'::text) $$,
	'a command of another stays as it is');
SELECT is(helper.as_role('haul_test_deputy', statement), 'ok', 'a member of the owner: ' || statement)
	FROM unnest(ARRAY[
	$$ UPDATE haul.cron SET command = 'SELECT 3' WHERE name = 'command' $$,
	$$ UPDATE haul.cron SET owner = 'haul_test_deputy' WHERE name = 'command' $$]) AS statement;
SELECT is(helper.as_role('haul_test_admin', $$ SELECT haul.unschedule('command') $$), '42501',
	'then it is not the other''s any more');
SELECT is((helper.refusal($$ UPDATE haul.cron SET owner = 'haul_test_absent' WHERE name = 'job' $$)).state, '42704',
	'an owner must exist');
-- A function with the rights of its owner acts for its owner.
CREATE FUNCTION helper.schedule() RETURNS void LANGUAGE sql SECURITY DEFINER
AS $$ INSERT INTO haul.cron (name, schedule, command) VALUES ('definer', '@daily', 'SELECT 1') $$;
CREATE FUNCTION helper.schedule_invoker() RETURNS void LANGUAGE sql
AS $$ INSERT INTO haul.cron (name, schedule, command) VALUES ('invoker', '@daily', 'SELECT 1') $$;
SELECT is(helper.as_role('haul_test_rival', 'SELECT helper.schedule(), helper.schedule_invoker()'), 'ok',
	'functions make schedules');
SELECT results_eq($$ SELECT name, owner FROM haul.cron WHERE name IN ('definer', 'invoker') ORDER BY 1 $$,
	$$ VALUES ('definer' COLLATE "C", 'postgres'::name), ('invoker', 'haul_test_rival') $$, 'for whom they act');
SELECT is(helper.as_role(role, statement), '42501', role || ', not: ' || statement)
	FROM unnest(ARRAY['haul_test_producer', 'haul_test_worker']) AS role, unnest(ARRAY[
	$$ SELECT * FROM haul.cron $$,
	$$ INSERT INTO haul.cron (name, schedule, kind) VALUES ('p', '@daily', 'k') $$,
	$$ DELETE FROM haul.cron $$,
	$$ SELECT haul.cron_sync('[]') $$,
	$$ SELECT haul._fire() $$]) AS statement;
-- Jobs are enqueued for the owner, by whoever fires them.
UPDATE haul.cron SET owner = 'haul_test_admin' WHERE name = 'job';
SELECT helper.plan('job', date_trunc('hour', clock_timestamp()));
SELECT is(helper.as_role('haul_test_worker', 'SELECT haul.maintain()'), 'ok', 'a worker fires');
SELECT is((SELECT enqueued_by FROM haul.jobs WHERE cron_name = 'job'), 'haul_test_admin'::text, 'for the owner');
SELECT is(current_setting('haul.enqueuer'), '', 'and nobody else');

\ir include/finish.psql
