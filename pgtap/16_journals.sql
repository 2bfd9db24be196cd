-- The journals: what is counted and leased is appended, folded, and carried on.
\ir include/prelude.psql
SELECT no_plan();
SET LOCAL haul.keep_completed = 0;

-- Where a row of the ledger and one of the leases would go now: 0 or 1.
CREATE FUNCTION helper.side() RETURNS bigint LANGUAGE sql AS $$ SELECT last_value >> 20 & 1 FROM haul._entry_seq $$;
CREATE FUNCTION helper.unfolded() RETURNS bigint LANGUAGE sql
AS $$ SELECT count(*) FROM haul._ledger WHERE NOT sum $$;
CREATE FUNCTION helper.stored() RETURNS bigint LANGUAGE sql
AS $$ SELECT (SELECT count(*) FROM haul._ledger_0) + (SELECT count(*) FROM haul._ledger_1)
	+ (SELECT count(*) FROM haul._leases_0) + (SELECT count(*) FROM haul._leases_1) $$;

-- Turns
SELECT haul.register_worker('w', '{"queues": ["a", "b"]}') AS w \gset
INSERT INTO haul.jobs (kind, queue) SELECT 'k', CASE WHEN n <= 500 THEN 'a' ELSE 'b' END FROM generate_series(1, 1000)
	AS n;
CREATE TEMP TABLE held AS SELECT * FROM haul.checkout(:w, 300);
SELECT is((SELECT count(*) FROM haul._leases), 2::bigint, 'a checkout appends leases');
SELECT is(helper.unfolded(), 1::bigint, 'and counts');
SELECT helper.side() AS side \gset
SELECT is(haul.maintain() -> 'ledger_folded', '1', 'they are folded');
SELECT is(helper.side(), 1 - :side::bigint, 'which is the end of a turn');
SELECT is(haul.maintain() -> 'ledger_folded', '0', 'once');
SELECT is(helper.side(), 1 - :side::bigint, 'a turn in which nothing was counted goes on');
SELECT is(helper.counts('a'), '{"dispatches": 300}', 'the counts are what they were');

-- Leases of which jobs still run go on from turn to turn.
SELECT results_eq('SELECT cardinality(jobs), done FROM haul.leases ORDER BY id', 'VALUES (224, 0), (76, 0)',
	'so are the leases');
CREATE FUNCTION helper.finish(worker bigint, jobs integer) RETURNS void LANGUAGE sql
AS $$
	WITH gone AS (DELETE FROM held WHERE id IN (SELECT id FROM held ORDER BY id LIMIT jobs) RETURNING id, claim)
		SELECT haul.complete(worker, array_agg(id), array_agg(claim)) FROM gone
$$;
SELECT helper.finish(:w, 100);
SELECT results_eq('SELECT cardinality(jobs), done FROM haul.leases ORDER BY id', 'VALUES (224, 100), (76, 0)',
	'a lease knows at once what became of its jobs');
SELECT haul.maintain() FROM generate_series(1, 3) \g /dev/null
SELECT helper.finish(:w, 100);
SELECT haul.maintain();
SELECT results_eq('SELECT cardinality(jobs), done FROM haul.leases ORDER BY id', 'VALUES (224, 200), (76, 0)',
	'and in every later turn');
SELECT helper.finish(:w, 24);
SELECT is((SELECT count(*) FROM haul.leases), 1::bigint, 'until it is done');
SELECT haul.maintain();
SELECT is((SELECT count(*) FROM haul._leases), 1::bigint, 'then folding leaves it behind');
SELECT is((SELECT array_agg(j ORDER BY j) FROM haul.leases, unnest(jobs) AS j), (SELECT array_agg(id ORDER BY id)
	FROM held),
	'the other still says which jobs the worker holds');
SELECT ok(helper.counters_add_up(), 'the counters add up');
SELECT is(haul.unregister_worker(:w), 76::bigint, 'after several turns the worker''s end releases what it holds');
SELECT is_empty('SELECT FROM haul.leases', 'no lease is left');
SELECT haul.maintain();
SELECT is_empty('SELECT FROM haul._leases', 'in the journal, neither');
SELECT is(helper.counts('a'), '{"dispatches": 300, "completions": 224, "releases": 76}', 'all is counted');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- Sums: one row a queue, however often it is folded
INSERT INTO haul.jobs (kind, queue) SELECT 'k', 'sum' || n % 3 FROM generate_series(1, 30) AS n;
SELECT haul.register_worker('w', '{"queues": ["sum0", "sum1", "sum2"]}') AS w \gset
CREATE FUNCTION helper.round(worker bigint) RETURNS jsonb LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM haul.complete(worker, array_agg(id), array_agg(claim)) FROM haul.checkout(worker, 3);
	RETURN haul.maintain();
END
$$;
SELECT count(helper.round(:w)) FROM generate_series(1, 10) \g /dev/null
SELECT results_eq($$ SELECT queue, count(*) FROM haul._ledger WHERE queue LIKE 'sum%' GROUP BY queue ORDER BY queue $$,
	$$ VALUES ('sum0' COLLATE "C", 1::bigint), ('sum1', 1), ('sum2', 1) $$, 'a queue has one sum');
SELECT is(helper.counts('sum1'), '{"dispatches": 10, "completions": 10}', 'of all that was folded');
SELECT is_empty('SELECT FROM haul.counter_totals', 'counts of today are in the ledger');
SELECT is(helper.unfolded(), 0::bigint, 'where nothing but the sums is left');

-- Other days, and more than fits into a sum, go to the totals.
CREATE FUNCTION helper.count_drops(days_ago integer, queue text, drops integer) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE format('INSERT INTO haul._ledger_%s (entry, day, queue, drops) VALUES (nextval(%L), %L, %L, %s)',
		helper.side(), 'haul._entry_seq', (clock_timestamp() AT TIME ZONE 'UTC')::date - days_ago, queue, drops);
END
$$;
SELECT count(helper.count_drops(d, 'past', 5)) FROM generate_series(1, 3) AS d, generate_series(1, 2) \g /dev/null
SELECT count(helper.count_drops(0, 'much', 2000000000)) FROM generate_series(1, 5) \g /dev/null
SELECT is(haul.maintain() -> 'ledger_folded', '11', 'rows of other days and large counts are folded');
SELECT results_eq($$ SELECT queue, drops FROM haul.counter_totals ORDER BY queue, day $$,
	$$ VALUES ('much' COLLATE "C", 10000000000), ('past', 10), ('past', 10), ('past', 10) $$, 'into the totals');
SELECT is(helper.counts('past'), '{"drops": 30}', 'past days count');
SELECT is(helper.counts('much'), '{"drops": 10000000000}', 'so do large counts');
SELECT helper.count_drops(1, 'past', 7);
SELECT haul.maintain();
SELECT is(helper.counts('past'), '{"drops": 37}', 'what comes late is added');

-- Everything folded is still there, for those who have older snapshots, but not read.
SELECT cmp_ok(helper.stored(), '>', 40::bigint, 'the tables keep what is folded');
SELECT is((SELECT count(*) FROM haul._ledger) + (SELECT count(*) FROM haul._leases), 4::bigint,
	'of which the journals show nothing but the sums of four queues');
SELECT throws_ok('UPDATE haul.leases SET done = 0', '55000', NULL, 'the view of the leases is for reading');

-- Rolled back, nothing is folded.
SELECT haul.register_worker('w', '{"queues": ["b"]}') AS w \gset
SELECT helper.checkout_kinds(:w, 10) \g /dev/null
SELECT helper.unfolded() AS unfolded, helper.counts('b') AS counts \gset
SAVEPOINT s;
SELECT haul.maintain() -> 'ledger_folded' AS folded, helper.counts('b') AS counts \gset in_s_
ROLLBACK TO s;
SELECT is(ARRAY[:'in_s_folded', :'in_s_counts'], ARRAY[:'unfolded', :'counts'], 'a pass folds');
SELECT is(ARRAY[helper.unfolded()::text, helper.counts('b')::text], ARRAY[:'unfolded', :'counts'],
	'rolled back, it has not');
SELECT is(haul.maintain() -> 'ledger_folded', :'unfolded', 'and does it again');
SELECT is(helper.counts('b'), :'counts', 'exactly');
SELECT is(haul.unregister_worker(:w), 10::bigint, 'the leases are there, too');
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- A lease whose jobs went without being counted does not stay for ever.
SELECT haul.register_worker('w', '{"queues": ["b"]}') AS w \gset
SELECT helper.checkout_kinds(:w, 5) \g /dev/null
SET LOCAL session_replication_role = replica;
DELETE FROM haul.jobs WHERE queue = 'b' AND state = 'running' AND id % 2 = 0;
SET LOCAL session_replication_role = origin;
SELECT (SELECT count(*) FROM haul.jobs WHERE worker_id = :w) AS held \gset
SELECT is(haul.unregister_worker(:w), :held::bigint, 'of a lease some of whose jobs vanished, the others are released');
SELECT is_empty('SELECT FROM haul.leases', 'and it is settled');

-- A dump that is being restored sets the sequence last: until then nothing is folded, or what is written next would
-- count as folded.
SELECT last_value + 1000 AS beyond FROM haul._entry_seq \gset
INSERT INTO haul._ledger_0 (entry, day, queue, dispatches, completions)
	VALUES (:beyond, (now() AT TIME ZONE 'UTC')::date, 'restored', 1, 1);
SELECT is(haul.maintain() -> 'ledger_folded', '0', 'rows beyond the sequence are not folded, nor any others');
SELECT setval('haul._entry_seq', :beyond) \g /dev/null
SELECT cmp_ok((haul.maintain() ->> 'ledger_folded')::integer, '>=', 1, 'once it is set, they are');
SELECT is(helper.counts('restored'), '{"dispatches": 1, "completions": 1}', 'exactly');

-- Many sums of today are written once, not by each pass.
INSERT INTO haul.jobs (kind, queue, expires_at) SELECT 'k', 'name ' || n, now() FROM generate_series(1, 1500) AS n;
SELECT is(haul.maintain() -> 'jobs_expired', '1500', 'many names are counted');
SELECT haul.maintain() \g /dev/null
INSERT INTO haul.jobs (kind, queue, expires_at) VALUES ('k', 'name 1', now());
SELECT haul.maintain(), haul.maintain() \g /dev/null
SELECT cmp_ok(count(*), '<', 100::bigint, 'names of which nothing was counted lately are left alone')
	FROM haul._ledger WHERE queue LIKE 'name %';
SELECT results_eq($$ SELECT sum(drops), count(*) FROM haul.counters WHERE queue LIKE 'name %' $$,
	$$ VALUES (1501::numeric, 1500::bigint) $$, 'all of them are counted');

\ir include/finish.psql
