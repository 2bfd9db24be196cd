-- The floors of lanes, as haul.lanes shows them. Needs commits, hence a database of its own.
\set database haul_test_floors
\ir include/own_database.psql
\ir include/served.psql
SELECT no_plan();

-- One checkout: the kinds of its jobs, and how many live jobs of the queue it looked at for that.
CREATE FUNCTION look(worker bigint, max_jobs integer DEFAULT 1000) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	before CONSTANT bigint := (SELECT coalesce(sum(rows_scanned), 0) FROM haul.lanes);
	kinds  CONSTANT text := (SELECT string_agg(DISTINCT kind || ' ' || id, ', ') FROM haul.checkout(worker, max_jobs));
BEGIN
	RETURN concat_ws(': ', (SELECT sum(rows_scanned) - before FROM haul.lanes) || ' seen', kinds);
END
$$;
CREATE FUNCTION floor_of(queue text, OUT run_at timestamptz, OUT id bigint) LANGUAGE sql
AS $$ SELECT floor_run_at, floor_id FROM haul.lanes AS l WHERE l.queue = floor_of.queue $$;

\if :preloaded

SELECT results_eq('SELECT preloaded, floors_open, waiting_workers FROM haul.background', 'VALUES (true, true, 0)',
	'the database is served');
SELECT is_empty('SELECT FROM haul.lanes', 'there are no lanes before there are jobs');

-- Up
INSERT INTO haul.jobs (kind, queue) SELECT 'k', 'q' FROM generate_series(1, 20); -- the first jobs: 1 to 20
SELECT haul.register_worker('w', '{"queues": ["q"]}') AS w \gset
SELECT results_eq('SELECT queue, priority::integer, floor_run_at, floor_id, found_below FROM haul.lanes',
	$$ VALUES ('q', 16383, NULL::timestamptz, NULL::bigint, 0::bigint) $$, 'the first jobs make a lane known');
SELECT is(look(:w, 3), '3 seen: k 1, k 2, k 3', 'a checkout');
SELECT is((floor_of('q')).id, 4::bigint, 'raises its floor above the jobs it handed out');
SELECT is(look(:w, 1), '1 seen: k 4', 'where the next begins');

BEGIN;
SELECT is(look(:w, 2), '2 seen: k 5, k 6', 'a checkout');
SELECT is((floor_of('q')).id, 5::bigint, 'raises nothing before it commits');
ROLLBACK;
SELECT is((floor_of('q')).id, 5::bigint, 'nor after it was rolled back');
BEGIN;
SAVEPOINT s;
SELECT is(look(:w, 1), '1 seen: k 5', 'so the jobs are found again');
RELEASE SAVEPOINT s;
COMMIT;
SELECT is((floor_of('q')).id, 5::bigint, 'a checkout within a savepoint raises nothing');
SELECT is(look(:w, 3), '4 seen: k 6, k 7, k 8', 'and hides nothing');
SELECT is((floor_of('q')).id, 9::bigint, 'the next one raises the floor for it');
BEGIN;
SELECT is(look(:w, 1), '1 seen: k 9', 'what a transaction checked out');
SAVEPOINT s;
SELECT is(look(:w, 1), '2 seen: k 10', 'before a savepoint');
ROLLBACK TO SAVEPOINT s;
COMMIT;
SELECT is((floor_of('q')).id, 10::bigint, 'counts, what it did after it and rolled back does not');

SELECT alike(look(:w), '11 seen: %', 'a checkout that gets all');
SELECT is((floor_of('q')).run_at, 'infinity', 'raises the floor above everything');
SELECT scans FROM haul.lanes WHERE queue = 'q' \gset
SELECT is(look(:w), '0 seen', 'so that a checkout sees nothing of what runs');
SELECT is(scans, :scans::bigint, 'and does not even come by') FROM haul.lanes WHERE queue = 'q';
SELECT results_eq('SELECT rows_claimed, rows_skipped FROM haul.lanes', 'VALUES (23::bigint, 0::bigint)',
	'jobs handed out are counted, also where that was rolled back');

-- Down
INSERT INTO haul.jobs (id, kind, queue, run_at) OVERRIDING SYSTEM VALUE VALUES (100, 'k', 'q', '2000-01-01 UTC'),
	(99, 'k', 'q', '2000-01-02 UTC');
SELECT is(floor_of('q'), ROW ('2000-01-01 UTC'::timestamptz, 100::bigint),
	'an INSERT lowers the floor to its first job');
SELECT is(look(:w), '22 seen: k 100, k 99', 'so it is found');
SELECT (floor_of('q')).run_at AS floor \gset
BEGIN;
INSERT INTO haul.jobs (kind, queue, run_at) VALUES ('k', 'q', '2000-01-01 UTC');
ROLLBACK;
INSERT INTO haul.jobs (kind, queue, run_at) VALUES ('k', 'r', '2000-01-01 UTC');
INSERT INTO haul.jobs (kind, queue, run_at, priority) VALUES ('k', 'q', '2000-01-01 UTC', 1);
SELECT results_eq($$ SELECT floor_run_at FROM haul.lanes WHERE queue = 'q' AND priority = 16383 $$,
	ARRAY[:'floor']::timestamptz[], 'what is rolled back, or in another lane, does not');

SELECT generation FROM haul.lanes WHERE queue = 'q' AND priority = 16383 \gset
INSERT INTO haul.jobs (kind, queue, run_at) VALUES ('later', 'q', '2100-01-02 UTC'), ('later', 'q', '2100-01-01 UTC');
SELECT results_eq($$ SELECT floor_run_at, next_due_at FROM haul.lanes WHERE queue = 'q' AND priority = 16383 $$,
	$$ VALUES (timestamptz '2100-01-01 UTC', timestamptz '2100-01-01 UTC') $$,
		'a job of the future lowers it to when it is due');
SELECT is(haul.next_due(:w) > interval '50 years', false, 'a job of another priority is due before');
SELECT alike(look(:w), '1 seen: %', 'it is taken');
SELECT ok(haul.next_due(:w) > interval '50 years', 'then the one of the future is next');
SELECT is(look(:w), '0 seen', 'and nothing until then');
SELECT cmp_ok(generation, '>', :generation::bigint, 'but the lane has another generation') FROM haul.lanes
	WHERE queue = 'q' AND priority = 16383;

-- Jobs for other kinds of workers stay above the floor, and below what workers of one filter share.
INSERT INTO haul.jobs (id, kind, queue, run_at) OVERRIDING SYSTEM VALUE
	SELECT 1000 + n, 'other', 'kinds', timestamptz '2000-01-01 UTC' + n * interval '1 s' FROM generate_series(1, 100) AS n;
INSERT INTO haul.jobs (id, kind, queue) OVERRIDING SYSTEM VALUE VALUES (1200, 'mine', 'kinds');
SELECT haul.register_worker('one', '{"queues": ["kinds"], "kinds": ["mine", "never"]}') AS one \gset
SELECT haul.register_worker('two', '{"queues": ["kinds"], "kinds": ["never", "mine"]}') AS two \gset
SELECT haul.register_worker('three', '{"queues": ["kinds"], "kinds": ["never"]}') AS three \gset
SELECT haul.register_worker('all', '{"queues": ["kinds"]}') AS everything \gset
SELECT is(look(:one, 1), '101 seen: mine 1200', 'a worker of one kind passes over those of another');
SELECT is(look(:one), '0 seen', 'and then begins above them');
SELECT is(look(:two), '0 seen', 'as do other workers of the same kinds');
SELECT is(look(:three), '101 seen', 'but not those of other kinds');
SELECT is((floor_of('kinds')).id, 1001::bigint, 'the floor is the first job that somebody may take');
INSERT INTO haul.jobs (id, kind, queue, run_at) OVERRIDING SYSTEM VALUE VALUES (1300, 'mine', 'kinds',
	'2000-01-01 00:01 UTC');
SELECT is((floor_of('kinds')).id, 1001::bigint, 'also after an INSERT above it');
SELECT is(look(:two), '42 seen: mine 1300', 'which is found by workers who began above');
SELECT is(look(:one), '0 seen', 'once');
SELECT alike(look(:everything, 100), '101 seen: other %', 'a worker of all kinds takes the others');
SELECT is(look(:one), '0 seen', 'which is nothing to the former');
SELECT is((SELECT sum(rows_skipped) FROM haul.lanes WHERE queue = 'kinds'), 100 * 2 + 40::numeric,
	'jobs passed over are counted');

INSERT INTO haul.jobs (id, kind, queue, pin, pin_strict) OVERRIDING SYSTEM VALUE
	SELECT 2000 + n, CASE WHEN n > 50 THEN 'mine' ELSE 'other' END, 'pins', 'him', true FROM generate_series(1, 100) AS n;
INSERT INTO haul.jobs (id, kind, queue, avoid) OVERRIDING SYSTEM VALUE
	SELECT 2200 + n, 'mine', 'pins', '{me,you}' FROM generate_series(1, 100) AS n;
SELECT haul.register_worker('me', '{"queues": ["pins"]}') AS me \gset
SELECT haul.register_worker('me', '{"queues": ["pins"], "kinds": ["mine"]}') AS my_kind \gset
SELECT haul.register_worker('you', '{"queues": ["pins"]}') AS you \gset
SELECT haul.register_worker('him', '{"queues": ["pins"], "kinds": ["mine"]}') AS his_kind \gset
SELECT is(look(:me), '200 seen', 'jobs pinned to another worker, or that avoid this one, are passed over');
SELECT is(look(:me), '0 seen', 'once by each worker');
SELECT is(look(:you), '200 seen', 'for itself');
SELECT is(look(:you), '0 seen', 'alone');
SELECT is(look(:my_kind), '200 seen', 'also when it has kinds');
SELECT is(look(:my_kind), '0 seen', 'which begins above both');
SELECT is((floor_of('pins')).id, 2001::bigint, 'the floor is the first of them');
INSERT INTO haul.jobs (id, kind, queue, run_at) OVERRIDING SYSTEM VALUE SELECT 2400, 'mine', 'pins', run_at
	FROM haul.jobs WHERE id = 2100;
SELECT is(look(:my_kind), '101 seen: mine 2400', 'an INSERT below where the worker begins is found');
SELECT alike(look(:his_kind, 50), '50 seen: mine 2051, %',
	'the worker whom the others are for begins above those of other kinds');
SELECT is(look(:my_kind), '0 seen', 'which is nothing to the former');

SELECT is((SELECT sum(found_below) FROM haul.lanes), 0::numeric, 'nothing was ever found below a floor');

\else

INSERT INTO haul.jobs (kind) VALUES ('k');
SELECT haul.register_worker('w') AS w \gset
SELECT is(count(*), 1::bigint) FROM haul.checkout(:w, 10);
SELECT results_eq('SELECT * FROM haul.background',
	'VALUES (false, NULL::integer, NULL::integer, false, 0, 0::bigint, ''{}''::text[] COLLATE "C")',
	'nothing works in the background');
SELECT is_empty('SELECT FROM haul.lanes', 'lanes have no floors');

\endif

SELECT * FROM finish();
\c :home
DROP DATABASE haul_test_floors;
