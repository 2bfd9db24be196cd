-- Every rule of haul.jobs broken: by INSERT, by COPY, by UPDATE and by haul.enqueue_many. Each is refused with the
-- right
-- SQLSTATE, a message that names the column and the value, and a hint; and nothing of the statement stays.
\ir include/prelude.psql
SELECT no_plan();

-- col gets value (as text that a literal of its type is made of; NULL is NULL). The message must match shown.
CREATE TEMP TABLE bad (n integer GENERATED ALWAYS AS IDENTITY, col text, value text, state text, shown text);
INSERT INTO bad (col, value, state, shown) VALUES
	('priority', '0', '23514', '\m0\M'),
	('priority', '-1', '23514', '-1'),
	('priority', '40000', '22003', '40000|smallint'),
	('priority', NULL, '23502', NULL),
	('kind', '', '23514', NULL),
	('kind', repeat('k', 129), '23514', '129|kkk'),
	('kind', repeat('é', 129), '23514', '129|ééé'),
	('kind', NULL, '23502', NULL),
	('queue', '', '23514', NULL),
	('queue', repeat('q', 64), '23514', '64|qqq'),
	('queue', repeat('🙂', 64), '23514', '64|🙂🙂🙂'),
	('queue', NULL, '23502', NULL),
	('args', '[]', '23514', 'array|\[\]'),
	('args', '[{"a": 1}]', '23514', 'array|\['),
	('args', '"text"', '23514', 'string|"text"'),
	('args', '1', '23514', 'number|1'),
	('args', 'true', '23514', 'boolean|true'),
	('args', 'null', '23514', 'null'),
	('args', NULL, '23502', NULL),
	('run_at', NULL, '23502', NULL),
	('max_attempts', '0', '23514', '\m0\M'),
	('max_attempts', '-2147483648', '23514', '-2147483648'),
	('max_attempts', NULL, '23502', NULL),
	('backoff', 'fibonacci', '23514', 'fibonacci'),
	('backoff', '', '23514', NULL),
	('backoff', 'linear(', '23514', 'linear\('),
	('backoff', 'linear(5', '23514', 'linear\(5'),
	('backoff', 'linear(5) ', '23514', 'linear\(5\) '),
	('backoff', 'linear(-5)', '23514', 'linear\(-5\)'),
	('backoff', 'linear(5,2)', '23514', 'linear\(5,2\)'),
	('backoff', 'exponential(5)', '23514', 'exponential\(5\)'),
	('backoff', 'exponential(5,x)', '23514', 'exponential\(5,x\)'),
	('backoff', 'constant(nan)', '23514', 'constant\(nan\)'),
	('backoff', 'Constant(1)', '23514', 'Constant\(1\)'),
	('timeout', '-1 second', '23514', '-0?0:00:01'),
	('timeout', '1 day -48:00:00', '23514', '1( day)? -48:00:00'),
	('on_timeout', 'explode', '23514', 'explode'),
	('on_timeout', 'fail', '23514', 'fail'),
	('on_timeout', NULL, '23502', NULL),
	('queue_timeout', '-1 microsecond', '23514', '-0?0:00:00.000001'),
	('on_interrupt', 'explode', '23514', 'explode'),
	('on_interrupt', NULL, '23502', NULL),
	('unique_until', 'never', '23514', 'never'),
	('unique_until', NULL, '23502', NULL),
	('concurrency_limit', '0', '23514', '\m0\M'),
	('concurrency_limit', '-1', '23514', '-1'),
	('concurrency_limit', NULL, '23502', NULL),
	('pin_strict', NULL, '23502', NULL),
	('pin_strict', 'true', '23514', NULL), -- without a pin
	('every', '-1 day', '23514', '-1 (day|0:)'),
	('every', '1 microsecond', '23514', '0?0:00:00.000001'),
	('keep', '-1 day', '23514', '-1 (day|0:)'),
	('state', 'running', '23514', 'running'),
	('state', 'completed', '23514', 'completed'),
	('state', 'Ready', '23514', 'Ready'),
	('state', '', '23514', NULL),
	('state', NULL, '23502', NULL),
	('attempt', '-1', '23514', '-1'),
	('claim', '-1', '23514', '-1'),
	('worker_id', '1', '23514', '1'),
	('started_at', '2026-01-01', '23514', '2026-01-01|2025-12-31|01/01/2026');

-- Columns that COPY, UPDATE and enqueue_many would be given as they are given to INSERT.
CREATE FUNCTION helper.literal(value text) RETURNS text
	LANGUAGE sql AS $$ SELECT coalesce(quote_literal(value), 'NULL') $$;
CREATE FUNCTION helper.copy_text(value text) RETURNS text LANGUAGE sql AS $$ SELECT coalesce(value, '\N') $$;

-- The owner's COPY restores dumps, and may set more than others: so COPY is tested as somebody else.
CREATE ROLE haul_test_copier;
GRANT pg_execute_server_program TO haul_test_copier;
GRANT USAGE ON SCHEMA haul TO haul_test_copier;
GRANT INSERT ON haul.jobs TO haul_test_copier;
ALTER FUNCTION helper.copy_jobs OWNER TO haul_test_copier;
ALTER FUNCTION helper.copy_jobs SECURITY DEFINER;

-- The complaint about one value, judged; '' when it is as it must be.
CREATE FUNCTION helper.judge(b bad, state text, message text, hint text) RETURNS text LANGUAGE sql
AS $$
	SELECT concat_ws(', ',
		CASE WHEN judge.state IS DISTINCT FROM b.state THEN 'SQLSTATE ' || judge.state END,
		CASE WHEN message !~* replace(b.col, '_', '[_ ]') AND b.state <> '22003'
			THEN 'does not name the column: ' || message END,
		CASE WHEN message !~ b.shown THEN 'does not show the value: ' || message END,
		CASE WHEN coalesce(hint, '') = '' AND b.state = '23514' THEN 'no hint: ' || message END)
$$;

INSERT INTO haul.jobs (kind, queue) VALUES ('victim', 'bad') RETURNING id AS victim \gset
SELECT helper.job(:victim) AS victim_was \gset

-- A good row stands before the bad one: it must not stay either.
SELECT is(helper.judge(b, r.state, r.message, r.hint), '',
	format('INSERT: %s = %s', b.col, left(helper.literal(b.value), 30)))
	FROM bad AS b, LATERAL helper.refusal(
		CASE b.col WHEN 'kind' THEN format('INSERT INTO haul.jobs (queue, kind) VALUES (%L, %L), (%L, %s)', 'bad',
			'good', 'bad', helper.literal(b.value))
			WHEN 'queue' THEN format('INSERT INTO haul.jobs (kind, queue) VALUES (%L, %L), (%L, %s)', 'good', 'bad',
				'bad', helper.literal(b.value))
			ELSE format('INSERT INTO haul.jobs (queue, kind, %I) VALUES (%L, %L, DEFAULT), (%L, %L, %s)', b.col, 'bad',
				'good', 'bad', 'bad',
						helper.literal(b.value)) END) AS r
	ORDER BY b.n;
SELECT is(helper.judge(b, r.state, r.message, r.hint), '',
	format('COPY: %s = %s', b.col, left(helper.literal(b.value), 30)))
	FROM bad AS b, LATERAL (
		SELECT CASE b.col WHEN 'kind' THEN format('SELECT helper.copy_jobs(%L, %L)', 'queue, kind',
			E'bad\tgood\nbad\t' || helper.copy_text(b.value) || E'\n')
			WHEN 'queue' THEN format('SELECT helper.copy_jobs(%L, %L)', 'kind, queue',
				E'good\tbad\nbad\t' || helper.copy_text(b.value) || E'\n')
			ELSE format('SELECT helper.copy_jobs(%L, %L)', 'queue, kind, ' || b.col,
						-- the good row's value: that which a good row has already
						E'bad\tgood\t' || coalesce(:'victim_was'::jsonb ->> b.col,
							'\N') || E'\nbad\tbad\t' || helper.copy_text(b.value) || E'\n') END AS statement
	) AS s, LATERAL helper.refusal(s.statement) AS r
	ORDER BY b.n;
SELECT is(helper.judge(b, r.state, r.message, r.hint), '',
	format('UPDATE: %s = %s', b.col, left(helper.literal(b.value), 30)))
	FROM bad AS b,
		LATERAL helper.refusal(format('UPDATE haul.jobs SET %I = %s WHERE id = %s', b.col, helper.literal(b.value),
		:victim)) AS r
	ORDER BY b.n;
-- In haul.enqueue_many, null stands for the default.
SELECT is(helper.judge(b, r.state, r.message, r.hint), '',
	format('haul.enqueue_many: %s = %s', b.col, left(helper.literal(b.value), 30)))
	FROM bad AS b,
		LATERAL helper.refusal(format('SELECT haul.enqueue_many(%L)',
		jsonb_build_array(jsonb_build_object('queue', 'bad', 'kind', 'good'),
		jsonb_build_object('queue', 'bad', 'kind', 'bad') || jsonb_build_object(b.col, CASE b.col WHEN 'args'
			THEN b.value::jsonb ELSE to_jsonb(b.value) END)))) AS r
	WHERE b.col NOT IN ('state', 'attempt', 'claim', 'worker_id', 'started_at') AND b.value IS NOT NULL
		AND b.value <> 'null'
	ORDER BY b.n;
SELECT is(helper.job(:victim), :'victim_was'::jsonb, 'UPDATE changed nothing');
SELECT is((SELECT array_agg(id) FROM haul.jobs WHERE queue = 'bad' OR kind IN ('good', 'bad')),
	ARRAY[:victim]::bigint[], 'no row of a refused statement stays');

-- What only the server sets, on a job that is running
SELECT haul.register_worker('w', '{"queues": ["bad"]}') AS w \gset
SELECT id, claim FROM haul.checkout(:w) \gset job_
SELECT is(r.state, '23514', 'UPDATE of a running job: ' || change)
	FROM unnest(ARRAY['claim = 0', 'claim = 5', 'worker_id = worker_id + 1', 'worker_id = NULL', 'lease_id = NULL',
		'state = ''ready''',
					  'state = ''waiting''', 'attempt = -1']) AS change,
		LATERAL helper.refusal(format('UPDATE haul.jobs SET %s WHERE id = %s', change, :job_id)) AS r;
SELECT isnt(r.state, '00000', 'the id of a job does not change')
	FROM helper.refusal(format('UPDATE haul.jobs SET id = DEFAULT WHERE id = %s', :job_id)) AS r;
SELECT haul.fail(:w, :job_id, :job_claim, 'e', retry_in => '0');
SELECT is(r.state, '23514', 'max_attempts below the attempts already made')
	FROM helper.refusal(format('UPDATE haul.jobs SET max_attempts = 1 WHERE id = %s', :job_id)) AS r;
SELECT lives_ok(format('UPDATE haul.jobs SET attempt = 0, priority = 1, queue = %L WHERE id = %s', 'bad', :job_id),
	'an operator may give a job its attempts back');
SELECT claim AS job_claim FROM haul.checkout(:w) \gset
SELECT is(haul.complete(:w, ARRAY[:job_id], ARRAY[:job_claim]), '{}', 'after all of this the worker completes it');

-- Malformed, for the server itself
SELECT throws_ok($$ INSERT INTO haul.jobs (kind, args) VALUES ('x', '{"a": ') $$, '22P02', NULL,
	'args that are no JSON');
SELECT throws_ok($$ INSERT INTO haul.jobs (kind, id) VALUES ('x', 1) $$, '428C9', NULL, 'an id of one''s own');
SELECT throws_ok($$ INSERT INTO haul.jobs (kinds) VALUES ('x') $$, '42703', NULL, 'an unknown column');

-- The limits themselves are fine.
SELECT lives_ok(statement, regexp_replace(statement, '\s+', ' ', 'g')) FROM unnest(ARRAY[
	$$ INSERT INTO haul.jobs (kind, priority) VALUES ('edge', 1), ('edge', 32767) $$,
	$$ INSERT INTO haul.jobs (kind, max_attempts, concurrency_limit) VALUES ('edge', 1, 1),
		('edge', 2147483647, 2147483647) $$,
	$$ INSERT INTO haul.jobs (kind) VALUES (repeat('k', 128)), (repeat('🙂', 128)), ('k') $$,
	$$ INSERT INTO haul.jobs (kind, queue) VALUES ('edge', repeat('q', 63)), ('edge', repeat('🙂', 63)),
		('edge', ' ') $$,
	$$ INSERT INTO haul.jobs (kind, backoff) SELECT 'edge', b
		FROM unnest(ARRAY['exponential', 'linear', 'constant', 'polynomial', 'exponential(5,2)',
		'linear(0)', 'constant(0.5)', 'polynomial(30, 5)', NULL]) AS b $$,
	$$ INSERT INTO haul.jobs (kind, state) VALUES ('edge', 'waiting') $$,
	$$ INSERT INTO haul.jobs (kind, keep) VALUES ('edge', '0') $$,
	$$ INSERT INTO haul.jobs (kind, on_timeout, on_interrupt, unique_until)
		VALUES ('edge', 'discard', 'discard', 'started'), ('edge', 'retry', 'fail', 'finished') $$,
	$$ INSERT INTO haul.jobs (kind, args) VALUES ('edge', '{}') $$]) AS statement;

-- Nobody can enqueue a job which breaks calls about others, or which cannot end.
CREATE FUNCTION helper.enqueue_if_allowed(col text, value text) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE format('INSERT INTO haul.jobs (queue, kind, "%s") VALUES (%L, %L, ''%s'')', col, 'extreme',
		left(col || ' ' || value, 128), value);
EXCEPTION WHEN check_violation OR datetime_field_overflow OR interval_field_overflow THEN
	NULL; -- refused: as good
END
$$;
CREATE TEMP TABLE extreme_values AS SELECT * FROM (VALUES ('run_at', '-infinity'), ('run_at', 'infinity'),
	('run_at', '294276-12-31 23:59:59+00'), ('run_at', '9999-12-31 23:59:59.999999+00'), ('run_at',
		'0001-01-01 00:00:00+00'),
	('run_at', '4713-01-01 00:00:00+00 BC'), ('expires_at', 'infinity'), ('expires_at', '-infinity'),
	('expires_at', '294276-12-31 23:59:59+00'), ('enqueued_at', 'infinity'), ('enqueued_at', '-infinity'),
	('enqueued_at', '294276-12-31 23:59:59+00'), ('enqueued_at', '9999-12-31 23:59:59.999999+00'),
	('queue_timeout', '170000000 years'), ('queue_timeout', '1000 years'), ('keep', '170000000 years'), ('keep',
		'290000 years'),
	('keep', '1000 years'), ('timeout', '170000000 years'), ('every', '170000000 years'), ('every', '1000 years'),
	-- short in all, but not in its parts, which are added one after the other
	('queue_timeout', '293000 years -106900000 days'), ('keep', '293000 years -106900000 days'),
	('every', '293000 years -106900000 days'), ('every', '1000 years -365000 days')) AS v (col, value);
SELECT helper.enqueue_if_allowed(col, value) FROM extreme_values;
-- Two at a time, of jobs that are ready and of those that wait for others
SELECT helper.enqueue_if_allowed(a.col || '", "' || b.col, a.value || $$', '$$ || b.value)
	FROM extreme_values AS a JOIN extreme_values AS b ON a.col < b.col AND a.value <> b.value;
CREATE FUNCTION helper.chain_if_allowed(options jsonb) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM haul.chain(jsonb_build_array('{"kind": "first", "queue": "extreme"}'::jsonb,
		'{"kind": "second", "queue": "extreme"}'::jsonb || options), if_failed => 'run');
EXCEPTION WHEN check_violation OR datetime_field_overflow OR interval_field_overflow OR invalid_parameter_value THEN
	NULL; -- refused: as good
END
$$;
SELECT helper.chain_if_allowed(jsonb_build_object(a.col, a.value, b.col, b.value))
	FROM extreme_values AS a JOIN extreme_values AS b ON a.col < b.col
	WHERE a.col NOT IN ('every', 'enqueued_at') AND b.col NOT IN ('every', 'enqueued_at');
SELECT haul.register_worker('x', '{"queues": ["extreme"]}') AS x \gset
SELECT lives_ok('SELECT * FROM haul.queue_status', 'extreme values do not break haul.queue_status');
SELECT lives_ok(format('SELECT haul.next_due(%s)', :x), 'nor haul.next_due');
SELECT lives_ok('SELECT haul.maintain()', 'nor haul.maintain');
UPDATE haul.jobs SET run_at = least(run_at, now()), expires_at = NULL WHERE queue = 'extreme' AND state = 'ready';
CREATE TEMP TABLE extreme AS SELECT * FROM haul.checkout(:x, 10000);
SELECT cmp_ok(count(*), '>', 10::bigint, 'many jobs with extreme values may be enqueued') FROM extreme;
SELECT is_empty(format($$ SELECT e.kind, r FROM extreme AS e, LATERAL helper.refusal(CASE e.id %% 4
		WHEN 0 THEN format('SELECT haul.snooze(%1$s, %%s, %%s, ''1000 years'')', e.id, e.claim)
		WHEN 1 THEN format('SELECT haul.fail(%1$s, %%s, %%s, ''e'', retry_in => ''1000 years'')', e.id, e.claim)
		ELSE format('SELECT haul.complete(%1$s, ARRAY[%%s], ARRAY[%%s])', e.id, e.claim) END) AS r
	WHERE r.state <> '00000' $$, :x), 'each of them is completed, snoozed or tried again');
UPDATE haul.jobs SET run_at = least(run_at, now()), expires_at = NULL WHERE queue = 'extreme' AND state = 'ready';
CREATE TEMP TABLE extreme_again AS SELECT * FROM haul.checkout(:x, 10000);
SELECT is_empty(format($$ SELECT e.kind, r FROM extreme_again AS e, LATERAL helper.refusal(
		format('SELECT haul.complete(%1$s, ARRAY[%%s], ARRAY[%%s])', e.id, e.claim)) AS r
	WHERE r.state <> '00000' $$, :x), 'and so is what came after them');
SELECT lives_ok('SELECT haul.maintain()', 'and maintenance goes on');
SELECT lives_ok(format('SELECT haul.next_due(%s)', :x), 'haul.next_due with what is left');
SELECT lives_ok('SELECT * FROM haul.queue_status', 'haul.queue_status with what is left');

-- Settings of queues and kinds
SELECT throws_ok(statement, '23514', NULL, statement) FROM unnest(ARRAY[
	$$ INSERT INTO haul.queues (name) VALUES ('') $$,
	$$ INSERT INTO haul.queues (name) VALUES (repeat('q', 64)) $$,
	$$ INSERT INTO haul.queues (name, priority) VALUES ('q', 0) $$,
	$$ INSERT INTO haul.queues (name, keep_completed) VALUES ('q', '-1 s') $$,
	$$ INSERT INTO haul.queues (name, keep_failed) VALUES ('q', '-1 s') $$,
	$$ INSERT INTO haul.queues (name, keep_completed) VALUES ('q', '293000 years -106900000 days') $$,
	$$ INSERT INTO haul.kinds (kind) VALUES ('') $$]) AS statement;
SELECT throws_ok($$ INSERT INTO haul.kinds (kind, backoff) VALUES ('k', 'fibonacci') $$, '22023', NULL,
	'an unknown backoff of a kind');
SELECT throws_ok($$ SET LOCAL haul.backoff = 'fibonacci' $$, '22023', NULL, 'an unknown backoff as a setting');

-- Tables that must not be emptied behind the extension's back
SELECT throws_ok('TRUNCATE haul.jobs', '0A000', NULL, 'TRUNCATE haul.jobs is refused');
SELECT throws_ok('TRUNCATE haul.workers', '0A000', NULL, 'TRUNCATE haul.workers is refused');

\ir include/finish.psql
