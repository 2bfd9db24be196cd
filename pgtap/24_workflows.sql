-- Workflows: jobs that wait for others.
\ir include/prelude.psql
SELECT no_plan();

SELECT haul.register_worker('w', '{"queues": ["default"]}') AS w \gset

-- The states of a workflow's jobs: 'a completed, b ready'.
CREATE FUNCTION helper.states(workflow bigint) RETURNS text LANGUAGE sql
AS $$ SELECT string_agg(name || ' ' || state, ', ' ORDER BY name) FROM haul.workflow_steps
	WHERE workflow_id = workflow $$;
CREATE FUNCTION helper.status(workflow bigint) RETURNS text LANGUAGE sql
AS $$ SELECT state FROM haul.workflow_status WHERE id = workflow $$;
CREATE FUNCTION helper.id(workflow bigint, member text) RETURNS bigint LANGUAGE sql
AS $$ SELECT job_id FROM haul.workflow_steps WHERE workflow_id = workflow AND name = member $$;
CREATE FUNCTION helper.claim(workflow bigint, step text) RETURNS integer LANGUAGE sql
AS $$ SELECT claim FROM haul.jobs WHERE id = helper.id(workflow, step) $$;
CREATE FUNCTION helper.ends_well(worker bigint, workflow bigint, step text,
	result jsonb DEFAULT NULL) RETURNS text LANGUAGE sql
AS $$ SELECT is(haul.complete(worker, ARRAY[helper.id(workflow, step)], ARRAY[helper.claim(workflow, step)],
	ARRAY[result]), '{}',
	step || ' completes') $$;
CREATE FUNCTION helper.ends_badly(worker bigint, workflow bigint, step text) RETURNS text LANGUAGE sql
AS $$ SELECT is(haul.fail(worker, helper.id(workflow, step), helper.claim(workflow, step), step || ' broke',
	final => true), 'failed',
	step || ' fails') $$;

-- A chain.
SELECT clock_timestamp() AS before \gset
SELECT array_agg(c) AS ids FROM haul.chain('[{"kind": "one", "args": {"n": 1}}, {"kind": "two", "priority": 7}, '
	'{"kind": "three", "name": "last"}]', 'chained') AS c \gset
SELECT workflow_id AS wf FROM haul.jobs WHERE id = (:'ids'::bigint[])[1] \gset
SELECT results_eq('SELECT id, kind, state, priority::integer, run_at = ''infinity'' FROM haul.jobs ORDER BY id',
	format('VALUES (%s::bigint, ''one'' COLLATE "C", ''ready'', 16383, false), (%s, ''two'', ''waiting'', 7, true), (%s, '
		'''three'', ''waiting'', 16383, true)',
		(:'ids'::bigint[])[1], (:'ids'::bigint[])[2], (:'ids'::bigint[])[3]),
	'all members of a chain are there at once, the first is ready');
SELECT is(helper.status(:wf), 'running', 'the chain runs');
SELECT is((SELECT name FROM haul.workflows WHERE id = :wf), 'chained', 'it has its name');
SELECT is(haul.next_due(:w), interval '0', 'one of it is due');
SELECT is((SELECT next_due_at FROM haul.queue_status WHERE queue = 'default'), NULL, 'waiting jobs have no time');
SELECT is(helper.checkout_kinds(:w), 'one', 'only the first is handed out');
SELECT is(haul.next_due(:w), NULL, 'nothing else is due');
SELECT is((SELECT workflow_id FROM haul.workflow_steps WHERE state = 'running'), :wf::bigint, 'it is running');
SELECT helper.ends_well(:w, :wf, '1', '{"rows": 10}');
SELECT is(helper.states(:wf), '1 completed, 2 ready, last waiting', 'the next is ready');
SELECT ok((SELECT run_at BETWEEN :'before'::timestamptz AND clock_timestamp() FROM haul.jobs WHERE kind = 'two'),
	'now');
SELECT is(haul.results(helper.id(:wf, '2')), '{"1": {"rows": 10}}', 'and learns what the first returned');
SELECT is(helper.checkout_kinds(:w), 'two', 'it runs');
SELECT is(haul.fail(:w, helper.id(:wf, '2'), 1, 'once', retry_in => '0'), 'ready', 'a failed attempt');
SELECT is(helper.states(:wf), '1 completed, 2 ready, last waiting', 'is no end');
SELECT is(helper.checkout_kinds(:w), 'two', 'it runs again');
SELECT helper.ends_well(:w, :wf, '2');
SELECT is(helper.checkout_kinds(:w), 'three', 'then the third');
SELECT is(haul.results(helper.id(:wf, 'last')), '{"2": null}', 'the second returned nothing');
SELECT helper.ends_well(:w, :wf, 'last');
SELECT is(helper.status(:wf), 'completed', 'the chain has completed');
SELECT isnt((SELECT finished_at FROM haul.workflow_status WHERE id = :wf), NULL, 'at a time');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- A member has a time of its own.
SELECT haul.workflow('[{"kind": "a", "name": "a", "run_at": "2200-01-01 00:00:00Z"}, {"kind": "b", "name": "b", '
	'"after": "a", "run_at": "2300-01-01 00:00:00Z", "queue_timeout": "1 hour"}]') AS wf \gset
SELECT is((SELECT run_at FROM haul.jobs WHERE id = helper.id(:wf, 'a')), '2200-01-01 00:00:00Z'::timestamptz,
	'the first is ready with its run_at');
SELECT is((SELECT expires_at FROM haul.jobs WHERE id = helper.id(:wf, 'b')), NULL,
	'a queue timeout does not begin while a job waits');
UPDATE haul.jobs SET run_at = now() WHERE id = helper.id(:wf, 'a');
SELECT is(helper.checkout_kinds(:w), 'a', 'the first runs');
SELECT helper.ends_well(:w, :wf, 'a');
SELECT is((SELECT state || ' ' || (run_at AT TIME ZONE 'UTC') || ' ' || (expires_at - run_at) FROM haul.jobs
	WHERE id = helper.id(:wf, 'b')),
	'ready 2300-01-01 00:00:00 01:00:00', 'the next is ready with its run_at, then its queue timeout begins');
SELECT is(haul.cancel_workflow(:wf), 1::bigint, 'a workflow can be cancelled');
SELECT is(helper.states(:wf), 'a completed, b cancelled', 'which ends what has not begun');
SELECT is(helper.status(:wf), 'cancelled', 'its state says so');

-- Fan-out and fan-in; names of all kinds; the result of several.
SELECT haul.workflow('{"name": "diamond", "jobs": [
	{"name": "end", "kind": "end", "after": ["left", "right", "\"middle\", or so"]},
	{"name": "left", "kind": "l", "after": ["start"]}, {"name": "right", "kind": "r", "after": "start"},
	{"name": "\"middle\", or so", "kind": "m", "after": {"name": "start"}},
	{"name": "start", "kind": "s"}]}') AS wf \gset
SELECT is(helper.states(:wf), '"middle", or so waiting, end waiting, left waiting, right waiting, start ready',
	'jobs may be described in any order');
SELECT is((SELECT array_agg(name ORDER BY step) FROM haul.workflow_steps WHERE workflow_id = :wf), ARRAY['start',
	'left', 'right', '"middle", or so', 'end'],
	'steps are numbered so that each comes after what it waits for');
SELECT is((SELECT waits_for FROM haul.workflow_steps WHERE workflow_id = :wf AND name = 'end'), ARRAY['left', 'right',
	'"middle", or so'], 'a person sees what it waits for');
SELECT is(helper.checkout_kinds(:w), 's', 'one is ready');
SELECT helper.ends_well(:w, :wf, 'start');
SELECT is(helper.checkout_kinds(:w), 'l r m', 'then three, in the order of their steps');
SELECT is((SELECT haul.complete(:w, array_agg(id), array_agg(claim), array_agg(to_jsonb(kind))) FROM haul.jobs
	WHERE kind IN ('l', 'r')), '{}', 'two complete in one call');
SELECT is((SELECT waits_for FROM haul.workflow_steps WHERE workflow_id = :wf AND name = 'end'),
	ARRAY['"middle", or so'], 'one is missing');
SELECT helper.ends_well(:w, :wf, '"middle", or so', '"m"');
SELECT is(helper.checkout_kinds(:w), 'end', 'the last one releases the end');
SELECT is(haul.results(helper.id(:wf, 'end')), '{"left": "l", "right": "r", "\"middle\", or so": "m"}',
	'which learns all results');
SELECT helper.ends_well(:w, :wf, 'end');
SELECT is(helper.status(:wf), 'completed', 'the diamond has completed');

-- Failure policies, one an edge.
SELECT haul.workflow('[{"name": "a", "kind": "a", "keep": "0"},
	{"name": "cancels", "kind": "c", "after": "a"}, {"name": "waits", "kind": "w", "after": {"name": "a",
		"if_failed": "wait"}},
	{"name": "runs", "kind": "r", "after": "a", "if_failed": "run"}, {"name": "then", "kind": "t", "after": ["cancels",
		"runs"]},
	{"name": "cleanup", "kind": "u", "after": [{"name": "cancels", "if_failed": "run"}, {"name": "runs",
		"if_failed": "run"}]}]') AS wf \gset
SELECT is(helper.checkout_kinds(:w), 'a', 'the first runs');
SELECT helper.ends_badly(:w, :wf, 'a');
SELECT is(helper.states(:wf), 'a failed, cancels cancelled, cleanup waiting, runs ready, then cancelled, waits waiting',
	'each does what its edge says, those behind, too');
SELECT is((SELECT error FROM haul.workflow_steps WHERE workflow_id = :wf AND name = 'cancels'),
	format('"a" (job %s) failed', helper.id(:wf, 'a')), 'why it was cancelled stands there');
SELECT is((SELECT error FROM haul.workflow_steps WHERE workflow_id = :wf AND name = 'then'),
	format('"cancels" (job %s) was cancelled', helper.id(:wf, 'cancels')), 'of each one behind, too');
SELECT is(helper.finished(helper.id(:wf, 'cancels')) ->> 'last_error', format('"a" (job %s) failed', helper.id(:wf,
	'a')), 'and in the history');
SELECT is(helper.counts('default') -> 'drops', '3', 'those cancelled are counted as dropped');
SELECT is(helper.checkout_kinds(:w), 'r', 'one runs all the same');
SELECT is(haul.discard(:w, helper.id(:wf, 'runs'), 1, 'no'), true, 'and is discarded');
SELECT is(helper.states(:wf),
	'a failed, cancels cancelled, cleanup ready, runs discarded, then cancelled, waits waiting',
	'the cleanup runs whatever happened');
SELECT is(helper.checkout_kinds(:w), 'u', 'it runs');
SELECT helper.ends_well(:w, :wf, 'cleanup');
SELECT is(helper.status(:wf), 'stuck', 'what is left waits');

-- Retry: what did not succeed runs again, what waited goes on.
SELECT is(haul.retry_workflow(:wf), 4::bigint, 'four are enqueued again');
SELECT is(helper.states(:wf), 'a ready, cancels waiting, cleanup completed, runs waiting, then waiting, waits waiting',
	'as new jobs, in their places');
SELECT is((SELECT array_agg(name ORDER BY name) FROM haul.workflow_steps AS s JOIN haul.jobs AS j ON j.id = s.job_id
	WHERE s.workflow_id = :wf AND j.claim = 0 AND j.attempt = 0 AND j.enqueued_by = current_user AND j.last_error IS NULL),
	ARRAY['a', 'cancels', 'runs', 'then', 'waits'], 'that have never run');
SELECT is((SELECT keep FROM haul.jobs WHERE id = helper.id(:wf, 'a')), interval '0', 'with all their options');
SELECT is(helper.checkout_kinds(:w), 'a', 'the first runs again');
SELECT helper.ends_well(:w, :wf, 'a');
SELECT is((SELECT array_agg(c.kind ORDER BY c.kind) FROM haul.checkout(:w, 10) AS c), ARRAY['c', 'r', 'w'],
	'the three behind it follow');
SELECT helper.ends_well(:w, :wf, step) FROM unnest(ARRAY['cancels', 'runs', 'waits']) AS step;
SELECT is(helper.checkout_kinds(:w), 't', 'what comes after two of them waits for both');
SELECT helper.ends_well(:w, :wf, 'then');
SELECT is(helper.status(:wf), 'completed', 'now all have completed');
SELECT is(haul.retry_workflow(:wf), 0::bigint, 'nothing is left to be tried again');

-- A whole workflow cancelled while one of its jobs runs.
SELECT haul.workflow('[{"name": "a", "kind": "a"}, {"name": "b", "kind": "b", "after": "a", "if_failed": "run"}, '
	'{"name": "c", "kind": "c", "after": "b", "if_failed": "run"}, {"name": "d", "kind": "d"}]') AS wf \gset
SELECT is(helper.checkout_kinds(:w, 1), 'a', 'one runs');
SELECT is(haul.cancel_workflow(:wf), 3::bigint, 'the others are cancelled');
SELECT is(helper.states(:wf), 'a running, b cancelled, c cancelled, d cancelled', 'all of them, whatever the policies');
SELECT is(helper.status(:wf), 'cancelling', 'one is left');
SELECT is(haul.fail(:w, helper.id(:wf, 'a'), 1, 'oops'), 'cancelled', 'it is not tried again');
SELECT is(helper.status(:wf), 'cancelled', 'that was the last');
SELECT is(haul.retry_workflow(:wf), 4::bigint, 'a cancelled workflow can be tried again');
SELECT is(helper.status(:wf), 'running', 'as a whole');
SELECT is(helper.checkout_kinds(:w, 1), 'a', 'one runs');
SELECT haul.cancel_workflow(:wf) \g /dev/null
SELECT is(haul.snooze(:w, helper.id(:wf, 'a'), 1, '1 h'), true, 'snoozed');
SELECT is(helper.status(:wf), 'cancelled', 'it ends, too');
SELECT haul.retry_workflow(:wf) \g /dev/null
SELECT is(helper.checkout_kinds(:w, 1), 'a', 'one runs');
SELECT haul.cancel_workflow(:wf) \g /dev/null
SELECT helper.ends_well(:w, :wf, 'a');
SELECT is(helper.states(:wf), 'a completed, b cancelled, c cancelled, d cancelled', 'one that completes stays so');
SELECT is(haul.cancel_workflow(:wf), 0::bigint, 'cancelled twice is cancelled once');

-- Other ends: expiry, deletion by hand, the death of a worker.
SELECT haul.workflow('[{"name": "a", "kind": "a", "queue": "elsewhere", "queue_timeout": "1 ms"}, {"name": "b", '
	'"kind": "b", "after": "a"}]') AS wf \gset
SELECT pg_sleep(0.002) \g /dev/null
SELECT is((haul.maintain() ->> 'jobs_expired')::integer, 1, 'one was not started in time');
SELECT is(helper.states(:wf), 'a discarded, b cancelled', 'which cancels what comes after it');
SELECT haul.workflow('[{"name": "a", "kind": "a"}, {"name": "b", "kind": "b", "after": "a"}, {"name": "c", "kind": '
	'"c", "after": "b"}]') AS wf \gset
DELETE FROM haul.jobs WHERE id = helper.id(:wf, 'b');
SELECT is(helper.states(:wf), 'a ready, b cancelled, c cancelled', 'deleted by hand, it counts as cancelled');
SELECT is((SELECT error FROM haul.workflow_steps WHERE workflow_id = :wf AND name = 'b'), 'the job was deleted',
	'and says why');
SELECT haul.register_worker('mortal', '{"queues": ["default"]}') AS mortal \gset
SELECT is(helper.checkout_kinds(:mortal), 'a', 'somebody runs the first');
DELETE FROM haul.workers WHERE id = :mortal;
SELECT is(helper.states(:wf), 'a ready, b cancelled, c cancelled', 'and dies: it is ready again');
SELECT is(helper.checkout_kinds(:w), 'a', 'for another');
SELECT is(haul.retry_workflow(:wf), 2::bigint, 'a retry while one runs');
SELECT is(helper.states(:wf), 'a running, b waiting, c waiting', 'puts the others behind it');
SELECT helper.ends_well(:w, :wf, 'a');
SELECT is(helper.states(:wf), 'a completed, b ready, c waiting', 'and they follow');
SELECT haul.cancel_workflow(:wf) \g /dev/null

-- Many: gates in two levels, wide and deep.
SELECT haul.workflow((SELECT jsonb_build_array('{"name": "end", "kind": "many"}'::jsonb || jsonb_build_object('after',
	jsonb_agg('m' || n)))
	|| jsonb_agg(jsonb_build_object('name', 'm' || n, 'kind', 'many', 'queue', 'many', 'after',
		'root')) || '[{"name": "root", "kind": "many", "queue": "many"}]'
	FROM generate_series(1, 4500) AS n)) AS wf \gset
SELECT is((SELECT count(*) FROM haul._gates WHERE workflow_id = :wf), (71 + 2 + 1)::bigint,
	'no gate counts more than 64');
SELECT haul.register_worker('many', '{"queues": ["many"]}') AS m \gset
CREATE TEMP TABLE held AS SELECT id, claim FROM haul.checkout(:m, 10000);
SELECT is((SELECT count(*) FROM held), 1::bigint, 'the root');
SELECT is((SELECT haul.complete(:m, array_agg(id), array_agg(claim)) FROM held), '{}', 'completes');
TRUNCATE held;
INSERT INTO held SELECT id, claim FROM haul.checkout(:m, 10000);
SELECT is((SELECT count(*) FROM held), 4500::bigint, 'thousands follow');
SELECT is((SELECT haul.complete(:m, array_agg(id), array_agg(claim)) FROM held WHERE id % 3 = 1), '{}',
	'a third completes');
SELECT is((SELECT haul.complete(:m, ARRAY[id], ARRAY[claim]) FROM held WHERE id % 3 = 0 ORDER BY random() LIMIT 1),
	'{}', 'one completes');
SELECT is((SELECT haul.complete(:m, array_agg(h.id), array_agg(h.claim)) FROM held AS h JOIN haul.jobs
	AS j ON j.id = h.id WHERE h.id % 3 = 0), '{}', 'another third completes');
SELECT is((SELECT state FROM haul.workflow_steps WHERE workflow_id = :wf AND name = 'end'), 'waiting',
	'the end still waits');
SELECT is((SELECT array_agg(haul.fail(:m, h.id, h.claim, 'once', retry_in => '0')) FROM held AS h JOIN haul.jobs
	AS j ON j.id = h.id WHERE h.id % 30 = 2), array_fill('ready'::text, ARRAY[150]), 'some fail once');
TRUNCATE held;
INSERT INTO held SELECT id, claim FROM haul.jobs WHERE queue = 'many' AND state = 'running';
SELECT is((SELECT haul.complete(:m, array_agg(id), array_agg(claim)) FROM held), '{}', 'the rest completes');
SELECT is((SELECT state FROM haul.workflow_steps WHERE workflow_id = :wf AND name = 'end'), 'waiting',
	'the end waits for those');
SELECT is((SELECT haul.complete(:m, array_agg(id), array_agg(claim)) FROM haul.checkout(:m, 10000)), '{}',
	'which complete');
SELECT is(helper.checkout_kinds(:w), 'many', 'the end runs');
SELECT is((SELECT sum(missing) FROM haul._gates WHERE workflow_id = :wf), 0::bigint, 'every gate is open');
SELECT haul.cancel_workflow(:wf) \g /dev/null

-- A long chain whose first member fails ends at once.
SELECT count(*) AS n FROM haul.chain((SELECT jsonb_agg('{"kind": "long"}'::jsonb) FROM generate_series(1, 3000))) \gset
SELECT max(workflow_id) AS wf FROM haul.jobs \gset
SELECT is(helper.checkout_kinds(:w), 'long', 'the first of a long chain');
SELECT helper.ends_badly(:w, :wf, '1');
SELECT is((SELECT cancelled FROM haul.workflow_status WHERE id = :wf), 2999::bigint, 'fails: all others are cancelled');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- A savepoint takes back what an end brought about.
SELECT haul.workflow('[{"name": "a", "kind": "sa"}, {"name": "b", "kind": "sb", "after": "a"}]') AS wf \gset
SELECT is(helper.checkout_kinds(:w), 'sa', 'the first runs');
SAVEPOINT s;
SELECT haul.complete(:w, ARRAY[helper.id(:wf, 'a')], ARRAY[1]) \g /dev/null
ROLLBACK TO s;
SELECT is(helper.states(:wf), 'a running, b waiting', 'a completion that is rolled back releases nothing');
SELECT haul.cancel_workflow(:wf) \g /dev/null

-- What is null is left out.
SELECT haul.workflow('[{"name": null, "kind": "n", "after": null, "if_failed": null, "queue": null}, {"kind": "m", '
	'"after": {"name": "1", "if_failed": null}}]') AS wf \gset
SELECT is(helper.states(:wf), '1 ready, 2 waiting', 'null is as good as nothing');

SELECT haul.cancel_workflow(:wf) \g /dev/null
SELECT haul.workflow('[{"kind": "stays"}]') AS wf \gset

-- Bad descriptions are refused, and leave nothing.
SELECT count(*) AS jobs FROM haul.jobs \gset
SELECT count(*) AS workflows FROM haul.workflows \gset
SELECT is(r.state || ' ' || r.message, expected, description)
	FROM (VALUES
		('{"jobs": [{"kind": "a", "name": "a", "after": "b"}, {"kind": "b", "name": "b", "after": "c"}, {"kind": "c", '
			'"name": "c", "after": "b"}]}',
		 '22023 the jobs depend on each other in a cycle: "b" after "c" after "b"', 'a cycle'),
		('[{"kind": "a", "after": "1"}]', '22023 the jobs depend on each other in a cycle: "1" after "1"',
			'a job after itself'),
		('[{"kind": "a", "after": "x"}]', '22023 job "1" comes after "x", which is not a job of the workflow',
			'an unknown name'),
		('[{"kind": "a", "name": "n"}, {"kind": "b", "name": "n"}]', '22023 two jobs of the workflow are named "n"',
			'a name given twice'),
		('[{"kind": "a", "name": "2"}, {"kind": "b"}]', '22023 two jobs of the workflow are named "2"',
			'also when one of them is a number'),
		('[{"kind": "a"}, {"kind": "b", "after": ["1", {"name": "1"}]}]', '22023 job "2" comes after "1" twice',
			'a predecessor named twice'),
		('[{"kind": "a"}, {"kind": "b", "after": [1]}]',
			'22023 option "after" has an item that is neither a name nor {"name", "if_failed"}: 1', 'a name that is no string'),
		('[{"kind": "a"}, {"kind": "b", "after": {"name": "1", "if": "x"}}]',
		 '22023 option "after" has an item that is neither a name nor {"name", "if_failed"}: {"if": "x", "name": "1"}',
		 	'an unknown key of an edge'),
		('[{"kind": "a", "if_failed": "explode"}]', '22023 if_failed must be "cancel", "wait" or "run", not "explode"',
			'an unknown policy'),
		('[{"kind": "a"}, {"kind": "b", "after": "1", "run_at": "infinity"}]',
			'22023 run_at of job "2" must be a time of the years 1 to 9999', 'a job that never runs'),
		('[{"kind": "a", "name": ""}]',
			'22023 the name of a job in a workflow must be a string of 1 to 255 characters, not ""', 'an empty name'),
		('[{"kind": "a", "every": "1 h"}]', '22023 unknown option "every" of a job in a workflow', 'a periodic job'),
		('[]', '22023 a workflow must have 1 to 100000 jobs, not 0', 'no jobs'),
		('{"jobs": {}}', '22023 the jobs of a workflow must be a JSON array of objects', 'no array'),
		('{}', '22023 the jobs of a workflow must be a JSON array of objects', 'nothing'),
		('[1]', '22023 the jobs of a workflow must be a JSON array of objects, but one item is 1', 'no object'),
		('1', '22023 a workflow is described by a JSON object, {"name", "jobs"}, or the array of its jobs', 'a number'),
		('{"jobs": [{"kind": "a"}], "nmae": "x"}', '22023 unknown option "nmae" of a workflow', 'an unknown option'),
		('{"jobs": [{"kind": "a"}], "name": 1}', '22023 the name of a workflow must be a string, not 1',
			'a name that is no string'),
		('[{"kind": "a"}, {"kind": "b", "priority": 0, "after": "1"}]',
			'23514 haul.jobs.priority must be at least 1, not "0"', 'a bad value of a job'),
		('[{"kind": "a"}, {"after": "1"}]', '23502 haul.jobs.kind must not be null', 'a job without a kind')
	) AS t(jobs, expected, description),
	LATERAL helper.refusal(format('SELECT haul.workflow(%L)', jobs)) AS r;
SELECT is(r.state || ' ' || r.message, expected, description)
	FROM (VALUES
		($$SELECT haul.workflow(NULL)$$,
			'22023 a workflow is described by a JSON object, {"name", "jobs"}, or the array of its jobs', 'null'),
		($$SELECT haul.chain('[{"kind": "a"}, {"kind": "b", "after": "1"}]')$$,
			'22023 a job in a chain comes after the one before it: option "after" is not for chains',
			'a chain with dependencies'),
		($$SELECT haul.chain(NULL)$$, '22023 the jobs of a workflow must be a JSON array of objects', 'a null chain'),
		($$SELECT haul.chain('[{"kind": "a"}, {"kind": "b"}]', if_failed => 'no')$$,
			'22023 if_failed must be "cancel", "wait" or "run", not "no"', 'a chain with a bad policy'),
		($$SELECT haul.chain('[{"kind": "a"}]', if_failed => 'no')$$,
			'22023 if_failed must be "cancel", "wait" or "run", not "no"', 'also when nothing comes after it'),
		($$UPDATE haul.jobs SET every = '10 h' WHERE workflow_id IS NOT NULL$$,
			'23514 haul.jobs.every must be null in a workflow, not "10:00:00"', 'a member made periodic'),
		($$UPDATE haul.jobs SET workflow_id = NULL WHERE workflow_id IS NOT NULL$$,
			'23514 haul.jobs.workflow_id cannot be changed, not "null"', 'a member taken out'),
		($$SELECT haul.cancel_workflow(0)$$, '42704 there is no workflow 0', 'cancelling what is not there'),
		($$SELECT haul.retry_workflow(0)$$, '42704 there is no workflow 0', 'retrying what is not there')
	) AS t(statement, expected, description),
	LATERAL helper.refusal(statement) AS r;
SELECT is((SELECT count(*) FROM haul.jobs), :jobs::bigint, 'no job is left of them');
SELECT is((SELECT count(*) FROM haul.workflows), :workflows::bigint, 'nor a workflow');

SELECT haul.cancel_workflow(:wf) \g /dev/null

-- Policies of others on haul.jobs are not got around.
CREATE ROLE haul_test_limited;
SELECT haul.grant_producer('haul_test_limited');
ALTER TABLE haul.jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON haul.jobs FOR INSERT TO haul_test_limited WITH CHECK (queue = 'mine');
GRANT USAGE ON SCHEMA helper TO haul_test_limited;
SET LOCAL ROLE haul_test_limited;
SELECT state || ' ' || message AS refusal FROM helper.refusal($$ SELECT haul.chain('[{"kind": "a"}]') $$) \gset
RESET ROLE;
SELECT is(:'refusal'::text, '0A000 a workflow cannot be enqueued under row-level security',
	'row-level security is not got around');
DROP POLICY mine ON haul.jobs;
ALTER TABLE haul.jobs DISABLE ROW LEVEL SECURITY;

-- Unique keys hold in workflows.
SELECT haul.workflow('[{"kind": "u", "unique_key": "only"}, {"kind": "v", "after": "1", "unique_key": "other"}]')
	AS wf \gset
SELECT throws_ok($$ SELECT haul.workflow('[{"kind": "v", "unique_key": "other"}]') $$, '23505', NULL,
	'a waiting job holds its unique key');
SELECT haul.cancel_workflow(:wf) \g /dev/null
SELECT lives_ok($$ INSERT INTO haul.jobs (kind, unique_key) VALUES ('v', 'other') $$, 'cancelled, it is free');
SELECT throws_ok(format('SELECT haul.retry_workflow(%s)', :wf), '23505', NULL, 'and a retry finds it taken');
SELECT is(helper.status(:wf), 'cancelled', 'which leaves the workflow as it was');

-- Pruned when its last job ended long ago.
SET LOCAL haul.keep_workflows = '1 h';
SELECT is((haul.maintain() ->> 'workflows_dropped')::integer, 0, 'nothing has ended long ago');
UPDATE haul._workflow_ends SET finished_at = finished_at - interval '2 h';
UPDATE haul.workflows SET created_at = created_at - interval '2 h';
SELECT count(*) AS live FROM haul.workflow_status WHERE state IN ('running', 'cancelling', 'stuck') \gset
SELECT cmp_ok((haul.maintain() ->> 'workflows_dropped')::integer, '>', 5, 'those that ended long ago are dropped');
SELECT is((SELECT count(*) FROM haul.workflows), :live::bigint, 'all others stay');
SELECT is_empty('SELECT FROM haul.workflow_jobs AS m WHERE NOT EXISTS (SELECT FROM haul.workflows AS w WHERE w.id = '
	'm.workflow_id)
	UNION ALL SELECT FROM haul._workflow_ends AS m
		WHERE NOT EXISTS (SELECT FROM haul.workflows AS w WHERE w.id = m.workflow_id)
	UNION ALL SELECT FROM haul._gates AS m
		WHERE NOT EXISTS (SELECT FROM haul.workflows AS w WHERE w.id = m.workflow_id)',
	'with all that belongs to them');
\ir include/finish.psql
