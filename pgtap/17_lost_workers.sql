-- Workers that may be dead, those that come back, and those that are dead.
\ir include/prelude.psql
SELECT no_plan();

CREATE FUNCTION helper.new_worker(queue text, options jsonb DEFAULT '{}') RETURNS bigint LANGUAGE sql
AS $$ SELECT haul.register_worker('worker', jsonb_build_object('queues', jsonb_build_array(queue)) || options) $$;
-- As if somebody had been watching for an hour.
CREATE FUNCTION helper.watched() RETURNS void LANGUAGE sql
AS $$
	UPDATE haul._watch SET awake_at = now() - interval '1 hour',
		looks = ARRAY(SELECT clock_timestamp() - n * interval '200 ms' FROM generate_series(4, 1, -1) AS n)
$$;
CREATE FUNCTION helper.silent(worker bigint, how_long interval DEFAULT '10 s') RETURNS void LANGUAGE sql
AS $$ UPDATE haul.workers SET last_heartbeat_at = clock_timestamp() - how_long WHERE id = worker $$;
CREATE FUNCTION helper.lose(worker bigint) RETURNS bigint LANGUAGE sql
AS $$ SELECT helper.watched(), helper.silent(worker); SELECT haul.cleanup_workers() $$;
-- It was lost for long.
CREATE FUNCTION helper.die(worker bigint) RETURNS bigint LANGUAGE sql
AS $$
	UPDATE haul.workers SET lost_at = clock_timestamp() - interval '10 s' WHERE id = worker;
	SELECT helper.watched();
	SELECT haul.cleanup_workers()
$$;
CREATE FUNCTION helper.jobs(queue_name text) RETURNS SETOF text LANGUAGE sql
AS $$
	SELECT concat_ws(' ', kind, state, attempt, claim, interruptions, worker_id IS NOT NULL)
		FROM haul.jobs WHERE queue = queue_name ORDER BY id
$$;

SET LOCAL haul.worker_timeout = '1s';
SET LOCAL haul.lost_timeout = '1s';
-- the server's start is no silence
SELECT pg_sleep(greatest(0, extract(epoch FROM haul._server_up_since() + interval '1100 ms' - clock_timestamp())));

-- Who counts as silent
SELECT helper.new_worker('none') AS w \gset
SELECT helper.silent(:w);
SELECT is(haul.cleanup_workers(), 0::bigint, 'at the first look nobody is silent');
SELECT helper.watched();
UPDATE haul._watch SET looks = ARRAY(SELECT clock_timestamp() - n * interval '1 s' FROM generate_series(14, 11, -1)
	AS n);
SELECT is(haul.cleanup_workers(), 0::bigint, 'nor who gave a sign since the last looks but three');
SELECT helper.watched(), helper.silent(:w, '900 ms');
SELECT is(haul.cleanup_workers(), 0::bigint, 'nor within haul.worker_timeout');
SET LOCAL default_transaction_read_only = on;
SELECT helper.watched(), helper.silent(:w);
SELECT is(haul.cleanup_workers(), 0::bigint, 'nor while transactions are read-only');
SET LOCAL default_transaction_read_only = off;
SELECT is(haul.cleanup_workers(), 0::bigint, 'nor right after that');
SELECT is(helper.lose(:w), 1::bigint, 'else it is given up');
SELECT is((SELECT status FROM haul.worker_status WHERE id = :w), 'lost', 'and shown as lost');
SELECT helper.watched();
SELECT is(haul.cleanup_workers(), 0::bigint, 'once');
SELECT ok(haul.watch_workers() BETWEEN interval '0' AND interval '200 ms', 'the next look is due before long')
	WHERE NOT (SELECT floors_open FROM haul.background);
SELECT is(haul.unregister_worker(:w), 0::bigint, 'it may say goodbye');
-- Where only a timer looks, once a minute, it dies all the same.
SELECT helper.new_worker('none') AS w \gset
UPDATE haul.workers SET lost_at = clock_timestamp() - interval '5 min',
	last_heartbeat_at = clock_timestamp() - interval '6 min' WHERE id = :w;
UPDATE haul._watch SET awake_at = now() - interval '1 hour',
	looks = ARRAY(SELECT clock_timestamp() - n * interval '1 min' FROM generate_series(4, 1, -1) AS n);
SELECT is(haul.cleanup_workers(), 1::bigint, 'one that is lost is dead, though looks are far apart');
SELECT helper.new_worker('none') AS w \gset
UPDATE haul.workers SET lost_at = clock_timestamp() - interval '5 min',
	last_heartbeat_at = clock_timestamp() - interval '6 min' WHERE id = :w;
UPDATE haul._watch SET awake_at = now() - interval '1 hour',
	looks = ARRAY(SELECT clock_timestamp() - interval '1 min' - n * interval '1 s' FROM generate_series(4, 1, -1) AS n);
SELECT is(haul.cleanup_workers(), 0::bigint, 'but not after a minute in which nobody looked, against all habit');
SELECT haul.unregister_worker(:w) \g /dev/null
-- Whatever the plan, no lock is taken of a worker that is neither lost nor dead.
SELECT helper.new_worker('none') AS lost, helper.new_worker('none') AS w \gset
SAVEPOINT plan;
SET LOCAL enable_indexscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT is(helper.lose(:lost), 1::bigint, 'one of two is given up');
SELECT is(haul.cleanup_workers('1 h'), 0::bigint, 'none is dead');
SELECT is(ARRAY(SELECT objid::bigint FROM pg_locks
	WHERE classid = 'haul.workers'::regclass AND pid = pg_backend_pid() AND mode = 'AccessExclusiveLock'
		AND objid IN (:lost, :w)),
	ARRAY[:lost]::bigint[], 'only that one is locked');
ROLLBACK TO plan;
SELECT haul.unregister_worker(:lost), haul.unregister_worker(:w);
-- Every call is a sign.
INSERT INTO haul.jobs (kind, queue) SELECT 'k', 'signs' FROM generate_series(1, 8);
CREATE TEMP TABLE held AS SELECT haul.register_worker('w', '{"queues": ["signs"]}') AS w, NULL::bigint AS id, 0
	AS claim, n
	FROM generate_series(1, 8) AS n;
UPDATE held SET (id, claim) = (SELECT id, claim FROM haul.checkout(held.w));
SELECT pg_sleep(1.1), helper.silent(w) FROM held WHERE n = 1; -- a sign is noted once a second
SELECT helper.silent(w) FROM held;
SELECT haul.complete(w, ARRAY[id], ARRAY[claim]) FROM held WHERE n = 1;
SELECT haul.fail(w, id, claim, 'e') FROM held WHERE n = 2;
SELECT haul.discard(w, id, claim, 'e') FROM held WHERE n = 3;
SELECT haul.cancelled(w, id, claim, 'e') FROM held WHERE n = 4;
SELECT haul.snooze(w, id, claim, '1 h') FROM held WHERE n = 5;
SELECT haul.release(w, ARRAY[id], ARRAY[claim], false) FROM held WHERE n = 6;
SELECT haul.progress(w, id, claim, '1') FROM held WHERE n = 7;
SELECT haul.start(w, ARRAY[id], ARRAY[claim]) FROM held WHERE n = 8;
SELECT is((SELECT count(*) FROM held JOIN haul.workers AS v ON v.id = held.w WHERE last_heartbeat_at < now()),
	0::bigint,
	'complete, fail, discard, cancelled, snooze, release, progress and start are signs of life');
SELECT helper.new_worker('none') AS w \gset
SELECT helper.silent(:w);
SELECT is((SELECT count(*) FROM haul.checkout(:w)), 0::bigint, 'a checkout without jobs');
SELECT ok((SELECT last_heartbeat_at > now() FROM haul.workers WHERE id = :w), 'is one, too');
SELECT haul.unregister_worker(id) FROM haul.workers;

-- What a lost worker holds
INSERT INTO haul.jobs (kind, queue, max_attempts, on_interrupt)
	VALUES ('again', 'q', 2, 'retry'), ('last', 'q', 1, 'retry'), ('fail', 'q', 2, 'fail'), ('drop', 'q', 2, 'discard');
SELECT helper.new_worker('q') AS w \gset
SELECT is(helper.checkout_kinds(:w), 'again last fail drop', 'a worker holds four jobs');
SELECT is(helper.lose(:w), 1::bigint, 'and is lost');
SELECT results_eq($$ SELECT helper.jobs('q') $$, ARRAY['again ready 0 1 0 f', 'last running 1 1 0 t',
	'fail running 1 1 0 t', 'drop running 1 1 0 t'],
	'what may run again is offered, uncharged; what an interruption would end waits');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- It comes back.
SELECT is(haul.heartbeat(:w), true, 'a lost worker that comes back');
SELECT results_eq($$ SELECT helper.jobs('q') $$, ARRAY['again running 1 1 0 t', 'last running 1 1 0 t',
	'fail running 1 1 0 t', 'drop running 1 1 0 t'],
	'has its jobs again, under the same claims');
SELECT is((SELECT lost_at FROM haul.workers WHERE id = :w), NULL, 'and is lost no more');
SELECT ok(helper.counters_add_up(), 'the counters add up');
SELECT is_empty('SELECT FROM haul._offers', 'nothing is on offer');
SELECT is(helper.lose(:w), 1::bigint, 'it can be lost again');
SELECT is((SELECT haul.complete(:w, array_agg(id ORDER BY id), array_fill(1, ARRAY[4])) FROM haul.jobs
	WHERE queue = 'q'), '{}',
	'and complete its jobs before it is known to be back');
SELECT results_eq($$ SELECT attempt, interruptions::integer FROM haul.finished_jobs WHERE queue = 'q' $$,
	$$ SELECT 1, 0 FROM generate_series(1, 4) $$, 'as if nothing had been');
SELECT ok(helper.counters_add_up(), 'the counters add up');
SELECT haul.maintain();
SELECT is_empty(format('SELECT FROM haul.leases WHERE worker_id = %s', :w), 'no lease is left');
SELECT haul.unregister_worker(:w);

-- Somebody else takes them.
INSERT INTO haul.jobs (kind, queue) VALUES ('a', 'taken'), ('b', 'taken');
SELECT helper.new_worker('taken') AS w, helper.new_worker('taken') AS heir \gset
SELECT is(helper.checkout_kinds(:w), 'a b', 'a worker holds two jobs');
SELECT is(helper.lose(:w), 1::bigint, 'and is lost');
SELECT is(helper.checkout_kinds(:heir, 1), 'a', 'another one takes one of them');
SELECT haul.heartbeat(:w);
SELECT results_eq(format('SELECT kind, worker_id, claim FROM haul.jobs WHERE queue = %L ORDER BY id', 'taken'),
	format($$ VALUES ('a' COLLATE "C", %s::bigint, 2), ('b', %s, 1) $$, :heir, :w), 'who comes back gets the other');
SELECT is((SELECT haul.complete(:w, array_agg(id), array_agg(1)) FROM haul.jobs WHERE queue = 'taken'),
	(SELECT array_agg(id) FROM haul.jobs WHERE kind = 'a' AND queue = 'taken'), 'and cannot complete the one');
SELECT is((SELECT haul.complete(:heir, array_agg(id), array_agg(2)) FROM haul.jobs WHERE queue = 'taken'), '{}',
	'its heir can');
SELECT is((SELECT max(attempt) FROM haul.finished_jobs WHERE queue = 'taken'), 1, 'nothing is charged');
SELECT haul.unregister_worker(id) FROM haul.workers;

-- It is dead.
INSERT INTO haul.jobs (kind, queue, max_attempts, on_interrupt, expires_at)
	VALUES ('taken', 'dead', 3, 'retry', NULL), ('again', 'dead', 3, 'retry', now() + interval '1 h'), ('last', 'dead', 1,
		'retry', NULL),
		('drop', 'dead', 3, 'discard', NULL);
SELECT helper.new_worker('dead') AS w, helper.new_worker('dead') AS heir \gset
SELECT is(helper.checkout_kinds(:w), 'taken again last drop', 'a worker holds four jobs');
SELECT is(helper.lose(:w), 1::bigint, 'and is lost');
SELECT is((SELECT expires_at FROM haul.jobs WHERE kind = 'again' AND queue = 'dead'), NULL,
	'what was started in time does not expire');
SELECT is(helper.checkout_kinds(:heir, 1), 'taken', 'another one takes one of them');
SELECT is(helper.die(:w), 1::bigint, 'it is dead');
SELECT is_empty(format('SELECT FROM haul.workers WHERE id = %s', :w), 'its row is gone');
SELECT results_eq($$ SELECT helper.jobs('dead') $$, ARRAY['taken running 2 2 1 t', 'again ready 1 1 1 f'],
	'what was offered is charged now');
SELECT results_eq($$ SELECT kind::text COLLATE "C", state::text, interruptions::integer FROM haul.finished_jobs
	WHERE queue = 'dead' ORDER BY id $$,
	$$ VALUES ('last' COLLATE "C", 'failed', 1), ('drop', 'discarded', 1) $$, 'what waited has ended');
SELECT is_empty('SELECT FROM haul._offers', 'nothing is on offer');
SELECT ok(helper.counters_add_up(), 'the counters add up');
SELECT is(helper.checkout_kinds(:heir, 1), 'again', 'the other can be had as well');
SELECT haul.unregister_worker(id) FROM haul.workers;

-- A job that kills its workers is not offered to more of them than haul.max_interruptions.
INSERT INTO haul.jobs (kind, queue) VALUES ('poison', 'poison');
CREATE TEMP TABLE victims AS SELECT helper.new_worker('poison') AS id, n FROM generate_series(1, 4) AS n;
SELECT is(helper.checkout_kinds(id), CASE WHEN n < 4 THEN 'poison' END, 'victim ' || n), is(helper.lose(id), 1::bigint,
	'is lost') FROM victims ORDER BY n;
SELECT results_eq($$ SELECT helper.jobs('poison') $$, ARRAY['poison running 1 3 0 t'], 'the third keeps it');
SELECT helper.die(id) FROM victims ORDER BY n;
SELECT results_eq($$ SELECT state::text, interruptions::integer, last_error FROM haul.finished_jobs
	WHERE queue = 'poison' $$,
	$$ VALUES ('failed', 3, 'its worker died in mid-run 3 times') $$, 'it fails when they are dead');

-- A periodic job that has run since is not charged for an earlier run.
INSERT INTO haul.jobs (kind, queue, every) VALUES ('tick', 'ticks', '1 h');
SELECT helper.new_worker('ticks') AS w, helper.new_worker('ticks') AS heir \gset
SELECT is(helper.checkout_kinds(:w), 'tick', 'a worker holds a periodic job');
SELECT helper.lose(:w);
SELECT is((SELECT haul.complete(:heir, array_agg(id), array_agg(claim)) FROM haul.checkout(:heir)), '{}',
	'another one runs it');
SELECT helper.die(:w);
SELECT results_eq($$ SELECT helper.jobs('ticks') $$, ARRAY['tick ready 0 2 0 f'], 'the next run is not charged');

-- No more is charged than leaves the job the attempt that it waits for.
INSERT INTO haul.jobs (kind, queue, max_attempts) VALUES ('k', 'spent', 2);
SELECT helper.new_worker('spent') AS w, helper.new_worker('spent') AS heir \gset
SELECT is(helper.checkout_kinds(:w), 'k', 'a worker holds a job that may be tried twice');
SELECT helper.lose(:w);
SELECT is((SELECT haul.fail(:heir, id, claim, 'e', retry_in => '0') FROM haul.checkout(:heir)), 'ready',
	'another one tries it');
SELECT helper.die(:w);
SELECT results_eq($$ SELECT helper.jobs('spent') $$, ARRAY['k ready 1 2 1 f'], 'one attempt is left');
SELECT is((SELECT attempt FROM haul.checkout(:heir)), 2, 'the last');
SELECT haul.unregister_worker(id) FROM haul.workers;

-- The next life of a worker says that the last one is over.
INSERT INTO haul.jobs (kind, queue) VALUES ('a', 'lives');
SELECT helper.new_worker('lives', '{"hostname": "h", "pid": 1}') AS w \gset
SELECT is(helper.checkout_kinds(:w), 'a', 'a worker holds a job');
SELECT helper.new_worker('lives', '{"hostname": "h", "pid": 2}') AS second \gset
SELECT ok(EXISTS (SELECT FROM haul.workers WHERE id = :w), 'another process of the name may live beside it');
SELECT helper.lose(:w);
SELECT helper.new_worker('lives', '{"hostname": "other", "pid": 3}') AS third \gset
SELECT ok(EXISTS (SELECT FROM haul.workers WHERE id = :w), 'one on another host says nothing');
SELECT helper.new_worker('lives', '{"hostname": "h", "pid": 4}') AS fourth \gset
SELECT ok(NOT EXISTS (SELECT FROM haul.workers WHERE id = :w),
	'a new one on the same host says that the lost one is dead');
SELECT results_eq($$ SELECT helper.jobs('lives') $$, ARRAY['a ready 1 1 1 f'], 'which charges its jobs');
SELECT ok(helper.counters_add_up(), 'the counters add up');

\ir include/finish.psql
