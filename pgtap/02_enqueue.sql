-- Every way to enqueue a job.
\ir include/prelude.psql
SELECT no_plan();

-- INSERT
INSERT INTO haul.jobs (kind) VALUES ('bare') RETURNING id AS bare \gset
SELECT results_eq(
	format($$ SELECT queue, kind, args, priority::integer, state, attempt, max_attempts, claim, backoff, on_timeout,
		on_interrupt,
		interruptions::integer, unique_key, unique_until, concurrency_limit, pin_strict FROM haul.jobs WHERE id = %s $$,
			:bare),
	$$ VALUES ('default' COLLATE "C", 'bare' COLLATE "C", '{}'::jsonb, 16383, 'ready', 0, 21, 0, NULL, 'retry', 'retry',
		0,
		NULL COLLATE "C", 'finished', 1, false) $$,
	'a bare INSERT takes the defaults');
SELECT results_eq(
	format('SELECT run_at, enqueued_at, enqueued_by FROM haul.jobs WHERE id = %s', :bare),
	'SELECT now(), now(), current_user::text COLLATE "default"', 'among them the time and the role');
SELECT results_eq(
	format('SELECT worker_id, lease_id, started_at, interrupted_at, last_error, progress, expires_at FROM haul.jobs WHERE '
		'id = %s',
		:bare),
	'SELECT NULL::bigint, NULL::bigint, NULL::timestamptz, NULL::timestamptz, NULL::text, NULL::jsonb, NULL::timestamptz',
	'it belongs to nobody');

WITH many AS (INSERT INTO haul.jobs (kind, queue) VALUES ('m1', 'multi'), ('m2', 'multi'), ('m3', 'multi')
	RETURNING id, kind)
	SELECT is(array_agg(kind ORDER BY id), ARRAY['m1', 'm2', 'm3'] COLLATE "C",
		'a multi-row INSERT gives ids in the order of its rows') FROM many;

INSERT INTO haul.jobs (kind, queue, args) SELECT 'sel', 'select', jsonb_build_object('n', n)
	FROM generate_series(1, 1000) AS n;
SELECT is((SELECT sum((args ->> 'n')::integer) FROM haul.jobs WHERE queue = 'select'), 500500::bigint,
	'INSERT ... SELECT keeps each row''s args');

COPY haul.jobs (kind, queue, args, priority, run_at, max_attempts, backoff) FROM STDIN;
copied	copy	{"n": 1}	1	2000-01-01 00:00:00+00	3	linear(5)
copied	copy	{"n": 2}	32767	2999-01-01 00:00:00+00	1	\N
\.
SELECT results_eq(
	$$ SELECT args, priority::integer, run_at, max_attempts, backoff, enqueued_by, state FROM haul.jobs
		WHERE queue = 'copy' ORDER BY id $$,
	$$ VALUES ('{"n": 1}'::jsonb, 1, '2000-01-01 00:00:00+00'::timestamptz, 3, 'linear(5)',
		current_user::text COLLATE "default", 'ready'),
			  ('{"n": 2}', 32767, '2999-01-01 00:00:00+00', 1, NULL, current_user::text COLLATE "default", 'ready') $$,
	'COPY FROM STDIN takes what it is given and fills in the rest');
COPY haul.jobs (kind) FROM STDIN (FORMAT csv);
"kind, with ""quotes"""
\.
SELECT isnt_empty($$ SELECT FROM haul.jobs WHERE kind = 'kind, with "quotes"' AND queue = 'default' $$,
	'COPY of one column works');

-- What the caller cannot choose
CREATE ROLE haul_test_enqueuer;
SELECT haul.grant_producer('haul_test_enqueuer');
SET LOCAL ROLE haul_test_enqueuer;
INSERT INTO haul.jobs (kind) VALUES ('mine') RETURNING id AS mine \gset
RESET ROLE;
SELECT is((SELECT enqueued_by FROM haul.jobs WHERE id = :mine), 'haul_test_enqueuer',
	'enqueued_by is the current role');

-- Queue timeout
INSERT INTO haul.jobs (kind, queue_timeout) VALUES ('e', '10 minutes') RETURNING id AS e \gset
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = :e), now() + interval '10 minutes',
	'queue_timeout counts from the enqueue');
INSERT INTO haul.jobs (kind, queue_timeout, run_at) VALUES ('e', '10 minutes', now() + interval '1 day')
	RETURNING id AS e \gset
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = :e), now() + interval '1 day 10 minutes',
	'or from run_at, where that is later');
UPDATE haul.jobs SET run_at = now() + interval '2 days' WHERE id = :e;
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = :e), now() + interval '2 days 10 minutes',
	'it follows a change of run_at');
UPDATE haul.jobs SET queue_timeout = '1 hour' WHERE id = :e;
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = :e), now() + interval '2 days 1 hour',
	'and a change of queue_timeout');
UPDATE haul.jobs SET queue_timeout = NULL WHERE id = :e;
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = :e), NULL, 'and goes with it');
UPDATE haul.jobs SET queue_timeout = '1 hour', expires_at = now() + interval '3 days' WHERE id = :e;
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = :e), now() + interval '3 days',
	'unless expires_at is given, too');
INSERT INTO haul.jobs (kind, queue_timeout, run_at) VALUES ('e', '10 minutes', now() - interval '1 day')
	RETURNING id AS e \gset
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = :e), now() + interval '10 minutes',
	'run_at in the past does not shorten it');
INSERT INTO haul.jobs (kind, expires_at) VALUES ('e', now() + interval '5 minutes') RETURNING id AS e \gset
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = :e), now() + interval '5 minutes', 'expires_at alone is kept');

-- haul.enqueue
SELECT haul.enqueue('plain') AS plain \gset
SELECT is(helper.job(:plain) - ARRAY['id', 'kind'], helper.job(:bare) - ARRAY['id', 'kind'],
	'haul.enqueue(kind) has the defaults of INSERT');
SELECT haul.enqueue('full', '{"a": [1, 2]}', queue => 'fn', priority => 7, run_at => '2999-12-31 12:00+00',
	max_attempts => 4,
	backoff => 'constant(3)', timeout => '90 seconds', on_timeout => 'discard', queue_timeout => '2 hours',
		on_interrupt => 'fail',
	unique_key => 'u-full', unique_until => 'started', concurrency_key => 'ck', concurrency_limit => 3, pin => 'w1',
		pin_strict => true,
	avoid => '{w2,w3}', every => '1 day', reply_to => 'r', keep => '3 days') AS full \gset
SELECT is(helper.job(:full) - ARRAY['run_at', 'expires_at', 'enqueued_at'],
	helper.job(:bare) - ARRAY['run_at', 'expires_at', 'enqueued_at']
	|| jsonb_build_object('id',
		:full) || '{"kind": "full", "args": {"a": [1, 2]}, "queue": "fn", "priority": 7, "max_attempts": 4,
	"backoff": "constant(3)", "timeout": "00:01:30", "on_timeout": "discard", "queue_timeout": "02:00:00",
		"on_interrupt": "fail",
	"unique_key": "u-full", "unique_until": "started", "concurrency_key": "ck", "concurrency_limit": 3, "pin": "w1",
		"pin_strict": true,
	"avoid": ["w2", "w3"], "every": "1 day", "reply_to": "r", "keep": "3 days"}',
		'every option of haul.enqueue reaches its column');
SELECT results_eq(format('SELECT run_at, expires_at FROM haul.jobs WHERE id = %s', :full),
	$$ VALUES ('2999-12-31 12:00+00'::timestamptz, '2999-12-31 14:00+00'::timestamptz) $$, 'so do the times');
SELECT throws_ok($$ SELECT haul.enqueue(NULL) $$, '23502', NULL, 'haul.enqueue refuses what INSERT refuses: no kind');
SELECT throws_ok($$ SELECT haul.enqueue('x', '[]') $$, '23514', NULL, 'args that are no object');
SELECT throws_ok($$ SELECT haul.enqueue('x', queue => '') $$, '23514', NULL, 'an empty queue');

-- haul.enqueue_many
CREATE TEMP TABLE made AS SELECT *
	FROM
	haul.enqueue_many('[{"kind": "n1", "queue": "many"}, {"kind": "n2", "queue": "many", "priority": 3, "args": {"x": 1}},
	{"kind": "n3", "queue": "many", "run_at": "2999-01-01T00:00:00Z", "avoid": ["w"], "keep": "1 hour", "priority": null,
		"max_attempts": 2}]')
	WITH ORDINALITY AS t (id, n);
SELECT results_eq(
	$$ SELECT j.kind, j.priority::integer, j.args, j.avoid, j.keep, j.max_attempts, j.run_at = '2999-01-01T00:00:00Z'
		FROM made JOIN haul.jobs AS j USING (id) ORDER BY n $$,
	$$ VALUES ('n1' COLLATE "C", 16383, '{}'::jsonb, NULL::text[], NULL::interval, 21, false),
		('n2', 3, '{"x": 1}', NULL, NULL, 21, false),
			  ('n3', 16383, '{}', '{w}', '1 hour', 2, true) $$,
	'haul.enqueue_many returns ids in the order of the array; null is the default');
SELECT is_empty($$ SELECT * FROM haul.enqueue_many('[]') $$, 'an empty array is no job');
SELECT is((SELECT count(*) FROM haul.enqueue_many((SELECT jsonb_agg(jsonb_build_object('kind', 'bulk', 'queue', 'bulk'))
	FROM generate_series(1, 5000)))),
	5000::bigint, 'five thousand at once');
SELECT haul.enqueue_many($$[{"kind": "all", "queue": "fn", "priority": 7, "args": {"a": [1, 2]},
	"run_at": "2999-12-31 12:00+00", "max_attempts": 4,
	"backoff": "constant(3)", "timeout": "90 seconds", "on_timeout": "discard", "queue_timeout": "2 hours",
		"on_interrupt": "fail",
	"unique_key": "u-all", "unique_until": "started", "concurrency_key": "ck", "concurrency_limit": 3, "pin": "w1",
		"pin_strict": true,
	"avoid": ["w2", "w3"], "every": "1 day", "reply_to": "r", "keep": "3 days"}]$$) AS all \gset
SELECT is(helper.job(:all) - ARRAY['id', 'kind', 'unique_key'], helper.job(:full) - ARRAY['id', 'kind', 'unique_key'],
	'haul.enqueue_many takes the options of haul.enqueue');

SELECT is(r.state, '22023', 'haul.enqueue_many refuses an unknown key'),
	   matches(r.message, 'prio\M', 'and names it'), matches(r.hint, 'priority', 'and hints at the known ones')
	FROM
		helper.refusal($$ SELECT
		haul.enqueue_many('[{"kind": "ok-1", "queue": "refused"}, {"kind": "x", "prio": 1}]') $$) AS r;
SELECT throws_ok(format('SELECT haul.enqueue_many(%L)', bad), '22023', NULL,
	'haul.enqueue_many refuses ' || coalesce(bad, 'NULL'))
	FROM unnest(ARRAY['{}', '{"kind": "x"}', '"x"', '1', 'null', '[1]', '[{"kind": "x"}, []]', '[null]', NULL]) AS bad;
SELECT throws_ok($$ SELECT
	haul.enqueue_many('[{"kind": "ok-1", "queue": "refused"}, {"kind": "", "queue": "refused"}]') $$, '23514', NULL,
	'one bad job refuses them all');
SELECT throws_ok($$ SELECT haul.enqueue_many('[{"kind": "ok-1", "queue": "refused"}, {"queue": "refused"}]') $$,
	'23502', NULL, 'a job without a kind');
SELECT throws_ok($$ SELECT haul.enqueue_many('[{"kind": "ok-1", "queue": "refused", "state": "running"}]') $$, '22023',
	NULL, 'state is no option');
SELECT is_empty($$ SELECT FROM haul.jobs WHERE queue = 'refused' $$, 'nothing of those calls stays');

-- Odd names and large arguments survive the way to the worker.
SELECT $$a;b:c"d'e🙂$$ AS odd \gset
INSERT INTO haul.jobs (queue, kind) VALUES (:'odd', :'odd');
INSERT INTO haul.jobs (queue, kind) SELECT q, 'k' || n
	FROM unnest(ARRAY[' ', '*', '-a', 'a,b', '%s', '{}', 'NULL', E'tab\tnew\nline', repeat('🙂', 63)]) WITH
		ORDINALITY AS t (q, n);
SELECT haul.register_worker('odd', jsonb_build_object('queues', jsonb_build_array(:'odd'))) AS w \gset
SELECT is((SELECT queue FROM haul.checkout(:w, 10)), :'odd' COLLATE "C",
	'a queue with odd characters in its name is served');
SELECT is(helper.counts(:'odd'), '{"dispatches": 1}', 'and counted');
SELECT haul.register_worker('odd', jsonb_build_object('queues',
	jsonb_build_array(' ', '*', '-a', 'a,b', '%s', '{}', 'NULL', E'tab\tnew\nline', repeat('🙂', 63)))) AS w \gset
SELECT is(helper.checkout_kinds(:w), 'k1 k2 k3 k4 k5 k6 k7 k8 k9', 'so are others');

SELECT jsonb_build_object('big', repeat('x', 1000000), 'deep',
	(repeat('[', 99) || repeat(']', 99))::jsonb) AS large \gset
INSERT INTO haul.jobs (queue, kind, args) VALUES ('large', 'l1', :'large');
SELECT helper.copy_jobs('queue, kind, args', E'large\tl2\t' || '{"deep": ' || repeat('[', 99) || repeat(']',
	99) || E'}\n');
COPY haul.jobs (queue, kind, args)
	FROM PROGRAM 'printf "large\tl3\t{\"big\": \""; head -c 1000000 /dev/zero | tr "\0" x; printf "\"}\n"';
SELECT haul.register_worker('large', '{"queues": ["large"]}') AS w \gset
CREATE TEMP TABLE large AS SELECT * FROM haul.checkout(:w, 10);
SELECT is((SELECT args FROM large WHERE kind = 'l1'), :'large', 'args of 1 MB and depth 100 come back as they were');
SELECT is((SELECT args FROM large WHERE kind = 'l2'), jsonb_build_object('deep',
	(repeat('[', 99) || repeat(']', 99))::jsonb), 'also by COPY');
SELECT is((SELECT length(args ->> 'big') FROM large WHERE kind = 'l3'), 1000000, 'a line of 1 MB in COPY');
SELECT is((SELECT haul.complete(:w, array_agg(id), array_agg(claim), array_agg(args)) FROM large), '{}',
	'and are completed, with results as large');
SELECT is((SELECT result FROM haul.finished_jobs WHERE queue = 'large' AND kind = 'l1'), :'large',
	'which come back, too');
SELECT is((SELECT args FROM haul.finished_jobs WHERE queue = 'large' AND kind = 'l1'), :'large',
	'the args of a finished job');

-- Unique keys
INSERT INTO haul.jobs (kind, queue, unique_key) VALUES ('u', 'unique', 'k') RETURNING id AS first \gset
SELECT throws_ok($$ INSERT INTO haul.jobs (kind, queue, unique_key)
	VALUES ('u', 'other', 'k') $$, '23505', NULL, 'a second live job with the key is refused');
SELECT throws_ok($$ SELECT helper.copy_jobs('kind, unique_key', E'u\tk\n') $$, '23505', NULL, 'also by COPY');
INSERT INTO haul.jobs (kind, unique_key) VALUES ('u', 'k') ON CONFLICT DO NOTHING;
INSERT INTO haul.jobs (kind, unique_key) VALUES ('u', 'k') ON CONFLICT (kind, unique_key)
	WHERE unique_key IS NOT NULL DO NOTHING;
SELECT is((SELECT array_agg(id) FROM haul.jobs WHERE unique_key = 'k'), ARRAY[:first]::bigint[],
	'ON CONFLICT DO NOTHING does nothing');
INSERT INTO haul.jobs (kind, unique_key, args) VALUES ('u', 'k', '{"new": 1}')
	ON CONFLICT (kind, unique_key) WHERE unique_key IS NOT NULL DO UPDATE SET args = excluded.args;
SELECT has(helper.job(:first), '{"args": {"new": 1}, "state": "ready", "queue": "unique"}',
	'ON CONFLICT DO UPDATE changes the job that has the key');
SELECT is(haul.enqueue('u', unique_key => 'k'), :first::bigint, 'haul.enqueue returns the job that has the key');
SELECT is(ARRAY(SELECT haul.enqueue_many('[{"kind": "u", "unique_key": "k"}, {"kind": "u", "unique_key": "k"}]')),
	ARRAY[:first, :first]::bigint[], 'so does haul.enqueue_many');
SELECT is(ARRAY[haul.try_enqueue('u', unique_key => 'k')::text,
		(haul.try_enqueue('u', unique_key => 'new')).is_new::text],
	ARRAY[format('(%s,f)', :first), 'true'], 'haul.try_enqueue tells whether the job is new');
SELECT is((haul.try_enqueue('u')).is_new, true, 'without a key it always is');
SELECT isnt(haul.enqueue('other', unique_key => 'k'), :first::bigint, 'another kind has keys of its own');
SELECT is((SELECT count(*) FROM haul.jobs WHERE unique_key = 'k'), 2::bigint, 'which are free');
INSERT INTO haul.jobs (kind, queue) VALUES ('u', 'none'), ('u', 'none');
SELECT is((SELECT count(*) FROM haul.jobs WHERE queue = 'none'), 2::bigint, 'jobs without a key do not conflict');
SELECT haul.register_worker('u', '{"queues": ["unique"]}') AS w \gset
SELECT id, claim FROM haul.checkout(:w) \gset u_
SELECT throws_ok($$ INSERT INTO haul.jobs (kind, unique_key)
	VALUES ('u', 'k') $$, '23505', NULL, 'the key is taken while the job runs');
SELECT haul.complete(:w, ARRAY[:u_id], ARRAY[:u_claim]);
SELECT lives_ok($$ INSERT INTO haul.jobs (kind, unique_key) VALUES ('u', 'k') $$, 'and free once it ended');

INSERT INTO haul.jobs (kind, queue, unique_key, unique_until) VALUES ('u1', 'unique', 's', 'started')
	RETURNING id AS first \gset
SELECT throws_ok($$ INSERT INTO haul.jobs (kind, unique_key)
	VALUES ('u1', 's') $$, '23505', NULL, 'until started: taken before');
SELECT id, claim FROM haul.checkout(:w) \gset u_
SELECT is(:u_id::bigint, :first::bigint, 'the job starts');
SELECT is((SELECT unique_key FROM haul.jobs WHERE id = :first), NULL, 'which clears its key');
SELECT isnt(haul.enqueue('u1', queue => 'unique', unique_key => 's', unique_until => 'started'), :first::bigint,
	'and the next may be enqueued');
SELECT is(haul.fail(:w, :u_id, :u_claim, 'again', retry_in => '0'), 'ready', 'the first may still fail and be retried');
SELECT is(helper.checkout_kinds(:w), 'u1 u1', 'and both run');

\ir include/finish.psql
