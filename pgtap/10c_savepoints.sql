-- Savepoints: what is rolled back has not happened. pgTAP's own count would be rolled back, too, so no test stands
-- between a savepoint and its rollback: what is seen there is kept in variables of psql.
\ir include/prelude.psql
SELECT no_plan();

SELECT haul.register_worker('w', '{"queues": ["q"]}') AS w \gset

-- An INSERT that is rolled back leaves no job.
INSERT INTO haul.jobs (kind, queue) VALUES ('before', 'q');
SAVEPOINT s;
INSERT INTO haul.jobs (kind, queue, unique_key) VALUES ('undone', 'q', 'k');
ROLLBACK TO s;
SELECT is((SELECT string_agg(kind, ' ') FROM haul.jobs), 'before', 'a job whose INSERT was rolled back is not there');
SELECT lives_ok($$ INSERT INTO haul.jobs (kind, queue, unique_key) VALUES ('after', 'q', 'k') $$,
	'its unique key is free');
DO $$
BEGIN
	INSERT INTO haul.jobs (kind, queue) VALUES ('undone', 'q');
	RAISE EXCEPTION 'stop';
EXCEPTION WHEN raise_exception THEN
END
$$;

-- A checkout that is rolled back leaves the jobs as they were.
CREATE TEMP TABLE was AS SELECT * FROM haul.jobs;
SAVEPOINT s;
SELECT helper.checkout_kinds(:w) AS kinds \gset
SELECT count(*) AS leases FROM haul.leases \gset
ROLLBACK TO s;
SELECT is(ARRAY[:'kinds', :'leases'], ARRAY['before after', '1'], 'a checkout in a savepoint');
SELECT set_eq('SELECT * FROM haul.jobs', 'SELECT * FROM was', 'rolled back, the jobs are as before');
SELECT is_empty('SELECT FROM haul.leases', 'the lease is gone');
SELECT is(helper.counts('q'), '{}', 'nothing is counted');
CREATE TEMP TABLE held AS SELECT * FROM haul.checkout(:w, 10);
SELECT is((SELECT string_agg(kind || ' ' || claim, ', ' ORDER BY id) FROM held), 'before 1, after 1',
	'they are handed out as if for the first time');

-- So do calls about jobs.
CREATE TEMP TABLE running AS SELECT * FROM haul.jobs;
CREATE FUNCTION helper.undone(call text) RETURNS SETOF text LANGUAGE plpgsql
AS $$
DECLARE
	outcome text;
BEGIN
	BEGIN
		EXECUTE call INTO outcome;
		RAISE EXCEPTION 'undo';
	EXCEPTION WHEN raise_exception THEN
	END;
	RETURN NEXT ok(outcome IN ('{}', 'ready', 'failed', 'true', 'false', '2'), call || ' does something: ' || outcome);
	RETURN NEXT set_eq('SELECT * FROM haul.jobs', 'SELECT * FROM running', 'and, rolled back, has done nothing');
	RETURN NEXT is((SELECT count(*) FROM haul.finished_jobs) + (SELECT count(*) FROM haul.job_errors), 0::bigint,
		'nor recorded');
	RETURN NEXT is(helper.counts('q'), '{"dispatches": 2}', 'nor counted');
END
$$;
SELECT helper.undone(replace(replace(call, 'W', :'w'), 'ID', (SELECT min(id)::text FROM held))) FROM unnest(ARRAY[
	'SELECT haul.complete(W, ARRAY[ID], ARRAY[1])', 'SELECT haul.fail(W, ID, 1, ''e'')',
		'SELECT haul.fail(W, ID, 1, ''e'', final => true)', 'SELECT haul.discard(W, ID, 1, ''r'')',
	'SELECT haul.cancelled(W, ID, 1, ''r'')', 'SELECT haul.snooze(W, ID, 1, ''0'')',
		'SELECT haul.release(W, ARRAY[ID], ARRAY[1])', 'SELECT haul.progress(W, ID, 1, ''1'')',
	'SELECT haul.reconcile(W, ''{}'', ''{}'')', 'SELECT haul.unregister_worker(W)']) AS call;
SELECT is((SELECT haul.complete(:w, array_agg(id), array_agg(claim)) FROM held), '{}',
	'after all of this, the worker completes its jobs');

-- Savepoints within savepoints: a job that changes hands in several of them
INSERT INTO haul.jobs (kind, queue) VALUES ('nested', 'q') RETURNING id AS id \gset
SAVEPOINT a;
SELECT helper.checkout_kinds(:w) AS in_a \gset
SAVEPOINT b;
SELECT haul.release(:w, ARRAY[:id], ARRAY[1], false) AS release_in_b \gset
SELECT helper.checkout_kinds(:w) AS in_b \gset
RELEASE b;
SAVEPOINT c;
SELECT haul.complete(:w, ARRAY[:id], ARRAY[2]) AS complete_in_c \gset
ROLLBACK TO c;
SELECT helper.job(:id) AS after_c \gset
SELECT haul.complete(:w, ARRAY[:id], ARRAY[2]) AS complete_in_a \gset
ROLLBACK TO a;
SELECT is(ARRAY[:'in_a', :'release_in_b', :'in_b', :'complete_in_c'], ARRAY['nested', '{}', 'nested', '{}'],
	'each step in its savepoint does what it should');
SELECT has(:'after_c', '{"state": "running", "claim": 2, "attempt": 1}',
	'rolled back to c: running by its second claim');
SELECT is(:'complete_in_a'::text, '{}', 'which completes it');
SELECT has(helper.job(:id), '{"state": "ready", "claim": 0, "attempt": 0}', 'rolled back to a: as enqueued');
SELECT ok(helper.counters_add_up(), 'the counters add up');

\ir include/finish.psql
