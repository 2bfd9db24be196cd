-- Which jobs a checkout hands out, in which order, and what it makes of them.
\ir include/prelude.psql
SELECT no_plan();

-- Order within a queue: priority, run_at, id. Order of queues: that of the subscription.
INSERT INTO haul.jobs (kind, queue, priority, run_at) VALUES
	('b4', 'b', 100, now() - interval '1 hour'), ('b5', 'b', 100, now() - interval '1 hour'),
	('b3', 'b', 100, now() - interval '2 hours'),
	('b2', 'b', 2, now()), ('b1', 'b', 1, now()),
	('a2', 'a', 32767, now() - interval '1 day'), ('a1', 'a', 32766, now()),
	('future', 'a', 1, now() + interval '1 hour'), ('other', 'c', 1, now());
SELECT haul.register_worker('w', '{"queues": ["b", "a"]}') AS w \gset
SELECT is(helper.checkout_kinds(:w, 3), 'b1 b2 b3', 'max_jobs jobs, by priority, then run_at');
SELECT is(helper.checkout_kinds(:w, 3), 'b4 b5 a1', 'then by id; then the next queue of the subscription');
SELECT is(helper.checkout_kinds(:w, 3), 'a2', 'what is left; not what is due later, nor other queues');
SELECT is(helper.checkout_kinds(:w, 3), NULL, 'nobody gets a job twice');
SELECT haul.register_worker('w2', '{"queues": ["a", "b"]}') AS w2 \gset
SELECT is(helper.checkout_kinds(:w2, 3), NULL, 'nor does another worker');
SELECT is((SELECT array_agg(kind ORDER BY kind) FROM haul.jobs WHERE worker_id = :w AND state = 'running'),
	ARRAY['a1', 'a2', 'b1', 'b2', 'b3', 'b4', 'b5'] COLLATE "C", 'all are held by the one who got them');

-- What comes back, and what becomes of the row
INSERT INTO haul.jobs (kind, queue, args, priority, max_attempts, timeout, on_timeout, run_at)
	VALUES ('full', 'row', '{"x": [1]}', 7, 5, '30 s', 'discard', now() - interval '1 minute')
		RETURNING id AS row_id \gset
SELECT haul.register_worker('r', '{"queues": ["row"]}') AS r \gset
SELECT clock_timestamp() AS before \gset
CREATE TEMP TABLE got AS SELECT * FROM haul.checkout(:r);
SELECT columns_are('got', ARRAY['id', 'claim', 'queue', 'kind', 'args', 'priority', 'attempt', 'max_attempts', 'run_at',
	'enqueued_at', 'timeout',
	'on_timeout', 'interruptions', 'interrupted_at', 'last_error', 'progress', 'workflow_id', 'cron_name',
		'confirm_start'],
		'the columns of haul.checkout');
SELECT is((SELECT to_jsonb(g) - ARRAY['run_at', 'enqueued_at'] FROM got AS g),
	jsonb_build_object('id', :row_id) || '{"claim": 1, "queue": "row", "kind": "full",
	"args": {"x": [1]}, "priority": 7, "attempt": 1, "max_attempts": 5, "timeout": "00:00:30", "on_timeout": "discard",
		"interruptions": 0,
	"interrupted_at": null, "last_error": null, "progress": null, "workflow_id": null, "cron_name": null,
		"confirm_start": false}', 'their values');
SELECT results_eq('SELECT run_at, enqueued_at FROM got', $$ SELECT now() - interval '1 minute', now() $$, 'the times');
SELECT has(helper.job(:row_id), jsonb_build_object('state', 'running', 'attempt', 1, 'claim', 1, 'worker_id', :r),
	'the job is running, charged, claimed, held');
SELECT ok((SELECT started_at BETWEEN :'before' AND clock_timestamp() FROM haul.jobs WHERE id = :row_id),
	'started_at is the time of the checkout');
SELECT is((SELECT jobs FROM haul.leases WHERE worker_id = :r), ARRAY[:row_id]::bigint[], 'a lease says who holds it');
SELECT is((SELECT lease_id FROM haul.jobs WHERE id = :row_id), (SELECT id FROM haul.leases WHERE worker_id = :r),
	'and the job says which lease');
SELECT is(helper.counts('row'), '{"dispatches": 1}', 'one dispatch is counted');

-- All queues: by haul.queues.priority, then by name
INSERT INTO haul.queues (name, priority) VALUES ('ns.m', 5), ('ns.z', 1), ('ns.0', 32767), ('ns.idle', 1);
INSERT INTO haul.jobs (kind, queue) SELECT q, 'ns.' || q FROM unnest(ARRAY['0', 'B', 'b', 'a', 'm', 'z']) AS q;
SELECT haul.register_worker('all', '{"namespace": "ns"}') AS all \gset
SELECT is(helper.checkout_kinds(:all), 'z m B a b 0', 'all queues: by their priority, then by name');

-- Namespaces
INSERT INTO haul.jobs (kind, queue) VALUES ('1', 'bill_ing.x'), ('2', 'bill_ing.y.z'), ('no', 'bill_ing'),
	('no', 'bill_ingx.x'), ('no', 'billXing.x'), ('no', 'x'),
	('3', 'bill_ing.%');
SELECT haul.register_worker('n', '{"namespace": "bill_ing", "queues": ["y.z", "bill_ing.x"]}') AS n \gset
SELECT is(helper.checkout_kinds(:n), '2 1', 'a worker of a namespace names queues with or without it');
SELECT haul.register_worker('n', '{"namespace": "bill_ing"}') AS n \gset
SELECT is(helper.checkout_kinds(:n), '3', 'and takes no others');

-- Exclusions
INSERT INTO haul.jobs (kind, queue) VALUES ('1', 'ex.a'), ('2', 'ex.b'), ('3', 'ex.c');
SELECT haul.register_worker('e', '{"namespace": "ex", "exclude": ["ex.b"]}') AS e \gset
SELECT is(helper.checkout_kinds(:e), '1 3', 'excluded queues are left alone');
SELECT haul.register_worker('e', '{"queues": ["ex.a", "ex.b"], "exclude": ["ex.b"]}') AS e \gset
SELECT is(helper.checkout_kinds(:e), NULL, 'also when they are named');
SELECT haul.register_worker('e', '{"queues": ["*"], "namespace": "ex", "exclude": []}') AS e \gset
SELECT is(helper.checkout_kinds(:e), '2', '"*" is all queues, an empty exclude is none');
INSERT INTO haul.jobs (kind, queue) VALUES ('1', 'ex.a'), ('2', 'ex.b');
SELECT haul.register_worker('e', '{"namespace": "ex", "exclude": ["b"]}') AS e \gset
SELECT is(helper.checkout_kinds(:e), '1', 'within a namespace, exclude names queues with or without it');
SELECT haul.register_worker('everything') AS w0 \gset
SELECT is((SELECT count(*) FROM haul.checkout(:w0, 1000)), 6::bigint, 'a worker without options takes everything due');

-- Kinds
INSERT INTO haul.jobs (kind, queue) SELECT k, 'kinds' FROM unnest(ARRAY['x', 'y', 'Z', 'x ', 'y', 'x']) AS k;
SELECT haul.register_worker('k', '{"queues": ["kinds"], "kinds": ["x", "Z", "absent"]}') AS k \gset
SELECT is(helper.checkout_kinds(:k, 2), 'x Z', 'only kinds that the worker knows');
SELECT is(helper.checkout_kinds(:k, 10), 'x', 'those in between are stepped over');
SELECT is((SELECT count(*) FROM haul.jobs WHERE queue = 'kinds' AND state = 'ready' AND attempt = 0 AND claim = 0),
	3::bigint, 'and stay as they are');

-- Priority range
INSERT INTO haul.jobs (kind, queue, priority) SELECT 'p' || p, 'prio', p
	FROM unnest(ARRAY[1, 10, 11, 20, 21, 32767]) AS p;
SELECT haul.register_worker('p', '{"queues": ["prio"], "min_priority": 11, "max_priority": 20}') AS p \gset
SELECT is(helper.checkout_kinds(:p), 'p11 p20', 'a range of priorities, both ends included');
SELECT haul.register_worker('p', '{"queues": ["prio"], "max_priority": 10}') AS p \gset
SELECT is(helper.checkout_kinds(:p), 'p1 p10', 'a range without a lower end');
SELECT haul.register_worker('p', '{"queues": ["prio"], "min_priority": 32767}') AS p \gset
SELECT is(helper.checkout_kinds(:p), 'p32767', 'a range without an upper end');

-- Weighted queues: both are served in proportion, and an empty one passes its turn on.
INSERT INTO haul.jobs (kind, queue) SELECT q, q FROM unnest(ARRAY['heavy', 'light']) AS q, generate_series(1, 200);
SELECT haul.register_worker('wt',
	'{"queues": [{"name": "heavy", "weight": 8}, "light"], "order": "weighted"}') AS wt \gset
CREATE TEMP TABLE drawn AS SELECT c.queue FROM generate_series(1, 180) AS n, LATERAL haul.checkout(:wt + 0 * n, 1) AS c;
SELECT is((SELECT count(*) FROM drawn), 180::bigint, 'a weighted worker always gets a job while there is one');
-- 160 expected, standard deviation 4.2
SELECT ok(count(*) BETWEEN 130
	AND 178, 'in proportion to the weights, light queues not forgotten: 8 of 9 expected, got ' || count(*) || ' of 180')
	FROM drawn WHERE queue = 'heavy';
SELECT is((SELECT count(*) FROM haul.checkout(:wt, 1000)), 220::bigint,
	'one checkout takes from both when it wants more than one has');

-- Pins
INSERT INTO haul.jobs (kind, queue, pin, pin_strict, avoid) VALUES
	('strict', 'pin', 'me', true, NULL), ('preferred', 'pin', 'me', false, NULL),
		('avoided', 'pin', NULL, false, '{him,"you too"}');
SELECT haul.register_worker('him', '{"queues": ["pin"]}') AS him \gset
SELECT haul.register_worker('you too', '{"queues": ["pin"]}') AS you \gset
SELECT haul.register_worker('me', '{"queues": ["pin"]}') AS me \gset
SELECT is(helper.checkout_kinds(:you), 'preferred',
	'a job pinned softly may go to others; one pinned strictly, and one that avoids a worker, may not');
SELECT is(helper.checkout_kinds(:him), NULL, 'every avoided worker is avoided');
SELECT is(helper.checkout_kinds(:me), 'strict avoided', 'the pinned worker takes it');

-- Waiting jobs, locked or not, are not handed out
INSERT INTO haul.jobs (kind, queue, state) VALUES ('w', 'waiting', 'waiting') RETURNING id AS waiting \gset
SELECT haul.register_worker('w', '{"queues": ["waiting"]}') AS w \gset
SELECT is(helper.checkout_kinds(:w), NULL, 'a waiting job is not handed out');
UPDATE haul.jobs SET state = 'ready' WHERE id = :waiting;
SELECT is(helper.checkout_kinds(:w), 'w', 'until it is made ready');

-- Due times
INSERT INTO haul.jobs (kind, queue, run_at, priority) VALUES ('later', 'due', now() + interval '1 hour', 1),
	('sooner', 'due', now() + interval '30 minutes', 9),
	('other', 'due-not', now(), 1);
SELECT haul.register_worker('d', '{"queues": ["due"]}') AS d \gset
SELECT is(helper.checkout_kinds(:d), NULL, 'jobs are not handed out before their time');
SELECT ok(haul.next_due(:d) BETWEEN interval '29 minutes' AND interval '30 minutes',
	'next_due is the time until the first, whatever its priority');
UPDATE haul.jobs SET run_at = clock_timestamp() WHERE kind = 'later';
SELECT is(haul.next_due(:d), interval '0', 'next_due is 0 when one is due');
SELECT is(helper.checkout_kinds(:d), 'later', 'which is handed out');
SELECT ok(haul.next_due(:d) BETWEEN interval '29 minutes' AND interval '30 minutes', 'running jobs are not due');
DELETE FROM haul.jobs WHERE kind = 'sooner';
SELECT is(haul.next_due(:d), NULL, 'next_due is NULL when nothing is to come');
INSERT INTO haul.jobs (kind, queue, priority, pin, pin_strict, avoid) VALUES ('k', 'due', 1, NULL, false, NULL),
	('mine', 'due', 9, NULL, false, NULL),
	('mine', 'due', 1, 'somebody', true, NULL), ('mine', 'due', 1, NULL, false, '{d}');
SELECT haul.register_worker('d', '{"queues": ["due"], "kinds": ["mine"], "max_priority": 8}') AS d \gset
SELECT is(haul.next_due(:d), NULL, 'next_due heeds kinds, priorities, pins and avoided workers');
SELECT is(helper.checkout_kinds(:d), NULL, 'as checkout does');

-- Queue timeout
INSERT INTO haul.jobs (kind, queue, queue_timeout, expires_at) VALUES ('late 1', 'late', '1 microsecond', NULL),
	('late 2', 'late', NULL, clock_timestamp()),
	('in time', 'late', '1 hour', NULL), ('in time', 'late', NULL, NULL);
SELECT haul.register_worker('l', '{"queues": ["late"]}') AS l \gset
SELECT is(helper.checkout_kinds(:l), 'in time in time', 'jobs past their queue timeout are not handed out');
SELECT results_eq($$ SELECT kind, state, attempt, claim, worker_id FROM haul.finished_jobs WHERE queue = 'late'
	ORDER BY kind $$,
	$$ VALUES ('late 1' COLLATE "C", 'discarded', 0, 0, NULL::bigint), ('late 2', 'discarded', 0, 0, NULL) $$,
		'they are discarded');
SELECT matches((SELECT last_error FROM haul.finished_jobs WHERE kind = 'late 1'), 'timeout|expired', 'with the reason');
SELECT is(helper.counts('late'), '{"dispatches": 2, "drops": 2}', 'and counted as drops');

-- Many of them: a call ends so many, and the next goes on.
INSERT INTO haul.jobs (kind, queue, run_at, expires_at)
	SELECT 'over', 'many', now() - interval '1 hour', now() FROM generate_series(1, 1200);
INSERT INTO haul.jobs (kind, queue) VALUES ('behind', 'many');
INSERT INTO haul.jobs (kind, queue, priority) VALUES ('elsewhere', 'many', 20000);
SELECT haul.register_worker('many', '{"queues": ["many"]}') AS many \gset
SELECT is(helper.checkout_kinds(:many, 1), 'elsewhere', 'a checkout that ends many jobs takes what is in other lanes');
SELECT is(helper.counts('many'), '{"dispatches": 1, "drops": 500}', 'it ends a bounded number');
SELECT is(helper.checkout_kinds(:many, 1), NULL, 'the next ones go on');
SELECT is(helper.counts('many'), '{"dispatches": 1, "drops": 1000}', 'from there');
SELECT is(helper.checkout_kinds(:many, 1), 'behind', 'until they come to the end');
SELECT is(helper.counts('many'), '{"dispatches": 2, "drops": 1200}', 'and all are ended');

-- Bounds of max_jobs
INSERT INTO haul.jobs (kind, queue) SELECT 'm', 'bounds' FROM generate_series(1, 10000);
SELECT haul.register_worker('m', '{"queues": ["bounds"]}') AS m \gset
SELECT throws_ok(format('SELECT haul.checkout(%s, %s)', :m, bad), '22023', NULL, 'max_jobs = ' || bad)
	FROM unnest(ARRAY[0, -1, 10001, 2147483647]) AS bad;
SELECT is_empty(format('SELECT * FROM haul.checkout(%s, NULL)', :m), 'max_jobs = NULL is no jobs');
SELECT is((SELECT count(*) FROM haul.checkout(:m, 10000)), 10000::bigint, '10000 at once');
SELECT is((SELECT count(DISTINCT lease_id) FROM haul.jobs WHERE queue = 'bounds'), 45::bigint,
	'in leases of 224 jobs at most');

-- Without a worker
SELECT throws_ok('SELECT haul.checkout(-1)', 'HQ003', NULL, 'checkout by a worker that was never there');
SELECT throws_ok('SELECT haul.next_due(-1)', 'HQ003', NULL, 'next_due likewise');
DELETE FROM haul.workers WHERE id = :m;
SELECT throws_ok(format('SELECT haul.checkout(%s)', :m), 'HQ003', NULL, 'checkout by a worker whose row was deleted');
SELECT throws_ok(format('SELECT haul.next_due(%s)', :m), 'HQ003', NULL, 'next_due likewise');
SELECT isnt(haul.register_worker('m'), :m::bigint, 'its id is not used again');
SELECT matches(r.message, '-1', 'the message names the worker'), isnt(r.hint, '', 'and says what to do')
	FROM helper.refusal('SELECT haul.checkout(-1)') AS r;

-- Registration: what is kept, and what is refused
SELECT haul.register_worker('name',
'{"queues": ["a", {"name": "b"}, {"name": "c", "weight": 2.5}], "exclude": ["d"], "kinds": ["k"], "min_priority": 2,
"max_priority": 3, "order": "weighted", "max_threads": 4, "hostname": "h", "pid": 5, "confirm_start": true, "wake":
"worker"}') AS w \gset
SELECT is((SELECT to_jsonb(w) - ARRAY['started_at', 'last_heartbeat_at', 'lost_at', 'owner', 'owner_id']
	FROM haul.workers AS w WHERE id = :w),
	jsonb_build_object('id', :w) ||
'{"name": "name", "hostname": "h", "pid": 5, "queues": ["a", "b", "c"], "weights": [1, 1, 2.5], "exclude": ["d"],
"kinds": ["k"], "min_priority": 2, "max_priority": 3, "queue_order": "weighted", "namespace": null, "max_threads": 4,
"confirm_start": true, "wake": "worker", "busy": 0, "status": "running"}',
		'all options are recorded');
SELECT lives_ok($$ SELECT haul.register_worker('w', '{"queues": null, "kinds": null, "pid": null}') $$,
	'an option given as null is left out');
SELECT is(r.state, '22023', 'refused: ' || options), CASE WHEN shown IS NOT NULL
	THEN matches(r.message, shown, 'the message says what: ' || options) END
	FROM (VALUES
		('{"queue": ["a"]}', '"queue"'), ('{"Queues": ["a"]}', 'Queues'), ('{"": 1}', NULL), ('[]', 'object'),
			('"x"', 'object'), ('null', 'object'),
		('{"queues": "a"}', 'queues'), ('{"queues": []}', 'queues'), ('{"queues": [1]}', 'queues'),
			('{"queues": [null]}', 'queues'), ('{"queues": [["a"]]}', 'queues'),
		('{"queues": [{}]}', 'queues'), ('{"queues": [{"name": 1}]}', 'queues'),
			('{"queues": [{"name": "a", "x": 1}]}', 'queues'), ('{"queues": [{"weight": 1}]}', 'queues'),
		('{"queues": [""]}', 'queue'), ('{"queues": ["a", "a"]}', 'queues'),
			('{"queues": [{"name": "a", "weight": 0}]}', 'weight'),
		('{"queues": [{"name": "a", "weight": -1}]}', 'weight'),
			('{"queues": [{"name": "a", "weight": 1e300}]}', 'weight'),
			('{"queues": [{"name": "a", "weight": 1e400}]}', 'weight'),
			('{"queues": [{"name": "a", "weight": 1e-400}]}', 'weight'),
			('{"queues": [{"name": "a", "weight": "1"}]}', 'queues'),
		('{"exclude": "a"}', 'exclude'), ('{"exclude": [1]}', 'exclude'), ('{"kinds": []}', 'kinds'),
			('{"kinds": "a"}', 'kinds'), ('{"kinds": [{}]}', 'kinds'),
		('{"min_priority": 0}', NULL), ('{"max_priority": 32768}', NULL),
			('{"min_priority": 5, "max_priority": 4}', NULL), ('{"min_priority": "1"}', 'min_priority'),
		('{"min_priority": 1.5}', 'min_priority'), ('{"max_priority": 99999999999999}', 'max_priority'),
		('{"order": "random"}', 'random'), ('{"order": 1}', 'order'), ('{"order": "weighted"}', 'queues'),
			('{"namespace": ""}', 'namespace'), ('{"namespace": 1}', 'namespace'),
		('{"max_threads": 0}', 'max_threads'), ('{"max_threads": -1}', 'max_threads'),
			('{"max_threads": "4"}', 'max_threads'), ('{"hostname": 1}', 'hostname'),
		('{"pid": "x"}', 'pid'), ('{"confirm_start": "yes"}', 'confirm_start'),
			('{"confirm_start": 1}', 'confirm_start'),
		('{"wake": "call"}', 'call'), ('{"wake": ""}', NULL), ('{"wake": true}', 'wake')) AS v (options, shown),
		LATERAL helper.refusal(format('SELECT haul.register_worker(%L, %L)', 'bad', options)) AS r;
SELECT throws_ok(format('SELECT haul.register_worker(%L)', bad), '22023', NULL,
	'a name of ' || coalesce(length(bad)::text, 'no') || ' characters')
	FROM unnest(ARRAY['', repeat('n', 256), NULL]) AS bad;
SELECT throws_ok($$ SELECT haul.register_worker('w', NULL) $$, '22023', NULL, 'options that are NULL');
SELECT matches((helper.refusal($$ SELECT haul.register_worker('w', '{"queue": ["a"]}') $$)).hint, '\mqueues\M',
	'the hint lists the options');
SELECT is_empty($$ SELECT FROM haul.workers WHERE name = 'bad' $$, 'nothing of a refused registration stays');

-- Where nothing may be written
CREATE FUNCTION helper.read_only(statement text) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	SET LOCAL transaction_read_only = on;
	EXECUTE statement;
	RAISE EXCEPTION 'done';
EXCEPTION WHEN OTHERS THEN -- which undoes the SET, too
	RETURN SQLSTATE;
END
$$;
SELECT is(helper.read_only(replace(statement, '<w>', :'w0')), '25006', 'in a read-only transaction, not: ' || statement)
	FROM unnest(ARRAY[
	'SELECT haul.checkout(<w>)', 'SELECT haul.complete(<w>, ARRAY[1], ARRAY[1])', 'SELECT haul.fail(<w>, 1, 1, ''e'')',
		'SELECT haul.release(<w>, ARRAY[1], ARRAY[1])',
	'SELECT haul.snooze(<w>, 1, 1, ''0'')', 'SELECT haul.progress(<w>, 1, 1, ''0'')',
		'SELECT haul.start(<w>, ARRAY[1], ARRAY[1])', 'SELECT haul.unregister_worker(<w>)',
	'SELECT haul.maintain()', 'SELECT haul.enqueue(''k'')', 'SELECT haul.register_worker(''w'')']) AS statement;
SELECT is(helper.read_only(format('SELECT haul.heartbeat(%s)', :w0)), 'P0001', 'but a sign of life is heard');

-- Rows that came around the row trigger, as by logical replication, do no harm.
SET LOCAL session_replication_role = replica;
INSERT INTO haul.jobs (kind, queue, pin_strict, avoid, state) VALUES ('no pin', 'replica', true, NULL, 'ready'),
	('odd state', 'replica', false, NULL, repeat('odd ', 100)),
	('null', 'replica', false, '{NULL}', 'ready');
INSERT INTO haul.jobs (kind, queue, args) VALUES ('args', 'replica', '[]');
SET LOCAL session_replication_role = origin;
SELECT haul.register_worker('r', '{"queues": ["replica"]}') AS r \gset
SELECT lives_ok(format('SELECT haul.next_due(%s)', :r), 'next_due with jobs that no trigger has checked');
SELECT lives_ok(format('SELECT haul.checkout(%s, 10)', :r), 'checkout with jobs that no trigger has checked');

-- A worker may do its whole cycle in one statement.
INSERT INTO haul.jobs (kind, queue) SELECT 'c', 'cycle' FROM generate_series(1, 50);
SELECT haul.register_worker('c', '{"queues": ["cycle"]}') AS c \gset
SELECT is((SELECT haul.complete(:c, array_agg(id), array_agg(claim)) FROM haul.checkout(:c, 50)), '{}',
	'checkout and complete in one statement');
SELECT is_empty($$ SELECT FROM haul.jobs WHERE queue = 'cycle' $$, 'the jobs are gone');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- Who has a job locked himself, as a row or for a foreign key, is not in his own way.
INSERT INTO haul.jobs (kind, queue) VALUES ('mine', 'locked'), ('key', 'locked');
SELECT haul.register_worker('l', '{"queues": ["locked"]}') AS l \gset
SELECT kind FROM haul.jobs WHERE kind = 'mine' FOR UPDATE \g /dev/null
SELECT kind FROM haul.jobs WHERE kind = 'key' FOR KEY SHARE \g /dev/null
SELECT is(helper.checkout_kinds(:l, 3), 'mine key', 'jobs that this very transaction has locked');

\ir include/finish.psql
