-- Workflows: made, looked at, cancelled and tried again.

-- Numbers of the names, from 1, in an order in which the vertex at the head of each edge comes after the one at its
-- tail. Errors: 22023 for a cycle.
CREATE FUNCTION haul._topological_order(names text[], tails integer[], heads integer[]) RETURNS integer[]
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_topological_order';

-- Nobody deals with the end of a member until the transaction is over.
CREATE FUNCTION haul._lock_workflow(workflow_id bigint) RETURNS void
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_lock_workflow';

-- Ends jobs as cancelled that are ready or waiting, running ones are left; returns how many.
CREATE FUNCTION haul._cancel_pending(ids bigint[], reason text) RETURNS bigint
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_cancel_pending';

-- Makes a job ready that waits; false where it is gone, or somebody has it locked.
CREATE FUNCTION haul._release_waiting(job_id bigint) RETURNS boolean
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_release_waiting';

-- ---- the description of a workflow ----

-- "after" of the job in position head, one row each; tail is NULL where no job has the name.
CREATE FUNCTION haul._workflow_edges(jobs jsonb, names text[],
		OUT head integer, OUT tail integer, OUT after jsonb, OUT tail_name text, OUT if_failed jsonb)
	RETURNS SETOF record
	LANGUAGE sql IMMUTABLE
BEGIN ATOMIC -- inlined: its names are resolved already
	SELECT t.n::integer, m.n::integer, a, coalesce(a ->> 'name', a #>> '{}'),
		   coalesce(nullif(a -> 'if_failed', 'null'), nullif(t.job -> 'if_failed', 'null'), '"cancel"')
		FROM jsonb_array_elements(jobs) WITH ORDINALITY AS t(job, n),
			 jsonb_array_elements(CASE coalesce(jsonb_typeof(t.job -> 'after'), 'null')
									   WHEN 'array' THEN t.job -> 'after'
									   WHEN 'null' THEN '[]'
									   ELSE jsonb_build_array(t.job -> 'after') END) AS a
			 LEFT JOIN unnest(names) WITH ORDINALITY AS m(name, n) ON m.name = coalesce(a ->> 'name', a #>> '{}');
END;

-- Errors: 22023 for whatever is wrong with a description, but for values of jobs, which INSERT checks, and cycles.
CREATE FUNCTION haul._check_workflow(jobs jsonb) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad text;
BEGIN
	PERFORM haul._check_objects('the jobs of a workflow'::text, jobs,
		ARRAY['name', 'after', 'if_failed'] || array_remove(haul._job_option_names(), 'every'),
		'unknown option "%s" of a job in a workflow'::text);
	IF jsonb_array_length(jobs) NOT BETWEEN 1 AND 100000 THEN
		RAISE EXCEPTION 'a workflow must have 1 to 100000 jobs, not %', jsonb_array_length(jobs) USING ERRCODE = '22023';
	END IF;
	SELECT left((j -> 'name')::text, 300) INTO bad FROM jsonb_array_elements(jobs) AS j
		WHERE jsonb_typeof(j -> 'name') <> 'null' AND (jsonb_typeof(j -> 'name') <> 'string'
			OR char_length(j ->> 'name') NOT BETWEEN 1 AND 255) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'the name of a job in a workflow must be a string of 1 to 255 characters, not %', bad
			USING ERRCODE = '22023';
	END IF;
	SELECT left(e.after::text, 100) INTO bad FROM haul._workflow_edges(jobs, '{}'::text[]) AS e
		WHERE CASE WHEN jsonb_typeof(e.after) = 'object'
				   THEN e.after - ARRAY['name', 'if_failed'] <> '{}' OR jsonb_typeof(e.after -> 'name') IS DISTINCT FROM 'string'
				   ELSE jsonb_typeof(e.after) <> 'string' END LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'option "after" has an item that is neither a name nor {"name", "if_failed"}: %', bad
			USING ERRCODE = '22023';
	END IF;
	SELECT left(p.policy::text, 100) INTO bad
		FROM (SELECT j -> 'if_failed' AS policy FROM jsonb_array_elements(jobs) AS j
			WHERE jsonb_typeof(j -> 'if_failed') <> 'null'
			  UNION ALL SELECT e.if_failed FROM haul._workflow_edges(jobs, '{}'::text[]) AS e) AS p
		WHERE p.policy NOT IN ('"cancel"', '"wait"', '"run"') LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'if_failed must be "cancel", "wait" or "run", not %', bad
			USING ERRCODE = '22023', HINT = 'It says what becomes of a job when one that it comes after ends without success.';
	END IF;
END
$$;

-- ---- making ----

-- Gates for jobs that come after several others: for each such step, how many those are. A gate of the first level
-- counts 64 edges, one of the next 64 gates, up to the level with a single gate, which releases the job.
CREATE FUNCTION haul._make_gates(workflow bigint, gate_steps integer[], edges integer[],
		OUT step integer, OUT place integer, OUT gate bigint)
	RETURNS SETOF record
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH RECURSIVE level AS (
		SELECT g.step, 1 AS level, g.edges AS counted, (g.edges + 63) / 64 AS gates
			FROM unnest(gate_steps, edges) AS g(step, edges)
		UNION ALL
		SELECT l.step, l.level + 1, l.gates, (l.gates + 63) / 64 FROM level AS l WHERE l.gates > 1
	), gate AS MATERIALIZED (
		-- lower ones first: they are locked in the order of their ids
		SELECT nextval('haul._gate_id_seq') AS id, o.step, o.level, o.place, o.missing
			FROM (SELECT l.step, l.level, p.place, least(64, l.counted - p.place * 64) AS missing
					FROM level AS l, generate_series(0, l.gates - 1) AS p(place)
					ORDER BY l.step, l.level, p.place) AS o
	), made AS (
		INSERT INTO haul._gates (id, missing, next_gate, workflow_id, step)
			SELECT g.id, g.missing, coalesce(n.id, 0), workflow, g.step
				FROM gate AS g
				LEFT JOIN gate AS n ON n.step = g.step AND n.level = g.level + 1 AND n.place = g.place / 64
	)
	SELECT g.step, g.place, g.id FROM gate AS g WHERE g.level = 1;
END
$$;

-- The names of the jobs, in their order. Errors: 22023 for one given twice.
CREATE FUNCTION haul._workflow_names(jobs jsonb) RETURNS text[]
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text[];
	twice text;
BEGIN
	SELECT array_agg(coalesce(t.job ->> 'name', t.n::text) ORDER BY t.n) INTO names
		FROM jsonb_array_elements(jobs) WITH ORDINALITY AS t(job, n);
	SELECT n.name INTO twice FROM unnest(names) AS n(name) GROUP BY n.name HAVING count(*) > 1 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'two jobs of the workflow are named "%"', twice
			USING ERRCODE = '22023', HINT = 'A job without a name is named by its number, from 1.';
	END IF;
	RETURN names;
END
$$;

-- The edges between the jobs, which are numbered from 1: each leads from a tail to a head, which comes after it.
-- Errors: 22023 for one to no job, or given twice.
CREATE FUNCTION haul._workflow_graph(jobs jsonb, names text[],
		OUT tails integer[], OUT heads integer[], OUT policies text[])
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	tail_names text[];
	bad        record;
BEGIN
	SELECT coalesce(array_agg(e.tail), '{}'), coalesce(array_agg(e.head), '{}'),
		   coalesce(array_agg(e.if_failed #>> '{}'), '{}'), array_agg(e.tail_name)
		INTO tails, heads, policies, tail_names FROM haul._workflow_edges(jobs, names) AS e;
	IF array_position(tails, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'job "%" comes after "%", which is not a job of the workflow',
				names[heads[array_position(tails, NULL)]], tail_names[array_position(tails, NULL)]
			USING ERRCODE = '22023', HINT = 'A job without a name is named by its number, from 1.';
	END IF;
	SELECT names[e.head] AS head, names[e.tail] AS tail INTO bad
		FROM unnest(tails, heads) AS e(tail, head) GROUP BY e.tail, e.head HAVING count(*) > 1 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'job "%" comes after "%" twice', bad.head, bad.tail USING ERRCODE = '22023';
	END IF;
END
$$;

-- A job that waits is parked, so that haul.jobs does not check when it is to run.
CREATE FUNCTION haul._check_workflow_times(jobs jsonb, names text[]) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad integer;
BEGIN
	SELECT j.n INTO bad
		FROM ROWS FROM (jsonb_to_recordset(jobs) AS (run_at timestamptz)) WITH ORDINALITY AS j(run_at, n)
		WHERE NOT haul._is_time(j.run_at) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'run_at of job "%" must be a time of the years 1 to 9999', names[bad]
			USING ERRCODE = '22023', HINT = 'Give a date and a time of these years.';
	END IF;
END
$$;

-- Makes the jobs of a workflow, its members and their gates. steps: of each job, in the order of the description; ids:
-- in the order of the steps.
CREATE FUNCTION haul._insert_workflow(workflow bigint, jobs jsonb, names text[], steps integer[], ids bigint[],
		tails integer[], heads integer[], policies text[])
	RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	made bigint;
BEGIN
	WITH edge AS (
		SELECT steps[e.tail] AS tail, steps[e.head] AS head, e.policy,
			   row_number() OVER (PARTITION BY e.head ORDER BY steps[e.tail]) - 1 AS place
			FROM unnest(tails, heads, policies) AS e(tail, head, policy)
	), several AS (
		SELECT head AS step, count(*)::integer AS edges FROM edge GROUP BY head HAVING count(*) > 1
	), gate AS (
		SELECT g.step, g.place, g.gate
			FROM (SELECT coalesce(array_agg(s.step ORDER BY s.step), '{}') AS steps,
						 coalesce(array_agg(s.edges ORDER BY s.step), '{}') AS edges FROM several AS s) AS all_of,
				 haul._make_gates(workflow, all_of.steps, all_of.edges) AS g
	), next AS (
		SELECT e.tail AS step, array_agg(e.head ORDER BY e.head) AS next, array_agg(e.policy ORDER BY e.head) AS if_failed,
			   array_agg(coalesce(g.gate, 0) ORDER BY e.head) AS gates
			FROM edge AS e LEFT JOIN gate AS g ON g.step = e.head AND g.place = e.place / 64
			GROUP BY e.tail
	), after AS (
		SELECT e.head AS step, array_agg(e.tail ORDER BY e.tail) AS after FROM edge AS e GROUP BY e.head
	), given AS (
		SELECT row_number() OVER () AS position, o AS options FROM haul._given_options(jobs) AS o
	), job AS MATERIALIZED (
		SELECT steps[g.position] AS step, names[g.position] AS name, g.options, a.after
			FROM given AS g LEFT JOIN after AS a ON a.step = steps[g.position]
	), member AS (
		INSERT INTO haul.workflow_jobs (workflow_id, step, name, kind, job_id, run_at, after, next, gates, if_failed)
			SELECT workflow, j.step, j.name, coalesce((j.options).kind, ''), ids[j.step], (j.options).run_at,
				   coalesce(j.after, '{}'), coalesce(n.next, '{}'), coalesce(n.gates, '{}'), coalesce(n.if_failed, '{}')
				FROM job AS j LEFT JOIN next AS n ON n.step = j.step
				ORDER BY j.step
	)
	INSERT INTO haul._new_jobs OVERRIDING SYSTEM VALUE
		SELECT o.*, CASE WHEN j.after IS NULL THEN 'ready' ELSE 'waiting' END, NULL, workflow, ids[j.step]
			FROM job AS j,
				 jsonb_populate_record(j.options, CASE WHEN j.after IS NULL THEN '{}' ELSE '{"run_at": "infinity"}' END::jsonb)
					AS o
			ORDER BY j.step;
	GET DIAGNOSTICS made = ROW_COUNT;
	IF made < cardinality(ids) THEN
		PERFORM haul._refuse_suppressed(cardinality(ids)::bigint, made);
	END IF;
END
$$;

-- The jobs are those of the role in haul.enqueuer. Planning the statements takes longer than running them for a few
-- jobs: that is done once in a session, and never compiled.
CREATE FUNCTION haul._create_workflow(jobs jsonb, workflow_name text, OUT workflow_id bigint, OUT job_ids bigint[])
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	names    text[];
	graph    record;
	ordering integer[]; -- positions of the jobs in the description, in the order of their steps
	steps    integer[]; -- the other way round
	ids      bigint[];  -- in the order of the steps
BEGIN
	PERFORM haul._check_workflow(jobs);
	IF char_length(workflow_name) NOT BETWEEN 1 AND 255 THEN
		RAISE EXCEPTION 'the name of a workflow must have 1 to 255 characters' USING ERRCODE = '22023';
	END IF;
	names := haul._workflow_names(jobs);
	graph := haul._workflow_graph(jobs, names);
	IF jobs @? '$[*].run_at ? (@ != null)' THEN
		PERFORM haul._check_workflow_times(jobs, names);
	END IF;
	ordering := haul._topological_order(names, graph.tails, graph.heads);
	SELECT array_agg(o.step::integer ORDER BY o.position) INTO steps
		FROM unnest(ordering) WITH ORDINALITY AS o(position, step);
	SELECT array_agg(nextval('haul.jobs_id_seq')) INTO ids FROM unnest(ordering);

	INSERT INTO haul.workflows (name, created_by) VALUES (workflow_name, current_setting('haul.enqueuer')::name)
		RETURNING id INTO workflow_id;
	PERFORM haul._insert_workflow(workflow_id, jobs, names, steps, ids, graph.tails, graph.heads, graph.policies);
	SELECT array_agg(ids[s.step] ORDER BY s.position) INTO job_ids FROM unnest(steps) WITH ORDINALITY AS s(step, position);
END
$$;

-- The same, with the rights of the owner, for the caller.
CREATE FUNCTION haul._workflow(jobs jsonb, name text, OUT workflow_id bigint, OUT job_ids bigint[])
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_create_workflow';

CREATE FUNCTION haul.workflow(description jsonb) RETURNS bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad text;
BEGIN
	IF jsonb_typeof(description) = 'array' THEN
		description := jsonb_build_object('jobs', description);
	END IF;
	IF jsonb_typeof(description) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'a workflow is described by a JSON object, {"name", "jobs"}, or the array of its jobs'
			USING ERRCODE = '22023';
	END IF;
	SELECT k INTO bad FROM jsonb_object_keys(description) AS k WHERE k NOT IN ('name', 'jobs') LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'unknown option "%" of a workflow', bad USING ERRCODE = '22023', HINT = 'Options are name, jobs.';
	END IF;
	IF jsonb_typeof(description -> 'name') NOT IN ('string', 'null') THEN
		RAISE EXCEPTION 'the name of a workflow must be a string, not %', description -> 'name' USING ERRCODE = '22023';
	END IF;
	RETURN (SELECT w.workflow_id FROM haul._workflow(description -> 'jobs', description ->> 'name') AS w);
END
$$;
COMMENT ON FUNCTION haul.workflow(jsonb) IS
'Enqueues jobs that wait for each other, in the caller''s transaction; returns the workflow''s id (haul.workflow_status,
haul.workflow_steps).
description: {"name": …, "jobs": […]}, or the array alone: 1 to 100000 objects with the keys of haul.enqueue() but
every, and name (unique in the workflow; default its number, from 1), after (a name or an array of names, or of objects
{"name", "if_failed"}) and if_failed (for those that do not say it): what becomes of the job when one that it comes
after fails for good, is discarded or cancelled:
cancel (default), wait (until somebody calls haul.retry_workflow) or run (it starts as if that had succeeded).
A job starts when all that it comes after have ended, and not before its run_at. Success and the release of what comes
next are one transaction.
Errors: 22023 for unknown options and names, names given twice, cycles; those of INSERT INTO haul.jobs. Nothing is
enqueued then.';

CREATE FUNCTION haul.chain(jobs jsonb, name text DEFAULT NULL, if_failed text DEFAULT 'cancel') RETURNS SETOF bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad text;
BEGIN
	PERFORM haul._check_workflow(jobs);
	IF if_failed IS NULL OR if_failed NOT IN ('cancel', 'wait', 'run') THEN
		RAISE EXCEPTION 'if_failed must be "cancel", "wait" or "run", not %', coalesce('"' || if_failed || '"', 'null')
			USING ERRCODE = '22023', HINT = 'It says what becomes of a job when the one before it ends without success.';
	END IF;
	SELECT k INTO bad FROM jsonb_array_elements(jobs) AS j, jsonb_object_keys(j) AS k WHERE k = 'after' LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'a job in a chain comes after the one before it: option "after" is not for chains'
			USING ERRCODE = '22023', HINT = 'Use haul.workflow().';
	END IF;
	RETURN QUERY
	SELECT unnest(w.job_ids) FROM haul._workflow((
		SELECT jsonb_agg(CASE WHEN t.before IS NULL THEN t.job
							  ELSE jsonb_build_object('if_failed', chain.if_failed) || t.job
								   || jsonb_build_object('after', jsonb_build_array(t.before)) END ORDER BY t.n)
			FROM (SELECT s.job, s.n, lag(coalesce(s.job ->> 'name', s.n::text)) OVER (ORDER BY s.n) AS before
					FROM jsonb_array_elements(jobs) WITH ORDINALITY AS s(job, n)) AS t), chain.name) AS w;
END
$$;
COMMENT ON FUNCTION haul.chain(jsonb, text, text) IS
'Enqueues jobs one of which starts when the one before it has succeeded: haul.workflow() for the simple case. jobs: an
array of objects with the keys of haul.enqueue() but every, and name; name: of the chain; if_failed: what becomes of
those behind one that ends without success: cancel, wait or run.
Returns the ids of the jobs, in their order. Errors: as haul.workflow().';

-- ---- results ----

CREATE FUNCTION haul.results(job_id bigint) RETURNS jsonb
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT coalesce(jsonb_object_agg(p.name, e.result), '{}')
		FROM haul.workflow_jobs AS m
		JOIN haul.workflow_jobs AS p ON p.workflow_id = m.workflow_id AND p.step = ANY (m.after)
		JOIN haul._workflow_ends AS e ON e.workflow_id = p.workflow_id AND e.step = p.step AND e.job_id = p.job_id
		WHERE m.job_id = results.job_id;
END;
COMMENT ON FUNCTION haul.results(bigint) IS
'What the jobs returned that this job of a workflow comes after: a JSON object, their names and results; {} for a job '
	'that comes after none.';

-- ---- what people read ----

CREATE VIEW haul.workflow_steps AS
	SELECT m.workflow_id, m.step, m.name, m.kind, m.job_id, coalesce(j.state, e.state, 'lost') AS state,
		   (SELECT array_agg(p.name ORDER BY p.step) FROM haul.workflow_jobs AS p
				WHERE p.workflow_id = m.workflow_id AND p.step = ANY (m.after)) AS after,
		   CASE WHEN j.state = 'waiting' THEN
			   (SELECT array_agg(p.name ORDER BY p.step) FROM haul.workflow_jobs AS p
					LEFT JOIN haul._workflow_ends AS pe
						ON pe.workflow_id = p.workflow_id AND pe.step = p.step AND pe.job_id = p.job_id
					WHERE p.workflow_id = m.workflow_id AND p.step = ANY (m.after) AND pe.state IS DISTINCT FROM 'completed')
		   END AS waits_for,
		   coalesce(j.attempt, e.attempt) AS attempt, CASE WHEN j.state = 'ready' THEN j.run_at END AS run_at,
		   coalesce(j.started_at, e.started_at) AS started_at, e.finished_at, e.result, coalesce(j.last_error, e.error)
		   	AS error
		FROM haul.workflow_jobs AS m
		LEFT JOIN haul.jobs AS j ON j.id = m.job_id
		LEFT JOIN haul._workflow_ends AS e ON e.workflow_id = m.workflow_id AND e.step = m.step AND e.job_id = m.job_id
		ORDER BY m.workflow_id, m.step;
COMMENT ON VIEW haul.workflow_steps IS 'The jobs of each workflow, in an order in which they may run';
COMMENT ON COLUMN haul.workflow_steps.workflow_id IS 'haul.workflows.id';
COMMENT ON COLUMN haul.workflow_steps.step IS 'Number in the workflow';
COMMENT ON COLUMN haul.workflow_steps.name IS 'Name in the workflow';
COMMENT ON COLUMN haul.workflow_steps.kind IS 'Kind';
COMMENT ON COLUMN haul.workflow_steps.job_id IS 'haul.jobs.id';
COMMENT ON COLUMN haul.workflow_steps.state
	IS 'waiting, ready, running, completed, failed, discarded or cancelled; lost: removed by ways that fire no triggers';
COMMENT ON COLUMN haul.workflow_steps.after IS 'Names of the jobs that it comes after';
COMMENT ON COLUMN haul.workflow_steps.waits_for IS 'Of these: those that have not completed, while it waits';
COMMENT ON COLUMN haul.workflow_steps.attempt IS 'Attempts made';
COMMENT ON COLUMN haul.workflow_steps.run_at IS 'While it is ready: not started before';
COMMENT ON COLUMN haul.workflow_steps.started_at IS 'When its last attempt began';
COMMENT ON COLUMN haul.workflow_steps.finished_at IS 'When it ended';
COMMENT ON COLUMN haul.workflow_steps.result IS 'What it returned';
COMMENT ON COLUMN haul.workflow_steps.error IS 'Its last error, or why it was cancelled';

CREATE VIEW haul.workflow_status AS
	SELECT w.id, w.name,
		   CASE WHEN s.live = 0 AND w.cancelled_at IS NOT NULL THEN 'cancelled'
				WHEN s.live = 0 AND s.completed = s.jobs THEN 'completed'
				WHEN s.live = 0 THEN 'failed'
				WHEN w.cancelled_at IS NOT NULL THEN 'cancelling'
				WHEN s.live = s.waiting THEN 'stuck'
				ELSE 'running' END AS state,
		   s.jobs, s.waiting, s.ready, s.running, s.completed, s.failed, s.cancelled,
		   w.created_by, w.created_at, w.cancelled_at, CASE WHEN s.live = 0 THEN s.finished_at END AS finished_at
		FROM haul.workflows AS w, LATERAL (
			SELECT count(*) AS jobs,
				   count(j.id) AS live,
				   count(*) FILTER (WHERE j.state = 'waiting') AS waiting,
				   count(*) FILTER (WHERE j.state = 'ready') AS ready,
				   count(*) FILTER (WHERE j.state = 'running') AS running,
				   count(*) FILTER (WHERE e.state = 'completed') AS completed,
				   count(*) FILTER (WHERE e.state IN ('failed', 'discarded')) AS failed,
				   count(*) FILTER (WHERE e.state = 'cancelled') AS cancelled,
				   max(e.finished_at) AS finished_at
				FROM haul.workflow_jobs AS m
				LEFT JOIN haul.jobs AS j ON j.id = m.job_id
				LEFT JOIN haul._workflow_ends AS e
					ON e.workflow_id = m.workflow_id AND e.step = m.step AND e.job_id = m.job_id
				WHERE m.workflow_id = w.id) AS s;
COMMENT ON VIEW haul.workflow_status IS 'State of each workflow. Looks at all its jobs';
COMMENT ON COLUMN haul.workflow_status.id IS 'haul.workflows.id';
COMMENT ON COLUMN haul.workflow_status.name IS 'Its name';
COMMENT ON COLUMN haul.workflow_status.state IS
'running; stuck: all that is left waits for one that ended without success (haul.retry_workflow); cancelling: '
	'cancelled, but jobs still run; completed; failed: over, not all jobs completed; cancelled';
COMMENT ON COLUMN haul.workflow_status.jobs IS 'Jobs in all';
COMMENT ON COLUMN haul.workflow_status.waiting IS 'Jobs that wait for others';
COMMENT ON COLUMN haul.workflow_status.ready IS 'Jobs that wait for a worker, or their run_at';
COMMENT ON COLUMN haul.workflow_status.running IS 'Jobs that a worker holds';
COMMENT ON COLUMN haul.workflow_status.completed IS 'Jobs that completed';
COMMENT ON COLUMN haul.workflow_status.failed IS 'Jobs that failed for good or were discarded';
COMMENT ON COLUMN haul.workflow_status.cancelled IS 'Jobs that were cancelled';
COMMENT ON COLUMN haul.workflow_status.created_by IS 'Role that enqueued it';
COMMENT ON COLUMN haul.workflow_status.created_at IS 'When it was enqueued';
COMMENT ON COLUMN haul.workflow_status.cancelled_at IS 'When it was cancelled as a whole';
COMMENT ON COLUMN haul.workflow_status.finished_at IS 'When its last job ended; NULL while there are live ones';

CREATE VIEW haul.my_workflows WITH (security_barrier) AS
	SELECT id, name, state, jobs, waiting, ready, running, completed, failed, cancelled, created_at, cancelled_at,
		finished_at
		FROM haul.workflow_status WHERE created_by = current_user;
COMMENT ON VIEW haul.my_workflows IS 'Workflows that the current role enqueued';

-- ---- cancel and retry ----

CREATE FUNCTION haul.cancel_workflow(workflow_id bigint) RETURNS bigint
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE haul.workflows AS w SET cancelled_at = coalesce(w.cancelled_at, clock_timestamp())
		WHERE w.id = cancel_workflow.workflow_id;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no workflow %', workflow_id USING ERRCODE = '42704';
	END IF;
	-- whoever releases a job, or gives a running one back, has done so, or will see that the workflow is cancelled
	PERFORM haul._lock_workflow(workflow_id);
	RETURN haul._cancel_pending(ARRAY(SELECT m.job_id FROM haul.workflow_jobs AS m
										WHERE m.workflow_id = cancel_workflow.workflow_id ORDER BY m.step),
								'its workflow was cancelled'::text);
END
$$;
COMMENT ON FUNCTION haul.cancel_workflow(bigint) IS
'Ends all jobs of a workflow that are ready or waiting as cancelled; returns how many. Those that run end as they will,
but are not tried again, and nothing comes after them.
Until the transaction ends, ends of jobs of some other workflows wait for it. Errors: 42704 when there is no such
workflow.';

-- A gate's count follows from the members: as if it were made now.
CREATE FUNCTION haul._recount_gates(workflow bigint) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	WITH counted AS (
		SELECT n.gate, count(*) FILTER (WHERE e.state IS DISTINCT FROM 'completed') AS missing
			FROM haul.workflow_jobs AS m
			CROSS JOIN LATERAL unnest(m.gates) AS n(gate)
			LEFT JOIN haul._workflow_ends AS e ON e.workflow_id = m.workflow_id AND e.step = m.step AND e.job_id = m.job_id
			WHERE m.workflow_id = workflow AND n.gate <> 0
			GROUP BY n.gate
	)
	UPDATE haul._gates AS g SET missing = c.missing FROM counted AS c WHERE g.id = c.gate AND g.missing <> c.missing;
	LOOP
		UPDATE haul._gates AS g SET missing = c.missing
			FROM (SELECT l.next_gate AS gate, count(*) FILTER (WHERE l.missing > 0) AS missing
					FROM haul._gates AS l WHERE l.workflow_id = workflow AND l.next_gate <> 0 GROUP BY l.next_gate) AS c
			WHERE g.id = c.gate AND g.missing <> c.missing;
		EXIT WHEN NOT FOUND;
	END LOOP;
END
$$;

CREATE FUNCTION haul.retry_workflow(workflow_id bigint) RETURNS bigint
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET haul.enqueuer = ''
	SET session_replication_role = origin
AS $$
#variable_conflict use_column
DECLARE
	workflow haul.workflows;
	again    integer[];
	ids      bigint[];
	made     bigint;
BEGIN
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION 'haul.retry_workflow() must see what has just ended, in a transaction of the level READ COMMITTED'
			USING ERRCODE = '25001', HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED';
	END IF;
	UPDATE haul.workflows SET cancelled_at = NULL WHERE id = $1 RETURNING * INTO workflow;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no workflow %', $1 USING ERRCODE = '42704';
	END IF;
	-- from now on no member's end is dealt with behind our back
	PERFORM haul._lock_workflow($1);
	SELECT array_agg(m.step ORDER BY m.step) INTO again
		FROM haul.workflow_jobs AS m
		JOIN haul._workflow_ends AS e ON e.workflow_id = m.workflow_id AND e.step = m.step AND e.job_id = m.job_id
		WHERE m.workflow_id = $1 AND e.state <> 'completed';
	IF again IS NULL THEN
		RETURN 0;
	END IF;
	SELECT array_agg(nextval('haul.jobs_id_seq')) INTO ids FROM unnest(again);

	PERFORM set_config('haul.enqueuer', workflow.created_by, true);
	INSERT INTO haul.jobs OVERRIDING SYSTEM VALUE
		SELECT r.*
			FROM unnest(again, ids) AS a(step, id)
			JOIN haul.workflow_jobs AS m ON m.workflow_id = $1 AND m.step = a.step
			JOIN haul._workflow_ends AS e ON e.workflow_id = $1 AND e.step = m.step AND e.job_id = m.job_id
			CROSS JOIN LATERAL (SELECT EXISTS (
				SELECT FROM haul.workflow_jobs AS p
					LEFT JOIN haul._workflow_ends AS pe ON pe.workflow_id = $1 AND pe.step = p.step AND pe.job_id = p.job_id
					WHERE p.workflow_id = $1 AND p.step = ANY (m.after) AND pe.state IS DISTINCT FROM 'completed') AS waits) AS w
			CROSS JOIN LATERAL jsonb_populate_record(NULL::haul.jobs, e.job || jsonb_build_object(
				'id', a.id, 'enqueued_at', now(),
				'state', CASE WHEN w.waits THEN 'waiting' ELSE 'ready' END,
				'run_at', CASE WHEN w.waits THEN 'infinity' ELSE greatest(m.run_at, now()) END,
				'attempt', 0, 'claim', 0, 'interruptions', 0, 'expires_at', NULL, 'worker_id', NULL, 'lease_id', NULL,
				'started_at', NULL, 'interrupted_at', NULL, 'last_error', NULL, 'progress', NULL)) AS r
			ORDER BY a.step;
	GET DIAGNOSTICS made = ROW_COUNT;
	PERFORM haul._refuse_suppressed(cardinality(ids)::bigint, made);
	UPDATE haul.workflow_jobs AS m SET job_id = a.id FROM unnest(again, ids) AS a(step, id) WHERE m.workflow_id = $1
		AND m.step = a.step;
	PERFORM haul._recount_gates($1);
	RETURN cardinality(again);
END
$$;
COMMENT ON FUNCTION haul.retry_workflow(bigint) IS
'Enqueues again, as new jobs, all jobs of a workflow that ended without success: failed, discarded or cancelled; with
them the workflow goes on, also one that was cancelled. What has completed stays. Returns how many. An expiry given as a
time does not hold for them.
Until the transaction ends, ends of jobs of some other workflows wait for it, too.
Errors: 42704 when there is no such workflow, 23505 when somebody else has taken a unique_key meanwhile, 25001 in a
transaction that is not READ COMMITTED.';

-- At most 100 workflows, of all or among some, whose last job ended longer ago than the setting haul.keep_workflows.
CREATE FUNCTION haul._workflows_over(among bigint[] DEFAULT NULL) RETURNS SETOF bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before timestamptz := clock_timestamp() - haul._setting('haul.keep_workflows'::text);
BEGIN
	RETURN QUERY
	SELECT w.id FROM haul.workflows AS w
		WHERE w.created_at < before AND (among IS NULL OR w.id = ANY (among))
			AND NOT EXISTS (SELECT FROM haul.jobs AS j WHERE j.workflow_id = w.id)
			AND NOT EXISTS (SELECT FROM haul._workflow_ends AS e WHERE e.workflow_id = w.id AND e.finished_at >= before)
		ORDER BY w.id LIMIT 100;
END
$$;

-- Removes workflows whose last job ended longer ago than the setting haul.keep_workflows; returns how many.
CREATE FUNCTION haul._prune_workflows() RETURNS bigint
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	over bigint[];
BEGIN
	over := ARRAY(SELECT w.id FROM haul.workflows AS w
					WHERE w.id = ANY (ARRAY(SELECT haul._workflows_over(NULL::bigint[])))
					FOR UPDATE SKIP LOCKED);
	-- A retry may have come first. Now that they are locked, none can any more.
	over := ARRAY(SELECT haul._workflows_over(over));
	DELETE FROM haul._gates WHERE workflow_id = ANY (over);
	DELETE FROM haul._workflow_ends WHERE workflow_id = ANY (over);
	DELETE FROM haul.workflow_jobs WHERE workflow_id = ANY (over);
	DELETE FROM haul.workflows WHERE id = ANY (over);
	RETURN cardinality(over);
END
$$;
