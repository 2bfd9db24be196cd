-- Every part of the surface works as the first thing that a session does: without preloading, the library is loaded by
-- the first call into it, and settings exist only from then on. So each statement gets a session of its own, in a
-- database of its own, where it is committed.
\set database haul_test_first_call
\ir include/own_database.psql
CREATE TABLE outcomes (n integer GENERATED ALWAYS AS IDENTITY, what text, outcome text);

-- psql goes on after an error, so that a statement that fails is one test that fails.
\set ON_ERROR_STOP off
\c
INSERT INTO outcomes (what, outcome) SELECT 'cleanup_workers', haul.cleanup_workers();
\c
INSERT INTO outcomes (what, outcome) SELECT 'maintain', haul.maintain() ->> 'ran';
\c
INSERT INTO outcomes (what, outcome) SELECT 'prune', haul._prune_history();
\c
INSERT INTO haul.jobs (kind) VALUES ('first'), ('second'), ('third');
INSERT INTO outcomes (what, outcome) SELECT 'insert', count(*) FROM haul.jobs;
\c
INSERT INTO outcomes (what, outcome) SELECT 'register_worker', haul.register_worker('w');
\c
INSERT INTO outcomes (what, outcome) SELECT 'next_due', haul.next_due(1);
\c
INSERT INTO outcomes (what, outcome) SELECT 'checkout', string_agg(kind, ' ') FROM haul.checkout(1, 2);
\c
INSERT INTO outcomes (what, outcome) SELECT 'heartbeat', haul.heartbeat(1);
\c
INSERT INTO outcomes (what, outcome) SELECT 'complete', haul.complete(1, ARRAY[1], ARRAY[1]);
\c
INSERT INTO outcomes (what, outcome) SELECT 'fail', haul.fail(1, 2, 1, 'e');
\c
INSERT INTO outcomes (what, outcome) SELECT 'backoff', run_at > now() + interval '6 s' FROM haul.jobs WHERE id = 2;
\c
INSERT INTO outcomes (what, outcome) SELECT 'enqueue', haul.enqueue('fourth');
\c
INSERT INTO outcomes (what, outcome) SELECT 'backoff_delay', haul.backoff_delay('linear', 1);
\c
INSERT INTO outcomes (what, outcome) SELECT 'kinds', count(*) FROM haul.kinds;
INSERT INTO haul.kinds (kind, backoff) VALUES ('k', 'linear');
\c
DELETE FROM haul.jobs WHERE id = 3;
DELETE FROM haul.workers;
INSERT INTO outcomes (what, outcome) SELECT 'delete', count(*) FROM haul.jobs;
\c
SET haul.backoff_jitter = 0.5;
INSERT INTO outcomes (what, outcome) SELECT 'a setting before its time',
	haul.backoff_delay('linear', 1) || ' ' || current_setting('haul.backoff_jitter');
\c
INSERT INTO outcomes (what, outcome) SELECT 'counters',
	sum(dispatches) || ' ' || sum(completions) || ' ' || sum(failures) || ' ' || sum(drops) FROM haul.counters;
\c
INSERT INTO haul.cron (name, schedule, kind) VALUES ('c', '@yearly', 'scheduled');
INSERT INTO outcomes (what, outcome) SELECT 'schedule', next_run_at > now() FROM haul.cron;
\c
INSERT INTO outcomes (what, outcome) SELECT 'fire', fired FROM haul._fire('2100-01-01');
\c
INSERT INTO outcomes (what, outcome) SELECT 'sync', haul.cron_sync('[]') -> 'removed' ->> 0;
\c
SET client_min_messages = warning;

SELECT no_plan();
SELECT results_eq('SELECT what, outcome FROM outcomes ORDER BY n', $$ VALUES
	('cleanup_workers', '0'), ('maintain', 'true'), ('prune', '0'), ('insert', '3'), ('register_worker', '1'),
		('next_due', '00:00:00'), ('checkout', 'first second'),
	('heartbeat', 'true'), ('complete', '{}'), ('fail', 'ready'), ('backoff', 'true'), ('enqueue', '4'),
		('backoff_delay', '00:00:05'), ('kinds', '0'), ('delete', '2'),
	('a setting before its time', '00:00:05 0.5'), ('counters', '2 1 1 1'),
		('schedule', 'true'), ('fire', '1'), ('sync', 'c') $$,
		'each works as the first call of its session');
SELECT * FROM finish();
\c :home
DROP DATABASE haul_test_first_call;
