-- What CREATE EXTENSION makes and DROP EXTENSION removes.
\ir include/prelude.psql
SELECT no_plan();

SELECT has_schema('haul');
SELECT set_eq($$
	SELECT relname::text COLLATE "default" FROM pg_class WHERE relnamespace = 'haul'::regnamespace
		AND relkind IN ('r', 'p') AND NOT relispartition
	$$, ARRAY['jobs', 'finished_jobs', 'job_errors', 'queues', 'kinds', 'workers', 'counter_totals',
		'_leases_0', '_leases_1', '_ledger_0', '_ledger_1', '_folds', 'duties', 'cron', 'cron_runs', 'workflows',
			'workflow_jobs',
		'_workflow_ends', '_gates', 'replies', '_leaves', '_offers', '_watch'], 'the tables, apart from partitions');
SELECT views_are('haul', ARRAY['counters', 'queue_status', 'worker_status', 'my_jobs', 'leases', '_leases', '_ledger',
	'_fronts', '_new_jobs', 'lanes', 'background',
	'workflow_steps', 'workflow_status', 'my_workflows', 'my_workflow_steps', 'my_replies', 'cron_status', 'cron_jobs',
		'job_run_details']);

SELECT is_empty($$
	SELECT c.relname FROM pg_class AS c
		WHERE c.relnamespace = 'haul'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
			AND c.relname !~ '^_' AND coalesce(obj_description(c.oid, 'pg_class'), '') = ''
	$$, 'every public table and view has a comment');
SELECT is_empty($$
	SELECT a.attrelid::regclass, a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
		WHERE c.relnamespace = 'haul'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
			AND c.relname NOT IN ('counter_totals', 'my_jobs', 'my_workflows', 'my_workflow_steps',
				'my_replies') -- their columns say the same as those
				-- of haul.counters, haul.jobs, haul.workflow_status, haul.replies
			AND c.relname !~ '^_' AND a.attnum > 0 AND NOT a.attisdropped
			AND coalesce(col_description(a.attrelid, a.attnum), '') = ''
	$$, 'every public column has a comment');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc AS p
		WHERE p.pronamespace = 'haul'::regnamespace AND p.proname !~ '^_'
			AND coalesce(obj_description(p.oid, 'pg_proc'), '') = ''
	$$, 'every public function has a comment');
SELECT isnt(obj_description('haul'::regnamespace, 'pg_namespace'), NULL, 'the schema has a comment');

SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
		WHERE p.pronamespace = 'haul'::regnamespace AND l.lanname <> 'c' AND p.prosqlbody IS NULL
			AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)
	$$, 'every function with a body of text pins its search_path');

SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
		WHERE p.pronamespace = 'haul'::regnamespace AND l.lanname <> 'c'
			AND strpos(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), chr(92)) > 0
	$$, 'no function has a backslash in it, whose meaning is a setting');

SELECT is_empty($$
	SELECT a.privilege_type FROM pg_namespace AS n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
		WHERE n.nspname = 'haul' AND a.grantee = 0
	$$, 'PUBLIC has nothing on the schema');
SELECT is_empty($$
	SELECT c.relname, a.privilege_type
		FROM pg_class AS c, aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'
			ELSE 'r' END::"char", c.relowner))) AS a
		WHERE c.relnamespace = 'haul'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') AND a.grantee = 0
	$$, 'PUBLIC has nothing on tables, views and sequences');
SELECT is_empty($$
	SELECT a.attrelid::regclass, a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid,
		aclexplode(a.attacl) AS x
		WHERE c.relnamespace = 'haul'::regnamespace AND x.grantee = 0
	$$, 'PUBLIC has nothing on columns');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
		WHERE p.pronamespace = 'haul'::regnamespace AND a.grantee = 0
	$$, 'PUBLIC has nothing on functions');

SELECT set_eq($$
	SELECT a.attname::text COLLATE "default", format_type(a.atttypid, a.atttypmod), a.attnotnull,
		   CASE WHEN a.attidentity <> '' THEN 'identity' ELSE coalesce(pg_get_expr(d.adbin, d.adrelid), '') END
		FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE a.attrelid = 'haul.jobs'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'lease_id'
	$$, $$ VALUES
	('id', 'bigint', true, 'identity'),
	('queue', 'text', true, '''default''::text'),
	('kind', 'text', true, ''),
	('args', 'jsonb', true, '''{}''::jsonb'),
	('priority', 'smallint', true, '16383'),
	('run_at', 'timestamp with time zone', true, 'now()'),
	('state', 'text', true, '''ready''::text'),
	('attempt', 'integer', true, '0'),
	('max_attempts', 'integer', true, '21'),
	('claim', 'integer', true, '0'),
	('backoff', 'text', false, ''),
	('timeout', 'interval', false, ''),
	('on_timeout', 'text', true, '''retry''::text'),
	('queue_timeout', 'interval', false, ''),
	('expires_at', 'timestamp with time zone', false, ''),
	('on_interrupt', 'text', true, '''retry''::text'),
	('interruptions', 'smallint', true, '0'),
	('unique_key', 'text', false, ''),
	('unique_until', 'text', true, '''finished''::text'),
	('concurrency_key', 'text', false, ''),
	('concurrency_limit', 'integer', true, '1'),
	('pin', 'text', false, ''),
	('pin_strict', 'boolean', true, 'false'),
	('avoid', 'text[]', false, ''),
	('every', 'interval', false, ''),
	('workflow_id', 'bigint', false, ''),
	('reply_to', 'text', false, ''),
	('keep', 'interval', false, ''),
	('cron_name', 'text', false, ''),
	('enqueued_at', 'timestamp with time zone', true, 'now()'),
	('enqueued_by', 'text', true, 'CURRENT_USER'),
	('worker_id', 'bigint', false, ''),
	('started_at', 'timestamp with time zone', false, ''),
	('interrupted_at', 'timestamp with time zone', false, ''),
	('last_error', 'text', false, ''),
	('progress', 'jsonb', false, '')
	$$, 'haul.jobs has the columns, types and defaults of the contract');
SELECT is(haul._job_option_names(), ARRAY['kind', 'args', 'queue', 'priority', 'run_at', 'max_attempts', 'backoff',
	'timeout', 'on_timeout', 'queue_timeout', 'expires_at', 'on_interrupt', 'unique_key', 'unique_until',
	'concurrency_key', 'concurrency_limit', 'pin', 'pin_strict', 'avoid', 'every', 'reply_to', 'keep'],
	'the options of a job, in the order of the arguments of haul.enqueue()');
SELECT is((SELECT p.proargnames FROM pg_proc AS p WHERE p.oid = 'haul.enqueue'::regproc), haul._job_option_names(),
	'haul.enqueue() takes them');
SELECT is((SELECT p.proargnames FROM pg_proc AS p WHERE p.oid = 'haul.try_enqueue'::regproc),
	haul._job_option_names() || ARRAY['id', 'is_new'], 'so does haul.try_enqueue()');
INSERT INTO haul.jobs (kind) VALUES ('by default');
SELECT is(to_jsonb(o), (SELECT jsonb_object_agg(c.name, to_jsonb(j) -> c.name) FROM haul.jobs AS j,
		unnest(haul._job_option_names()) AS c(name) WHERE j.kind = 'by default'),
	'an option that is ' || given || ' has the default of its column')
	FROM (VALUES ('left out', '[{"kind": "by default"}]'::jsonb),
		('null', (SELECT jsonb_build_array(jsonb_object_agg(name, null) || '{"kind": "by default"}')
					FROM unnest(haul._job_option_names()) AS name))) AS v(given, jobs), haul._given_options(v.jobs) AS o;
SELECT set_eq($$
	SELECT a.attname::text COLLATE "default", format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a
		WHERE a.attrelid = 'haul.finished_jobs'::regclass AND a.attnum > 0 AND NOT a.attisdropped
			AND a.attname NOT IN ('finished_at', 'result', 'keep_until')
	$$, $$
	SELECT a.attname::text COLLATE "default", format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a
		WHERE a.attrelid = 'haul.jobs'::regclass AND a.attnum > 0 AND NOT a.attisdropped
	$$, 'haul.finished_jobs has the columns of haul.jobs');
SELECT col_type_is('haul', 'finished_jobs', 'finished_at', 'timestamp with time zone', 'finished_at');
SELECT col_type_is('haul', 'finished_jobs', 'result', 'jsonb', 'result');
SELECT is(pg_get_partkeydef('haul.finished_jobs'::regclass), 'RANGE (finished_at)',
	'haul.finished_jobs is partitioned by finished_at');
SELECT col_is_pk('haul', 'jobs', 'id', 'jobs are found by id');
SELECT col_is_pk('haul', 'queues', 'name', 'the key of haul.queues');
SELECT col_is_pk('haul', 'kinds', 'kind', 'the key of haul.kinds');

-- A publication of all tables, whoever makes it, must not stop anything here.
SELECT haul._add_history(now());
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class AS c
		WHERE c.relnamespace = 'haul'::regnamespace AND c.relkind = 'r' AND c.relreplident <> 'f'
			AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
	$$, 'rows of every table, those of the history too, have an identity by which they can be replicated');

-- A claim must be a HOT update.
SELECT is_empty($$
	SELECT i.indexrelid::regclass, a.attname FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid
		WHERE i.indrelid = 'haul.jobs'::regclass AND a.attname IN ('state', 'attempt', 'claim', 'worker_id', 'lease_id',
			'started_at')
			AND (a.attnum = ANY (i.indkey) OR pg_get_indexdef(i.indexrelid) ~ ('\m' || a.attname || '\M'))
	$$, 'no index mentions a column that a checkout changes');
SELECT is_empty($$ SELECT conname FROM pg_constraint WHERE confrelid = 'haul.jobs'::regclass $$,
	'no foreign key points at haul.jobs');

SELECT set_eq($$
	SELECT c.relname::text COLLATE "default" FROM pg_extension AS e, unnest(e.extconfig) AS u
		JOIN pg_class AS c ON c.oid = u WHERE e.extname = 'pg_haul'
	$$, $$
	SELECT c.relname::text COLLATE "default" FROM pg_class AS c JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass
		AND d.objid = c.oid AND d.deptype = 'e'
		JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'pg_haul'
		WHERE c.relkind IN ('r', 'S') AND c.relname NOT IN ('_folds', '_watch', 'duties',
			'_claim_base') -- of this server alone
	$$, 'pg_dump saves the rows of every table and the state of every sequence of the extension');

-- A job, with history of its own, does not keep the extension from being dropped.
INSERT INTO haul.jobs (kind, queue) VALUES ('a', 'q'), ('b', 'q');
SELECT haul.register_worker('w', '{"queues": ["q"]}') AS w \gset
SELECT id, claim FROM haul.checkout(:w, 1) \gset job_
SELECT is(haul.complete(:w, ARRAY[:job_id], ARRAY[:job_claim]), '{}', 'a job completes');
SELECT haul._add_history(now() - interval '3 days');
SELECT cmp_ok((SELECT count(*) FROM pg_class WHERE relnamespace = 'haul'::regnamespace AND relispartition), '>',
	0::bigint,
	'history has partitions');
SELECT lives_ok('DROP EXTENSION pg_haul', 'DROP EXTENSION works while there are jobs and history');
SELECT is_empty($$
	SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace('haul')
		UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = to_regnamespace('haul')
	$$, 'it leaves nothing behind in the schema');
SELECT lives_ok('CREATE EXTENSION pg_haul', 'CREATE EXTENSION works again');
INSERT INTO haul.jobs (kind, queue) VALUES ('again', 'q');
SELECT haul.register_worker('w', '{"queues": ["q"]}') AS w \gset
SELECT is(helper.checkout_kinds(:w), 'again', 'the new extension works in the session that used the old one');
SELECT is(helper.counts('q'), '{"dispatches": 1}', 'and starts to count from zero');

SELECT throws_ok('CREATE EXTENSION pg_haul', '42710', NULL, 'there is one pg_haul in a database');

\ir include/finish.psql
