-- Who is alive. The rules stand at the head of extension/calls/offer.h and extension/rows/watch.c.

-- A look at haul.workers, noted in haul._watch.
CREATE FUNCTION haul._look() RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'haul_look';

-- Offers what a lost worker holds to others; returns how many jobs.
CREATE FUNCTION haul._offer(worker_id bigint) RETURNS bigint
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_offer';

-- Processes that serve sessions of the worker's own.
CREATE FUNCTION haul._backends(worker_id bigint) RETURNS integer[]
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_backends';

-- Ends those of the worker's own sessions that have begun something: it cannot commit any more, nor keep a job locked.
-- Returns whether there were any.
CREATE FUNCTION haul._end_sessions(worker_id bigint) RETURNS boolean
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT count(pg_terminate_backend(pid, 0::bigint)) > 0 FROM pg_stat_activity
		WHERE pid = ANY (haul._backends(worker_id)) AND state <> 'idle'::text AND pid <> pg_backend_pid();
END;

-- Takes the exclusive lock of a worker until the end of the transaction; false, at once, while a checkout of that
-- worker is open. In a WHERE clause, inside a CASE that names all other conditions: they may be evaluated in any order.
CREATE FUNCTION haul._lock_worker(worker_id bigint) RETURNS boolean
	LANGUAGE c STRICT
	AS 'MODULE_PATHNAME', 'haul_lock_worker';

-- Since when workers could be heard: the start of the server, the end of its recovery, its promotion.
CREATE FUNCTION haul._server_up_since() RETURNS timestamptz
	LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT greatest(pg_postmaster_start_time(),
					(SELECT max(backend_start) FROM pg_stat_activity WHERE backend_type = 'walwriter'));
END;

-- The worker may be dead: gives it up, unless it gave a sign of life since then.
CREATE FUNCTION haul._lose(worker_id bigint, silent_since timestamptz) RETURNS boolean
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
AS $$
BEGIN
	UPDATE haul.workers AS w SET lost_at = clock_timestamp() FROM (
			SELECT id FROM haul.workers
				WHERE id = worker_id
					AND CASE WHEN id = worker_id AND lost_at IS NULL AND last_heartbeat_at <= silent_since
						THEN haul._lock_worker(id) END
				FOR UPDATE SKIP LOCKED) AS free
		WHERE w.id = free.id;
	IF FOUND THEN
		PERFORM haul._offer(worker_id);
	END IF;
	RETURN FOUND;
END
$$;

-- The worker is dead: deletes its row, which charges its jobs. Not while a checkout of it is still open somewhere, or
-- somebody has its row locked: nobody waits for that.
CREATE FUNCTION haul._bury(worker_ids bigint[]) RETURNS bigint
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
AS $$
DECLARE
	buried bigint;
BEGIN
	DELETE FROM haul.workers AS w USING (
			SELECT id FROM haul.workers
				WHERE id = ANY (worker_ids) AND CASE WHEN id = ANY (worker_ids) THEN haul._lock_worker(id) END
				FOR UPDATE SKIP LOCKED) AS free
		WHERE w.id = free.id;
	GET DIAGNOSTICS buried = ROW_COUNT;
	RETURN buried;
END
$$;

-- All sessions of a worker have ended, and it did not come back in time; dead: its process has ended, too.
CREATE FUNCTION haul._give_up_departed(worker_id bigint, departed_at timestamptz, dead boolean) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET session_replication_role = origin SET lock_timeout = '1s'
AS $$
BEGIN
	IF dead THEN
		PERFORM haul._bury(ARRAY[worker_id]);
	ELSE
		PERFORM haul._lose(worker_id, departed_at);
	END IF;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
	NULL; -- its silence will tell
END
$$;

-- Who has been silent for too long, and who was lost for too long; next_at: when to look again (NULL: there are no
-- workers).
CREATE FUNCTION haul._find_silent(OUT silent bigint[], OUT silent_since timestamptz, OUT dead bigint[],
	OUT next_at timestamptz)
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	timeout  CONSTANT interval := haul._setting('haul.worker_timeout'::text);
	patience CONSTANT interval := haul._setting('haul.lost_timeout'::text);
	seen     haul._watch;
	up_since timestamptz;
BEGIN
	PERFORM haul._look();
	SELECT * INTO STRICT seen FROM haul._watch;
	silent_since := least(seen.looks[1], clock_timestamp() - timeout);
	silent := ARRAY(SELECT id FROM haul.workers WHERE lost_at IS NULL AND last_heartbeat_at < silent_since ORDER BY id);
	dead := ARRAY(SELECT id FROM haul.workers WHERE lost_at < least(seen.looks[1], clock_timestamp() - patience)
		ORDER BY id);
	IF silent <> '{}' OR dead <> '{}' THEN
		up_since := haul._server_up_since();
		IF up_since + timeout > clock_timestamp() THEN
			silent := '{}';
		END IF;
		IF greatest(up_since, seen.awake_at) + patience > clock_timestamp() THEN
			dead := '{}';
		END IF;
	END IF;
	-- one that is overdue already will be no less so at the next look
	SELECT CASE WHEN count(*) > 0 THEN least(clock_timestamp() + timeout / 5,
				min(last_heartbeat_at) FILTER (WHERE lost_at IS NULL AND last_heartbeat_at + timeout > clock_timestamp()) + timeout
				+ interval '1 ms') END
		INTO next_at FROM haul.workers;
END
$$;

-- Looks at the workers, and gives up those that are silent. Returns when to look again, given_up: how many it gave up.
CREATE FUNCTION haul._watch_over(OUT next_at timestamptz, OUT given_up bigint)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
		SET lock_timeout = '1s'
AS $$
DECLARE
	found record;
	id    bigint;
BEGIN
	given_up := 0;
	SELECT * INTO found FROM haul._find_silent();
	next_at := found.next_at;
	-- What somebody had locked when they were lost.
	FOR id IN SELECT w.id FROM haul.workers AS w WHERE w.lost_at IS NOT NULL UNION SELECT unnest(found.silent)
		ORDER BY 1 LOOP
		BEGIN
			IF id = ANY (found.silent) THEN
				IF haul._end_sessions(id) THEN
					next_at := least(next_at, clock_timestamp() + interval '200 ms'); -- for what they had locked
				END IF;
				given_up := given_up + haul._lose(id, found.silent_since)::integer;
			ELSIF haul._lock_worker(id) THEN
				PERFORM haul._offer(id);
			END IF;
		EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
			NULL; -- the next look will do
		END;
	END LOOP;
	BEGIN
		given_up := given_up + haul._bury(found.dead);
	EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
		NULL;
	END;
END
$$;

CREATE FUNCTION haul.watch_workers() RETURNS interval
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
AS $$
BEGIN
	IF (SELECT floors_open FROM haul._background()) THEN
		RETURN NULL;
	END IF;
	RETURN (SELECT greatest(next_at - clock_timestamp(), '0') FROM haul._watch_over());
END
$$;
COMMENT ON FUNCTION haul.watch_workers() IS
'A look at the other workers: gives up those that have been silent for longer than haul.worker_timeout, so that others
run their jobs. Returns the time until the next look is due; looks count only when they come at least that often. NULL
where a background worker of the server looks. haul.maintain() makes a look, too.';

CREATE FUNCTION haul.cleanup_workers(silent_for interval DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = origin
AS $$
BEGIN
	IF silent_for IS NULL THEN
		RETURN (SELECT given_up FROM haul._watch_over());
	END IF;
	IF silent_for < interval '0' THEN
		RAISE EXCEPTION 'interval must not be negative: %', silent_for USING ERRCODE = '22023';
	END IF;
	IF silent_for > interval '1000 years' THEN
		RAISE EXCEPTION 'interval must not be longer than 1000 years: %', silent_for USING ERRCODE = '22023';
	END IF;
	RETURN haul._bury(ARRAY(SELECT id FROM haul.workers WHERE last_heartbeat_at < clock_timestamp() - silent_for));
END
$$;
COMMENT ON FUNCTION haul.cleanup_workers(interval) IS
'With an interval: removes the workers, of any host, whose last sign of life is older, as dead: their jobs are released
and charged. Without: a look as haul.watch_workers() takes it, which gives up those that it has seen to be silent.
Returns how many. Errors: 22023 for an interval that is negative or longer than 1000 years.';
