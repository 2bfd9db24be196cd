-- Replies to those who enqueued jobs.
\ir include/prelude.psql
SELECT no_plan();

CREATE ROLE haul_test_alice;
CREATE ROLE haul_test_bob;
SELECT haul.grant_producer('haul_test_alice'), haul.grant_producer('haul_test_bob');
GRANT USAGE ON SCHEMA helper TO haul_test_alice, haul_test_bob;
SELECT haul.register_worker('w', '{"queues": ["q"]}') AS w \gset

SET LOCAL ROLE haul_test_alice;
INSERT INTO haul.jobs (kind, queue, reply_to, keep) VALUES ('good', 'q', 'alice-1', '0');
INSERT INTO haul.jobs (kind, queue, reply_to, max_attempts, backoff) VALUES ('bad', 'q', 'alice-1', 2, 'constant(0)');
INSERT INTO haul.jobs (kind, queue) VALUES ('silent', 'q');
SELECT array_agg(c) AS chained
	FROM haul.chain('[{"kind": "first", "queue": "q"}, {"kind": "second", "queue": "q", "reply_to": "alice-1"}]')
	AS c \gset
RESET ROLE;
SET LOCAL ROLE haul_test_bob;
INSERT INTO haul.jobs (kind, queue, reply_to) VALUES ('other', 'q', 'alice-1');
RESET ROLE;
SELECT is((SELECT array_agg(enqueued_by) FROM haul.jobs WHERE id = ANY (:'chained')), ARRAY['haul_test_alice',
	'haul_test_alice']::text[], 'the jobs of a workflow belong to whoever made it');
SELECT is((SELECT created_by FROM haul.workflows), 'haul_test_alice', 'so does the workflow');

CREATE TEMP TABLE held AS SELECT * FROM haul.checkout(:w, 10);
CREATE FUNCTION helper.id(kind text) RETURNS bigint LANGUAGE sql AS $$ SELECT id FROM held WHERE held.kind = id.kind $$;
SELECT is_empty('SELECT FROM haul.replies', 'nothing is told of jobs that run');
SELECT is(haul.complete(:w, ARRAY[helper.id('good'), helper.id('silent'), helper.id('other')], ARRAY[1, 1, 1],
	ARRAY['{"n": 1}', '2', '3']::jsonb[]), '{}', 'three complete');
SELECT is(haul.fail(:w, helper.id('bad'), 1, 'no'), 'ready', 'one fails');
SELECT results_eq('SELECT reply_to, job_id, claim, attempt, state, result, error, repeats, finished_at <= '
	'clock_timestamp(), enqueued_by FROM haul.replies ORDER BY id',
	format($$ VALUES ('alice-1' COLLATE "C", %s::bigint, 1, 1, 'completed', '{"n": 1}'::jsonb, NULL, false, true,
		'haul_test_alice'),
		('alice-1', %s, 1, 1, 'completed', '3', NULL, false, true, 'haul_test_bob') $$, helper.id('good'),
			helper.id('other')),
	'those with a reply_to are told, also when they are not kept; a failure that is not the last is not');
SELECT is((SELECT count(*) FROM haul.checkout(:w, 1)), 1::bigint, 'the second attempt');
SELECT is(haul.fail(:w, helper.id('bad'), 2, 'no, again'), 'failed', 'is the last');
SELECT is((SELECT haul.discard(:w, id, 1, 'nothing') FROM held WHERE kind = 'first'), true,
	'the first of a chain is discarded');
SELECT results_eq('SELECT job_id, attempt, state, error FROM haul.replies ORDER BY id OFFSET 2',
	format($$ VALUES (%s::bigint, 2, 'failed', 'no, again'), (%s, 0, 'cancelled', '"1" (job %s) was discarded') $$,
		helper.id('bad'), (:'chained'::bigint[])[2], helper.id('first')),
	'ends without success are told, with the reason');

-- Everybody sees his own.
SET LOCAL ROLE haul_test_alice;
SELECT count(*) AS n FROM haul.my_replies \gset
WITH taken AS (DELETE FROM haul.my_replies WHERE reply_to = 'alice-1' RETURNING state) SELECT string_agg(state, ' ')
	AS taken FROM taken \gset
RESET ROLE;
SELECT is(:n, 3, 'a role sees what it enqueued');
SELECT is(:'taken'::text, 'completed failed cancelled', 'and takes it');
SELECT is((SELECT array_agg(enqueued_by) FROM haul.replies), ARRAY['haul_test_bob']::text[], 'those of others stay');
SET LOCAL ROLE haul_test_alice;
SELECT state AS refused FROM helper.refusal('SELECT * FROM haul.replies') \gset
SELECT state AS refused2 FROM helper.refusal($$ INSERT INTO haul.my_replies (reply_to) VALUES ('x') $$) \gset
RESET ROLE;
SELECT is(ARRAY[:'refused', :'refused2'], ARRAY['42501', '42501'], 'not the table, nor can it write any');

-- A job that is deleted by hand.
INSERT INTO haul.jobs (kind, queue, reply_to) VALUES ('gone', 'q', 'me') RETURNING id \gset
DELETE FROM haul.jobs WHERE id = :id;
SELECT is((SELECT state || ' ' || error FROM haul.replies WHERE job_id = :id), 'cancelled the job was deleted',
	'counts as cancelled');

-- Dropped when nobody takes them.
SET LOCAL haul.keep_replies = '1 h';
UPDATE haul.replies SET finished_at = finished_at - interval '2 h' WHERE enqueued_by = 'haul_test_bob';
SELECT is((haul.maintain() ->> 'replies_dropped')::integer, 1, 'old ones are dropped');
SELECT is((SELECT array_agg(job_id) FROM haul.replies), ARRAY[:id]::bigint[], 'others stay');
\ir include/finish.psql
