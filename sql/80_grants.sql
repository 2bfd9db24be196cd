-- Privileges, on one page. PUBLIC has nothing; three kinds of role have what follows.

REVOKE ALL ON SCHEMA haul FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA haul FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA haul FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA haul FROM PUBLIC;

CREATE FUNCTION haul.grant_producer(role name) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format($sql$
		GRANT USAGE ON SCHEMA haul TO %1$I;
		GRANT INSERT (%2$s) ON haul.jobs TO %1$I;
		-- for RETURNING id
		GRANT SELECT (id) ON haul.jobs TO %1$I;
		GRANT SELECT ON haul.my_jobs TO %1$I;
		GRANT EXECUTE ON FUNCTION
			haul.enqueue,
			haul.try_enqueue,
			haul._key_holder(text, text),
			haul._check_objects(text, jsonb, text[], text),
			haul._refuse_suppressed(bigint, bigint),
			haul.enqueue_many(jsonb),
			haul._job_option_names(),
			haul._given_options(jsonb),
			haul._enqueue(haul._job_options),
			haul.workflow(jsonb),
			haul.chain(jsonb, text, text),
			haul._workflow(jsonb, text),
			haul._check_workflow(jsonb),
			haul._workflow_edges(jsonb, text[]),
			haul.backoff_delay(text, integer),
			haul.cron_next(text, integer, timestamptz, text, text, text),
			haul.cron_previous(text, integer, timestamptz, text, text, text) TO %1$I;
		GRANT EXECUTE ON PROCEDURE haul.wait_for(bigint, interval, text, jsonb, text) TO %1$I;
		GRANT SELECT, DELETE ON haul.my_replies TO %1$I;
		GRANT SELECT ON haul.my_workflows, haul.my_workflow_steps TO %1$I
		$sql$, role, array_to_string(haul._job_option_names(), ', '));
END
$$;
COMMENT ON FUNCTION haul.grant_producer(name) IS
'Lets a role enqueue (INSERT, COPY, haul.enqueue) and see its own jobs (haul.my_jobs), and nothing else.';

CREATE FUNCTION haul.grant_worker(role name) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format($sql$
		GRANT USAGE ON SCHEMA haul TO %1$I;
		GRANT EXECUTE ON FUNCTION
			haul.register_worker(text, jsonb),
			haul.checkout(bigint, integer),
			haul.start(bigint, bigint[], integer[]),
			haul.not_owned(bigint, bigint[], integer[]),
			haul.complete(bigint, bigint[], integer[], jsonb[], boolean),
			haul.fail(bigint, bigint, integer, text, jsonb, interval, text, boolean),
			haul.discard(bigint, bigint, integer, text),
			haul.cancelled(bigint, bigint, integer, text),
			haul.snooze(bigint, bigint, integer, interval),
			haul.release(bigint, bigint[], integer[], boolean),
			haul.progress(bigint, bigint, integer, jsonb),
			haul.reconcile(bigint, bigint[], integer[]),
			haul.next_due(bigint),
			haul.results(bigint),
			haul.heartbeat(bigint, integer, text, integer),
			haul.watch_workers(),
			haul._setting(text),
			haul.unregister_worker(bigint),
			haul.maintain(boolean),
			haul._maintain(boolean),
			haul.cron_next(text, integer, timestamptz, text, text, text),
			haul.cron_previous(text, integer, timestamptz, text, text, text),
			haul._queue_status(),
			haul._lanes(),
			haul._background() TO %1$I;
		GRANT EXECUTE ON PROCEDURE haul.checkout_wait(bigint, integer, interval, jsonb) TO %1$I;
		GRANT SELECT ON haul.counters, haul.queue_status, haul.worker_status, haul.lanes, haul.background, haul.duties TO %1$I
		$sql$, role);
END
$$;
COMMENT ON FUNCTION haul.grant_worker(name)
	IS 'Lets a role work: the worker protocol, for workers that it registers, maintenance, and what haul info shows.';

CREATE FUNCTION haul.grant_scheduler(role name) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format($sql$
		GRANT USAGE ON SCHEMA haul TO %1$I;
		-- a policy shows it the rows that it owns
		GRANT SELECT, DELETE ON haul.cron TO %1$I;
		GRANT INSERT (name, schedule, timezone, kind, args, queue, priority, options, command, database, enabled, overlap,
					  misfire, misfire_limit, dst_skipped, dst_repeated) ON haul.cron TO %1$I;
		GRANT UPDATE (schedule, timezone, kind, args, queue, priority, options, command, database, enabled, overlap,
					  misfire, misfire_limit, dst_skipped, dst_repeated, owner) ON haul.cron TO %1$I;
		GRANT EXECUTE ON FUNCTION
			haul.cron_sync(jsonb),
			haul._is_restoring(regclass),
			haul._role_id(name),
			haul._could_become(oid, oid),
			haul._acts_for(oid),
			haul._command_owner(bigint, text),
			haul._refuse_command_of_others(bigint, text),
			haul._is_run_of(name, bigint, name),
			haul._check_objects(text, jsonb, text[], text),
			haul._job_option_names(),
			haul._cron_option_names(),
			haul._refuse_cron(text, text, text, text, text),
			haul._check_cron_nulls(haul.cron),
			haul._check_cron_change(haul.cron, haul.cron),
			haul._own_new_cron(haul.cron, boolean),
			haul._own_changed_cron(haul.cron, haul.cron),
			haul._cron_job_differs(haul.cron, haul.cron),
			haul._check_cron_values(haul.cron),
			haul._plan_cron(haul.cron, boolean, timestamptz),
			haul._try_cron_job(haul.cron),
			haul._check_command(name, name),
			haul._check_given(text, text),
			haul._schedule_command(text, text, text, name, name, boolean, text),
			haul.schedule(text, text),
			haul.schedule(text, text, text),
			haul.schedule_in_database(text, text, text, text, text, boolean),
			haul.unschedule(bigint),
			haul.unschedule(text),
			haul.alter_job(bigint, text, text, text, text, boolean),
			haul.cron_next(text, integer, timestamptz, text, text, text),
			haul.cron_previous(text, integer, timestamptz, text, text, text) TO %1$I;
		GRANT SELECT ON haul.cron_jobs, haul.job_run_details TO %1$I;
		GRANT DELETE ON haul.job_run_details TO %1$I
		$sql$, role);
END
$$;
COMMENT ON FUNCTION haul.grant_scheduler(name) IS
'Lets a role make schedules of its own, of jobs and of commands, which run as that role, and see and change these '
	'alone.';

CREATE FUNCTION haul.grant_admin(role name) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM haul.grant_producer(role), haul.grant_worker(role), haul.grant_scheduler(role);
	EXECUTE format($sql$
		GRANT SELECT ON ALL TABLES IN SCHEMA haul TO %1$I;
		GRANT INSERT, UPDATE, DELETE ON haul.queues, haul.kinds TO %1$I;
		GRANT UPDATE, DELETE ON haul.jobs TO %1$I;
		-- to enqueue again what others had enqueued
		GRANT INSERT (enqueued_by) ON haul.jobs TO %1$I;
		GRANT DELETE ON haul.workers TO %1$I;
		GRANT EXECUTE ON FUNCTION
			haul.cleanup_workers(interval),
			haul._is_duration(interval), -- a check of haul.queues
			haul.cancel_workflow(bigint),
			haul.retry_workflow(bigint) TO %1$I
		$sql$, role);
END
$$;
COMMENT ON FUNCTION haul.grant_admin(name) IS
'Lets a role operate: all of producer and worker, read everything, change settings and schedules, change and delete
jobs, delete workers and act for them. Commands in schedules run as the role that made the schedule; no other
administrator can change them, or read them and what came of them.';

CREATE FUNCTION haul.revoke(role name) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF EXISTS (SELECT FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
				WHERE c.oid = 'haul.jobs'::regclass AND r.rolname = role) THEN
		RAISE invalid_parameter_value USING MESSAGE = format('role "%s" owns the extension', role),
			HINT = 'Only what other roles have can be taken back.';
	END IF;
	EXECUTE format($sql$
		REVOKE ALL ON ALL TABLES IN SCHEMA haul FROM %1$I;
		REVOKE ALL ON ALL SEQUENCES IN SCHEMA haul FROM %1$I;
		REVOKE ALL ON ALL ROUTINES IN SCHEMA haul FROM %1$I;
		REVOKE ALL ON SCHEMA haul FROM %1$I
		$sql$, role);
END
$$;
COMMENT ON FUNCTION haul.revoke(name) IS
'Takes back from a role all that haul.grant_producer() and the like gave to it. What it enqueued and scheduled stays,
and so does what it has as a member of another role. Errors: 22023 for the owner of the extension, 42704 for an unknown
role.';

REVOKE ALL ON FUNCTION haul.grant_producer(name), haul.grant_worker(name), haul.grant_scheduler(name),
	haul.grant_admin(name), haul.revoke(name) FROM PUBLIC;
