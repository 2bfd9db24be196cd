-- Indexes and constraints that somebody else puts on haul.jobs are kept up by all calls, though they cost the HOT
-- update.
\ir include/prelude.psql
SELECT no_plan();
CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA public;

CREATE INDEX own_state ON haul.jobs (state, worker_id);
CREATE INDEX own_expression ON haul.jobs ((args ->> 'customer'), attempt);
CREATE INDEX own_partial ON haul.jobs (id) WHERE state = 'ready';
CREATE INDEX own_gin ON haul.jobs USING gin (args);
CREATE INDEX own_brin ON haul.jobs USING brin (claim);
CREATE UNIQUE INDEX own_unique ON haul.jobs (worker_id) WHERE kind = 'alone';

INSERT INTO haul.jobs (kind, queue, args) SELECT 'k', 'q', jsonb_build_object('customer', n % 7)
	FROM generate_series(1, 100) AS n;
SELECT haul.register_worker('w', '{"queues": ["q"]}') AS w \gset
CREATE TEMP TABLE held AS SELECT * FROM haul.checkout(:w, 60);
SELECT haul.complete(:w, array_agg(id), array_agg(claim))
	FROM (SELECT * FROM held ORDER BY id LIMIT 10) AS h \g /dev/null
SELECT count(haul.fail(:w, id, claim, 'e', retry_in => '0', retry_queue => 'q2'))
	FROM (SELECT * FROM held ORDER BY id LIMIT 10 OFFSET 10) AS h \g /dev/null
SELECT count(haul.snooze(:w, id, claim, '0')) FROM (SELECT * FROM held ORDER BY id LIMIT 10 OFFSET 20) AS h \g /dev/null
SELECT haul.release(:w, array_agg(id), array_agg(claim))
	FROM (SELECT * FROM held ORDER BY id LIMIT 10 OFFSET 30) AS h \g /dev/null
SELECT count(haul.discard(:w, id, claim, 'r')) FROM (SELECT * FROM held
	ORDER BY id LIMIT 10 OFFSET 40) AS h \g /dev/null

-- The same counts by each index as by the table
SET LOCAL enable_indexscan = off;
SET LOCAL enable_indexonlyscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT count(*) FILTER (WHERE state = 'running' AND worker_id = :w) AS running,
	count(*) FILTER (WHERE state = 'ready') AS ready,
	   count(*) FILTER (WHERE args ->> 'customer' = '3' AND attempt = 1) AS tried,
		count(*) FILTER (WHERE args @> '{"customer": 5}') AS five,
	   count(*) FILTER (WHERE claim = 1) AS claimed FROM haul.jobs \gset
RESET enable_indexscan;
RESET enable_indexonlyscan;
RESET enable_bitmapscan;
SET LOCAL enable_seqscan = off;
SELECT is(ARRAY[:running, :ready], ARRAY[10, 70], 'the table holds what it should');
SELECT is((SELECT count(*) FROM haul.jobs WHERE state = 'running' AND worker_id = :w), :running::bigint,
	'an index on columns that a claim changes');
SELECT is((SELECT count(*) FROM haul.jobs WHERE args ->> 'customer' = '3' AND attempt = 1), :tried::bigint,
	'an index on an expression');
SELECT is((SELECT count(*) FROM haul.jobs WHERE state = 'ready' AND id > 0), :ready::bigint, 'a partial index');
SELECT is((SELECT count(*) FROM haul.jobs WHERE args @> '{"customer": 5}'), :five::bigint, 'a GIN index');
SELECT is((SELECT count(*) FROM haul.jobs WHERE claim = 1), :claimed::bigint, 'a BRIN index');
RESET enable_seqscan;
SELECT lives_ok(format('SELECT bt_index_check(%L, true)', i.indexrelid::regclass),
	'amcheck finds nothing wrong with ' || i.indexrelid::regclass)
	FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS a ON a.oid = c.relam
		AND a.amname = 'btree'
	WHERE i.indrelid = 'haul.jobs'::regclass OR i.indrelid IN (SELECT relid FROM pg_partition_tree('haul.finished_jobs')
		WHERE isleaf) ORDER BY i.indexrelid::regclass::text;
SELECT ok(helper.counters_add_up(), 'the counters add up');

-- A unique index that a claim would violate
INSERT INTO haul.jobs (kind, queue) VALUES ('alone', 'unique'), ('alone', 'unique');
SELECT haul.register_worker('u', '{"queues": ["unique"]}') AS u \gset
SELECT is((SELECT count(*) FROM haul.checkout(:u, 1)), 1::bigint, 'the first fits');
SELECT throws_ok(format('SELECT haul.checkout(%s, 1)', :u), '23505', NULL, 'the second does not');
SELECT is((SELECT count(*) FROM haul.jobs WHERE queue = 'unique' AND state = 'ready'), 1::bigint, 'and stays ready');

\ir include/finish.psql
