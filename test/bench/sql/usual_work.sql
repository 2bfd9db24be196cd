-- What a worker does over and over: take a batch, do nothing, delete it. Two transactions, run by pgbench.
WITH due AS (
	SELECT id FROM bench.jobs
		WHERE queue = 'default' AND state = 'ready' AND run_at <= now()
		ORDER BY priority, run_at, id
		LIMIT :batch
		FOR UPDATE SKIP LOCKED
), claimed AS (
	UPDATE bench.jobs AS j
		SET state = 'running', attempt = j.attempt + 1, worker_id = :client_id, started_at = now()
		FROM due WHERE j.id = due.id
		RETURNING j.id, j.kind, j.args
)
SELECT coalesce(array_agg(id), '{}') AS ids FROM claimed, set_config('synchronous_commit', :claim_flush, true) \gset
DELETE FROM bench.jobs WHERE id = ANY (:ids::bigint[]);
