-- Schedules: what may stand in haul.cron, and what becomes of their ticks.

-- ---- what may stand in haul.cron ----

-- Whether the row that a trigger of this table looks at comes from a dump.
CREATE FUNCTION haul._is_restoring(into_table regclass) RETURNS boolean
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_is_restoring';

-- pg_authid.oid of a role; 0: there is none.
CREATE FUNCTION haul._role_id(role name) RETURNS oid
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT coalesce((SELECT r.oid FROM pg_roles AS r WHERE r.rolname = role), 0::oid);
END;

-- Whether a role could become another. One that is gone only a superuser could be.
CREATE FUNCTION haul._could_become(member oid, role oid) RETURNS boolean
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- its privileges are not enough: a session of it has its attributes, too
	SELECT coalesce((SELECT pg_has_role(m.oid, r.oid,
						CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)
						FROM pg_roles AS m, pg_roles AS r WHERE m.oid = member AND r.oid = role),
					(SELECT m.rolsuper FROM pg_roles AS m WHERE m.oid = member), false);
END;

-- Whether the current role could.
CREATE FUNCTION haul._acts_for(role oid) RETURNS boolean
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT haul._could_become(haul._role_id(current_user), role);
END;

-- Those of a job that haul.cron has no columns for, and that make sense for a tick.
CREATE FUNCTION haul._cron_option_names() RETURNS text[]
	LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT array_agg(n.name ORDER BY n.place) FROM unnest(haul._job_option_names()) WITH ORDINALITY AS n(name, place)
		WHERE n.name <> ALL (ARRAY['kind', 'args', 'queue', 'priority', 'run_at', 'expires_at', 'every']);
END;

-- Enqueues what a schedule says, for its owner; NULL when the unique_key is taken.
CREATE FUNCTION haul._insert_cron_job(s haul.cron, tick timestamptz, queued boolean) RETURNS bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET haul.enqueuer = ''
AS $$
DECLARE
	job bigint;
BEGIN
	PERFORM set_config('haul.enqueuer', s.owner, true);
	INSERT INTO haul._new_jobs
		SELECT o.*, CASE WHEN queued THEN 'waiting' ELSE 'ready' END, s.name
			FROM haul._given_options(jsonb_build_array(s.options || jsonb_build_object(
				'kind', s.kind, 'args', s.args, 'queue', s.queue, 'priority', s.priority,
				'run_at', CASE WHEN queued THEN 'infinity' ELSE tick END))) AS o
		ON CONFLICT (kind, unique_key) WHERE unique_key IS NOT NULL DO NOTHING
		RETURNING id INTO job;
	RETURN job;
END
$$;

-- Tries out what a schedule would enqueue: what is wrong with it; NULL: nothing. Leaves nothing behind.
CREATE FUNCTION haul._try_cron_job(s haul.cron, OUT problem text, OUT hint text, OUT col text)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF char_length(s.options ->> 'unique_key') NOT BETWEEN 1 AND 512 THEN
		problem := format('haul.cron.options.unique_key must have 1 to 512 characters, not "%s"',
			left(s.options ->> 'unique_key', 100));
		hint := 'Use a shorter one, or leave the option out.';
		col := 'options';
		RETURN;
	END IF;
	-- whether that key is free is a question of the moment
	s.options := s.options - 'unique_key';
	PERFORM haul._insert_cron_job(s, clock_timestamp(), false);
	RAISE 'nothing is wrong' USING ERRCODE = 'HQ000';
EXCEPTION
	WHEN data_exception OR check_violation OR not_null_violation THEN
		GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT, col = COLUMN_NAME;
		IF col IN ('kind', 'args', 'queue', 'priority') THEN
			problem := replace(problem, 'haul.jobs.', 'haul.cron.');
		ELSIF problem LIKE 'haul.jobs.%' THEN
			problem := replace(problem, 'haul.jobs.', 'haul.cron.options.');
			hint := replace(hint, 'haul.jobs.', 'haul.cron.options.');
			col := 'options';
		ELSE
			problem := format('haul.cron.options must be options of a job, not "%s": %s', left(s.options::text, 100), problem);
			hint := 'See haul.enqueue().';
			col := 'options';
		END IF;
	-- as are a full queue, somebody's trigger and the like
	WHEN OTHERS THEN
		NULL;
END
$$;

-- ---- each part of the check, with the rights of whoever changes the table ----

CREATE FUNCTION haul._refuse_cron(schedule text, col text, message text, hint text, state text)
	RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, HINT = hint,
		DETAIL = format('In schedule "%s".', schedule), SCHEMA = 'haul', TABLE = 'cron', COLUMN = col;
END
$$;

CREATE FUNCTION haul._check_cron_nulls(s haul.cron) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad text;
BEGIN
	SELECT key INTO bad FROM jsonb_each(to_jsonb(s))
		WHERE value = 'null' AND key NOT IN ('id', 'kind', 'command', 'database', 'next_run_at', 'last_run_at', 'owner_id',
			'scheduled_by', 'scheduled_by_id') LIMIT 1;
	IF FOUND THEN
		PERFORM haul._refuse_cron(s.name, bad, format('haul.cron.%s must not be null', bad),
			CASE bad WHEN 'name' THEN 'Give the schedule a name.' WHEN 'schedule' THEN 'Say when it runs.'
				ELSE 'Leave the column out to get its default.' END, '23502'::text);
	END IF;
END
$$;

-- Of an UPDATE: what cannot be changed, and who may not.
CREATE FUNCTION haul._check_cron_change(before haul.cron, s haul.cron) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad text;
BEGIN
	SELECT v.col INTO bad FROM (VALUES
		('id', s.id = before.id), ('name', s.name = before.name), ('created_at', s.created_at = before.created_at),
		('planned_at', s.planned_at = before.planned_at)) AS v (col, ok) WHERE NOT v.ok LIMIT 1;
	IF FOUND THEN
		PERFORM haul._refuse_cron(s.name, bad, format('haul.cron.%s cannot be changed', bad),
			'Leave the column as it is, or make another schedule.'::text, '23514'::text);
	END IF;
	-- A command runs as the owner: nobody may have one run as somebody else.
	IF (before.command IS NOT NULL OR s.command IS NOT NULL OR s.owner <> before.owner)
			AND NOT (haul._acts_for(before.owner_id)
					AND haul._acts_for(CASE WHEN s.owner = before.owner THEN before.owner_id ELSE haul._role_id(s.owner) END))
	THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('schedule "%s" belongs to role "%s"', before.name, before.owner),
			HINT = 'A schedule with a command is changed by its owner, or by a superuser. Make one of your own.';
	END IF;
END
$$;

-- Whose the schedule is, and who scheduled it: of one that is made or restored.
CREATE FUNCTION haul._own_new_cron(s haul.cron, restoring boolean) RETURNS haul.cron
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF restoring THEN
		-- Roles have other numbers here, if they exist. One that was gone stays so.
		s.owner_id := CASE WHEN s.owner_id = 0 THEN 0::oid ELSE haul._role_id(s.owner) END;
		s.scheduled_by := coalesce(s.scheduled_by, s.owner);
		s.scheduled_by_id := CASE WHEN s.scheduled_by_id = 0 THEN 0::oid ELSE haul._role_id(s.scheduled_by) END;
		RETURN s;
	END IF;
	-- one who could become that role may make schedules for it, as when he restores a dump
	IF NOT haul._acts_for(haul._role_id(s.owner)) THEN
		s.owner := current_user;
	END IF;
	s.owner_id := haul._role_id(s.owner);
	s.scheduled_by := NULL;
	RETURN s;
END
$$;

-- The same of one that is changed.
CREATE FUNCTION haul._own_changed_cron(before haul.cron, s haul.cron) RETURNS haul.cron
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Jobs are not enqueued in the name of somebody who did not want them.
	IF s.command IS NULL AND haul._cron_job_differs(before, s) AND NOT haul._acts_for(before.owner_id) THEN
		s.owner := current_user;
		s.owner_id := haul._role_id(s.owner);
	ELSIF s.owner <> before.owner THEN
		s.owner_id := haul._role_id(s.owner);
		IF s.owner_id = 0 THEN
			RAISE undefined_object USING MESSAGE = format('role "%s" does not exist', s.owner);
		END IF;
	ELSE
		s.owner_id := before.owner_id;
	END IF;
	IF s.owner_id <> before.owner_id OR haul._cron_job_differs(before, s)
			OR (s.command, s.database) IS DISTINCT FROM (before.command, before.database) THEN
		s.scheduled_by := NULL;
	ELSE
		s.scheduled_by := before.scheduled_by;
		s.scheduled_by_id := before.scheduled_by_id;
	END IF;
	RETURN s;
END
$$;

-- Whether it enqueues another job.
CREATE FUNCTION haul._cron_job_differs(before haul.cron, s haul.cron) RETURNS boolean
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (s.kind, s.args, s.queue, s.priority, s.options) IS DISTINCT FROM
		   (before.kind, before.args, before.queue, before.priority, before.options);
END
$$;

CREATE FUNCTION haul._check_cron_values(s haul.cron) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known CONSTANT text[] := haul._cron_option_names();
	bad   record;
BEGIN
	SELECT v.* INTO bad FROM (VALUES
		('name', 'must have 1 to 255 characters', char_length(s.name) BETWEEN 1 AND 255, 'Use a shorter one.'),
		('kind', 'must be given if, and only if, there is no command', (s.kind IS NULL) <> (s.command IS NULL),
			'Say either which kind of job to enqueue, or which command to run.'),
		('database', 'must be null without a command', s.database IS NULL OR s.command IS NOT NULL,
			'Jobs are enqueued in this database.'),
		('command', 'must not be empty', s.command IS NULL OR s.command ~ '[^[:space:]]', 'Give it something to run.'),
		('command', 'must not be longer than 1 MB', coalesce(octet_length(s.command), 0) <= 1048576,
			'Put it into a procedure, and CALL that.'),
		('args', 'must be a JSON object', jsonb_typeof(s.args) = 'object', 'Put the value into an object: {"value": …}.'),
		('options', 'must be a JSON object', jsonb_typeof(s.options) = 'object',
			'Its keys are options of haul.enqueue(): {"max_attempts": 3}.'),
		('overlap', 'must be skip, allow or queue', s.overlap IN ('skip', 'allow', 'queue'),
			'Leave the column out to get its default.'),
		('misfire', 'must be none, one or all', s.misfire IN ('none', 'one', 'all'),
			'Leave the column out to get its default.'),
		('misfire_limit', 'must be 1 to 10000', s.misfire_limit BETWEEN 1 AND 10000,
			'Leave the column out to get its default.'),
		('dst_skipped', 'must be next or skip', s.dst_skipped IN ('next', 'skip'),
			'Leave the column out to get its default.'),
		('dst_repeated', 'must be once or twice', s.dst_repeated IN ('once', 'twice'),
			'Leave the column out to get its default.')
		) AS v (col, problem, ok, hint) WHERE NOT v.ok LIMIT 1;
	IF FOUND THEN
		PERFORM haul._refuse_cron(s.name, bad.col, format('haul.cron.%s %s, not "%s"', bad.col, bad.problem,
			coalesce(left(to_jsonb(s) ->> bad.col, 100), 'null')), bad.hint, '23514'::text);
	END IF;
	SELECT key INTO bad FROM jsonb_object_keys(s.options) AS key WHERE key <> ALL (known) LIMIT 1;
	IF FOUND THEN
		PERFORM haul._refuse_cron(s.name, 'options'::text,
			format('haul.cron.options must hold options of jobs, not "%s"', left(bad.key, 100)),
			'Options are ' || array_to_string(known, ', ') || '.', '23514'::text);
	END IF;
END
$$;

-- When it fires first.
CREATE FUNCTION haul._plan_cron(s haul.cron, restoring boolean, at timestamptz) RETURNS haul.cron
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	stored   timestamptz := s.next_run_at;
	-- While a dump comes in, table by table, what fires could get ids of rows that are still to come.
	earliest timestamptz := CASE WHEN restoring THEN at + interval '10 minutes' ELSE at END;
	col      text := 'timezone';
	message  text;
	hint     text;
BEGIN
	PERFORM haul.cron_next('* * * * *'::text, 1, at, s.timezone, 'next'::text, 'once'::text);
	col := 'schedule';
	s.next_run_at := (
		SELECT t FROM haul.cron_next(s.schedule, 1, earliest, s.timezone, s.dst_skipped, s.dst_repeated) AS t);
	IF NOT s.enabled THEN
		s.next_run_at := NULL;
	ELSIF restoring AND stored IS NOT NULL AND s.next_run_at IS NOT NULL THEN
		s.next_run_at := greatest(stored, earliest);
	END IF;
	s.planned_at := at;
	RETURN s;
EXCEPTION WHEN invalid_parameter_value THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	PERFORM haul._refuse_cron(s.name, col, format('haul.cron.%s: %s', col, message), hint, '23514'::text);
END
$$;

CREATE FUNCTION haul._check_cron() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	restoring boolean := haul._is_restoring(TG_RELID::regclass);
	now       timestamptz := clock_timestamp();
	bad       record;
BEGIN
	PERFORM haul._check_cron_nulls(new);
	IF TG_OP = 'UPDATE' THEN
		PERFORM haul._check_cron_change(old, new);
		new := haul._own_changed_cron(old, new);
	ELSE
		new := haul._own_new_cron(new, restoring);
		IF NOT restoring THEN
			new.created_at := now;
			new.last_run_at := NULL;
		END IF;
	END IF;
	-- What a superuser makes for another role is that role's; what others make for it holds while they may.
	IF new.scheduled_by IS NULL THEN
		SELECT r.rolname, r.oid INTO new.scheduled_by, new.scheduled_by_id FROM pg_roles AS r
			WHERE r.rolname = CASE WHEN (SELECT c.rolsuper FROM pg_roles AS c WHERE c.rolname = current_user) THEN new.owner
								   ELSE current_user END;
	END IF;
	PERFORM haul._check_cron_values(new);
	-- What is restored was tried out when it was made, and its jobs may be half there.
	IF new.kind IS NOT NULL AND NOT restoring AND (TG_OP = 'INSERT' OR haul._cron_job_differs(old, new)) THEN
		SELECT * INTO bad FROM haul._try_cron_job(new);
		IF bad.problem IS NOT NULL THEN
			PERFORM haul._refuse_cron(new.name, bad.col, bad.problem, bad.hint, '23514'::text);
		END IF;
	END IF;
	IF TG_OP = 'INSERT' OR (new.schedule, new.timezone, new.dst_skipped, new.dst_repeated, new.enabled) IS DISTINCT FROM
			(old.schedule, old.timezone, old.dst_skipped, old.dst_repeated, old.enabled) THEN
		new := haul._plan_cron(new, restoring, now);
	END IF;
	RETURN new;
END
$$;
-- Not of last_run_at and next_run_at, which firing changes, and whoever owns the table.
CREATE TRIGGER zz_haul_check_cron BEFORE INSERT OR UPDATE OF id, name, schedule, timezone, kind, args, queue, priority,
	options,
		command, database, enabled, overlap, misfire, misfire_limit, dst_skipped, dst_repeated, owner, planned_at, created_at
	ON haul.cron FOR EACH ROW EXECUTE FUNCTION haul._check_cron();

CREATE FUNCTION haul._guard_cron() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF old.command IS NOT NULL AND EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = old.owner_id)
			AND NOT haul._acts_for(old.owner_id) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('schedule "%s" belongs to role "%s"', old.name, old.owner),
			HINT = 'A schedule with a command is removed by its owner, or by a superuser.';
	END IF;
	RETURN old;
END
$$;
CREATE TRIGGER zz_haul_guard_cron BEFORE DELETE ON haul.cron
	FOR EACH ROW EXECUTE FUNCTION haul._guard_cron();

-- The jobs of a schedule that is removed, and that nobody has started, end with it.
CREATE FUNCTION haul._cancel_cron_jobs() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM haul._cancel_pending(ARRAY(
		SELECT j.id FROM haul.jobs AS j WHERE j.cron_name = old.name AND j.state <> 'running' ORDER BY j.id),
		'its schedule was removed'::text);
	RETURN NULL;
END
$$;
CREATE TRIGGER haul_cancel_cron_jobs AFTER DELETE ON haul.cron
	FOR EACH ROW WHEN (old.kind IS NOT NULL) EXECUTE FUNCTION haul._cancel_cron_jobs();

-- Who may read haul.jobs sees all schedules of jobs, who may change it changes them; schedules with a command, and what
-- others have, only who could become the owner. What there is besides, haul.cron_status tells.
ALTER TABLE haul.cron ENABLE ROW LEVEL SECURITY;
CREATE POLICY every_reader ON haul.cron FOR SELECT
	USING (command IS NULL AND has_table_privilege('haul.jobs', 'SELECT'));
CREATE POLICY administrators ON haul.cron USING (command IS NULL AND has_table_privilege('haul.jobs', 'UPDATE'));
CREATE POLICY owners ON haul.cron USING (haul._acts_for(owner_id));

-- The owner of the schedule with a command that has the id or the name, for those who do not see it; NULL: there is
-- none.
CREATE FUNCTION haul._command_owner(job_id bigint, job_name text) RETURNS name
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT c.owner FROM haul.cron AS c WHERE (c.id = job_id OR c.name = job_name) AND c.command IS NOT NULL LIMIT 1;
END;

-- Raises 42501 if that is somebody else's.
CREATE FUNCTION haul._refuse_command_of_others(job_id bigint, job_name text) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	owner CONSTANT name := haul._command_owner(job_id, job_name);
BEGIN
	IF owner IS NOT NULL THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('schedule %s belongs to role "%s"', coalesce('"' || job_name || '"', job_id::text), owner),
			HINT = 'A schedule with a command is changed and removed by its owner, or by a superuser.';
	END IF;
END
$$;

-- Tells the background worker, when this commits, that the next tick may be another.
CREATE FUNCTION haul._cron_changed() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_cron_changed';
CREATE TRIGGER haul_cron_changed AFTER INSERT OR UPDATE ON haul.cron
	FOR EACH STATEMENT EXECUTE FUNCTION haul._cron_changed();

-- ---- ticks ----

-- The ticks of a schedule from next_run_at to a time that are to fire, in order. Those later than haul.misfire_grace
-- were missed.
CREATE FUNCTION haul._due_ticks(s haul.cron, at timestamptz) RETURNS timestamptz[]
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	most   CONSTANT integer := 10000;
	since  timestamptz := at - haul._setting('haul.misfire_grace'::text);
	ask    integer := 2; -- most of the time there is one
	late   timestamptz[];
	missed integer;
BEGIN
	LOOP
		late := ARRAY(SELECT t FROM haul.cron_previous(s.schedule, ask, at + interval '1 microsecond', s.timezone,
			s.dst_skipped,
													   s.dst_repeated) AS t
						WHERE t >= greatest(s.next_run_at, since) ORDER BY t);
		EXIT WHEN cardinality(late) < ask OR ask = most;
		ask := least(ask * 10, most);
	END LOOP;
	missed := CASE s.misfire WHEN 'all' THEN s.misfire_limit WHEN 'one' THEN (cardinality(late) = 0)::integer ELSE 0 END;
	IF missed = 0 OR s.next_run_at >= since THEN
		RETURN late;
	END IF;
	RETURN ARRAY(SELECT t FROM haul.cron_previous(s.schedule, missed, since, s.timezone, s.dst_skipped, s.dst_repeated)
		AS t
					WHERE t >= s.next_run_at ORDER BY t) || late;
END
$$;

-- Fires one tick of a schedule, whose row is locked; false when nothing comes of it.
CREATE FUNCTION haul._fire_tick(s haul.cron, tick timestamptz) RETURNS boolean
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome text := CASE WHEN s.command IS NULL THEN 'fired' ELSE 'starting' END;
	reason  text;
	job     bigint;  -- that it enqueues
	before  bigint;  -- a live job of a tick before
	open    integer; -- commands that wait or run
BEGIN
	IF EXISTS (SELECT FROM haul.cron_runs AS r WHERE r.cron_id = s.id AND r.run_at = tick) THEN
		RETURN false;
	END IF;
	IF s.overlap <> 'allow' THEN
		before := (SELECT min(j.id) FROM haul.jobs AS j WHERE j.cron_name = s.name);
		open := (SELECT count(*) FROM (SELECT FROM haul.cron_runs AS r
					WHERE r.cron_id = s.id AND r.finished_at IS NULL AND r.command IS NOT NULL LIMIT 2) AS o);
	END IF;
	IF s.owner_id = 0 THEN
		outcome := 'failed';
		reason := format('role "%s", which owns the schedule, does not exist any more', s.owner);
	ELSIF NOT haul._could_become(s.scheduled_by_id, s.owner_id) THEN
		outcome := 'failed';
		reason := format('role "%s", which scheduled it, could not become role "%s" any more', s.scheduled_by, s.owner);
	ELSIF s.overlap = 'skip' AND before IS NOT NULL THEN
		outcome := 'skipped';
		reason := format('job %s, of a tick before, is still there', before);
	ELSIF s.overlap = 'skip' AND open > 0 THEN
		outcome := 'skipped';
		reason := 'the command of a tick before still waits or runs';
	ELSIF s.overlap = 'queue' AND (open > 1 OR EXISTS (
			SELECT FROM haul.cron_runs AS r WHERE r.cron_id = s.id AND r.state = 'queued')) THEN
		outcome := 'skipped';
		reason := 'that of a tick before still waits for its turn';
	ELSIF s.command IS NULL THEN
		BEGIN
			IF s.overlap = 'queue' AND before IS NOT NULL THEN
				outcome := 'queued';
			END IF;
			job := haul._insert_cron_job(s, tick, outcome = 'queued');
			IF job IS NULL THEN
				outcome := 'skipped';
				reason := coalesce('another job has its unique_key "' || (s.options ->> 'unique_key') || '"',
								   'a trigger on haul.jobs suppressed the job');
			END IF;
		EXCEPTION
			WHEN serialization_failure OR deadlock_detected OR lock_not_available THEN
				RAISE;
			WHEN OTHERS THEN
				outcome := 'failed';
				reason := SQLERRM;
		END;
	END IF;
	INSERT INTO haul.cron_runs (cron_id, name, run_at, state, job_id, command, database, username, finished_at, message)
		VALUES (s.id, s.name, tick, outcome, job, s.command,
				CASE WHEN s.command IS NOT NULL THEN coalesce(s.database, current_database()) END,
				CASE WHEN s.command IS NOT NULL THEN s.owner END,
				CASE WHEN outcome IN ('skipped', 'failed') THEN clock_timestamp() END, reason);
	RETURN outcome NOT IN ('skipped', 'failed');
END
$$;

-- Whether a schedule that has no next tick is to fire because the server was started since it was made, and has not
-- yet.
CREATE FUNCTION haul._is_for_boot(schedule text, planned_at timestamptz, last_run_at timestamptz) RETURNS boolean
	LANGUAGE sql STABLE
RETURN schedule ~* '^[[:space:]]*@(reboot|restart)[[:space:]]*$' AND planned_at < pg_postmaster_start_time()
	AND last_run_at IS DISTINCT FROM pg_postmaster_start_time();

-- The schedule, whose row is locked, with the present names of its roles, 0 for the number of one that is gone: as a
-- dump is to have it.
CREATE FUNCTION haul._name_roles(s haul.cron) RETURNS haul.cron
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	named haul.cron := s;
BEGIN
	SELECT coalesce(o.rolname, s.owner), coalesce(o.oid, 0::oid), coalesce(b.rolname, s.scheduled_by), coalesce(b.oid,
		0::oid)
		INTO named.owner, named.owner_id, named.scheduled_by, named.scheduled_by_id
		FROM (VALUES (0)) AS v LEFT JOIN pg_roles AS o ON o.oid = s.owner_id
			LEFT JOIN pg_roles AS b ON b.oid = s.scheduled_by_id;
	IF named IS DISTINCT FROM s THEN
		UPDATE haul.cron AS c
			SET owner_id = named.owner_id, scheduled_by = named.scheduled_by, scheduled_by_id = named.scheduled_by_id
			WHERE c.id = s.id;
		IF named.owner <> s.owner THEN
			UPDATE haul.cron AS c SET owner = named.owner WHERE c.id = s.id;
		END IF;
	END IF;
	RETURN named;
END
$$;

-- Fires what is due of one schedule, unless somebody else is at it; returns how many ticks. Whatever happens, other
-- schedules have their turn.
CREATE FUNCTION haul._fire_schedule(cron_id bigint, at timestamptz) RETURNS integer
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	boot  timestamptz := pg_postmaster_start_time();
	s     haul.cron;
	tick  timestamptz;
	last  timestamptz;
	fired integer := 0;
BEGIN
	SELECT c.* INTO s FROM haul.cron AS c WHERE c.id = $1 FOR NO KEY UPDATE SKIP LOCKED;
	IF NOT FOUND OR NOT s.enabled THEN
		RETURN 0;
	END IF;
	s := haul._name_roles(s);
	IF s.next_run_at IS NULL THEN
		IF haul._is_for_boot(s.schedule, s.planned_at, s.last_run_at) THEN
			fired := haul._fire_tick(s, boot)::integer;
			UPDATE haul.cron AS c SET last_run_at = boot WHERE c.id = s.id;
		END IF;
		RETURN fired;
	END IF;
	IF s.next_run_at > at THEN
		RETURN 0;
	END IF;
	FOREACH tick IN ARRAY haul._due_ticks(s, at) LOOP
		IF haul._fire_tick(s, tick) THEN
			fired := fired + 1;
			last := tick;
		END IF;
	END LOOP;
	UPDATE haul.cron AS c
		SET last_run_at = coalesce(last, c.last_run_at),
			next_run_at = (SELECT t FROM haul.cron_next(s.schedule, 1, at, s.timezone, s.dst_skipped, s.dst_repeated) AS t)
		WHERE c.id = s.id;
	RETURN fired;
EXCEPTION
	WHEN serialization_failure OR deadlock_detected OR lock_not_available THEN
		RETURN 0; -- the next pass will
	WHEN invalid_parameter_value THEN
		-- Nobody knows its next tick: a time zone that is gone, say. It is tried again later.
		INSERT INTO haul.cron_runs (cron_id, name, run_at, state, finished_at, message)
			VALUES (s.id, s.name, coalesce(s.next_run_at, boot), 'failed', clock_timestamp(), SQLERRM)
			ON CONFLICT DO NOTHING;
		UPDATE haul.cron AS c SET next_run_at = at + interval '1 hour'
			WHERE c.id IN (SELECT l.id FROM haul.cron AS l WHERE l.id = s.id FOR NO KEY UPDATE SKIP LOCKED);
		RETURN 0;
	WHEN OTHERS THEN
		-- a full disk, somebody's trigger: it stays due
		RAISE WARNING 'schedule "%" could not be fired: %', s.name, SQLERRM;
		RETURN 0;
END
$$;

-- Where the job of one tick waits for that of another to end (overlap: queue), and nothing else of the schedule is live
-- any more, makes it ready: of one schedule or of all, not counting a job that is just ending.
CREATE FUNCTION haul._release_queued(schedule text, ending bigint) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	run record;
BEGIN
	FOR run IN
		SELECT r.id, r.job_id FROM haul.cron_runs AS r
			WHERE r.state = 'queued' AND (schedule IS NULL OR r.name = schedule) AND NOT EXISTS (
				SELECT FROM haul.jobs AS j WHERE j.cron_name = r.name AND j.id NOT IN (r.job_id, coalesce(ending, r.job_id))
					AND NOT (j.state = 'waiting' AND j.run_at = 'infinity' AND j.id > r.job_id))
	LOOP
		-- who has it locked is about to remove it; if he does not, the next pass will see
		IF haul._release_waiting(run.job_id) THEN
			UPDATE haul.cron_runs AS r SET state = 'fired' WHERE r.id = run.id AND r.state = 'queued';
		END IF;
	END LOOP;
END
$$;

-- Whether a dump may be coming in: rows are there whose ids the sequences will give out again, and no worker lives yet.
CREATE FUNCTION haul._is_being_restored() RETURNS boolean
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp -- which keeps its plan
AS $$
BEGIN
	IF EXISTS (SELECT FROM haul.workers
				WHERE last_heartbeat_at > clock_timestamp() - haul._setting('haul.worker_timeout'::text))
			-- no schedule has come in for long: the ids are somebody's own doing
			OR NOT EXISTS (SELECT FROM haul.cron WHERE planned_at > clock_timestamp() - interval '10 minutes') THEN
		RETURN false;
	END IF;
	RETURN coalesce((SELECT max(id) FROM haul.jobs) > (SELECT last_value - (NOT is_called)::integer FROM haul.jobs_id_seq),
		false)
		OR coalesce((SELECT max(id) FROM haul.cron_runs) > (SELECT last_value - (NOT is_called)::integer
			FROM haul.cron_runs_id_seq), false);
END
$$;

-- One pass over the schedules: fires what is due at a time. Returns how many ticks fired, and when the next pass is due
-- (NULL: not before schedules change). At most once for each schedule and tick, whoever calls it, and however many at a
-- time.
CREATE FUNCTION haul._fire(at timestamptz DEFAULT clock_timestamp(), OUT fired integer, OUT next_at timestamptz)
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' SET session_replication_role = origin
AS $$
DECLARE
	due bigint;
BEGIN
	fired := 0;
	IF haul._is_being_restored() THEN
		next_at := at + interval '10 seconds';
		RETURN;
	END IF;
	FOREACH due IN ARRAY ARRAY(
		SELECT c.id FROM haul.cron AS c
			WHERE (c.next_run_at <= at AND c.enabled)
				OR (c.next_run_at IS NULL AND c.enabled AND haul._is_for_boot(c.schedule, c.planned_at, c.last_run_at))
			ORDER BY c.next_run_at, c.id)
	LOOP
		fired := fired + haul._fire_schedule(due, at);
	END LOOP;
	IF EXISTS (SELECT FROM haul.cron_runs AS r WHERE r.state = 'queued') THEN
		BEGIN
			PERFORM haul._release_queued(NULL::text, NULL::bigint);
		EXCEPTION WHEN serialization_failure OR deadlock_detected OR lock_not_available THEN
			NULL; -- the next pass will
		END;
	END IF;
	PERFORM haul._run_commands();
	next_at := (SELECT min(c.next_run_at) FROM haul.cron AS c WHERE c.enabled);
	-- what somebody else has locked
	IF next_at <= at THEN
		next_at := at + interval '1 second';
	END IF;
	-- commands that nothing could be started for
	IF EXISTS (SELECT FROM haul.cron_runs AS r WHERE r.state = 'starting' AND r.command IS NOT NULL AND r.finished_at
		IS NULL)
			AND NOT EXISTS (SELECT FROM haul.cron_runs AS r
								WHERE r.state = 'running' AND r.command IS NOT NULL AND r.finished_at IS NULL) THEN
		next_at := least(next_at, at + interval '5 seconds');
	END IF;
END
$$;

-- ---- what becomes of what was fired ----

-- A job of a schedule ends.
CREATE FUNCTION haul._cron_job_ended(id bigint, cron_name text, state text, started_at timestamptz,
	finished_at timestamptz,
		message text)
	RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE haul.cron_runs AS r SET state = $3, started_at = $4, finished_at = $5, message = $6
		WHERE r.job_id = $1 AND r.finished_at IS NULL;
	IF EXISTS (SELECT FROM haul.cron_runs AS r WHERE r.name = $2 AND r.state = 'queued') THEN
		PERFORM haul._release_queued($2, $1);
	END IF;
END
$$;

-- Runs whose jobs went without a word, as with DELETE, get what the history knows of them, or the state ended; returns
-- how many.
CREATE FUNCTION haul._settle_cron_runs() RETURNS bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	settled bigint;
BEGIN
	UPDATE haul.cron_runs AS r
		SET state = coalesce(e.state, 'ended'), started_at = e.started_at, message = e.last_error,
			finished_at = coalesce(e.finished_at, clock_timestamp())
		FROM (SELECT o.id, f.* FROM haul.cron_runs AS o
				LEFT JOIN LATERAL (
					SELECT h.state, h.started_at, h.finished_at, h.last_error FROM haul.finished_jobs AS h
						WHERE h.id = o.job_id AND h.finished_at >= o.fired_at LIMIT 1) AS f ON true
				WHERE o.finished_at IS NULL AND o.job_id IS NOT NULL AND o.fired_at < clock_timestamp() - interval '10 seconds'
					AND NOT EXISTS (SELECT FROM haul.jobs AS j WHERE j.id = o.job_id)
				ORDER BY o.job_id LIMIT 1000 FOR NO KEY UPDATE OF o SKIP LOCKED) AS e
		WHERE r.id = e.id;
	GET DIAGNOSTICS settled = ROW_COUNT;
	RETURN settled;
END
$$;

-- Removes what is older than haul.keep_cron_runs, at most 10000 rows, and nothing that is not over; returns how many.
CREATE FUNCTION haul._prune_cron_runs() RETURNS bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pruned bigint;
BEGIN
	DELETE FROM haul.cron_runs WHERE id IN (
		SELECT r.id FROM haul.cron_runs AS r
			WHERE r.fired_at < clock_timestamp() - haul._setting('haul.keep_cron_runs'::text) AND r.finished_at IS NOT NULL
			ORDER BY r.fired_at LIMIT 10000 FOR UPDATE SKIP LOCKED);
	GET DIAGNOSTICS pruned = ROW_COUNT;
	RETURN pruned;
END
$$;

-- ---- declaring all schedules at once ----

CREATE FUNCTION haul.cron_sync(schedules jsonb) RETURNS jsonb
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known CONSTANT text[] := ARRAY['name', 'schedule', 'timezone', 'kind', 'args', 'queue', 'priority', 'options',
		'enabled',
		'overlap', 'misfire', 'misfire_limit', 'dst_skipped', 'dst_repeated'];
	bad      text;
	inserted text[];
	updated  text[];
	removed  text[];
BEGIN
	PERFORM haul._check_objects('schedules'::text, schedules, known, 'a schedule has no "%s"'::text);
	SELECT s ->> 'name' INTO bad FROM jsonb_array_elements(schedules) AS s WHERE s ->> 'name' IS NOT NULL
		GROUP BY 1 HAVING count(*) > 1 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'two schedules have the name "%"', bad
			USING ERRCODE = '22023', HINT = 'Each schedule needs a name of its own.';
	END IF;

	-- Two at once take turns. Firing goes on: it passes over rows that are locked.
	LOCK TABLE haul.cron IN SHARE UPDATE EXCLUSIVE MODE;
	SELECT s ->> 'name' INTO bad FROM jsonb_array_elements(schedules) AS s
		WHERE haul._command_owner(NULL::bigint, s ->> 'name') IS NOT NULL LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'schedule "%" runs a command', bad
			USING ERRCODE = '22023', HINT = 'haul.cron_sync() leaves those alone. Choose another name, or remove that schedule '
				'first.';
	END IF;

	WITH declared AS (
		SELECT s.name, s.schedule, coalesce(s.timezone, 'UTC') AS timezone, s.kind, coalesce(s.args, '{}') AS args,
			   coalesce(s.queue, 'default') AS queue, coalesce(s.priority, 16383::smallint) AS priority,
			   coalesce(s.options, '{}') AS options, coalesce(s.enabled, true) AS enabled, coalesce(s.overlap, 'skip')
			   	AS overlap,
			   coalesce(s.misfire, 'one') AS misfire, coalesce(s.misfire_limit, 100) AS misfire_limit,
			   coalesce(s.dst_skipped, 'next') AS dst_skipped, coalesce(s.dst_repeated, 'once') AS dst_repeated
			FROM jsonb_to_recordset(schedules) AS s (
				name text, schedule text, timezone text, kind text, args jsonb, queue text, priority smallint, options jsonb,
				enabled boolean, overlap text, misfire text, misfire_limit integer, dst_skipped text, dst_repeated text)
	), gone AS (
		DELETE FROM haul.cron AS c
			WHERE c.command IS NULL AND NOT EXISTS (SELECT FROM declared AS d WHERE d.name = c.name)
			RETURNING c.name
	), changed AS (
		UPDATE haul.cron AS c
			SET (schedule, timezone, kind, args, queue, priority, options, enabled, overlap, misfire, misfire_limit, dst_skipped,
				 dst_repeated) = ROW (d.schedule, d.timezone, d.kind, d.args, d.queue, d.priority, d.options, d.enabled, d.overlap,
									  d.misfire, d.misfire_limit, d.dst_skipped, d.dst_repeated)
			FROM declared AS d
			WHERE c.name = d.name
				AND (c.schedule, c.timezone, c.kind, c.args, c.queue, c.priority, c.options, c.enabled, c.overlap, c.misfire,
					 c.misfire_limit, c.dst_skipped, c.dst_repeated) IS DISTINCT FROM
					(d.schedule, d.timezone, d.kind, d.args, d.queue, d.priority, d.options, d.enabled, d.overlap, d.misfire,
					 d.misfire_limit, d.dst_skipped, d.dst_repeated)
			RETURNING c.name
	), added AS (
		INSERT INTO haul.cron (name, schedule, timezone, kind, args, queue, priority, options, enabled, overlap, misfire,
							   misfire_limit, dst_skipped, dst_repeated)
			SELECT d.* FROM declared AS d WHERE NOT EXISTS (SELECT FROM haul.cron AS c WHERE c.name = d.name)
			RETURNING name
	)
	SELECT ARRAY(SELECT a.name FROM added AS a ORDER BY 1), ARRAY(SELECT c.name FROM changed AS c ORDER BY 1),
		   ARRAY(SELECT g.name FROM gone AS g ORDER BY 1)
		INTO inserted, updated, removed;
	RETURN jsonb_build_object('inserted', inserted, 'updated', updated, 'removed', removed);
END
$$;
COMMENT ON FUNCTION haul.cron_sync(jsonb) IS
'Declares all schedules that enqueue jobs: a JSON array of objects whose keys are the columns of haul.cron name,
schedule, timezone, kind, args, queue, priority, options, enabled, overlap, misfire, misfire_limit, dst_skipped and
dst_repeated; what is left out has its default. Schedules that are not in the array are removed, and their jobs that
nobody has started end as cancelled; those that stay as they are keep their next tick. Schedules with a command, and
other jobs, are left alone. All of it or, on any error, nothing. Returns {"inserted": […], "updated": […], "removed":
[…]}, names each.
Errors: 22023 for an unknown key, a name that comes twice or that of a schedule with a command; those of INSERT INTO
haul.cron.';
