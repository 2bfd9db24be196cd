-- Enqueueing by function, for those who prefer it to INSERT. Invoker's rights:
-- the caller needs what haul.grant_producer() gives.

-- The live job of a kind that has a key. The id only for who may know it: who enqueued the job, or may read haul.jobs.
CREATE FUNCTION haul._key_holder(kind text, unique_key text, OUT id bigint, OUT taken boolean)
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_key_holder';

CREATE FUNCTION haul.try_enqueue(
		kind text, args jsonb DEFAULT '{}', queue text DEFAULT 'default', priority integer DEFAULT 16383,
		run_at timestamptz DEFAULT now(), max_attempts integer DEFAULT 21, backoff text DEFAULT NULL,
		timeout interval DEFAULT NULL, on_timeout text DEFAULT 'retry', queue_timeout interval DEFAULT NULL,
		expires_at timestamptz DEFAULT NULL, on_interrupt text DEFAULT 'retry', unique_key text DEFAULT NULL,
		unique_until text DEFAULT 'finished', concurrency_key text DEFAULT NULL, concurrency_limit integer DEFAULT 1,
		pin text DEFAULT NULL, pin_strict boolean DEFAULT false, avoid text[] DEFAULT NULL, every interval DEFAULT NULL,
		reply_to text DEFAULT NULL, keep interval DEFAULT NULL,
		OUT id bigint, OUT is_new boolean)
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	taken boolean;
BEGIN
	-- With a key, a few times: the job that has it may end between the two statements.
	FOR attempt IN 1..CASE WHEN $13 IS NULL THEN 0 ELSE 10 END LOOP
		INSERT INTO haul.jobs (kind, args, queue, priority, run_at, max_attempts, backoff, timeout, on_timeout, queue_timeout,
							   expires_at, on_interrupt, unique_key, unique_until, concurrency_key, concurrency_limit,
							   pin, pin_strict, avoid, every, reply_to, keep)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
			ON CONFLICT DO NOTHING
			RETURNING id INTO try_enqueue.id;
		is_new := FOUND;
		IF is_new THEN
			RETURN;
		END IF;
		SELECT h.id, h.taken INTO try_enqueue.id, taken FROM haul._key_holder($1, $13) AS h;
		IF taken THEN
			RETURN;
		END IF;
	END LOOP;
	-- Without a key, or where something else is in the way: this says what.
	INSERT INTO haul.jobs (kind, args, queue, priority, run_at, max_attempts, backoff, timeout, on_timeout, queue_timeout,
						   expires_at, on_interrupt, unique_key, unique_until, concurrency_key, concurrency_limit,
						   pin, pin_strict, avoid, every, reply_to, keep)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
		RETURNING id INTO try_enqueue.id;
	is_new := FOUND;
	IF NOT is_new THEN
		RAISE EXCEPTION 'a trigger on haul.jobs suppressed the job'
			USING ERRCODE = '39P01', HINT = 'A BEFORE INSERT trigger on haul.jobs must return NEW.';
	END IF;
END
$$;
COMMENT ON FUNCTION haul.try_enqueue IS
'Enqueues one job, in the caller''s transaction; the arguments are columns of haul.jobs. Returns its id, and is_new
true.
If a live job of the kind has the unique_key, nothing is enqueued, and is_new is false: id is that of the job if the
current role enqueued it or may read haul.jobs, else NULL.
Errors: those of INSERT INTO haul.jobs; 39P01 when a trigger of somebody''s suppressed the job.';

-- Inlined: costs nothing beside the other.
CREATE FUNCTION haul.enqueue(
		kind text, args jsonb DEFAULT '{}', queue text DEFAULT 'default', priority integer DEFAULT 16383,
		run_at timestamptz DEFAULT now(), max_attempts integer DEFAULT 21, backoff text DEFAULT NULL,
		timeout interval DEFAULT NULL, on_timeout text DEFAULT 'retry', queue_timeout interval DEFAULT NULL,
		expires_at timestamptz DEFAULT NULL, on_interrupt text DEFAULT 'retry', unique_key text DEFAULT NULL,
		unique_until text DEFAULT 'finished', concurrency_key text DEFAULT NULL, concurrency_limit integer DEFAULT 1,
		pin text DEFAULT NULL, pin_strict boolean DEFAULT false, avoid text[] DEFAULT NULL, every interval DEFAULT NULL,
		reply_to text DEFAULT NULL, keep interval DEFAULT NULL)
	RETURNS bigint
	LANGUAGE sql
RETURN (haul.try_enqueue(kind, args, queue, priority, run_at, max_attempts, backoff, timeout, on_timeout, queue_timeout,
						 expires_at, on_interrupt, unique_key, unique_until, concurrency_key, concurrency_limit, pin,
						 pin_strict, avoid, every, reply_to, keep)).id;
COMMENT ON FUNCTION haul.enqueue IS
'Enqueues one job, in the caller''s transaction; the arguments are columns of haul.jobs. Returns its id, or that of the
live job of the kind that has its unique_key already; NULL if that is another role''s. See haul.try_enqueue().
Errors: those of haul.try_enqueue().';

CREATE FUNCTION haul.enqueue_many(jobs jsonb) RETURNS SETOF bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known CONSTANT text[] := ARRAY['kind', 'args', 'queue', 'priority', 'run_at', 'max_attempts', 'backoff', 'timeout',
		'on_timeout', 'queue_timeout', 'expires_at', 'on_interrupt', 'unique_key', 'unique_until', 'concurrency_key',
		'concurrency_limit', 'pin', 'pin_strict', 'avoid', 'every', 'reply_to', 'keep'];
	bad   text;
BEGIN
	IF jsonb_typeof(jobs) IS DISTINCT FROM 'array' THEN
		RAISE EXCEPTION 'jobs must be a JSON array of objects' USING ERRCODE = '22023';
	END IF;
	SELECT left(j::text, 100) INTO bad FROM jsonb_array_elements(jobs) AS j WHERE jsonb_typeof(j) <> 'object' LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'jobs must be a JSON array of objects, but one item is %', bad USING ERRCODE = '22023';
	END IF;
	SELECT k INTO bad FROM jsonb_array_elements(jobs) AS j, jsonb_object_keys(j) AS k WHERE k <> ALL (known) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'unknown job option "%"', bad
			USING ERRCODE = '22023', HINT = 'Options are ' || array_to_string(known, ', ') || '.';
	END IF;
	RETURN QUERY
	SELECT haul.enqueue(j.kind, coalesce(j.args, '{}'), coalesce(j.queue, 'default'), coalesce(j.priority, 16383),
						coalesce(j.run_at, now()), coalesce(j.max_attempts, 21), j.backoff, j.timeout,
						coalesce(j.on_timeout, 'retry'), j.queue_timeout, j.expires_at, coalesce(j.on_interrupt, 'retry'),
						j.unique_key, coalesce(j.unique_until, 'finished'), j.concurrency_key,
						coalesce(j.concurrency_limit, 1), j.pin, coalesce(j.pin_strict, false), j.avoid, j.every,
						j.reply_to, j.keep)
		FROM ROWS FROM (jsonb_to_recordset(jobs) AS (
			kind text, args jsonb, queue text, priority integer, run_at timestamptz, max_attempts integer, backoff text,
			timeout interval, on_timeout text, queue_timeout interval, expires_at timestamptz, on_interrupt text,
			unique_key text, unique_until text, concurrency_key text, concurrency_limit integer, pin text,
			pin_strict boolean, avoid text[], every interval, reply_to text, keep interval)) WITH ORDINALITY AS j
		ORDER BY j.ordinality;
END
$$;
COMMENT ON FUNCTION haul.enqueue_many(jsonb) IS
'Enqueues jobs given as a JSON array of objects whose keys are the arguments of haul.enqueue(). Returns their ids, in
the same order.
Errors: 22023 for an unknown key; those of INSERT INTO haul.jobs.';

-- The row trigger checks and fills in every INSERT and UPDATE, whoever makes it.
CREATE FUNCTION haul._check_job() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_check_job';
-- Triggers fire in the order of their names: this one should see what others have made of the row.
CREATE TRIGGER zz_haul_check_job BEFORE INSERT OR UPDATE ON haul.jobs
	FOR EACH ROW EXECUTE FUNCTION haul._check_job();

-- A job with a unique key may be a duplicate that ON CONFLICT leaves out: it wakes somebody only once it is there.
CREATE FUNCTION haul._note_keyed_job() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_note_keyed_job';
CREATE TRIGGER haul_note_keyed_job AFTER INSERT ON haul.jobs
	FOR EACH ROW WHEN (new.unique_key IS NOT NULL AND new.state = 'ready') EXECUTE FUNCTION haul._note_keyed_job();

-- Rows that somebody deletes by hand are counted, so that the counters add up; one that is running is kept as
-- cancelled.
CREATE FUNCTION haul._count_deleted_jobs(queue text, lease_id bigint, running integer, others integer) RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_count_deleted_jobs';
CREATE FUNCTION haul._count_deleted() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM haul._count_deleted_jobs(queue, lease_id, count(*) FILTER (WHERE state = 'running')::integer,
									 count(*) FILTER (WHERE state <> 'running')::integer)
		FROM gone GROUP BY queue, lease_id;
	PERFORM haul._tell_deleted(g) FROM gone AS g
		WHERE g.state = 'running' OR g.workflow_id IS NOT NULL OR g.cron_name IS NOT NULL OR g.reply_to IS NOT NULL;
	RETURN NULL;
END
$$;
CREATE TRIGGER haul_count_deleted AFTER DELETE ON haul.jobs
	REFERENCING OLD TABLE AS gone
	FOR EACH STATEMENT EXECUTE FUNCTION haul._count_deleted();

CREATE FUNCTION haul._refuse_truncate() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION 'TRUNCATE of % would lose track of running jobs', TG_RELID::regclass
		USING ERRCODE = '0A000', HINT = 'Use DELETE.';
END
$$;
CREATE TRIGGER haul_refuse_truncate BEFORE TRUNCATE ON haul.jobs
	FOR EACH STATEMENT EXECUTE FUNCTION haul._refuse_truncate();
CREATE TRIGGER haul_refuse_truncate BEFORE TRUNCATE ON haul.workers
	FOR EACH STATEMENT EXECUTE FUNCTION haul._refuse_truncate();

-- A worker's row belongs to the role of its owner's name, in a restored database, too.
CREATE FUNCTION haul._own_worker() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	new.owner_id := haul._role_id(new.owner);
	RETURN new;
END
$$;
CREATE TRIGGER haul_own_worker BEFORE INSERT ON haul.workers
	FOR EACH ROW EXECUTE FUNCTION haul._own_worker();

-- Deleting a worker's row releases what it holds.
CREATE FUNCTION haul._release_worker() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_release_worker';
CREATE TRIGGER haul_release_worker AFTER DELETE ON haul.workers
	FOR EACH ROW EXECUTE FUNCTION haul._release_worker();
