-- Maintenance: everything that nobody's call does on its way.

-- Says of a table that haul._add_history made it, in a restored dump, too. What somebody else attaches to the
-- history, under whatever name, stays his.
CREATE FUNCTION haul._leaf_mark() RETURNS text
	LANGUAGE sql IMMUTABLE
RETURN 'made by pg_haul, which drops it when its time is over';

-- Makes a table for a part of the history: columns, tablespace and privileges are those of the whole, whatever
-- the session, or defaults, say of new tables.
CREATE FUNCTION haul._make_leaf(leaf text, history regclass, indexes text[], partition_by text) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp SET default_tablespace = '' SET default_table_access_method = 'heap'
AS $$
DECLARE
	made regclass;
	item text;
BEGIN
	PERFORM set_config('default_tablespace', coalesce((
		SELECT t.spcname FROM pg_class AS c JOIN pg_tablespace AS t ON t.oid = c.reltablespace
			WHERE c.oid = history), ''), true);
	EXECUTE format('CREATE TABLE haul.%I (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED) %s',
				   leaf, history, partition_by);
	made := format('haul.%I', leaf)::regclass;
	EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', made);
	EXECUTE format('COMMENT ON TABLE %s IS %L', made, haul._leaf_mark());
	FOREACH item IN ARRAY indexes LOOP
		EXECUTE format('CREATE INDEX ON %s (%I)', made, item);
	END LOOP;
	FOR item IN
		SELECT format('REVOKE ALL ON TABLE %s FROM %s', made,
					  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
			FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = made AND a.grantee <> c.relowner
	LOOP
		EXECUTE item;
	END LOOP;
	FOR item IN
		SELECT format('GRANT %s%s ON TABLE %s TO %s%s', a.privilege_type, ' (' || quote_ident(p.col) || ')', made,
					  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
					  CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
			FROM pg_class AS c,
				 LATERAL (SELECT NULL::name AS col, c.relacl AS acl
						  UNION ALL
						  SELECT attname, attacl FROM pg_attribute WHERE attrelid = c.oid AND NOT attisdropped) AS p,
				 aclexplode(p.acl) AS a
			WHERE c.oid = history AND a.grantee <> c.relowner
	LOOP
		EXECUTE item;
	END LOOP;
END
$$;

-- Names of leaves are made of UTC times, so that history.c finds the leaf of a
-- time by its name: finished_jobs_20260131_kept, finished_jobs_20260131_05,
-- job_errors_20260131.
CREATE FUNCTION haul._add_history(at timestamptz, wait boolean DEFAULT true) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET client_min_messages = 'warning'
AS $$
DECLARE
	hour  timestamptz := date_trunc('hour', at);
	day   timestamptz := date_trunc('day', at);
	jobs  text := to_char(at, '"finished_jobs_"YYYYMMDD');
	leaf  text := to_char(at, '"finished_jobs_"YYYYMMDD_HH24');
	errs  text := to_char(at, '"job_errors_"YYYYMMDD');
BEGIN
	IF to_regclass(format('haul.%I', leaf)) IS NOT NULL AND to_regclass(format('haul.%I', errs)) IS NOT NULL THEN
		RETURN;
	END IF;
	-- One at a time; those that write to existing leaves do not wait.
	IF wait THEN
		LOCK TABLE haul.finished_jobs IN SHARE UPDATE EXCLUSIVE MODE;
	ELSE
		BEGIN
			LOCK TABLE haul.finished_jobs IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
		EXCEPTION WHEN lock_not_available THEN
			RETURN;
		END;
	END IF;
	IF to_regclass(format('haul.%I', jobs)) IS NULL THEN
		PERFORM haul._make_leaf(jobs, 'haul.finished_jobs'::regclass, '{}'::text[],
			'PARTITION BY LIST ((keep_until IS NULL))'::text);
		PERFORM haul._make_leaf(jobs || '_kept'::text, 'haul.finished_jobs'::regclass, '{id,keep_until}'::text[], ''::text);
		PERFORM haul._make_leaf(jobs || '_brief'::text, 'haul.finished_jobs'::regclass, '{}'::text[],
			'PARTITION BY RANGE (finished_at)'::text);
		EXECUTE format('ALTER TABLE haul.%I ATTACH PARTITION haul.%I FOR VALUES IN (false)', jobs, jobs || '_kept');
		EXECUTE format('ALTER TABLE haul.%I ATTACH PARTITION haul.%I FOR VALUES IN (true)', jobs, jobs || '_brief');
		EXECUTE format('ALTER TABLE haul.finished_jobs ATTACH PARTITION haul.%I FOR VALUES FROM (%L) TO (%L)',
					   jobs, day, day + interval '1 day');
		INSERT INTO haul._leaves (name, at) VALUES (jobs, day) ON CONFLICT DO NOTHING;
	END IF;
	IF to_regclass(format('haul.%I', leaf)) IS NULL THEN
		PERFORM haul._make_leaf(leaf, 'haul.finished_jobs'::regclass, '{id}'::text[], ''::text);
		EXECUTE format('ALTER TABLE haul.%I ATTACH PARTITION haul.%I FOR VALUES FROM (%L) TO (%L)',
					   jobs || '_brief', leaf, hour, hour + interval '1 hour');
		INSERT INTO haul._leaves (name, at) VALUES (leaf, hour) ON CONFLICT DO NOTHING;
	END IF;
	IF to_regclass(format('haul.%I', errs)) IS NULL THEN
		PERFORM haul._make_leaf(errs, 'haul.job_errors'::regclass, '{job_id}'::text[], ''::text);
		EXECUTE format('ALTER TABLE haul.job_errors ATTACH PARTITION haul.%I FOR VALUES FROM (%L) TO (%L)',
					   errs, day, day + interval '1 day');
		INSERT INTO haul._leaves (name, at) VALUES (errs, day) ON CONFLICT DO NOTHING;
	END IF;
END
$$;

-- A dump comes in: its leaves are to be there before their rows.
CREATE FUNCTION haul._restore_leaf() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF haul._is_restoring(TG_RELID::regclass) THEN
		PERFORM haul._add_history(new.at, true);
		IF EXISTS (SELECT FROM haul._leaves AS l WHERE l.name = new.name) THEN
			RETURN NULL;
		END IF;
	END IF;
	RETURN new;
END
$$;
CREATE TRIGGER haul_restore_leaf BEFORE INSERT ON haul._leaves
	FOR EACH ROW EXECUTE FUNCTION haul._restore_leaf();

-- The time at which a leaf that haul._add_history made ends, by its name and that of the table it is attached to;
-- NULL: it made none of such names.
CREATE FUNCTION haul._leaf_end(leaf name, parent name) RETURNS timestamptz
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
BEGIN ATOMIC
	SELECT CASE
		WHEN parent IN ('finished_jobs', 'job_errors') AND leaf ~ ('^' || parent || '_[0-9]{8}$')
			THEN to_timestamp(right(leaf, 8), 'YYYYMMDD') + interval '1 day'
		WHEN parent ~ '^finished_jobs_[0-9]{8}_brief$' AND leaf ~ ('^' || left(parent, -5) || '[0-9]{2}$')
			THEN to_timestamp(right(leaf, 11), 'YYYYMMDD_HH24') + interval '1 hour'
		END;
END;

-- Whether a leaf may go: nobody has attached anything to it, and no job in it is to stay.
CREATE FUNCTION haul._is_droppable(leaf regclass) RETURNS boolean
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	part record;
	kept boolean := false;
BEGIN
	FOR part IN
		SELECT c.oid::regclass AS name, right(c.relname, 5) = '_kept' AS keeps,
			   obj_description(c.oid, 'pg_class') = haul._leaf_mark() AS ours
			FROM pg_partition_tree(leaf) AS t JOIN pg_class AS c ON c.oid = t.relid
	LOOP
		IF part.ours AND part.keeps THEN
			EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE keep_until >= clock_timestamp())', part.name) INTO kept;
		END IF;
		IF kept OR part.ours IS NOT TRUE THEN
			RETURN false;
		END IF;
	END LOOP;
	RETURN true;
END
$$;

-- Drops leaves whose time is over, at most 100; returns how many. Leaves everything as it
-- is while somebody reads the history: the next pass tries again.
CREATE FUNCTION haul._prune_history() RETURNS integer
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	branch  record;
	dropped integer := 0;
BEGIN
	FOR branch IN
		SELECT c.oid::regclass AS leaf, i.inhparent::regclass AS parent
			FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_class AS p ON p.oid = i.inhparent
			WHERE p.relnamespace = 'haul'::regnamespace AND c.relnamespace = 'haul'::regnamespace
				AND obj_description(c.oid, 'pg_class') = haul._leaf_mark()
				AND haul._leaf_end(c.relname, p.relname) + haul._setting(
					CASE p.relname WHEN 'job_errors' THEN 'haul.keep_errors'::text ELSE 'haul.keep_completed'::text END)
					< clock_timestamp()
			ORDER BY c.relname DESC -- the leaves of a day before the day
	LOOP
		EXIT WHEN dropped = 100;
		CONTINUE WHEN NOT haul._is_droppable(branch.leaf);
		BEGIN
			EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', branch.parent);
			EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', branch.leaf);
			-- Again, now that nobody can add to it.
			IF haul._is_droppable(branch.leaf) THEN
				EXECUTE format('DROP TABLE %s', branch.leaf);
				dropped := dropped + 1;
			END IF;
		EXCEPTION WHEN lock_not_available THEN
			NULL;
		END;
	END LOOP;
	IF dropped > 0 THEN
		DELETE FROM haul._leaves AS l WHERE to_regclass(format('haul.%I', l.name)) IS NULL;
	END IF;
	RETURN dropped;
END
$$;

-- A pass of maintenance begins, unless another is under way: false, at once, or after waiting a second for it to end.
-- Without waiting, none begins where a background worker sees to it. A transaction that stays open after its pass is in
-- nobody's way.
CREATE FUNCTION haul._begin_pass(wait boolean) RETURNS boolean
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_begin_pass';
-- Whether the transaction ends with the statement that the client sent.
CREATE FUNCTION haul._ends_with_statement() RETURNS boolean
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_ends_with_statement';
CREATE FUNCTION haul._end_pass() RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_end_pass';

-- Takes the lock of the journals until the end of the transaction: nobody may fold what another has folded and not
-- committed. False when somebody else has it: at once, or after waiting a second for him to end.
CREATE FUNCTION haul._lock_journals(wait boolean) RETURNS boolean
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_lock_journals';

-- Discards jobs past their queue timeout, those of workflows or all others, at most max_jobs; returns how many.
CREATE FUNCTION haul._expire(max_jobs integer, of_workflows boolean) RETURNS bigint
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_expire';

-- Releases what is held by workers that have no row any more; returns how many jobs.
CREATE FUNCTION haul._release_orphans() RETURNS bigint
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_release_orphans';

-- Folds the journals into haul.counter_totals; returns how many rows of the ledger.
CREATE FUNCTION haul._fold() RETURNS bigint
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_fold';

-- Truncates tables of the journals of which nothing is needed any more; returns how many.
CREATE FUNCTION haul._empty_journals() RETURNS integer
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_empty_journals';

-- Makes the leaves of the history of this hour and the next.
CREATE FUNCTION haul._make_history(wait boolean) RETURNS integer
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT haul._add_history(clock_timestamp(), wait), haul._add_history(clock_timestamp() + interval '1 hour', wait);
	SELECT 0;
END;

-- What maintenance does, in this order. Each duty has a transaction of its own, or a subtransaction where somebody
-- calls haul.maintain(), does a bounded piece of work, and waits for no lock longer than a second; one that fails stops
-- no other.
CREATE TABLE haul.duties (
	name          text COLLATE "C" PRIMARY KEY,
	place         integer NOT NULL,
	command       text,
	counts        text,
	in_restore    boolean NOT NULL,
	in_block      boolean NOT NULL,
	last_run_at   timestamptz,
	last_error    text,
	failing_since timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE haul.duties IS 'What maintenance does, and what of it fails: one row per duty';
COMMENT ON COLUMN haul.duties.name IS 'Name of the duty';
COMMENT ON COLUMN haul.duties.place IS 'Its place in a pass of maintenance';
COMMENT ON COLUMN haul.duties.command
	IS 'How it is done: returns how much was done, or NULL when somebody else is at it; $1: whether to wait for him. '
	'NULL: the background worker does it, and nobody else';
COMMENT ON COLUMN haul.duties.counts IS 'Under which key haul.maintain() tells how much was done';
COMMENT ON COLUMN haul.duties.in_restore IS 'Whether it is done while the database may just be restored from a dump';
COMMENT ON COLUMN haul.duties.in_block
	IS 'Whether it is done in a transaction that may stay open afterwards; false: its locks would stop others until then';
COMMENT ON COLUMN haul.duties.last_run_at IS 'When it last ended without an error, to the minute; NULL: never';
COMMENT ON COLUMN haul.duties.last_error IS 'What it fails with; NULL: it does not';
COMMENT ON COLUMN haul.duties.failing_since IS 'Since when it has been failing';

-- Counts are folded before leases are looked through: then there are fewer.
INSERT INTO haul.duties (place, name, in_restore, in_block, counts, command) VALUES
	(1, 'make history', false, true, NULL, 'haul._make_history($1)'),
	(2, 'fold counters', true, true, 'ledger_folded', 'CASE WHEN haul._lock_journals($1) THEN haul._fold() END'),
	(3, 'remove workers', true, true, 'workers_removed', 'haul.cleanup_workers(NULL::interval)'),
	(4, 'release orphans', false, true, 'orphans_released', 'haul._release_orphans()'),
	(5, 'expire jobs', true, true, 'jobs_expired', 'haul._expire(10000, false)'),
	(6, 'expire jobs of workflows', true, true, 'jobs_expired', 'haul._expire(10000, true)'),
	(7, 'drop workflows', false, true, 'workflows_dropped', 'haul._prune_workflows()'),
	(8, 'drop replies', true, true, 'replies_dropped', 'haul._prune_replies()'),
	(9, 'fire schedules', true, true, 'cron_fired', '(SELECT fired FROM haul._fire(clock_timestamp()))'),
	(10, 'drop history', false, true, 'partitions_dropped', 'haul._prune_history()'),
	(11, 'settle runs of schedules', false, true, NULL, 'haul._settle_cron_runs()'),
	(12, 'drop runs of schedules', true, true, NULL, 'haul._prune_cron_runs()'),
	(13, 'empty journals', true, false, NULL, 'CASE WHEN haul._lock_journals(false) THEN haul._empty_journals() END'),
	(14, 'send notifications', true, false, NULL, NULL),
	(15, 'survey lanes', true, false, NULL, NULL),
	(16, 'sweep lanes', true, false, NULL, NULL);

-- The duties that are to be done, in order. While no worker lives the database may just be restored from a dump,
-- which brings its own partitions, and jobs before the workers that hold them; without workers there is no hurry.
CREATE FUNCTION haul._duties(in_background boolean) RETURNS text[]
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT array_agg(d.name ORDER BY d.place) FROM haul.duties AS d
		WHERE d.command IS NOT NULL AND (d.in_restore OR NOT in_background OR EXISTS (
			SELECT FROM haul.workers WHERE last_heartbeat_at > clock_timestamp() - haul._setting('haul.worker_timeout'::text)));
END;

-- Whether rows of haul.duties may be written: a snapshot from before somebody else wrote one would make that an error.
CREATE FUNCTION haul._may_note_duties() RETURNS boolean
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');

-- What failed of the jobs that were done one by one, since this was last called: the first one; NULL: nothing.
CREATE FUNCTION haul._take_failure() RETURNS text
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_take_failure';

-- Does a duty; returns how much was done, NULL when somebody else is at it, and what of it failed.
CREATE FUNCTION haul._do_duty(duty text, wait boolean, OUT done bigint, OUT failure text)
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp SET session_replication_role = origin SET lock_timeout = '1s'
AS $$
BEGIN
	PERFORM haul._take_failure(); -- that of one who broke off
	EXECUTE 'SELECT (' || (SELECT d.command FROM haul.duties AS d WHERE d.name = duty) || ')::bigint' INTO done USING wait;
	failure := haul._take_failure();
	IF failure IS NOT NULL THEN
		PERFORM haul._note_failure(duty, failure);
	ELSIF haul._may_note_duties() THEN
		UPDATE haul.duties AS d SET last_run_at = clock_timestamp(), last_error = NULL, failing_since = NULL
			WHERE d.name IN (
				SELECT l.name FROM haul.duties AS l
					WHERE l.name = duty AND (l.last_error IS NOT NULL OR l.last_run_at IS NULL
						OR l.last_run_at < clock_timestamp() - interval '1 minute')
					FOR NO KEY UPDATE SKIP LOCKED);
	END IF;
END
$$;

-- Does it again after an error: what it does to jobs in a subtransaction for each, so that the error of one stops no
-- other.
CREATE FUNCTION haul._do_duty_one_by_one(duty text, wait boolean, OUT done bigint, OUT failure text)
	LANGUAGE sql SET search_path = pg_catalog, pg_temp SET haul.one_by_one = on
AS $$ SELECT done, failure FROM haul._do_duty(duty, wait) $$;

-- Notes that a duty failed, and logs it if it is not known to fail like this.
CREATE FUNCTION haul._note_failure(duty text, error text) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT haul._may_note_duties() THEN
		RETURN;
	END IF;
	UPDATE haul.duties AS d SET last_error = error, failing_since = coalesce(d.failing_since, clock_timestamp())
		WHERE d.name IN (
			SELECT l.name FROM haul.duties AS l WHERE l.name = duty AND l.last_error IS DISTINCT FROM error
				FOR NO KEY UPDATE SKIP LOCKED);
	IF FOUND THEN
		RAISE WARNING 'pg_haul could not %: %', duty, error
			USING HINT = 'Everything else goes on. haul.duties shows since when this fails, and whether it still does.';
	END IF;
END
$$;

-- Notes that what only the background worker does is done again.
CREATE FUNCTION haul._note_success(duty text) RETURNS void
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE haul.duties AS d SET last_run_at = clock_timestamp(), last_error = NULL, failing_since = NULL
		WHERE d.name = duty AND d.last_error IS NOT NULL;
END;

CREATE FUNCTION haul._maintain(wait boolean) RETURNS jsonb
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	block  CONSTANT boolean := NOT haul._ends_with_statement();
	duty   record;
	amount bigint;
	failure text;
	done   jsonb := '{}';
	busy   text[];
	failed jsonb := '{}';
BEGIN
	IF NOT haul._begin_pass(wait) THEN
		RETURN '{"ran": false}';
	END IF;
	FOR duty IN
		SELECT d.name, d.counts FROM unnest(haul._duties(false)) WITH ORDINALITY AS l (name, place)
			JOIN haul.duties AS d ON d.name = l.name WHERE d.in_block OR NOT block ORDER BY l.place
	LOOP
		amount := 0;
		failure := NULL;
		BEGIN
			BEGIN
				SELECT * INTO amount, failure FROM haul._do_duty(duty.name, wait);
			EXCEPTION
				WHEN lock_not_available THEN
					RAISE;
				WHEN OTHERS THEN
					SELECT * INTO amount, failure FROM haul._do_duty_one_by_one(duty.name, wait);
			END;
			IF amount IS NULL THEN
				busy := busy || duty.name;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			failure := format('%s (%s)', SQLERRM, SQLSTATE);
			PERFORM haul._note_failure(duty.name, failure);
		END;
		IF failure IS NOT NULL THEN
			failed := failed || jsonb_build_object(duty.name, failure);
		END IF;
		IF duty.counts IS NOT NULL THEN
			done := done || jsonb_build_object(duty.counts, coalesce((done ->> duty.counts)::bigint, 0) + coalesce(amount, 0));
		END IF;
	END LOOP;
	PERFORM haul._end_pass();
	RETURN jsonb_strip_nulls(jsonb_build_object('ran', busy IS NULL, 'busy', busy, 'failed', nullif(failed,
		'{}'))) || done;
END
$$;

CREATE FUNCTION haul.maintain(wait boolean DEFAULT true) RETURNS jsonb
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT haul._maintain(wait);
END;
COMMENT ON FUNCTION haul.maintain(boolean) IS
'One pass of all maintenance, duty by duty (haul.duties): makes and drops partitions of the history, folds counters,
removes silent workers, releases what nobody holds, discards jobs past their queue timeout, fires schedules that are
due, drops what was kept long enough.
Returns what it did. "failed": the duties that failed, and with which error; all others were done. "busy": those that a
transaction not over yet had done; "ran" is then false. {"ran": false} alone: another pass is under way, and has not
ended within a second; without wait: or a background worker does all this.
Errors: 25006 on a standby and in a transaction that is read-only.';
