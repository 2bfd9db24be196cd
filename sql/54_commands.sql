-- Schedules that run commands: the calls of pg_cron.

-- ---- running ----

-- Has a background process of this database run what is starting: at once, or when the transaction commits. False:
-- there is no free slot for it.
CREATE FUNCTION haul._start_command_runner(at_commit boolean) RETURNS boolean
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_start_command_runner';

-- Has the background process that runs them look at once.
CREATE FUNCTION haul._wake_command_runner(pid integer) RETURNS void
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_wake_command_runner';

-- Its process id; NULL: there is none.
CREATE FUNCTION haul._command_runner() RETURNS integer
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT l.pid FROM pg_locks AS l
		WHERE l.locktype = 'object' AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
			AND l.classid = 'haul.cron_runs'::regclass AND l.objid = 0 AND l.objsubid = 1 AND l.granted;
END;

-- The operator looks for the reason where he misses the outcome.
CREATE FUNCTION haul._waits_for_process() RETURNS text
	LANGUAGE sql IMMUTABLE
RETURN 'waits for a free process: consider increasing max_worker_processes'::text;

-- Makes sure that somebody runs the commands that are to run, and writes down how those ended that nobody saw ending.
CREATE FUNCTION haul._run_commands() RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	waiting CONSTANT text := haul._waits_for_process();
	runs record;
	runner integer;
BEGIN
	SELECT bool_or(state = 'running') AS running, bool_or(state = 'starting') AS starting,
		   bool_or(state = 'starting' AND fired_at < now()) AS committed,
		   bool_or(state = 'starting' AND fired_at >= now()) AS new INTO runs
		FROM haul.cron_runs WHERE finished_at IS NULL AND command IS NOT NULL AND state IN ('starting', 'running');
	IF NOT (runs.starting OR runs.running) IS TRUE THEN
		RETURN;
	END IF;
	runner := haul._command_runner();
	IF runner IS NOT NULL AND NOT runs.new THEN
		PERFORM haul._wake_command_runner(runner);
	ELSIF runner IS NOT NULL THEN
		-- that may be about to end, and cannot see yet what this transaction brings
		PERFORM haul._start_command_runner(true);
	ELSIF NOT (runs.running OR runs.committed) THEN
		PERFORM haul._start_command_runner(true);
	ELSIF NOT haul._start_command_runner(false) THEN
		UPDATE haul.cron_runs SET message = waiting
			WHERE id IN (SELECT id FROM haul.cron_runs
							WHERE finished_at IS NULL AND command IS NOT NULL AND state = 'starting' AND fired_at < now()
								AND message IS DISTINCT FROM waiting
							FOR NO KEY UPDATE SKIP LOCKED);
	END IF;
END
$$;

-- ---- for the runner ----

-- When the server started; of a standby: when it was promoted.
CREATE FUNCTION haul._server_start() RETURNS timestamptz
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT max(a.backend_start) FROM pg_stat_activity AS a
		WHERE a.backend_type IN ('checkpointer', 'logical replication launcher');
END;

-- A server that was down for long does not run everything late that should have run before.
CREATE FUNCTION haul._discard_missed_commands() RETURNS void
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE haul.cron_runs SET state = 'failed', finished_at = clock_timestamp(),
			message = 'missed: the server was stopped, or crashed, before it could run'
		WHERE id IN (SELECT r.id FROM haul.cron_runs AS r
						WHERE r.finished_at IS NULL AND r.command IS NOT NULL AND r.state = 'starting'
							AND r.fired_at < haul._server_start()
							AND r.fired_at < clock_timestamp() - haul._setting('haul.misfire_grace')
						FOR NO KEY UPDATE SKIP LOCKED);
END;

-- Of commands that run, but not in a process that the runner waits for, nobody will ever tell how they went. A process
-- that was started last by the runner before may not be known yet. Returns how many of them still run.
CREATE FUNCTION haul._adopt_commands(ours bigint[]) RETURNS bigint
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE haul.cron_runs AS r SET state = 'failed', finished_at = clock_timestamp(),
			message = CASE WHEN r.started_at < haul._server_start()
				THEN 'the server was stopped, or crashed, while it ran'
				ELSE 'how it ended is not known: the process that waited for it was terminated' END
		WHERE r.id IN (SELECT l.id FROM haul.cron_runs AS l
						WHERE l.finished_at IS NULL AND l.command IS NOT NULL AND l.state = 'running'
						FOR NO KEY UPDATE SKIP LOCKED)
			AND r.id <> ALL (ours)
			AND (r.started_at < haul._server_start()
				OR (r.started_at < clock_timestamp() - interval '5 s'
					AND NOT EXISTS (SELECT FROM pg_stat_activity AS a
									WHERE a.pid = r.pid AND a.backend_type = 'pg_haul command')));
	SELECT count(*) FROM haul.cron_runs AS r
		WHERE r.finished_at IS NULL AND r.command IS NOT NULL AND r.state = 'running' AND r.id <> ALL (ours);
END;

-- Marks the next command as running, if there is one. busy: schedules of which one runs.
CREATE FUNCTION haul._take_command(busy bigint[],
		OUT run bigint, OUT schedule bigint, OUT command text, OUT database name, OUT username name, OUT at_home boolean)
	RETURNS SETOF record
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE haul.cron_runs AS r SET state = 'running', started_at = clock_timestamp(), message = NULL
		FROM (SELECT n.id,
					 -- not as one who has got the name since it was fired
					 CASE WHEN s.id IS NULL OR s.owner_id = haul._role_id(n.username) THEN n.username ELSE '' END AS username
				FROM haul.cron_runs AS n LEFT JOIN haul.cron AS s ON s.id = n.cron_id
				WHERE n.finished_at IS NULL AND n.command IS NOT NULL AND n.state = 'starting'
					AND (s.overlap IS NOT DISTINCT FROM 'allow'
						OR (n.cron_id <> ALL (busy)
							AND NOT EXISTS (SELECT FROM haul.cron_runs AS o
											WHERE o.cron_id = n.cron_id AND o.finished_at IS NULL AND o.command IS NOT NULL
												AND o.state = 'running')))
				ORDER BY n.run_at, n.id LIMIT 1 FOR UPDATE OF n SKIP LOCKED) AS next
		WHERE r.id = next.id
		RETURNING r.id, r.cron_id, r.command, coalesce(r.database, current_database()), next.username,
			coalesce(r.database, current_database()) = current_database();
END;

-- No process was to be had for it.
CREATE FUNCTION haul._put_command_back(run bigint) RETURNS void
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE haul.cron_runs SET state = 'starting', started_at = NULL, message = haul._waits_for_process()
		WHERE id = run AND state = 'running';
END;

CREATE FUNCTION haul._command_began(run bigint, pid integer) RETURNS void
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE haul.cron_runs AS r SET pid = _command_began.pid WHERE r.id = run AND r.state = 'running';
END;

-- pid: 0 if it is not known.
CREATE FUNCTION haul._command_ended(run bigint, succeeded boolean, pid integer, message text) RETURNS void
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE haul.cron_runs AS r
		SET state = CASE WHEN succeeded THEN 'succeeded' ELSE 'failed' END, finished_at = clock_timestamp(),
			pid = nullif(_command_ended.pid, 0), message = _command_ended.message
		WHERE r.id = run AND r.state = 'running';
END;

CREATE FUNCTION haul._has_commands() RETURNS boolean
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM haul.cron_runs AS r
					WHERE r.finished_at IS NULL AND r.command IS NOT NULL AND r.state IN ('starting', 'running'));
END;

-- ---- what there may be in haul.cron_runs ----

-- What ran, or was about to, when a dump was made does not go on where it is restored.
CREATE FUNCTION haul._check_cron_run() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF haul._is_restoring(TG_RELID::regclass) THEN
		new.state := 'failed';
		new.finished_at := clock_timestamp();
		new.message := 'it was not over when the dump was made from which it was restored';
	END IF;
	RETURN new;
END
$$;
CREATE TRIGGER haul_check_cron_run BEFORE INSERT ON haul.cron_runs
	FOR EACH ROW WHEN (new.command IS NOT NULL AND new.finished_at IS NULL) EXECUTE FUNCTION haul._check_cron_run();

-- Whoever removed the row of a run that is not over would keep others waiting until he commits, and nobody would hear
-- how it went.
CREATE FUNCTION haul._keep_open_run() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE object_in_use USING MESSAGE = format('run %s is not over: it is %s', old.id, old.state),
		HINT = 'Rows of runs that are over may be deleted.';
END
$$;
CREATE TRIGGER haul_keep_open_run BEFORE DELETE ON haul.cron_runs
	FOR EACH ROW WHEN (old.command IS NOT NULL AND old.finished_at IS NULL) EXECUTE FUNCTION haul._keep_open_run();

-- What of a schedule has not begun does not run when that is removed.
CREATE FUNCTION haul._cancel_commands() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE haul.cron_runs SET state = 'cancelled', finished_at = clock_timestamp(), message = 'the schedule was removed'
		WHERE cron_id = old.id AND finished_at IS NULL AND command IS NOT NULL AND state = 'starting';
	RETURN NULL;
END
$$;
CREATE TRIGGER haul_cancel_commands AFTER DELETE ON haul.cron
	FOR EACH ROW WHEN (old.command IS NOT NULL) EXECUTE FUNCTION haul._cancel_commands();

-- ---- scheduling ----

-- pg_cron lets commands have no name. Before haul._check_cron(), which wants one.
CREATE FUNCTION haul._name_command() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	new.name := 'unnamed_' || new.id;
	RETURN new;
END
$$;
CREATE TRIGGER aa_haul_name_command BEFORE INSERT ON haul.cron
	FOR EACH ROW WHEN (new.name IS NULL AND new.command IS NOT NULL) EXECUTE FUNCTION haul._name_command();

-- That a role, which the current one could become, can run something in a database.
CREATE FUNCTION haul._check_command(role name, database name) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r record;
	d record;
BEGIN
	SELECT oid, rolcanlogin INTO r FROM pg_roles WHERE rolname = $1;
	IF NOT FOUND THEN
		RAISE undefined_object USING MESSAGE = format('role "%s" does not exist', $1);
	ELSIF NOT r.rolcanlogin THEN
		RAISE invalid_authorization_specification USING MESSAGE = format('role "%s" can not log in', $1),
			DETAIL = 'Jobs may only be run by roles that have the LOGIN attribute.';
	ELSIF NOT haul._acts_for(r.oid) THEN
		RAISE insufficient_privilege USING MESSAGE = format('role "%s" cannot schedule commands for role "%s"', current_user,
			$1),
			HINT = 'Superusers can, and roles that could become that role by SET ROLE.';
	END IF;
	SELECT oid, datallowconn INTO d FROM pg_database WHERE datname = coalesce($2, current_database());
	IF NOT FOUND THEN
		RAISE invalid_catalog_name USING MESSAGE = format('database "%s" does not exist', $2);
	ELSIF NOT d.datallowconn THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = format('database "%s" is not currently accepting connections',
			$2);
	ELSIF NOT has_database_privilege(r.oid, d.oid, 'CONNECT') THEN
		RAISE insufficient_privilege USING MESSAGE = format('User %s does not have CONNECT privilege on %s', $1,
			coalesce($2, current_database()));
	END IF;
END
$$;

-- Makes a schedule, or changes the one that has the name. active: NULL for as it is, or on.
CREATE FUNCTION haul._schedule_command(name text, schedule text, command text, database name, role name, active boolean,
		timezone text DEFAULT 'UTC')
	RETURNS bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	before   haul.cron;
	hidden   name;
	attempts integer := 0;
	result   bigint;
BEGIN
	LOOP
		SELECT c.* INTO before FROM haul.cron AS c WHERE c.name = $1;
		IF FOUND AND before.command IS NULL THEN
			RAISE duplicate_object USING MESSAGE = format('schedule "%s" enqueues jobs of kind "%s"', $1, before.kind),
				HINT = 'Choose another name, or remove that schedule first.';
		ELSIF FOUND AND before.owner_id <> haul._role_id(coalesce($5, current_user)) THEN
			RAISE duplicate_object USING MESSAGE = format('schedule "%s" belongs to role "%s"', $1, before.owner),
				HINT = 'Choose another name: a name is given once in a database, not once for each role.';
		ELSIF FOUND THEN
			PERFORM haul._check_command(before.owner, coalesce($4, before.database));
			UPDATE haul.cron AS c
				SET schedule = $2, command = $3, enabled = coalesce($6, c.enabled),
					database = CASE WHEN $4 IS NULL THEN c.database ELSE nullif($4, current_database()) END
				WHERE c.id = before.id
				RETURNING c.id INTO result;
		ELSE
			PERFORM haul._check_command(coalesce($5, current_user), $4);
			INSERT INTO haul.cron (name, schedule, command, database, enabled, timezone, overlap)
				VALUES ($1, $2, $3, nullif($4, current_database()), coalesce($6, true), $7, 'queue')
				ON CONFLICT (name) DO NOTHING
				RETURNING id INTO result;
			IF result IS NOT NULL AND $5 <> current_user THEN
				UPDATE haul.cron AS c SET owner = $5 WHERE c.id = result;
			END IF;
		END IF;
		EXIT WHEN result IS NOT NULL;
		-- somebody else was faster, or it cannot come in
		hidden := haul._command_owner(NULL::bigint, $1);
		attempts := attempts + 1;
		IF hidden IS NOT NULL AND NOT haul._acts_for(haul._role_id(hidden)) THEN
			RAISE duplicate_object USING MESSAGE = format('schedule "%s" belongs to role "%s"', $1, hidden),
				HINT = 'Choose another name: a name is given once in a database, not once for each role.';
		ELSIF attempts = 10 THEN
			RAISE duplicate_object USING MESSAGE = format('schedule "%s" could not be made', $1),
				HINT = 'Another role has a schedule of that name, or a trigger on haul.cron suppressed the row.';
		END IF;
	END LOOP;
	RETURN result;
END
$$;

CREATE FUNCTION haul._check_given(argument text, value text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = format('%s can not be NULL', argument);
	END IF;
END
$$;

CREATE FUNCTION haul.schedule(schedule text, command text) RETURNS bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM haul._check_given('schedule'::text, schedule), haul._check_given('command'::text, command);
	RETURN haul._schedule_command(NULL::text, schedule, command, current_database(), NULL::name, NULL::boolean,
								  'UTC'::text);
END
$$;
COMMENT ON FUNCTION haul.schedule(text, text) IS
'Runs a command, in this database and as the current role, whenever the schedule (see haul.cron_next(), in UTC) says; as
pg_cron.
Returns the id of the schedule in haul.cron, where it has the name unnamed_<id>. A run that is due while the one before
still runs waits for that. How each went is in haul.job_run_details.
Errors: 22004 for NULL; 23514 for a bad schedule or no command; 28000 for a role that cannot log in, 42501 for one that
may not connect.';

CREATE FUNCTION haul.schedule(job_name text, schedule text, command text) RETURNS bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM haul._check_given('job_name'::text, job_name), haul._check_given('schedule'::text, schedule),
			haul._check_given('command'::text, command);
	RETURN haul._schedule_command(nullif(job_name, ''), schedule, command, current_database(), NULL::name,
								  NULL::boolean, 'UTC'::text);
END
$$;
COMMENT ON FUNCTION haul.schedule(text, text, text) IS
'The same under a name of 1 to 255 characters. A schedule of the current role that has the name gets this schedule and
command, and keeps its id; its database becomes this one.
Errors: those of haul.schedule(schedule, command), and 42710 if the name is that of somebody else''s schedule, or of one
that enqueues jobs.';

CREATE FUNCTION haul.schedule_in_database(job_name text, schedule text, command text, database text,
		username text DEFAULT NULL, active boolean DEFAULT true)
	RETURNS bigint
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM haul._check_given('job_name'::text, job_name), haul._check_given('schedule'::text, schedule),
			haul._check_given('command'::text, command);
	RETURN haul._schedule_command(nullif(job_name, ''), schedule, command,
								  coalesce(database, current_database())::name, username::name, coalesce(active, true),
								  'UTC'::text);
END
$$;
COMMENT ON FUNCTION haul.schedule_in_database(text, text, text, text, text, boolean) IS
'The same in another database (NULL: this one), as another role (NULL: the current one) that the current role could
become by SET ROLE, and, if not active, for later.
Errors: those of haul.schedule(job_name, schedule, command), 3D000 for an unknown database, 42704 for an unknown role,
42501 for a role that the current one cannot become.';

CREATE FUNCTION haul.unschedule(job_id bigint) RETURNS boolean
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM haul.cron AS c WHERE c.id = job_id;
	IF NOT FOUND THEN
		PERFORM haul._refuse_command_of_others(job_id, NULL::text);
		RAISE undefined_object USING MESSAGE = format('could not find valid entry for job %s', coalesce(job_id::text,
			'NULL')),
			HINT = 'haul.cron has the ids of all schedules.';
	END IF;
	RETURN true;
END
$$;
COMMENT ON FUNCTION haul.unschedule(bigint) IS
'Removes a schedule, by its id. A command that runs goes on; what has not begun does not run. Returns true.
Errors: 42704 when there is none; 42501 when it has a command and belongs to a role that the current one cannot
become.';

CREATE FUNCTION haul.unschedule(job_name text) RETURNS boolean
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM haul.cron AS c WHERE c.name = job_name;
	IF NOT FOUND THEN
		PERFORM haul._refuse_command_of_others(NULL::bigint, job_name);
		RAISE undefined_object USING MESSAGE = format('could not find valid entry for job ''%s''', coalesce(job_name,
			'NULL')),
			HINT = 'haul.cron has the names of all schedules.';
	END IF;
	RETURN true;
END
$$;
COMMENT ON FUNCTION haul.unschedule(text) IS 'The same, by its name.';

CREATE FUNCTION haul.alter_job(job_id bigint, schedule text DEFAULT NULL, command text DEFAULT NULL,
	database text DEFAULT NULL,
		username text DEFAULT NULL, active boolean DEFAULT NULL)
	RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	before haul.cron;
BEGIN
	PERFORM haul._check_given('job_id'::text, job_id::text);
	IF num_nonnulls($2, $3, $4, $5, $6) = 0 THEN
		RAISE invalid_parameter_value USING MESSAGE = 'no updates specified',
			HINT = 'You must specify at least one job attribute to change when calling alter_job';
	END IF;
	SELECT c.* INTO before FROM haul.cron AS c WHERE c.id = job_id;
	IF NOT FOUND THEN
		PERFORM haul._refuse_command_of_others(job_id, NULL::text);
		RAISE undefined_object USING MESSAGE = format('Job %s does not exist', job_id),
			HINT = 'haul.cron has the ids of all schedules.';
	ELSIF before.command IS NULL AND num_nonnulls($3, $4, $5) > 0 THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = format('schedule "%s" enqueues jobs of kind "%s"', before.name,
			before.kind),
			HINT = 'Only its schedule can be changed here, and whether it is active. UPDATE haul.cron changes the rest.';
	ELSIF num_nonnulls($4, $5) > 0 THEN
		PERFORM haul._check_command(coalesce($5, before.owner), coalesce($4, before.database));
	END IF;
	UPDATE haul.cron AS c
		SET schedule = coalesce($2, c.schedule), command = coalesce($3, c.command), database = CASE WHEN $4 IS NULL
			THEN c.database ELSE nullif($4, current_database()) END,
			owner = coalesce($5, c.owner), enabled = coalesce($6, c.enabled)
		WHERE c.id = job_id;
END
$$;
COMMENT ON FUNCTION haul.alter_job(bigint, text, text, text, text, boolean) IS
'Changes a schedule, by its id; what is NULL stays as it is. username: a role that the current one could become by SET
ROLE.
Errors: 22004 without a job_id, 22023 when nothing is to be changed, 42704 for an unknown one, 42501 when it has a
command and belongs to a role that the current one cannot become; those of haul.schedule_in_database().';

-- ---- what there is ----

CREATE VIEW haul.cron_jobs WITH (security_barrier) AS
	SELECT c.id AS jobid, c.schedule, c.command, 'localhost'::text AS nodename, current_setting('port')::integer
		AS nodeport,
		   coalesce(c.database, current_database())::text AS database, c.owner::text AS username, c.enabled AS active,
		   nullif(c.name, 'unnamed_' || c.id) AS jobname
		FROM haul.cron AS c WHERE c.command IS NOT NULL
			AND (c.owner_id = haul._role_id(current_user) OR (SELECT s.rolsuper OR s.rolbypassrls FROM pg_roles AS s
				WHERE s.rolname = current_user));
COMMENT ON VIEW haul.cron_jobs IS
'Schedules with a command, with the columns of pg_cron''s cron.job; those of the current role, or of all if it is a '
	'superuser';
COMMENT ON COLUMN haul.cron_jobs.jobid IS 'haul.cron.id';
COMMENT ON COLUMN haul.cron_jobs.schedule IS 'When it runs';
COMMENT ON COLUMN haul.cron_jobs.command IS 'What runs';
COMMENT ON COLUMN haul.cron_jobs.nodename IS 'Always localhost';
COMMENT ON COLUMN haul.cron_jobs.nodeport IS 'Port of this server';
COMMENT ON COLUMN haul.cron_jobs.database IS 'Database in which it runs';
COMMENT ON COLUMN haul.cron_jobs.username IS 'Role as which it runs';
COMMENT ON COLUMN haul.cron_jobs.active IS 'haul.cron.enabled';
COMMENT ON COLUMN haul.cron_jobs.jobname IS 'haul.cron.name; NULL: it was given none';

-- Whether a role may know of a run of a command: it ran as that role, and not as one that had its name before.
CREATE FUNCTION haul._is_run_of(role name, cron_id bigint, username name) RETURNS boolean
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT username = role AND NOT EXISTS (
		SELECT FROM haul.cron AS c WHERE c.id = cron_id AND c.owner_id <> haul._role_id(role));
END;

-- Administrators do not read what others run, nor what came of it.
ALTER TABLE haul.cron_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY readers ON haul.cron_runs FOR SELECT
	USING (command IS NULL OR (username = current_user AND haul._is_run_of(current_user, cron_id, username)));

CREATE VIEW haul.job_run_details WITH (security_barrier) AS
	SELECT r.cron_id AS jobid, r.id AS runid, r.pid AS job_pid, r.database::text AS database, r.username::text AS username,
		   r.command, r.state AS status, r.message AS return_message, r.started_at AS start_time, r.finished_at AS end_time
		FROM haul.cron_runs AS r WHERE r.command IS NOT NULL
			AND ((r.username = current_user AND haul._is_run_of(current_user, r.cron_id, r.username))
				OR (SELECT s.rolsuper OR s.rolbypassrls FROM pg_roles AS s WHERE s.rolname = current_user));
COMMENT ON VIEW haul.job_run_details IS
'Runs of commands, with the columns of pg_cron''s cron.job_run_details; those of the current role, or of all if it is a
superuser.
Rows may be deleted; maintenance deletes those older than the setting haul.keep_cron_runs';
COMMENT ON COLUMN haul.job_run_details.jobid IS 'haul.cron.id';
COMMENT ON COLUMN haul.job_run_details.runid IS 'haul.cron_runs.id';
COMMENT ON COLUMN haul.job_run_details.job_pid IS 'Process that ran it';
COMMENT ON COLUMN haul.job_run_details.database IS 'In this database';
COMMENT ON COLUMN haul.job_run_details.username IS 'As this role';
COMMENT ON COLUMN haul.job_run_details.command IS 'What ran';
COMMENT ON COLUMN haul.job_run_details.status
	IS 'starting, running, succeeded, failed, skipped (two runs before were not over) or cancelled (it had not begun when '
	'the schedule was removed)';
COMMENT ON COLUMN haul.job_run_details.return_message IS 'Error, number of rows, or command tag of the last statement';
COMMENT ON COLUMN haul.job_run_details.start_time IS 'When it began';
COMMENT ON COLUMN haul.job_run_details.end_time IS 'When it ended';

-- ---- moving from pg_cron ----

CREATE FUNCTION haul.import_pg_cron(disable boolean DEFAULT true, OUT jobid bigint, OUT jobname text, OUT name text,
	OUT id bigint, OUT outcome text)
	RETURNS SETOF record
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	zone     text;
	here     text[];
	job      record;
	before   haul.cron;
	problem  text;
	problems text := '';
	count    integer := 0;
BEGIN
	IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
		RAISE insufficient_privilege USING MESSAGE = 'must be superuser to take over the jobs of all roles';
	ELSIF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') THEN
		RAISE undefined_object USING MESSAGE = format('there is no pg_cron in database "%s"', current_database()),
			HINT = 'It is in the database that its setting cron.database_name names. Create pg_haul there.';
	END IF;
	zone := coalesce(nullif(current_setting('cron.timezone', true), ''), 'GMT');
	here := array_remove(ARRAY['', 'localhost', '127.0.0.1', '::1', current_setting('cron.host', true)], NULL);
	-- pg_cron goes on reading it; nobody changes what we have seen
	EXECUTE 'LOCK TABLE cron.job IN SHARE ROW EXCLUSIVE MODE';
	FOR job IN EXECUTE 'SELECT jobid, nullif(jobname, '''')::text AS jobname, schedule, command, nodename, nodeport, '
		'database::name, username::name, active'
		' FROM cron.job ORDER BY jobid'
	LOOP
		jobid := job.jobid;
		jobname := job.jobname;
		id := NULL;
		problem := NULL;
		name := coalesce(jobname, 'pg_cron_' || jobid);
		SELECT c.* INTO before FROM haul.cron AS c WHERE c.name = import_pg_cron.name;
		IF FOUND AND (before.command IS NULL OR before.owner <> job.username) THEN
			-- names of pg_cron's are given once for each role
			name := format('%s (%s)', name, job.username);
			SELECT c.* INTO before FROM haul.cron AS c WHERE c.name = import_pg_cron.name;
		END IF;
		IF before.id IS NOT NULL THEN
			IF before.command IS NULL OR before.owner <> job.username THEN
				problem := format('haul.cron has another schedule "%s"', name);
			ELSE
				id := before.id;
				outcome := CASE
					WHEN (before.schedule, before.command) = (job.schedule, job.command) THEN 'was there already'
					ELSE 'was there already, with another schedule or command: left as it is' END;
			END IF;
		ELSIF job.nodename <> ALL (here) AND job.nodename NOT LIKE '/%' OR job.nodeport <> current_setting('port')::integer
			THEN
			problem := format('it runs on another server, %s port %s', job.nodename, job.nodeport);
		ELSIF btrim(job.schedule) NOT LIKE '@%' AND cardinality(regexp_split_to_array(btrim(job.schedule),
			'[[:space:]]+')) > 5 THEN
			problem := format('pg_cron reads only the first five fields of "%s"; here the first of six is the second',
				job.schedule);
		ELSE
			BEGIN
				id := haul._schedule_command(name, job.schedule, job.command, job.database, job.username, job.active, zone);
				outcome := CASE WHEN job.active THEN 'imported' ELSE 'imported, not active' END;
			EXCEPTION WHEN OTHERS THEN
				problem := SQLERRM;
			END;
		END IF;
		IF problem IS NULL THEN
			RETURN NEXT;
		ELSE
			count := count + 1;
			problems := problems || chr(10) || format('job %s%s: %s', jobid, ' "' || jobname || '"', problem);
		END IF;
	END LOOP;
	IF count > 0 THEN
		RAISE invalid_parameter_value
			USING MESSAGE = format('%s of the jobs of pg_cron cannot be taken over: nothing was changed', count),
			DETAIL = ltrim(problems, chr(10)),
			HINT = 'Change these with cron.alter_job(), or remove them with cron.unschedule(), and call this again.';
	END IF;
	IF disable THEN
		EXECUTE 'UPDATE cron.job SET active = false WHERE active';
	END IF;
END
$$;
COMMENT ON FUNCTION haul.import_pg_cron(boolean) IS
'Takes over all jobs of the pg_cron in this database, with schedules, time zone, commands, databases, roles and names;
unnamed ones get the name pg_cron_<jobid>, those of several roles with one name the role in parentheses. With disable
the originals are made inactive in the same transaction, so that nothing runs twice, and nothing is left out. One row
per job: jobid and jobname there, name and id here, and what became of it; those that were taken over before are left as
they are. For superusers. All or, on any error, nothing.
Errors: 22023 with the jobs that cannot be taken over, and why; 42704 without pg_cron; 42501.';
