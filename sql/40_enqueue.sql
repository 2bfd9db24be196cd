-- Enqueueing by function, for those who prefer it to INSERT. Invoker's rights:
-- the caller needs what haul.grant_producer() gives.

-- The live job of a kind that has a key. The id only for who may know it: who enqueued the job, or may read haul.jobs.
CREATE FUNCTION haul._key_holder(kind text, unique_key text, OUT id bigint, OUT taken boolean)
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_key_holder';

-- Errors: 22023 unless the value is an array of objects that have known keys only. unknown: the message for another,
-- with %s for the key.
CREATE FUNCTION haul._check_objects(what text, given jsonb, known text[], unknown text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad text;
BEGIN
	IF jsonb_typeof(given) IS DISTINCT FROM 'array' THEN
		RAISE EXCEPTION '% must be a JSON array of objects', what USING ERRCODE = '22023';
	END IF;
	SELECT left(g::text, 100) INTO bad FROM jsonb_array_elements(given) AS g WHERE jsonb_typeof(g) <> 'object' LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION '% must be a JSON array of objects, but one item is %', what, bad USING ERRCODE = '22023';
	END IF;
	SELECT k INTO bad FROM jsonb_array_elements(given) AS g, jsonb_object_keys(g) AS k WHERE k <> ALL (known) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING MESSAGE = format(unknown, bad), ERRCODE = '22023',
			HINT = 'Options are ' || array_to_string(known, ', ') || '.';
	END IF;
END
$$;

-- Raises an error unless all jobs were inserted.
CREATE FUNCTION haul._refuse_suppressed(wanted bigint, made bigint) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF made < wanted THEN
		RAISE EXCEPTION 'a trigger on haul.jobs suppressed %',
				CASE WHEN wanted = 1 THEN 'the job' ELSE format('%s of %s jobs', wanted - made, wanted) END
			USING ERRCODE = '39P01', HINT = 'A BEFORE INSERT trigger on haul.jobs must return NEW.';
	END IF;
END
$$;

-- The options of a job are the columns of haul.jobs from "queue" to "keep", with their defaults. All that takes options
-- is made from them, or reads them: an option that is added to the table is one everywhere.
DO $do$
DECLARE
	option record;
BEGIN
	SELECT string_agg(format('%I %s', name, type), ', ' ORDER BY place) AS fields,
		   string_agg(format('%I', name), ', ' ORDER BY place) AS names,
		   string_agg(format('%L', name), ', ' ORDER BY place) AS words,
		   string_agg(format('%I %s%s', name, type, ' DEFAULT ' || coalesce(initial, CASE WHEN place > 1 THEN 'NULL' END)),
					  ', ' ORDER BY place) AS arguments,
		   string_agg('$' || place, ', ' ORDER BY place) AS given,
		   string_agg(format('job.%I', name), ', ' ORDER BY place) AS of_job,
		   string_agg(format(CASE WHEN initial IS NULL THEN 'o.%I' ELSE 'coalesce(o.%I, %s)' END, name, initial), ', '
					  ORDER BY place) AS filled_in
		INTO option
		FROM (SELECT a.attname AS name, pg_get_expr(d.adbin, d.adrelid) AS initial,
					 -- numbers are integers, which no caller has to cast
					 CASE a.atttypid WHEN 'smallint'::regtype THEN 'integer' ELSE a.atttypid::regtype::text END AS type,
					 -- these two are given by position
					 row_number() OVER (ORDER BY a.attname = 'kind' DESC, a.attname = 'args' DESC, a.attnum) AS place
				FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
				WHERE a.attrelid = 'haul.jobs'::regclass
					AND a.attnum BETWEEN (SELECT q.attnum FROM pg_attribute AS q
											WHERE q.attrelid = 'haul.jobs'::regclass AND q.attname = 'queue')
									 AND (SELECT k.attnum FROM pg_attribute AS k
											WHERE k.attrelid = 'haul.jobs'::regclass AND k.attname = 'keep')) AS o;

	EXECUTE format($sql$
		CREATE TYPE haul._job_options AS (%s)
		$sql$, option.fields);
	EXECUTE format($sql$
		CREATE FUNCTION haul._job_option_names() RETURNS text[] LANGUAGE sql IMMUTABLE
		RETURN ARRAY[%s]
		$sql$, option.words);

	-- Those that each object of an array gives; what it leaves out, or gives as null, has its default.
	EXECUTE format($sql$
		CREATE FUNCTION haul._given_options(jobs jsonb) RETURNS SETOF haul._job_options LANGUAGE sql STABLE
		BEGIN ATOMIC -- inlined
			SELECT %s FROM jsonb_populate_recordset(NULL::haul._job_options, jobs) AS o;
		END
		$sql$, option.filled_in);

	-- For INSERT, by the owner, of haul._job_options and what the queue adds to them.
	EXECUTE format($sql$
		CREATE VIEW haul._new_jobs AS SELECT %s, state, cron_name, workflow_id, id FROM haul.jobs
		$sql$, option.names);

	EXECUTE format($sql$
		CREATE FUNCTION haul.try_enqueue(%s, OUT id bigint, OUT is_new boolean)
			LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
		AS $body$
		#variable_conflict use_column
		DECLARE
			taken boolean;
		BEGIN
			-- With a key, a few times: the job that has it may end between the two statements.
			FOR attempt IN 1..CASE WHEN try_enqueue.unique_key IS NULL THEN 0 ELSE 10 END LOOP
				INSERT INTO haul.jobs (%s) VALUES (%s) ON CONFLICT DO NOTHING RETURNING id INTO try_enqueue.id;
				is_new := FOUND;
				IF is_new THEN
					RETURN;
				END IF;
				SELECT h.id, h.taken INTO try_enqueue.id, taken
					FROM haul._key_holder(try_enqueue.kind, try_enqueue.unique_key) AS h;
				IF taken THEN
					RETURN;
				END IF;
			END LOOP;
			-- Without a key, or where something else is in the way: this says what.
			INSERT INTO haul.jobs (%2$s) VALUES (%3$s) RETURNING id INTO try_enqueue.id;
			is_new := FOUND;
			IF NOT is_new THEN
				PERFORM haul._refuse_suppressed(1::bigint, 0::bigint);
			END IF;
		END
		$body$
		$sql$, option.arguments, option.names, option.given);
	EXECUTE format($sql$
		CREATE FUNCTION haul.enqueue(%s) RETURNS bigint
			LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
		AS $body$
		#variable_conflict use_column
		DECLARE
			new_id bigint;
		BEGIN
			IF enqueue.unique_key IS NULL THEN
				INSERT INTO haul.jobs (%s) VALUES (%s) RETURNING id INTO new_id;
				IF NOT FOUND THEN
					PERFORM haul._refuse_suppressed(1::bigint, 0::bigint);
				END IF;
			ELSE
				new_id := (haul.try_enqueue(%3$s)).id;
			END IF;
			RETURN new_id;
		END
		$body$
		$sql$, option.arguments, option.names, option.given);
	EXECUTE format($sql$
		CREATE FUNCTION haul._enqueue(job haul._job_options) RETURNS bigint LANGUAGE sql
		RETURN haul.enqueue(%s)
		$sql$, option.of_job);
	EXECUTE format($sql$
		CREATE FUNCTION haul.enqueue_many(jobs jsonb) RETURNS SETOF bigint
			LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
		AS $body$
		DECLARE
			made bigint;
		BEGIN
			PERFORM haul._check_objects('jobs'::text, jobs, haul._job_option_names(), 'unknown job option "%%s"'::text);
			IF jobs @? '$[*].unique_key ? (@ != null)' THEN
				RETURN QUERY SELECT haul._enqueue(o) FROM haul._given_options(jobs) AS o;
				RETURN;
			END IF;
			RETURN QUERY INSERT INTO haul.jobs (%1$s) SELECT o.* FROM haul._given_options(jobs) AS o RETURNING id;
			GET DIAGNOSTICS made = ROW_COUNT;
			IF made < jsonb_array_length(jobs) THEN
				PERFORM haul._refuse_suppressed(jsonb_array_length(jobs)::bigint, made);
			END IF;
		END
		$body$
		$sql$, option.names);
END
$do$;

COMMENT ON FUNCTION haul.try_enqueue IS
'Enqueues one job, in the caller''s transaction; the arguments are columns of haul.jobs. Returns its id, and is_new
true.
If a live job of the kind has the unique_key, nothing is enqueued, and is_new is false: id is that of the job if the
current role enqueued it or may read haul.jobs, else NULL.
Errors: those of INSERT INTO haul.jobs; 39P01 when a trigger of somebody''s suppressed the job.';

COMMENT ON FUNCTION haul.enqueue IS
'Enqueues one job, in the caller''s transaction; the arguments are columns of haul.jobs. Returns its id, or that of the
live job of the kind that has its unique_key already; NULL if that is another role''s. See haul.try_enqueue().
Errors: those of haul.try_enqueue().';

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
