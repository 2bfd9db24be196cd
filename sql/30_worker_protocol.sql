-- The worker protocol: what a worker in any language calls. The functions in C
-- open haul.jobs themselves; the right to EXECUTE them is the right to work.

CREATE FUNCTION haul.register_worker(name text, options jsonb DEFAULT '{}') RETURNS bigint
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_register_worker';
COMMENT ON FUNCTION haul.register_worker(text, jsonb) IS
'Registers a worker; returns its id, which is never used again. It belongs to the current role: calls for it by a role
that is no member of that one, and may not delete rows of haul.workers, raise 42501.
Options: queues (names, or objects {"name","weight"}; default all), exclude (names), kinds (names; default all),
min_priority, max_priority (1 to 32767), order (strict or weighted), namespace, max_threads (default 1), hostname, pid,
confirm_start (true: the worker calls haul.start() before it runs a job that checkout returned with confirm_start),
wake (how it hears of work after a checkout that returned fewer jobs than asked for. queue, the default: NOTIFY on
channel haul, payload the queue; an empty payload: any queue. worker: a notification on channel haul_worker_<id>, which
the session that called checkout must LISTEN to; the sessions that call checkout and heartbeat are then the worker''s
own, and when they have ended for the setting haul.reconnect_grace, it is lost. none: it polls, or calls
haul.checkout_wait.
Where no background worker serves the database, it is always NOTIFY on channel haul, so LISTEN on both).
Errors: 22023 for an unknown option or a bad value.';

-- Errors: 22023 for an unknown option, or one of another type.
CREATE FUNCTION haul._check_worker_options(options jsonb) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known CONSTANT json := '{"queues": "array", "exclude": "array of strings", "kinds": "array of strings",
		"min_priority": "integer", "max_priority": "integer", "order": "string", "namespace": "string",
		"max_threads": "integer", "hostname": "string", "pid": "integer", "confirm_start": "boolean", "wake": "string"}';
	key   text;
BEGIN
	IF options IS NULL OR jsonb_typeof(options) <> 'object' THEN
		RAISE EXCEPTION 'options must be a JSON object' USING ERRCODE = '22023';
	END IF;
	FOR key IN SELECT k FROM jsonb_object_keys(options) AS k LOOP
		IF known ->> key IS NULL THEN
			RAISE EXCEPTION 'unknown worker option "%"', key USING ERRCODE = '22023',
				HINT = 'Options are ' || (SELECT string_agg(k, ', ') FROM json_object_keys(known) AS k) || '.';
		END IF;
		-- an option given as null is an option left out
		IF jsonb_typeof(options -> key) <> 'null' THEN
			PERFORM haul._check_option(options, key, known ->> key);
		END IF;
	END LOOP;
END
$$;

-- The queues that a worker takes, with their weights. Errors: 22023 for a bad name or weight, one twice, or none.
CREATE FUNCTION haul._worker_queues(given jsonb, OUT queues text[], OUT weights float8[])
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	item jsonb;
BEGIN
	FOR item IN SELECT i FROM jsonb_array_elements(given) AS i LOOP
		IF jsonb_typeof(item) = 'string' THEN
			item := jsonb_build_object('name', item);
		END IF;
		IF jsonb_typeof(item) <> 'object' OR item - ARRAY['name', 'weight'] <> '{}'
			OR jsonb_typeof(item -> 'name') IS DISTINCT FROM 'string'
			OR jsonb_typeof(coalesce(item -> 'weight', '1')) <> 'number'
		THEN
			RAISE EXCEPTION 'worker option "queues" has an item that is neither a name nor {"name", "weight"}: %', item
				USING ERRCODE = '22023';
		END IF;
		IF char_length(item ->> 'name') NOT BETWEEN 1 AND 63 THEN
			RAISE EXCEPTION 'queue "%" must have 1 to 63 characters', item ->> 'name' USING ERRCODE = '22023';
		END IF;
		IF coalesce((item ->> 'weight')::numeric, 1) NOT BETWEEN 1e-6 AND 1e6 THEN
			RAISE EXCEPTION 'weight of queue "%" must be between 0.000001 and 1000000, not %', item ->> 'name',
				item ->> 'weight'
				USING ERRCODE = '22023';
		END IF;
		queues := queues || (item ->> 'name');
		weights := weights || coalesce((item ->> 'weight')::float8, 1);
	END LOOP;
	IF queues IS NULL THEN
		RAISE EXCEPTION 'worker option "queues" is empty'
			USING ERRCODE = '22023', HINT = 'Leave it out to take all queues.';
	END IF;
	IF cardinality(queues) > (SELECT count(DISTINCT q) FROM unnest(queues) AS q) THEN
		RAISE EXCEPTION 'worker option "queues" names a queue twice' USING ERRCODE = '22023';
	END IF;
END
$$;

-- Errors: 22023 for what no worker can be.
CREATE FUNCTION haul._check_worker(w haul.workers) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF w.name IS NULL OR char_length(w.name) NOT BETWEEN 1 AND 255 THEN
		RAISE EXCEPTION 'worker name must have 1 to 255 characters' USING ERRCODE = '22023';
	END IF;
	IF w.kinds = '{}' THEN
		RAISE EXCEPTION 'worker option "kinds" is empty'
			USING ERRCODE = '22023', HINT = 'Leave it out to take all kinds.';
	END IF;
	IF w.queue_order NOT IN ('strict', 'weighted') THEN
		RAISE EXCEPTION 'unknown queue order "%"', w.queue_order
			USING ERRCODE = '22023', HINT = 'Orders are strict, weighted.';
	END IF;
	IF w.queue_order = 'weighted' AND w.queues IS NULL THEN
		RAISE EXCEPTION 'order "weighted" needs the option "queues"' USING ERRCODE = '22023';
	END IF;
	IF w.wake NOT IN ('queue', 'worker', 'none') THEN
		RAISE EXCEPTION 'unknown way to wake a worker "%"', w.wake
			USING ERRCODE = '22023', HINT = 'Ways are queue, worker, none.';
	END IF;
	IF w.max_threads < 1 THEN
		RAISE EXCEPTION 'max_threads must be at least 1, not %', w.max_threads USING ERRCODE = '22023';
	END IF;
	IF char_length(w.namespace) NOT BETWEEN 1 AND 61 THEN
		RAISE EXCEPTION 'namespace "%" must have 1 to 61 characters', w.namespace USING ERRCODE = '22023';
	END IF;
END
$$;

-- The worker that the options, which are of the right types, describe; what the server sets is left out.
CREATE FUNCTION haul._described_worker(name text, options jsonb) RETURNS haul.workers
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w       haul.workers;
	lowest  integer := coalesce((options ->> 'min_priority')::integer, 1);
	highest integer := coalesce((options ->> 'max_priority')::integer, 32767);
BEGIN
	IF lowest NOT BETWEEN 1 AND 32767 OR highest NOT BETWEEN 1 AND 32767 OR lowest > highest THEN
		RAISE EXCEPTION 'priorities %:% are not a range within 1:32767', lowest, highest USING ERRCODE = '22023';
	END IF;
	w.name := name;
	w.hostname := options ->> 'hostname';
	w.pid := options ->> 'pid';
	w.min_priority := lowest;
	w.max_priority := highest;
	w.queue_order := coalesce(options ->> 'order', 'strict');
	w.namespace := options ->> 'namespace';
	w.max_threads := coalesce((options ->> 'max_threads')::integer, 1);
	w.confirm_start := coalesce((options ->> 'confirm_start')::boolean, false);
	w.wake := coalesce(options ->> 'wake', 'queue');
	IF options ? 'queues' THEN
		SELECT q.queues, q.weights INTO w.queues, w.weights FROM haul._worker_queues(options -> 'queues') AS q;
		IF w.queues = ARRAY['*'] THEN
			w.queues := NULL;
			w.weights := NULL;
		END IF;
	END IF;
	IF options ? 'exclude' THEN
		w.exclude := (SELECT array_agg(e) FROM jsonb_array_elements_text(options -> 'exclude') AS e);
	END IF;
	IF options ? 'kinds' THEN
		w.kinds := ARRAY(SELECT k FROM jsonb_array_elements_text(options -> 'kinds') AS k);
	END IF;
	PERFORM haul._check_worker(w);
	IF w.namespace IS NOT NULL THEN
		w.queues := haul._in_namespace(w.queues, w.namespace);
		w.exclude := haul._in_namespace(w.exclude, w.namespace);
	END IF;
	RETURN w;
END
$$;

-- Makes the row of a worker that belongs to a role, with the rights of the extension's owner.
CREATE FUNCTION haul._register_worker(name text, options jsonb, owner name) RETURNS bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w  haul.workers;
	id bigint;
BEGIN
	PERFORM haul._check_worker_options(options);
	w := haul._described_worker(name, jsonb_strip_nulls(options));
	-- A new process of the same name on the same host: that one will not come back.
	PERFORM haul._bury(ARRAY(
		SELECT o.id FROM haul.workers AS o
			WHERE o.lost_at IS NOT NULL AND o.owner_id = haul._role_id(_register_worker.owner)
				AND o.name = w.name AND o.hostname = w.hostname AND o.pid <> w.pid));

	PERFORM haul._add_history(clock_timestamp(), true);
	INSERT INTO haul.workers (name, hostname, pid, queues, weights, exclude, kinds, min_priority, max_priority,
							  queue_order, namespace, max_threads, confirm_start, wake, owner)
		VALUES (w.name, w.hostname, w.pid, w.queues, w.weights, w.exclude, w.kinds, w.min_priority, w.max_priority,
				w.queue_order, w.namespace, w.max_threads, w.confirm_start, w.wake, _register_worker.owner)
		RETURNING workers.id INTO id;
	RETURN id;
END
$$;

-- Within a namespace, queues may be named with or without it.
CREATE FUNCTION haul._in_namespace(queues text[], namespace text) RETURNS text[]
	LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT array_agg(CASE WHEN starts_with(q, namespace || '.') THEN q ELSE namespace || '.' || q END ORDER BY n)
		FROM unnest(queues) WITH ORDINALITY AS t(q, n);
END;

CREATE FUNCTION haul._check_option(options jsonb, key text, wanted text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	value jsonb := options -> key;
	fits  boolean;
BEGIN
	fits := CASE wanted
		WHEN 'integer' THEN jsonb_typeof(value) = 'number' AND value::text ~ '^-?[0-9]{1,9}$'
		WHEN 'array of strings' THEN jsonb_typeof(value) = 'array' AND NOT EXISTS (
			SELECT FROM jsonb_array_elements(CASE WHEN jsonb_typeof(value) = 'array' THEN value ELSE '[]' END) AS e
			WHERE jsonb_typeof(e) <> 'string')
		ELSE jsonb_typeof(value) = wanted
	END;
	IF NOT fits THEN
		RAISE EXCEPTION 'worker option "%" must be of type %, not %', key, wanted, value USING ERRCODE = '22023';
	END IF;
END
$$;

CREATE FUNCTION haul.checkout(worker_id bigint, max_jobs integer DEFAULT 1,
		OUT id bigint, OUT claim integer, OUT queue text, OUT kind text, OUT args jsonb, OUT priority smallint,
		OUT attempt integer, OUT max_attempts integer, OUT run_at timestamptz, OUT enqueued_at timestamptz,
		OUT timeout interval, OUT on_timeout text, OUT interruptions smallint, OUT interrupted_at timestamptz,
		OUT last_error text, OUT progress jsonb, OUT workflow_id bigint, OUT cron_name text, OUT confirm_start boolean)
	RETURNS SETOF record
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_checkout';
COMMENT ON FUNCTION haul.checkout(bigint, integer) IS
'Hands out up to max_jobs (1 to 10000) due jobs of the worker''s subscription, in dispatch order: queue, priority,
run_at, id.
Jobs that another transaction has locked are skipped. (id, claim) is the fencing token for every later call about the
job.
attempt counts this execution: 1 = the first. Jobs found past their queue timeout are discarded
on the way, and those too long to be sent (32 MB as text) fail; at most 500 in a call: where there are more in front,
the rest of their queue and priority is left to the next call, though this one may then return less than there is.
workflow_id: the job belongs to a workflow; haul.results(id) gives what the jobs before it returned. confirm_start: call
haul.start() before running the job. Needs no flush at commit: a claim lost in a crash is a job that is ready again.
Errors: HQ003 when the worker is not registered (any more), 22023 for max_jobs out of range.';

CREATE PROCEDURE haul.checkout_wait(worker_id bigint, max_jobs integer DEFAULT 1, wait interval DEFAULT '30 s',
		INOUT jobs jsonb DEFAULT NULL)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_checkout_wait';
COMMENT ON PROCEDURE haul.checkout_wait(bigint, integer, interval, jsonb) IS
'Checks out like haul.checkout(), and where nothing is due waits for it, on the server, at most for the given time.
Returns the jobs as a JSON array of objects with the columns of haul.checkout, in dispatch order; times and durations
are ISO 8601. [] when nothing came.
Returns no more jobs than fit into 32 MB.
It commits before it waits, so it holds no snapshot, no transaction id and no lock, and works through a pooler in
transaction mode. With preloading the enqueuer''s commit wakes it at once; without, it looks twice a second.
Errors: 55P03 when it had to wait for a lock for longer than a second, 25001 inside a transaction block, HQ003 when the
worker is not registered (any more), 22023 for a value out of range.';

CREATE FUNCTION haul.start(worker_id bigint, ids bigint[], claims integer[]) RETURNS bigint[]
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_start';
COMMENT ON FUNCTION haul.start(bigint, bigint[], integer[]) IS
'Marks jobs as begun, for jobs that checkout returned with confirm_start. Until then the death of the worker is not held
against them.
Returns the ids that were not owned any more: do not run those.';

CREATE FUNCTION haul.not_owned(worker_id bigint, ids bigint[], claims integer[], OUT id bigint, OUT claim integer)
	RETURNS SETOF record
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_not_owned';
COMMENT ON FUNCTION haul.not_owned(bigint, bigint[], integer[]) IS
'Returns those of the claims that the worker does not own any more: an operator deleted or released the job, or others
have taken over. What the worker makes of it counts for nothing: stop it. Ask with each heartbeat, for the jobs that
have been running since the one before. Changes nothing, and waits for nobody who has a job locked.
Errors: 22023 when the arrays differ in length or hold NULLs.';

CREATE FUNCTION haul.complete(worker_id bigint, ids bigint[], claims integer[], results jsonb[] DEFAULT NULL,
		strict boolean DEFAULT false) RETURNS bigint[]
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_complete';
COMMENT ON FUNCTION haul.complete(bigint, bigint[], integer[], jsonb[], boolean) IS
'Ends jobs as completed, with their results (an array as long as ids, or NULL). Returns the ids that were not owned any
more, ''{}'' if all were;
with strict, raises HQ001 for those instead, so that the caller''s transaction rolls back.
Called in the transaction that did the job''s work, effects and completion are one atomic step.
A claim that a crash of the server lost is made good: the job counts as claimed and completed.
Errors: 22023 when the arrays differ in length or hold NULLs, or for a result longer than the setting
haul.max_args_size; 22004 for a NULL argument.';

CREATE FUNCTION haul.fail(worker_id bigint, id bigint, claim integer, error text, detail jsonb DEFAULT NULL,
		retry_in interval DEFAULT NULL, retry_queue text DEFAULT NULL, final boolean DEFAULT false) RETURNS text
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_fail';
COMMENT ON FUNCTION haul.fail(bigint, bigint, integer, text, jsonb, interval, text, boolean) IS
'Records a failed attempt. With attempts left the job is ready again after its backoff, or after retry_in, in its queue
or in retry_queue;
with none left, or with final, it ends as failed. Returns ready, failed, cancelled (a job of a workflow that was
cancelled is not tried again), or NULL when the job was not owned.
An error text longer than the setting haul.max_args_size is cut.
Errors: 22004 for a NULL error, 22023 for a negative retry_in, a bad retry_queue, or a detail longer than
haul.max_args_size.';

CREATE FUNCTION haul.discard(worker_id bigint, id bigint, claim integer, reason text) RETURNS boolean
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_discard';
COMMENT ON FUNCTION haul.discard(bigint, bigint, integer, text) IS
'Ends a running job as discarded, for the given reason, which is cut as with haul.fail(). Returns whether it was
owned.';

CREATE FUNCTION haul.cancelled(worker_id bigint, id bigint, claim integer, reason text) RETURNS boolean
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_cancelled';
COMMENT ON FUNCTION haul.cancelled(bigint, bigint, integer, text) IS
'Ends a running job as cancelled, for the given reason, which is cut as with haul.fail(). Returns whether it was
owned.';

CREATE FUNCTION haul.snooze(worker_id bigint, id bigint, claim integer, delay interval) RETURNS boolean
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_snooze';
COMMENT ON FUNCTION haul.snooze(bigint, bigint, integer, interval) IS
'Puts a running job back, to run again after delay; the attempt is not charged. Returns whether it was owned.
Errors: 22004 for a NULL delay, 22023 for a negative one or one of over 1000 years.';

CREATE FUNCTION haul.release(worker_id bigint, ids bigint[], claims integer[],
	started boolean DEFAULT true) RETURNS bigint[]
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_release';
COMMENT ON FUNCTION haul.release(bigint, bigint[], integer[], boolean) IS
'Gives jobs back at once. started: they were interrupted in mid-run, which counts as an attempt and follows
on_interrupt;
otherwise they were only fetched, and the attempt is not charged. Returns the ids that were not owned any more.';

CREATE FUNCTION haul.progress(worker_id bigint, id bigint, claim integer, value jsonb) RETURNS boolean
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_progress';
COMMENT ON FUNCTION haul.progress(bigint, bigint, integer, jsonb) IS
'Stores what the handler reports in haul.jobs.progress. Returns whether the job was owned.
Errors: 22023 for a value longer than the setting haul.max_args_size.';

CREATE FUNCTION haul.reconcile(worker_id bigint, ids bigint[], claims integer[]) RETURNS bigint
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_reconcile';
COMMENT ON FUNCTION haul.reconcile(bigint, bigint[], integer[]) IS
'Gives back, uncharged, every job that the worker holds and that is not among the given: for a worker that lost its
connection and cannot know whether its last checkout committed. Waits for checkouts of the same worker that are under
way: call it in a transaction of its own. Returns how many it gave back.';

CREATE FUNCTION haul.next_due(worker_id bigint) RETURNS interval
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_next_due';
COMMENT ON FUNCTION haul.next_due(bigint) IS
'Time until the next job of the worker''s subscription is due: 0 when one is due now, NULL when none is to come.
By the server''s clock: a worker sets a timer with it. Errors: HQ003 when the worker is not registered.';

CREATE FUNCTION haul.heartbeat(worker_id bigint, busy integer DEFAULT NULL, status text DEFAULT NULL,
		session_pid integer DEFAULT NULL) RETURNS boolean
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_heartbeat';
COMMENT ON FUNCTION haul.heartbeat(bigint, integer, text, integer) IS
'Says that the worker lives, as any other of its calls does; busy: jobs it is running, status: running or draining. Give
a sign at least every 2 seconds, also while draining, and from time to time call haul.maintain(). Works in read-only
transactions, and waits for nobody who has the row locked.
session_pid: process of the backend as the client knows it (PQbackendPID). If that is the process that answers, there is
no pooler in between, and the session is the worker''s own: when all of these have ended for haul.reconnect_grace, the
worker is lost. Returns false when the row is gone: register again.';

CREATE FUNCTION haul.unregister_worker(worker_id bigint) RETURNS bigint
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_unregister_worker';
COMMENT ON FUNCTION haul.unregister_worker(bigint) IS
'Deletes the worker''s row. Returns how many jobs that released; NULL when there was no such row.';
