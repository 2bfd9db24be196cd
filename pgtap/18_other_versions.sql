-- SQL that is not what the library expects is told apart, before anything is read from or written to a wrong column.
\ir include/prelude.psql
SELECT plan(11);

SELECT haul.register_worker('w') AS w \gset
INSERT INTO haul.jobs (kind) VALUES ('a');
SELECT lives_ok(format('SELECT haul.heartbeat(%s)', :w), 'all is well');

-- Any change of a table of ours has the session look again.
SAVEPOINT before;
UPDATE pg_extension SET extversion = '0.0.7' WHERE extname = 'pg_haul';
ALTER TABLE haul.workers SET (fillfactor = 51);
SELECT throws_like(format('SELECT haul.heartbeat(%s)', :w),
	'the library pg_haul is of version %, but the extension in database "%" of version 0.0.7', 'another version');
SELECT is((SELECT hint FROM helper.refusal($$INSERT INTO haul.jobs (kind) VALUES ('b')$$)),
	'Run ALTER EXTENSION pg_haul UPDATE. Where that was done, sessions still have the library from before: reconnect, '
	'or restart a server that preloads it.', 'and what to do');
ROLLBACK TO before;
SELECT lives_ok(format('SELECT haul.heartbeat(%s)', :w), 'the right version again');

ALTER TABLE haul.jobs RENAME worker_id TO worker;
SELECT throws_ok(format('SELECT haul.checkout(%s)', :w), '55000', 'haul.jobs has no column "worker_id"',
	'a column renamed');
SELECT throws_ok($$INSERT INTO haul.jobs (kind) VALUES ('b')$$, '55000', 'haul.jobs has no column "worker_id"',
	'by INSERT, too');
ROLLBACK TO before;
ALTER TABLE haul.queues ALTER priority TYPE integer;
INSERT INTO haul.queues (name) VALUES ('default');
SELECT throws_ok(format('SELECT haul.checkout(%s)', :w), '55000',
	'column "priority" of haul.queues has the type integer, not smallint', 'a column of another type');
ROLLBACK TO before;
ALTER TABLE haul.workers DROP COLUMN queue_order;
SELECT throws_ok(format('SELECT haul.checkout(%s)', :w), '55000', 'haul.workers has no column "queue_order"',
	'a column dropped');
ROLLBACK TO before;
ALTER TABLE haul.finished_jobs DROP COLUMN unique_until;
SELECT id, claim FROM haul.checkout(:w) \gset
SELECT throws_like(format('SELECT haul.complete(%s, ARRAY[%s], ARRAY[%s])', :w, :id, :claim),
	'haul.finished_jobs_% has no column "unique_until"', 'a column of the history dropped');
ROLLBACK TO before;
SELECT id, claim FROM haul.checkout(:w) \gset
SELECT is(haul.complete(:w, ARRAY[:id], ARRAY[:claim]), '{}', 'nothing is left of all that');
SELECT is(haul.maintain() ->> 'ran', 'true', 'nor for maintenance');
\ir include/finish.psql
