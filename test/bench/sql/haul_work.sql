-- What a worker does over and over: take a batch, do nothing, complete it. Two transactions, run by pgbench. A claim
-- that a crash takes away is a job that is ready again, so only the completion waits for the disk.
\set worker :first_worker + :client_id
SELECT array_agg(id) AS ids, array_agg(claim) AS claims
	FROM set_config('synchronous_commit', 'off', true), haul.checkout(:worker, :batch) \gset
SELECT haul.complete(:worker, :ids, :claims) AS not_owned;
