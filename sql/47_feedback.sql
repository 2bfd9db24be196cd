-- Feedback to those who enqueued jobs.

-- A role's own mail. Whoever deletes what he has read is told each outcome once.
CREATE VIEW haul.my_replies WITH (security_barrier) AS
	SELECT id, reply_to, job_id, claim, attempt, state, result, error, repeats, finished_at
		FROM haul.replies WHERE enqueued_by = current_user;
COMMENT ON VIEW haul.my_replies IS
'Outcomes of jobs that the current role enqueued with reply_to. DELETE … RETURNING takes them out: each is told once, '
	'in the transaction that deals with it';

CREATE PROCEDURE haul.wait_for(id bigint, timeout interval DEFAULT '30 s', INOUT state text DEFAULT NULL,
	INOUT result jsonb DEFAULT NULL,
		INOUT error text DEFAULT NULL)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_wait_for';
COMMENT ON PROCEDURE haul.wait_for(bigint, interval, text, jsonb, text) IS
'Waits until a job has ended, at most for the given time, and returns its state (completed, failed, discarded or
cancelled), result and last error; when the time is over first, the state it is in (ready, running or waiting). Of a
periodic job: until the run that is under way, or else the next, is over.
It commits before it waits, so it holds no snapshot, no transaction id and no lock, and works through a pooler in
transaction mode. State unknown: the job ended while it waited, and is not kept (haul.jobs.keep).
A role without the right to read haul.jobs can wait for jobs that it enqueued itself.
Errors: 25001 inside a transaction block, 42704 when there is no such job (any more), 22023 for a negative timeout.';

-- Jobs that somebody deletes by hand end as cancelled for those who wait for them.
CREATE FUNCTION haul._tell_deleted(job haul.jobs) RETURNS void
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_tell_deleted';

-- Drops replies that nobody took within the setting haul.keep_replies; returns how many.
CREATE FUNCTION haul._prune_replies() RETURNS bigint
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	dropped bigint;
BEGIN
	DELETE FROM haul.replies WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM haul.replies WHERE finished_at < clock_timestamp() - haul._setting('haul.keep_replies'::text)
			ORDER BY finished_at LIMIT 10000 FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS dropped = ROW_COUNT;
	RETURN dropped;
END
$$;
