-- Where no background worker serves the database, enqueuers notify workers themselves, on channel "haul": one for each
-- queue that got work, at commit. Needs commits, hence a database of its own.
\set database haul_test_wakeups
\ir include/own_database.psql
\ir include/unserved.psql
LISTEN haul;

-- psql writes the notifications of its own session beside the results of the statement after which it got them.
\set file `mktemp /tmp/haul.XXXXXX`
\setenv HAUL_NOTIFICATIONS :file

SELECT no_plan();

\o :file
INSERT INTO haul.jobs (kind, queue) SELECT 'k', CASE n % 2 WHEN 0 THEN 'even' ELSE 'odd' END
	FROM generate_series(1, 100) AS n;
INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'single');
\ir include/heard.psql
SELECT is(:'got'::text, '<even><odd><single>', 'a statement notifies once for each queue');

\o :file
BEGIN;
INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'q');
INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'q');
COPY haul.jobs (kind, queue) FROM STDIN;
k	copied
k	q
\.
SELECT haul.enqueue('k', queue => 'q');
SELECT 'nothing yet';
COMMIT;
\ir include/heard.psql
SELECT is(:'got'::text, '<copied><q>', 'so does a transaction, when it commits');

\o :file
INSERT INTO haul.jobs (kind, queue, unique_key) VALUES ('u', 'keyed', 'k'), ('u', 'keyed', 'k2');
\ir include/heard.psql
SELECT is(:'got'::text, '<keyed>', 'jobs with unique keys notify');

\o :file
INSERT INTO haul.jobs (kind, queue, unique_key) VALUES ('u', 'duplicate', 'k') ON CONFLICT DO NOTHING;
SELECT haul.enqueue('u', queue => 'duplicate', unique_key => 'k');
SELECT haul.enqueue_many('[{"kind": "u", "queue": "duplicate", "unique_key": "k"}]');
\ir include/heard.psql
SELECT is(:'got'::text, '', 'duplicates do not');

\o :file
INSERT INTO haul.jobs (kind, queue, unique_key, run_at) VALUES ('u', 'duplicate', 'k2', now() + interval '1 hour')
	ON CONFLICT (kind, unique_key) WHERE unique_key IS NOT NULL DO UPDATE SET priority = 1;
\ir include/heard.psql
SELECT is(:'got'::text, '<keyed>', 'what they change does');

\o :file
BEGIN;
INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'q');
ROLLBACK;
SELECT 1;
\ir include/heard.psql
SELECT is(:'got'::text, '', 'what is rolled back wakes nobody');
SELECT is_empty($$ SELECT FROM haul.jobs WHERE queue = 'q' OFFSET 4 $$, 'and leaves no job');

\o :file
INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'a;b:c"d''e🙂 \ %s');
SELECT 1;
\ir include/heard.psql
SELECT is(:'got'::text, '<a;b:c"d''e🙂 \ %s>', 'the payload is the queue, whatever its characters');

\o :file
INSERT INTO haul.jobs (kind, queue, state) VALUES ('k', 'waits', 'waiting');
SELECT 1;
\ir include/heard.psql
SELECT is(:'got'::text, '', 'a job that waits wakes nobody');
\o :file
UPDATE haul.jobs SET state = 'ready' WHERE state = 'waiting';
SELECT 1;
\ir include/heard.psql
SELECT is(:'got'::text, '<waits>', 'until it becomes ready');

SELECT haul.register_worker('w', '{"queues": ["q", "single"]}') AS w \gset
\o :file
CREATE TABLE held AS SELECT * FROM haul.checkout(:w, 5);
SELECT haul.complete(:w, ARRAY[id], ARRAY[claim]) FROM held WHERE queue = 'single';
\ir include/heard.psql
SELECT is(:'got'::text, '', 'neither checkout nor completion wakes anybody');
\o :file
SELECT haul.release(:w, ARRAY[id], ARRAY[claim]) FROM (SELECT * FROM held WHERE queue = 'q' ORDER BY id LIMIT 1) AS h;
SELECT 1;
\ir include/heard.psql
SELECT is(:'got'::text, '<q>', 'a job given back does');
\o :file
SELECT haul.fail(:w, id, claim, 'e', retry_queue => 'elsewhere')
	FROM (SELECT * FROM held WHERE queue = 'q' ORDER BY id DESC LIMIT 1) AS h;
SELECT 1;
\ir include/heard.psql
SELECT is(:'got'::text, '<elsewhere>', 'a retry does, in its queue');
\o :file
DELETE FROM haul.workers;
SELECT 1;
\ir include/heard.psql
SELECT is(:'got'::text, '<q>', 'so do the jobs of a worker that is gone');

SELECT * FROM finish();
\! rm -f "$HAUL_NOTIFICATIONS"
ALTER SYSTEM RESET haul.databases;
SELECT pg_reload_conf() \g /dev/null
\c :home
DROP DATABASE haul_test_wakeups;
