-- Values that are too long: refused, cut, or got past.
\ir include/prelude.psql
SELECT no_plan();

-- One byte more than the limit is refused, whatever it is made of; the limit itself is fine.
CREATE TEMP TABLE long (what text, args jsonb);
INSERT INTO long VALUES
	('letters', jsonb_build_object('s', repeat('x', 3000))),
	('letters of two bytes', jsonb_build_object('s', repeat('é', 3000))),
	('quotes', jsonb_build_object('s', repeat('"', 3000))),
	('backslashes', jsonb_build_object('s', repeat('\', 3000))),
	('every control character', jsonb_build_object('s',
		(SELECT string_agg(chr(c), '') FROM generate_series(1, 31) AS c, generate_series(1, 50)))),
	('delete', jsonb_build_object('s', repeat(chr(127), 3000))),
	('a control character as a key', jsonb_build_object(repeat(E'\x01', 1000), 1)),
	('a number of many digits', '{"n": 1e100000}'),
	('the longest number', format('{"n": [-1e131071, %s.%s]}', repeat('9', 131072), repeat('1', 16383))::jsonb),
	('numbers at the edge of their short format', (SELECT jsonb_object_agg(n, to_jsonb(('-1e' || n)::numeric))
		FROM generate_series(240, 270) AS n)),
	('small numbers', jsonb_build_object('a', (SELECT jsonb_agg(n) FROM generate_series(-500, 500) AS n))),
	('fractions', jsonb_build_object('a', (SELECT jsonb_agg(('0.' || repeat('0', n) || '1')::numeric)
		FROM generate_series(1, 100) AS n))),
	('words', jsonb_build_object('a', (SELECT jsonb_agg(CASE n % 3 WHEN 0 THEN 'true'::jsonb WHEN 1 THEN 'false'
		ELSE 'null' END) FROM generate_series(1, 500) AS n))),
	('empty containers', jsonb_build_object('a', (SELECT jsonb_agg(CASE n % 2 WHEN 0 THEN '[]'::jsonb ELSE '{}' END)
		FROM generate_series(1, 500) AS n))),
	('deep ones', (repeat('{"k": [', 400) || '1, {"a": 2, "b": ""}' || repeat(']}', 400))::jsonb),
	('many keys', (SELECT jsonb_object_agg('key' || n, '') FROM generate_series(1, 500) AS n));
CREATE FUNCTION helper.with_limit(args jsonb, bytes integer) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM set_config('haul.max_args_size', bytes::text, true);
	INSERT INTO haul.jobs (kind, args) VALUES ('long', args);
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
SELECT ok(octet_length(args::text) BETWEEN 1025 AND 33554432, what || ': ' || octet_length(args::text) || ' bytes')
	FROM long;
SELECT is(helper.with_limit(args, octet_length(args::text)), 'ok', what || ': at the limit') FROM long;
SELECT is(helper.with_limit(args, octet_length(args::text) - 1), '23514', what || ': above it') FROM long;

-- The default is a megabyte. What cannot be text at all is refused like the rest.
RESET haul.max_args_size;
SELECT is(current_setting('haul.max_args_size'), '1MB', 'the default');
SELECT is(r.state || ' ' || r.col || ': ' || r.message,
	'23514 args: haul.jobs.args must not be longer than 1048576 bytes as text', 'the error')
	FROM helper.refusal($$ INSERT INTO haul.jobs (kind, args)
		VALUES ('x', jsonb_build_object('s', repeat(E'\x01', 180000000))) $$) AS r;
SELECT matches(r.hint, 'haul.max_args_size', 'with a hint')
	FROM helper.refusal($$ SELECT haul.enqueue('x', jsonb_build_object('s', repeat('x', 1048577))) $$) AS r;
SELECT is(r.state, '23514', 'haul.enqueue_many') FROM helper.refusal(
	$$ SELECT haul.enqueue_many(jsonb_build_array(jsonb_build_object('kind', 'x',
		'args', jsonb_build_object('s', repeat('x', 1048577))))) $$) AS r;
SELECT is(r.state, '23514', 'haul.workflow') FROM helper.refusal(
	$$ SELECT haul.workflow(jsonb_build_array(jsonb_build_object('kind', 'x',
		'args', jsonb_build_object('s', repeat('x', 1048577))))) $$) AS r;
SELECT is(r.state || ' ' || r.message,
	'23514 haul.cron.args must not be longer than 1048576 bytes as text', 'haul.cron')
	FROM helper.refusal($$ INSERT INTO haul.cron (name, schedule, kind, args)
		VALUES ('x', '@daily', 'x', jsonb_build_object('s', repeat('x', 1048577))) $$) AS r;
SELECT is(r.state, '23514', 'too many names to avoid') FROM helper.refusal(
	$$ INSERT INTO haul.jobs (kind, avoid) SELECT 'x', array_agg('worker number ' || n)
		FROM generate_series(1, 1000) AS n $$) AS r;
INSERT INTO haul.jobs (kind, queue) VALUES ('x', 'changed') RETURNING id AS changed \gset
SELECT is(r.state, '23514', 'UPDATE') FROM helper.refusal(format(
	$$ UPDATE haul.jobs SET args = jsonb_build_object('s', repeat('x', 1048577)) WHERE id = %s $$, :changed)) AS r;
UPDATE haul.jobs SET args = jsonb_build_object('s', repeat('x', 2000)) WHERE id = :changed;
SET LOCAL haul.max_args_size = '1kB';
SELECT lives_ok(format('UPDATE haul.jobs SET priority = 1 WHERE id = %s', :changed),
	'a limit that is set lower later is for new args');
SELECT throws_ok('SET haul.max_args_size = 1023', '22023', NULL, 'the setting has a lower bound');
SELECT throws_ok('SET haul.max_args_size = ''33MB''', '22023', NULL, 'and an upper bound');

-- What workers report
SET LOCAL haul.max_args_size = '2kB';
INSERT INTO haul.jobs (kind, queue, max_attempts) SELECT 'k' || n, 'work', 2 FROM generate_series(1, 4) AS n;
SELECT haul.register_worker('w', '{"queues": ["work"]}') AS w \gset
SELECT array_agg(id ORDER BY id) AS ids FROM haul.checkout(:w, 4) \gset
SELECT (:'ids'::bigint[])[1] AS id1, (:'ids'::bigint[])[2] AS id2, (:'ids'::bigint[])[3] AS id3,
	(:'ids'::bigint[])[4] AS id4 \gset
SELECT jsonb_build_object('s', repeat('x', 2048)) AS long, repeat('é', 1200) AS error \gset
SELECT is(r.state || ' ' || r.message,
	format('22023 result of job %s must not be longer than 2048 bytes as text', :id2), 'a result is refused')
	FROM helper.refusal(format('SELECT haul.complete(%s, ARRAY[%s, %s], ARRAY[1, 1], ARRAY[%L, %L]::jsonb[])',
		:w, :id1, :id2, '1', :'long')) AS r;
SELECT is(r.state || ' ' || r.message, '22023 progress must not be longer than 2048 bytes as text', 'and progress')
	FROM helper.refusal(format('SELECT haul.progress(%s, %s, 1, %L)', :w, :id1, :'long')) AS r;
SELECT is(r.state || ' ' || r.message, '22023 detail must not be longer than 2048 bytes as text',
	'and the detail of an error')
	FROM helper.refusal(format('SELECT haul.fail(%s, %s, 1, %L, %L)', :w, :id1, 'e', :'long')) AS r;
SELECT is(haul.fail(:w, :id1, 1, :'error'), 'ready', 'a long error is no obstacle');
SELECT is((SELECT last_error FROM haul.jobs WHERE id = :id1), repeat('é', 1024) || '... (2400 bytes)',
	'it is cut, between characters');
SELECT is((SELECT error FROM haul.job_errors WHERE job_id = :id1), repeat('é', 1024) || '... (2400 bytes)',
	'in the history of errors, too');
SELECT is(haul.discard(:w, :id2, 1, :'error') AND haul.cancelled(:w, :id3, 1, :'error'), true,
	'nor are long reasons');
SELECT is((SELECT array_agg(octet_length(last_error)) FROM haul.finished_jobs WHERE id IN (:id2, :id3)),
	ARRAY[2064, 2064], 'they are cut');
SELECT is(haul.complete(:w, ARRAY[:id4], ARRAY[1], ARRAY[jsonb_build_object('s', repeat('x', 2048 - 9))]), '{}',
	'a result at the limit');

-- A job that came in by ways that fire no trigger, and that no worker could be sent, costs its neighbours nothing.
RESET haul.max_args_size;
ALTER TABLE haul.jobs DISABLE TRIGGER zz_haul_check_job;
INSERT INTO haul.jobs (kind, queue, priority, args)
	SELECT 'bad', 'mixed', 1, jsonb_build_object('s', repeat(E'\x01', 6000000)) RETURNING id AS bad \gset
INSERT INTO haul.jobs (kind, queue, args)
	SELECT 'bad number', 'mixed', jsonb_build_object('a', array_agg('1e131071'::numeric))
		FROM generate_series(1, 4000) RETURNING id AS number \gset
ALTER TABLE haul.jobs ENABLE TRIGGER zz_haul_check_job;
INSERT INTO haul.jobs (kind, queue) SELECT 'good', 'mixed' FROM generate_series(1, 3);
SELECT haul.register_worker('m', '{"queues": ["mixed"]}') AS m \gset
SELECT is(helper.checkout_kinds(:m, 3), 'good good good', 'the jobs behind it are handed out');
SELECT helper.has(helper.finished(id), '{"state": "failed", "attempt": 0, "claim": 0, "last_error":
	"its args, progress or last_error are too long to be sent to a worker (limit: 32 MB as text)"}',
	'it has failed, with the reason')
	FROM unnest(ARRAY[:bad, :number]) AS id;
SELECT is(
	(SELECT jsonb_object_agg(key, value) FROM jsonb_each(helper.counts('mixed')) WHERE key IN ('drops', 'dispatches')),
	'{"drops": 2, "dispatches": 3}', 'counted as ended without running');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- In a workflow
SELECT haul.workflow('[{"kind": "huge", "queue": "flow"},
	{"kind": "next", "queue": "flow", "after": ["1"]}]') AS wf \gset
ALTER TABLE haul.jobs DISABLE TRIGGER zz_haul_check_job;
UPDATE haul.jobs SET args = jsonb_build_object('s', repeat(E'\x01', 200000000))
	WHERE workflow_id = :wf AND kind = 'huge';
ALTER TABLE haul.jobs ENABLE TRIGGER zz_haul_check_job;
SELECT haul.register_worker('f', '{"queues": ["flow"]}') AS f \gset
SELECT is(helper.checkout_kinds(:f), NULL, 'nothing of it can run');
SELECT results_eq(format('SELECT kind, state FROM haul.workflow_steps WHERE workflow_id = %s ORDER BY step', :wf),
	$$ VALUES ('huge' COLLATE "C", 'failed'), ('next', 'cancelled') $$,
	'it fails, and what comes after it is cancelled');

\ir include/finish.psql
